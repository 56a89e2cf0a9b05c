//! Rules for the parsed header fields, the same for HTTP/1.1 and HTTP/2.
//!
//! HTTP/2 has no raw head to scan, so what [`super::head`] refuses there is refused here again where it can occur. A field
//! that decides something must stand once: a rule that reads the first of two values is a rule that can be bypassed.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;

use super::HeadLimits;

/// Fields of which one value counts.
const SINGLE: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::IF_RANGE,
    header::UPGRADE,
    header::EXPECT,
];

/// Likewise, outside the standard names.
const SINGLE_BY_NAME: [&str; 3] = ["if-none-exist", "x-security-context", "sec-websocket-key"];

/// What is wrong with the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldRefusal {
    /// More fields or bytes than allowed.
    #[error("too many header fields")]
    TooMany,
    /// An underscore or a control character.
    #[error("malformed header field")]
    Malformed,
    /// A field that must stand once stands more often.
    #[error("repeated header field")]
    Repeated,
    /// No host, or two that differ.
    #[error("missing or ambiguous host")]
    Host,
    /// The host is not ours.
    #[error("host is not served here")]
    Misdirected,
    /// `Expect` other than `100-continue`.
    #[error("unknown expectation")]
    Expectation,
    /// A compressed body.
    #[error("content encoding is not supported")]
    ContentEncoding,
    /// `Upgrade` on a path that is no WebSocket, or an incomplete WebSocket handshake.
    #[error("upgrade is not possible here")]
    Upgrade,
    /// More than one range.
    #[error("more than one range")]
    Ranges,
}

/// Checks the fields; `authorities` are the spellings of our host.
pub fn check_fields(head: &RequestHeader, authorities: &[String], limits: HeadLimits) -> Result<(), FieldRefusal> {
    let fields = &head.headers;
    if fields.len() > limits.fields {
        return Err(FieldRefusal::TooMany);
    }
    let mut bytes = head.raw_path().len();
    for (name, value) in fields {
        bytes = bytes.saturating_add(name.as_str().len() + value.len() + 4);
        let control = value.as_bytes().iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127));
        if control || name.as_str().contains('_') {
            return Err(FieldRefusal::Malformed);
        }
    }
    if bytes > limits.bytes {
        return Err(FieldRefusal::TooMany);
    }
    let repeated = SINGLE.iter().any(|name| fields.get_all(name).iter().nth(1).is_some())
        || SINGLE_BY_NAME.iter().any(|name| fields.get_all(*name).iter().nth(1).is_some());
    if repeated {
        return Err(FieldRefusal::Repeated);
    }
    check_host(head, authorities)?;
    if fields.get(header::EXPECT).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(FieldRefusal::Expectation);
    }
    if fields.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FieldRefusal::ContentEncoding);
    }
    if fields.get(header::RANGE).is_some_and(|value| value.as_bytes().contains(&b',')) {
        return Err(FieldRefusal::Ranges);
    }
    Ok(())
}

/// The host of `Host` and of `:authority` or an absolute target, which must agree, is one of ours.
fn check_host(head: &RequestHeader, authorities: &[String]) -> Result<(), FieldRefusal> {
    let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let asked = match (host, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => return Err(FieldRefusal::Host),
        (Some(asked), _) | (None, Some(asked)) => asked,
        (None, None) => return Err(FieldRefusal::Host),
    };
    if authorities.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(asked)) {
        return Ok(());
    }
    Err(FieldRefusal::Misdirected)
}

/// Whether the head asks for a WebSocket, completely; an incomplete wish or another upgrade is refused.
pub fn wants_websocket(fields: &HeaderMap, http2: bool) -> Result<bool, FieldRefusal> {
    let Some(upgrade) = fields.get(header::UPGRADE) else { return Ok(false) };
    let connection = fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let version = fields.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|value| value == "13");
    let complete = !http2
        && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        && connection
        && version
        && fields.contains_key(header::SEC_WEBSOCKET_KEY);
    if complete { Ok(true) } else { Err(FieldRefusal::Upgrade) }
}

// === impl FieldRefusal ===

impl FieldRefusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooMany => 431,
            Self::Malformed | Self::Repeated | Self::Host | Self::Upgrade => 400,
            Self::Misdirected => 421,
            Self::Expectation => 417,
            Self::ContentEncoding => 415,
            Self::Ranges => 416,
        }
    }

    /// The stable code in audit records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooMany => "GW-FIELD-001",
            Self::Malformed => "GW-FIELD-002",
            Self::Repeated => "GW-FIELD-003",
            Self::Host => "GW-FIELD-004",
            Self::Misdirected => "GW-FIELD-005",
            Self::Expectation => "GW-FIELD-006",
            Self::ContentEncoding => "GW-FIELD-007",
            Self::Upgrade => "GW-FIELD-008",
            Self::Ranges => "GW-FIELD-009",
        }
    }
}

#[cfg(test)]
mod tests;
