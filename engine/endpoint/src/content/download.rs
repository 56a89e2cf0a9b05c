//! Content on its way out: an answer of texts and stored contents, read chunk by chunk as its receiver takes it.
//!
//! A task reads a chunk in a short transaction and hands out small copies of it. If nobody takes them for a while it
//! ends: the chunk, the slot and the task are free again, whatever becomes of the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use store::Store;
use store::binary::Content as Stored;
use store::limits::CHUNK_BYTES;
use tokio::sync::mpsc;

use super::pace::Pace;
use super::slots::Slot;
use crate::limits::{self, PIECE_BYTES};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes that are here.
    Text(Bytes),
    /// A content as base64.
    Base64(Stored),
    /// A part of a content as it is.
    Raw {
        /// Which content.
        content: Stored,
        /// First byte.
        first: u64,
        /// Number of bytes.
        length: u64,
    },
}

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// Nobody takes what is handed out.
    #[error("the receiver is too slow")]
    TooSlow,
    /// The receiver has gone away.
    #[error("the receiver has gone away")]
    Gone,
    /// A chunk is missing: the Binary was permanently deleted meanwhile.
    #[error("a chunk of the content is missing")]
    Missing,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

/// The body of an answer with content.
struct Stream {
    pieces: mpsc::Receiver<Bytes>,
    /// Bytes that must still come.
    left: u64,
}

struct Sender {
    store: Store,
    pieces: mpsc::Sender<Bytes>,
    pace: Pace,
}

impl Piece {
    /// Bytes of the part.
    pub(crate) const fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64(content) => content.size.div_ceil(3) * 4,
            Self::Raw { length, .. } => *length,
        }
    }
}

/// The body of all pieces.
pub(crate) fn body(store: &Store, pieces: Vec<Piece>, slot: Slot) -> Body {
    let left = pieces.iter().map(Piece::length).sum();
    let (sender, receiver) = mpsc::channel(1);
    let mut sender = Sender { store: store.clone(), pieces: sender, pace: Pace::new(Instant::now()) };
    tokio::spawn(async move {
        match sender.send_all(pieces).await {
            Ok(()) | Err(Broken::Gone) => {}
            Err(error) => {
                metrics::counter!("schleuse_endpoint_transfers_cut_total", "direction" => "out").increment(1);
                tracing::warn!(%error, "content is not sent to its end");
            }
        }
        drop(slot);
    });
    Body::new(Stream { pieces: receiver, left })
}

// === impl Sender ===

impl Sender {
    async fn send_all(&mut self, pieces: Vec<Piece>) -> Result<(), Broken> {
        for piece in pieces {
            match piece {
                Piece::Text(mut text) => {
                    while !text.is_empty() {
                        let part = text.split_to(text.len().min(PIECE_BYTES));
                        self.send(part).await?;
                    }
                }
                Piece::Base64(content) => self.send_base64(&content).await?,
                Piece::Raw { content, first, length } => self.send_raw(&content, first, length).await?,
            }
        }
        Ok(())
    }

    async fn send_raw(&mut self, content: &Stored, first: u64, length: u64) -> Result<(), Broken> {
        let chunk_bytes = CHUNK_BYTES as u64;
        let (mut at, end) = (first, first.saturating_add(length));
        while at < end {
            let chunk = self.chunk(content, at / chunk_bytes).await?;
            let from = usize::try_from(at % chunk_bytes).unwrap_or(usize::MAX);
            let most = usize::try_from(end - at).unwrap_or(usize::MAX);
            let wanted = chunk.get(from..).filter(|wanted| !wanted.is_empty()).ok_or(Broken::Missing)?;
            let wanted = wanted.get(..most).unwrap_or(wanted);
            for part in wanted.chunks(PIECE_BYTES) {
                self.send(Bytes::copy_from_slice(part)).await?;
            }
            at += wanted.len() as u64;
        }
        Ok(())
    }

    /// Groups of three bytes cross the ends of chunks.
    async fn send_base64(&mut self, content: &Stored) -> Result<(), Broken> {
        let mut carried: Vec<u8> = Vec::with_capacity(PIECE_BYTES);
        for position in 0..content.size.div_ceil(CHUNK_BYTES as u64) {
            let chunk = self.chunk(content, position).await?;
            for part in chunk.chunks(PIECE_BYTES / 4 * 3) {
                carried.extend_from_slice(part);
                let whole = carried.len() / 3 * 3;
                let encoded = STANDARD.encode(carried.get(..whole).unwrap_or_default());
                carried.drain(..whole);
                self.send(Bytes::from(encoded)).await?;
            }
        }
        if carried.is_empty() {
            return Ok(());
        }
        self.send(Bytes::from(STANDARD.encode(&carried))).await
    }

    async fn chunk(&self, content: &Stored, position: u64) -> Result<Vec<u8>, Broken> {
        let upload = content.upload.clone();
        let chunk = self.store.read(move |tx| tx.read_chunk(&upload, position)).await?;
        chunk.ok_or(Broken::Missing)
    }

    async fn send(&mut self, part: Bytes) -> Result<(), Broken> {
        let length = part.len();
        if length == 0 {
            return Ok(());
        }
        match tokio::time::timeout(limits::CONTENT_IDLE, self.pieces.send(part)).await {
            Err(_) => return Err(Broken::TooSlow),
            Ok(Err(_)) => return Err(Broken::Gone),
            Ok(Ok(())) => {}
        }
        metrics::counter!("schleuse_endpoint_content_bytes_total", "direction" => "out").increment(length as u64);
        if self.pace.is_kept(length, Instant::now()) { Ok(()) } else { Err(Broken::TooSlow) }
    }
}

// === impl Stream ===

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.pieces.poll_recv(context).map(|part| match part {
            Some(part) => {
                self.left = self.left.saturating_sub(part.len() as u64);
                Some(Ok(Frame::data(part)))
            }
            None if self.left == 0 => None,
            // The connection must not be taken for one whose answer is complete.
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
