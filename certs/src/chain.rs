//! Chains from a certificate to a trust anchor: the verdict of webpki, and a reason that an administrator can act on.
//!
//! [`verify`] asks the same library that decides in the handshake, so a report never says "good" where the handshake
//! refuses. Only when the verdict is negative the chain is walked once more by hand, name by name, to find the first link
//! that does not hold; that walk explains and never decides.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::certificate::Certificate;
use crate::trust::TrustStore;
use crate::{der, limits};

/// What the certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Shown by a TLS client: organisations and persons.
    Client,
    /// Shown by a TLS server.
    Server,
}

/// The path from a certificate upwards and whether it ends in a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChainReport {
    /// The certificate first; complete up to the anchor if there is no problem.
    pub links: Vec<Link>,
    /// Why the chain does not hold.
    pub problem: Option<ChainProblem>,
}

/// One certificate of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// Subject in RFC 4514 form.
    pub subject: String,
    /// Whether the trust store vouches for it.
    pub trusted: bool,
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "code")]
pub enum ChainProblem {
    /// Neither the file nor the trust store has the issuer.
    #[error("the issuer of {subject} is missing: {issuer}")]
    IssuerMissing { subject: String, issuer: String },
    /// A self-signed certificate that is not in the trust store.
    #[error("{subject} is self-signed and not in the trust store")]
    SelfSigned { subject: String },
    /// A certificate with the issuer's name exists, but its key did not sign.
    #[error("{subject} was not signed by the known certificate of {issuer}")]
    WrongSignature { subject: String, issuer: String },
    /// The issuer is no CA.
    #[error("{issuer}, the issuer of {subject}, is not a certificate authority")]
    NotAnAuthority { subject: String, issuer: String },
    /// Over.
    #[error("{subject} expired on {not_after}")]
    Expired { subject: String, not_after: String },
    /// Not begun.
    #[error("{subject} is not valid before {not_before}")]
    NotYetValid { subject: String, not_before: String },
    /// The extended key usage does not name the purpose.
    #[error("{subject} is not for TLS {purpose}s (extended key usage)")]
    WrongPurpose { subject: String, purpose: String },
    /// The CA flag is set on the certificate itself, as `openssl req -x509` does.
    #[error("{subject} is a certificate authority and cannot be shown by a client or server")]
    AuthorityAsEndEntity { subject: String },
    /// An algorithm that is no longer or not yet verified (SHA-1, MD5, unknown curves).
    #[error("{subject} is signed with {algorithm}, which is not accepted")]
    SignatureAlgorithm { subject: String, algorithm: String },
    /// More CA certificates than any real chain has.
    #[error("the chain is longer than {limit} certificates")]
    TooLong { limit: usize },
    /// What webpki found and the walk did not.
    #[error("{reason}")]
    Other { reason: String },
}

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureProblem {
    /// No verification for this pair of key and algorithm.
    Unsupported,
    /// The signature is wrong.
    Wrong,
}

/// Verifies `certificate` for `purpose` at `now` with the help of `others` (what the peer sent, what the file holds).
#[must_use]
pub fn verify(
    certificate: &Certificate,
    others: &[Certificate],
    store: &TrustStore,
    purpose: Purpose,
    now: OffsetDateTime,
) -> ChainReport {
    match decide(certificate, others, store, purpose, now) {
        Ok(links) => ChainReport { links, problem: None },
        Err(error) => explain(certificate, others, store, purpose, now, &error),
    }
}

fn decide(
    certificate: &Certificate,
    others: &[Certificate],
    store: &TrustStore,
    purpose: Purpose,
    now: OffsetDateTime,
) -> Result<Vec<Link>, webpki::Error> {
    let provider = crate::provider();
    let end_entity = webpki::EndEntityCert::try_from(certificate.der())?;
    let anchors: Vec<TrustAnchor<'_>> = store.anchors_at(now).collect();
    let intermediates: Vec<CertificateDer<'_>> = others.iter().map(|other| other.der().clone()).collect();
    let usage = match purpose {
        Purpose::Client => webpki::KeyUsage::client_auth(),
        Purpose::Server => webpki::KeyUsage::server_auth(),
    };
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = provider.signature_verification_algorithms.all;
    let path = end_entity.verify_for_usage(algorithms, &anchors, &intermediates, time, usage, None, None)?;
    let mut links = vec![Link { subject: certificate.subject().to_string(), trusted: false }];
    for found in path.intermediate_certificates() {
        let der = found.der();
        let subject = others.iter().find(|other| *other.der() == der).map_or("", |other| other.subject().as_str());
        links.push(Link { subject: subject.to_owned(), trusted: false });
    }
    let subject = store.subject_of(path.anchor()).unwrap_or_default();
    links.push(Link { subject, trusted: true });
    Ok(links)
}

/// Walks upwards and reports the first thing that is wrong.
fn explain(
    certificate: &Certificate,
    others: &[Certificate],
    store: &TrustStore,
    purpose: Purpose,
    now: OffsetDateTime,
    error: &webpki::Error,
) -> ChainReport {
    let mut links = Vec::new();
    let mut current = certificate;
    let problem = loop {
        let trusted = store.certificates().any(|anchor| anchor == current);
        links.push(Link { subject: current.subject().to_string(), trusted });
        if let Some(problem) = own_problem(current, links.len() == 1, purpose, now) {
            break problem;
        }
        if trusted && links.len() > 1 {
            break ChainProblem::Other { reason: error.to_string() };
        }
        if links.len() > limits::CHAIN_DEPTH {
            break ChainProblem::TooLong { limit: limits::CHAIN_DEPTH };
        }
        match issuer_of(current, others, store) {
            Ok(issuer) => current = issuer,
            Err(problem) => break problem,
        }
    };
    ChainReport { links, problem: Some(problem) }
}

fn own_problem(
    certificate: &Certificate,
    is_end_entity: bool,
    purpose: Purpose,
    now: OffsetDateTime,
) -> Option<ChainProblem> {
    let subject = certificate.subject().to_string();
    if now < certificate.not_before() {
        return Some(ChainProblem::NotYetValid { subject, not_before: certificate.not_before().to_string() });
    }
    if now > certificate.not_after() {
        return Some(ChainProblem::Expired { subject, not_after: certificate.not_after().to_string() });
    }
    if is_end_entity && certificate.is_authority() {
        return Some(ChainProblem::AuthorityAsEndEntity { subject });
    }
    let (named, purpose) = match purpose {
        Purpose::Client => (certificate.names_client_auth(), "client"),
        Purpose::Server => (certificate.names_server_auth(), "server"),
    };
    let wrong = certificate.extended_key_usage().is_some() && !named;
    wrong.then(|| ChainProblem::WrongPurpose { subject, purpose: purpose.to_owned() })
}

/// The certificate whose key signed `current`: trust anchors are asked first.
fn issuer_of<'a>(
    current: &Certificate,
    others: &'a [Certificate],
    store: &'a TrustStore,
) -> Result<&'a Certificate, ChainProblem> {
    let subject = current.subject().to_string();
    let issuer = current.issuer().to_string();
    let mut problem = if current.is_self_signed() {
        ChainProblem::SelfSigned { subject: subject.clone() }
    } else {
        ChainProblem::IssuerMissing { subject: subject.clone(), issuer: issuer.clone() }
    };
    for candidate in store.certificates().chain(others) {
        if candidate.subject().der() != current.issuer().der() || candidate == current {
            continue;
        }
        match is_signed_by(current, candidate) {
            Ok(()) if candidate.is_authority() => return Ok(candidate),
            Ok(()) => problem = ChainProblem::NotAnAuthority { subject: subject.clone(), issuer: issuer.clone() },
            Err(SignatureProblem::Wrong) => {
                problem = ChainProblem::WrongSignature { subject: subject.clone(), issuer: issuer.clone() }
            }
            Err(SignatureProblem::Unsupported) => {
                problem = ChainProblem::SignatureAlgorithm {
                    subject: subject.clone(),
                    algorithm: current.signature_algorithm().to_owned(),
                };
            }
        }
    }
    Err(problem)
}

/// Whether the key of `issuer` made the signature of `certificate`. Names and rights are not looked at.
pub fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<(), SignatureProblem> {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|_| SignatureProblem::Unsupported)?;
    let message = parsed.tbs_certificate.as_ref();
    verify_signed(certificate.der(), message, parsed.signature_value.data.as_ref(), issuer)
}

/// Verifies the signature of a signed structure (certificate, revocation list) whose parts are given.
pub(crate) fn verify_signed(
    whole: &[u8],
    message: &[u8],
    signature: &[u8],
    issuer: &Certificate,
) -> Result<(), SignatureProblem> {
    let algorithm = signature_algorithm_id(whole).ok_or(SignatureProblem::Unsupported)?;
    let (key_algorithm, key) = public_key(issuer.public_key_info()).ok_or(SignatureProblem::Unsupported)?;
    let mut result = Err(SignatureProblem::Unsupported);
    for verification in crate::provider().signature_verification_algorithms.all {
        if verification.signature_alg_id().as_ref() == algorithm
            && verification.public_key_alg_id().as_ref() == key_algorithm
        {
            match verification.verify_signature(key, message, signature) {
                Ok(()) => return Ok(()),
                Err(_) => result = Err(SignatureProblem::Wrong),
            }
        }
    }
    result
}

/// The content of the outer signatureAlgorithm: the second part of a certificate.
fn signature_algorithm_id(certificate: &[u8]) -> Option<&[u8]> {
    let outer = der::element(certificate)?;
    let to_be_signed = der::element(outer.content)?;
    Some(der::element(to_be_signed.rest)?.content)
}

/// Algorithm and key bits of a SubjectPublicKeyInfo.
pub(crate) fn public_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let outer = der::element(info)?;
    let algorithm = der::element(outer.content)?;
    let bits = der::element(algorithm.rest)?;
    // The first byte of a BIT STRING counts unused bits; keys have none.
    let (0, key) = bits.content.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    Some((algorithm.content, key))
}

/// The issuing CAs of `own` in the order of the path, taken from `others`; a root and what does not belong is left out.
#[must_use]
pub fn order(own: &Certificate, mut others: Vec<Certificate>) -> Vec<Certificate> {
    let mut path: Vec<Certificate> = Vec::new();
    while path.len() < limits::CHAIN_DEPTH {
        let current = path.last().unwrap_or(own);
        if current.is_self_issued() {
            break;
        }
        let next = others
            .iter()
            .position(|other| other.subject().der() == current.issuer().der() && is_signed_by(current, other).is_ok());
        let Some(next) = next else { break };
        let issuer = others.swap_remove(next);
        if issuer.is_self_issued() {
            break;
        }
        path.push(issuer);
    }
    path
}

#[cfg(test)]
mod tests;
