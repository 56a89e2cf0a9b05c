//! HTTPS with a client certificate: what a partner, a person or an attacker can do from outside.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::network::Pair;
use crate::wire;

/// Media type of FHIR in JSON.
pub const JSON: &str = "application/fhir+json";
/// Media type of FHIR in XML.
pub const XML: &str = "application/fhir+xml";
/// Longest time for one exchange; longer than the gateway waits for the engine.
const ANSWER_TIME: Duration = Duration::from_secs(90);

/// A connection factory for one node with one certificate.
#[derive(Clone, Debug)]
pub struct Client {
    host: String,
    port: u16,
    /// Where connections go; another port than that of the base URL behind something that shares out connections.
    reached_at: u16,
    base: String,
    tls: Arc<ClientConfig>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Fields.
    pub headers: HeaderMap,
    /// Content.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub struct NoAnswer(pub String);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAnswer {}

// === impl Client ===

impl Client {
    /// A client of the node at `base_url` that trusts `authority`.
    ///
    /// # Panics
    /// When a file cannot be used.
    #[must_use]
    pub fn new(base_url: &str, authority: &Path, pair: Option<&Pair>) -> Self {
        let builder = ClientConfig::builder_with_provider(certs::provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has suites").with_root_certificates(roots(authority));
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let own = certs::Credentials::load(&pair.certificate, &pair.private_key).expect("certificate and key");
                builder.with_client_auth_cert(own.chain_der(), own.key_der()).expect("certificate and key")
            }
        };
        Self::with_config(base_url, config)
    }

    /// A client with TLS settings of the test.
    ///
    /// # Panics
    /// When the address is none of a node.
    #[must_use]
    pub fn with_config(base_url: &str, config: ClientConfig) -> Self {
        let (authority, path) =
            base_url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).expect("base URL");
        let (host, port) = authority.split_once(':').expect("host and port");
        let port = port.parse().expect("port");
        Self { host: host.to_owned(), port, reached_at: port, base: format!("/{path}"), tls: Arc::new(config) }
    }

    /// The same client with other TLS settings.
    #[must_use]
    pub fn reconfigured(&self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = (*self.tls).clone();
        // Sessions of the first configuration must not be resumed by the second.
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        change(&mut config);
        Self { tls: Arc::new(config), ..self.clone() }
    }

    /// The same client, whose connections go to another port of the host.
    #[must_use]
    pub fn reached_at(self, port: u16) -> Self {
        Self { reached_at: port, ..self }
    }

    /// `host:port`
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Path of the base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Connects and shakes hands.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let connect = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.reached_at)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
            TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await
        };
        let connected = tokio::time::timeout(ANSWER_TIME, connect).await;
        connected.map_err(|_| NoAnswer("no handshake in time".to_owned()))?.map_err(|error| NoAnswer(error.to_string()))
    }

    /// Sends bytes on a connection of their own; none when it ends without an answer.
    pub async fn send_raw(&self, request: impl AsRef<[u8]>) -> Option<Answer> {
        let exchange = async { wire::exchange(&mut self.connect().await.ok()?, request).await };
        tokio::time::timeout(ANSWER_TIME, exchange).await.ok()?
    }

    /// Sends a request by HTTP/1.1 on a connection of its own. `target` begins below the base URL.
    pub async fn try_send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, NoAnswer> {
        let request = self.request(method, &format!("{}{target}", self.base), fields, body.into())?;
        let exchange = async {
            let stream = self.connect().await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            let connection = tokio::spawn(connection);
            let answer = answer(sender.send_request(request).await.map_err(broken)?).await;
            connection.abort();
            answer
        };
        tokio::time::timeout(ANSWER_TIME, exchange).await.map_err(|_| NoAnswer("no answer in time".to_owned()))?
    }

    /// Sends requests by HTTP/2, one after the other on one connection.
    pub async fn send_h2(&self, requests: &[(&str, &str)]) -> Result<Vec<Answer>, NoAnswer> {
        let client = self.reconfigured(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        let stream = client.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for (method, target) in requests {
            let url = format!("https://{}{}{target}", self.authority(), self.base);
            let request = self.request(method, &url, &[("accept", JSON)], Bytes::new())?;
            let sent = tokio::time::timeout(ANSWER_TIME, sender.send_request(request)).await;
            let response = sent.map_err(|_| NoAnswer("no answer in time".to_owned()))?.map_err(broken)?;
            answers.push(answer(response).await?);
        }
        connection.abort();
        Ok(answers)
    }

    fn request(
        &self,
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, NoAnswer> {
        let method = Method::from_bytes(method.as_bytes()).map_err(broken)?;
        let mut request = Request::builder().method(method).uri(uri);
        if !uri.starts_with("https:") {
            request = request.header("host", self.authority());
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).map_err(broken)
    }

    /// As [`Self::try_send`].
    ///
    /// # Panics
    /// When nothing comes back.
    pub async fn send(&self, method: &str, target: &str, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let sent = self.try_send(method, target, fields, body).await;
        sent.unwrap_or_else(|error| panic!("{method} {target} at {}: {error}", self.authority()))
    }

    /// Gets JSON.
    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[("accept", JSON)], "").await
    }

    /// Sends a resource as JSON.
    pub async fn post(&self, target: &str, resource: &Value) -> Answer {
        self.send("POST", target, &[("accept", JSON), ("content-type", JSON)], resource.to_string()).await
    }

    /// Deletes, or whatever has no content.
    pub async fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[("accept", JSON)], "").await
    }

    /// Gets JSON with more fields.
    pub async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", target, &[&[("accept", JSON)], fields].concat(), "").await
    }

    /// Sends a resource as JSON with more fields.
    pub async fn write_with(&self, method: &str, target: &str, fields: &[(&str, &str)], resource: &Value) -> Answer {
        let fields = [&[("accept", JSON), ("content-type", JSON)], fields].concat();
        self.send(method, target, &fields, resource.to_string()).await
    }

    /// Sends a resource as JSON.
    pub async fn put(&self, target: &str, resource: &Value) -> Answer {
        self.send("PUT", target, &[("accept", JSON), ("content-type", JSON)], resource.to_string()).await
    }
}

pub(crate) fn roots(authority: &Path) -> RootCertStore {
    let bytes = std::fs::read(authority).expect("the authority's certificate");
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(&bytes, "authority").expect("the authority's certificate") {
        roots.add(certificate.der().clone()).expect("an authority");
    }
    roots
}

async fn answer(response: http::Response<hyper::body::Incoming>) -> Result<Answer, NoAnswer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(broken)?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

fn broken(error: impl std::error::Error) -> NoAnswer {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    NoAnswer(text)
}

// === impl Answer ===

impl Answer {
    /// A field as text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: no JSON ({error}): {}", self.status, self.text()))
    }

    /// Demands a status.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The codes of the issues of an OperationOutcome.
    ///
    /// # Panics
    /// When the content is none.
    pub fn outcome_codes(&self) -> Vec<String> {
        let outcome = self.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
        let issues = outcome["issue"].as_array().expect("issues");
        issues.iter().map(|issue| issue["code"].as_str().expect("a code").to_owned()).collect()
    }

    /// Id in `Location`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn created_id(&self) -> String {
        let location =
            self.field("location").unwrap_or_else(|| panic!("Location, but {} {}", self.status, self.text()));
        let (url, _) = location.split_once("/_history/").expect("a version in Location");
        url.rsplit('/').next().expect("an id in Location").to_owned()
    }
}
