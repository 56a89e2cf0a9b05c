//! The running nodes of the demonstration: start, readiness, process ids, stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::document;
use super::network::{Network, NetworkError};
use crate::http::exchange;
use crate::supervise::{Order, Pids, SuperviseError, run_node};

/// Twelve processes on a machine under load need longer than one on an idle one.
const READY_TIME: Duration = Duration::from_secs(90);
/// Processes of a run that was killed need a moment to notice.
const PORTS_FREE_TIME: Duration = Duration::from_secs(20);

/// Every node with its supervisor.
pub(crate) struct Nodes {
    orders: watch::Sender<Order>,
    pids: Vec<watch::Receiver<Pids>>,
    supervisors: JoinSet<()>,
}

/// Tells when a node cannot run.
pub(crate) struct Failures {
    failures: mpsc::UnboundedReceiver<SuperviseError>,
}

/// Why the nodes do not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunningError {
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error("{site} was not ready within {} s; its logs are in {}", READY_TIME.as_secs(), log.display())]
    NotReady { site: String, log: PathBuf },
    #[error("demo.json cannot be written")]
    Document(#[from] std::io::Error),
}

// === impl Nodes ===

impl Nodes {
    /// Starts every node; each keeps its own log folder.
    pub(crate) fn start(root: &Path, network: &Network) -> (Self, Failures) {
        let (orders, _) = watch::channel(Order::Run);
        let (failure, failures) = mpsc::unbounded_channel();
        let mut nodes = Self { orders, pids: Vec::new(), supervisors: JoinSet::new() };
        for site in &network.sites {
            let directory = site.directory(root);
            let (pids, receiver) = watch::channel(Pids::default());
            nodes.pids.push(receiver);
            let (orders, failure) = (nodes.orders.subscribe(), failure.clone());
            nodes.supervisors.spawn(async move {
                let result = run_node(directory.root().to_owned(), Some(directory.log()), orders, pids).await;
                if let Err(error) = result {
                    // Nobody listens any more when the demonstration is ending anyway.
                    let _ = failure.send(error);
                }
            });
        }
        (nodes, Failures { failures })
    }

    /// Waits until every node answers `/ready`.
    pub(crate) async fn ready(&self, root: &Path, network: &Network) -> Result<(), RunningError> {
        let deadline = Instant::now() + READY_TIME;
        for site in &network.sites {
            while !is_ready(site.management_port).await {
                if Instant::now() > deadline {
                    return Err(RunningError::NotReady { site: site.name.clone(), log: site.directory(root).log() });
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
        Ok(())
    }

    /// Writes `demo.json` once every process has its id.
    pub(crate) async fn describe(&self, root: &Path, network: &Network) -> Result<(), RunningError> {
        document::write(root, network, &self.current_pids())?;
        Ok(())
    }

    /// Replaces `demo.json` whenever a process was restarted; does not end by itself.
    pub(crate) async fn keep_described(&self, root: &Path, network: &Network) -> Result<(), RunningError> {
        let mut described = Vec::new();
        loop {
            let pids = self.current_pids();
            let complete = pids.iter().all(|pids| pids.engine.is_some() && pids.gateway.is_some());
            if complete && pids != described {
                document::write(root, network, &pids)?;
                described = pids;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends every process and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.orders.send_replace(Order::Stop);
        while self.supervisors.join_next().await.is_some() {}
    }

    fn current_pids(&self) -> Vec<Pids> {
        self.pids.iter().map(|receiver| *receiver.borrow()).collect()
    }
}

// === impl Failures ===

impl Failures {
    /// Resolves when a node cannot run.
    pub(crate) async fn next(&mut self) -> RunningError {
        match self.failures.recv().await {
            Some(error) => error.into(),
            // Every supervisor ended without an error, which happens only after a stop.
            None => std::future::pending().await,
        }
    }
}

/// Whether the node answers `/ready` with 200.
async fn is_ready(management_port: u16) -> bool {
    let request = Request::get("/ready").header("host", "localhost").body(Full::default());
    let (Ok(request), Ok(stream)) = (request, TcpStream::connect(("127.0.0.1", management_port)).await) else {
        return false;
    };
    exchange(stream, request).await.is_ok_and(|answer| answer.status().is_success())
}

/// Waits while processes of an earlier run still hold the ports.
pub(crate) async fn wait_for_free_ports(network: &Network) -> Result<(), NetworkError> {
    let deadline = Instant::now() + PORTS_FREE_TIME;
    loop {
        match network.check_ports() {
            Err(NetworkError::PortInUse(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}

/// Resolves on Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
