//! Why a TLS handshake failed: stable words for the audit record and the metrics, and sentences for people.
//!
//! rustls reports the same cause in several shapes, and some only as text of the library below it (a CA certificate shown
//! by a client, an unsupported version). [`classify`] maps them all to one [`Reason`]. A reason says which side refused:
//! [`Failure::by_peer`] is true when the other side sent the alert, and then its words are all that is known.

use std::fmt;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// A failed handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub reason: Reason,
    /// Whether the other side refused and told us by an alert.
    pub by_peer: bool,
    /// The library's words, for the log; bounded and without control characters.
    pub detail: String,
}

/// What went wrong in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    NoCertificate,
    UnknownIssuer,
    Expired,
    NotYetValid,
    Revoked,
    RevocationUnknown,
    WrongPurpose,
    AuthorityAsEndEntity,
    WrongName,
    BadSignature,
    UnsupportedAlgorithm,
    MalformedCertificate,
    CriticalExtension,
    TooManyCertificates,
    CertificateRefused,
    NoCommonVersion,
    NoCommonParameters,
    UnknownServerName,
    NotTls,
    Disconnected,
    Other,
}

const DETAIL_CHARACTERS: usize = 300;

// === impl Failure ===

impl Failure {
    fn ours(reason: Reason, error: &rustls::Error) -> Self {
        Self { reason, by_peer: false, detail: bounded(&error.to_string()) }
    }

    /// The stable word: the reason, with `peer-` in front if the other side refused.
    #[must_use]
    pub fn code(&self) -> String {
        if self.by_peer { format!("peer-{}", self.reason.code()) } else { self.reason.code().to_owned() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_peer {
            write!(f, "the other side refused the handshake: {} ({})", self.reason.text(), self.detail)
        } else {
            write!(f, "{} ({})", self.reason.text(), self.detail)
        }
    }
}

impl Reason {
    /// The stable word for audit records and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::WrongPurpose => "wrong-purpose",
            Self::AuthorityAsEndEntity => "authority-as-end-entity",
            Self::WrongName => "wrong-name",
            Self::BadSignature => "bad-signature",
            Self::UnsupportedAlgorithm => "unsupported-algorithm",
            Self::MalformedCertificate => "malformed-certificate",
            Self::CriticalExtension => "critical-extension",
            Self::TooManyCertificates => "too-many-certificates",
            Self::CertificateRefused => "certificate-refused",
            Self::NoCommonVersion => "no-common-version",
            Self::NoCommonParameters => "no-common-parameters",
            Self::UnknownServerName => "unknown-server-name",
            Self::NotTls => "not-tls",
            Self::Disconnected => "disconnected",
            Self::Other => "other",
        }
    }

    /// A clause for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoCertificate => "no client certificate was shown",
            Self::UnknownIssuer => {
                "the issuer of the certificate is not trusted, or an issuing CA is missing in the chain"
            }
            Self::Expired => "a certificate of the chain has expired",
            Self::NotYetValid => "a certificate of the chain is not valid yet, or the clock is wrong",
            Self::Revoked => "the certificate is revoked",
            Self::RevocationUnknown => "the revocation status of the certificate is not known",
            Self::WrongPurpose => "the extended key usage of the certificate does not permit this use",
            Self::AuthorityAsEndEntity => "a CA certificate was shown where an ordinary certificate is expected",
            Self::WrongName => "the certificate is not for this host name",
            Self::BadSignature => "a signature does not match",
            Self::UnsupportedAlgorithm => "a certificate or signature uses an algorithm that is not accepted",
            Self::MalformedCertificate => "the certificate cannot be read",
            Self::CriticalExtension => "the certificate has a critical extension that is not known",
            Self::TooManyCertificates => "too many certificates were shown",
            Self::CertificateRefused => "the certificate was refused",
            Self::NoCommonVersion => "no common TLS version",
            Self::NoCommonParameters => "no common TLS parameters",
            Self::UnknownServerName => "the server does not know the host name",
            Self::NotTls => "the other side does not speak TLS",
            Self::Disconnected => "the connection ended during the handshake",
            Self::Other => "the handshake failed",
        }
    }
}

/// Finds the cause of a rustls error.
#[must_use]
pub fn classify(error: &rustls::Error) -> Failure {
    use rustls::Error;
    let reason = match error {
        Error::NoCertificatesPresented => Reason::NoCertificate,
        Error::InvalidCertificate(error) => certificate_reason(error),
        Error::InvalidCertRevocationList(_) => Reason::RevocationUnknown,
        Error::PeerIncompatible(error) => incompatible_reason(error),
        Error::AlertReceived(alert) => {
            return Failure {
                reason: alert_reason(*alert),
                by_peer: true,
                detail: bounded(&format!("alert {alert:?}")),
            };
        }
        Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType | rustls::InvalidMessage::UnknownProtocolVersion,
        ) => Reason::NotTls,
        _ => Reason::Other,
    };
    Failure::ours(reason, error)
}

/// Finds the rustls error inside an I/O error, as tokio-rustls reports it; other I/O errors are the network's.
#[must_use]
pub fn classify_io(error: &std::io::Error) -> Option<Failure> {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some(classify(inner));
    }
    let ended = matches!(
        error.kind(),
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
    );
    ended.then(|| Failure { reason: Reason::Disconnected, by_peer: true, detail: bounded(&error.to_string()) })
}

fn certificate_reason(error: &CertificateError) -> Reason {
    match error {
        CertificateError::BadEncoding => Reason::MalformedCertificate,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Reason::NotYetValid,
        CertificateError::Revoked => Reason::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Reason::RevocationUnknown,
        CertificateError::UnhandledCriticalExtension => Reason::CriticalExtension,
        CertificateError::UnknownIssuer => Reason::UnknownIssuer,
        CertificateError::BadSignature => Reason::BadSignature,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Reason::UnsupportedAlgorithm,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Reason::WrongName,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Reason::WrongPurpose,
        CertificateError::ApplicationVerificationFailure => Reason::TooManyCertificates,
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => Reason::AuthorityAsEndEntity,
            Some(webpki::Error::UnsupportedCertVersion) => Reason::MalformedCertificate,
            _ => Reason::CertificateRefused,
        },
        _ => Reason::CertificateRefused,
    }
}

fn incompatible_reason(error: &PeerIncompatible) -> Reason {
    match error {
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => Reason::NoCommonVersion,
        _ => Reason::NoCommonParameters,
    }
}

fn alert_reason(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Reason::NoCertificate,
        AlertDescription::UnknownCA => Reason::UnknownIssuer,
        AlertDescription::CertificateExpired => Reason::Expired,
        AlertDescription::CertificateRevoked => Reason::Revoked,
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
            Reason::CertificateRefused
        }
        AlertDescription::UnsupportedCertificate => Reason::WrongPurpose,
        AlertDescription::DecryptError => Reason::BadSignature,
        AlertDescription::ProtocolVersion => Reason::NoCommonVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => Reason::NoCommonParameters,
        AlertDescription::UnrecognisedName => Reason::UnknownServerName,
        _ => Reason::Other,
    }
}

fn bounded(text: &str) -> String {
    text.chars()
        .map(|character| if crate::name::is_unprintable(character) { ' ' } else { character })
        .take(DETAIL_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests;
