//! All servers of a run on one upstream.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use certs::Certificate;
use certs::development::KeyType;

use crate::error::{During as _, Failure, Outcome};
use crate::limits::READY;
use crate::load::{Endpoint, Question};
use crate::node_directory::{self, NodeDirectory, Size};
use crate::peers::{Peer, Server};
use crate::pki::{ClientSide, Pki};
use crate::process::{Lifeline, Process, cpu_seconds_of, free_port};
use crate::processors::{self, Side};
use crate::{Run, http_status, upstream};

/// Our gateway with the policy data of a large network.
pub(super) const OURS: &str = "schleuse";
/// Our gateway with the shipped policy and two organisations.
pub(crate) const SMALL: &str = "schleuse (shipped policy)";
pub(super) const NGINX: &str = Peer::Nginx.label();
pub(super) const HTTPD: &str = Peer::Httpd.label();

pub(crate) const SMALL_QUESTION: Question = Question { target: upstream::SMALL_TARGET, bytes: upstream::SMALL };
pub(super) const LARGE_QUESTION: Question = Question { target: upstream::LARGE_TARGET, bytes: upstream::LARGE };

/// The servers. Fields are dropped in this order: servers, upstream, folder.
pub(crate) struct Lab {
    pub(super) servers: Vec<Server>,
    /// The directory of [`OURS`].
    pub(super) directory: NodeDirectory,
    pub(super) client_certificate: Certificate,
    upstream: Process,
    _folder: tempfile::TempDir,
}

// === impl Lab ===

impl Lab {
    pub(crate) async fn start(run: &Run, key: KeyType) -> Outcome<Self> {
        let folder = tempfile::Builder::new()
            .prefix("benchmark-")
            // Workers that changed their user must reach the upstream's socket; secrets are protected file by file.
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .during("making a temporary folder")?;
        let pki = Pki::new(key)?;
        let client = pki.client_side()?;
        let files = pki.write(folder.path())?;
        let mut nodes = Vec::new();
        for (size, label, name) in [(Size::Full, OURS, "full"), (Size::Small, SMALL, "small")] {
            let directory = node_directory::write(&folder.path().join(name), size, &pki, free_port()?, free_port()?)?;
            nodes.push((label, directory));
        }
        let socket = folder.path().join("upstream.sock");
        let upstream = start_upstream(folder.path(), &socket, &nodes).await?;
        let mut servers = Vec::new();
        for (label, directory) in nodes.iter().filter(|(label, _)| run.wants_server(label)) {
            servers.push(start_gateway(run, label, directory, &client).await?);
        }
        for peer in Peer::ALL.into_iter().filter(|peer| run.wants_server(peer.label())) {
            servers.push(peer.start(folder.path(), &files, &socket, &client, SMALL_QUESTION).await?);
        }
        let (_, directory) = nodes.into_iter().next().during("the directory of the gateway")?;
        let client_certificate = pki.client().clone();
        Ok(Self { servers, directory, client_certificate, upstream, _folder: folder })
    }

    /// CPU time so far of what is not measured: load generator and upstream.
    pub(super) fn load_seconds(&self) -> f64 {
        self.upstream.cpu_seconds() + cpu_seconds_of(&[std::process::id()])
    }

    pub(crate) fn server(&self, label: &str) -> Outcome<&Server> {
        self.servers.iter().find(|server| server.label == label).during(format!("looking for {label}"))
    }
}

async fn start_upstream(folder: &Path, socket: &Path, nodes: &[(&str, NodeDirectory)]) -> Outcome<Process> {
    let mut arguments = vec!["upstream".to_owned(), "--http".to_owned(), socket.display().to_string()];
    for (_, directory) in nodes {
        let (root, snapshot) = (directory.root.display().to_string(), directory.snapshot.display().to_string());
        arguments.extend(["--node".to_owned(), root, snapshot]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let own = std::env::current_exe().during("finding this program")?;
    let log = folder.join("upstream.log");
    let mut process = Process::start("upstream", &own, &arguments, &log, Lifeline::StandardInput)?;
    let end = Instant::now() + READY;
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("ready")) {
        process.must_run()?;
        if Instant::now() > end {
            return Err(process.failure("is not ready"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(process)
}

async fn start_gateway(
    run: &Run,
    label: &'static str,
    directory: &NodeDirectory,
    client: &ClientSide,
) -> Outcome<Server> {
    let root = directory.root.display().to_string();
    let program = run.program("schleuse-gateway")?;
    let log = directory.root.join("gateway.log");
    let arguments = ["--directory", &root, "--supervised"];
    let turn = processors::turn(Side::Server);
    let process = Process::start(label, &program, &arguments, &log, Lifeline::StandardInput)?;
    drop(turn);
    let endpoint = Endpoint { address: ([127, 0, 0, 1], directory.port).into(), client: client.clone() };
    let mut server = Server { label, process, endpoint };
    let end = Instant::now() + READY;
    while http_status(directory.management_port, "/ready").await != Some(200) {
        server.process.must_run()?;
        if Instant::now() > end {
            return Err(server.process.failure("is not ready"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(server)
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Ask all to end before waiting for each.
        self.servers.iter().for_each(|server| server.process.ask_to_stop());
    }
}

/// A failure that names the server.
pub(super) fn at(server: &Server, failure: &Failure) -> Failure {
    Failure::new(format!("{}: {failure}", server.label))
}
