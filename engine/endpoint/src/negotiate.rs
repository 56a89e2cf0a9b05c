//! Formats: what a body is written in, and what the answer is written in (`fhir-api` 1.3).
//!
//! The reference scans the `Accept` header for known types in a fixed order by substring and ignores quality values;
//! partners' clients send single types, so only the order of the scan shows. `text/html` is skipped: the HTML pages are
//! not part of this endpoint yet, and a browser gets the next type that it lists.

use fhir::Format;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// Syntax.
    pub(crate) format: Format,
    /// Media type of the answer, without parameters.
    pub(crate) media_type: &'static str,
    /// `_pretty=true`.
    pub(crate) pretty: bool,
    /// `_summary`.
    pub(crate) summary: Summary,
}

/// `_summary` of a read or search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Summary {
    /// The whole resource.
    #[default]
    False,
    /// Elements that the definition marks as summary.
    True,
    /// Narrative, id, meta and mandatory elements.
    Text,
    /// Everything but the narrative.
    Data,
    /// Totals without entries.
    Count,
}

/// No format of the endpoint is acceptable: 415 with an empty body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAcceptable;

/// Why a request body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadContentType {
    /// No `Content-Type`, or one that is no FHIR type: 415.
    Unsupported,
    /// A FHIR type in another character set than UTF-8: 400.
    Charset,
    /// More than one `Content-Type`: 400.
    Repeated,
}

const FHIR_XML: &str = "application/fhir+xml";
const FHIR_JSON: &str = "application/fhir+json";

/// The scan order of the reference, `text/html` aside.
const SCAN: &[(&str, &str, Format)] = &[
    (FHIR_JSON, FHIR_JSON, Format::Json),
    ("application/json+fhir", "application/json+fhir", Format::Json),
    ("application/json", "application/json", Format::Json),
    (FHIR_XML, FHIR_XML, Format::Xml),
    ("application/xml+fhir", "application/xml+fhir", Format::Xml),
    ("application/xml", "application/xml", Format::Xml),
    ("text/xml", "text/xml", Format::Xml),
    ("*/*", FHIR_XML, Format::Xml),
];

/// Types of which the first in `Accept` selects the FHIR form of a Binary instead of its raw content.
const BINARY_AS_FHIR: &[&str] = &[FHIR_XML, FHIR_JSON, "application/xml+fhir", "application/json+fhir"];

impl Negotiated {
    /// Chooses by `_format`, then `Accept`, then XML.
    pub(crate) fn of(headers: &HeaderMap, query: &[(String, String)]) -> Result<Self, NotAcceptable> {
        let (media_type, format) = match first(query, "_format") {
            Some(value) => of_parameter(value)?,
            None => of_accept(headers)?,
        };
        Ok(Self { format, media_type, pretty: first(query, "_pretty") == Some("true"), summary: summary(query) })
    }

    /// What a bundle entry is answered in does not matter; its resource is printed with the bundle.
    pub(crate) const fn json() -> Self {
        Self { format: Format::Json, media_type: FHIR_JSON, pretty: false, summary: Summary::False }
    }
}

fn first<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn of_parameter(value: &str) -> Result<(&'static str, Format), NotAcceptable> {
    // A `+` that was not escaped arrives as a blank.
    let value = value.trim().replace(' ', "+");
    let essence = value.split(';').next().unwrap_or_default();
    match essence {
        "json" => Ok((FHIR_JSON, Format::Json)),
        "xml" => Ok((FHIR_XML, Format::Xml)),
        _ => SCAN
            .iter()
            .find(|(name, _, _)| *name == essence && *name != "*/*")
            .map(|(_, media_type, format)| (*media_type, *format))
            .ok_or(NotAcceptable),
    }
}

fn of_accept(headers: &HeaderMap) -> Result<(&'static str, Format), NotAcceptable> {
    let accept = accept(headers);
    let accept = if accept.trim().is_empty() { "*/*" } else { accept.as_str() };
    SCAN.iter()
        .find(|(name, _, _)| accept.contains(name))
        .map(|(_, media_type, format)| (*media_type, *format))
        .ok_or(NotAcceptable)
}

fn accept(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",").to_ascii_lowercase()
}

fn summary(query: &[(String, String)]) -> Summary {
    match first(query, "_summary") {
        Some("true") => Summary::True,
        Some("text") => Summary::Text,
        Some("data") => Summary::Data,
        Some("count") => Summary::Count,
        _ => Summary::False,
    }
}

/// The syntax of a request body.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<Format, BadContentType> {
    let (essence, charset) = content_type(headers)?;
    let format = match essence.as_str() {
        FHIR_XML | "application/xml+fhir" | "application/xml" => Format::Xml,
        FHIR_JSON | "application/json+fhir" | "application/json" => Format::Json,
        _ => return Err(BadContentType::Unsupported),
    };
    match charset.as_deref() {
        None | Some("utf-8" | "utf8") => Ok(format),
        Some(_) => Err(BadContentType::Charset),
    }
}

/// Essence and `charset` of the only `Content-Type`, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<(String, Option<String>), BadContentType> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Err(BadContentType::Unsupported) };
    if values.next().is_some() {
        return Err(BadContentType::Repeated);
    }
    let text = value.to_str().map_err(|_| BadContentType::Unsupported)?.to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_owned();
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|name| name.trim_matches('"').to_owned());
    Ok((essence, charset))
}

/// Whether a read of a Binary asks for its content instead of the resource (`fhir-api` 1.9).
pub(crate) fn wants_raw_binary(headers: &HeaderMap, query: &[(String, String)]) -> bool {
    if first(query, "_format").is_some_and(|format| format != "inline") {
        return false;
    }
    let accept = accept(headers);
    // A missing header means `*/*`, which is no FHIR type either: raw.
    let first = accept.split(',').next().unwrap_or_default();
    let essence = first.split(';').next().unwrap_or_default().trim();
    !BINARY_AS_FHIR.contains(&essence)
}

/// Whether a stored content type satisfies the `Accept` header.
pub(crate) fn accepts(headers: &HeaderMap, stored: &str) -> bool {
    let accept = accept(headers);
    let stored = stored.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let stored_kind = stored.split('/').next().unwrap_or_default();
    let mut ranges = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim()).peekable();
    if accept.trim().is_empty() {
        return true;
    }
    ranges.any(|range| match range.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => kind == stored_kind,
        _ => range == stored,
    })
}

#[cfg(test)]
mod tests;
