//! Reading certificates, trust store and policy from the node's directory, all or nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use certs::{CertError, CertificateRules, Credentials, TrustStore};
use node::{Directory, Settings};
use policies::policy::{AbsentEku, TlsProfile, Trust};
use policies::{Finding, Policy};
use time::OffsetDateTime;

use crate::limits::Limits;
use crate::listen::{Profile, TlsError, TlsState, Trusted, check_server_certificate};

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

/// Why the state on disk cannot be used: everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct LoadError(Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug)]
enum Problem {
    /// In `node.toml` or the policy.
    Finding(Finding),
    /// A certificate or key file cannot be used.
    Certificate(CertError),
    /// The server certificate does not fit the node.
    Tls(TlsError),
    /// No authority of the trust store has a fingerprint that the policy demands.
    NoListedIssuer,
}

impl LoadError {
    /// What is wrong, one finding each.
    #[must_use]
    pub fn into_findings(self) -> Vec<Finding> {
        self.0.into_iter().map(Problem::into_finding).collect()
    }
}

impl Problem {
    fn into_finding(self) -> Finding {
        let of = |file: &str, text: String, remedy: &str| Finding::in_file(file, text, remedy);
        match self {
            Self::Finding(finding) => finding,
            Self::Certificate(error) => of(node::NODE_TOML, error.to_string(), &error.remedy()),
            Self::Tls(error) => of(node::NODE_TOML, error.to_string(), remedy(&error)),
            Self::NoListedIssuer => of("policies", NO_LISTED_ISSUER.0.to_owned(), NO_LISTED_ISSUER.1),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(finding) => finding.fmt(f),
            Self::Certificate(error) => write!(f, "{error}\n  remedy: {}", error.remedy()),
            Self::Tls(error) => write!(f, "{error}\n  remedy: {}", remedy(error)),
            Self::NoListedIssuer => write!(f, "{}\n  remedy: {}", NO_LISTED_ISSUER.0, NO_LISTED_ISSUER.1),
        }
    }
}

const NO_LISTED_ISSUER: (&str, &str) = (
    "no client authority has a fingerprint of issuer-sha256",
    "add the issuing authority to the trust store, or correct the fingerprint",
);

/// Reads everything that SIGHUP reloads; finds everything that is wrong with it, not only what comes first.
pub fn load(settings: &Settings, now: OffsetDateTime) -> Result<Loaded, LoadError> {
    let mut problems = Problems::default();
    let policy = problems.keep(load_policy(&settings.directory), |findings| problem_list(findings, Problem::Finding));
    let files = &settings.server_certificate;
    let credentials = Credentials::load(&files.certificate, &files.private_key);
    let credentials = problems.keep(credentials, |error| vec![Problem::Certificate(error)]);
    let trust = TrustStore::load(&settings.trust_stores.client);
    let trust = problems.keep(trust, |errors| problem_list(errors, Problem::Certificate));
    let host = settings.base_url.host();
    if let Some(credentials) = &credentials {
        let fits = check_server_certificate(credentials.certificate(), host, now);
        problems.keep(fits, |error| vec![Problem::Tls(error)]);
    }
    let (Some(policy), Some(trust)) = (policy, trust) else { return Err(LoadError(problems.0)) };
    let issuers = problems.keep(listed_issuers(&trust, &policy.trust().issuer_sha256), |problems| problems);
    let (Some(issuers), Some(credentials), true) = (issuers, credentials, problems.0.is_empty()) else {
        return Err(LoadError(problems.0));
    };
    let trust = Trusted { store: trust, issuers, depth: usize::from(policy.trust().max_depth) };
    let profile = match policy.tls().profile {
        TlsProfile::DsfCompat => Profile::DsfCompat,
        TlsProfile::Bsi => Profile::Bsi,
        TlsProfile::Tls13Only => Profile::Tls13Only,
    };
    let tickets = &policy.tls().tickets;
    let ticket_seconds = if tickets.enabled { u32::try_from(tickets.rotate.as_secs()).unwrap_or(u32::MAX) } else { 0 };
    let tls = TlsState::build(profile, &credentials, &trust, host, ticket_seconds, now)
        .map_err(|error| LoadError(vec![Problem::Tls(error)]))?;
    let rules = rules(policy.trust());
    let limits = Limits::from_policy(policy.limits());
    Ok(Loaded { tls, policy: Arc::new(policy), rules, limits })
}

/// What is wrong with the policy, for a node of which the settings cannot be read.
#[must_use]
pub fn policy_findings(directory: &Directory) -> Vec<Finding> {
    match load_policy(directory) {
        Ok(policy) => policy.warnings().to_vec(),
        Err(findings) => findings,
    }
}

fn load_policy(directory: &Directory) -> Result<Policy, Vec<Finding>> {
    let policy = node::read_policy_files(directory).and_then(|files| Policy::load(&files))?;
    for warning in policy.warnings() {
        tracing::warn!(finding = %warning, "policy");
    }
    Ok(policy)
}

/// Everything that was found wrong so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn keep<T, E>(&mut self, result: Result<T, E>, problems: impl FnOnce(E) -> Vec<Problem>) -> Option<T> {
        result.map_err(|error| self.0.extend(problems(error))).ok()
    }
}

fn problem_list<E>(errors: Vec<E>, problem: impl Fn(E) -> Problem) -> Vec<Problem> {
    errors.into_iter().map(problem).collect()
}

/// The authorities whose fingerprints are listed; none when no list is given.
fn listed_issuers(trust: &TrustStore, fingerprints: &[String]) -> Result<Option<TrustStore>, Vec<Problem>> {
    if fingerprints.is_empty() {
        return Ok(None);
    }
    let listed: Vec<_> = trust
        .certificates()
        .filter(|known| fingerprints.iter().any(|print| print == known.sha256()))
        .cloned()
        .collect();
    if listed.is_empty() {
        return Err(vec![Problem::NoListedIssuer]);
    }
    let store = TrustStore::from_certificates(listed, "issuer-sha256");
    store.map(Some).map_err(|errors| problem_list(errors, Problem::Certificate))
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

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
