//! A receiver of syslog over TLS (RFC 5425), as the audit log is sent to one: it asks for a client certificate, counts its
//! bytes, and can behave as badly as receivers do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::client::roots;
use crate::network::Pair;

/// What a receiver does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// Takes everything and ends the connection when the sender has.
    Good,
    /// Shakes hands and reads nothing.
    Stalls,
    /// Takes what comes first and resets the connection.
    Resets,
    /// Takes everything and never ends the connection.
    KeepsOpen,
}

/// A running receiver; dropped, nobody listens any more.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<String>>>,
    manner: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

// === impl Receiver ===

impl Receiver {
    /// Listens on loopback, on any port for 0, with a certificate; trusts clients of `authority` alone.
    ///
    /// # Panics
    /// When the files cannot be used or the port is taken.
    pub async fn start(port: u16, certificate: &Pair, authority: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = listener.local_addr().expect("its number");
        let own = certs::Credentials::load(&certificate.certificate, &certificate.private_key).expect("a certificate");
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)), certs::provider());
        let config = rustls::ServerConfig::builder_with_provider(certs::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites")
            .with_client_cert_verifier(clients.build().expect("an authority"))
            .with_single_cert(own.chain_der(), own.key_der())
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (messages, manner) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicU8::new(Manner::Good as u8)));
        let (taken, how) = (Arc::clone(&messages), Arc::clone(&manner));
        let task = tokio::spawn(async move {
            // Connections end with the receiver.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&taken), how.load(Ordering::SeqCst)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, messages, manner, task }
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves so from the next connection on.
    pub fn behave(&self, manner: Manner) {
        self.manner.store(manner as u8, Ordering::SeqCst);
    }

    /// The messages that came, in order, each with its header.
    ///
    /// # Panics
    /// When a connection panicked while it kept one.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    /// Ends it and all its connections; the port is free when this returns.
    pub async fn stop(self) -> Vec<String> {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        self.messages()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, messages: Arc<Mutex<Vec<String>>>, manner: u8) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    if manner == Manner::Stalls as u8 {
        return std::future::pending().await;
    }
    let mut bytes = Vec::new();
    if manner == Manner::Resets as u8 {
        let _ = stream.read_buf(&mut bytes).await;
        // Unread bytes, or this, make the kernel send a reset instead of an end.
        let _ = rustix::net::sockopt::set_socket_linger(stream.get_ref().0, Some(std::time::Duration::ZERO));
        return;
    }
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        let mut rest = bytes.as_slice();
        while let Some((message, after)) = first_frame(rest) {
            messages.lock().unwrap().push(message.to_owned());
            rest = after;
        }
        bytes = rest.to_vec();
    }
    if manner == Manner::KeepsOpen as u8 {
        std::future::pending::<()>().await;
    }
    use tokio::io::AsyncWriteExt as _;
    let _ = stream.shutdown().await;
}

/// `LENGTH SP MESSAGE`
///
/// # Panics
/// When it is none.
fn first_frame(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(&bytes[..space]).unwrap();
    let length: usize = length.parse().unwrap_or_else(|_| panic!("no length of a message: {length}"));
    let (message, rest) = bytes[space + 1..].split_at_checked(length)?;
    Some((std::str::from_utf8(message).unwrap(), rest))
}
