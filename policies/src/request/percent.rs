//! Percent-encoding of paths and queries: decoded once, strictly; encoded one way only.
//!
//! A path of this API consists of letters, digits, `-`, `.`, `_` and `$`. Clients may percent-encode those (some encode
//! `$`), except the dot, which would make `%2e%2e` a way around path checks; any other encoded byte is refused, which
//! covers `%2f`, `%5c`, `%00`, `%25` (double encoding) and overlong UTF-8. In a query any UTF-8 text without control
//! characters can be encoded.

use super::RequestError;
use crate::limits;

/// Decodes a path; segments are neither empty (but for a trailing slash) nor relative.
pub(super) fn decode_path(raw: &str) -> Result<String, RequestError> {
    let mut path = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let decoded = hex_pair(bytes.next(), bytes.next()).ok_or(RequestError::PathEncoding)?;
                if !(decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'_' | b'$')) {
                    return Err(RequestError::PathEncoding);
                }
                path.push(char::from(decoded));
            }
            _ if byte.is_ascii_alphanumeric() || b"/-._~$!'()*+,=:@&".contains(&byte) => path.push(char::from(byte)),
            _ => return Err(RequestError::PathByte { byte }),
        }
    }
    let relative = path.strip_prefix('/').unwrap_or(&path);
    let inner = relative.strip_suffix('/').unwrap_or(relative);
    if path.len() > 1 && inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(RequestError::PathSegment);
    }
    Ok(path)
}

/// Decodes the query of a request line.
pub(super) fn decode_query(raw: &str) -> Result<Vec<(String, String)>, RequestError> {
    // RFC 3986 plus '|', which FHIR clients send unencoded between system and code.
    decode_query_with(raw, Plus::IsSpace, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~!$'()*+,;=:@/?|%&[]".contains(&byte)
    })
}

/// Decodes the query of a Bundle entry, which is text inside JSON or XML: there other characters need no encoding, and
/// `+` means itself (`payload=application/fhir+json`, a time zone).
pub(super) fn decode_entry_query(raw: &str) -> Result<Vec<(String, String)>, RequestError> {
    decode_query_with(raw, Plus::IsPlus, |byte| !byte.is_ascii_control() && byte != b'#')
}

/// What `+` stands for: HTML forms write it for a space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsSpace,
    IsPlus,
}

fn decode_query_with(raw: &str, plus: Plus, allowed: fn(u8) -> bool) -> Result<Vec<(String, String)>, RequestError> {
    if let Some(byte) = raw.bytes().find(|byte| !allowed(*byte)) {
        return Err(RequestError::QueryByte { byte });
    }
    let mut parameters = Vec::new();
    for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
        if parameters.len() == limits::QUERY_PARAMETERS {
            return Err(RequestError::QueryParameters);
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = decode(name, plus)?;
        // `_method` asks some frameworks to act as if another method had been sent.
        if name.is_empty() || name.eq_ignore_ascii_case("_method") {
            return Err(RequestError::QueryParameter);
        }
        parameters.push((name, decode(value, plus)?));
    }
    Ok(parameters)
}

fn decode(raw: &str, plus: Plus) -> Result<String, RequestError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_pair(bytes.next(), bytes.next()).ok_or(RequestError::QueryEncoding)?,
            b'+' if plus == Plus::IsSpace => b' ',
            _ => byte,
        });
    }
    let text = String::from_utf8(decoded).map_err(|_| RequestError::QueryEncoding)?;
    if text.chars().any(char::is_control) { Err(RequestError::QueryEncoding) } else { Ok(text) }
}

/// Prints parameters as `name=value&name=value`.
pub(super) fn encode_query(parameters: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        encode_into(&mut text, name);
        text.push('=');
        encode_into(&mut text, value);
    }
    text
}

/// Prints one text.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode_into(&mut encoded, text);
    encoded
}

fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        // ':' and '/' are common in FHIR parameters and have no meaning in a query.
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0x0f] {
                out.push(char::from_digit(u32::from(digit), 16).map_or('0', |digit| digit.to_ascii_uppercase()));
            }
        }
    }
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}
