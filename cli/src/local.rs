//! What a node's files say, without asking the node: policy, last allow-list, audit records.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use link::Snapshot;
use node::{Directory, Settings};
use policies::{AllowList, Finding, Policy};

/// Files of a node.
pub(crate) struct Local {
    pub(crate) directory: Directory,
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    /// The gateway's last copy; none if the node never ran.
    pub(crate) allow_list: Option<AllowList>,
    /// When the gateway wrote it.
    pub(crate) allow_list_kept: Option<SystemTime>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Findings(Vec<Finding>),
    #[error("the copy of the allow-list in {path} cannot be used: {reason}")]
    Snapshot { path: PathBuf, reason: String },
    #[error("{0} has no allow-list yet; start the node once, and load the list")]
    NoAllowList(PathBuf),
}

impl LocalError {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Findings(_) => 78,
            Self::Snapshot { .. } | Self::NoAllowList(_) => 1,
        }
    }
}

impl Local {
    pub(crate) fn load(directory: &Path) -> Result<Self, LocalError> {
        let directory = Directory::new(directory);
        let (settings, _) = node::load(&directory).map_err(LocalError::Findings)?;
        let policy = node::read_policy(&settings).map_err(LocalError::Findings)?;
        let policy = Policy::load(&policy.files).map_err(LocalError::Findings)?;
        let allow_list = snapshot(&directory)?.map(|snapshot| snapshot.allow_list().clone());
        let allow_list_kept = changed(&directory.snapshot_copy());
        Ok(Self { directory, settings, policy, allow_list, allow_list_kept })
    }

    /// The allow-list, without which the question has no answer.
    pub(crate) fn allow_list(&self) -> Result<&AllowList, LocalError> {
        self.allow_list.as_ref().ok_or_else(|| LocalError::NoAllowList(self.directory.root().to_owned()))
    }

    /// The allow-list, or one in which only this node is named.
    pub(crate) fn allow_list_or_own(&self) -> AllowList {
        self.allow_list.clone().unwrap_or_else(|| own_list(&self.settings))
    }

    /// The same of a node whose policy is not read.
    pub(crate) fn allow_list_of(settings: &Settings) -> Result<AllowList, LocalError> {
        let list = snapshot(&settings.directory)?.map(|snapshot| snapshot.allow_list().clone());
        Ok(list.unwrap_or_else(|| own_list(settings)))
    }
}

fn own_list(settings: &Settings) -> AllowList {
    AllowList::empty(settings.organization_identifier.clone(), settings.base_url.as_str())
}

/// When a file was written, if that can be told.
pub(crate) fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn snapshot(directory: &Directory) -> Result<Option<Snapshot>, LocalError> {
    let path = directory.snapshot_copy();
    let broken = |reason: String| LocalError::Snapshot { path: path.clone(), reason };
    match std::fs::read(&path) {
        Ok(bytes) => Snapshot::from_json(&bytes).map(Some).map_err(|error| broken(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(error.to_string())),
    }
}

/// A policy from a node's directory, from a folder with policy files, or from one file.
pub(crate) fn policy_at(path: &Path) -> Result<Policy, LocalError> {
    let files = if path.is_file() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy = "name a policy file, a folder with policy files, or a node";
            LocalError::Findings(vec![Finding::in_file(&path.display().to_string(), error.to_string(), remedy)])
        })?;
        vec![(name, text)]
    } else {
        let node = Directory::new(path);
        if let Ok((settings, _)) = node::load(&node)
            && settings.officers.is_some()
        {
            let policy = node::read_policy(&settings).map_err(LocalError::Findings)?;
            return Policy::load(&policy.files).map_err(LocalError::Findings);
        }
        let below = node.policies();
        let folder = if below.is_dir() { below } else { path.to_owned() };
        node::read_policy_folder(&folder).map_err(LocalError::Findings)?
    };
    Policy::load(&files).map_err(LocalError::Findings)
}

/// The files of an audit log, oldest first: `gateway.000001.log`, ..., `gateway.log`.
pub(crate) fn audit_files(directory: &Directory, process: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory.audit())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let number = name.strip_prefix(process).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".log"));
        if number.is_some_and(|number| number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit())) {
            files.push(path);
        }
    }
    files.sort();
    let newest = directory.audit().join(format!("{process}.log"));
    if newest.is_file() {
        files.push(newest);
    }
    Ok(files)
}
