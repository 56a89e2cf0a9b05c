//! The head that the engine gets: built from the canonical request, never copied from the client.
//!
//! Of the client's fields only those listed here pass, by name and value; identity, forwarding and hop-by-hop fields of
//! the client have no way in, whatever their spelling.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use link::PERMIT_HEADER;
use policies::CanonicalRequest;

use crate::respond::CORRELATION;

/// Fields of the client that the engine reads.
const PASSED: [HeaderName; 9] = [
    header::ACCEPT,
    HeaderName::from_static("prefer"),
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    HeaderName::from_static("if-none-exist"),
    header::RANGE,
    header::IF_RANGE,
];

/// Read only with a body.
const PASSED_WITH_BODY: [HeaderName; 1] = [HeaderName::from_static("x-security-context")];

/// Fields of the WebSocket handshake that pass; `Connection` and `Upgrade` are written by us.
const PASSED_WITH_UPGRADE: [HeaderName; 4] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// A request head for the engine.
#[derive(Clone, Debug)]
pub(crate) struct EngineHead {
    /// The method.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    /// All fields but those that frame the body.
    pub(crate) fields: HeaderMap,
}

/// What the request brings along, as far as the head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// No body.
    None,
    /// A body of this media type.
    Body(&'a str),
    /// A WebSocket.
    Upgrade,
}

/// Why no head can be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    /// A value that we made is no header value.
    #[error("header value cannot be written")]
    Value(#[from] header::InvalidHeaderValue),
}

impl EngineHead {
    /// Builds the head; `authority` is the host of our base URL.
    pub(crate) fn build(
        request: &CanonicalRequest,
        base_path: &str,
        authority: &HeaderValue,
        client: &HeaderMap,
        content: Content<'_>,
        permit: String,
        correlation: &HeaderValue,
    ) -> Result<Self, HeadError> {
        let mut fields = HeaderMap::with_capacity(12);
        fields.insert(header::HOST, authority.clone());
        fields.insert(HeaderName::from_static(PERMIT_HEADER), HeaderValue::try_from(permit)?);
        fields.insert(CORRELATION, correlation.clone());
        let mut pass = |names: &[HeaderName]| {
            for name in names {
                for value in client.get_all(name) {
                    fields.append(name.clone(), value.clone());
                }
            }
        };
        pass(&PASSED);
        match content {
            Content::None => {}
            Content::Body(media_type) => {
                pass(&PASSED_WITH_BODY);
                fields.insert(header::CONTENT_TYPE, HeaderValue::from_str(media_type)?);
            }
            Content::Upgrade => {
                pass(&PASSED_WITH_UPGRADE);
                fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
        }
        Ok(Self { method: request.method().as_str(), target: request.target(base_path), fields })
    }

    /// Whether the answer is a head alone.
    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether the request changes nothing, so that it may be sent a second time.
    pub(crate) fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }
}

#[cfg(test)]
mod tests;
