//! The listener for external workers (`[workers]`, base path `/engine-rest`): Operaton's external-task REST interface over
//! TLS, on an address of its own, as the published clients for JavaScript and Python speak it.
//!
//! ```text
//! TLS ─▶ credential: client certificate (thumbprint) or bearer token ─▶ its topics ─▶ rest ─▶ audit ─▶ one transaction
//! ```
//!
//! Invariants: who shows no known credential learns nothing; a credential sees tasks of its topics alone; nothing of FHIR
//! can be reached; connections, waiting requests, bodies and times are bounded.

mod limits;
mod rest;
mod values;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use node::{ExternalWorkers, WorkerProof};
use processes::Runtime;
use sha2::{Digest as _, Sha256};
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::records::Records;
use rest::{Answer, Rest, RestError};

const BASE: &str = "/engine-rest/";

/// Why the listener cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// A certificate or key cannot be used.
    #[error(
        "[workers]: the certificate or its authorities cannot be used: {0}; correct certificate, private-key or client-authorities"
    )]
    Certificates(String),
    /// A token cannot be used.
    #[error(
        "[workers]: the token file {path} cannot be used: {reason}; write one line of at least 32 characters, mode 600"
    )]
    Token {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The address cannot be had.
    #[error("[workers]: {address} cannot be listened on; choose another address, or end what listens there")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// A credential that was read.
struct Credential {
    name: String,
    topics: Arc<BTreeSet<String>>,
    proof: Proof,
}

enum Proof {
    /// SHA-256 of the token: comparing digests tells nothing about the token by its time.
    Token([u8; 32]),
    Thumbprint(String),
}

/// The listener.
pub(crate) struct Workers {
    listener: TcpListener,
    tls: TlsAcceptor,
    door: Arc<Door>,
}

/// What a connection needs.
struct Door {
    credentials: Vec<Credential>,
    rest: Rest,
    records: Records,
    waiting: Semaphore,
}

/// Opens the port, before the process confines itself: afterwards it can open none.
pub(crate) fn bind(settings: &ExternalWorkers) -> Result<std::net::TcpListener, WorkersError> {
    let address = settings.listen;
    let fail = |source| WorkersError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

impl Workers {
    /// Reads credentials and certificates for a port that is open.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        settings: &ExternalWorkers,
        runtime: &Arc<Runtime>,
        store: &Store,
        records: &Records,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, WorkersError> {
        let mut credentials = Vec::new();
        for credential in &settings.credentials {
            let proof = match &credential.proof {
                WorkerProof::Thumbprint(thumbprint) => Proof::Thumbprint(thumbprint.to_string()),
                WorkerProof::TokenFile(path) => Proof::Token(read_token(path)?),
            };
            let topics = Arc::new(credential.topics.iter().cloned().collect());
            credentials.push(Credential { name: credential.name.clone(), topics, proof });
        }
        let tls = tls(settings)?;
        let address = settings.listen;
        let listener = TcpListener::from_std(listener).map_err(|source| WorkersError::Listen { address, source })?;
        let rest = Rest { runtime: Arc::clone(runtime), store: store.clone(), stop };
        let waiting = Semaphore::new(limits::WAITING);
        Ok(Self { listener, tls, door: Arc::new(Door { credentials, rest, records: records.clone(), waiting }) })
    }

    /// Serves until `stop` turns true.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                tracing::warn!(%peer, limit = limits::CONNECTIONS, "worker refused, too many connections are open");
                continue;
            };
            let (tls, door) = (self.tls.clone(), Arc::clone(&self.door));
            tokio::spawn(async move {
                door.connection(tls, stream).await;
                drop(slot);
            });
        }
    }
}

/// TLS with the listener's certificate; a client certificate is asked for when authorities are named.
fn tls(settings: &ExternalWorkers) -> Result<TlsAcceptor, WorkersError> {
    let unusable = |error: &dyn std::fmt::Display| WorkersError::Certificates(error.to_string());
    let pair = &settings.certificate;
    let credentials =
        certs::Credentials::load(&pair.certificate, &pair.private_key).map_err(|error| unusable(&error))?;
    let builder = rustls::ServerConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = if settings.client_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let authorities = certs::TrustStore::load(&settings.client_authorities).map_err(|errors| {
            WorkersError::Certificates(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let verifier = certs::ClientVerifier::new(&authorities, certs::provider()).map_err(|error| unusable(&error))?;
        builder.with_client_cert_verifier(Arc::new(verifier.optional()))
    };
    let config =
        builder.with_single_cert(credentials.chain_der(), credentials.key_der()).map_err(|error| unusable(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_token(path: &std::path::Path) -> Result<[u8; 32], WorkersError> {
    use std::os::unix::fs::PermissionsExt as _;
    let bad = |reason: String| WorkersError::Token { path: path.to_owned(), reason };
    let mode = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad("others may read it".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let token = text.trim();
    if token.len() < limits::TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the token is too short, or is not of visible ASCII characters".to_owned()));
    }
    Ok(Sha256::digest(token.as_bytes()).into())
}

impl Door {
    async fn connection(self: Arc<Self>, tls: TlsAcceptor, stream: TcpStream) {
        let Ok(Ok(stream)) = tokio::time::timeout(limits::HANDSHAKE_TIME, tls.accept(stream)).await else { return };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let thumbprint: Option<Arc<str>> = certificate.map(|certificate| certs::thumbprint(certificate).into());
        let service = service_fn(move |request| {
            let (door, thumbprint) = (Arc::clone(&self), thumbprint.clone());
            async move { Ok::<_, Infallible>(door.answer(request, thumbprint.as_deref()).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(limits::IDLE_TIME).max_buf_size(limits::HEAD_BYTES);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a worker's connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, thumbprint: Option<&str>) -> Response<Full<Bytes>> {
        let Some(credential) = self.credential(&request, thumbprint) else {
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer"));
            return response;
        };
        let (status, content) = match self.run(request, credential).await {
            Ok(answer) => answer,
            Err(error) => error.answer(),
        };
        let body = content.map(|content| content.to_string()).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    fn credential(&self, request: &Request<Incoming>, thumbprint: Option<&str>) -> Option<&Credential> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|text| text.strip_prefix("Bearer "));
        let token: Option<[u8; 32]> = token.map(|token| Sha256::digest(token.trim().as_bytes()).into());
        self.credentials.iter().find(|credential| match &credential.proof {
            Proof::Token(known) => token.as_ref() == Some(known),
            Proof::Thumbprint(known) => thumbprint == Some(known),
        })
    }

    async fn run(&self, request: Request<Incoming>, credential: &Credential) -> Result<Answer, RestError> {
        let (head, body) = request.into_parts();
        let Some(path) = head.uri.path().strip_prefix(BASE) else { return Err(RestError::NotFound) };
        let body = tokio::time::timeout(limits::BODY_TIME, Limited::new(body, limits::BODY_BYTES).collect()).await;
        let late = |_| RestError::Invalid("the request did not arrive in time".to_owned());
        let body = body.map_err(late)?.map_err(|error| RestError::Invalid(error.to_string()))?.to_bytes();
        let is_fetch = path.ends_with("/fetchAndLock");
        let _room = match is_fetch {
            true => Some(self.waiting.try_acquire().map_err(|_| RestError::Busy)?),
            false => None,
        };
        let is_change = head.method != Method::GET && !is_fetch;
        if is_change {
            self.record(&credential.name, path).await?;
        }
        let answer = self.rest.route(&head.method, path, &body, &credential.topics).await?;
        let has_tasks = answer.1.as_ref().and_then(serde_json::Value::as_array).is_some_and(|list| !list.is_empty());
        if is_fetch && has_tasks {
            self.record(&credential.name, path).await?;
        }
        Ok(answer)
    }

    /// What cannot be recorded is not done.
    async fn record(&self, credential: &str, path: &str) -> Result<(), RestError> {
        self.records.worker(credential, path).await.map_err(|error| {
            tracing::error!(%error, "a worker's request could not be recorded");
            RestError::Unrecorded
        })
    }
}

#[cfg(test)]
mod tests;
