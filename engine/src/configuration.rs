//! What the engine is configured with: `node.toml`, the policies and the organisation's certificate, read and checked
//! together so that every finding is reported at once. Start, reload and `--check` use this one function.

use std::path::Path;
use std::sync::Arc;

use certs::Credentials;
use node::{Directory, PolicyInForce, PolicyMemory, Settings, SignedBy};
use policies::{Policy, Thumbprint};
use settings::{Finding, Severity};
use time::OffsetDateTime;

mod surroundings;

/// Name of this process in files of the node.
pub(crate) const PROCESS: &str = "engine";

/// Everything that comes from files.
pub struct Configuration {
    /// `node.toml`.
    pub settings: Settings,
    /// `policies/`.
    pub policy: Arc<Policy>,
    /// Who signed it; none if the node has no officers.
    pub signed: Option<SignedBy>,
    /// The organisation's certificate.
    pub credentials: Credentials,
    /// Its thumbprint.
    pub thumbprint: Thumbprint,
    /// What deserves a look.
    pub warnings: Vec<Finding>,
}

/// The configuration is refused.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is refused:\n{}", lines(.0))]
pub struct ConfigurationError(pub Vec<Finding>);

// === impl Configuration ===

impl Configuration {
    /// From here on no older signed policy is accepted.
    pub(crate) fn remember(&self) -> Result<(), ConfigurationError> {
        let memory = PolicyMemory::of(&self.settings.directory, PROCESS);
        memory.remember(self.signed.as_ref()).map_err(|finding| ConfigurationError(vec![finding]))
    }

    /// Reads the configuration of the node in the working directory.
    pub fn load() -> Result<Self, ConfigurationError> {
        let directory = Directory::new(Path::new("."));
        let mut findings = Vec::new();
        let settings = take(&mut findings, node::load(&directory));
        let policy = load_policy(&directory, settings.as_ref());
        let policy = match policy {
            Ok(policy) => Some(policy),
            Err(errors) => {
                findings.extend(errors);
                None
            }
        };
        let credentials = settings.as_ref().and_then(|settings| load_credentials(settings, &mut findings));
        match (settings, policy, credentials) {
            (Some(settings), Some((policy, signed)), Some((credentials, thumbprint))) => {
                findings.extend(policy.warnings().iter().cloned());
                findings.extend(surroundings::findings(&settings, &policy, &credentials, OffsetDateTime::now_utc()));
                if findings.iter().any(Finding::is_error) {
                    return Err(ConfigurationError(findings));
                }
                let policy = Arc::new(policy);
                Ok(Self { settings, policy, signed, credentials, thumbprint, warnings: findings })
            }
            _ => Err(ConfigurationError(findings)),
        }
    }
}

/// The policy that the node obeys; if the settings are not known, the files in `policies/`, for their findings.
fn load_policy(directory: &Directory, settings: Option<&Settings>) -> Result<(Policy, Option<SignedBy>), Vec<Finding>> {
    let PolicyInForce { files, signed } = match settings {
        Some(settings) => node::read_policy(settings)?,
        None => PolicyInForce { files: node::read_policy_files(directory)?, signed: None },
    };
    if settings.is_some() {
        PolicyMemory::of(directory, PROCESS).admit(signed.as_ref()).map_err(|finding| vec![finding])?;
    }
    Ok((Policy::load(&files)?, signed))
}

fn load_credentials(settings: &Settings, findings: &mut Vec<Finding>) -> Option<(Credentials, Thumbprint)> {
    let pair = &settings.client_certificate;
    let loaded = Credentials::load(&pair.certificate, &pair.private_key);
    let credentials = match loaded {
        Ok(credentials) => credentials,
        Err(error) => {
            findings.push(Finding::in_file(node::NODE_TOML, format!("certificates.client: {error}"), error.remedy()));
            return None;
        }
    };
    let thumbprint = credentials.chain().next().and_then(|leaf| leaf.thumbprint().parse().ok());
    if thumbprint.is_none() {
        findings.push(Finding::in_file(
            node::NODE_TOML,
            "certificates.client holds no certificate",
            "add the leaf certificate",
        ));
    }
    Some((credentials, thumbprint?))
}

/// Takes the value, and adds its findings either way.
fn take<T>(findings: &mut Vec<Finding>, result: Result<(T, Vec<Finding>), Vec<Finding>>) -> Option<T> {
    match result {
        Ok((value, found)) => {
            findings.extend(found);
            Some(value)
        }
        Err(found) => {
            findings.extend(found);
            None
        }
    }
}

fn lines(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n")
}
