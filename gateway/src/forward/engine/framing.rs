//! The bytes of HTTP/1.1 on the link: heads that are written, heads and bodies that are read.
//!
//! Both ends are ours, so this reads exactly what the engine writes (one framing, CRLF, no trailers that matter) and takes
//! everything else for a broken link.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use crate::forward::head::EngineHead;
use crate::limits::ENGINE_HEAD_FIELDS;
use crate::respond;

/// Longest line before a chunk: a hexadecimal length.
const CHUNK_LINE_BYTES: usize = 34;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestBody {
    Absent,
    Length(u64),
    Chunked,
}

/// A parsed head.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) head: Box<ResponseHeader>,
    pub(super) body: AnswerBody,
    /// Whether the connection may be used again.
    pub(super) keep: bool,
}

/// Where in the body of an answer we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnswerBody {
    announced: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So much is left of a body of known length.
    Length(u64),
    /// The line with the length of a chunk is due.
    ChunkLine,
    /// So much is left of a chunk.
    Chunk(u64),
    /// The line end after a chunk is due.
    ChunkEnd,
    /// Lines after the last chunk are due.
    Trailer,
    Complete,
}

// === impl RequestBody ===

impl RequestBody {
    /// What stands before a piece of the content.
    pub(super) fn open_piece(self, out: &mut Vec<u8>, bytes: usize) {
        use std::io::Write as _;
        if self == Self::Chunked {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{bytes:x}\r\n");
        }
    }

    /// What stands after it.
    pub(super) const fn close_piece(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"\r\n",
            Self::Absent | Self::Length(_) => b"",
        }
    }

    /// What stands after the last one.
    pub(super) const fn end(self) -> &'static [u8] {
        match self {
            Self::Chunked => b"0\r\n\r\n",
            Self::Absent | Self::Length(_) => b"",
        }
    }
}

/// Writes a head. Names and values are of types that hold no line end, and the target is printed by the canonical request.
pub(super) fn write_head(out: &mut Vec<u8>, head: &EngineHead, framing: RequestBody) {
    use std::io::Write as _;
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &head.fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    // Writing to a vector cannot fail.
    let _ = match framing {
        RequestBody::Absent => Ok(()),
        RequestBody::Length(length) => write!(out, "content-length: {length}\r\n"),
        RequestBody::Chunked => write!(out, "transfer-encoding: chunked\r\n"),
    };
    out.extend_from_slice(b"\r\n");
}

/// Takes a head off the front of what was received; none while it is incomplete. Informational heads are passed over.
pub(super) fn read_head(received: &mut BytesMut, to_head: bool) -> Result<Option<AnswerHead>, &'static str> {
    while let Some(length) = head_length(received) {
        let raw = received.split_to(length).freeze();
        let mut fields = [httparse::EMPTY_HEADER; ENGINE_HEAD_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        if !response.parse(&raw).is_ok_and(|parsed| parsed.is_complete()) || response.version != Some(1) {
            return Err("malformed head");
        }
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("malformed status")?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err("upgrade that nobody asked for");
        }
        if !status.is_informational() {
            return AnswerHead::new(status, &raw, response.headers, to_head).map(Some);
        }
    }
    Ok(None)
}

/// Where the empty line of a head ends.
fn head_length(received: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    received.windows(END.len()).position(|bytes| bytes == END).map(|at| at + END.len())
}

// === impl AnswerHead ===

impl AnswerHead {
    fn new(
        status: StatusCode,
        raw: &Bytes,
        fields: &[httparse::Header<'_>],
        to_head: bool,
    ) -> Result<Self, &'static str> {
        let mut head = ResponseHeader::build_no_case(status, Some(fields.len() + 6)).map_err(|_| "malformed status")?;
        let mut keep = true;
        let mut is_chunked = false;
        let mut length = None;
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "malformed field")?;
            if name == header::CONNECTION {
                keep = !field.value.eq_ignore_ascii_case(b"close");
            } else if name == header::TRANSFER_ENCODING {
                is_chunked = true;
                if !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err("unknown transfer encoding");
                }
            } else if respond::is_told(&name) {
                if name == header::CONTENT_LENGTH && length.replace(number(field.value, 10)?).is_some() {
                    return Err("repeated content length");
                }
                // The values share the memory of the head.
                let value =
                    HeaderValue::from_maybe_shared(raw.slice_ref(field.value)).map_err(|_| "malformed field")?;
                head.append_header(name, value).map_err(|_| "malformed field")?;
            }
        }
        let has_none = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let (announced, state) = match (has_none, is_chunked, length) {
            (_, true, Some(_)) => return Err("ambiguous length"),
            (true, ..) => (length, State::Complete),
            (false, true, None) => (None, State::ChunkLine),
            (false, false, Some(0)) => (length, State::Complete),
            (false, false, Some(left)) => (length, State::Length(left)),
            // The engine never ends a body by closing.
            (false, false, None) => return Err("body without length"),
        };
        Ok(Self { head: Box::new(head), body: AnswerBody { announced, state }, keep })
    }
}

/// A plain number of at most 15 digits.
fn number(text: &[u8], radix: u32) -> Result<u64, &'static str> {
    let plain = !text.is_empty() && text.len() <= 15 && text.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(text).ok().filter(|_| plain).ok_or("malformed length")?;
    u64::from_str_radix(digits, radix).map_err(|_| "malformed length")
}

// === impl AnswerBody ===

impl AnswerBody {
    /// The length that was announced.
    pub(super) const fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Whether the end was read.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// So many bytes belong to the piece at hand.
    pub(super) fn wanted(&self) -> usize {
        match self.state {
            State::Length(left) | State::Chunk(left) => usize::try_from(left).unwrap_or(usize::MAX),
            State::ChunkLine | State::ChunkEnd | State::Trailer | State::Complete => 0,
        }
    }

    /// Takes the next piece off the front of what was received; none if more must be read or the end was reached.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
        loop {
            match self.state {
                State::Complete => return Ok(None),
                State::Length(_) | State::Chunk(_) if received.is_empty() => return Ok(None),
                State::Length(left) => {
                    let piece = received.split_to(self.wanted().min(received.len())).freeze();
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::Complete } else { State::Length(left) };
                    return Ok(Some(piece));
                }
                State::Chunk(left) => {
                    let piece = received.split_to(self.wanted().min(received.len())).freeze();
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Some(piece));
                }
                State::ChunkLine => {
                    let Some(line) = take_line(received)? else { return Ok(None) };
                    let length = number(&line, 16)?;
                    self.state = if length == 0 { State::Trailer } else { State::Chunk(length) };
                }
                State::ChunkEnd => {
                    let Some(line) = take_line(received)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err("chunk is longer than it says");
                    }
                    self.state = State::ChunkLine;
                }
                State::Trailer => {
                    let Some(line) = take_line(received)? else { return Ok(None) };
                    if line.is_empty() {
                        self.state = State::Complete;
                    }
                }
            }
        }
    }
}

/// Takes a line off the front, without its end.
fn take_line(received: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
    match received.windows(2).position(|bytes| bytes == b"\r\n") {
        Some(at) if at <= CHUNK_LINE_BYTES => {
            let line = received.split_to(at);
            received.advance(2);
            Ok(Some(line))
        }
        None if received.len() <= CHUNK_LINE_BYTES => Ok(None),
        _ => Err("chunk line is too long"),
    }
}

#[cfg(test)]
mod tests;
