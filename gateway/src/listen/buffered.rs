//! A write buffer above TLS that is emptied on flush.
//!
//! The proxy writes head and body of a response separately, which would make two TLS records and wake the client twice;
//! from here they leave as one record in one write. What is larger than the buffer takes what waits along and is not copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::{IDLE_WRITE_BUFFER_BYTES, WRITE_BUFFER_BYTES};

/// A stream with a write buffer.
#[derive(Debug)]
pub(crate) struct Buffered<S> {
    stream: S,
    waiting: BytesMut,
}

// === impl Buffered ===

impl<S> Buffered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, waiting: BytesMut::new() }
    }

    /// The stream below.
    pub(crate) const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncWrite + Unpin> Buffered<S> {
    /// Writes what does not fit, after what waits; gives how much of `slices` was taken.
    fn poll_through(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.waiting.is_empty() {
            let first = slices.first().map_or(&[][..], |slice| slice);
            let both = [IoSlice::new(&self.waiting), IoSlice::new(first)];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let waited = written.min(self.waiting.len());
            self.waiting.advance(waited);
            if written > waited {
                return Poll::Ready(Ok(written - waited));
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.waiting))?;
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

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().fold(0_usize, |total, slice| total.saturating_add(slice.len()));
        if self.waiting.len().saturating_add(total) > WRITE_BUFFER_BYTES {
            return self.poll_through(context, slices);
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
