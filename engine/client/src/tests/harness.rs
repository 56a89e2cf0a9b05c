//! A certificate authority, FHIR servers and a proxy in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{ClientSettings, Identity, OutboundMode, OutboundPolicy};

pub(super) struct Pki {
    pub(super) authority: Authority,
    pub(super) server: Issued,
    pub(super) client: Issued,
}

pub(super) fn validity() -> Validity {
    Validity::days(OffsetDateTime::now_utc(), 30)
}

pub(super) static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let root = Authority::root(&Subject::german("Test", "Test Root"), KeyType::EcdsaP256, validity()).unwrap();
    let authority = root.issuing(&Subject::german("Test", "Test Issuing CA"), KeyType::EcdsaP256, validity()).unwrap();
    let server =
        authority.issue_server(&Subject::german("Server", "localhost"), &[], KeyType::EcdsaP256, validity()).unwrap();
    let client = authority
        .issue_organization(&Subject::german("Client", "client.example"), &[], KeyType::EcdsaP256, validity())
        .unwrap();
    Pki { authority, server, client }
});

/// Files of a node: certificate, key, trust.
pub(super) struct Node {
    pub(super) folder: TempDir,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with(&PKI.client, &PKI.authority)
    }

    pub(super) fn with(client: &Issued, trusted: &Authority) -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        node.write("client.pem", &client.chain_pem());
        node.write("client.key", client.private_key_pem());
        node.write("ca.pem", &trusted.certificate_pem());
        node
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        // A key that others can read is refused.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(super) fn settings(&self) -> ClientSettings {
        let path = |name: &str| self.folder.path().join(name);
        let identity = Identity { certificate: path("client.pem"), private_key: path("client.key") };
        ClientSettings {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            ..ClientSettings::new(Some(identity), vec![path("ca.pem")], outbound())
        }
    }

    pub(super) fn client(&self) -> crate::Client {
        crate::Client::new(self.settings()).unwrap()
    }
}

pub(super) fn outbound() -> OutboundPolicy {
    OutboundPolicy {
        mode: OutboundMode::Any,
        endpoints: Arc::new(|_| false),
        extra: Vec::new(),
        deny_private_addresses: true,
        private_hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        partner_methods: Vec::new(),
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) method: http::Method,
    pub(super) uri: http::Uri,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
    pub(super) version: http::Version,
}

pub(super) type Response = http::Response<Full<Bytes>>;
type Handler = Arc<dyn Fn(&Arrived) -> Response + Send + Sync>;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) arrived: Arc<Mutex<Vec<Arrived>>>,
    pub(super) connections: Arc<AtomicUsize>,
}

pub(super) struct ServerOptions {
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) demand_certificate: Option<TrustedClients>,
    pub(super) alpn: Vec<&'static str>,
    pub(super) delay: Duration,
    pub(super) versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

pub(super) struct TrustedClients(pub(super) certs::TrustStore);

impl TrustedClients {
    pub(super) fn of(authority: &Authority) -> Self {
        Self(certs::TrustStore::from_certificates(vec![authority.certificate().clone()], "clients").unwrap())
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            chain: PKI.server.chain_pem(),
            key: PKI.server.private_key_pem().to_owned(),
            demand_certificate: Some(TrustedClients::of(&PKI.authority)),
            alpn: vec!["http/1.1"],
            delay: Duration::ZERO,
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
        }
    }
}

impl Server {
    pub(super) fn base_url(&self) -> String {
        format!("https://localhost:{}/fhir", self.address.port())
    }

    pub(super) fn last(&self) -> Arrived {
        self.arrived.lock().unwrap().last().cloned().unwrap()
    }

    pub(super) fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }
}

pub(super) async fn serve(handler: impl Fn(&Arrived) -> Response + Send + Sync + 'static) -> Server {
    serve_with(ServerOptions::default(), handler).await
}

pub(super) async fn serve_with(
    options: ServerOptions,
    handler: impl Fn(&Arrived) -> Response + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server =
        Server { address: listener.local_addr().unwrap(), arrived: Arc::default(), connections: Arc::default() };
    let acceptor = TlsAcceptor::from(Arc::new(tls(&options)));
    let (arrived, connections) = (Arc::clone(&server.arrived), Arc::clone(&server.connections));
    let handler: Handler = Arc::new(handler);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, handler, arrived) = (acceptor.clone(), Arc::clone(&handler), Arc::clone(&arrived));
            connections.fetch_add(1, Ordering::SeqCst);
            let delay = options.delay;
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream, handler, arrived, delay).await;
                }
            });
        }
    });
    server
}

fn tls(options: &ServerOptions) -> rustls::ServerConfig {
    let certificates = certs::read_certificates(options.chain.as_bytes(), "server").unwrap();
    let key = certs::read_private_key(options.key.as_bytes(), "server").unwrap();
    let chain = certificates.iter().map(|certificate| certificate.der().clone()).collect();
    let builder = rustls::ServerConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&options.versions)
        .unwrap();
    let builder = match &options.demand_certificate {
        Some(trusted) => {
            builder.with_client_cert_verifier(certs::client_verifier(&trusted.0, certs::provider()).unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key.der()).unwrap();
    config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn connection(
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    handler: Handler,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    delay: Duration,
) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (handler, arrived) = (Arc::clone(&handler), Arc::clone(&arrived));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let request =
                Arrived { method: head.method, uri: head.uri, headers: head.headers, body, version: head.version };
            arrived.lock().unwrap().push(request.clone());
            tokio::time::sleep(delay).await;
            Ok::<_, Infallible>(handler(&request))
        }
    });
    let io = TokioIo::new(stream);
    let _ = if is_h2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

pub(super) fn answer(status: u16, body: &str) -> Response {
    let builder = http::Response::builder().status(status);
    let builder =
        if body.is_empty() { builder } else { builder.header("Content-Type", "application/fhir+json;charset=utf-8") };
    builder.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// A CONNECT proxy that tunnels to `to` whatever the name asked for, and notes what it was asked.
pub(super) async fn proxy(answer: &'static str, to: Option<SocketAddr>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut inbound, _) = listener.accept().await.unwrap();
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(inbound.read_u8().await.unwrap());
                }
                notes.lock().unwrap().push(String::from_utf8(head).unwrap());
                inbound.write_all(answer.as_bytes()).await.unwrap();
                if let Some(to) = to {
                    let mut outbound = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
                }
            });
        }
    });
    (address, asked)
}
