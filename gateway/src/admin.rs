//! The management listener: health, readiness and metrics on loopback, and nothing else.
//!
//! It has its own socket and its own three answers; there is no way from here to a FHIR route. Metrics of the engine are
//! fetched over the Unix socket and merged, each sample with its `process`.

mod exchange;
mod merge;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::Log;
use bytes::Bytes;
use confine::Confinement;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::limits::{ACCEPT_PAUSE, ENGINE_METRICS_BYTES};
use crate::reload::Active;

/// Path of the engine's metrics on its socket.
const ENGINE_METRICS: &str = "/link/metrics";

/// Time for the engine's metrics.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clients at once: a monitoring system and a person.
const CLIENTS: usize = 32;

/// What the listener tells about.
pub struct Management {
    active: Arc<Active>,
    audit: Arc<Log>,
    metrics: PrometheusHandle,
    engine_socket: PathBuf,
    confinement: Confinement,
    settings: SettingsFile,
    stop: watch::Receiver<bool>,
}

/// `node.toml` as the gateway read it at its start; the confined process cannot read it again, but sees that it changed.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
    stamp: Option<(std::time::SystemTime, u64, u64)>,
}

// === impl SettingsFile ===

impl SettingsFile {
    /// The file as it is now.
    #[must_use]
    pub fn seen(path: PathBuf) -> Self {
        let stamp = Self::stamp(&path);
        Self { path, stamp }
    }

    /// Whether what the gateway read is not what stands there.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        Self::stamp(&self.path) != self.stamp
    }

    fn stamp(path: &std::path::Path) -> Option<(std::time::SystemTime, u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.ino(), file.len()))
    }
}

// === impl Management ===

impl Management {
    /// A listener that ends when `stop` becomes true.
    #[must_use]
    pub fn new(
        active: Arc<Active>,
        audit: Arc<Log>,
        metrics: PrometheusHandle,
        engine_socket: PathBuf,
        confinement: Confinement,
        settings: SettingsFile,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self { active, audit, metrics, engine_socket, confinement, settings, stop })
    }

    /// Serves until told to stop.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let clients = Arc::new(Semaphore::new(CLIENTS));
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else { continue };
            let management = Arc::clone(&self);
            tokio::spawn(async move {
                let management = &management;
                exchange::serve(stream, |request| async move { management.answer(&request).await }).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
        }
        match request.uri().path() {
            "/health" => json_answer(StatusCode::OK, &json!({ "status": "up" })),
            "/ready" => self.ready(),
            "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", self.metrics_text().await),
            // What DSF answers on its status connector: a status and no body.
            "/fhir/status" => {
                let status = if self.reasons().is_empty() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
                text(status, "text/plain", String::new())
            }
            _ => text(StatusCode::NOT_FOUND, "text/plain", String::new()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let reasons = self.reasons();
        let basis = self.active.basis();
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json_answer(
            status,
            &json!({
                "ready": reasons.is_empty(),
                "reasons": reasons,
                "policy-version": basis.policy.version(),
                "policy-number": basis.signed.as_ref().map(|signed| signed.number),
                "allow-list-version": basis.snapshot.as_ref().map(|snapshot| snapshot.version()),
                "blocked": basis.blocked.iter().collect::<Vec<_>>(),
                "revocation-lists": crate::withdrawn::report(&self.active.tls()),
                "audit-sinks": *self.active.sinks(),
                "settings-changed": self.settings.is_changed(),
                "confinement": self.confinement,
            }),
        )
    }

    /// Why requests cannot be served now.
    fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if !self.active.is_link_up() {
            reasons.push("engine is not connected");
        }
        if self.active.basis().snapshot.is_none() {
            reasons.push("no allow-list yet");
        }
        if self.audit.failure().is_some() {
            reasons.push("audit log cannot be written");
        }
        if self.active.refuses_writes() {
            reasons.push("an audit sink takes no records, and nothing is changed");
        }
        if *self.stop.borrow() {
            reasons.push("stopping");
        }
        reasons
    }

    async fn metrics_text(&self) -> String {
        let tls = self.active.tls();
        let left = tls.server_certificate.not_after() - time::OffsetDateTime::now_utc();
        metrics::gauge!("schleuse_certificate_expiry_seconds", "certificate" => "server").set(left.as_seconds_f64());
        crate::withdrawn::measure(&tls);
        let own = self.metrics.render();
        match tokio::time::timeout(PATIENCE, fetch(&self.engine_socket)).await {
            Ok(Ok(engine)) => merge::merge(&[("gateway", &own), ("engine", &engine)]),
            Ok(Err(error)) => {
                tracing::debug!(%error, "metrics of the engine are not available");
                merge::merge(&[("gateway", &own)])
            }
            Err(_) => merge::merge(&[("gateway", &own)]),
        }
    }
}

/// Why the engine's metrics are missing.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error("engine answered {0}")]
    Status(StatusCode),
    #[error("body is too large or broken")]
    Body,
}

async fn fetch(socket: &std::path::Path) -> Result<String, FetchError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(ENGINE_METRICS).header(header::HOST, "engine").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ENGINE_METRICS_BYTES).collect().await;
    driver.abort();
    if status != StatusCode::OK {
        return Err(FetchError::Status(status));
    }
    let bytes = body.map_err(|_| FetchError::Body)?.to_bytes();
    String::from_utf8(bytes.to_vec()).map_err(|_| FetchError::Body)
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    text(status, "application/json", value.to_string())
}

fn text(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    fields.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
