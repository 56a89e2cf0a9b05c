//! Making a connection: name, guard, TCP or tunnel, TLS.
//!
//! A name is resolved once and only the addresses that passed the guard are connected to. Every failure becomes the
//! [`ClientError`] that the caller sees; hyper carries it through its own error as source.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{ClientError, Denial, Phase, ProxyProblem};
use crate::limits;
use crate::settings::Prepared;

/// Makes connections for hyper's pool.
#[derive(Clone)]
pub(crate) struct Connector(pub(crate) Arc<Prepared>);

/// A connection to a server, possibly through the proxy.
///
/// When the other side closes while we still write, what it said before is worth more than the broken write: a TLS 1.3
/// server refuses a client certificate by an alert after our handshake is over, and an HTTP server may answer 413 before
/// the body is through. So a broken write is not reported: the rest is thrown away, and reading finds the alert, the
/// answer, or the end. It cannot wait for ever, because a connection that breaks a write has ended.
pub(crate) struct Transport {
    stream: Stream,
    is_write_broken: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where a URI leads.
struct Target {
    host: String,
    port: u16,
    is_tls: bool,
    /// `host:port` for messages and for CONNECT.
    name: String,
}

// === impl Connector ===

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Transport>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let prepared = Arc::clone(&self.0);
        Box::pin(async move {
            let target = Target::of(&uri)?;
            Ok(TokioIo::new(connect(&prepared, &target).await?))
        })
    }
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, ClientError> {
        let is_tls = uri.scheme_str() == Some("https");
        let written =
            uri.host().ok_or_else(|| ClientError::InvalidRequest { reason: "the URL has no host".to_owned() })?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = written.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port, is_tls, name: format!("{written}:{port}") })
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

async fn connect(prepared: &Prepared, target: &Target) -> Result<Transport, ClientError> {
    let stream = match prepared.proxy.as_ref().filter(|proxy| proxy.serves(&target.host, target.port)) {
        Some(proxy) => through_proxy(prepared, proxy, target).await?,
        None => directly(prepared, target).await?,
    };
    if !target.is_tls {
        return Ok(Transport::new(Stream::Plain(stream)));
    }
    let invalid = |_| ClientError::InvalidRequest { reason: format!("{} is not a host name", target.host) };
    let name = ServerName::try_from(target.host.clone()).map_err(invalid)?;
    let handshake = TlsConnector::from(Arc::clone(&prepared.tls)).connect(name, stream);
    let after = prepared.connect_timeout;
    match timeout(after, handshake).await {
        Ok(Ok(stream)) => {
            check_pins(prepared, target, &stream)?;
            Ok(Transport::new(Stream::Tls(Box::new(stream))))
        }
        Ok(Err(error)) => Err(handshake_error(target, &error)),
        Err(_) => Err(ClientError::ConnectTimeout { destination: target.name.clone(), phase: Phase::Tls, after }),
    }
}

/// Before the first byte of a request: with pins the server must show one of these certificates.
fn check_pins(prepared: &Prepared, target: &Target, stream: &TlsStream<TcpStream>) -> Result<(), ClientError> {
    if prepared.server_pins.is_empty() {
        return Ok(());
    }
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|own| certs::fingerprint(own));
    let sha256 = shown.unwrap_or_default();
    match prepared.server_pins.contains(&sha256) {
        true => Ok(()),
        false => {
            Err(ClientError::NotAllowed { destination: target.name.clone(), denial: Denial::Certificate { sha256 } })
        }
    }
}

fn handshake_error(target: &Target, error: &io::Error) -> ClientError {
    let destination = target.name.clone();
    match certs::handshake::classify_io(error) {
        Some(failure) => ClientError::Tls { destination, failure },
        None => ClientError::ConnectionRefused { destination, detail: error.to_string() },
    }
}

async fn directly(prepared: &Prepared, target: &Target) -> Result<TcpStream, ClientError> {
    let after = prepared.connect_timeout;
    let expired = |phase| ClientError::ConnectTimeout { destination: target.name.clone(), phase, after };
    let begin = tokio::time::Instant::now();
    let addresses = match target.address() {
        Some(address) => vec![SocketAddr::new(address, target.port)],
        None => timeout(after, resolve(&target.host, target.port))
            .await
            .map_err(|_| expired(Phase::Resolve))?
            .map_err(|detail| ClientError::UnknownHost { host: target.host.clone(), detail })?,
    };
    let permitted: Vec<SocketAddr> = addresses
        .iter()
        .copied()
        .filter(|address| prepared.destinations.permits_address(&target.host, address.ip()))
        .collect();
    if permitted.is_empty() {
        let Some(address) = addresses.first().map(SocketAddr::ip) else {
            return Err(ClientError::UnknownHost { host: target.host.clone(), detail: "no address".to_owned() });
        };
        let denial = Denial::PrivateAddress { host: target.host.clone(), address };
        return Err(ClientError::NotAllowed { destination: target.name.clone(), denial });
    }
    let left = after.saturating_sub(begin.elapsed());
    match timeout(left, first_of(permitted)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            Err(ClientError::ConnectionRefused { destination: target.name.clone(), detail: error.to_string() })
        }
        Err(_) => Err(expired(Phase::Connect)),
    }
}

async fn through_proxy(
    prepared: &Prepared,
    proxy: &crate::proxy::Proxy,
    target: &Target,
) -> Result<TcpStream, ClientError> {
    if let Some(address) =
        target.address().filter(|address| !prepared.destinations.permits_address(&target.host, *address))
    {
        let denial = Denial::PrivateAddress { host: target.host.clone(), address };
        return Err(ClientError::NotAllowed { destination: target.name.clone(), denial });
    }
    let after = prepared.connect_timeout;
    let tunnel = async {
        let addresses =
            resolve(&proxy.host, proxy.port).await.map_err(|detail| ProxyProblem::UnknownHost { detail })?;
        let mut stream =
            first_of(addresses).await.map_err(|error| ProxyProblem::Refused { detail: error.to_string() })?;
        proxy.tunnel(&mut stream, &target.name).await?;
        Ok(stream)
    };
    let result = timeout(after, tunnel).await.unwrap_or(Err(ProxyProblem::Timeout { after }));
    result.map_err(|problem| ClientError::Proxy { proxy: proxy.name.clone(), problem })
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let addresses: Vec<SocketAddr> = found.take(limits::ADDRESSES).collect();
            if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The first connection that succeeds; each address has a short head start before the next. Dropping it ends all attempts.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.into_iter();
    let mut last_error = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to connect to");
    let mut head_start = Duration::ZERO;
    let mut exhausted = false;
    loop {
        tokio::select! {
            finished = attempts.join_next(), if !attempts.is_empty() => match finished {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => {
                    last_error = error;
                    head_start = Duration::ZERO;
                }
                Some(Err(_)) | None => {}
            },
            () = tokio::time::sleep(head_start), if !exhausted => match waiting.next() {
                Some(address) => {
                    attempts.spawn(open(address));
                    head_start = limits::ADDRESS_DELAY;
                }
                None => exhausted = true,
            },
            else => return Err(last_error),
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Transport ===

impl Transport {
    const fn new(stream: Stream) -> Self {
        Self { stream, is_write_broken: false }
    }

    /// Lets `done` stand for a write that broke because the other side is gone.
    fn forgive<T>(&mut self, result: Poll<io::Result<T>>, done: T) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) if is_peer_gone(&error) => {
                self.is_write_broken = true;
                Poll::Ready(Ok(done))
            }
            other => other,
        }
    }
}

fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        match &self.stream {
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            Stream::Tls(_) | Stream::Plain(_) => Connected::new(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_write_broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.forgive(result, bytes.len())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_write_broken {
            return Poll::Ready(Ok(()));
        }
        let result = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        this.forgive(result, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
