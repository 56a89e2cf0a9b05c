//! One X.509 certificate, parsed once.
//!
//! The identity of an organisation or person in the allow-list is the SHA-512 of the whole DER ([`thumbprint`], DSF
//! 2.1): a renewal with the same key is a new identity, so nothing here compares keys to identify anybody. All other
//! facts serve the security officer's rules, the audit record and the texts that `schleuse cert` prints.
//!
//! Extensions that cannot be read, or stand twice, are an error and not "absent": a rule that asks for an extended key
//! usage must never be satisfied by a damaged one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest, Sha256, Sha512};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

mod usage;

pub use usage::{ExtendedKeyUsage, KeyType, KeyUsage};

use crate::limits;
use crate::name::Name;
use usage::{key_type, purposes, usage_bits};

/// A certificate and what it says. The facts are read from the DER at construction and cannot be changed.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    #[serde(skip)]
    der: CertificateDer<'static>,
    thumbprint: String,
    sha256: String,
    subject: Name,
    issuer: Name,
    serial: String,
    version: u32,
    #[serde(with = "time::serde::rfc3339")]
    not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    key: KeyType,
    signature_algorithm: String,
    key_usage: Option<Vec<KeyUsage>>,
    extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    authority: Option<Authority>,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    emails: Vec<String>,
    subject_key_identifier: Option<String>,
    authority_key_identifier: Option<String>,
    crl_distribution_points: Vec<String>,
    #[serde(skip)]
    spki: Vec<u8>,
}

/// Basic constraints of a CA certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Authority {
    /// How many CA certificates may stand below it.
    pub path_length: Option<u32>,
}

/// The bytes are not one X.509 certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACertificate {
    /// Larger than [`limits::CERTIFICATE_BYTES`].
    #[error("larger than {} bytes", limits::CERTIFICATE_BYTES)]
    TooLarge,
    /// Not the structure of a certificate.
    #[error("{0}")]
    Structure(String),
    /// The certificate ends before the bytes do.
    #[error("{0} bytes follow its end")]
    TrailingBytes(usize),
    /// An extension is damaged or stands twice.
    #[error("the extension {name} cannot be read: {reason}")]
    Extension { name: &'static str, reason: String },
}

/// SHA-512 of the DER as 128 lower-case hexadecimal digits, the form of DSF allow-lists.
#[must_use]
pub fn thumbprint(der: &[u8]) -> String {
    hex(&Sha512::digest(der))
}

/// SHA-256 of a certificate in DER, as pins write it.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(nibble)));
        }
    }
    text
}

// === impl Certificate ===

impl Certificate {
    /// Reads one certificate that fills `der` completely.
    pub fn from_der(der: &[u8]) -> Result<Self, NotACertificate> {
        if der.len() > limits::CERTIFICATE_BYTES {
            return Err(NotACertificate::TooLarge);
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| NotACertificate::Structure(describe(&error)))?;
        if !rest.is_empty() {
            return Err(NotACertificate::TrailingBytes(rest.len()));
        }
        Self::from_parsed(der, &parsed)
    }

    fn from_parsed(der: &[u8], parsed: &X509Certificate<'_>) -> Result<Self, NotACertificate> {
        let unreadable = |name: &'static str| {
            move |error: x509_parser::error::X509Error| NotACertificate::Extension { name, reason: error.to_string() }
        };
        let key_usage = parsed.key_usage().map_err(unreadable("key usage"))?.map(|found| usage_bits(found.value));
        let extended_key_usage =
            parsed.extended_key_usage().map_err(unreadable("extended key usage"))?.map(|found| purposes(found.value));
        let authority = parsed
            .basic_constraints()
            .map_err(unreadable("basic constraints"))?
            .filter(|found| found.value.ca)
            .map(|found| Authority { path_length: found.value.path_len_constraint });
        let names = parsed.subject_alternative_name().map_err(unreadable("subject alternative name"))?;
        let names = names.map_or(&[][..], |found| found.value.general_names.as_slice());
        let subject = Name::read(parsed.subject());
        let mut certificate = Self {
            der: CertificateDer::from(der.to_vec()),
            thumbprint: thumbprint(der),
            sha256: fingerprint(der),
            issuer: Name::read(parsed.issuer()),
            serial: hex(parsed.raw_serial()),
            version: parsed.version().0.saturating_add(1),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            key: key_type(parsed),
            signature_algorithm: signature_algorithm(&parsed.signature_algorithm.algorithm.to_id_string()),
            key_usage,
            extended_key_usage,
            authority,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            emails: subject.values("emailAddress").map(str::to_owned).collect(),
            subject_key_identifier: None,
            authority_key_identifier: None,
            crl_distribution_points: Vec::new(),
            spki: parsed.public_key().raw.to_vec(),
            subject,
        };
        certificate.read_alternative_names(names);
        certificate.read_key_identifiers(parsed);
        Ok(certificate)
    }

    fn read_alternative_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names.iter().take(limits::NAMES) {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) if !self.emails.iter().any(|known| known == name) => {
                    self.emails.push((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => self.ip_addresses.extend(ip_address(bytes)),
                _ => {}
            }
        }
    }

    fn read_key_identifiers(&mut self, parsed: &X509Certificate<'_>) {
        use x509_parser::extensions::ParsedExtension;
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_identifier = Some(hex(id.0)),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority_key_identifier = id.key_identifier.as_ref().map(|id| hex(id.0));
                }
                ParsedExtension::CRLDistributionPoints(points) => {
                    self.crl_distribution_points = point_addresses(points).take(limits::NAMES).collect();
                }
                _ => {}
            }
        }
    }

    /// The certificate as it was read.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate as one PEM block with a final line end.
    #[must_use]
    pub fn to_pem(&self) -> String {
        crate::pem::encode("CERTIFICATE", &self.der)
    }

    /// SHA-512 of the DER, 128 lower-case hexadecimal digits.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// SHA-256 of the DER in lower-case hexadecimal digits, as browsers and CAs print it.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    #[must_use]
    pub const fn subject(&self) -> &Name {
        &self.subject
    }

    #[must_use]
    pub const fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// The serial number in lower-case hexadecimal digits, as encoded.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// 1, 2 or 3.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    #[must_use]
    pub const fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether `now` lies within the validity period, both ends included.
    #[must_use]
    pub fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whole days until the end of validity; negative after it.
    #[must_use]
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_seconds().div_euclid(86_400)
    }

    #[must_use]
    pub const fn key(&self) -> &KeyType {
        &self.key
    }

    /// The SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.spki
    }

    /// The algorithm with which the issuer signed, by its common name, or the OID.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.signature_algorithm
    }

    /// `None` if the extension is absent, which permits every usage.
    #[must_use]
    pub fn key_usage(&self) -> Option<&[KeyUsage]> {
        self.key_usage.as_deref()
    }

    /// `None` if the extension is absent, which permits every purpose.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<&[ExtendedKeyUsage]> {
        self.extended_key_usage.as_deref()
    }

    /// Whether the extended key usage names TLS clients, or any purpose; absent is `false`.
    #[must_use]
    pub fn names_client_auth(&self) -> bool {
        self.names_purpose(&ExtendedKeyUsage::ClientAuth)
    }

    /// Whether the extended key usage names TLS servers, or any purpose; absent is `false`.
    #[must_use]
    pub fn names_server_auth(&self) -> bool {
        self.names_purpose(&ExtendedKeyUsage::ServerAuth)
    }

    fn names_purpose(&self, purpose: &ExtendedKeyUsage) -> bool {
        self.extended_key_usage
            .as_ref()
            .is_some_and(|list| list.iter().any(|found| found == purpose || *found == ExtendedKeyUsage::Any))
    }

    /// Basic constraints, if this is a CA certificate.
    #[must_use]
    pub const fn authority(&self) -> Option<Authority> {
        self.authority
    }

    #[must_use]
    pub const fn is_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject.der() == self.issuer.der()
    }

    /// Whether its own key signed it.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && crate::chain::is_signed_by(self, self).is_ok()
    }

    /// DNS names of the subject alternative name.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// IP addresses of the subject alternative name.
    #[must_use]
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.ip_addresses
    }

    /// E-mail addresses of the subject and of the subject alternative name, without repetition.
    #[must_use]
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    #[must_use]
    pub fn subject_key_identifier(&self) -> Option<&str> {
        self.subject_key_identifier.as_deref()
    }

    #[must_use]
    pub fn authority_key_identifier(&self) -> Option<&str> {
        self.authority_key_identifier.as_deref()
    }

    /// Addresses at which its issuer publishes revocation lists.
    #[must_use]
    pub fn crl_distribution_points(&self) -> &[String] {
        &self.crl_distribution_points
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject.as_str())
            .field("issuer", &self.issuer.as_str())
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

// === reading ===

fn point_addresses(points: &x509_parser::extensions::CRLDistributionPoints<'_>) -> impl Iterator<Item = String> {
    use x509_parser::extensions::DistributionPointName;
    let mut addresses = Vec::new();
    for point in points.iter() {
        let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
        for name in names {
            if let GeneralName::URI(uri) = name {
                addresses.push((*uri).to_owned());
            }
        }
    }
    addresses.into_iter()
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| IpAddr::V6(Ipv6Addr::from(sixteen)))
}

fn signature_algorithm(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "Ed25519",
        other => other,
    }
    .to_owned()
}

/// A short text for a parser error; the library's own repeats the whole input in some cases.
fn describe(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    match error {
        x509_parser::nom::Err::Incomplete(_) => "the DER ends too early".to_owned(),
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
            error.to_string().chars().filter(|character| !character.is_control()).take(200).collect()
        }
    }
}
