//! One HTTP/1.1 exchange on a connection that is already there: what the administration socket, the management listener
//! and a node's partner port have in common.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest answer that is read; a list of a thousand Tasks is about 1 MiB.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// An answer that takes longer is a failure.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {seconds} s", seconds = ANSWER_TIME.as_secs())]
    Time,
}

/// Sends the request and reads the whole answer; the connection ends with it.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ExchangeError> {
    tokio::time::timeout(ANSWER_TIME, exchange_now(stream, request)).await.map_err(|_| ExchangeError::Time)?
}

async fn exchange_now(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ExchangeError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(ExchangeError::Body)?;
    connection.abort();
    Ok(Response::from_parts(head, body.to_bytes()))
}
