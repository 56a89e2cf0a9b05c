//! What came back: status, header fields and a bounded body, read as FHIR on demand.

use std::time::Duration;

use bytes::Bytes;
use fhir::{Format, Limits, Resource, Value};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};

use crate::error::ClientError;
use crate::limits;

/// A successful answer (2xx or 304).
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) destination: String,
    /// The HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body; empty with `Prefer: return=minimal`.
    pub body: Bytes,
}

/// The `Location` of a created or found resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// As sent.
    pub url: String,
    /// The id of the resource.
    pub id: String,
    /// The version, if it is named.
    pub version: Option<String>,
}

// === impl Answer ===

impl Answer {
    /// The body as a resource, JSON or XML by its media type.
    pub fn resource(&self) -> Result<Resource, ClientError> {
        let media_type = self.header(&CONTENT_TYPE).unwrap_or_default();
        let format = Format::of_media_type(media_type)
            .ok_or_else(|| self.invalid(format!("the media type {} is not FHIR", printable(media_type, 60))))?;
        // The size was bounded while reading; a search Bundle may be larger than what partners may send to us.
        let limits = Limits { bytes: self.body.len().max(1), ..Limits::default() };
        fhir::parse(format, &self.body, &limits).map_err(|error| self.invalid(error.to_string()))
    }

    /// `Location`, if it names a resource.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        Location::parse(self.header(&LOCATION)?)
    }

    /// The version in `ETag` (`W/"3"`).
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.header(&ETAG)?.strip_prefix("W/").map(|tag| tag.trim_matches('"'))
    }

    fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn invalid(&self, reason: String) -> ClientError {
        ClientError::InvalidAnswer { destination: self.destination.clone(), reason }
    }

    /// The error that an answer outside 2xx and 304 is.
    pub(crate) fn into_error(self) -> ClientError {
        let outcome = self.outcome_text();
        let retry_after = self.header(&RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        ClientError::Http { destination: self.destination, status: self.status, outcome, retry_after }
    }

    /// The issues of an OperationOutcome in one line, or what else there is to say.
    fn outcome_text(&self) -> String {
        if self.body.is_empty() {
            return match self.status {
                300..=399 => format!("redirect to {}", printable(self.header(&LOCATION).unwrap_or("nowhere"), 200)),
                _ => "no OperationOutcome (empty body)".to_owned(),
            };
        }
        match self.resource() {
            Ok(outcome) if outcome.type_name() == "OperationOutcome" => issues(&outcome),
            Ok(other) => format!("no OperationOutcome but a {}", printable(other.type_name(), 60)),
            Err(_) => format!(
                "no OperationOutcome ({})",
                printable(self.header(&CONTENT_TYPE).unwrap_or("no media type"), 60)
            ),
        }
    }
}

impl Location {
    /// Reads `.../Type/id` and `.../Type/id/_history/version`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let segments: Vec<&str> = url.split(['?', '#']).next()?.rsplit('/').collect();
        let (id, version) = match segments.as_slice() {
            [version, "_history", id, _, ..] => (*id, Some(*version)),
            [id, _, ..] => (*id, None),
            _ => return None,
        };
        let valid = |text: &str| is_id(text);
        if !valid(id) || version.is_some_and(|version| !valid(version)) || url.len() > limits::URL_BYTES {
            return None;
        }
        Some(Self { url: url.to_owned(), id: id.to_owned(), version: version.map(str::to_owned) })
    }
}

/// The `id` type of FHIR.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        && !text.starts_with('.')
}

fn issues(outcome: &Resource) -> String {
    let texts = outcome.list("issue").iter().take(20).map(|issue| {
        let code = issue.str("code").unwrap_or("unknown");
        let details = issue.get("details").and_then(|details| details.str("text"));
        let stable = issue
            .get("details")
            .map(|details| details.list("coding"))
            .and_then(<[Value]>::first)
            .and_then(|coding| coding.str("code"));
        let text = issue.str("diagnostics").or(details).or(stable);
        text.map_or_else(|| code.to_owned(), |text| format!("{code}: {text}"))
    });
    let joined = texts.collect::<Vec<_>>().join("; ");
    if joined.is_empty() {
        "OperationOutcome without issue".to_owned()
    } else {
        printable(&joined, limits::OUTCOME_CHARACTERS)
    }
}

/// Text of a partner for a log line: bounded, without control characters.
pub(crate) fn printable(text: &str, maximum: usize) -> String {
    let mut out: String =
        text.chars().take(maximum).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.chars().nth(maximum).is_some() {
        out.push_str(" ...");
    }
    out
}
