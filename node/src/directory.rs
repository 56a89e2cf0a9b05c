//! The layout of a node's directory. One place for every path, so that programs, units and documentation agree.

use std::path::{Path, PathBuf};

use crate::GatewayUser;
use crate::blocks::BLOCKS_TOML;

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

    /// `signed-policies/`, what officers have signed and what was activated, a folder for each number.
    #[must_use]
    pub fn signed_policies(&self) -> PathBuf {
        self.root.join("signed-policies")
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

    /// `blocks/blocks.toml`, certificates that are blocked at once. In a folder of its own, which the confined gateway may
    /// read while the file is replaced.
    #[must_use]
    pub fn blocks(&self) -> PathBuf {
        self.root.join("blocks").join(BLOCKS_TOML)
    }

    /// `data/`, the store and the last good snapshot.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// `gateway/`, what the gateway keeps; it has no access to `data/`.
    #[must_use]
    pub fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// `gateway/snapshot.json`, the gateway's last good copy of the allow-list.
    #[must_use]
    pub fn snapshot_copy(&self) -> PathBuf {
        self.gateway().join("snapshot.json")
    }

    /// `refresh/`, what the refresher keeps.
    #[must_use]
    pub fn refresh(&self) -> PathBuf {
        self.root.join("refresh")
    }

    /// `refresh/state.json`, how the fetching of revocation lists went.
    #[must_use]
    pub fn refresh_state(&self) -> PathBuf {
        self.refresh().join("state.json")
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
    pub fn folders(&self) -> [(PathBuf, u32); 11] {
        [
            (self.policies(), 0o755),
            (self.signed_policies(), 0o755),
            (self.certificates(), 0o700),
            (self.trust(), 0o755),
            (self.revocation_lists(), 0o755),
            (self.root.join("blocks"), 0o755),
            (self.data(), 0o700),
            (self.gateway(), 0o700),
            (self.refresh(), 0o755),
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

    /// Creates the folders of a node whose processes all run as one user. Where they have users of their own, whoever
    /// installed the node made the folders and gave them to their owners; a process could not.
    pub fn prepare(&self, gateway_user: Option<&GatewayUser>) -> std::io::Result<()> {
        if gateway_user.is_none() {
            return self.create();
        }
        for (folder, _) in self.folders() {
            std::fs::metadata(&folder).map_err(|error| {
                let text = format!("{}: {error}; systemd-tmpfiles --create makes it", folder.display());
                std::io::Error::new(error.kind(), text)
            })?;
        }
        Ok(())
    }
}
