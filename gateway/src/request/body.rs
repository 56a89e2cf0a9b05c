//! The body of a request that is judged: read whole, within its limit and time, and parsed.
//!
//! The parsed tree is judged and the very bytes it was parsed from are forwarded. Only the content of a Binary is not held
//! in memory: it passes as a stream, counted against its own limit. Raw content is not looked at. A large Binary in its
//! FHIR form is judged while it passes: the end of its body goes on only after the whole was read and permitted.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fhir::binary::BinaryReader;
use fhir::{Format, ParseError, Resource, ResourceType};
use http::header;
use pingora::proxy::Session;
use policies::CanonicalRequest;
use policies::interaction::BodyKind;

use crate::limits::{self, Limits};
use crate::memory::{Held, Memory};

/// What a request brings along.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Absent,
    /// A resource, with the memory that it holds.
    Judged {
        /// The bytes as received.
        bytes: Bytes,
        /// What they say.
        resource: Box<Resource>,
        /// Media type under which they are forwarded.
        media_type: String,
        /// Share of the memory for bodies.
        memory: Held,
    },
    /// A large Binary in its FHIR form, to be streamed and judged meanwhile.
    Passing {
        /// Media type under which it is forwarded.
        media_type: String,
        /// Reads it as it passes.
        reader: Box<BinaryReader>,
    },
    /// Content of a Binary, to be streamed.
    Raw {
        /// Media type as the client named it.
        media_type: String,
        /// Announced length.
        length: Option<u64>,
    },
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyRefusal {
    /// Larger than allowed for its kind.
    #[error("body is larger than {0} bytes")]
    TooLarge(u64),
    /// Not a media type that can be judged.
    #[error("media type is not supported")]
    MediaType,
    /// A body where none belongs.
    #[error("request must not have a body")]
    Unexpected,
    /// None where one belongs.
    #[error("request has no body")]
    Missing,
    /// Not complete in time.
    #[error("body was not completed in time")]
    TimedOut,
    /// Too many bodies at once.
    #[error("no memory for another body")]
    Busy,
    /// The bytes are hostile.
    #[error(transparent)]
    Hostile(ParseError),
    /// The bytes are no resource.
    #[error(transparent)]
    Structure(ParseError),
    /// The connection ended.
    #[error("connection ended within the body")]
    Disconnected,
}

/// Reads what the request of `who` brings along, as far as there is `memory` for it.
pub async fn read_body(
    session: &mut Session,
    request: &CanonicalRequest,
    limits: &Limits,
    memory: &Memory,
    who: &str,
) -> Result<Body, BodyRefusal> {
    let announced = announced_length(session);
    let empty = session.as_mut().is_body_empty();
    if request.body() == BodyKind::Absent {
        return if empty { Ok(Body::Absent) } else { Err(BodyRefusal::Unexpected) };
    }
    if empty {
        return Err(BodyRefusal::Missing);
    }
    let media_type = media_type(session).ok_or(BodyRefusal::MediaType)?;
    let Some(format) = Format::of_media_type(&media_type) else {
        if request.resource_type() == Some(ResourceType::Binary) && request.body() == BodyKind::Resource {
            let limit = limits.body.of(Some(ResourceType::Binary));
            if announced.is_some_and(|length| length > limit) {
                return Err(BodyRefusal::TooLarge(limit));
            }
            continue_if_expected(session).await?;
            return Ok(Body::Raw { media_type, length: announced });
        }
        return Err(BodyRefusal::MediaType);
    };
    if !is_utf8(&media_type) {
        return Err(BodyRefusal::MediaType);
    }
    let media_type = format!("{};charset=UTF-8", format.media_type());
    let parser = if format == Format::Json { limits.json } else { limits.xml };
    if is_large_binary(request, announced) {
        let limit = limits.body.of(Some(ResourceType::Binary));
        if announced.is_some_and(|length| length > limit) {
            return Err(BodyRefusal::TooLarge(limit));
        }
        continue_if_expected(session).await?;
        let rest = fhir::Limits { bytes: limits::BINARY_BYTES, ..parser };
        return Ok(Body::Passing { media_type, reader: Box::new(BinaryReader::new(format, rest)) });
    }
    let limit = limit_of(request, limits);
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyRefusal::TooLarge(limit as u64));
    }
    continue_if_expected(session).await?;
    let mut memory = memory.begin(who);
    let collect = collect(session, limit, limits.body_idle, &mut memory);
    let bytes = tokio::time::timeout(longest(announced, limit), collect).await.map_err(|_| BodyRefusal::TimedOut)??;
    let parser_limits = fhir::Limits { bytes: limit, ..parser };
    let resource = parse(format, &bytes, &parser_limits).await?;
    Ok(Body::Judged { bytes, resource: Box::new(resource), media_type, memory })
}

/// The client waits for a word before it sends; the engine never learns of it.
async fn continue_if_expected(session: &mut Session) -> Result<(), BodyRefusal> {
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.write_continue_response().await.map_err(|_| BodyRefusal::Disconnected)?;
    }
    Ok(())
}

async fn collect(session: &mut Session, limit: usize, idle: Duration, memory: &mut Held) -> Result<Bytes, BodyRefusal> {
    let mut collected = BytesMut::new();
    let mut first = None;
    let mut pace = Pace::new(Instant::now());
    loop {
        let Some(chunk) = read_piece(session, idle).await? else { break };
        let already = first.as_ref().map_or(collected.len(), Bytes::len);
        if already.saturating_add(chunk.len()) > limit {
            return Err(BodyRefusal::TooLarge(limit as u64));
        }
        if !memory.grow_to(already.saturating_add(chunk.len())) {
            return Err(BodyRefusal::Busy);
        }
        if !pace.is_kept(chunk.len(), Instant::now()) {
            return Err(BodyRefusal::TimedOut);
        }
        // Most bodies come in one piece, which is then never copied.
        match first.take() {
            None if collected.is_empty() => first = Some(chunk),
            None => collected.extend_from_slice(&chunk),
            Some(piece) => {
                collected.extend_from_slice(&piece);
                collected.extend_from_slice(&chunk);
            }
        }
    }
    let whole = first.unwrap_or_else(|| collected.freeze());
    if whole.is_empty() { Err(BodyRefusal::Missing) } else { Ok(whole) }
}

/// The next piece of a body; none at its end.
pub(crate) async fn read_piece(session: &mut Session, idle: Duration) -> Result<Option<Bytes>, BodyRefusal> {
    // Timed here and not by the session, which times HTTP/1.1 alone.
    let piece = tokio::time::timeout(idle, session.read_request_body()).await;
    piece.map_err(|_| BodyRefusal::TimedOut)?.map_err(|error| match error.etype() {
        pingora::ErrorType::ReadTimedout => BodyRefusal::TimedOut,
        _ => BodyRefusal::Disconnected,
    })
}

/// Holds a sender to [`limits::SLOWEST_BODY_RATE`] in each [`limits::BODY_TIME`], so that what came fast at first buys no
/// time for what follows.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Takes note of what came; false if it was too little for too long.
    pub(crate) fn is_kept(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < limits::BODY_TIME {
            return true;
        }
        let kept = self.bytes >= elapsed.as_secs().saturating_mul(limits::SLOWEST_BODY_RATE);
        *self = Self::new(now);
        kept
    }
}

/// Parses; large bodies leave the worker thread free for other connections.
async fn parse(format: Format, bytes: &Bytes, limits: &fhir::Limits) -> Result<Resource, BodyRefusal> {
    const INLINE_BYTES: usize = 64 * 1024;
    let parsed = if bytes.len() <= INLINE_BYTES {
        fhir::parse(format, bytes, limits)
    } else {
        let (bytes, limits) = (bytes.clone(), *limits);
        tokio::task::spawn_blocking(move || fhir::parse(format, &bytes, &limits))
            .await
            .map_err(|_| BodyRefusal::Busy)?
    };
    parsed.map_err(BodyRefusal::from)
}

/// Whether the body is a Binary that is not known to be small.
fn is_large_binary(request: &CanonicalRequest, announced: Option<u64>) -> bool {
    request.resource_type() == Some(ResourceType::Binary)
        && request.body() == BodyKind::Resource
        && announced.is_none_or(|length| length > limits::BINARY_BYTES as u64)
}

/// Most bytes of a body that is held in memory.
fn limit_of(request: &CanonicalRequest, limits: &Limits) -> usize {
    let limit = match request.body() {
        BodyKind::Bundle => limits.body.of(Some(ResourceType::Bundle)),
        BodyKind::Resource | BodyKind::Parameters | BodyKind::Absent => limits.body.of(request.resource_type()),
    };
    usize::try_from(limit).unwrap_or(usize::MAX).min(limits::BUFFERED_BYTES_PER_IDENTITY)
}

/// Longest time for a body, by its size.
fn longest(announced: Option<u64>, limit: usize) -> Duration {
    let bytes = announced.unwrap_or(limit as u64);
    limits::BODY_TIME.saturating_add(Duration::from_secs(bytes / limits::SLOWEST_BODY_RATE))
}

fn announced_length(session: &Session) -> Option<u64> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn media_type(session: &Session) -> Option<String> {
    let value = session.req_header().headers.get(header::CONTENT_TYPE)?.to_str().ok()?.trim();
    (!value.is_empty() && value.len() <= 256).then(|| value.to_owned())
}

/// FHIR is UTF-8; another charset would be read differently by somebody else.
fn is_utf8(media_type: &str) -> bool {
    media_type.split(';').skip(1).all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

// === impl BodyRefusal ===

impl From<ParseError> for BodyRefusal {
    fn from(error: ParseError) -> Self {
        if error.is_hostile() { Self::Hostile(error) } else { Self::Structure(error) }
    }
}

impl BodyRefusal {
    /// The HTTP status of the answer; 0 when nobody is there to read it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::MediaType => 415,
            Self::Unexpected | Self::Hostile(_) => 400,
            Self::TimedOut => 408,
            Self::Busy => 503,
            Self::Structure(_) | Self::Missing => 403,
            Self::Disconnected => 0,
        }
    }

    /// The stable code in audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "GW-BODY-001",
            Self::MediaType => "GW-BODY-002",
            Self::Unexpected => "GW-BODY-003",
            Self::Missing => "GW-BODY-004",
            Self::TimedOut => "GW-BODY-005",
            Self::Busy => "GW-BODY-006",
            Self::Hostile(_) => "GW-BODY-007",
            Self::Structure(_) => "GW-BODY-008",
            Self::Disconnected => "GW-BODY-009",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_beginning_buys_no_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert!(pace.is_kept(32 << 20, after(1)));
        assert!(pace.is_kept(1, after(31)), "the first half minute had its bytes");
        assert!(pace.is_kept(1, after(60)));
        assert!(!pace.is_kept(1, after(62)), "the second had none");
    }
}
