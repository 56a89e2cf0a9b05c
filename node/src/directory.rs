//! The layout of a node's directory. One place for every path, so that programs, units and documentation agree.

use std::path::{Path, PathBuf};

/// File name of the administrator's settings.
pub const NODE_TOML: &str = "node.toml";

/// The directory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The node in `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `node.toml`
    #[must_use]
    pub fn node_toml(&self) -> PathBuf {
        self.root.join(NODE_TOML)
    }

    /// `policies/`, the security officer's files.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// `certificates/`, the node's own certificates and keys.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// `trust/`, certificates of the authorities that the node trusts.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    /// `crl/`, certificate revocation lists of those authorities.
    #[must_use]
    pub fn revocation_lists(&self) -> PathBuf {
        self.root.join("crl")
    }

    /// `blocks.toml`, certificates that are blocked at once.
    #[must_use]
    pub fn blocks(&self) -> PathBuf {
        self.root.join("blocks.toml")
    }

    /// `data/`, the store and the last good snapshot.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// `data/gateway-snapshot.json`, the gateway's last good copy of the allow-list.
    #[must_use]
    pub fn snapshot_copy(&self) -> PathBuf {
        self.data().join("gateway-snapshot.json")
    }

    /// `audit/`, the hash chains of both processes.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// `run/`, sockets of the running node.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// `log/`, written only when the node is supervised by `schleuse demo`.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The folders that must exist before a node runs; those with keys, data or sockets are for the owner alone.
    #[must_use]
    pub fn folders(&self) -> [(PathBuf, u32); 7] {
        [
            (self.policies(), 0o755),
            (self.certificates(), 0o700),
            (self.trust(), 0o755),
            (self.revocation_lists(), 0o755),
            (self.data(), 0o700),
            (self.audit(), 0o700),
            (self.run(), 0o700),
        ]
    }

    /// Creates the folders with their modes; existing ones keep their content and get the mode.
    pub fn create(&self) -> std::io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
        for (folder, mode) in self.folders() {
            std::fs::DirBuilder::new().recursive(true).mode(mode).create(&folder)?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}
