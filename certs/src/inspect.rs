//! What a certificate file holds, as `schleuse cert inspect` and `schleuse cert thumbprint` print it.
//!
//! One [`Inspection`] per certificate, with data for machines (serde) and text for people, and notes on everything that
//! will trouble the node later: no common name, no country, wrong purpose, near expiry, keys and signatures that are
//! refused. A note never refuses; the handshake and the policy do.

use std::fmt::Write as _;

use serde::Serialize;
use time::OffsetDateTime;

use crate::certificate::{Certificate, KeyType};
use crate::chain::{ChainReport, Purpose};
use crate::error::CertError;
use crate::{TrustStore, chain, limits, pem};

/// One certificate of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// The file as named.
    pub file: String,
    /// Position in the file, from 1.
    pub position: usize,
    /// How many certificates the file holds.
    pub of: usize,
    /// The certificate's facts.
    pub certificate: Certificate,
    /// What it is by the look of it.
    pub kind: Kind,
    /// Whole days until the end of validity, negative after it.
    pub days_left: i64,
    /// What will trouble the node.
    pub notes: Vec<Note>,
}

/// What a certificate is by the look of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Root,
    IssuingAuthority,
    Server,
    Client,
    ServerAndClient,
    Unspecified,
    Other,
}

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// A stable word.
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

/// Reads a file and describes each certificate in it.
pub fn inspect(bytes: &[u8], file: &str, now: OffsetDateTime) -> Result<Vec<Inspection>, CertError> {
    let certificates = pem::read_certificates(bytes, file)?;
    let of = certificates.len();
    let mut inspections: Vec<Inspection> = Vec::with_capacity(of);
    for (index, certificate) in certificates.into_iter().enumerate() {
        let mut notes = notes(&certificate, now);
        if inspections.iter().any(|earlier| earlier.certificate == certificate) {
            notes.push(Note { code: "repeated", text: "the same certificate stands earlier in the file".to_owned() });
        } else if let Some(previous) = inspections.last() {
            notes.extend(order_note(&previous.certificate, &certificate));
        }
        let kind = kind(&certificate);
        let days_left = certificate.days_left(now);
        inspections.push(Inspection {
            file: file.to_owned(),
            position: index + 1,
            of,
            certificate,
            kind,
            days_left,
            notes,
        });
    }
    Ok(inspections)
}

/// The certificates of a file that stand on allow-lists: those of a chain without its CAs, or all if they are all CAs.
pub fn holders(bytes: &[u8], file: &str) -> Result<Vec<Certificate>, CertError> {
    let mut certificates = pem::read_certificates(bytes, file)?;
    let only_authorities = certificates.iter().all(Certificate::is_authority);
    certificates.retain(|certificate| only_authorities || !certificate.is_authority());
    Ok(certificates)
}

/// The lines of `schleuse cert thumbprint`: thumbprint, two spaces, subject.
#[must_use]
pub fn thumbprints(holders: &[Certificate]) -> String {
    let mut out = String::new();
    for certificate in holders {
        let _ = writeln!(out, "{}  {}", certificate.thumbprint(), certificate.subject());
    }
    out
}

/// Verifies the first certificate of the file against a trust store, with the other certificates' help.
pub fn verify(
    bytes: &[u8],
    file: &str,
    store: &TrustStore,
    purpose: Purpose,
    now: OffsetDateTime,
) -> Result<ChainReport, CertError> {
    let mut certificates = pem::read_certificates(bytes, file)?;
    let first = certificates.iter().position(|certificate| !certificate.is_authority()).unwrap_or(0);
    let certificate = certificates.swap_remove(first);
    Ok(chain::verify(&certificate, &certificates, store, purpose, now))
}

// === impl Inspection ===

impl Inspection {
    /// Text for people, with a line end.
    #[must_use]
    pub fn text(&self) -> String {
        let certificate = &self.certificate;
        let mut out = String::new();
        let _ = writeln!(out, "{}, certificate {} of {}: {}", self.file, self.position, self.of, self.kind.text());
        let mut row = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(out, "  {name:<12} {value}");
            }
        };
        row("subject", none_if_empty(certificate.subject().as_str()));
        row("issuer", none_if_empty(certificate.issuer().as_str()));
        row("serial", certificate.serial());
        row(
            "valid",
            &format!(
                "{} to {} ({})",
                day(certificate.not_before()),
                day(certificate.not_after()),
                days_text(self.days_left)
            ),
        );
        row("key", &certificate.key().to_string());
        row("signed with", certificate.signature_algorithm());
        row("key usage", &certificate.key_usage().map_or_else(|| "(not restricted)".to_owned(), list));
        row("purposes", &certificate.extended_key_usage().map_or_else(|| "(not restricted)".to_owned(), list));
        row("host names", &printable(&certificate.dns_names().join(", ")));
        row("addresses", &list(certificate.ip_addresses()));
        row("e-mail", &printable(&certificate.emails().join(", ")));
        row("thumbprint", certificate.thumbprint());
        row("SHA-256", certificate.sha256());
        for note in &self.notes {
            row("note", &note.text);
        }
        out
    }
}

impl std::fmt::Display for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl Kind {
    /// For people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Root => "root certificate authority",
            Self::IssuingAuthority => "issuing certificate authority",
            Self::Server => "server certificate",
            Self::Client => "client certificate",
            Self::ServerAndClient => "server and client certificate",
            Self::Unspecified => "certificate without stated purpose",
            Self::Other => "certificate for other purposes",
        }
    }
}

/// The report as text for people: the path, then the verdict.
#[must_use]
pub fn chain_text(report: &ChainReport) -> String {
    let mut out = String::new();
    for (depth, link) in report.links.iter().enumerate() {
        let trusted = if link.trusted { "  (trusted)" } else { "" };
        let _ = writeln!(out, "{:indent$}{}{trusted}", "", none_if_empty(&link.subject), indent = depth * 2);
    }
    match &report.problem {
        None => out.push_str("the chain is valid\n"),
        Some(problem) => {
            let _ = writeln!(out, "the chain is not valid: {problem}");
        }
    }
    out
}

// === notes ===

fn notes(certificate: &Certificate, now: OffsetDateTime) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |code: &'static str, text: String| notes.push(Note { code, text });
    let days = certificate.days_left(now);
    if now > certificate.not_after() {
        note("expired", format!("expired on {}; ask the CA for a new one", day(certificate.not_after())));
    } else if now < certificate.not_before() {
        note(
            "not-yet-valid",
            format!("valid only from {}; check the clock of this machine", day(certificate.not_before())),
        );
    } else if days < limits::EXPIRY_NOTICE_DAYS {
        note("expires-soon", format!("expires in {days} days; partners need the new thumbprint before that"));
    }
    if certificate.version() < 3 {
        note("old-version", format!("version {} of X.509; TLS accepts version 3 only", certificate.version()));
    }
    let algorithm = certificate.signature_algorithm();
    if algorithm.contains("sha1") || algorithm.contains("SHA1") || algorithm.starts_with("md5") {
        note("weak-signature", format!("signed with {algorithm}, which no partner accepts"));
    }
    match certificate.key() {
        KeyType::Rsa { bits } if *bits < 2048 => note("weak-key", format!("an RSA key of {bits} bit is refused")),
        KeyType::Rsa { bits } if *bits < 3000 => {
            note("small-key", format!("an RSA key of {bits} bit is below the 3000 bit that BSI TR-02102-1 demands"));
        }
        KeyType::Ec { bits: 0, curve } => note("unknown-curve", format!("the curve {curve} is not known")),
        KeyType::Ec { curve, .. } if !matches!(curve.as_str(), "P-256" | "P-384" | "P-521") => {
            note("unsupported-curve", format!("the curve {curve} is not accepted in TLS"));
        }
        KeyType::Other { oid } => note("unsupported-key", format!("keys of type {oid} are not accepted in TLS")),
        KeyType::Rsa { .. } | KeyType::Ec { .. } | KeyType::Ed25519 => {}
    }
    if !certificate.is_authority() {
        end_entity_notes(certificate, &mut note);
    }
    if certificate.is_authority()
        && certificate.names_client_auth() | certificate.names_server_auth()
        && certificate.is_self_issued()
    {
        note("authority-with-purpose", "a CA certificate cannot be shown by a client or server".to_owned());
    }
    notes
}

fn end_entity_notes(certificate: &Certificate, note: &mut impl FnMut(&'static str, String)) {
    if certificate.subject().common_name().is_none() {
        note(
            "no-common-name",
            "the subject has no common name (CN); it is identified by its thumbprint all the same".to_owned(),
        );
    }
    if certificate.names_client_auth() && certificate.subject().values("C").next().is_none() {
        note("no-country", "the subject has no country (C); partners with DSF's default rules answer 403".to_owned());
    }
    if certificate.issuer().common_name().is_none() {
        note("issuer-without-common-name", "the issuer has no common name; DSF's rules cannot name it".to_owned());
    }
    if certificate.is_self_issued() {
        note("self-signed", "signed by itself; no partner trusts it unless it is in their trust store".to_owned());
    }
    if certificate.names_server_auth() && certificate.dns_names().is_empty() && certificate.ip_addresses().is_empty() {
        note(
            "no-host-names",
            "no subject alternative name with a host; clients refuse it as server certificate".to_owned(),
        );
    }
    if let Some(purposes) = certificate.extended_key_usage()
        && !certificate.names_client_auth()
        && !certificate.names_server_auth()
    {
        note("no-tls-purpose", format!("not for TLS: its purposes are {}", list(purposes)));
    }
    if certificate.key_usage().is_some_and(|usage| !usage.contains(&crate::certificate::KeyUsage::DigitalSignature)) {
        note("no-digital-signature", "the key usage lacks digitalSignature, which TLS needs".to_owned());
    }
}

fn order_note(previous: &Certificate, certificate: &Certificate) -> Option<Note> {
    if previous.issuer().der() == certificate.subject().der() {
        return None;
    }
    let text = format!(
        "does not continue the chain: the certificate before it was issued by {}",
        none_if_empty(previous.issuer().as_str())
    );
    Some(Note { code: "chain-order", text })
}

fn kind(certificate: &Certificate) -> Kind {
    match (certificate.is_authority(), certificate.is_self_issued()) {
        (true, true) => return Kind::Root,
        (true, false) => return Kind::IssuingAuthority,
        (false, _) => {}
    }
    match (certificate.names_server_auth(), certificate.names_client_auth()) {
        (true, true) => Kind::ServerAndClient,
        (true, false) => Kind::Server,
        (false, true) => Kind::Client,
        (false, false) if certificate.extended_key_usage().is_none() => Kind::Unspecified,
        (false, false) => Kind::Other,
    }
}

// === text ===

fn none_if_empty(text: &str) -> &str {
    if text.is_empty() { "(empty)" } else { text }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn printable(text: &str) -> String {
    text.chars().map(|character| if crate::name::is_unprintable(character) { '?' } else { character }).collect()
}

fn day(time: OffsetDateTime) -> String {
    time.date().to_string()
}

fn days_text(days: i64) -> String {
    match days {
        ..0 => format!("expired {} days ago", -days),
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        _ => format!("{days} days left"),
    }
}

#[cfg(test)]
mod tests;
