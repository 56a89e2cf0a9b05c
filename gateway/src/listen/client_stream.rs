//! The byte stream of one client as the proxy sees it: TLS, with request heads judged before they are passed on.
//!
//! On an HTTP/1.1 connection the stream alternates between two phases. While a **head** is due, bytes are held back until
//! the head is complete and good ([`crate::request::HeadScanner`]); a bad, too large or late one is replaced by a fixed
//! harmless head, and the first filter of the proxy answers and records the refusal (it finds the reason in
//! [`Connection::begin_request`]). Otherwise bytes **pass**. HTTP/2 has its own framing and always passes.
//!
//! An absolute deadline stands over each head, whatever the pace of its bytes, and over the silence before it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::buffered::Buffered;
use super::connection::Connection;
use crate::deadline::Deadline;
use crate::limits::Limits;
use crate::request::{HeadLimits, HeadRefusal, HeadScanner, Progress};

/// What the proxy parses in place of a head that was refused.
const SUBSTITUTE_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// Bytes read at once while a head is due.
const HEAD_CHUNK: usize = 4096;

/// A client's byte stream.
#[derive(Debug)]
pub(crate) struct ClientStream {
    tls: Buffered<TlsStream<TcpStream>>,
    http2: bool,
    connection: Arc<Connection>,
    phase: Phase,
    scanner: HeadScanner,
    /// Received and not yet passed on.
    held: BytesMut,
    deadline: Deadline,
    head_limits: HeadLimits,
    header_time: Duration,
    proxy_digest: Arc<ProxyDigest>,
    socket_digest: Arc<SocketDigest>,
    ssl_digest: Arc<SslDigest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head is due.
    Head,
    /// Bytes of `held` are passed on, then what comes.
    Pass,
    /// A refused head was answered: nothing of the client is read any more.
    Ended,
}

// === impl ClientStream ===

impl ClientStream {
    /// Wraps a stream after its handshake.
    pub(crate) fn new(
        tls: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        address: SocketAddr,
        limits: &Limits,
    ) -> io::Result<Self> {
        let head_limits = HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields };
        let header_time = limits.header;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let socket_digest = SocketDigest::from_raw_fd(tls.get_ref().0.as_raw_fd());
        let _ = socket_digest.peer_addr.set(Some(PingoraAddress::Inet(address)));
        let carrier = pingora::http::ResponseHeader::build(200, Some(0)).map_err(io::Error::other)?;
        let version = format!("{:?}", tls.get_ref().1.protocol_version());
        Ok(Self {
            phase: if http2 { Phase::Pass } else { Phase::Head },
            scanner: HeadScanner::new(head_limits),
            head_limits,
            held: BytesMut::new(),
            deadline: Deadline::new(header_time),
            header_time,
            proxy_digest: Arc::new(ProxyDigest::new(Box::new(carrier), Some(Box::new(Arc::clone(&connection))))),
            socket_digest: Arc::new(socket_digest),
            ssl_digest: Arc::new(SslDigest::new(String::new(), version, None, None, Vec::new())),
            connection,
            tls: Buffered::new(tls),
            http2,
        })
    }

    /// What is known about the connection.
    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Puts the substitute in the place of a head that must not be parsed.
    fn refuse(&mut self, refusal: HeadRefusal) {
        self.connection.refuse_head(refusal);
        self.held = BytesMut::from(SUBSTITUTE_HEAD);
        self.phase = Phase::Ended;
        self.deadline.clear();
    }

    /// Reads until a head is complete or refused; ready with `false` when the client has gone.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let mut chunk = [0_u8; HEAD_CHUNK];
            let mut buffer = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.tls).poll_read(context, &mut buffer)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    ready!(self.deadline.poll(context));
                    if self.held.is_empty() {
                        metrics::counter!("schleuse_listen_idle_closed_total").increment(1);
                        return Poll::Ready(Ok(false));
                    }
                    self.refuse(HeadRefusal::TimedOut);
                    return Poll::Ready(Ok(true));
                }
            }
            let received = buffer.filled();
            if received.is_empty() {
                return Poll::Ready(Ok(false));
            }
            if self.held.is_empty() {
                self.deadline.set(self.header_time);
            }
            self.held.extend_from_slice(received);
            match self.scanner.advance(&self.held) {
                Progress::Partial => {}
                Progress::Complete(_) => {
                    self.phase = Phase::Pass;
                    self.deadline.clear();
                    self.connection.pass_head();
                    return Poll::Ready(Ok(true));
                }
                Progress::Refused(refusal) => {
                    self.refuse(refusal);
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    fn pass_held(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.held.len().min(buffer.remaining());
        buffer.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.advance(length);
        if self.held.is_empty() {
            // Idle connections keep no buffer.
            self.held = BytesMut::new();
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.phase == Phase::Pass && !this.http2 && this.connection.take_next_head() {
            // Pipelined bytes cannot be here: the proxy closes a connection on which it read past a body.
            this.phase = Phase::Head;
            this.scanner = HeadScanner::new(this.head_limits);
            this.deadline.set(this.connection.keep_alive());
        }
        if this.phase == Phase::Head && !ready!(this.poll_head(context))? {
            return Poll::Ready(Ok(()));
        }
        if !this.held.is_empty() {
            this.pass_held(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.phase == Phase::Ended {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.tls).poll_read(context, buffer) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                this.connection.wake_on_cut(context.waker());
                if this.deadline.is_set() && this.connection.has_begun() {
                    this.deadline.clear();
                }
                // HTTP/2 before its first request; later silence is the proxy's to watch.
                ready!(this.deadline.poll(context));
                metrics::counter!("schleuse_listen_idle_closed_total").increment(1);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.connection.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // A client that does not read must not hold the connection open.
        let _ = tokio::time::timeout(Duration::from_secs(1), AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.tls.get_ref().get_ref().0.as_raw_fd()
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.ssl_digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.proxy_digest))
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket_digest))
    }
}

impl Peek for ClientStream {}
