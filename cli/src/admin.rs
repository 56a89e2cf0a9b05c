//! Speaks to a running node through its administration socket (`DIR/run/admin.sock`): HTTP/1.1 with JSON, one request a
//! connection. The engine accepts the users that its settings name, by the credentials of the socket's peer.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Longest answer that is read; a list of a thousand Tasks is about 1 MiB.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// A command that the node does not answer in this time has failed.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A node, reached by its directory.
pub(crate) struct Node {
    directory: PathBuf,
}

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nothing listens.
    #[error("the node in {directory} is not running or not reachable ({source}); start it with `schleuse run {directory}`")]
    NotReachable {
        /// Node directory.
        directory: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke or the answer is not one of this build.
    #[error("the node gave no usable answer: {0}")]
    Answer(String),
    /// The node refused or failed, and says why.
    #[error("{text}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The node's own words.
        text: String,
    },
}

impl AdminError {
    /// Exit code of the command: 69 when the node is not reachable, else 1.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NotReachable { .. } => 69,
            Self::Answer(_) | Self::Refused { .. } => 1,
        }
    }
}

impl Node {
    /// The node in `directory`.
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Asks and reads the JSON answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// Sends JSON and reads the JSON answer.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, content: &serde_json::Value) -> Result<T, AdminError> {
        self.call(Method::POST, path, content.to_string().into_bytes()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, content: Vec<u8>) -> Result<T, AdminError> {
        let exchange = self.exchange(method, path, content);
        let (status, body) = tokio::time::timeout(ANSWER_TIME, exchange)
            .await
            .map_err(|_| AdminError::Answer(format!("none within {} s", ANSWER_TIME.as_secs())))??;
        if !status.is_success() {
            let text = serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|answer| answer.get("error")?.as_str().map(str::to_owned))
                .unwrap_or_else(|| format!("the node answered {status}"));
            return Err(AdminError::Refused { status, text });
        }
        serde_json::from_slice(&body).map_err(|error| AdminError::Answer(error.to_string()))
    }

    async fn exchange(&self, method: Method, path: &str, content: Vec<u8>) -> Result<(StatusCode, Bytes), AdminError> {
        let broken = |error: &dyn std::fmt::Display| AdminError::Answer(error.to_string());
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "node")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(content)))
            .map_err(|error| broken(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| broken(&error))?;
        connection.abort();
        Ok((status, body.to_bytes()))
    }

    /// Connects through an open descriptor of the directory, because a socket path may have only 107 bytes.
    async fn connect(&self) -> Result<UnixStream, AdminError> {
        let fail = |source| AdminError::NotReachable { directory: self.directory.clone(), source };
        let directory = std::fs::File::open(&self.directory).map_err(fail)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), link::socket::ADMIN);
        UnixStream::connect(path).await.map_err(fail)
    }
}
