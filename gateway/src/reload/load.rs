//! Reading certificates, trust store and policy from the node's directory, all or nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use certs::{CertError, CertificateRules, Credentials, TrustStore};
use node::Settings;
use policies::policy::{AbsentEku, TlsProfile, Trust};
use policies::{Finding, Policy};
use time::OffsetDateTime;

use crate::limits::Limits;
use crate::listen::{Profile, TlsError, TlsState};

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
    /// The policy files cannot be read.
    #[error("policies cannot be read from {path}: {source}\n  remedy: make the folder readable for the gateway's user")]
    Policies {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No authority of the trust store has a fingerprint that the policy demands.
    #[error(
        "no client authority has a fingerprint of issuer-sha256\n  remedy: add the issuing authority to the trust store, or correct the fingerprint"
    )]
    NoListedIssuer,
}

/// Largest policy file; the shipped ones have 10 KiB.
const POLICY_BYTES: u64 = 1 << 20;

/// Reads everything that SIGHUP reloads.
pub fn load(settings: &Settings, now: OffsetDateTime) -> Result<Loaded, LoadError> {
    let policy = load_policy(&settings.directory.policies())?;
    for warning in policy.warnings() {
        tracing::warn!(finding = %warning, "policy");
    }
    let files = &settings.server_certificate;
    let credentials = Credentials::load(&files.certificate, &files.private_key)
        .map_err(|error| LoadError::Certificates(vec![error]))?;
    let trust = TrustStore::load(&settings.trust_stores.client).map_err(LoadError::Certificates)?;
    let trust = narrow(trust, &policy.trust().issuer_sha256)?;
    let profile = match policy.tls().profile {
        TlsProfile::DsfCompat => Profile::DsfCompat,
        TlsProfile::Bsi => Profile::Bsi,
        TlsProfile::Tls13Only => Profile::Tls13Only,
    };
    let tickets = &policy.tls().tickets;
    let ticket_seconds =
        if tickets.enabled { u32::try_from(tickets.rotate.as_secs()).unwrap_or(u32::MAX) } else { 0 };
    let tls = TlsState::build(profile, &credentials, &trust, settings.base_url.host(), ticket_seconds, now)
        .map_err(|error| {
            let remedy = remedy(&error);
            LoadError::Tls(error, remedy)
        })?;
    let rules = rules(policy.trust());
    let limits = Limits::from_policy(policy.limits());
    Ok(Loaded { tls, policy: Arc::new(policy), rules, limits })
}

/// Reads and validates the policy tree.
fn load_policy(folder: &Path) -> Result<Policy, LoadError> {
    let unreadable = |source| LoadError::Policies { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.extension().is_none_or(|extension| extension != "toml") || name.starts_with('.') {
            continue;
        }
        if std::fs::metadata(&path).map_err(unreadable)?.len() > POLICY_BYTES {
            return Err(unreadable(std::io::Error::other(format!("{name} is larger than {POLICY_BYTES} bytes"))));
        }
        files.push((name.to_owned(), std::fs::read_to_string(&path).map_err(unreadable)?));
    }
    files.sort_unstable();
    Policy::load(&files).map_err(LoadError::Findings)
}

/// Keeps those authorities whose fingerprints are listed: a path then ends at one of them or nowhere.
fn narrow(trust: TrustStore, fingerprints: &[String]) -> Result<TrustStore, LoadError> {
    if fingerprints.is_empty() {
        return Ok(trust);
    }
    let listed: Vec<_> =
        trust.certificates().filter(|known| fingerprints.iter().any(|print| print == known.sha256())).cloned().collect();
    if listed.is_empty() {
        return Err(LoadError::NoListedIssuer);
    }
    TrustStore::from_certificates(listed, "issuer-sha256").map_err(LoadError::Certificates)
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
        TlsError::HostMissing { .. } => "use a certificate whose subject alternative names hold that host, or correct base-url",
        TlsError::Expired { .. } => "renew the server certificate; `schleuse cert inspect` shows its dates",
        TlsError::Rustls(_) => "the key is of a kind that TLS cannot use; use ECDSA P-256 or RSA with at least 2048 bit",
        TlsError::Verifier(_) => "the trust store must hold certificates of authorities",
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn certificate_lines(errors: &[CertError]) -> String {
    errors.iter().map(|error| format!("{error}\n  remedy: {}", error.remedy())).collect::<Vec<_>>().join("\n")
}
