//! Requests that differ from one another, over mutual TLS or a Unix socket: creates, and reads of many resources.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Endpoint, Exchange, Protocol, Sample, gather};
use crate::error::{During as _, Failure, Outcome};

/// A way to a server.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Mutual TLS.
    Tls(Endpoint),
    /// Plain HTTP on a Unix socket.
    Unix(PathBuf),
}

/// Makes the bytes of the request with a number.
pub(crate) type Make = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Open connections.
pub(crate) struct Requests {
    lanes: Vec<Lane>,
}

/// What a connection can be.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

struct Lane {
    way: Way,
    make: Make,
    status: u16,
    next: Arc<AtomicU64>,
    exchange: Option<Exchange<Box<dyn Duplex>>>,
}

// === impl Way ===

impl Way {
    pub(crate) async fn connect(&self) -> std::io::Result<Exchange<Box<dyn Duplex>>> {
        let stream: Box<dyn Duplex> = match self {
            Self::Tls(endpoint) => {
                let tls = endpoint.tls(Protocol::Http1, false).map_err(std::io::Error::other)?;
                Box::new(endpoint.connect(&tls, None).await?)
            }
            Self::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
        };
        Ok(Exchange::new(stream))
    }
}

// === impl Requests ===

impl Requests {
    /// Opens connections; each has been answered once. Numbers of requests go on from `next`.
    pub(crate) async fn open(
        way: &Way,
        make: &Make,
        status: u16,
        next: &Arc<AtomicU64>,
        connections: usize,
    ) -> Outcome<Self> {
        let mut lanes = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut exchange = way.connect().await.during("opening connections")?;
            let first = exchange.answer(&make(next.fetch_add(1, Ordering::Relaxed))).await;
            let first = first.during("opening connections")?;
            if first.status != status {
                let body = String::from_utf8_lossy(&first.body).into_owned();
                return Err(Failure::new(format!("the server answers {} instead of {status}: {body}", first.head)));
            }
            let (way, make, next) = (way.clone(), Arc::clone(make), Arc::clone(next));
            lanes.push(Lane { way, make, status, next, exchange: Some(exchange) });
        }
        Ok(Self { lanes })
    }

    /// Asks on all connections for a time.
    pub(crate) async fn run(mut self, time: Duration) -> Sample {
        let end = Instant::now() + time;
        let tasks = self.lanes.drain(..).map(|lane| tokio::spawn(lane.run(end))).collect();
        gather(tasks).await
    }
}

impl Lane {
    async fn run(mut self, end: Instant) -> Sample {
        let mut sample = Sample::default();
        while Instant::now() < end {
            let request = (self.make)(self.next.fetch_add(1, Ordering::Relaxed));
            let started = Instant::now();
            match self.ask(&request).await {
                Ok(true) => {
                    sample.answers += 1;
                    sample.latencies.push(started.elapsed().as_secs_f64() * 1e6);
                }
                Ok(false) | Err(_) => sample.unexpected += 1,
            }
        }
        sample
    }

    /// Whether the answer had the expected status. Servers may close after an answer that says so.
    async fn ask(&mut self, request: &[u8]) -> std::io::Result<bool> {
        let mut exchange = match self.exchange.take() {
            Some(exchange) => exchange,
            None => self.way.connect().await?,
        };
        let outline = exchange.outline(request).await?;
        if !outline.closes {
            self.exchange = Some(exchange);
        }
        Ok(outline.status == self.status)
    }
}
