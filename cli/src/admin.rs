//! Speaks to a running node through its administration socket (`DIR/run/admin.sock`): HTTP/1.1 with JSON, one request a
//! connection. The engine accepts the users that its settings name, by the credentials of the socket's peer.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::http::exchange;

/// A node, reached by its directory.
pub(crate) struct Node {
    directory: PathBuf,
}

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// Nothing listens.
    #[error(
        "the node in {directory} is not running or not reachable ({source}); start it with `schleuse run {directory}`"
    )]
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
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: &serde_json::Value,
    ) -> Result<T, AdminError> {
        self.call(Method::POST, path, content.to_string().into_bytes()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, content: Vec<u8>) -> Result<T, AdminError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "node")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(content)))
            .map_err(|error| AdminError::Answer(error.to_string()))?;
        let stream = self.connect().await?;
        let answer = exchange(stream, request).await.map_err(|error| AdminError::Answer(error.to_string()))?;
        let (status, body) = (answer.status(), answer.into_body());
        if !status.is_success() {
            let text = serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|answer| answer.get("error")?.as_str().map(str::to_owned))
                .unwrap_or_else(|| format!("the node answered {status}"));
            return Err(AdminError::Refused { status, text });
        }
        serde_json::from_slice(&body).map_err(|error| AdminError::Answer(error.to_string()))
    }

    /// Connects through an open descriptor of the directory, because a socket path may have only 107 bytes.
    async fn connect(&self) -> Result<UnixStream, AdminError> {
        let fail = |source| AdminError::NotReachable { directory: self.directory.clone(), source };
        let directory = std::fs::File::open(&self.directory).map_err(fail)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), link::socket::ADMIN);
        UnixStream::connect(path).await.map_err(fail)
    }
}
