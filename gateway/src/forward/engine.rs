//! Requests with a judged body, over the Unix socket.
//!
//! The proxy streams a body from client to engine as it comes; a judged body is already here, and exactly these bytes must
//! go on. So it is sent from here, over a small pool of HTTP/1.1 connections.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::head::EngineHead;
use crate::limits::{ENGINE_CONNECT, ENGINE_CONNECTIONS};

/// Connections to the engine.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// Nobody listens, or not in time.
    #[error("engine socket cannot be reached: {0}")]
    Connect(std::io::Error),
    /// The connection broke; whether the request was acted on is not known.
    #[error("engine connection failed: {0}")]
    Connection(#[from] hyper::Error),
    /// No answer in time.
    #[error("engine did not answer in time")]
    TimedOut,
    /// The head cannot be written.
    #[error("request head cannot be written: {0}")]
    Head(#[from] http::Error),
}

// === impl Engine ===

impl Engine {
    /// For the socket at this path.
    #[must_use]
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) async fn send(
        &self,
        head: EngineHead,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<Incoming>, EngineError> {
        let mut request = Request::builder().method(head.method).uri(head.target).body(Full::new(body))?;
        *request.headers_mut() = head.fields;
        tokio::time::timeout(patience, self.exchange(request)).await.map_err(|_| EngineError::TimedOut)?
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, EngineError> {
        // An idle connection that the engine closed meanwhile gives the request back unsent.
        while let Some(mut connection) = self.take_idle() {
            match connection.try_send_request(request).await {
                Ok(response) => {
                    self.give_back(connection);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(EngineError::Connection(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await?;
        self.give_back(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, EngineError> {
        let stream = tokio::time::timeout(ENGINE_CONNECT, UnixStream::connect(&self.socket))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(EngineError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "engine connection ended");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        // One whose response body is still being read is not ready yet.
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn give_back(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < ENGINE_CONNECTIONS {
            idle.push(connection);
        }
    }
}
