//! The body of a request that is judged: read whole, within its limit and time, and parsed.
//!
//! The parsed tree is judged and the very bytes it was parsed from are forwarded. Only raw Binary content is not held in
//! memory; it passes as a stream, counted against its own limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fhir::{Format, ParseError, Resource, ResourceType};
use http::header;
use pingora::proxy::Session;
use policies::CanonicalRequest;
use policies::interaction::BodyKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{self, Limits};

/// What a request brings along.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Absent,
    /// A resource; the permit accounts for its memory.
    Judged {
        /// The bytes as received.
        bytes: Bytes,
        /// What they say.
        resource: Box<Resource>,
        /// Media type under which they are forwarded.
        media_type: String,
        /// Share of the memory for bodies.
        memory: OwnedSemaphorePermit,
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

/// Reads what the request brings along. `memory` bounds all bodies together, in bytes.
pub async fn read_body(
    session: &mut Session,
    request: &CanonicalRequest,
    limits: &Limits,
    memory: &Arc<Semaphore>,
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
            return Ok(Body::Raw { media_type, length: announced });
        }
        return Err(BodyRefusal::MediaType);
    };
    if !is_utf8(&media_type) {
        return Err(BodyRefusal::MediaType);
    }
    let limit = limit_of(request, limits);
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyRefusal::TooLarge(limit as u64));
    }
    // A body of unknown length may become as large as the limit.
    let reserved = announced.map_or(limit, |length| usize::try_from(length).unwrap_or(limit)).max(1);
    let reserved = u32::try_from(reserved).map_err(|_| BodyRefusal::Busy)?;
    let memory = Arc::clone(memory).try_acquire_many_owned(reserved).map_err(|_| BodyRefusal::Busy)?;
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.write_continue_response().await.map_err(|_| BodyRefusal::Disconnected)?;
    }
    session.set_read_timeout(Some(limits.body_idle));
    let bytes = tokio::time::timeout(longest(announced, limit), collect(session, limit))
        .await
        .map_err(|_| BodyRefusal::TimedOut)??;
    let parser = if format == Format::Json { limits.json } else { limits.xml };
    let parser_limits = fhir::Limits { bytes: limit, ..parser };
    let resource = parse(format, &bytes, &parser_limits).await?;
    let media_type = format!("{};charset=UTF-8", format.media_type());
    Ok(Body::Judged { bytes, resource: Box::new(resource), media_type, memory })
}

async fn collect(session: &mut Session, limit: usize) -> Result<Bytes, BodyRefusal> {
    let mut collected = BytesMut::new();
    let mut first = None;
    loop {
        let chunk = session.read_request_body().await.map_err(|error| match error.etype() {
            pingora::ErrorType::ReadTimedout => BodyRefusal::TimedOut,
            _ => BodyRefusal::Disconnected,
        })?;
        let Some(chunk) = chunk else { break };
        let already = first.as_ref().map_or(collected.len(), Bytes::len);
        if already.saturating_add(chunk.len()) > limit {
            return Err(BodyRefusal::TooLarge(limit as u64));
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
    parsed.map_err(|error| if error.is_hostile() { BodyRefusal::Hostile(error) } else { BodyRefusal::Structure(error) })
}

/// Most bytes of a judged body. A Binary as resource is held in memory: what is larger is sent raw.
fn limit_of(request: &CanonicalRequest, limits: &Limits) -> usize {
    let bundle = limits.body.of(Some(ResourceType::Bundle));
    let limit = match request.body() {
        BodyKind::Bundle => bundle,
        BodyKind::Resource if request.resource_type() == Some(ResourceType::Binary) => {
            limits.body.of(Some(ResourceType::Binary)).min(bundle)
        }
        BodyKind::Resource | BodyKind::Parameters | BodyKind::Absent => limits.body.of(request.resource_type()),
    };
    usize::try_from(limit).unwrap_or(usize::MAX).min(limits::BUFFERED_BYTES)
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

impl BodyRefusal {
    /// The HTTP status of the answer; 0 when nobody is there to read it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::MediaType => 415,
            Self::Unexpected | Self::Missing | Self::Hostile(_) => 400,
            Self::TimedOut => 408,
            Self::Busy => 503,
            Self::Structure(_) => 403,
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
