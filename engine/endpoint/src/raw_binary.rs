//! Binaries as raw content (`fhir-api` 1.9).
//!
//! Content is kept in the resource as base64, so a raw upload is limited to [`limits::RAW_BINARY_BYTES`]; streaming into
//! the chunks of the store takes this module's place when the endpoint grows it.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir::{Object, Resource};
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use http::{HeaderName, StatusCode};

use crate::negotiate::{accepts, content_type};
use crate::refusal::{Code, Refusal};
use crate::reply::{Content, Reply};
use crate::{http_date, limits, precondition};

const SECURITY_CONTEXT: HeaderName = HeaderName::from_static("x-security-context");

/// Types that `_format=inline` shows without offering a download.
const INLINE: &[&str] = &[
    "text/html",
    "text/plain",
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "image/avif",
];

/// The Binary of a raw upload.
pub(crate) fn received(headers: &HeaderMap, body: &Bytes) -> Result<Resource, Refusal> {
    let (essence, charset) = content_type(headers).map_err(|_| Refusal::media_type())?;
    if body.len() > limits::RAW_BINARY_BYTES {
        return Err(Refusal::empty(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge));
    }
    let mut contexts = headers.get_all(SECURITY_CONTEXT).iter();
    let context = match (contexts.next(), contexts.next()) {
        (Some(context), None) => context.to_str().ok().map(str::trim).filter(|context| !context.is_empty()),
        _ => None,
    };
    let Some(context) = context else {
        return Err(Refusal::empty(StatusCode::BAD_REQUEST, Code::BadRequest)
            .because("X-Security-Context is missing, blank or repeated"));
    };
    let media_type = match charset {
        Some(charset) => format!("{essence};charset={charset}"),
        None => essence,
    };
    let mut binary = Resource::new("Binary");
    binary.set("contentType", media_type);
    binary.set("securityContext", Object::new().with("reference", context));
    if !body.is_empty() {
        binary.set("data", STANDARD.encode(body));
    }
    Ok(binary)
}

/// Turns the answer of a read into the raw content.
pub(crate) fn shown(mut reply: Reply, headers: &HeaderMap, query: &[(String, String)]) -> Result<Reply, Refusal> {
    if reply.status != StatusCode::OK {
        return Ok(reply);
    }
    let Content::Resource(binary) = std::mem::replace(&mut reply.content, Content::Empty) else { return Ok(reply) };
    let stored = binary.str("contentType").unwrap_or("application/octet-stream").to_owned();
    if !accepts(headers, &stored) {
        return Err(Refusal::empty(StatusCode::NOT_ACCEPTABLE, Code::MediaType));
    }
    let data: String = binary.str("data").unwrap_or_default().split_ascii_whitespace().collect();
    let content = STANDARD
        .decode(data.as_bytes())
        .map(Bytes::from)
        .map_err(|error| Refusal::store(format!("content of Binary is not base64: {error}")))?;
    let is_inline = query.iter().any(|(name, value)| name == "_format" && value == "inline")
        && INLINE.contains(&stored.split(';').next().unwrap_or_default().trim());
    if !is_inline {
        let id = reply.version.as_ref().map_or("", |version| version.id.as_str());
        let disposition = format!("attachment; filename=Binary_{id}.{}", extension(&stored));
        reply.header(CONTENT_DISPOSITION, &disposition);
    }
    if let Some(context) = binary.get("securityContext").and_then(|context| context.str("reference")) {
        reply.header(SECURITY_CONTEXT, context);
    }
    reply.header(ACCEPT_RANGES, "bytes");
    Ok(ranged(reply, headers, stored, content))
}

/// Cuts the content to the range that is asked for.
fn ranged(mut reply: Reply, headers: &HeaderMap, content_type: String, content: Bytes) -> Reply {
    let size = content.len();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_fresh = text(IF_RANGE).is_none_or(|condition| {
        reply.version.as_ref().is_some_and(|version| {
            precondition::parse_etag(condition) == Some(version.version)
                || http_date::parse(condition)
                    .is_some_and(|date| date.unix_timestamp() == version.last_updated.unix_timestamp())
        })
    });
    let mut ranges = headers.get_all(RANGE).iter();
    let single = if let (Some(range), None) = (ranges.next(), ranges.next()) { range.to_str().ok() } else { None };
    let bytes = match single.filter(|_| is_fresh).and_then(|range| parse_range(range, size)) {
        None => content,
        Some(Range::Unsatisfiable) => {
            reply.header(CONTENT_RANGE, &format!("bytes */{size}"));
            reply.status = StatusCode::RANGE_NOT_SATISFIABLE;
            reply.content = Content::Empty;
            return reply;
        }
        Some(Range::Part { first, last }) => {
            reply.header(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            reply.status = StatusCode::PARTIAL_CONTENT;
            content.slice(first..=last)
        }
    };
    reply.content = Content::Raw { content_type, bytes };
    reply
}

/// A range of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// Both ends are within the content.
    Part {
        first: usize,
        last: usize,
    },
    Unsatisfiable,
}

/// Reads a single range (RFC 9110 section 14.1.2). Anything else is ignored, also several ranges. The reference calls
/// ranges of one byte and ranges beyond the end unsatisfiable, a quirk that is not copied.
fn parse_range(text: &str, size: usize) -> Option<Range> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<Option<usize>> {
        if text.is_empty() {
            return Some(None);
        }
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().or(Some(usize::MAX)))
    };
    let end = size.checked_sub(1);
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (None, Some(length)) => match end {
            Some(end) if length > 0 => Some(Range::Part { first: size.saturating_sub(length), last: end }),
            _ => Some(Range::Unsatisfiable),
        },
        (Some(first), last) => {
            if last.is_some_and(|last| last < first) {
                return None;
            }
            match end {
                Some(end) if first <= end => Some(Range::Part { first, last: last.map_or(end, |last| last.min(end)) }),
                _ => Some(Range::Unsatisfiable),
            }
        }
    }
}

fn extension(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "image/jpeg" => "jpeg",
        "image/png" => "png",
        "image/svg+xml" => "svg",
        "image/tiff" => "tiff",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/plain" => "txt",
        "application/dicom" => "dicom",
        "application/json" | "application/fhir+json" => "json",
        "application/xml" | "text/xml" | "application/fhir+xml" => "xml",
        "application/gzip" => "gz",
        "application/pdf" => "pdf",
        "application/x-pem-file" | "application/pem-certificate-chain" => "pem",
        "application/x-ndjson" | "application/fhir+ndjson" => "ndjson",
        "application/zip" => "zip",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests;
