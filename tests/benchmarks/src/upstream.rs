//! The engine's place in the gateway benchmark: one process that all servers forward to, in its own process so that
//! neither the servers nor the load generator carry its work.
//!
//! On the socket `--http` and on `run/engine.sock` of every node it answers reads with a small or a 64 KiB body; on
//! `run/snapshot.sock` of every node it speaks the engine's side of the link and publishes the allow-list of the file that
//! is named after the node. It leaves when its standard input closes.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use link::Snapshot;
use link::frame::{self, FromEngine, FromGateway};
use tokio::net::UnixListener;

use crate::error::{During as _, Failure, Outcome};

/// Bytes of the small body.
pub(crate) const SMALL: usize = 447;
/// Bytes of the large body.
pub(crate) const LARGE: usize = 65_536;

/// Target of requests for the small body.
pub(crate) const SMALL_TARGET: &str = "/fhir/Organization/8a04f29c-4c3d-4f0b-9d0c-5f5f3f2c6f11";
/// Target of requests for the large body.
pub(crate) const LARGE_TARGET: &str = "/fhir/Binary/3c7f0b8e-0d6e-4a57-8f60-0f2a5be0a7c4";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Socket to answer requests of other servers on
    #[arg(long, value_name = "SOCKET")]
    http: PathBuf,
    /// Directory of a node whose engine to stand for, and file with the allow-list to publish
    #[arg(long, num_args = 2, value_names = ["DIR", "FILE"])]
    node: Vec<PathBuf>,
}

/// The two bodies.
#[derive(Clone, Debug)]
struct Bodies {
    small: Bytes,
    large: Bytes,
}

/// Serves until standard input closes.
pub(crate) fn run(arguments: &Arguments) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .during("starting threads")?;
    runtime.block_on(async {
        let bodies = Bodies { small: small_body(), large: Bytes::from(vec![b'x'; LARGE]) };
        tokio::spawn(serve_http(listen(&arguments.http)?, bodies.clone()));
        for pair in arguments.node.chunks(2) {
            let [directory, file] = pair else { return Err(Failure::new("--node takes a directory and a file")) };
            let json = std::fs::read(file).during(format!("reading {}", file.display()))?;
            let snapshot = Snapshot::from_json(&json).during(format!("reading {}", file.display()))?;
            // As the engine does it, and it matters: the gateway compares the path that it connects to, which is relative
            // to the node's directory, with the one that the other end was bound to, before it uses a connection again.
            std::env::set_current_dir(directory).during(format!("entering {}", directory.display()))?;
            tokio::spawn(serve_http(listen(Path::new(link::socket::ENGINE))?, bodies.clone()));
            tokio::spawn(serve_snapshots(listen(Path::new(link::socket::SNAPSHOT))?, snapshot));
        }
        println!("ready");
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()))
            .await
            .during("waiting for the end")?
            .during("waiting for the end")?;
        Ok(())
    })
}

fn listen(socket: &Path) -> Outcome<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let during = format!("listening on {}", socket.display());
    let listener = UnixListener::bind(socket).during(during.clone())?;
    // Servers that change their user must reach it; the folder decides who else can.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).during(during)?;
    Ok(listener)
}

/// JSON of exactly [`SMALL`] bytes.
fn small_body() -> Bytes {
    let start = r#"{"resourceType":"Organization","id":"8a04f29c-4c3d-4f0b-9d0c-5f5f3f2c6f11","active":true,"name":""#;
    let end = r#""}"#;
    let filler = "x".repeat(SMALL.saturating_sub(start.len() + end.len()));
    Bytes::from(format!("{start}{filler}{end}"))
}

async fn serve_http(listener: UnixListener, bodies: Bodies) {
    while let Ok((stream, _)) = listener.accept().await {
        let bodies = bodies.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&request, &bodies);
                async move { Ok::<_, Infallible>(answer) }
            });
            // Servers close their pooled connections as they like.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, bodies: &Bodies) -> Response<Full<Bytes>> {
    let is_large = request.uri().path().starts_with("/fhir/Binary/");
    let body = if is_large { &bodies.large } else { &bodies.small };
    let media_type = if is_large { "application/octet-stream" } else { "application/fhir+json" };
    let mut response = Response::new(Full::new(body.clone()));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(header::ETAG, HeaderValue::from_static("W/\"1\""));
    fields.insert(header::LAST_MODIFIED, HeaderValue::from_static("Sun, 22 Nov 2026 12:00:00 GMT"));
    response
}

async fn serve_snapshots(listener: UnixListener, snapshot: Snapshot) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let snapshot = snapshot.clone();
        tokio::spawn(async move {
            let Ok(Some(FromGateway::Hello { .. })) = frame::read(&mut stream).await else { return };
            if frame::write(&mut stream, &FromEngine::Snapshot(Box::new(snapshot))).await.is_err() {
                return;
            }
            // Acknowledgements, until the gateway goes.
            while let Ok(Some(FromGateway::Acknowledged { .. })) = frame::read(&mut stream).await {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_body_is_json_of_its_size() {
        assert_eq!(small_body().len(), SMALL);
        serde_json::from_slice::<serde_json::Value>(&small_body()).unwrap();
    }
}
