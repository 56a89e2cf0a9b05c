//! A server in this process that notes every request, the settings to reach it, and a small authority for TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use client::{ClientSettings, Identity, OutboundMode, OutboundPolicy};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use crate::mapping::Mapping;
use crate::server::{Authentication, Kind, ServerSettings, open};
use crate::source::Source;

/// What arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) method: http::Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

pub(super) type Reply = http::Response<Full<Bytes>>;
type Handler = Arc<dyn Fn(&Arrived) -> Reply + Send + Sync>;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    scheme: &'static str,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

pub(super) struct Pki {
    pub(super) authority: Authority,
    server: Issued,
    client: Issued,
}

pub(super) static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
    let subject = |name: &str| Subject::german("Hospital", name);
    let authority = Authority::root(&subject("Hospital CA"), KeyType::EcdsaP256, validity).unwrap();
    let server = authority.issue_server(&subject("localhost"), &[], KeyType::EcdsaP256, validity).unwrap();
    let client = authority.issue_organization(&subject("schleuse"), &[], KeyType::EcdsaP256, validity).unwrap();
    Pki { authority, server, client }
});

impl Arrived {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Server {
    /// Over plain HTTP.
    pub(super) async fn plain(handler: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, handler).await
    }

    /// Over TLS, for clients with a certificate of the authority.
    pub(super) async fn demanding_a_certificate(handler: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Self {
        let chain = certs::read_certificates(PKI.server.chain_pem().as_bytes(), "server").unwrap();
        let key = certs::read_private_key(PKI.server.private_key_pem().as_bytes(), "server").unwrap();
        let trusted = vec![PKI.authority.certificate().clone()];
        let trusted = certs::TrustStore::from_certificates(trusted, "clients").unwrap();
        let verifier = certs::client_verifier(&trusted, certs::provider()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(certs::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.iter().map(|certificate| certificate.der().clone()).collect(), key.der())
            .unwrap();
        Self::start(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config))), handler).await
    }

    async fn start(
        acceptor: Option<tokio_rustls::TlsAcceptor>,
        handler: impl Fn(&Arrived) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let server = Self { address: listener.local_addr().unwrap(), scheme, arrived: Arc::default() };
        let (notes, handler): (_, Handler) = (Arc::clone(&server.arrived), Arc::new(handler));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, handler, acceptor) = (Arc::clone(&notes), Arc::clone(&handler), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, notes, handler).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, notes, handler).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }
}

async fn serve<S>(stream: S, notes: Arc<Mutex<Vec<Arrived>>>, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (notes, handler) = (Arc::clone(&notes), Arc::clone(&handler));
        async move {
            let (head, body) = request.into_parts();
            let arrived = Arrived {
                method: head.method,
                path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                headers: head.headers,
                body: body.collect().await.map(Collected::to_bytes).unwrap_or_default(),
            };
            notes.lock().unwrap().push(arrived.clone());
            Ok::<_, Infallible>(handler(&arrived))
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

pub(super) fn reply(status: u16, media_type: &str, body: impl Into<Bytes>) -> Reply {
    let reply = http::Response::builder().status(status).header("content-type", media_type);
    reply.body(Full::new(body.into())).unwrap()
}

pub(super) fn json(body: &Value) -> Reply {
    reply(200, "application/fhir+json", body.to_string())
}

/// Files of secrets and certificates of the node.
pub(super) struct Desk(tempfile::TempDir);

impl Desk {
    pub(super) fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("ca.pem", &PKI.authority.certificate_pem());
        desk.write("client.pem", &PKI.client.chain_pem());
        desk.write("client.key", PKI.client.private_key_pem());
        desk
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(super) fn settings(&self, kind: Kind, url: &str) -> ServerSettings {
        let outbound = OutboundPolicy {
            mode: OutboundMode::List,
            endpoints: Arc::new(|_| false),
            extra: vec![url.to_owned()],
            deny_private_addresses: true,
            private_hosts: vec!["localhost".to_owned()],
            partner_methods: Vec::new(),
        };
        let path = |name: &str| self.0.path().join(name);
        let identity = Identity { certificate: path("client.pem"), private_key: path("client.key") };
        let mut client = ClientSettings::new(Some(identity), vec![path("ca.pem")], outbound);
        client.read_timeout = Duration::from_secs(60);
        ServerSettings {
            name: "records".to_owned(),
            kind,
            url: url.to_owned(),
            authentication: Authentication::None,
            client,
        }
    }

    pub(super) fn source(&self, kind: Kind, url: &str) -> Arc<dyn Source> {
        open(self.settings(kind, url), &Arc::new(Mapping::native().unwrap())).unwrap()
    }
}
