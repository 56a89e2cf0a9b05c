//! One connection to the engine.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::UnixStream;

use super::EngineError;
use super::framing::{self, AnswerBody, AnswerHead, RequestBody};
use crate::deadline::Deadline;
use crate::forward::head::EngineHead;
use crate::limits::{ENGINE_CONNECT, ENGINE_HEAD_BYTES};

/// Room to read into while a head is due; most answers are not longer.
const READ_BYTES: usize = 2 * 1024;

/// What is allocated when there is less room: several answers follow one another in it, since each keeps its part only
/// until it was sent.
const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of a body read at once, and most that a connection holds of it.
const BODY_BYTES: usize = 64 * 1024;

/// An open connection; between two requests it holds nothing.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    received: BytesMut,
    outgoing: Vec<u8>,
    deadline: Deadline,
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: EngineError,
    /// How much of the request left.
    sent: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Something,
}

// === impl Broken ===

impl Broken {
    /// Whether the same request may be sent again: it never left, or it asks for nothing to be done.
    pub(super) fn may_ask_again(&self, head: &EngineHead) -> bool {
        matches!(self.error, EngineError::Connection(_)) && (self.sent == Sent::Nothing || head.is_safe())
    }
}

// === impl Connection ===

impl Connection {
    pub(super) async fn open(socket: &Path) -> io::Result<Self> {
        let stream = tokio::time::timeout(ENGINE_CONNECT, UnixStream::connect(socket))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let deadline = Deadline::new(ENGINE_CONNECT);
        Ok(Self { stream, received: BytesMut::new(), outgoing: Vec::new(), deadline })
    }

    /// Whether the engine has neither closed an idle connection nor sent what nobody asked for. Costs no system call
    /// unless there is something to read.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives back what an idle connection needs not.
    pub(super) fn rest(&mut self) {
        self.deadline.clear();
        if self.received.capacity() > BUFFER_BYTES {
            self.received = BytesMut::new();
        }
        if self.outgoing.capacity() > BUFFER_BYTES {
            self.outgoing = Vec::new();
        }
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn ask(
        &mut self,
        head: &EngineHead,
        framing: RequestBody,
        body: &Bytes,
        patience: Duration,
    ) -> Result<AnswerHead, Broken> {
        self.send(head, framing, body, patience).await?;
        self.answer(head.is_head(), patience).await
    }

    /// Writes a head and what is there of its body.
    pub(super) async fn send(
        &mut self,
        head: &EngineHead,
        framing: RequestBody,
        body: &Bytes,
        patience: Duration,
    ) -> Result<(), Broken> {
        self.deadline.set(patience);
        self.outgoing.clear();
        framing::write_head(&mut self.outgoing, head, framing);
        // An answer that comes early is found by whoever reads it next.
        self.write(body, &[]).await.map(drop)
    }

    /// Passes a piece of content on; false when an answer has come.
    pub(super) async fn pass(
        &mut self,
        piece: &Bytes,
        framing: RequestBody,
        patience: Duration,
    ) -> Result<bool, EngineError> {
        self.deadline.set(patience);
        self.outgoing.clear();
        framing.open_piece(&mut self.outgoing, piece.len());
        self.write(piece, framing.close_piece()).await.map_err(|broken| broken.error)
    }

    /// Writes the end of content that came in pieces; false when an answer has come.
    pub(super) async fn end_content(&mut self, framing: RequestBody, patience: Duration) -> Result<bool, EngineError> {
        self.deadline.set(patience);
        self.outgoing.clear();
        self.write(&Bytes::new(), framing.end()).await.map_err(|broken| broken.error)
    }

    /// Reads the head of the answer to what was sent.
    pub(super) async fn answer(&mut self, to_head: bool, patience: Duration) -> Result<AnswerHead, Broken> {
        self.deadline.set(patience);
        loop {
            let refused = |text| Broken { error: EngineError::Answer(text), sent: Sent::Something };
            match framing::read_head(&mut self.received, to_head).map_err(refused)? {
                Some(answer) => return Ok(answer),
                None if self.received.len() > ENGINE_HEAD_BYTES => return Err(refused("head is too long")),
                None => {}
            }
            let begun = !self.received.is_empty();
            make_room(&mut self.received);
            if let Err(error) = self.read_more().await {
                // An answer that had begun was made by an engine that acted on the request.
                let broken = Broken { error: failed(error), sent: Sent::Something };
                return Err(if begun { refused("it ends within its head") } else { broken });
            }
        }
    }

    /// The next piece of a body; none at its end.
    pub(super) async fn piece(
        &mut self,
        body: &mut AnswerBody,
        patience: Duration,
    ) -> Result<Option<Bytes>, EngineError> {
        self.deadline.set(patience);
        loop {
            let wanted = body.wanted().min(BODY_BYTES);
            if self.received.len() < wanted {
                // What has arrived meanwhile goes along.
                self.received.reserve(wanted - self.received.len());
                self.read_available(wanted);
            }
            if let Some(piece) = body.next(&mut self.received).map_err(EngineError::Answer)? {
                return Ok(Some(piece));
            }
            if body.is_complete() {
                return Ok(None);
            }
            make_room(&mut self.received);
            self.read_more().await.map_err(failed)?;
        }
    }

    /// Writes `outgoing`, then `content`, then `end`, and stops when an answer begins: the engine may refuse before it has
    /// everything. Whether all of it was written.
    async fn write(&mut self, content: &[u8], end: &[u8]) -> Result<bool, Broken> {
        make_room(&mut self.received);
        let Self { stream, received, outgoing, deadline } = self;
        let mut parts: [&[u8]; 3] = [outgoing, content, end];
        let mut sent = Sent::Nothing;
        while parts.iter().any(|part| !part.is_empty()) {
            let slices = parts.map(IoSlice::new);
            let step = poll_fn(|context| {
                if poll_read(stream, received, context)?.is_ready() {
                    return Poll::Ready(Ok(None));
                }
                let written = Pin::new(&mut *stream).poll_write_vectored(context, &slices);
                or_late(written, deadline, context).map_ok(Some)
            });
            match step.await {
                Ok(Some(written)) if written > 0 => {
                    sent = Sent::Something;
                    take(&mut parts, written);
                }
                Ok(None) => return Ok(false),
                // It closed, but may have said why before that.
                Err(error) if sent == Sent::Something && says_why(stream, received) => {
                    tracing::debug!(%error, "engine answered before it had the whole request");
                    return Ok(false);
                }
                Ok(Some(_)) => return Err(Broken { error: failed(io::ErrorKind::WriteZero.into()), sent }),
                Err(error) => return Err(Broken { error: failed(error), sent }),
            }
        }
        Ok(true)
    }

    /// Reads something; the end of the stream is an error.
    async fn read_more(&mut self) -> io::Result<()> {
        let Self { stream, received, deadline, .. } = self;
        poll_fn(|context| or_late(poll_read(stream, received, context), deadline, context)).await
    }

    /// Reads what is there, without waiting; errors show when it is waited for.
    fn read_available(&mut self, wanted: usize) {
        while self.received.len() < wanted {
            match self.stream.try_read_buf(&mut self.received) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
    }
}

fn make_room(received: &mut BytesMut) {
    if received.capacity() - received.len() < READ_BYTES {
        received.reserve(BUFFER_BYTES);
    }
}

/// Drops the first `written` bytes of the parts.
fn take(parts: &mut [&[u8]], mut written: usize) {
    for part in parts {
        let of_part = written.min(part.len());
        part.advance(of_part);
        written -= of_part;
    }
}

fn says_why(stream: &UnixStream, received: &mut BytesMut) -> bool {
    stream.try_read_buf(received).is_ok_and(|read| read > 0)
}

/// Reads into the free capacity; the end of the stream is an error.
fn poll_read(stream: &mut UnixStream, received: &mut BytesMut, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    // The future holds no state, so a new one goes on where the last one was.
    pin!(stream.read_buf(received)).poll(context).map(|read| match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    })
}

/// What is not done by the deadline has failed.
fn or_late<T>(done: Poll<io::Result<T>>, deadline: &mut Deadline, context: &mut Context<'_>) -> Poll<io::Result<T>> {
    if done.is_pending() && deadline.poll(context).is_ready() {
        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
    }
    done
}

fn failed(error: io::Error) -> EngineError {
    if error.kind() == io::ErrorKind::TimedOut { EngineError::TimedOut } else { EngineError::Connection(error) }
}
