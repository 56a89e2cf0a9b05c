//! Conditional requests on one resource: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`
//! (`fhir-api` 1.6, 1.7).
//!
//! Preconditions are judged only after the caller's right to read: 304 and 412 tell that a resource exists and which
//! version it has.

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use time::OffsetDateTime;

use crate::http_date;

/// Preconditions of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    if_match: Option<u64>,
    if_none_match: Option<u64>,
    if_modified_since: Option<OffsetDateTime>,
    if_unmodified_since: Option<OffsetDateTime>,
    has_if_none_match: bool,
}

/// What a read is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The resource.
    Proceed,
    /// 304, the client has it.
    NotModified,
    /// 412 without a body.
    Failed,
}

/// `W/"n"`; strong, malformed and non-numeric tags count as absent, as in the reference.
pub(crate) fn parse_etag(text: &str) -> Option<u64> {
    let digits = text.trim().strip_prefix("W/\"")?.strip_suffix('"')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// `W/"n"` of a version.
pub(crate) fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// The version that an update expects to replace.
pub(crate) fn if_match(headers: &HeaderMap) -> Option<u64> {
    text(headers, &IF_MATCH).and_then(parse_etag)
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

impl Preconditions {
    /// Reads the four headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            if_match: if_match(headers),
            if_none_match: text(headers, &IF_NONE_MATCH).and_then(parse_etag),
            has_if_none_match: headers.contains_key(IF_NONE_MATCH),
            if_modified_since: text(headers, &IF_MODIFIED_SINCE).and_then(http_date::parse),
            if_unmodified_since: text(headers, &IF_UNMODIFIED_SINCE).and_then(http_date::parse),
        }
    }

    /// The two preconditions that a GET entry of a Bundle can carry.
    pub(crate) fn of_entry(if_none_match: Option<&str>, if_modified_since: Option<OffsetDateTime>) -> Self {
        Self {
            if_none_match: if_none_match.and_then(parse_etag),
            has_if_none_match: if_none_match.is_some(),
            if_modified_since,
            ..Self::default()
        }
    }

    /// Judges a version of a resource; HTTP dates have a precision of one second.
    pub(crate) fn judge(&self, version: u64, last_updated: OffsetDateTime) -> Verdict {
        let last_updated = last_updated.unix_timestamp();
        if self.if_match.is_some_and(|expected| expected != version) {
            return Verdict::Failed;
        }
        if self.if_unmodified_since.is_some_and(|since| since.unix_timestamp() != last_updated) {
            return Verdict::Failed;
        }
        if self.if_none_match == Some(version) {
            return Verdict::NotModified;
        }
        if !self.has_if_none_match && self.if_modified_since.is_some_and(|since| last_updated <= since.unix_timestamp())
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }
}

#[cfg(test)]
mod tests;
