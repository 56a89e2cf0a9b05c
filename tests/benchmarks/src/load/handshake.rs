//! Connections that live for one request: connect, shake hands, ask, read, reset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};

use super::{Endpoint, Exchange, Protocol, Question, Sample, gather};
use crate::error::Outcome;

/// Which handshake is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Certificates both ways.
    Full,
    /// By a ticket of the connection before.
    Resumed,
}

/// Loops, each with sessions of its own.
pub(crate) struct Handshakes {
    loops: Vec<Loop>,
}

#[derive(Clone)]
struct Loop {
    endpoint: Endpoint,
    tls: Arc<ClientConfig>,
    kind: Kind,
    question: Question,
    request: Vec<u8>,
}

// === impl Handshakes ===

impl Handshakes {
    /// Makes loops; each has connected once, so that a resuming one has its first ticket.
    pub(crate) async fn open(endpoint: &Endpoint, question: Question, kind: Kind, loops: usize) -> Outcome<Self> {
        let mut all = Self { loops: Vec::with_capacity(loops) };
        for _ in 0..loops {
            let one = Loop {
                endpoint: endpoint.clone(),
                tls: endpoint.tls(Protocol::Http1, kind == Kind::Resumed)?,
                kind,
                question,
                request: endpoint.get(question.target),
            };
            // What goes wrong here goes wrong in the run as well and is counted there.
            let _ = one.once().await;
            all.loops.push(one);
        }
        Ok(all)
    }

    /// Runs all loops for a time.
    pub(crate) async fn run(&self, time: Duration) -> Sample {
        let end = Instant::now() + time;
        gather(self.loops.iter().cloned().map(|one| tokio::spawn(one.run(end))).collect()).await
    }
}

impl Loop {
    async fn run(self, end: Instant) -> Sample {
        let mut sample = Sample::default();
        while Instant::now() < end {
            let started = Instant::now();
            match self.once().await {
                Ok((true, resumed)) => {
                    sample.answers += 1;
                    sample.resumed += u64::from(resumed);
                    sample.latencies.push(started.elapsed().as_secs_f64() * 1e6);
                }
                Ok((false, _)) | Err(_) => sample.unexpected += 1,
            }
        }
        sample
    }

    /// Whether the answer was the expected one, and whether the handshake was resumed.
    async fn once(&self) -> std::io::Result<(bool, bool)> {
        let stream = self.endpoint.connect(&self.tls, None).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let mut exchange = Exchange::new(stream);
        let outline = exchange.outline(&self.request).await?;
        // A reset leaves no socket in TIME_WAIT, of which a long run would have too many.
        exchange.into_stream().get_ref().0.set_zero_linger()?;
        // A full handshake in place of a resumed one is work that was not asked for; the other way round is a wrong test.
        let as_asked = self.kind == Kind::Resumed || !resumed;
        Ok((outline.answers(self.question) && as_asked, resumed))
    }
}
