//! Lexical forms of the primitive types (HL7 R4 section 2.24.0.1), by hand: the regular expressions of R4 are too slow
//! for base64 of megabytes, and they let pass days that no month has.

use crate::Value;

/// What is wrong with a value of the primitive type, if anything. Types that are no primitives are not judged.
pub(crate) fn fault(type_name: &str, value: &Value) -> Option<&'static str> {
    match type_name {
        "boolean" => (!matches!(value, Value::Bool(_))).then_some("is no boolean"),
        "integer" => integer(value, i64::from(i32::MIN)),
        "unsignedInt" => integer(value, 0),
        "positiveInt" => integer(value, 1),
        "decimal" => (!matches!(value, Value::Number(_))).then_some("is no decimal number"),
        _ => match value {
            Value::String(text) if text.is_empty() => Some("is empty"),
            Value::String(text) => text_fault(type_name, text),
            _ => Some("is no string"),
        },
    }
}

fn integer(value: &Value, least: i64) -> Option<&'static str> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if integer >= least && integer <= i64::from(i32::MAX) => None,
            Some(_) => Some("is out of range"),
            None => Some("is no integer"),
        },
        _ => Some("is no integer"),
    }
}

fn text_fault(type_name: &str, text: &str) -> Option<&'static str> {
    let fails = |valid: bool, fault| (!valid).then_some(fault);
    match type_name {
        "string" | "markdown" => fails(!text.trim().is_empty(), "holds nothing but blanks"),
        "code" => fails(is_code(text), "is no code (blanks at an end or in a row)"),
        "id" => fails(is_id(text), "is no id (letters, digits, '-' and '.', at most 64)"),
        "uri" | "url" | "canonical" => uri_fault(text),
        "uuid" => fails(text.strip_prefix("urn:uuid:").is_some_and(is_uuid), "is no uuid in lower case"),
        "oid" => fails(text.strip_prefix("urn:oid:").is_some_and(is_oid), "is no oid"),
        "date" => fails(is_date(text), "is no date"),
        "dateTime" => fails(is_date(text) || is_instant(text), "is no dateTime (a time needs seconds and a zone)"),
        "instant" => fails(is_instant(text), "is no instant (seconds and a zone are needed)"),
        "time" => fails(is_time(text), "is no time"),
        "base64Binary" => fails(is_base64(text), "is no base64"),
        "xhtml" => fails(text.trim_start().starts_with("<div"), "is no XHTML div"),
        _ => None,
    }
}

/// No blank; a `urn:uuid:` or `urn:oid:` must be what it says.
fn uri_fault(text: &str) -> Option<&'static str> {
    if text.contains(char::is_whitespace) {
        return Some("holds blanks");
    }
    let uuid = text.strip_prefix("urn:uuid:").is_none_or(is_uuid);
    let oid = text.strip_prefix("urn:oid:").is_none_or(is_oid);
    match (uuid, oid) {
        (false, _) => Some("is no uuid in lower case"),
        (_, false) => Some("is no oid"),
        _ => None,
    }
}

fn is_code(text: &str) -> bool {
    !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && !text.chars().zip(text.chars().skip(1)).any(|(a, b)| a.is_whitespace() && b.is_whitespace())
}

pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn is_uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    [8, 4, 4, 4, 12].into_iter().all(|length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }) && parts.next().is_none()
}

fn is_oid(text: &str) -> bool {
    let mut parts = text.split('.');
    let arc = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    parts.next().is_some_and(|first| matches!(first, "0" | "1" | "2"))
        && parts.clone().next().is_some()
        && parts.all(arc)
}

/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let year = parts.next().and_then(|part| digits(part, 4)).filter(|year| *year > 0);
    let month = parts.next().map(|part| digits(part, 2).filter(|month| (1..=12).contains(month)));
    let day = parts.next().map(|part| digits(part, 2));
    match (year, month, day, parts.next()) {
        (Some(_), None, None, None) | (Some(_), Some(Some(_)), None, None) => true,
        (Some(year), Some(Some(month)), Some(Some(day)), None) => (1..=days(year, month)).contains(&day),
        _ => false,
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_instant(text: &str) -> bool {
    let Some((date, rest)) = text.split_once('T') else { return false };
    let Some(at) = rest.find(['Z', '+', '-']) else { return false };
    let (Some(time), Some(zone)) = (rest.get(..at), rest.get(at..)) else { return false };
    date.len() == 10 && is_date(date) && is_time(time) && is_zone(zone)
}

fn is_zone(zone: &str) -> bool {
    if zone == "Z" {
        return true;
    }
    let Some((hours, minutes)) = zone.get(1..).and_then(|offset| offset.split_once(':')) else { return false };
    match (digits(hours, 2), digits(minutes, 2)) {
        (Some(14), Some(0)) => true,
        (Some(hours), Some(minutes)) => hours <= 13 && minutes <= 59,
        _ => false,
    }
}

/// `hh:mm:ss` with a fraction of any length.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let fits = matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some(Some(0..=23)), Some(Some(0..=59)), Some(Some(0..=60)), None)
    );
    fits && fraction.is_none_or(|fraction| !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()))
}

fn digits(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_base64(text: &str) -> bool {
    let mut count = 0_usize;
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')) {
            return false;
        }
        count += 1;
    }
    count > 0 && count.is_multiple_of(4)
}

/// Whether the text has the form of a media type, `type/subtype` with parameters.
pub(crate) fn is_media_type(text: &str) -> bool {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b));
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}
