//! A small HTTP/1.1 client: it must cost less than the servers that it measures.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Question, within};
use crate::limits::{REQUEST, RESPONSE_BYTES};

/// Longest response head.
const HEAD_BYTES: usize = 64 * 1024;

/// A connection on which requests follow one another.
#[derive(Debug)]
pub(crate) struct Exchange<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What matters of a response in a load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) status: u16,
    pub(crate) bytes: usize,
    pub(crate) closes: bool,
}

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// A parsed head.
#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: usize,
    status: u16,
    framing: Framing,
    closes: bool,
}

// === impl Exchange ===

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::with_capacity(80 * 1024) }
    }

    /// Sends a request and reads the response but keeps nothing of it.
    pub(crate) async fn outline(&mut self, request: &[u8]) -> io::Result<Outline> {
        within(REQUEST, async {
            let head = self.send(request).await?;
            let end = self.read_body(head).await?;
            let bytes = match head.framing {
                Framing::Length(length) => length,
                Framing::Chunked => self.dechunked(head.bytes)?.0.len(),
            };
            self.buffer.drain(..end.min(self.buffer.len()));
            Ok(Outline { status: head.status, bytes, closes: head.closes })
        })
        .await
    }

    /// Sends a request and reads the response.
    pub(crate) async fn answer(&mut self, request: &[u8]) -> io::Result<Answer> {
        within(REQUEST, async {
            let head = self.send(request).await?;
            let end = self.read_body(head).await?;
            let body = match head.framing {
                Framing::Length(_) => self.buffer.get(head.bytes..end).unwrap_or_default().to_vec(),
                Framing::Chunked => self.dechunked(head.bytes)?.0,
            };
            let text = String::from_utf8_lossy(self.buffer.get(..head.bytes).unwrap_or_default()).into_owned();
            self.buffer.drain(..end.min(self.buffer.len()));
            Ok(Answer { status: head.status, head: text, body })
        })
        .await
    }

    /// The connection, when no more requests follow.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Head::parse(self.buffer.get(..end + 4).unwrap_or_default());
            }
            if self.buffer.len() > HEAD_BYTES {
                return Err(io::Error::other("response head is too long"));
            }
            self.read_more().await?;
        }
    }

    /// Reads until the body is complete; gives its end in the buffer.
    async fn read_body(&mut self, head: Head) -> io::Result<usize> {
        loop {
            let end = match head.framing {
                Framing::Length(length) => Some(head.bytes + length).filter(|end| *end <= self.buffer.len()),
                Framing::Chunked => match self.dechunked(head.bytes) {
                    Ok((_, end)) => Some(end),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                },
            };
            if let Some(end) = end {
                return Ok(end);
            }
            if self.buffer.len() > RESPONSE_BYTES {
                return Err(io::Error::other("response is too long"));
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The content of a chunked body and its end; `UnexpectedEof` while it is incomplete.
    fn dechunked(&self, start: usize) -> io::Result<(Vec<u8>, usize)> {
        let mut body = Vec::new();
        let mut at = start;
        loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            let line = find(rest, b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())
                .ok()
                .and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok())
                .filter(|size| *size <= RESPONSE_BYTES)
                .ok_or_else(|| io::Error::other("chunk size is not readable"))?;
            let content = at + line + 2;
            body.extend_from_slice(self.buffer.get(content..content + size).ok_or(io::ErrorKind::UnexpectedEof)?);
            at = content + size + 2;
            if at > self.buffer.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if size == 0 {
                return Ok((body, at));
            }
        }
    }
}

// === impl Outline ===

impl Outline {
    pub(crate) const fn answers(self, question: Question) -> bool {
        self.status == 200 && self.bytes == question.bytes
    }
}

// === impl Head ===

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| io::Error::other("no response of HTTP/1.1"))?;
        let mut head = Self { bytes: bytes.len(), status, framing: Framing::Length(0), closes: false };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(io::Error::other)?;
                if length > RESPONSE_BYTES {
                    return Err(io::Error::other("response is too long"));
                }
                head.framing = Framing::Length(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
                head.framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                head.closes = true;
            }
        }
        Ok(head)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(responses: &'static [u8], count: usize) -> io::Result<Vec<Answer>> {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        let mut exchange = Exchange::new(client);
        server.write_all(responses).await?;
        drop(server);
        let mut answers = Vec::new();
        for _ in 0..count {
            // Nobody reads requests here; only what comes back matters.
            answers.push(exchange.answer(b"").await?);
        }
        Ok(answers)
    }

    #[tokio::test]
    async fn responses_of_both_framings_are_read_one_after_the_other() {
        let answers = read(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x=y\r\nf\r\n0\r\n\r\nHTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n",
            3,
        )
        .await
        .unwrap();
        let seen: Vec<_> = answers.iter().map(|answer| (answer.status, answer.body.as_slice())).collect();
        assert_eq!(seen, [(200, &b"abc"[..]), (201, b"def"), (403, b"")]);
    }

    #[tokio::test]
    async fn broken_responses_are_errors() {
        for broken in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"SSH-2.0\r\n\r\n",
            b"",
        ] {
            assert!(read(broken, 1).await.is_err(), "{}", String::from_utf8_lossy(broken));
        }
    }
}
