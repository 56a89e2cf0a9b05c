//! Requests one after the other on connections that stay open, over HTTP/1.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Endpoint, Exchange, Protocol, Question, Sample, gather};
use crate::error::{During as _, Failure, Outcome};

/// Open connections.
pub(crate) struct KeepAlive {
    lanes: Vec<Lane>,
}

struct Lane {
    endpoint: Endpoint,
    tls: Arc<ClientConfig>,
    question: Question,
    request: Vec<u8>,
    exchange: Option<Exchange<TlsStream<TcpStream>>>,
}

// === impl KeepAlive ===

impl KeepAlive {
    /// Opens connections; each has been answered once.
    pub(crate) async fn open(endpoint: &Endpoint, question: Question, connections: usize) -> Outcome<Self> {
        let tls = endpoint.tls(Protocol::Http1, false)?;
        let mut lanes = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut lane = Lane {
                endpoint: endpoint.clone(),
                tls: Arc::clone(&tls),
                question,
                request: endpoint.get(question.target),
                exchange: None,
            };
            if !lane.ask().await.during("opening connections")? {
                return Err(Failure::new("opening connections: the server answers otherwise than expected"));
            }
            lanes.push(lane);
        }
        Ok(Self { lanes })
    }

    /// Asks on all connections for a time.
    pub(crate) async fn run(&mut self, time: Duration) -> Sample {
        let end = Instant::now() + time;
        let tasks = self.lanes.drain(..).map(|lane| tokio::spawn(lane.run(end))).collect();
        gather(tasks).await
    }
}

impl Lane {
    async fn run(mut self, end: Instant) -> Sample {
        let mut sample = Sample::default();
        while Instant::now() < end {
            let started = Instant::now();
            match self.ask().await {
                Ok(true) => {
                    sample.answers += 1;
                    sample.latencies.push(started.elapsed().as_secs_f64() * 1e6);
                }
                Ok(false) => sample.unexpected += 1,
                Err(_) => {
                    sample.unexpected += 1;
                    self.exchange = None;
                }
            }
        }
        sample
    }

    /// Whether the answer was the expected one. Servers may close after an answer that says so.
    async fn ask(&mut self) -> std::io::Result<bool> {
        let mut exchange = match self.exchange.take() {
            Some(exchange) => exchange,
            None => Exchange::new(self.endpoint.connect(&self.tls, None).await?),
        };
        let outline = exchange.outline(&self.request).await?;
        if !outline.closes {
            self.exchange = Some(exchange);
        }
        Ok(outline.answers(self.question))
    }
}
