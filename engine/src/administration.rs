//! The administration socket (`run/admin.sock`): HTTP with JSON for the command line.
//!
//! Only the engine's own user and root get through, by the credentials of the connection. Every command is recorded in
//! the audit chain before it is done. Nothing of the FHIR interface is reachable here except what a command does in the
//! name of the node's own organisation, by the same rules as a request of that organisation.

mod approvals;
mod commands;
mod instances;
mod plug_ins;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use endpoint::{Endpoint, PolicyHistory};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use policies::Identity;
use processes::Runtime;
use serde_json::{Value, json};
use store::{Store, StoreError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::bootstrap::own_identity;
use crate::configuration::Configuration;
use crate::plug_ins::PlugIns;
use crate::records::Records;
use crate::run::ReloadAnswer;
use crate::snapshots::Snapshots;

/// Largest command.
const COMMAND_BYTES: usize = 1 << 20;

/// Time for the head and for the body of a command.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// Administrators at one time.
const CONNECTIONS: usize = 32;

/// What commands can see.
pub(crate) struct Administration {
    identity: Identity,
    base_url: String,
    /// Replaced when the certificate is renewed.
    client_certificate: Arc<ArcSwap<certs::Certificate>>,
    /// Who is in office.
    officers: Arc<ArcSwapOption<node::Officers>>,
    endpoint: Endpoint,
    store: Store,
    processes: Arc<Runtime>,
    snapshots: Arc<Snapshots>,
    policies: Arc<PolicyHistory>,
    plug_ins: Arc<PlugIns>,
    records: Records,
    reload: mpsc::Sender<ReloadAnswer>,
    started: Instant,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("unknown command; the programs may be of different releases")]
    Unknown,
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    #[error("the command could not be recorded: {0}")]
    Audit(#[from] endpoint::AuditError),
}

impl CommandError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Usage(_) => StatusCode::BAD_REQUEST,
            Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::Store(_) | Self::Audit(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Administration {
    #[expect(clippy::too_many_arguments, reason = "one of each part of the engine, called once")]
    pub(crate) fn new(
        configuration: &Configuration,
        endpoint: &Endpoint,
        store: &Store,
        processes: &Arc<Runtime>,
        snapshots: &Arc<Snapshots>,
        policies: &Arc<PolicyHistory>,
        plug_ins: &Arc<PlugIns>,
        records: &Records,
        client_certificate: &Arc<ArcSwap<certs::Certificate>>,
        officers: &Arc<ArcSwapOption<node::Officers>>,
        reload: mpsc::Sender<ReloadAnswer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity: own_identity(configuration),
            base_url: configuration.settings.base_url.as_str().to_owned(),
            client_certificate: Arc::clone(client_certificate),
            officers: Arc::clone(officers),
            endpoint: endpoint.clone(),
            store: store.clone(),
            processes: Arc::clone(processes),
            snapshots: Arc::clone(snapshots),
            policies: Arc::clone(policies),
            plug_ins: Arc::clone(plug_ins),
            records: records.clone(),
            reload,
            started: Instant::now(),
        })
    }

    /// Serves until `stop` turns true.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.changed() => return,
            };
            match accepted {
                Ok((stream, _)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => {
                        let connection = Arc::clone(&self).connection(stream);
                        tokio::spawn(async move {
                            connection.await;
                            drop(slot);
                        });
                    }
                    Err(_) => {
                        tracing::warn!(limit = CONNECTIONS, "administration refused, too many connections are open")
                    }
                },
                Err(error) => {
                    tracing::error!(%error, "connection of an administrator cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let own = rustix::process::getuid().as_raw();
        let uid = match stream.peer_cred() {
            Ok(credentials) if credentials.uid() == own || credentials.uid() == 0 => credentials.uid(),
            Ok(credentials) => {
                tracing::warn!(
                    uid = credentials.uid(),
                    "a user without right asked for administration and was refused"
                );
                return;
            }
            Err(_) => return,
        };
        let service = service_fn(|request| {
            let administration = Arc::clone(&self);
            async move { Ok::<_, Infallible>(administration.answer(request, uid).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(COMMAND_TIME);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "administration connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, uid: u32) -> Response<Full<Bytes>> {
        let (status, content) = match self.run(request, uid).await {
            Ok(content) => (StatusCode::OK, content),
            Err(error) => (error.status(), json!({ "error": error.to_string() })),
        };
        let mut response = Response::new(Full::new(Bytes::from(content.to_string())));
        *response.status_mut() = status;
        response
    }

    async fn run(&self, request: Request<Incoming>, uid: u32) -> Result<Value, CommandError> {
        let (head, body) = request.into_parts();
        let body = tokio::time::timeout(COMMAND_TIME, Limited::new(body, COMMAND_BYTES).collect()).await;
        let body = body.map_err(|_| CommandError::Usage("the command did not arrive in time".to_owned()))?;
        let body = body.map_err(|error| CommandError::Usage(error.to_string()))?.to_bytes();
        let path = head.uri.path();
        self.records.administration(&format!("{} {path}", head.method), uid).await?;
        match (head.method, path) {
            (Method::GET, "/status") => self.status().await,
            (Method::GET, "/processes") => self.list_processes().await,
            (Method::POST, "/processes/load") => self.load_plug_ins().await,
            (Method::POST, "/processes/state") => self.order_state(&body).await,
            (Method::GET, path) if path.starts_with("/processes/") => self.show_process(path).await,
            (Method::GET, "/tasks") => self.list_tasks(head.uri.query().unwrap_or_default()).await,
            (Method::POST, "/tasks") => self.start_task(&body).await,
            (Method::POST, "/reload") => self.reload().await,
            (Method::GET, "/store/check") => self.check_store(head.uri.query().unwrap_or_default()).await,
            (Method::GET, "/instances") => self.list_instances(head.uri.query().unwrap_or_default()).await,
            (Method::GET, "/incidents") => self.list_incidents().await,
            (method, path) if path.starts_with("/instances/") => {
                self.instance(&method, path, head.uri.query().unwrap_or_default(), &body).await
            }
            (Method::GET, "/allow-list/pending") => self.pending_changes().await,
            (Method::POST, "/allow-list/approve") => self.approve_change(&body, uid).await,
            (Method::POST, "/allow-list/reject") => self.reject_change(&body, uid).await,
            (Method::GET, path) => match (path.strip_prefix("/tasks/"), path.strip_prefix("/allow-list/pending/")) {
                (Some(id), _) => self.show_task(id).await,
                (None, Some(digest)) => self.pending_change(digest).await,
                (None, None) => Err(CommandError::Unknown),
            },
            _ => Err(CommandError::Unknown),
        }
    }
}
