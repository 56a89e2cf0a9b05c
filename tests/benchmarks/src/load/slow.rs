//! Clients that hold a connection and give as little as possible.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Endpoint, Protocol};
use crate::error::{During as _, Outcome};
use crate::limits::{DRIP, SLOW_CLIENT};

/// How the client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlowClient {
    /// Connects and says nothing.
    SilentTcp,
    /// Shakes hands and says nothing.
    SilentTls,
    /// Sends a request head, one byte a second.
    HeaderDrip,
}

/// Time until the server closes; none if it did not within the bound.
pub(crate) async fn time_to_close(endpoint: &Endpoint, client: SlowClient) -> Outcome<Option<Duration>> {
    let started = Instant::now();
    let closed = match client {
        SlowClient::SilentTcp => {
            let mut stream = endpoint.connect_tcp(None).await.during("connecting")?;
            until_closed(&mut stream, &[]).await
        }
        SlowClient::SilentTls | SlowClient::HeaderDrip => {
            let tls = endpoint.tls(Protocol::Http1, false)?;
            let mut stream = endpoint.connect(&tls, None).await.during("connecting")?;
            let drip = if client == SlowClient::HeaderDrip { endpoint.get("/fhir/metadata") } else { Vec::new() };
            // The last byte would end the head.
            until_closed(&mut stream, drip.get(..drip.len().saturating_sub(1)).unwrap_or_default()).await
        }
    };
    Ok(closed.then(|| started.elapsed()))
}

/// Whether the server closed, or answered and closed, within the bound.
async fn until_closed(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), drip: &[u8]) -> bool {
    let mut drip = drip.iter();
    let mut ticks = tokio::time::interval(DRIP);
    let end = tokio::time::sleep(SLOW_CLIENT);
    tokio::pin!(end);
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            },
            _ = ticks.tick() => {
                let Some(byte) = drip.next() else { continue };
                if stream.write_all(std::slice::from_ref(byte)).await.is_err() || stream.flush().await.is_err() {
                    return true;
                }
            }
            () = &mut end => return false,
        }
    }
}
