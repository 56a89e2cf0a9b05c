//! Binaries as raw content (`fhir-api` 1.9): what the head of an upload says, and how content is shown.

use axum::body::Bytes;
use fhir::{Object, Resource};
use http::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use http::{HeaderName, StatusCode};

use crate::negotiate::{accepts, content_type};
use crate::refusal::{Code, Refusal};
use crate::reply::{Content, RawContent, Reply};
use crate::session::Session;
use crate::{content, http_date, limits, precondition};

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

/// The Binary of a raw upload, without its content.
pub(crate) fn announced(headers: &HeaderMap) -> Result<Resource, Refusal> {
    let (essence, charset) = content_type(headers).map_err(|_| Refusal::media_type())?;
    let mut contexts = headers.get_all(SECURITY_CONTEXT).iter();
    let context = match (contexts.next(), contexts.next()) {
        (Some(context), None) => context.to_str().ok().map(str::trim).filter(|context| !context.is_empty()),
        _ => None,
    };
    let Some(context) = context else {
        return Err(Refusal::empty(StatusCode::BAD_REQUEST, Code::BadRequest)
            .because("X-Security-Context is missing, blank or repeated"));
    };
    let media_type = match (charset, other_parameters(headers)) {
        (_, Some(whole)) => whole,
        (Some(charset), None) => format!("{essence};charset={charset}"),
        (None, None) => essence,
    };
    let mut binary = Resource::new("Binary");
    binary.set("contentType", media_type);
    binary.set("securityContext", Object::new().with("reference", context));
    Ok(binary)
}

/// The whole `Content-Type` if it has parameters beside those that say how the content is sent: the profile decides about
/// them (`fhir-api` 1.9), they are not dropped on the way.
fn other_parameters(headers: &HeaderMap) -> Option<String> {
    let whole = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let is_other = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !matches!(name.as_str(), "" | "charset" | "boundary")
    };
    whole.split(';').skip(1).any(is_other).then(|| whole.to_owned())
}

/// Turns the answer of a read into the raw content.
pub(crate) fn shown(
    session: &mut Session<'_, '_>,
    mut reply: Reply,
    headers: &HeaderMap,
    query: &[(String, String)],
) -> Result<Reply, Refusal> {
    if reply.status != StatusCode::OK {
        return Ok(reply);
    }
    let Content::Resource(binary) = std::mem::replace(&mut reply.content, Content::Empty) else { return Ok(reply) };
    let stored = binary.str("contentType").unwrap_or("application/octet-stream").to_owned();
    if !accepts(headers, &stored) {
        return Err(Refusal::empty(StatusCode::NOT_ACCEPTABLE, Code::MediaType));
    }
    let content = match &reply.version {
        Some(version) => session.tx.content(&version.id, version.version)?,
        None => None,
    };
    let content = match content {
        Some(stored) if stored.size <= limits::SMALL_CONTENT_BYTES => {
            let chunk = session.tx.read_chunk(&stored.upload, 0)?;
            RawContent::Here(Bytes::from(chunk.ok_or_else(|| Refusal::store("the chunk of a Binary is missing"))?))
        }
        Some(stored) => RawContent::Stored { first: 0, length: stored.size, content: stored },
        // Written by a program that keeps content in the resource.
        None => RawContent::Here(
            content::decode(binary.str("data").unwrap_or_default())
                .map(Bytes::from)
                .ok_or_else(|| Refusal::store("content of a Binary is no base64"))?,
        ),
    };
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
fn ranged(mut reply: Reply, headers: &HeaderMap, content_type: String, content: RawContent) -> Reply {
    let size = content.length();
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
    let content = match single.filter(|_| is_fresh).and_then(|range| parse_range(range, size)) {
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
            content.part(first, last)
        }
    };
    reply.content = Content::Raw { content_type, content };
    reply
}

/// A range of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// Both ends are within the content.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

/// Reads a single range (RFC 9110 section 14.1.2). Anything else is ignored, also several ranges. The reference calls
/// ranges of one byte and ranges beyond the end unsatisfiable, a quirk that is not copied.
fn parse_range(text: &str, size: u64) -> Option<Range> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<Option<u64>> {
        if text.is_empty() {
            return Some(None);
        }
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().or(Some(u64::MAX)))
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
