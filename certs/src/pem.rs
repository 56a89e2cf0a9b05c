//! Certificate and key files, PEM or DER, as they come out of hospital PKIs.
//!
//! The reader works on bytes: text before, between and after blocks may be in any encoding (`openssl x509 -text`,
//! `Bag Attributes` of PKCS #12 exports, German comments in Latin-1), line ends may be LF, CRLF or CR, a byte order mark
//! may stand first, and files joined without a line end between END and BEGIN are understood. What it does not accept it
//! names ([`Problem`]). Private keys are handed on as [`PrivateKey`], which does not print itself.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;

use crate::certificate::{Certificate, NotACertificate};
use crate::der::{Shape, shape};
use crate::error::{CertError, Problem};
use crate::limits;

/// A private key that TLS can use, in DER.
pub struct PrivateKey {
    der: PrivateKeyDer<'static>,
    public_key_info: Vec<u8>,
}

/// One PEM block, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) line: usize,
    pub(crate) der: Vec<u8>,
    pub(crate) encrypted: bool,
}

/// The content of a file after its outer form is known.
enum Content {
    Blocks(Vec<Block>),
    Der(Shape),
}

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
const END: &[u8] = b"-----END ";

// === impl PrivateKey ===

impl PrivateKey {
    fn new(der: PrivateKeyDer<'static>) -> Result<Self, String> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).map_err(|error| error.to_string())?;
        let public_key_info = key.public_key().ok_or("its public key cannot be derived")?.to_vec();
        Ok(Self { der, public_key_info })
    }

    /// The key for rustls; a copy, because rustls consumes it.
    #[must_use]
    pub fn der(&self) -> PrivateKeyDer<'static> {
        self.der.clone_key()
    }

    /// The SubjectPublicKeyInfo of the public half, in DER.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(not shown)")
    }
}

// === reading ===

/// Reads a file of at most [`limits::FILE_BYTES`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, CertError> {
    read_file_of(path, limits::FILE_BYTES)
}

/// Reads a file of at most `most` bytes and one more, by which a reader sees that it is too large.
pub(crate) fn read_file_of(path: &Path, most: usize) -> Result<Vec<u8>, CertError> {
    use std::io::Read as _;
    let file = path.display().to_string();
    let unreadable = |error: std::io::Error| CertError::new(&file, Problem::Unreadable { reason: error.to_string() });
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    std::fs::File::open(path).map_err(unreadable)?.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Like [`read_file`], for a private key: a key that every user of the machine can read is none.
pub fn read_key_file(path: &Path) -> Result<Vec<u8>, CertError> {
    if let Some(mode) = exposure(path) {
        return Err(CertError::new(&path.display().to_string(), Problem::ExposedKey { mode }));
    }
    read_file(path)
}

/// The mode of a file that others may read or write; none if a folder above keeps them out.
fn exposure(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode_of = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode());
    // What cannot be looked at is reported by reading it.
    let path = std::fs::canonicalize(path).ok()?;
    let mode = mode_of(&path)? & 0o777;
    let reachable = path.ancestors().skip(1).all(|folder| mode_of(folder).is_none_or(|mode| mode & 0o001 != 0));
    (mode & 0o006 != 0 && reachable).then_some(mode)
}

/// All certificates of a file in their order; at least one. Private keys beside them are skipped.
pub fn read_certificates(bytes: &[u8], file_name: &str) -> Result<Vec<Certificate>, CertError> {
    certificates(bytes).map_err(|problem| CertError::new(file_name, problem))
}

/// The one private key of a file. Certificates and EC parameters beside it are skipped.
pub fn read_private_key(bytes: &[u8], file_name: &str) -> Result<PrivateKey, CertError> {
    private_key(bytes).map_err(|problem| CertError::new(file_name, problem))
}

/// The DER of the one structure in a file: the PEM block with this label, or the file itself.
pub(crate) fn only_block(bytes: &[u8], label: &str, wanted: Shape, most: usize) -> Result<Vec<u8>, Problem> {
    if bytes.len() > most {
        return Err(Problem::TooLarge { limit: most });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::Empty);
    }
    let blocks = scan(bytes)?;
    if blocks.is_empty() {
        let der = strip_line_end(bytes);
        return if shape(der) == Some(wanted) { Ok(der.to_vec()) } else { Err(Problem::UnknownFormat) };
    }
    let found = labels(&blocks);
    let mut wanted = blocks.into_iter().filter(|block| block.label == label);
    match (wanted.next(), wanted.next()) {
        (Some(block), None) => Ok(block.der),
        (Some(_), Some(_)) => Err(Problem::NotAList { reason: "the file holds several lists".to_owned() }),
        (None, _) => Err(Problem::NotAList { reason: format!("the file holds {found}") }),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, Problem> {
    let blocks = match content(bytes)? {
        Content::Der(Shape::Certificate) => return Ok(vec![certificate(strip_line_end(bytes), 1)?]),
        Content::Der(other) => return Err(instead_of_certificate(other)),
        Content::Blocks(blocks) => blocks,
    };
    let mut found = Vec::new();
    for block in &blocks {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => found.push(certificate(&block.der, block.line)?),
            "TRUSTED CERTIFICATE" => return Err(Problem::TrustedCertificate { line: block.line }),
            _ => {}
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let is = |part: &str| blocks.iter().any(|block| block.label.contains(part));
    Err(if is("PRIVATE KEY") {
        Problem::KeyInsteadOfCertificate
    } else if is("CERTIFICATE REQUEST") {
        Problem::SigningRequest
    } else if is("PKCS7") || is("CMS") {
        Problem::Pkcs7
    } else if is("CRL") {
        Problem::RevocationList
    } else {
        Problem::NoCertificate { found: labels(&blocks) }
    })
}

fn certificate(der: &[u8], line: usize) -> Result<Certificate, Problem> {
    Certificate::from_der(der).map_err(|error| match error {
        NotACertificate::TooLarge => Problem::TooLarge { limit: limits::CERTIFICATE_BYTES },
        NotACertificate::TrailingBytes(count) => Problem::TrailingBytes { line, count },
        other @ (NotACertificate::Structure(_) | NotACertificate::Extension { .. }) => match shape(der) {
            Some(Shape::SigningRequest) => Problem::SigningRequest,
            Some(Shape::RevocationList) => Problem::RevocationList,
            Some(Shape::Pkcs7) => Problem::Pkcs7,
            Some(Shape::Pkcs12) => Problem::Pkcs12,
            Some(Shape::Pkcs8Key | Shape::Pkcs1Key | Shape::Sec1Key | Shape::EncryptedKey) => {
                Problem::KeyInsteadOfCertificate
            }
            Some(Shape::Certificate) | None => Problem::NotACertificate { line, reason: other.to_string() },
        },
    })
}

fn instead_of_certificate(shape: Shape) -> Problem {
    match shape {
        Shape::SigningRequest => Problem::SigningRequest,
        Shape::RevocationList => Problem::RevocationList,
        Shape::Pkcs12 => Problem::Pkcs12,
        Shape::Pkcs7 => Problem::Pkcs7,
        Shape::Pkcs8Key | Shape::Pkcs1Key | Shape::Sec1Key | Shape::EncryptedKey => Problem::KeyInsteadOfCertificate,
        Shape::Certificate => Problem::NoCertificate { found: "an unreadable certificate".to_owned() },
    }
}

fn private_key(bytes: &[u8]) -> Result<PrivateKey, Problem> {
    let unusable = |line: usize| move |reason: String| Problem::UnusableKey { line, reason };
    let blocks = match content(bytes)? {
        Content::Der(Shape::Pkcs8Key) => {
            return PrivateKey::new(PrivateKeyDer::Pkcs8(bytes.to_vec().into())).map_err(unusable(1));
        }
        Content::Der(Shape::Pkcs1Key) => {
            return PrivateKey::new(PrivateKeyDer::Pkcs1(bytes.to_vec().into())).map_err(unusable(1));
        }
        Content::Der(Shape::Sec1Key) => {
            return PrivateKey::new(PrivateKeyDer::Sec1(bytes.to_vec().into())).map_err(unusable(1));
        }
        Content::Der(Shape::EncryptedKey) => return Err(Problem::EncryptedKey { line: 1 }),
        Content::Der(Shape::Pkcs12) => return Err(Problem::Pkcs12),
        Content::Der(Shape::Certificate) => return Err(Problem::CertificateInsteadOfKey),
        Content::Der(Shape::SigningRequest) => {
            return Err(Problem::NoPrivateKey { found: "a certificate signing request".to_owned() });
        }
        Content::Der(Shape::RevocationList | Shape::Pkcs7) => {
            return Err(Problem::NoPrivateKey { found: "certificates".to_owned() });
        }
        Content::Blocks(blocks) => blocks,
    };
    let keys: Vec<&Block> = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).collect();
    let block = match keys.as_slice() {
        [block] => *block,
        [] if blocks.iter().any(|block| block.label.ends_with("CERTIFICATE")) => {
            return Err(Problem::CertificateInsteadOfKey);
        }
        [] => return Err(Problem::NoPrivateKey { found: labels(&blocks) }),
        several => return Err(Problem::SeveralPrivateKeys { count: several.len() }),
    };
    let line = block.line;
    if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
        return Err(Problem::EncryptedKey { line });
    }
    let der = match block.label.as_str() {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(block.der.clone().into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(block.der.clone().into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(block.der.clone().into()),
        other => {
            return Err(Problem::UnusableKey {
                line,
                reason: format!("{other} is not a kind of key that TLS uses here"),
            });
        }
    };
    PrivateKey::new(der).map_err(unusable(line))
}

/// Tells PEM from DER and everything else.
fn content(bytes: &[u8]) -> Result<Content, Problem> {
    if bytes.len() > limits::FILE_BYTES {
        return Err(Problem::TooLarge { limit: limits::FILE_BYTES });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::Empty);
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(Problem::Utf16);
    }
    let blocks = scan(bytes)?;
    if !blocks.is_empty() {
        return Ok(Content::Blocks(blocks));
    }
    if bytes.starts_with(&[0xFE, 0xED, 0xFE, 0xED]) {
        return Err(Problem::JavaKeyStore);
    }
    if let Some(shape) = shape(bytes) {
        return Ok(Content::Der(shape));
    }
    // The DER of a certificate with more than 127 bytes begins with 0x30 0x8?, which is "MI" in base64.
    let text = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    if text.trim_ascii_start().starts_with(b"MI") {
        return Err(Problem::MissingMarkers);
    }
    if bytes.starts_with(&[crate::der::SEQUENCE]) {
        return Err(Problem::Truncated { line: 1, label: "DER".to_owned() });
    }
    Err(Problem::UnknownFormat)
}

/// One line end behind DER is what an editor leaves; more is reported as trailing bytes.
fn strip_line_end(bytes: &[u8]) -> &[u8] {
    let total = crate::der::element(bytes).map_or(0, |outer| outer.rest.len());
    if (1..=2).contains(&total) && bytes.ends_with(b"\n") {
        return bytes.get(..bytes.len() - total).unwrap_or(bytes);
    }
    bytes
}

/// Finds and decodes all blocks.
pub(crate) fn scan(bytes: &[u8]) -> Result<Vec<Block>, Problem> {
    let mut blocks = Vec::new();
    let mut position = 0;
    let mut line = 1;
    while let Some(begin) = find(bytes, BEGIN, position) {
        line += line_ends(bytes.get(position..begin).unwrap_or_default());
        let label_start = begin + BEGIN.len();
        let Some(label_end) = find(bytes, DASHES, label_start) else {
            return Err(Problem::Truncated { line, label: "PEM".to_owned() });
        };
        let Some(label) = bytes.get(label_start..label_end).and_then(read_label) else {
            position = label_start;
            continue;
        };
        if blocks.len() >= limits::BLOCKS {
            return Err(Problem::TooManyBlocks { limit: limits::BLOCKS });
        }
        let body_start = label_end + DASHES.len();
        let Some(body_end) = find(bytes, DASHES, body_start) else {
            return Err(Problem::Truncated { line, label });
        };
        let body = bytes.get(body_start..body_end).unwrap_or_default();
        let tail = bytes.get(body_end..).unwrap_or_default();
        let Some(after) = tail.strip_prefix(END) else {
            return Err(Problem::Truncated { line, label });
        };
        let Some(end_length) = find(after, DASHES, 0) else {
            return Err(Problem::Truncated { line, label });
        };
        let end_label = after.get(..end_length).and_then(read_label).unwrap_or_else(|| "?".to_owned());
        if end_label != label {
            return Err(Problem::MismatchedEnd { line, label, end: end_label });
        }
        let block_line = line;
        let (body, encrypted) = strip_headers(body);
        let der = if encrypted { Vec::new() } else { decode(body, &label, line)? };
        blocks.push(Block { label, line: block_line, der, encrypted });
        let next = body_end + END.len() + end_length + DASHES.len();
        line += line_ends(bytes.get(begin..next).unwrap_or_default());
        position = next;
    }
    Ok(blocks)
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|offset| from + offset)
}

/// Counts LF, CRLF and CR line ends; a CRLF that a cut divides is counted once by its LF.
fn line_ends(bytes: &[u8]) -> usize {
    let lf = bytes.iter().filter(|byte| **byte == b'\n').count();
    if lf > 0 { lf } else { bytes.iter().filter(|byte| **byte == b'\r').count() }
}

/// A label is short upper-case ASCII; everything else is prose that happens to contain dashes.
fn read_label(bytes: &[u8]) -> Option<String> {
    let plausible = (1..=40).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b' ' | b'.' | b'#'));
    if plausible { String::from_utf8(bytes.to_vec()).ok() } else { None }
}

/// Takes off the headers of RFC 1421 (`Proc-Type`, `DEK-Info`) and says whether they announce encryption.
fn strip_headers(body: &[u8]) -> (&[u8], bool) {
    let mut rest = body.trim_ascii_start();
    let mut encrypted = false;
    loop {
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if !line.contains(&b':') {
            return (rest, encrypted);
        }
        encrypted |= line.windows(9).any(|window| window.eq_ignore_ascii_case(b"ENCRYPTED"));
        rest = after.trim_ascii_start();
    }
}

fn decode(body: &[u8], label: &str, begin_line: usize) -> Result<Vec<u8>, Problem> {
    let bad = |line: usize| Problem::BadBase64 { line, label: label.to_owned() };
    let mut text = Vec::with_capacity(body.len());
    let lines = body.trim_ascii_start().split(|byte| *byte == b'\n');
    for (line, part) in (begin_line + 1..).zip(lines) {
        for byte in part {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => text.push(*byte),
                byte if byte.is_ascii_whitespace() => {}
                _ => return Err(bad(line)),
            }
        }
    }
    let der = STANDARD.decode(&text).map_err(|_| bad(begin_line))?;
    if der.is_empty() { Err(bad(begin_line)) } else { Ok(der) }
}

/// What a file holds, for a message.
fn labels(blocks: &[Block]) -> String {
    let mut names: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    names.dedup();
    names.truncate(5);
    names.join(", ")
}

/// One PEM block with lines of 64 characters and a final line end.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut column = 0;
    for character in text.chars() {
        out.push(character);
        column += 1;
        if column == 64 {
            out.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests;
