//! A receiver of syslog over TLS (RFC 5425).
//!
//! The protocol confirms nothing, and what was written to a socket may never be read. So a batch is a connection: it ends
//! with `close_notify`, and only when the receiver ends the connection in return, which TLS lets it do when it has read all
//! that came before, the batch has arrived. A connection that is reset, or that nobody ends, proves nothing, and the batch
//! is sent again. TLS sessions are resumed, so that a connection is cheap.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use certs::{Credentials, TrustStore};
use node::Settings;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::DeliveryError;
use super::message::Message;

/// Time to connect, and for the handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// Time in which a receiver must take a piece, or end the connection; less if the policy is less patient.
const PROGRESS: Duration = Duration::from_secs(30);
/// However impatient it is.
const LEAST_PROGRESS: Duration = Duration::from_secs(5);
/// Bytes of a piece: a slow receiver that takes one in time is alive.
const PIECE: usize = 8 * 1024;
/// What a receiver may say; the protocol gives it nothing to say.
const ANSWER_BYTES: usize = 64 * 1024;

/// A receiver.
pub(super) struct Receiver {
    host: String,
    port: u16,
    settings: Settings,
    progress: Duration,
    /// Files as they were when a connection was made last; read again after a failure.
    tls: Option<TlsConnector>,
}

/// What connections are made with; reads the files that `node.toml` names.
pub(super) fn tls(settings: &Settings) -> Result<TlsConnector, DeliveryError> {
    let files = |error: &dyn std::fmt::Display| DeliveryError::Files(error.to_string());
    let store = TrustStore::load(&settings.syslog.authorities).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        DeliveryError::Files(lines.join("; "))
    })?;
    let own = settings.syslog.certificate.as_ref();
    let own = own.map(|pair| Credentials::load(&pair.certificate, &pair.private_key)).transpose();
    let own = own.map_err(|error| files(&error))?;
    let config = client::client_tls(&store, own.as_ref()).map_err(|error| files(&error))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

// === impl Receiver ===

impl Receiver {
    pub(super) fn new(host: String, port: u16, settings: Settings, patience: Duration) -> Self {
        Self { host, port, settings, progress: patience.clamp(LEAST_PROGRESS, PROGRESS), tls: None }
    }

    pub(super) async fn deliver(&mut self, messages: &[Message<'_>]) -> Result<(), DeliveryError> {
        let connector = match self.tls.take() {
            Some(connector) => connector,
            None => tls(&self.settings)?,
        };
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.frame(&mut bytes));
        let mut stream = self.connect(&connector).await?;
        for piece in bytes.chunks(PIECE) {
            within(self.progress, "taking records", stream.write_all(piece)).await?.map_err(DeliveryError::Send)?;
        }
        within(self.progress, "taking records", stream.shutdown()).await?.map_err(DeliveryError::Send)?;
        within(self.progress, "ending the connection", ended(&mut stream)).await?.map_err(DeliveryError::Send)?;
        self.tls = Some(connector);
        Ok(())
    }

    async fn connect(&self, connector: &TlsConnector) -> Result<TlsStream<TcpStream>, DeliveryError> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| DeliveryError::Files(format!("{}: {error}", self.host)))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port));
        let stream = within(CONNECT, "the connection", stream).await?.map_err(DeliveryError::Connect)?;
        within(CONNECT, "the handshake", connector.connect(name, stream)).await?.map_err(DeliveryError::Handshake)
    }
}

async fn within<T>(time: Duration, what: &'static str, work: impl Future<Output = T>) -> Result<T, DeliveryError> {
    timeout(time, work).await.map_err(|_| DeliveryError::Timeout(what, time))
}

/// Waits until the receiver ends the connection. Many end it without `close_notify`, which after ours loses nothing; an
/// alert and a reset are errors.
async fn ended(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let mut said = 0_usize;
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(read) => said = said.saturating_add(read),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        if said > ANSWER_BYTES {
            return Err(std::io::Error::other("the receiver talks instead of ending the connection"));
        }
    }
}
