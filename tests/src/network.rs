//! A demonstration network under test, known through `demo.json`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::Deserialize;

use crate::binaries::binary;
use crate::client::Client;
use crate::guard::Guard;
use crate::wait::{until, until_blocking};
use crate::wire;

/// Time until `demo.json` is there; twelve processes start, on a machine that may compile at the same time.
const START_TIME: Duration = Duration::from_secs(240);
/// Time until a killed process is back, the longest pause of the supervisor included.
const RESTART_TIME: Duration = Duration::from_secs(60);

/// `demo.json`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    authority: PathBuf,
    stranger: Pair,
    nodes: Vec<Node>,
}

/// A node of `demo.json`; paths are absolute here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Name of its folder.
    pub name: String,
    /// DSF organisation role.
    pub role: String,
    /// Organisation identifier.
    pub organization_identifier: String,
    /// Address for partners.
    pub base_url: String,
    /// Health, readiness, metrics.
    pub management_url: String,
    /// Holds `node.toml` and `policies/`.
    pub directory: PathBuf,
    /// Process id of the gateway.
    pub gateway_pid: i32,
    /// Process id of the engine.
    pub engine_pid: i32,
    /// The node's own client certificate.
    pub organization: Pair,
    /// A person with role `DSF_ADMIN`.
    pub administrator: Pair,
    /// A person without it.
    pub practitioner: Pair,
    /// A person who may only use Tasks and questionnaires.
    pub limited: Pair,
}

/// Files of a certificate chain and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// PEM file.
    pub certificate: PathBuf,
    /// PEM file.
    pub private_key: PathBuf,
}

/// One of the two processes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// `schleuse-gateway`
    Gateway,
    /// `schleuse-engine`
    Engine,
}

/// A running network.
#[derive(Debug)]
pub struct Network {
    root: PathBuf,
    guard: Guard,
}

/// The network that the tests of this program share: a portal, one data integration centre, `dms` and `ttp`.
///
/// # Panics
/// When it does not start; it is tried once.
pub fn shared() -> &'static Network {
    static SHARED: OnceLock<Result<Network, String>> = OnceLock::new();
    let network = SHARED.get_or_init(|| Network::try_start(1, store().as_deref()));
    network.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A folder for files of a test or a network.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("schleuse-test-").tempdir().expect("a temporary folder")
}

/// The database server that networks are to run on: with `SCHLEUSE_TEST_STORE=postgresql` that of
/// `SCHLEUSE_TEST_POSTGRES`.
///
/// # Panics
/// When the second is missing.
#[must_use]
pub fn store() -> Option<String> {
    let wanted = std::env::var("SCHLEUSE_TEST_STORE").is_ok_and(|store| store == "postgresql");
    wanted
        .then(|| std::env::var("SCHLEUSE_TEST_POSTGRES").expect("SCHLEUSE_TEST_POSTGRES, as of scripts/with-postgres"))
}

/// Two neighbouring ports that are free and that no outgoing connection gets.
///
/// # Panics
/// When the range is empty.
#[must_use]
pub fn free_ports() -> (u16, u16) {
    let mut chance = crate::chance::Chance::begin();
    loop {
        let port = 10_000 + u16::try_from(chance.below(22_000)).unwrap();
        let held = [port, port + 1].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok());
        if held == [true, true] {
            return (port, port + 1);
        }
    }
}

/// Starts `schleuse run DIRECTORY` and waits until it is ready.
///
/// # Panics
/// When it ends or is not ready in time.
pub async fn run_node(directory: &Path, management: u16) -> Guard {
    run_node_and_remove(directory, management, None).await
}

/// The same; `remove` goes away when the test program has ended.
///
/// # Panics
/// As [`run_node`].
pub async fn run_node_and_remove(directory: &Path, management: u16, remove: Option<&Path>) -> Guard {
    let notes = directory.with_extension("notes");
    std::fs::create_dir(&notes).expect("a folder for notes");
    let program = binary("schleuse");
    let mut guard = Guard::start(&notes, remove, &[program.as_os_str(), OsStr::new("run"), directory.as_os_str()]);
    until("the new node", RESTART_TIME, async || {
        assert!(guard.ended().is_none(), "schleuse run ended: {}", guard.err());
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", management)).await.ok()?;
        let request = format!("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:{management}\r\nConnection: close\r\n\r\n");
        let answer = wire::exchange(&mut stream, request).await?;
        (answer.status == 200).then_some(())
    })
    .await;
    guard
}

// === impl Pair ===

impl Pair {
    /// Writes a certificate and its key as `NAME.pem` and `NAME.key`, the key for the owner alone.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn write(folder: &Path, name: &str, issued: &certs::development::Issued) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let pair =
            Self { certificate: folder.join(format!("{name}.pem")), private_key: folder.join(format!("{name}.key")) };
        std::fs::write(&pair.private_key, issued.private_key_pem()).expect("a key file");
        std::fs::set_permissions(&pair.private_key, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        std::fs::write(&pair.certificate, issued.chain_pem()).expect("a certificate file");
        pair
    }
}

// === impl Network ===

impl Network {
    /// Starts a network with so many data integration centres and waits for `demo.json`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(sites: u8) -> Self {
        Self::start_on(sites, store().as_deref())
    }

    /// [`Network::start`] on a database server.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_on(sites: u8, store: Option<&str>) -> Self {
        Self::try_start(sites, store).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start(sites: u8, store: Option<&str>) -> Result<Self, String> {
        let mut last = String::new();
        // A free port may be taken by another program before the node listens on it.
        for _ in 0..3 {
            let place = folder().keep();
            match Self::run_in(&place.join("net"), &place, Some(&place), sites, store) {
                Ok(network) => return Ok(network),
                Err(error) if error.contains("in use") => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Starts the network in `root`, which stays; `notes` receives what the program prints.
    pub fn start_in(root: &Path, notes: &Path, sites: u8) -> Result<Self, String> {
        Self::run_in(root, notes, None, sites, store().as_deref())
    }

    fn run_in(
        root: &Path,
        notes: &Path,
        remove: Option<&Path>,
        sites: u8,
        store: Option<&str>,
    ) -> Result<Self, String> {
        let program = binary("schleuse");
        let sites = sites.to_string();
        let mut command: Vec<&OsStr> = vec![program.as_os_str()];
        command.extend(["demo", "--no-run", "--port", "0", "--sites", &sites, "--directory"].map(OsStr::new));
        command.push(root.as_os_str());
        if let Some(url) = store {
            command.extend(["--store", url].map(OsStr::new));
        }
        let before = std::fs::metadata(root.join("demo.json")).and_then(|file| file.modified()).ok();
        let mut guard = Guard::start(notes, remove, &command);
        let started = until_blocking("demo.json", START_TIME, || {
            if let Some(status) = guard.ended() {
                return Some(Err(format!("`schleuse demo --no-run` ended with {status}: {}", guard.err())));
            }
            let now = std::fs::metadata(root.join("demo.json")).and_then(|file| file.modified()).ok()?;
            (Some(now) != before).then_some(Ok(()))
        });
        started.map(|()| Self { root: root.to_owned(), guard })
    }

    /// The folder with `demo.json`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The program that runs it.
    pub const fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    /// Reads `demo.json` as it is now.
    ///
    /// # Panics
    /// When it is not as the contract says.
    #[must_use]
    pub fn document(&self) -> Document {
        let text = std::fs::read_to_string(self.root.join("demo.json")).expect("demo.json");
        let mut document: Document =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("demo.json: {error}\n{text}"));
        let absolute = |path: &mut PathBuf| *path = self.root.join(&*path);
        absolute(&mut document.authority);
        let absolute_pair = |pair: &mut Pair| {
            absolute(&mut pair.certificate);
            absolute(&mut pair.private_key);
        };
        absolute_pair(&mut document.stranger);
        for node in &mut document.nodes {
            absolute(&mut node.directory);
            for pair in [&mut node.organization, &mut node.administrator, &mut node.practitioner, &mut node.limited] {
                absolute_pair(pair);
            }
        }
        document
    }

    /// Every node, portal first.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.document().nodes
    }

    /// A node by its name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn node(&self, name: &str) -> Node {
        self.nodes().into_iter().find(|node| node.name == name).unwrap_or_else(|| panic!("node {name}"))
    }

    /// A client of `node` with a certificate, or with none.
    #[must_use]
    pub fn client(&self, node: &Node, pair: Option<&Pair>) -> Client {
        Client::new(&node.base_url, &self.document().authority, pair)
    }

    /// The client of `who`'s organisation at node `at`.
    #[must_use]
    pub fn organization(&self, who: &str, at: &str) -> Client {
        self.client(&self.node(at), Some(&self.node(who).organization))
    }

    /// The client of a certificate that is on no allow-list.
    #[must_use]
    pub fn stranger(&self, at: &str) -> Client {
        self.client(&self.node(at), Some(&self.document().stranger))
    }

    /// The file with the certificate of the network's authority.
    #[must_use]
    pub fn authority_certificate(&self) -> PathBuf {
        self.document().authority
    }

    /// The folder of the network's authority: `ca.pem`, `ca.key`.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.document().authority.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Kills a process and waits until `demo.json` has another in its place and the node is ready.
    pub async fn kill_and_await_restart(&self, node: &str, process: Process) {
        self.kill(node, process).await;
        self.node(node).until_ready().await;
    }

    /// Kills a process and waits until `demo.json` has another in its place.
    pub async fn kill(&self, node: &str, process: Process) {
        let before = self.node(node).pid(process);
        self.node(node).signal(process, Signal::KILL);
        until(&format!("another {process:?} of {node}"), RESTART_TIME, async || {
            (self.node(node).pid(process) != before).then_some(())
        })
        .await;
    }
}

// === impl Node ===

impl Node {
    /// The id of a process when `demo.json` was read.
    #[must_use]
    pub const fn pid(&self, process: Process) -> i32 {
        match process {
            Process::Gateway => self.gateway_pid,
            Process::Engine => self.engine_pid,
        }
    }

    /// Sends a signal.
    pub fn signal(&self, process: Process, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid(process)) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// A path below the node's directory.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    /// A file of the node as text; empty when it is not there.
    #[must_use]
    pub fn text(&self, relative: &str) -> String {
        std::fs::read(self.path(relative)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Changes a file of the node.
    ///
    /// # Panics
    /// When the change changes nothing, or the file cannot be written.
    pub fn edit(&self, relative: &str, change: impl FnOnce(&str) -> String) {
        let before = self.text(relative);
        let after = change(&before);
        assert_ne!(before, after, "the change of {relative} found nothing to change");
        std::fs::write(self.path(relative), after).expect("a file of the node");
    }

    /// Status and text of a path of the management listener; none when it does not answer.
    pub async fn manage(&self, path: &str) -> Option<(u16, String)> {
        let address = self.management_url.strip_prefix("http://").expect("plain HTTP");
        let exchange = async {
            let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            wire::exchange(&mut stream, request).await
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.ok()??;
        Some((answer.status, answer.text()))
    }

    /// A metric by the beginning of its line, labels included; the sum if several begin so.
    pub async fn metric(&self, begin: &str) -> Option<f64> {
        let (status, text) = self.manage("/metrics").await?;
        assert_eq!(status, 200);
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with(begin))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Waits until `/ready` says so.
    pub async fn until_ready(&self) {
        until(&format!("{} to be ready", self.name), RESTART_TIME, async || {
            self.manage("/ready").await.filter(|(status, _)| *status == 200).map(drop)
        })
        .await;
    }

    /// Identifier of the node's endpoint in the demonstration network.
    #[must_use]
    pub fn endpoint_identifier(&self) -> String {
        format!("dsf.{}", self.organization_identifier)
    }
}
