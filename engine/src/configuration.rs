//! What the engine is configured with: `node.toml`, the policies and the organisation's certificate, read and checked
//! together so that every finding is reported at once. Start, reload and `--check` use this one function.

use std::path::Path;
use std::sync::Arc;

use certs::Credentials;
use node::{Directory, Officers, PolicyInForce, PolicyMemory, Settings, SignedBy};
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
    /// Who is in office with that policy.
    pub officers: Option<Officers>,
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

    /// Reads the configuration of the node in the working directory. `officers` are those in office; none at the start,
    /// when they are those of `node.toml`.
    pub fn load(officers: Option<&Officers>) -> Result<Self, ConfigurationError> {
        let directory = Directory::new(Path::new("."));
        let mut findings = Vec::new();
        let settings = take(&mut findings, node::load(&directory));
        let policy = load_policy(&directory, settings.as_ref(), officers);
        let policy = match policy {
            Ok(policy) => Some(policy),
            Err(errors) => {
                findings.extend(errors);
                None
            }
        };
        let credentials = settings.as_ref().and_then(|settings| load_credentials(settings, &mut findings));
        match (settings, policy, credentials) {
            (Some(settings), Some((policy, signed, officers)), Some((credentials, thumbprint))) => {
                findings.extend(policy.warnings().iter().cloned());
                findings.extend(surroundings::findings(&settings, &policy, &credentials, OffsetDateTime::now_utc()));
                if findings.iter().any(Finding::is_error) {
                    return Err(ConfigurationError(findings));
                }
                let policy = Arc::new(policy);
                Ok(Self { settings, policy, signed, officers, credentials, thumbprint, warnings: findings })
            }
            _ => Err(ConfigurationError(findings)),
        }
    }
}

type SignedPolicy = (Policy, Option<SignedBy>, Option<Officers>);

/// The policy that the node obeys; if the settings are not known, the files in `policies/`, for their findings.
fn load_policy(
    directory: &Directory,
    settings: Option<&Settings>,
    officers: Option<&Officers>,
) -> Result<SignedPolicy, Vec<Finding>> {
    let PolicyInForce { files, signed, officers } = match (settings, officers) {
        (Some(settings), Some(officers)) if settings.officers.is_some() => in_office(settings, officers)?,
        (Some(settings), _) => node::read_policy(settings)?,
        (None, _) => PolicyInForce { files: node::read_policy_files(directory)?, signed: None, officers: None },
    };
    if settings.is_some() {
        PolicyMemory::of(directory, PROCESS).admit(signed.as_ref()).map_err(|finding| vec![finding])?;
    }
    Ok((Policy::load(&files)?, signed, officers))
}

/// The policy by the officers in office. Those of `node.toml` must be theirs, or come into office with it: who edits that
/// file makes nobody an officer of a node that runs.
fn in_office(settings: &Settings, officers: &Officers) -> Result<PolicyInForce, Vec<Finding>> {
    let policy = node::read_policy_by(settings, officers)?;
    let named = settings.officers.as_ref().map(Officers::load).transpose()?;
    if named.zip(policy.officers.as_ref()).is_some_and(|(named, after)| named.are_same(after)) {
        return Ok(policy);
    }
    let text = "officers: others are in office, and no policy in force changes them";
    let remedy = "sign the policy again with `schleuse policy sign`, enough officers of before and enough of the new ones, and \
                  activate it; or restore [officers]";
    Err(vec![Finding::in_file(node::NODE_TOML, text, remedy)])
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
