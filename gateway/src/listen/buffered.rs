//! The TCP stream below TLS, with a write buffer that is emptied on flush.
//!
//! The proxy writes head and body of a response separately, which makes two TLS records; here they leave in one `write`
//! and wake the client once. Off during the handshake, so that alerts of a refused handshake leave at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::{IDLE_WRITE_BUFFER_BYTES, WRITE_BUFFER_BYTES};

/// A TCP stream with a write buffer.
#[derive(Debug)]
pub(crate) struct BufferedTcp {
    tcp: TcpStream,
    waiting: BytesMut,
    buffering: bool,
}

// === impl BufferedTcp ===

impl BufferedTcp {
    /// Unbuffered at first.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, waiting: BytesMut::new(), buffering: false }
    }

    /// Begins to buffer what is written.
    pub(crate) const fn buffer_writes(&mut self) {
        self.buffering = true;
    }

    /// The stream below.
    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(context, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        if self.waiting.capacity() > IDLE_WRITE_BUFFER_BYTES {
            self.waiting = BytesMut::new();
        } else {
            self.waiting.clear();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for BufferedTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for BufferedTcp {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.buffering {
            return Pin::new(&mut self.tcp).poll_write(context, bytes);
        }
        if self.waiting.len() + bytes.len() > WRITE_BUFFER_BYTES {
            ready!(self.poll_empty(context))?;
            if bytes.len() >= WRITE_BUFFER_BYTES {
                return Pin::new(&mut self.tcp).poll_write(context, bytes);
            }
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if !self.buffering {
            return Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        }
        if self.waiting.len() + total > WRITE_BUFFER_BYTES {
            ready!(self.poll_empty(context))?;
            if total >= WRITE_BUFFER_BYTES {
                return Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
            }
        }
        for slice in slices {
            self.waiting.extend_from_slice(slice);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
