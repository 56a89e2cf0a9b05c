//! The socket: accepts connections of the gateway's user, reads requests, writes answers.
//!
//! Nothing here decides about FHIR. A connection of any other user is closed before a byte of it is read; every bound of
//! a connection (head, body, number, time) is applied here.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use daemon::Workers;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::service::RequestBody;
use crate::{Endpoint, limits};

/// Decides by its credentials whether a process may speak on the socket.
pub type PeerCheck = Arc<dyn Fn(&UCred) -> bool + Send + Sync>;

/// Admits the processes of these users.
#[must_use]
pub fn peer_uids(uids: Vec<u32>) -> PeerCheck {
    Arc::new(move |credentials| uids.contains(&credentials.uid()))
}

/// Serves the endpoint until `shutdown` resolves, then lets open requests finish for [`limits::DRAIN`]. Each connection is
/// served by one of the workers, with its requests and its writes.
pub async fn serve(
    listener: UnixListener,
    endpoint: Endpoint,
    workers: Arc<Workers>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    // Held by every connection; when all are dropped, all have ended.
    let (alive, mut all_ended) = mpsc::channel::<()>(1);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, for example; the gateway's connections in use go on.
                tracing::error!(%error, "connection of the gateway cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(stream) = admit(stream, endpoint.peers()) else { continue };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            metrics::counter!("schleuse_endpoint_connections_refused_total", "reason" => "limit").increment(1);
            tracing::warn!(limit = limits::CONNECTIONS, "connection refused, too many are open");
            continue;
        };
        // The worker watches the socket itself.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!(%error, "connection of the gateway cannot be handed over");
                continue;
            }
        };
        let endpoint = endpoint.clone();
        let stopping = stopping.clone();
        let held = (slot, alive.clone());
        workers.serve(move || async move {
            match UnixStream::from_std(stream) {
                Ok(stream) => serve_connection(stream, endpoint, stopping).await,
                Err(error) => tracing::error!(%error, "connection of the gateway cannot be watched"),
            }
            drop(held);
        });
    }
    drop(listener);
    drop(alive);
    stop.send_replace(true);
    endpoint.close_sockets();
    let drained = async {
        all_ended.recv().await;
        endpoint.drained().await;
    };
    if tokio::time::timeout(limits::DRAIN, drained).await.is_err() {
        tracing::warn!("requests were still open when the time to drain them ended");
    }
}

async fn serve_connection(stream: UnixStream, endpoint: Endpoint, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(answer(endpoint, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection of the gateway ended");
    }
}

fn admit(stream: UnixStream, peers: &PeerCheck) -> Option<UnixStream> {
    match stream.peer_cred() {
        Ok(credentials) if peers(&credentials) => Some(stream),
        Ok(credentials) => {
            metrics::counter!("schleuse_endpoint_connections_refused_total", "reason" => "peer").increment(1);
            tracing::error!(uid = credentials.uid(), pid = credentials.pid(), "connection of a foreign user refused");
            None
        }
        Err(error) => {
            metrics::counter!("schleuse_endpoint_connections_refused_total", "reason" => "peer").increment(1);
            tracing::error!(%error, "connection without credentials refused");
            None
        }
    }
}

async fn answer(endpoint: Endpoint, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match parts.uri.path() {
        "/link/health" => return endpoint.health().await.map(Body::from),
        "/link/metrics" => return endpoint.metrics().map(Body::from),
        _ => {}
    }
    // It is not held in memory, and how long it takes depends on its size.
    if endpoint.brings_content(&parts) {
        return endpoint.answer(parts, RequestBody::Coming(body)).await;
    }
    if body.is_end_stream() {
        return endpoint.answer(parts, RequestBody::Whole(Bytes::new())).await;
    }
    let space = endpoint.body_space();
    match read_body(body, &space).await {
        // The space is given back when the request is answered.
        Ok((body, _held)) => endpoint.answer(parts, RequestBody::Whole(body)).await,
        Err(status) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
    }
}

/// The whole body, bounded in size and time, with the space that it takes.
async fn read_body(
    mut body: Incoming,
    space: &Arc<Semaphore>,
) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), StatusCode> {
    let read = async {
        let mut collected = BytesMut::new();
        let mut held = Vec::new();
        let mut room = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
            let length = collected.len() + data.len();
            if length > limits::BODY_BYTES {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            while room < length {
                // Doubled each time, so that there are few permits to hold.
                let more = room.clamp(SPACE_UNIT, limits::BODY_BYTES);
                held.push(take_space(space, more)?);
                room += more;
            }
            collected.extend_from_slice(&data);
        }
        Ok((collected.freeze(), held))
    };
    tokio::time::timeout(limits::BODY_TIME, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// Bytes that one permit of the semaphore stands for.
pub(crate) const SPACE_UNIT: usize = 16 * 1024;

fn take_space(space: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, StatusCode> {
    let units = u32::try_from(bytes.div_ceil(SPACE_UNIT)).unwrap_or(u32::MAX);
    Arc::clone(space).try_acquire_many_owned(units).map_err(|_| {
        metrics::counter!("schleuse_endpoint_bodies_refused_total").increment(1);
        tracing::warn!(limit = limits::BODIES_BYTES, "request refused, the bodies of others take all space");
        StatusCode::SERVICE_UNAVAILABLE
    })
}
