//! What a service needs, and nothing else.

use std::path::{Path, PathBuf};

/// What may be done with a file or with everything below a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and list.
    Read,
    /// Also write, create, replace and remove regular files.
    Write,
    /// Also make Unix sockets.
    Sockets,
}

/// The part of the network that a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Unix sockets that others listen on; network sockets only those that were opened before.
    Inherited,
    /// Outgoing connections to any port, Unix sockets of its own; no listening TCP port.
    Outgoing,
}

/// What a service needs.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) network: Network,
    pub(crate) grants: Vec<(PathBuf, Access)>,
    /// TCP ports to connect to; `None` for any.
    pub(crate) connect: Option<Vec<u16>>,
}

// === impl Profile ===

impl Profile {
    /// Nothing but the network.
    #[must_use]
    pub const fn new(network: Network) -> Self {
        Self { network, grants: Vec::new(), connect: None }
    }

    /// Grants a file or a folder. What is not there is not granted either, also if it is made later.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, access: Access) -> Self {
        self.grants.push((path.into(), access));
        self
    }

    /// Grants the folder of a file, so that the file can be replaced; only the file where others live in the folder too:
    /// outside `root`, in `root` itself, or beside one of the `strangers`.
    #[must_use]
    pub fn with_file(self, root: &Path, file: &Path, strangers: &[&Path]) -> Self {
        let folder = file.parent().unwrap_or(root);
        let is_shared = !folder.starts_with(root)
            || folder == root
            || folder.components().any(|part| part == std::path::Component::ParentDir)
            || strangers.iter().any(|stranger| stranger.starts_with(folder));
        let granted = if is_shared { file.to_owned() } else { folder.to_owned() };
        self.with(granted, Access::Read)
    }

    /// What the C library reads to resolve names. These files are replaced by others at any time, so their folder is
    /// granted; for root, whom file modes do not stop, only the files themselves.
    #[must_use]
    pub fn with_name_resolution(mut self) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let files = ["resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols"];
        if is_root {
            self.grants.extend(files.iter().map(|name| (Path::new("/etc").join(name), Access::Read)));
        } else {
            self.grants.push((PathBuf::from("/etc"), Access::Read));
        }
        // Where /etc/resolv.conf may lead, and the modules that nsswitch.conf names.
        for folder in ["/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/usr/lib", "/lib", "/lib64"] {
            self.grants.push((PathBuf::from(folder), Access::Read));
        }
        self
    }

    /// The same without what is not there.
    pub(crate) fn existing(&self) -> Self {
        let mut existing = self.clone();
        existing.grants.retain(|(path, _)| path.metadata().is_ok());
        existing
    }

    /// Outgoing connections to these ports only.
    #[must_use]
    pub fn with_ports(mut self, ports: Vec<u16>) -> Self {
        self.connect = Some(ports);
        self
    }
}
