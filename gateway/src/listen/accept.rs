//! The accept loop: from a TCP connection to a verified client, within time and number limits.
//!
//! Nothing of a stranger is parsed by the HTTP layer before its certificate was verified. Every permit (connection,
//! address, handshake) is held by a guard, so that it is given back on every way out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit::Log;
use certs::Certificate;
use daemon::Workers;
use moka::sync::Cache;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use policies::Thumbprint;
use rustls::HandshakeKind;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_stream::ClientStream;
use super::connection::{Connection, Peer};
use crate::limits;
use crate::rate::Rates;
use crate::record::Decided;
use crate::reload::Active;
use crate::strangers::Strangers;

/// Accepts partners and hands their verified connections to the proxy.
pub struct Listener<A> {
    app: Arc<A>,
    active: Arc<Active>,
    audit: Arc<Log>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    handshaking: Arc<Addresses>,
    strangers: Strangers,
    certificates: Cache<Thumbprint, Arc<Certificate>>,
    workers: Workers,
    rates: Rates<IpAddr>,
    stop: watch::Receiver<bool>,
}

/// Connections per address; IPv6 counts by /64, which is what one site has.
#[derive(Debug, Default)]
struct Addresses {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The right to a handshake: of the address and of all.
type Handshake = (AddressGuard, OwnedSemaphorePermit);

struct AddressGuard {
    addresses: Arc<Addresses>,
    key: IpAddr,
}

/// Why a handshake gave no client.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("not completed in time")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("client certificate is not readable: {0}")]
    Certificate(String),
}

// === impl Listener ===

impl<A: ServerApp + Send + Sync + 'static> Listener<A> {
    /// A listener that ends when `stop` becomes true.
    pub fn new(
        app: Arc<A>,
        active: Arc<Active>,
        audit: Arc<Log>,
        workers: Workers,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            app,
            active,
            audit,
            connections: Arc::new(Semaphore::new(limits::CONNECTIONS)),
            handshakes: Arc::new(Semaphore::new(limits::HANDSHAKES)),
            addresses: Arc::default(),
            handshaking: Arc::default(),
            strangers: Strangers::default(),
            certificates: Cache::new(limits::CONNECTIONS as u64),
            rates: Rates::default(),
            workers,
            stop,
        })
    }

    /// Accepts until told to stop.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((tcp, address)) => self.admit(tcp, address),
                Err(error) => {
                    // Out of file descriptors or memory: existing connections must get the chance to end.
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// True once every thread that serves connections has had a turn; for the service manager's watchdog.
    pub async fn workers_turn(&self) -> bool {
        self.workers.turn().await;
        true
    }

    /// Waits until all connections have ended, at most for this time; returns how many are left.
    pub async fn drained(&self, time: Duration) -> usize {
        let all = u32::try_from(limits::CONNECTIONS).unwrap_or(u32::MAX);
        match tokio::time::timeout(time, self.connections.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => limits::CONNECTIONS.saturating_sub(self.connections.available_permits()),
        }
    }

    fn admit(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        let refuse = |reason: &'static str| {
            metrics::counter!("schleuse_listen_refused_total", "reason" => reason).increment(1);
            tracing::debug!(%address, reason, "connection refused");
        };
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else { return refuse("connections") };
        let Some(guard) = Addresses::enter(&self.addresses, address.ip(), limits::CONNECTIONS_PER_ADDRESS) else {
            return refuse("connections-per-address");
        };
        let rate = self.active.basis().limits.rate.handshakes_per_ip;
        if !self.rates.take(&site(address.ip()), rate, rate.saturating_mul(2), Instant::now()) {
            return refuse("handshake-rate");
        }
        let Some(own) = Addresses::enter(&self.handshaking, address.ip(), limits::HANDSHAKES_PER_ADDRESS) else {
            return refuse("handshakes-per-address");
        };
        let Ok(all) = Arc::clone(&self.handshakes).try_acquire_owned() else { return refuse("handshakes") };
        let handshake = (own, all);
        // Away from this thread's events, so that a worker can wait for them.
        let tcp = match tcp.into_std() {
            Ok(tcp) => tcp,
            Err(error) => return tracing::warn!(%error, "connection cannot be handed over"),
        };
        let listener = Arc::clone(self);
        self.workers.serve(move || async move {
            let tcp = match TcpStream::from_std(tcp) {
                Ok(tcp) => tcp,
                Err(error) => return tracing::warn!(%error, "connection cannot be taken over"),
            };
            metrics::gauge!("schleuse_listen_connections").increment(1);
            listener.serve(tcp, address, handshake).await;
            metrics::gauge!("schleuse_listen_connections").decrement(1);
            drop((permit, guard));
        });
    }

    async fn serve(&self, tcp: TcpStream, address: SocketAddr, handshake: Handshake) {
        let limit = self.active.basis().limits.handshake;
        let stream = match tokio::time::timeout(limit, self.handshake(tcp, address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return report_failure(address, &error),
            Err(_) => return report_failure(address, &HandshakeError::TimedOut),
        };
        drop(handshake);
        let connection = stream.connection();
        let mut next: Option<Stream> = Some(Box::new(stream));
        while let Some(stream) = next {
            next = self.app.process_new(stream, &self.stop).await;
        }
        if connection.was_refused_by_parser() {
            // Answered by the HTTP library without asking us; nothing of it went anywhere.
            metrics::counter!("schleuse_listen_refused_total", "reason" => "parser").increment(1);
            self.record_refusal(&connection);
        }
    }

    fn record_refusal(&self, connection: &Connection) {
        // Who it is was not asked yet, so it counts as a stranger's.
        let Some(left_out) = self.strangers.admit(connection.peer.address, Instant::now()) else { return };
        let basis = self.active.basis();
        let snapshot = basis.snapshot.as_ref().map_or(0, |snapshot| snapshot.version());
        let correlation_id = link::CorrelationId::random().to_string();
        let mut record = Decided::about(connection, &correlation_id, basis.policy.version(), snapshot);
        record.left_out = Some(left_out).filter(|count| *count > 0);
        record.code = Some("GW-HEAD-015");
        record.reason = Some("head refused by the parser".into());
        record.status = Some(400);
        if let Err(error) = self.audit.append(time::OffsetDateTime::now_utc(), &record) {
            tracing::error!(%error, "audit log cannot be written");
        }
    }

    async fn handshake(&self, tcp: TcpStream, address: SocketAddr) -> Result<ClientStream, HandshakeError> {
        tcp.set_nodelay(true)?;
        let state = self.active.tls();
        let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
        let host = self.active.base().host();
        // Clients that connect by address send no name; `Host` decides then, as it does for everybody.
        let sni_matches = hello.client_hello().server_name().is_none_or(|name| name.eq_ignore_ascii_case(host));
        let tls = hello.into_stream(Arc::clone(&state.config)).await?;
        let peer = self.peer(&tls, address.ip())?;
        let session = tls.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        // What a resumed session skipped is verified by its first request.
        let verified_by = if resumed { 0 } else { state.generation };
        if !resumed {
            state.note_verified(&peer.thumbprint);
        }
        let protocol = describe(&tls);
        let group = session.negotiated_key_exchange_group().map_or("none", |group| group_name(group.name()));
        let result = if resumed { "resumed" } else { "full" };
        metrics::counter!("schleuse_tls_handshakes_total", "result" => result, "group" => group).increment(1);
        let basis = self.active.basis();
        let connection = Arc::new(Connection::new(peer, sni_matches, protocol, verified_by, basis.limits.keep_alive));
        Ok(ClientStream::new(tls, connection, address, &basis.limits)?)
    }

    fn peer(&self, tls: &TlsStream<TcpStream>, address: IpAddr) -> Result<Peer, HandshakeError> {
        let unreadable = |error: &dyn std::fmt::Display| HandshakeError::Certificate(error.to_string());
        let mut chain = tls.get_ref().1.peer_certificates().unwrap_or_default().iter();
        let leaf = chain.next().ok_or_else(|| HandshakeError::Certificate("none was shown".to_owned()))?;
        let thumbprint: Thumbprint = certs::thumbprint(leaf).parse().map_err(|error| unreadable(&error))?;
        let certificate = match self.certificates.get(&thumbprint) {
            Some(known) => known,
            None => {
                let read = Arc::new(Certificate::from_der(leaf).map_err(|error| unreadable(&error))?);
                self.certificates.insert(thumbprint.clone(), Arc::clone(&read));
                read
            }
        };
        let intermediates = chain.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(Peer { address, thumbprint, certificate, intermediates })
    }
}

fn describe(tls: &TlsStream<TcpStream>) -> String {
    let session = tls.get_ref().1;
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("unknown");
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    format!("{version} {suite}")
}

/// A closed set of labels.
fn group_name(group: rustls::NamedGroup) -> &'static str {
    match group {
        rustls::NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        rustls::NamedGroup::X25519 => "X25519",
        rustls::NamedGroup::secp256r1 => "P-256",
        rustls::NamedGroup::secp384r1 => "P-384",
        _ => "other",
    }
}

fn report_failure(address: SocketAddr, error: &HandshakeError) {
    let failure = match error {
        HandshakeError::Io(error) => certs::handshake::classify_io(error),
        HandshakeError::TimedOut | HandshakeError::Certificate(_) => None,
    };
    let (code, detail) = match (&failure, error) {
        (Some(failure), _) => (failure.code(), failure.to_string()),
        (None, HandshakeError::TimedOut) => ("timed-out".to_owned(), error.to_string()),
        (None, HandshakeError::Certificate(_)) => ("certificate-unreadable".to_owned(), error.to_string()),
        (None, HandshakeError::Io(_)) => ("connection".to_owned(), error.to_string()),
    };
    tracing::info!(%address, code, detail, "tls handshake failed");
    metrics::counter!("schleuse_tls_handshake_failures_total", "reason" => code).increment(1);
}

// === impl Addresses ===

impl Addresses {
    fn enter(addresses: &Arc<Self>, address: IpAddr, limit: usize) -> Option<AddressGuard> {
        let key = site(address);
        let mut counts = addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(AddressGuard { addresses: Arc::clone(addresses), key })
    }
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// What one site has: an IPv4 address or an IPv6 /64.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}
