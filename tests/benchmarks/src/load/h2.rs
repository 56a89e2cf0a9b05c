//! Streams on few connections, over HTTP/2.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Endpoint, Protocol, Question, Sample, gather};
use crate::error::{During as _, Failure, Outcome};
use crate::limits::REQUEST;

/// Open connections.
pub(crate) struct Streams {
    connections: Vec<SendRequest<Empty<Bytes>>>,
    streams: usize,
    question: Question,
    uri: String,
}

// === impl Streams ===

impl Streams {
    /// Opens connections; each has been answered once.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        question: Question,
        (connections, streams): (usize, usize),
    ) -> Outcome<Self> {
        let tls = endpoint.tls(Protocol::Http2, false)?;
        let uri = format!("https://localhost:{}{}", endpoint.address.port(), question.target);
        let mut all = Self { connections: Vec::new(), streams, question, uri };
        for _ in 0..connections {
            let stream = endpoint.connect(&tls, None).await.during("opening a connection")?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(Failure::new("opening a connection: the server does not speak HTTP/2"));
            }
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .handshake(TokioIo::new(stream))
                .await
                .during("opening a connection")?;
            tokio::spawn(connection);
            if !ask(&mut sender.clone(), &all.uri, question).await {
                return Err(Failure::new("opening a connection: the server answers otherwise than expected"));
            }
            all.connections.push(sender);
        }
        Ok(all)
    }

    /// Asks on all streams for a time.
    pub(crate) async fn run(&mut self, time: Duration) -> Sample {
        let end = Instant::now() + time;
        let mut tasks = Vec::new();
        for sender in self.connections.drain(..) {
            for _ in 0..self.streams {
                tasks.push(tokio::spawn(run(sender.clone(), self.uri.clone(), self.question, end)));
            }
        }
        gather(tasks).await
    }
}

async fn run(mut sender: SendRequest<Empty<Bytes>>, uri: String, question: Question, end: Instant) -> Sample {
    let mut sample = Sample::default();
    while Instant::now() < end {
        let started = Instant::now();
        if ask(&mut sender, &uri, question).await {
            sample.answers += 1;
            sample.latencies.push(started.elapsed().as_secs_f64() * 1e6);
            continue;
        }
        sample.unexpected += 1;
        if sender.is_closed() {
            break;
        }
    }
    sample
}

/// Whether the answer was the expected one.
async fn ask(sender: &mut SendRequest<Empty<Bytes>>, uri: &str, question: Question) -> bool {
    let exchange = async {
        sender.ready().await.ok()?;
        let request = Request::get(uri).header("accept", "application/fhir+json").body(Empty::new()).ok()?;
        let response = sender.send_request(request).await.ok()?;
        let is_ok = response.status() == http::StatusCode::OK;
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.ok()?.data_ref().map_or(0, Bytes::len);
        }
        Some(is_ok && bytes == question.bytes)
    };
    tokio::time::timeout(REQUEST, exchange).await.ok().flatten().unwrap_or(false)
}
