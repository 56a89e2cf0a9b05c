//! The other organisation's server, which the node under test asks by `HEAD` whether a resource exists.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// Beginning of the ids that exist there.
pub(crate) const EXISTING: &str = "aaaaaaaa";
/// Beginning of the ids that do not exist there; for any other it answers 500.
pub(crate) const MISSING: &str = "bbbbbbbb";

static PORT: OnceLock<(u16, std::net::TcpListener)> = OnceLock::new();

/// Where it listens.
pub(crate) fn port() -> u16 {
    listener().0
}

fn listener() -> &'static (u16, std::net::TcpListener) {
    PORT.get_or_init(|| {
        let port = std::env::var("SCHLEUSE_CONFORMANCE_PARTNER_PORT").map_or(0, |port| port.parse().expect("a port"));
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the partner's port");
        listener.set_nonblocking(true).unwrap();
        (listener.local_addr().unwrap().port(), listener)
    })
}

/// Serves until the test program ends. Only holders of a certificate of the authority in `folder` are answered.
pub(crate) fn start(folder: &Path) {
    let authority = certs::read_certificates(&std::fs::read(folder.join("ca.pem")).unwrap(), "ca").unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority[0].der().clone()).unwrap();
    let own = certs::Credentials::load(&folder.join("partner.pem"), &folder.join("partner.key")).unwrap();
    let provider = certs::provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain_der(), own.key_der())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = listener().1.try_clone().unwrap();
    // Tests have runtimes of their own that end with them.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(answer);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let id = request.uri().path().strip_prefix("/fhir/Patient/").unwrap_or_default().to_owned();
    let status = match *request.method() {
        Method::HEAD if id.starts_with(EXISTING) => StatusCode::OK,
        Method::HEAD if id.starts_with(MISSING) => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
