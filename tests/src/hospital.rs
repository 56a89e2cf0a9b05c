//! A hospital's server in this process: FLARE below `/flare`, CQL evaluation below `/fhir`. It counts what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// The server. It runs on a thread of its own, so that it answers while a test waits for a command.
pub struct Hospital {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What it answers.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Count of FLARE; none is refused with 403.
    pub flare: Option<u64>,
    /// Count of every Measure; none is refused with 403.
    pub cql: Option<u64>,
    /// Whether counting waits.
    pub is_held: bool,
    /// How many counts were asked for.
    pub asked: u32,
    /// The CQL of the last transaction.
    pub library: String,
}

impl Hospital {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let known = Arc::clone(&state);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, known));
        });
        Self { address, state }
    }

    /// A URL of the server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    /// Looks at the state and changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request: http::Request<Incoming>| respond(Arc::clone(&state), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path();
    let (status, media_type, text) = match (head.method.as_str(), path) {
        ("GET", "/flare/cache/stats") => (200, "application/json", "{}".to_owned()),
        ("GET", "/fhir/metadata") => fhir(&json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1" })),
        ("POST", "/fhir") => fhir(&stored(&state, &body)),
        ("POST", "/flare/query/execute") => match counted(&state, |state| state.flare).await {
            Some(count) => (200, "text/plain", count.to_string()),
            None => (403, "text/plain", String::new()),
        },
        ("GET", "/fhir/Measure/1/$evaluate-measure") => match counted(&state, |state| state.cql).await {
            Some(count) => fhir(&report(count)),
            None => (403, "text/plain", String::new()),
        },
        _ => (404, "text/plain", String::new()),
    };
    let response = http::Response::builder().status(status).header("content-type", media_type);
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}

fn fhir(resource: &Value) -> (u16, &'static str, String) {
    (200, "application/fhir+json", resource.to_string())
}

/// The count, when counting is not held.
async fn counted(state: &Mutex<State>, count: impl Fn(&State) -> Option<u64>) -> Option<u64> {
    state.lock().unwrap().asked += 1;
    while state.lock().unwrap().is_held {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    count(&state.lock().unwrap())
}

fn stored(state: &Mutex<State>, body: &[u8]) -> Value {
    use base64::Engine as _;
    let bundle: Value = serde_json::from_slice(body).unwrap();
    let data = bundle["entry"][1]["resource"]["content"][0]["data"].as_str().unwrap_or_default();
    let text = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    state.lock().unwrap().library = String::from_utf8(text).unwrap();
    let entry = |location: &str| json!({ "response": { "status": "201", "location": location } });
    json!({ "resourceType": "Bundle", "type": "transaction-response",
        "entry": [entry("Measure/1/_history/1"), entry("Library/1/_history/1")] })
}

fn report(count: u64) -> Value {
    let population = json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/measure-population",
        "code": "initial-population" }] });
    json!({ "resourceType": "MeasureReport", "status": "complete", "type": "summary",
        "group": [{ "population": [{ "code": population, "count": count }] }] })
}
