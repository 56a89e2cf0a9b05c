//! The client: one request, one answer or one error.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tracing::debug;

use crate::answer::Answer;
use crate::connect::Connector;
use crate::destination::Destination;
use crate::error::{ClientError, Denial, Phase, SettingsError};
use crate::limits;
use crate::settings::{ClientSettings, Prepared};

const FHIR_JSON: &str = "application/fhir+json";

/// Calls other FHIR endpoints. Cheap to clone; all clones share connections and settings.
#[derive(Clone)]
pub struct Client {
    active: Arc<ArcSwap<Active>>,
}

/// Settings and the connections that were made with them.
struct Active {
    prepared: Arc<Prepared>,
    pool: Pool<Connector, Full<Bytes>>,
}

/// A method of the FHIR interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

/// A request below a base URL.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The base URL as in `Endpoint.address`.
    pub base_url: &'a str,
    /// Path and query below it, without a slash in front: `Task/1`, `Task?status=requested`.
    pub path: &'a str,
    /// Further header fields; `Accept` and `Content-Type` are FHIR JSON unless they stand here.
    pub headers: Vec<(HeaderName, String)>,
    /// The body.
    pub body: Bytes,
    /// The id that joins this call with the audit records and logs of this node.
    pub correlation_id: &'a str,
}

// === impl Client ===

impl Client {
    /// Reads the files that the settings name.
    pub fn new(settings: ClientSettings) -> Result<Self, SettingsError> {
        Ok(Self { active: Arc::new(ArcSwap::from_pointee(Active::new(settings)?)) })
    }

    /// Replaces certificate, trust store, proxy and lists at once. Calls that run end with what they began with; new
    /// calls make new connections. On an error everything stays as it was.
    pub fn reload(&self, settings: ClientSettings) -> Result<(), SettingsError> {
        self.active.store(Arc::new(Active::new(settings)?));
        Ok(())
    }

    /// Sends a request. Answers other than 2xx and 304 are [`ClientError::Http`].
    pub async fn request(&self, request: Request<'_>) -> Result<Answer, ClientError> {
        let active = self.active.load_full();
        let begin = tokio::time::Instant::now();
        let method = request.method;
        let base_url = request.base_url;
        let correlation_id = request.correlation_id;
        let result = active.call(request).await;
        let elapsed = begin.elapsed();
        match &result {
            Ok(answer) => {
                debug!(%base_url, method = method.as_str(), status = answer.status, ?elapsed, correlation_id, "called")
            }
            Err(error) => {
                debug!(base_url = %crate::answer::printable(base_url, 200), method = method.as_str(), %error, ?elapsed, correlation_id, "call failed")
            }
        }
        result
    }
}

impl Active {
    fn new(settings: ClientSettings) -> Result<Self, SettingsError> {
        let prepared = Arc::new(settings.prepare()?);
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::IDLE_TIME)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS)
            .http1_max_headers(limits::ANSWER_HEADERS)
            .http2_keep_alive_interval(limits::PING_INTERVAL)
            .http2_keep_alive_timeout(limits::PING_TIMEOUT)
            .build(Connector(Arc::clone(&prepared)));
        Ok(Self { prepared, pool })
    }

    async fn call(&self, request: Request<'_>) -> Result<Answer, ClientError> {
        let destination = self.prepared.destinations.permit(request.base_url, request.method).map_err(|denial| {
            let destination = crate::answer::printable(request.base_url, 200);
            ClientError::NotAllowed { destination, denial }
        })?;
        let repeatable = request.is_repeatable();
        let message = build(&destination, request)?;
        let call = Call { prepared: &self.prepared, destination: destination.base(), repeatable };
        let response = call.head(self.pool.clone(), message).await?;
        let answer = call.body(response).await?;
        if matches!(answer.status, 200..=299 | 304) { Ok(answer) } else { Err(answer.into_error()) }
    }
}

/// One call under way.
struct Call<'a> {
    prepared: &'a Prepared,
    destination: &'a str,
    repeatable: bool,
}

impl Call<'_> {
    /// Sends the request and waits for the head of the answer. The read timeout begins when a connection is there.
    async fn head(
        &self,
        pool: Pool<Connector, Full<Bytes>>,
        mut message: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let mut connected = capture_connection(&mut message);
        let mut response = std::pin::pin!(pool.request(message));
        // The connector has its own timeouts for each phase; this one only catches a pool that never answers.
        let longest = self.prepared.connect_timeout.saturating_mul(3);
        let early = tokio::select! {
            biased;
            finished = &mut response => Some(finished),
            _ = connected.wait_for_connection_metadata() => None,
            () = tokio::time::sleep(longest) => {
                let destination = self.destination.to_owned();
                return Err(ClientError::ConnectTimeout { destination, phase: Phase::Connect, after: longest });
            }
        };
        let finished = match early {
            Some(finished) => finished,
            None => timeout(self.prepared.read_timeout, response).await.map_err(|_| self.read_timeout())?,
        };
        finished.map_err(|error| self.classify(&error))
    }

    async fn body(&self, response: http::Response<Incoming>) -> Result<Answer, ClientError> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let is_error = !matches!(status, 200..=299 | 304);
        let limit = if is_error { limits::ERROR_BYTES } else { self.prepared.answer_bytes };
        let read = timeout(limits::ANSWER_TIME, self.read(body, limit, is_error)).await;
        let body = read.map_err(|_| self.read_timeout())??;
        Ok(Answer { destination: self.destination.to_owned(), status, headers: head.headers, body })
    }

    /// Reads up to `limit` bytes. Of an error answer the first bytes are enough, a longer success is an error.
    async fn read(&self, mut body: Incoming, limit: usize, is_error: bool) -> Result<Bytes, ClientError> {
        let mut collected = BytesMut::new();
        loop {
            let frame = timeout(self.prepared.read_timeout, body.frame()).await.map_err(|_| self.read_timeout())?;
            let Some(frame) = frame else { return Ok(collected.freeze()) };
            let frame = frame.map_err(|error| self.classify(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if collected.len().saturating_add(data.len()) > limit {
                if is_error {
                    return Ok(Bytes::new());
                }
                let reason = format!("the answer has more than {limit} bytes");
                return Err(ClientError::InvalidAnswer { destination: self.destination.to_owned(), reason });
            }
            collected.extend_from_slice(&data);
        }
    }

    fn read_timeout(&self) -> ClientError {
        ClientError::ReadTimeout { destination: self.destination.to_owned(), after: self.prepared.read_timeout }
    }

    /// Finds the cause in hyper's error: our own, a TLS failure, a broken connection, or a broken answer.
    fn classify(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        let destination = self.destination.to_owned();
        let mut is_broken_answer = false;
        let mut cause = Some(error);
        while let Some(current) = cause {
            if let Some(own) = current.downcast_ref::<ClientError>() {
                return own.clone();
            }
            if let Some(failure) = current.downcast_ref::<std::io::Error>().and_then(tls_failure) {
                return ClientError::Tls { destination, failure };
            }
            is_broken_answer |= current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
            cause = current.source();
        }
        let detail = deepest(error);
        if is_broken_answer {
            return ClientError::InvalidAnswer { destination, reason: detail };
        }
        ClientError::ConnectionLost { destination, repeatable: self.repeatable, detail }
    }
}

/// A TLS alert after the handshake: with TLS 1.3 this is how a server refuses a client certificate.
fn tls_failure(error: &std::io::Error) -> Option<certs::handshake::Failure> {
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if is_tls { certs::handshake::classify_io(error) } else { None }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    crate::answer::printable(&current.to_string(), 300)
}

fn build(destination: &Destination, request: Request<'_>) -> Result<http::Request<Full<Bytes>>, ClientError> {
    let invalid = |reason: String| ClientError::InvalidRequest { reason };
    let url = destination.join(request.path).map_err(|reason| ClientError::NotAllowed {
        destination: destination.base().to_owned(),
        denial: Denial::InvalidUrl { reason },
    })?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(FHIR_JSON));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("schleuse/", env!("CARGO_PKG_VERSION"))));
    if !request.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json; charset=utf-8"));
    }
    let correlation_id = HeaderValue::from_str(request.correlation_id)
        .map_err(|_| invalid("the correlation id is not a header value".to_owned()))?;
    headers.insert(HeaderName::from_static("x-correlation-id"), correlation_id);
    for (name, value) in request.headers {
        let value =
            HeaderValue::from_str(&value).map_err(|_| invalid(format!("the value of {name} is not a header value")))?;
        headers.insert(name, value);
    }
    let mut message = http::Request::new(Full::new(request.body));
    *message.method_mut() = request.method.into();
    *message.uri_mut() = url.as_str().parse().map_err(|_| invalid("the URL is not a URI".to_owned()))?;
    *message.headers_mut() = headers;
    Ok(message)
}

// === impl Request ===

impl<'a> Request<'a> {
    /// A request without body and further header fields.
    #[must_use]
    pub const fn new(method: Method, base_url: &'a str, path: &'a str, correlation_id: &'a str) -> Self {
        Self { method, base_url, path, headers: Vec::new(), body: Bytes::new(), correlation_id }
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Takes the resource as JSON body.
    #[must_use]
    pub fn with_resource(mut self, resource: &fhir::Resource) -> Self {
        self.body = Bytes::from(fhir::print(fhir::Format::Json, resource, false));
        self
    }

    /// Whether sending it twice has the effect of sending it once.
    fn is_repeatable(&self) -> bool {
        self.method != Method::Post || self.headers.iter().any(|(name, _)| name.as_str() == "if-none-exist")
    }
}

// === impl Method ===

impl Method {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Delete => Self::DELETE,
        }
    }
}
