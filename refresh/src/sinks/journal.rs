//! The journal of the machine, by its native protocol: a datagram for each entry.
//!
//! A datagram that the kernel took is in the queue of the journal's socket, which the service manager holds over restarts
//! of the journal; a full queue makes the sender wait.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::DeliveryError;
use super::message::Message;

/// Time for one entry.
const ENTRY: Duration = Duration::from_secs(30);

/// The journal behind a socket.
pub(super) struct Journal {
    path: PathBuf,
}

// === impl Journal ===

impl Journal {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) async fn deliver(&self, messages: &[Message<'_>]) -> Result<(), DeliveryError> {
        let socket = UnixDatagram::unbound().map_err(DeliveryError::Connect)?;
        socket.connect(&self.path).map_err(DeliveryError::Connect)?;
        for message in messages {
            let sent = timeout(ENTRY, socket.send(&message.entry())).await;
            sent.map_err(|_| DeliveryError::Timeout("an entry of the journal", ENTRY))?.map_err(DeliveryError::Send)?;
        }
        Ok(())
    }
}
