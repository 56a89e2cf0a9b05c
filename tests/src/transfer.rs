//! Bodies of any size, made while they are sent and compared while they come, and the memory that it takes others.
//!
//! The bytes of a [`Pattern`] repeat in no length that a chunk or buffer has, so what is lost, doubled or exchanged shows.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;

use crate::client::{Client, NoAnswer};

/// Bytes that are made at one time: whole words, and whole groups of base64.
const PIECE: u64 = 48 * 1024;
/// Longest time for the head of an answer; all of a large body is sent before it.
const HEAD_TIME: Duration = Duration::from_secs(600);

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// An endless sequence of bytes, always the same.
#[derive(Debug)]
pub struct Pattern {
    state: u64,
    ready: VecDeque<u8>,
}

/// A part of a body.
#[derive(Clone, Debug)]
pub enum Part {
    /// A text.
    Text(String),
    /// So many bytes of the pattern.
    Content(u64),
    /// So many bytes of the pattern, as base64.
    Base64(u64),
    /// Nothing comes any more, and no end.
    Stall,
}

/// A body of parts.
#[derive(Debug)]
pub struct Parts {
    parts: VecDeque<Part>,
    pattern: Pattern,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Coming {
    /// HTTP status.
    pub status: u16,
    /// Fields.
    pub headers: HeaderMap,
    /// Content.
    pub body: Incoming,
    connection: AbortHandle,
}

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// Most that was resident since [`Memory::forget_peak`].
    pub peak: u64,
}

// === impl Pattern ===

impl Default for Pattern {
    fn default() -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, ready: VecDeque::new() }
    }
}

impl Pattern {
    fn fill(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).expect("a piece") + 8);
        while (bytes.len() as u64) < length {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            bytes.extend_from_slice(&self.state.to_le_bytes());
        }
        bytes.truncate(usize::try_from(length).expect("a piece"));
        bytes
    }

    /// Whether the next bytes of the pattern are these.
    pub fn continues_with(&mut self, bytes: &[u8]) -> bool {
        while self.ready.len() < bytes.len() {
            let more = self.fill(PIECE);
            self.ready.extend(more);
        }
        self.ready.drain(..bytes.len()).eq(bytes.iter().copied())
    }
}

// === impl Parts ===

impl Parts {
    /// A body of these parts.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { parts: parts.into_iter().collect(), pattern: Pattern::default() }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(part) = self.parts.pop_front() else { return Poll::Ready(None) };
        let data = match part {
            Part::Text(text) => Bytes::from(text),
            Part::Content(length) => {
                let piece = length.min(PIECE);
                if length > piece {
                    self.parts.push_front(Part::Content(length - piece));
                }
                Bytes::from(self.pattern.fill(piece))
            }
            Part::Base64(length) => {
                let piece = length.min(PIECE);
                if length > piece {
                    self.parts.push_front(Part::Base64(length - piece));
                }
                Bytes::from(STANDARD.encode(self.pattern.fill(piece)))
            }
            Part::Stall => {
                self.parts.push_front(Part::Stall);
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |part: &Part| match part {
            Part::Text(text) => Some(text.len() as u64),
            Part::Content(length) => Some(*length),
            Part::Base64(length) => Some(length.div_ceil(3) * 4),
            Part::Stall => None,
        };
        self.parts.iter().map(length).sum::<Option<u64>>().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

// === impl Client ===

impl Client {
    /// Sends a request with a body that is made meanwhile; gives the head of the answer.
    pub async fn exchange(
        &self,
        protocol: Protocol,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Parts,
    ) -> Result<Coming, NoAnswer> {
        let path = format!("{}{target}", self.base());
        let mut request = Request::builder().method(method);
        request = match protocol {
            Protocol::Http1 => request.uri(path).header("host", self.authority()),
            Protocol::Http2 => request.uri(format!("https://{}{path}", self.authority())),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| NoAnswer(error.to_string()))?;
        let broken = |error: hyper::Error| NoAnswer(format!("{error:?}"));
        let exchange = async {
            let (response, connection) = match protocol {
                Protocol::Http1 => {
                    let stream = TokioIo::new(self.connect().await?);
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(stream).await.map_err(broken)?;
                    let connection = tokio::spawn(connection).abort_handle();
                    (sender.send_request(request).await, connection)
                }
                Protocol::Http2 => {
                    let client = self.reconfigured(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
                    let stream = TokioIo::new(client.connect().await?);
                    let (mut sender, connection) =
                        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.map_err(broken)?;
                    let connection = tokio::spawn(connection).abort_handle();
                    (sender.send_request(request).await, connection)
                }
            };
            let (head, body) = response.map_err(broken)?.into_parts();
            Ok(Coming { status: head.status.as_u16(), headers: head.headers, body, connection })
        };
        tokio::time::timeout(HEAD_TIME, exchange).await.map_err(|_| NoAnswer("no answer in time".to_owned()))?
    }
}

// === impl Coming ===

impl Coming {
    /// Reads the body; gives its length and whether it is the beginning of the pattern.
    pub async fn compare(mut self) -> Result<(u64, bool), NoAnswer> {
        let (mut length, mut same, mut pattern) = (0, true, Pattern::default());
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| NoAnswer(format!("after {length} bytes: {error:?}")))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len() as u64;
            same = same && pattern.continues_with(&data);
        }
        Ok((length, same))
    }

    /// The body as text.
    pub async fn text(self) -> String {
        let body = Self::whole(self).await;
        String::from_utf8_lossy(&body).into_owned()
    }

    async fn whole(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(Ok(frame)) = self.body.frame().await {
            if let Ok(data) = frame.into_data() {
                all.extend_from_slice(&data);
            }
        }
        all
    }

    /// A field as text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

// === impl Memory ===

impl Memory {
    /// Of the process; nothing if it is gone.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        Some(Self { now: kilobytes("VmRSS:")? * 1024, peak: kilobytes("VmHWM:")? * 1024 })
    }

    /// Lets the peak begin anew.
    ///
    /// # Panics
    /// When the process is not one's own.
    pub fn forget_peak(pid: i32) {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("clear_refs of a process of this user");
    }
}
