//! What the files that `node.toml` names are worth: the organisation's certificate, the trust stores, the folders.
//!
//! An error is what the engine cannot run with. What partners would refuse, or what others on the machine could read, is
//! a warning: the node still answers, and the administrator is told by `check` and in the log of every start.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use certs::chain::{self, Purpose};
use certs::trust::TrustStore;
use certs::{Certificate, Credentials};
use client::Client;
use node::{NODE_TOML, Settings, StoreUrl};
use policies::policy::Approval;
use policies::{AllowList, Policy};
use settings::{Finding, Severity};
use sources::configured::Sources;
use time::OffsetDateTime;

use crate::initial_bundle;
use crate::messenger::client_settings;

/// Everything that is found.
pub(super) fn findings(
    settings: &Settings,
    policy: &Policy,
    credentials: &Credentials,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    certificate(settings, policy, credentials, now, &mut findings);
    private_file("certificates.client", &settings.client_certificate.private_key, &mut findings);
    if let Some(password) = settings.outgoing.proxy.as_ref().and_then(|proxy| proxy.password_file.as_deref()) {
        private_file("outgoing.proxy", password, &mut findings);
    }
    outgoing(settings, policy, &mut findings);
    approvers(settings, policy, &mut findings);
    if let StoreUrl::PostgreSql(database) = &settings.store
        && let Some(password) = &database.password_file
    {
        private_file("store.password-file", password, &mut findings);
    }
    findings.extend(crate::database::findings(&settings.store));
    findings.extend(confinement(settings));
    let data = settings.directory.data();
    let data = match &settings.store {
        StoreUrl::Sqlite(file) => file.parent(),
        StoreUrl::PostgreSql(_) => Some(data.as_path()),
    };
    if let Some(path) = &settings.engine.initial_bundle
        && let Err(problem) = initial_bundle::read(path)
    {
        findings.push(error(format!("engine.initial-bundle: {problem}"), problem.remedy()));
    }
    if let Some(source) = &settings.source {
        findings.extend(source_findings(settings, source, policy));
    }
    for folder in [data, Some(&settings.directory.audit()), Some(Path::new("run"))].into_iter().flatten() {
        writable(folder, &mut findings);
    }
    findings
}

/// The records of the site: their folder can be read, and what else is named is usable. The index is made by a command
/// and may be missing here.
fn source_findings(settings: &Settings, source: &node::Source, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(records) = &source.records
        && let Err(problem) = std::fs::read_dir(&records.folder)
    {
        findings.push(error(
            format!("source.folder: {}: {problem}", records.folder.display()),
            "name a folder that this user can read, or leave it out",
        ));
    }
    if let Err(problem) = Sources::open(settings, source, policy.outbound()) {
        findings.push(error(format!("[source]: {problem}"), problem.remedy()));
    }
    for server in &source.servers {
        if let Some(file) = server.authentication.file() {
            if let Err(problem) = std::fs::File::open(file) {
                let text = format!("source.server {}: {}: {problem}", server.name, file.display());
                findings.push(error(text, "write the secret into this file, for the engine's user alone"));
            }
            private_file("source.server", file, &mut findings);
        }
        if let Some(pair) = &server.certificate {
            private_file("source.server", &pair.private_key, &mut findings);
        }
    }
    findings
}

/// Whether the kernel confines both processes, and whether they are kept apart.
fn confinement(settings: &Settings) -> Vec<Finding> {
    use crate::confinement::{in_force, is_required, profile};
    // A process that is confined already reads its configuration again; it could not try it a second time.
    let mut findings = match in_force() {
        Some(_) => Vec::new(),
        None => daemon::confinement_findings(&profile(settings), is_required(settings)),
    };
    if settings.gateway_user.is_none() {
        let text = "node.gateway-user: gateway and engine run as one user, so file modes do not keep them apart";
        let remedy = "install the package, which gives each a user of its own, or accept it for a trial";
        findings.push(warning(text, remedy));
    }
    findings
}

/// Approval that nobody could give would hold up every change for ever.
fn approvers(settings: &Settings, policy: &Policy, findings: &mut Vec<Finding>) {
    let needed = match policy.allow_list().approval {
        Approval::None => return,
        Approval::OnePerson => 1,
        Approval::TwoPerson => 2,
    };
    // Certificates that cannot be read are reported by whoever reads the policy.
    let officers = settings.officers.as_ref().map(node::officers::Officers::load).transpose();
    let Ok(named) = officers.map(|officers| officers.map_or(0, |officers| officers.persons())) else { return };
    if named < needed {
        let text = format!("[allow-list] approval of the policy needs {needed} officers, and {named} are named");
        findings.push(error(text, "name their certificates under [officers] in node.toml"));
    }
}

fn error(text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::in_file(NODE_TOML, text, remedy)
}

fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, ..error(text, remedy) }
}

/// Whether partners will accept the certificate, as far as this node can tell: by its own trust store for clients, which
/// in a network is the same for all.
fn certificate(
    settings: &Settings,
    policy: &Policy,
    credentials: &Credentials,
    now: OffsetDateTime,
    findings: &mut Vec<Finding>,
) {
    let leaf = credentials.certificate();
    let others: Vec<Certificate> = credentials.chain().skip(1).cloned().collect();
    // The gateway reports a trust store that cannot be read.
    if let Ok(trusted) = TrustStore::load(&settings.trust_stores.client)
        && let Some(problem) = chain::verify(leaf, &others, &trusted, Purpose::Client, now).problem
    {
        let remedy = "partners and this node itself would refuse it: `schleuse cert inspect` shows why";
        findings.push(warning(format!("certificates.client: {problem}"), remedy));
    }
    let left = Duration::try_from(leaf.not_after() - now).unwrap_or_default();
    if leaf.is_valid_at(now) && policy.trust().warn_expiry.iter().any(|before| left <= *before) {
        let text = format!("certificates.client: {} ends in {} days", leaf.subject(), leaf.days_left(now));
        findings.push(warning(text, "renew it, tell the network its new thumbprint, and reload"));
    }
}

fn private_file(key: &str, path: &Path, findings: &mut Vec<Finding>) {
    // A file that cannot be read is reported by who reads it.
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    // A credential of the service manager belongs to root and lets this user in as a group does.
    let strangers = if metadata.uid() == rustix::process::geteuid().as_raw() { 0o077 } else { 0o007 };
    if mode & strangers != 0 {
        let text = format!("{key}: {} can be read by other users (mode {mode:03o})", path.display());
        findings.push(warning(text, format!("chmod 600 {}", path.display())));
    }
}

fn outgoing(settings: &Settings, policy: &Policy, findings: &mut Vec<Finding>) {
    let nobody = AllowList::empty(settings.organization_identifier.clone(), settings.base_url.as_str());
    let nobody = Arc::new(ArcSwap::from_pointee(nobody));
    if let Err(problem) = Client::new(client_settings(settings, policy, &nobody)) {
        findings.push(error(format!("outgoing connections: {problem}"), problem.remedy()));
    }
}

/// A folder that is missing is made at start, so the nearest one that exists counts.
fn writable(folder: &Path, findings: &mut Vec<Finding>) {
    let here = Path::new(".");
    let existing = folder.ancestors().find(|known| known.metadata().is_ok()).unwrap_or(here);
    let existing = if existing.as_os_str().is_empty() { here } else { existing };
    let needed = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(problem) = rustix::fs::access(existing, needed) {
        let text = format!("the folder {} cannot be written to: {problem}", existing.display());
        findings.push(error(text, "make the engine's user its owner"));
    }
}
