//! Would this certificate be let in? The answer of `schleuse cert verify`, by the code that answers in the handshake.
//!
//! [`ClientTrust`] is everything that a handshake knows about clients; the gateway makes its verifier from it and so does
//! [`judge_client`]. What comes after the handshake, the officer's [`CertificateRules`], is judged with the same call as
//! per request. When the verifier refuses, the chain is walked once more for the reason; that walk never decides.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::VerifierBuilderError;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::chain::{self, ChainReport, Purpose};
use crate::handshake;
use crate::revocation::{LiveRevocation, Revocation, RevocationMode, Standing};
use crate::rules::CertificateRules;
use crate::trust::{ClientVerifier, TrustStore, server_verifier};

/// Which client certificates a handshake accepts.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    /// Every authority of the trust store.
    pub store: TrustStore,
    /// Those of them whose own signature alone counts (`issuer-sha256`); none: all do, and authorities below them.
    pub issuers: Option<TrustStore>,
    /// Most authorities above a client (`max-depth`).
    pub depth: usize,
    /// Revocation lists; none: revocation is not checked.
    pub revocation: Option<Arc<LiveRevocation>>,
}

/// The answer about one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Whether it is let in.
    pub accepted: bool,
    /// What was asked, in order; the last one refuses if the answer is no.
    pub steps: Vec<Step>,
    /// The chain as far as it holds.
    pub chain: ChainReport,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// `chain`, `revocation`, `rules`, `name`.
    pub step: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Stable word of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    pub text: String,
}

// === impl ClientTrust ===

impl ClientTrust {
    /// A store without further conditions.
    #[must_use]
    pub const fn of(store: TrustStore) -> Self {
        Self { store, issuers: None, depth: crate::limits::CHAIN_DEPTH, revocation: None }
    }

    /// What the handshake asks.
    pub fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        let verifier = match &self.issuers {
            None => ClientVerifier::new(&self.store, provider)?,
            Some(issuers) => ClientVerifier::new(issuers, provider)?.with_direct_issuers(),
        };
        let verifier = verifier.with_depth(self.depth, &self.store);
        Ok(match &self.revocation {
            Some(revocation) => Arc::new(verifier.with_revocation(Arc::clone(revocation))),
            None => Arc::new(verifier),
        })
    }
}

// === impl Step ===

impl Step {
    fn holds(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, holds: true, code: None, text: text.into() }
    }

    fn refuses(step: &'static str, code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { step, holds: false, code: Some(code.into()), text: text.into() }
    }
}

// === impl Verdict ===

impl Verdict {
    fn new(steps: Vec<Step>, chain: ChainReport) -> Self {
        Self { accepted: steps.iter().all(|step| step.holds), steps, chain }
    }
}

/// Judges a client certificate as the gateway would at `now`; `others` is what the client sends besides.
pub fn judge_client(
    certificate: &Certificate,
    others: &[Certificate],
    trust: &ClientTrust,
    rules: &CertificateRules,
    now: OffsetDateTime,
) -> Result<Verdict, VerifierBuilderError> {
    let verifier = trust.verifier(crate::provider())?;
    let sent: Vec<CertificateDer<'_>> = others.iter().map(|other| other.der().clone()).collect();
    let result = verifier.verify_client_cert(certificate.der(), &sent, unix(now));
    let report = chain::verify(certificate, others, &trust.store, Purpose::Client, now);
    let mut steps = Vec::new();
    if let Err(error) = result {
        steps.push(refusal(&error, certificate, others, trust, &report, now));
        return Ok(Verdict::new(steps, report));
    }
    steps.push(Step::holds("chain", links(&report)));
    if let Some(revocation) = &trust.revocation {
        steps.push(Step::holds("revocation", known(&revocation.current(), certificate, others, trust, now)));
    }
    match rules.check_at(certificate, now) {
        Ok(()) => steps.push(Step::holds("rules", "the certificate meets every condition of [trust]")),
        Err(refusal) => steps.push(Step::refuses("rules", refusal.code(), refusal.to_string())),
    }
    Ok(Verdict::new(steps, report))
}

/// Judges a server certificate as our outgoing client would.
pub fn judge_server(
    certificate: &Certificate,
    others: &[Certificate],
    store: &TrustStore,
    host: &str,
    now: OffsetDateTime,
) -> Result<Verdict, VerifierBuilderError> {
    let verifier = server_verifier(store, crate::provider())?;
    let report = chain::verify(certificate, others, store, Purpose::Server, now);
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        let step = Step::refuses("name", "wrong-name", format!("\"{host}\" is no host name"));
        return Ok(Verdict::new(vec![step], report));
    };
    let sent: Vec<CertificateDer<'_>> = others.iter().map(|other| other.der().clone()).collect();
    let step = match verifier.verify_server_cert(certificate.der(), &sent, &name, &[], unix(now)) {
        Ok(_) => Step::holds("chain", format!("{}; the name {host} is in it", links(&report))),
        Err(error) => {
            let failure = handshake::classify(&error);
            Step::refuses("chain", failure.code(), because(&failure, &report))
        }
    };
    Ok(Verdict::new(vec![step], report))
}

fn refusal(
    error: &rustls::Error,
    certificate: &Certificate,
    others: &[Certificate],
    trust: &ClientTrust,
    report: &ChainReport,
    now: OffsetDateTime,
) -> Step {
    let failure = handshake::classify(error);
    let revoked = matches!(failure.reason, handshake::Reason::Revoked | handshake::Reason::RevocationUnknown);
    if let Some(revocation) = trust.revocation.as_ref().filter(|_| revoked) {
        return Step::refuses(
            "revocation",
            failure.code(),
            known(&revocation.current(), certificate, others, trust, now),
        );
    }
    Step::refuses("chain", failure.code(), because(&failure, report))
}

/// The words of the walk if it found the reason, else those of the handshake.
fn because(failure: &handshake::Failure, report: &ChainReport) -> String {
    match &report.problem {
        Some(problem) => problem.to_string(),
        None => failure.reason.text().to_owned(),
    }
}

fn links(report: &ChainReport) -> String {
    let subjects: Vec<&str> = report.links.iter().map(|link| link.subject.as_str()).collect();
    subjects.join(" <- ")
}

/// What the lists say, in words.
fn known(
    revocation: &Revocation,
    certificate: &Certificate,
    others: &[Certificate],
    trust: &ClientTrust,
    now: OffsetDateTime,
) -> String {
    let Some((path, anchor)) = path(certificate, others, &trust.store, now) else {
        return "the path cannot be followed".to_owned();
    };
    let mode = match revocation.mode() {
        RevocationMode::Soft => "soft",
        RevocationMode::Hard => "hard",
    };
    match revocation.check(&path, &anchor, now) {
        Ok(Standing::Good { until }) if until >= now => format!("not revoked; known until {until}"),
        Ok(Standing::Good { until }) => format!("not revoked by a list that is stale since {until} (mode {mode})"),
        Ok(Standing::Unknown { issuer }) => format!("no list of {issuer} is here, which the mode {mode} accepts"),
        Ok(Standing::Revoked(revoked)) => format!("{} is revoked", revoked.subject),
        Err(refusal) => refusal.to_string(),
    }
}

/// The path by names and signatures, for the words above.
fn path(
    certificate: &Certificate,
    others: &[Certificate],
    store: &TrustStore,
    now: OffsetDateTime,
) -> Option<(Vec<Certificate>, Certificate)> {
    let mut path = vec![certificate.clone()];
    while path.len() <= crate::limits::CHAIN_DEPTH {
        let current = path.last()?;
        let signed = |issuer: &&Certificate| {
            issuer.subject().der() == current.issuer().der() && chain::is_signed_by(current, issuer).is_ok()
        };
        if let Some(anchor) = store.certificates().filter(|anchor| anchor.is_valid_at(now)).find(signed) {
            return Some((path.clone(), anchor.clone()));
        }
        let next = others.iter().find(signed)?.clone();
        path.push(next);
    }
    None
}

fn unix(now: OffsetDateTime) -> UnixTime {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
