//! Reading certificates, trust store and policy from the node's directory, all or nothing.

use std::fmt;
use std::sync::Arc;

use certs::{CertError, CertificateRules, Credentials};
use node::{Directory, Officers, PolicyInForce, PolicyMemory, Settings, SignedBy, TrustError};
use policies::policy::TlsProfile;
use policies::{Finding, Policy};
use time::OffsetDateTime;

use crate::limits::Limits;
use crate::listen::{Profile, TlsError, TlsState, check_server_certificate};

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
    /// Who signed the policy; none if the node has no officers.
    pub signed: Option<SignedBy>,
    /// Who is in office with that policy.
    pub officers: Option<Officers>,
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

/// Reads everything that SIGHUP reloads; finds everything that is wrong with it, not only what comes first. `officers` are
/// those in office; none at the start, when they are those of `node.toml`.
pub fn load(settings: &Settings, officers: Option<&Officers>, now: OffsetDateTime) -> Result<Loaded, LoadError> {
    let mut problems = Problems::default();
    let policy = problems.keep(load_policy(settings, officers), |findings| problem_list(findings, Problem::Finding));
    let files = &settings.server_certificate;
    let credentials = Credentials::load(&files.certificate, &files.private_key);
    let credentials = problems.keep(credentials, |error| vec![Problem::Certificate(error)]);
    let host = settings.base_url.host();
    if let Some(credentials) = &credentials {
        let fits = check_server_certificate(credentials.certificate(), host, now);
        problems.keep(fits, |error| vec![Problem::Tls(error)]);
    }
    // What the trust store itself is worth is said even if the policy cannot be read.
    let Some((policy, signed, officers)) = policy else {
        let store = certs::TrustStore::load(&settings.trust_stores.client);
        problems.keep(store, |errors| problem_list(errors, Problem::Certificate));
        return Err(LoadError(problems.0));
    };
    let trust = problems.keep(node::client_trust(settings, &policy), |error| match error {
        TrustError::Files(errors) => problem_list(errors, Problem::Certificate),
        TrustError::NoListedIssuer => vec![Problem::NoListedIssuer],
    });
    let (Some(trust), Some(credentials), true) = (trust, credentials, problems.0.is_empty()) else {
        return Err(LoadError(problems.0));
    };
    let profile = match policy.tls().profile {
        TlsProfile::DsfCompat => Profile::DsfCompat,
        TlsProfile::Bsi => Profile::Bsi,
        TlsProfile::Tls13Only => Profile::Tls13Only,
    };
    let tickets = &policy.tls().tickets;
    let ticket_seconds = if tickets.enabled { u32::try_from(tickets.rotate.as_secs()).unwrap_or(u32::MAX) } else { 0 };
    let tls = TlsState::build(profile, &credentials, trust, host, ticket_seconds, now)
        .map_err(|error| LoadError(vec![Problem::Tls(error)]))?;
    let rules = node::certificate_rules(policy.trust());
    let limits = Limits::from_policy(policy.limits());
    Ok(Loaded { tls, policy: Arc::new(policy), rules, limits, signed, officers })
}

/// What is wrong with the policy, for a node of which the settings cannot be read.
#[must_use]
pub fn policy_findings(directory: &Directory) -> Vec<Finding> {
    match node::read_policy_files(directory).and_then(|files| Policy::load(&files)) {
        Ok(policy) => policy.warnings().to_vec(),
        Err(findings) => findings,
    }
}

type SignedPolicy = (Policy, Option<SignedBy>, Option<Officers>);

fn load_policy(settings: &Settings, officers: Option<&Officers>) -> Result<SignedPolicy, Vec<Finding>> {
    let PolicyInForce { files, signed, officers } = match officers {
        Some(officers) => node::read_policy_by(settings, officers)?,
        None => node::read_policy(settings)?,
    };
    let memory = PolicyMemory::of(&settings.directory, crate::run::PROCESS);
    memory.admit(signed.as_ref()).map_err(|finding| vec![finding])?;
    let policy = Policy::load(&files)?;
    for warning in policy.warnings() {
        tracing::warn!(finding = %warning, "policy");
    }
    Ok((policy, signed, officers))
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
