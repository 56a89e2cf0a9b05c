//! A gateway under test: the real program, real TLS, a development PKI of its own, and a stand-in for the engine that
//! speaks the real link (HTTP with permits, snapshot frames) and remembers every request that reached it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use link::Snapshot;
use link::frame::{self, FromEngine, FromGateway};
use policies::AllowList;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const LOCAL: &str = "local.example";
pub const REMOTE: &str = "remote.example";

/// A request that reached the engine.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub fields: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn permit(&self) -> link::Permit {
        link::Permit::decode(self.fields.get(link::PERMIT_HEADER).expect("permit").as_bytes()).unwrap()
    }
}

pub struct Pki {
    pub root: Authority,
    pub other: Authority,
    pub server: Issued,
    pub local: Issued,
    pub remote: Issued,
    pub stranger: Issued,
    pub foreign: Issued,
}

pub struct Node {
    pub folder: tempfile::TempDir,
    pub port: u16,
    pub management: u16,
    pub pki: Pki,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    snapshots: watch::Sender<Snapshot>,
    acknowledged: watch::Receiver<u64>,
    gateway: Option<Child>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

// === PKI ===

impl Pki {
    pub fn fresh() -> Self {
        let now = OffsetDateTime::now_utc();
        let (key, validity) = (KeyType::EcdsaP256, Validity::days(now, 30));
        let root = Authority::root(&Subject::german("Test", "Test CA"), key, validity).unwrap();
        let other = Authority::root(&Subject::german("Other", "Other CA"), key, validity).unwrap();
        let organization = |authority: &Authority, name: &str| {
            authority.issue_organization(&Subject::german(name, name), &[name], key, validity).unwrap()
        };
        Self {
            server: root.issue_server(&Subject::german("Test", "localhost"), &["localhost"], key, validity).unwrap(),
            local: organization(&root, LOCAL),
            remote: organization(&root, REMOTE),
            stranger: organization(&root, "stranger.example"),
            foreign: organization(&other, "foreign.example"),
            root,
            other,
        }
    }
}

pub fn allow_list(base_url: &str, organizations: &[(&str, &certs::Certificate)]) -> AllowList {
    let resources: Vec<_> = organizations
        .iter()
        .enumerate()
        .map(|(index, (identifier, certificate))| {
            let json = serde_json::json!({
                "resourceType": "Organization", "id": format!("org-{index}"), "active": true,
                "extension": [{
                    "url": "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint",
                    "valueString": certificate.thumbprint(),
                }],
                "identifier": [{ "system": "http://dsf.dev/sid/organization-identifier", "value": identifier }],
            });
            fhir::parse(fhir::Format::Json, json.to_string().as_bytes(), &fhir::Limits::default()).unwrap()
        })
        .collect();
    AllowList::from_resources(&resources, LOCAL.parse().unwrap(), base_url)
}

// === Node ===

impl Node {
    /// Starts engine and gateway and waits until the gateway is ready.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, after a change of the directory.
    pub async fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        let mut node = Self::prepare().await;
        prepare(node.folder.path());
        node.spawn();
        node.wait_ready().await;
        node
    }

    /// Everything but the gateway.
    pub async fn prepare() -> Self {
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
        let folder = tempfile::Builder::new().prefix("gw").tempdir().unwrap();
        let (port, management) = (free_port(), free_port());
        let pki = Pki::fresh();
        let base_url = format!("https://localhost:{port}/fhir");
        write_directory(folder.path(), port, management, &pki);
        let seen = Arc::default();
        let list = allow_list(&base_url, &[(LOCAL, pki.local.certificate()), (REMOTE, pki.remote.certificate())]);
        let snapshots = watch::Sender::new(Snapshot::new(1, list).unwrap());
        let (acknowledge, acknowledged) = watch::channel(0);
        serve_engine(&folder.path().join("run/engine.sock"), Arc::clone(&seen));
        serve_snapshots(&folder.path().join("run/snapshot.sock"), snapshots.subscribe(), acknowledge);
        Self { folder, port, management, pki, seen, snapshots, acknowledged, gateway: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn base_url(&self) -> String {
        format!("https://localhost:{}/fhir", self.port)
    }

    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn spawn(&mut self) {
        let log = std::fs::File::create(self.path("gateway.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_schleuse-gateway"))
            .arg("--directory")
            .arg(self.folder.path())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        self.gateway = Some(child);
    }

    pub async fn wait_ready(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.manage("/ready").await.is_none_or(|answer| answer.status != 200) {
            assert!(Instant::now() < end, "gateway is not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.gateway.as_ref().unwrap().id();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the gateway; its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut child = self.gateway.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
    }

    /// Publishes an allow-list and waits for the acknowledgement.
    pub async fn publish(&self, version: u64, organizations: &[(&str, &certs::Certificate)]) {
        let list = allow_list(&self.base_url(), organizations);
        self.snapshots.send(Snapshot::new(version, list).unwrap()).unwrap();
        self.acknowledged.clone().wait_for(|known| *known == version).await.unwrap();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub async fn manage(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.management)).await.ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        read_answer(&mut stream).await
    }

    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.manage("/metrics").await?.text();
        text.lines().find(|line| line.starts_with(name))?.rsplit_once(' ')?.1.parse().ok()
    }

    // --- clients ---

    pub fn config(&self, client: Option<&Issued>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.pki.root.certificate().der().clone()).unwrap();
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        match client {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let (chain, key) = identity(issued);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    pub async fn connect(&self, client: &Issued) -> TlsStream<TcpStream> {
        self.connect_with(self.config(Some(client))).await.unwrap()
    }

    pub async fn connect_with(&self, config: rustls::ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// One request on its own connection.
    pub async fn send(&self, client: &Issued, raw: impl AsRef<[u8]>) -> Option<Answer> {
        let mut stream = self.connect(client).await;
        exchange(&mut stream, raw).await
    }

    pub async fn get(&self, client: &Issued, target: &str) -> Answer {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nAccept: application/fhir+json\r\n\r\n", self.host());
        self.send(client, head).await.expect("an answer")
    }

    pub async fn with_body(&self, client: &Issued, line: &str, media_type: &str, body: &str) -> Answer {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAccept: application/fhir+json\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
            self.host(),
            body.len()
        );
        self.send(client, head).await.expect("an answer")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.gateway.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn identity(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem().as_bytes()).map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_slice(issued.private_key_pem().as_bytes()).unwrap())
}

pub async fn exchange<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    raw: impl AsRef<[u8]>,
) -> Option<Answer> {
    stream.write_all(raw.as_ref()).await.ok()?;
    stream.flush().await.ok()?;
    read_answer(stream).await
}

/// Reads one response by its framing; `None` when the connection ends before a head.
pub async fn read_answer<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<Answer> {
    let read = async {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut body = bytes.split_off(end);
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (known, value) = line.split_once(':')?;
                known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if let Some(length) = field("content-length").and_then(|length| length.parse::<usize>().ok()) {
            while body.len() < length {
                if stream.read_buf(&mut body).await.ok()? == 0 {
                    break;
                }
            }
        } else if field("transfer-encoding").is_some() {
            while !body.ends_with(b"0\r\n\r\n") {
                if stream.read_buf(&mut body).await.ok()? == 0 {
                    break;
                }
            }
        } else if status != 101 && status != 304 && status != 204 {
            let _ = stream.read_to_end(&mut body).await;
        }
        Some(Answer { status, head, body })
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("an answer within a minute")
}

// === Directory ===

fn write_directory(root: &Path, port: u16, management: u16, pki: &Pki) {
    let directory = node::Directory::new(root);
    directory.create().unwrap();
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
    let template = node::Template {
        organization_identifier: LOCAL.to_owned(),
        base_url: format!("https://localhost:{port}/fhir"),
        endpoint_identifier: "localhost".to_owned(),
        listen: format!("127.0.0.1:{port}"),
        management: format!("127.0.0.1:{management}"),
    };
    write(directory.node_toml(), &node::node_toml(&template));
    for (name, text) in policies::default_files() {
        write(directory.policies().join(name), text);
    }
    for (name, issued) in [("server", &pki.server), ("client", &pki.local)] {
        write(directory.certificates().join(format!("{name}.pem")), &issued.chain_pem());
        write(directory.certificates().join(format!("{name}.key")), issued.private_key_pem());
    }
    for name in ["client-authorities.pem", "server-authorities.pem"] {
        write(directory.trust().join(name), &pki.root.certificate_pem());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === Engine ===

fn serve_engine(socket: &Path, seen: Arc<Mutex<Vec<Seen>>>) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let service = service_fn(move |request| engine_answer(request, Arc::clone(&seen)));
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
}

async fn engine_answer(
    mut request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/link/metrics" {
        return Ok(Response::new(Full::new(Bytes::from_static(
            b"# TYPE schleuse_store_bytes gauge\nschleuse_store_bytes 5\n",
        ))));
    }
    let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = parts.uri.to_string();
    seen.lock().unwrap().push(Seen {
        method: parts.method.to_string(),
        target: target.clone(),
        fields: parts.headers,
        body: body.clone(),
    });
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"resourceType\":\"Parameters\"}")));
    let fields = response.headers_mut();
    fields.insert("server", "secret/1.0".parse().unwrap());
    fields.insert("content-type", "application/fhir+json".parse().unwrap());
    if let Some(upgrade) = upgrade {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.body_mut() = Full::default();
        response.headers_mut().remove("content-type");
        response.headers_mut().insert("connection", "Upgrade".parse().unwrap());
        response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        tokio::spawn(async move {
            let Ok(stream) = upgrade.await else { return };
            let mut stream = TokioIo::new(stream);
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        });
    } else if target.contains("large") {
        *response.body_mut() = Full::new(Bytes::from(vec![b'x'; 300_000]));
    } else if parts.method == "POST" {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

fn serve_snapshots(socket: &Path, mut snapshots: watch::Receiver<Snapshot>, acknowledge: watch::Sender<u64>) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let hello = frame::read::<FromGateway>(&mut stream).await;
            assert!(matches!(hello, Ok(Some(FromGateway::Hello { .. }))), "{hello:?}");
            snapshots.mark_changed();
            while snapshots.changed().await.is_ok() {
                let snapshot = snapshots.borrow_and_update().clone();
                if frame::write(&mut stream, &FromEngine::Snapshot(Box::new(snapshot))).await.is_err() {
                    break;
                }
                match frame::read(&mut stream).await {
                    Ok(Some(FromGateway::Acknowledged { version })) => {
                        let _ = acknowledge.send(version);
                    }
                    _ => break,
                }
            }
        }
    });
}
