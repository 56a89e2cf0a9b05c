//! The plan of the demonstration network: which nodes, where they listen, where their files are.
//!
//! The plan is kept in `DIR/network.json`, so that a network that is started again has the same nodes on the same ports
//! with the same certificates. `DIR/demo.lock` keeps two runs out of one directory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use node::Directory;
use serde::{Deserialize, Serialize};

/// Distance between the first gateway port and the first management port.
const MANAGEMENT_OFFSET: u16 = 37;
/// Where free ports are looked for; below are those of well-known services.
const LOWEST_FREE_PORT: u16 = 10_000;
/// Where Linux begins with the ports of outgoing connections (`net.ipv4.ip_local_port_range`).
const OUTGOING_PORTS: u16 = 32_768;
/// Runs of ports that are tried.
const FREE_PORT_ATTEMPTS: usize = 100;
/// The consortium that all nodes belong to.
pub(crate) const PARENT: &str = "consortium.example";

/// The network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Network {
    /// The nodes, portal first.
    pub(crate) sites: Vec<Site>,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Site {
    /// Short name, the name of its folder.
    pub(crate) name: String,
    /// DSF organisation role.
    pub(crate) role: String,
    /// Port of the gateway.
    pub(crate) port: u16,
    /// Port of the management listener.
    pub(crate) management_port: u16,
}

/// Why a network cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} holds no readable network plan ({1}); remove the directory to begin anew")]
    Plan(PathBuf, serde_json::Error),
    #[error(
        "{directory} belongs to a network of {found} data integration centres; leave --sites out or remove the directory"
    )]
    OtherSize { directory: PathBuf, found: usize },
    #[error("the directory {0} is in use by another `schleuse demo`; stop it or choose another --directory")]
    InUse(PathBuf),
    #[error("port {0} is in use; stop what listens there, or choose others with --port N (0 picks free ones)")]
    PortInUse(u16),
    #[error("there are not enough ports above {0}; choose a lower --port")]
    PortRange(u16),
}

// === impl Network ===

impl Network {
    /// Reads the plan of an existing directory or makes one.
    pub(crate) fn plan(root: &Path, data_integration_centres: u8, first_port: u16) -> Result<Self, NetworkError> {
        let path = root.join("network.json");
        match std::fs::read(&path) {
            Ok(bytes) => Self::read(root, &path, &bytes, data_integration_centres),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let network = Self::new(data_integration_centres, first_port)?;
                let text =
                    serde_json::to_vec_pretty(&network).map_err(|error| NetworkError::Plan(path.clone(), error))?;
                super::files::write(&path, &text, 0o644).map_err(|source| NetworkError::File { path, source })?;
                Ok(network)
            }
            Err(source) => Err(NetworkError::File { path, source }),
        }
    }

    fn read(root: &Path, path: &Path, bytes: &[u8], wanted: u8) -> Result<Self, NetworkError> {
        let network: Self =
            serde_json::from_slice(bytes).map_err(|error| NetworkError::Plan(path.to_owned(), error))?;
        let found = network.sites.iter().filter(|site| site.role == "DIC").count();
        if found == usize::from(wanted) {
            Ok(network)
        } else {
            Err(NetworkError::OtherSize { directory: root.to_owned(), found })
        }
    }

    fn new(data_integration_centres: u8, first_port: u16) -> Result<Self, NetworkError> {
        let mut names = vec![("portal".to_owned(), "HRP")];
        names.extend((1..=data_integration_centres).map(|number| (format!("dic-{number}"), "DIC")));
        names.extend([("dms".to_owned(), "DMS"), ("ttp".to_owned(), "TTP")]);
        let ports = if first_port == 0 { free_ports(names.len())? } else { numbered_ports(names.len(), first_port)? };
        let sites = names
            .into_iter()
            .zip(ports)
            .map(|((name, role), (port, management_port))| Site { name, role: role.to_owned(), port, management_port })
            .collect();
        Ok(Self { sites })
    }

    /// Refuses ports that others listen on, with a better message than a node would give.
    pub(crate) fn check_ports(&self) -> Result<(), NetworkError> {
        for port in self.sites.iter().flat_map(|site| [site.port, site.management_port]) {
            if std::net::TcpStream::connect_timeout(
                &([127, 0, 0, 1], port).into(),
                std::time::Duration::from_millis(200),
            )
            .is_ok()
            {
                return Err(NetworkError::PortInUse(port));
            }
        }
        Ok(())
    }
}

fn numbered_ports(count: usize, first: u16) -> Result<Vec<(u16, u16)>, NetworkError> {
    (0..count)
        .map(|index| {
            let port = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
            let pair = port.and_then(|port| Some((port, port.checked_add(MANAGEMENT_OFFSET)?)));
            pair.ok_or(NetworkError::PortRange(first))
        })
        .collect()
}

/// Ports that nobody listens on now: a run of neighbours below the range that the kernel gives to outgoing connections,
/// because a node that starts again must find its port free, however busy the machine is. All are held until all are
/// chosen; where the run begins is chance, so that two networks that start at once take different ones.
fn free_ports(count: usize) -> Result<Vec<(u16, u16)>, NetworkError> {
    let wanted = u16::try_from(2 * count).unwrap_or(u16::MAX);
    let span = OUTGOING_PORTS.saturating_sub(LOWEST_FREE_PORT).saturating_sub(wanted);
    for _ in 0..FREE_PORT_ATTEMPTS {
        let (_, chance, _, _) = uuid::Uuid::new_v4().as_fields();
        let first = LOWEST_FREE_PORT + chance % span.max(1);
        let ports = first..first.saturating_add(wanted);
        let held: Result<Vec<TcpListener>, _> =
            ports.clone().map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if held.is_ok() {
            let (gateways, managements) = (ports.clone().take(count), ports.skip(count));
            return Ok(gateways.zip(managements).collect());
        }
    }
    Err(NetworkError::PortRange(LOWEST_FREE_PORT))
}

// === impl Site ===

impl Site {
    /// Whether it treats patients.
    pub(crate) fn has_records(&self) -> bool {
        self.role == "DIC"
    }

    /// Organisation identifier.
    pub(crate) fn organization_identifier(&self) -> String {
        format!("{}.example", self.name)
    }

    /// Endpoint identifier.
    pub(crate) fn endpoint_identifier(&self) -> String {
        format!("dsf.{}.example", self.name)
    }

    /// Base URL.
    pub(crate) fn base_url(&self) -> String {
        format!("https://localhost:{}/fhir", self.port)
    }

    /// URL of the management listener.
    pub(crate) fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.management_port)
    }

    /// The folder, relative to the network's directory.
    pub(crate) fn folder(&self) -> String {
        format!("nodes/{}", self.name)
    }

    /// The node's directory.
    pub(crate) fn directory(&self, root: &Path) -> Directory {
        Directory::new(&root.join(self.folder()))
    }
}

/// Held while the network runs; the kernel lets go of it however this process ends.
pub(crate) struct Lock {
    _file: std::fs::File,
}

impl Lock {
    /// Takes the directory, waiting a moment for the children of a run that was killed.
    pub(crate) fn take(root: &Path) -> Result<Self, NetworkError> {
        let path = root.join("demo.lock");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| NetworkError::File { path, source })?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| NetworkError::InUse(root.to_owned()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, NetworkError};

    #[test]
    fn the_contracts_first_node_has_the_documented_ports() {
        let network = Network::new(3, 20443).unwrap();
        let names: Vec<_> = network.sites.iter().map(|site| (site.name.as_str(), site.role.as_str())).collect();
        assert_eq!(
            names,
            [("portal", "HRP"), ("dic-1", "DIC"), ("dic-2", "DIC"), ("dic-3", "DIC"), ("dms", "DMS"), ("ttp", "TTP")]
        );
        assert_eq!((network.sites[0].port, network.sites[0].management_port), (20443, 20480));
    }

    #[test]
    fn free_ports_are_all_different() {
        let network = Network::new(8, 0).unwrap();
        let ports: std::collections::BTreeSet<_> =
            network.sites.iter().flat_map(|site| [site.port, site.management_port]).collect();
        assert_eq!(ports.len(), 22);
    }

    #[test]
    fn a_plan_is_kept_and_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Network::plan(folder.path(), 2, 0).unwrap();
        let again = Network::plan(folder.path(), 2, 20443).unwrap();
        assert_eq!(first.sites[0].port, again.sites[0].port);
        assert!(matches!(Network::plan(folder.path(), 3, 0), Err(NetworkError::OtherSize { found: 2, .. })));
    }

    #[test]
    fn ports_do_not_run_over() {
        assert!(matches!(Network::new(3, 65530), Err(NetworkError::PortRange(65530))));
    }
}
