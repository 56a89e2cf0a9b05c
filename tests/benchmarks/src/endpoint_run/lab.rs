//! The servers: a whole node, the memory peer, nginx before it, and a gateway that only forwards.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use certs::development::KeyType;
use link::{CorrelationId, PERMIT_HEADER, Permit};
use node::Directory;
use policies::Identity;
use policies::identity::OrganizationIdentity;

use super::memory_peer::{self, READY_BYTES, READY_TARGET};
use super::task::start_task;
use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::gateway_run::lab as forwarding;
use crate::load::{Endpoint, Make, Question, Requests, Way};
use crate::own_node::{Node, ORGANIZATION};
use crate::peers::{Peer, Server};
use crate::pki::{ClientSide, Pki};
use crate::process::Process;

/// Resources that are read in turn.
const READ: u64 = 1_000;

/// All servers. Fields are dropped in this order: servers, folder.
pub(super) struct Lab<'r> {
    pub(super) node_process: Process,
    pub(super) nginx: Server,
    pub(super) peer: Process,
    pub(super) forwarding: forwarding::Lab,
    pub(super) node: Node<'r>,
    /// Ways to the engine's socket, the node's gateway, the peer's socket, and nginx.
    pub(super) engine: Way,
    pub(super) gateway: Way,
    pub(super) memory: Way,
    pub(super) proxied: Way,
    pub(super) make: Makes,
    pub(super) peer_version: String,
    pub(super) folder: tempfile::TempDir,
}

/// Requests by where they go and what they do.
pub(super) struct Makes {
    pub(super) engine_create: Make,
    pub(super) engine_read: Make,
    pub(super) gateway_create: Make,
    pub(super) gateway_read: Make,
    pub(super) peer_create: Make,
    pub(super) peer_read: Make,
    /// Number of the next Task that is created.
    pub(super) next: Arc<AtomicU64>,
}

// === impl Lab ===

impl<'r> Lab<'r> {
    pub(super) async fn start(run: &'r Run) -> Outcome<Self> {
        let folder = tempfile::Builder::new()
            .prefix("benchmark-")
            // Workers of nginx that changed their user must reach the peer's socket.
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir()
            .during("making a temporary folder")?;
        let (node, node_process, way) = own_node(run, &folder.path().join("node")).await?;
        let (package, peer_version) = memory_peer::install(run)?;
        let socket = folder.path().join("peer.sock");
        let peer = memory_peer::start(&package, &socket, &folder.path().join("peer.log")).await?;
        let pki = Pki::new(KeyType::EcdsaP256)?;
        let client = pki.client_side()?;
        let ready = Question { target: READY_TARGET, bytes: READY_BYTES };
        let files = pki.write(folder.path())?;
        let nginx = Peer::Nginx.start(folder.path(), &files, &socket, &client, ready).await?;
        let only = Run { servers: vec![forwarding::SMALL.to_owned()], ..run.clone() };
        let forwarding = forwarding::Lab::start(&only, KeyType::EcdsaP256).await?;

        let engine = Way::Unix(node.directory.join(link::socket::ENGINE));
        let (memory, proxied) = (Way::Unix(socket), Way::Tls(nginx.endpoint.clone()));
        let next = Arc::new(AtomicU64::new(0));
        let permits = permits(&node.directory)?;
        let ours = ids(&way, &create("localhost", String::new()), &next).await?;
        let theirs = ids(&memory, &create("localhost", String::new()), &next).await?;
        let [create_permit, read_permit] = permits;
        let make = Makes {
            engine_create: create("localhost", create_permit),
            engine_read: read("localhost", &read_permit, &ours),
            gateway_create: create("localhost", String::new()),
            gateway_read: read("localhost", "", &ours),
            peer_create: create("localhost", String::new()),
            peer_read: read("localhost", "", &theirs),
            next,
        };
        Ok(Self {
            node_process,
            nginx,
            peer,
            forwarding,
            node,
            engine,
            gateway: way,
            memory,
            proxied,
            make,
            peer_version,
            folder,
        })
    }

    /// Ends the node, so that its store can be opened.
    pub(super) fn stop_node(&mut self) -> PathBuf {
        self.node_process.stop();
        self.node.directory.join("data/engine.db")
    }

    pub(super) async fn open(&self, way: &Way, make: &Make, status: u16, connections: usize) -> Outcome<Requests> {
        Requests::open(way, make, status, &self.make.next, connections).await
    }
}

/// A node with the processes' resources that leaves Tasks alone, running, and the way to its gateway.
async fn own_node<'r>(run: &'r Run, directory: &Path) -> Outcome<(Node<'r>, Process, Way)> {
    // The resources of the processes are stored at a first start.
    let node = Node::init(run, directory, "https://localhost/fhir")?;
    drop(node.start().await?);
    node.leave_tasks()?;
    let (process, _) = node.start().await?;
    let read = |path: &str| std::fs::read(directory.join(path)).during(format!("reading {path}"));
    let client = ClientSide::from_pem(
        &read("certificates/client.pem")?,
        &read("certificates/client.key")?,
        &read("trust/server-authorities.pem")?,
    )?;
    let way = Way::Tls(Endpoint { address: ([127, 0, 0, 1], node.port).into(), client });
    Ok((node, process, way))
}

/// Header lines with permits of the gateway for a create and for a read by the node's own organisation.
fn permits(directory: &Path) -> Outcome<[String; 2]> {
    let (settings, _) = node::load(&Directory::new(directory))
        .map_err(|findings| Failure::new(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let loaded =
        gateway::reload::load(&settings, None, time::OffsetDateTime::now_utc()).during("loading the policy")?;
    let pem = std::fs::read(directory.join("certificates/client.pem")).during("reading the client certificate")?;
    let certificate = certs::read_certificates(&pem, "client certificate").during("reading the client certificate")?;
    let thumbprint = certificate.first().during("a client certificate")?.thumbprint().to_owned();
    let identity = Identity::Local(OrganizationIdentity {
        identifier: ORGANIZATION.parse().during("an identifier")?,
        endpoint: None,
        thumbprint: thumbprint.parse().during("a thumbprint")?,
    });
    let permit = |interaction: &str| -> Outcome<String> {
        let permit = Permit {
            identity: identity.clone(),
            interaction: interaction.to_owned(),
            rule: "benchmark".to_owned(),
            correlation_id: CorrelationId::random(),
            policy_version: loaded.policy.version().to_owned(),
            snapshot_version: 0,
            address: [127, 0, 0, 1].into(),
        };
        Ok(format!("{PERMIT_HEADER}: {}\r\n", permit.encode().during("a permit")?))
    };
    Ok([permit("create")?, permit("read")?])
}

fn create(host: &'static str, permit: String) -> Make {
    Arc::new(move |number| {
        let body = start_task(number).to_string();
        format!(
            "POST /fhir/Task HTTP/1.1\r\nHost: {host}\r\nAccept: application/fhir+json\r\nContent-Type: application/fhir+json\r\n{permit}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    })
}

fn read(host: &str, permit: &str, ids: &[String]) -> Make {
    let requests: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| {
            format!("GET /fhir/Task/{id} HTTP/1.1\r\nHost: {host}\r\nAccept: application/fhir+json\r\n{permit}\r\n")
                .into_bytes()
        })
        .collect();
    Arc::new(move |number| {
        let index = usize::try_from(number).unwrap_or(0) % requests.len().max(1);
        requests.get(index).cloned().unwrap_or_default()
    })
}

/// Stores Tasks and gives their ids.
async fn ids(way: &Way, make: &Make, next: &AtomicU64) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    let mut exchange = way.connect().await.during("connecting")?;
    for _ in 0..READ {
        let answer = exchange.answer(&make(next.fetch_add(1, Ordering::Relaxed))).await.during("storing a Task")?;
        let stored: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match stored.get("id").and_then(serde_json::Value::as_str) {
            Some(id) if answer.status == 201 => ids.push(id.to_owned()),
            _ => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(Failure::new(format!("storing a Task: {}{body}", answer.head)));
            }
        }
    }
    Ok(ids)
}
