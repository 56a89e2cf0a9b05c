//! Reading certificates, trust store and policy from the node's directory, all or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use certs::{CertError, CertificateRules, Credentials, TrustStore};
use node::Settings;
use policies::policy::{AbsentEku, TlsProfile, Trust};
use policies::{Finding, Policy};
use time::OffsetDateTime;

use crate::limits::Limits;
use crate::listen::{Profile, TlsError, TlsState, Trusted};

/// A state that was read whole and is consistent.
#[derive(Debug)]
pub struct Loaded {
    /// For handshakes.
    pub tls: TlsState,
    /// For decisions.
    pub policy: Arc<Policy>,
    /// The policy's conditions on certificates.
    pub rules: CertificateRules,
    /// The policy's limits.
    pub limits: Limits,
}

/// Why the state on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// `node.toml` or the policy has errors.
    #[error("{}", lines(.0))]
    Findings(Vec<Finding>),
    /// A certificate or key file cannot be used.
    #[error("{}", certificate_lines(.0))]
    Certificates(Vec<CertError>),
    /// The server certificate does not fit the node.
    #[error("{0}\n  remedy: {1}")]
    Tls(TlsError, &'static str),
    /// No authority of the trust store has a fingerprint that the policy demands.
    #[error(
        "no client authority has a fingerprint of issuer-sha256\n  remedy: add the issuing authority to the trust store, or correct the fingerprint"
    )]
    NoListedIssuer,
}

impl LoadError {
    /// What is wrong, one finding each.
    #[must_use]
    pub fn into_findings(self) -> Vec<Finding> {
        let of = |file: &str, text: String, remedy: &str| Finding::in_file(file, text, remedy);
        match self {
            Self::Findings(findings) => findings,
            Self::Certificates(errors) => {
                errors.iter().map(|error| of(node::NODE_TOML, error.to_string(), &error.remedy())).collect()
            }
            Self::Tls(error, remedy) => vec![of(node::NODE_TOML, error.to_string(), remedy)],
            Self::NoListedIssuer => vec![of(
                "policies",
                "no client authority has a fingerprint of issuer-sha256".to_owned(),
                "add the issuing authority to the trust store, or correct the fingerprint",
            )],
        }
    }
}

/// Reads everything that SIGHUP reloads.
pub fn load(settings: &Settings, now: OffsetDateTime) -> Result<Loaded, LoadError> {
    let policy = node::read_policy_files(&settings.directory)
        .and_then(|files| Policy::load(&files))
        .map_err(LoadError::Findings)?;
    for warning in policy.warnings() {
        tracing::warn!(finding = %warning, "policy");
    }
    let files = &settings.server_certificate;
    let credentials = Credentials::load(&files.certificate, &files.private_key)
        .map_err(|error| LoadError::Certificates(vec![error]))?;
    let trust = TrustStore::load(&settings.trust_stores.client).map_err(LoadError::Certificates)?;
    let issuers = listed_issuers(&trust, &policy.trust().issuer_sha256)?;
    let trust = Trusted { store: trust, issuers, depth: usize::from(policy.trust().max_depth) };
    let profile = match policy.tls().profile {
        TlsProfile::DsfCompat => Profile::DsfCompat,
        TlsProfile::Bsi => Profile::Bsi,
        TlsProfile::Tls13Only => Profile::Tls13Only,
    };
    let tickets = &policy.tls().tickets;
    let ticket_seconds = if tickets.enabled { u32::try_from(tickets.rotate.as_secs()).unwrap_or(u32::MAX) } else { 0 };
    let tls = TlsState::build(profile, &credentials, &trust, settings.base_url.host(), ticket_seconds, now).map_err(
        |error| {
            let remedy = remedy(&error);
            LoadError::Tls(error, remedy)
        },
    )?;
    let rules = rules(policy.trust());
    let limits = Limits::from_policy(policy.limits());
    Ok(Loaded { tls, policy: Arc::new(policy), rules, limits })
}

/// The authorities whose fingerprints are listed; none when no list is given.
fn listed_issuers(trust: &TrustStore, fingerprints: &[String]) -> Result<Option<TrustStore>, LoadError> {
    if fingerprints.is_empty() {
        return Ok(None);
    }
    let listed: Vec<_> = trust
        .certificates()
        .filter(|known| fingerprints.iter().any(|print| print == known.sha256()))
        .cloned()
        .collect();
    if listed.is_empty() {
        return Err(LoadError::NoListedIssuer);
    }
    TrustStore::from_certificates(listed, "issuer-sha256").map(Some).map_err(LoadError::Certificates)
}

fn rules(trust: &Trust) -> CertificateRules {
    let listed = |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().collect::<BTreeSet<_>>());
    CertificateRules {
        issuer_common_names: listed(&trust.issuer_cn),
        subject_countries: listed(&trust.subject_country),
        missing_country_allowed_for: trust.allow_missing_country_for.iter().cloned().collect(),
        client_auth_required: trust.absent_eku == AbsentEku::Reject,
        minimum_rsa_bits: usize::try_from(trust.keys.min_rsa_leaf).ok(),
        curves: listed(&trust.keys.curves),
        denied_thumbprints: trust.deny_thumbprints.iter().map(ToString::to_string).collect(),
    }
}

const fn remedy(error: &TlsError) -> &'static str {
    match error {
        TlsError::HostMissing { .. } => {
            "use a certificate whose subject alternative names hold that host, or correct base-url"
        }
        TlsError::Expired { .. } => "renew the server certificate; `schleuse cert inspect` shows its dates",
        TlsError::Rustls(_) => {
            "the key is of a kind that TLS cannot use; use ECDSA P-256 or RSA with at least 2048 bit"
        }
        TlsError::Verifier(_) => "the trust store must hold certificates of authorities",
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn certificate_lines(errors: &[CertError]) -> String {
    errors.iter().map(|error| format!("{error}\n  remedy: {}", error.remedy())).collect::<Vec<_>>().join("\n")
}
