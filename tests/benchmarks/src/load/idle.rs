//! Connections that did one request and are silent since.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::{Endpoint, Exchange, Protocol, Question};
use crate::error::{During as _, Failure, Outcome};
use crate::limits::IDLE_PER_ADDRESS;

/// Handshakes at once.
const AT_ONCE: usize = 32;

/// Idle connections; they end with this value.
pub(crate) struct Idle {
    connections: Vec<TlsStream<TcpStream>>,
}

// === impl Idle ===

impl Idle {
    /// Opens connections from several addresses of loopback, and asks once on each.
    pub(crate) async fn open(endpoint: &Endpoint, question: Question, connections: usize) -> Outcome<Self> {
        let tls = endpoint.tls(Protocol::Http1, false)?;
        let request = Arc::new(endpoint.get(question.target));
        let mut all = Self { connections: Vec::with_capacity(connections) };
        let mut running = JoinSet::new();
        for number in 0..connections {
            if running.len() >= AT_ONCE {
                all.take(running.join_next().await)?;
            }
            let (endpoint, tls, request) = (endpoint.clone(), Arc::clone(&tls), Arc::clone(&request));
            running.spawn(async move {
                let stream = endpoint.connect(&tls, Some(source(number))).await?;
                let mut exchange = Exchange::new(stream);
                let outline = exchange.outline(&request).await?;
                if outline.closes || !outline.answers(question) {
                    return Err(std::io::Error::other("the server answers otherwise than expected"));
                }
                Ok(exchange.into_stream())
            });
        }
        while !running.is_empty() {
            all.take(running.join_next().await)?;
        }
        Ok(all)
    }

    fn take(
        &mut self,
        joined: Option<Result<std::io::Result<TlsStream<TcpStream>>, tokio::task::JoinError>>,
    ) -> Outcome<()> {
        let joined = joined.during("opening idle connections")?.during("opening idle connections")?;
        self.connections.push(joined.during("opening idle connections")?);
        Ok(())
    }

    /// Fails if the server closed one of them meanwhile.
    pub(crate) fn must_be_open(&self) -> Outcome<()> {
        let mut byte = [0];
        for connection in &self.connections {
            let closed = connection.get_ref().0.try_read(&mut byte).is_ok_and(|read| read == 0);
            if closed {
                return Err(Failure::new("the server closed idle connections during the measurement"));
            }
        }
        Ok(())
    }
}

/// 127.0.0.2 and the following.
fn source(number: usize) -> IpAddr {
    let host = u8::try_from(2 + number / IDLE_PER_ADDRESS).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, host))
}
