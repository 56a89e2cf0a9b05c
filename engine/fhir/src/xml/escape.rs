//! Attribute values: from XML to text and back.

use crate::error::Hostility;
use crate::text::is_fhir_char;

/// Why an attribute value could not be read.
pub(super) enum BadText {
    Hostile(Hostility),
    Structure(&'static str),
}

/// The text of a raw attribute value: references resolved, literal white space normalised (XML 1.0 section 3.3.3).
pub(super) fn unescape(raw: &str, max_bytes: usize) -> Result<String, BadText> {
    let mut out = String::with_capacity(raw.len().min(max_bytes));
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, 0..0x20 | b'&' | b'<' | 0xEF)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        let first = chars.next();
        rest = chars.as_str();
        match first {
            Some('&') => {
                let (name, after) =
                    rest.split_once(';').ok_or(BadText::Structure("an ampersand that opens no reference"))?;
                out.push(reference(name)?);
                rest = after;
            }
            Some('\r') => {
                out.push(' ');
                rest = rest.strip_prefix('\n').unwrap_or(rest);
            }
            Some('\n' | '\t') => out.push(' '),
            Some('<') => return Err(BadText::Structure("a less-than sign in an attribute")),
            Some(character) if is_fhir_char(character) => out.push(character),
            _ => return Err(BadText::Structure("a character that XML cannot hold")),
        }
        if out.len() > max_bytes {
            return Err(BadText::Hostile(Hostility::Text(max_bytes)));
        }
    }
    out.push_str(rest);
    if out.len() > max_bytes {
        return Err(BadText::Hostile(Hostility::Text(max_bytes)));
    }
    Ok(out)
}

/// The character that `&name;` stands for.
pub(super) fn reference(name: &str) -> Result<char, BadText> {
    let code = match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => match name.strip_prefix('#') {
            None => return Err(BadText::Hostile(Hostility::Entity)),
            Some(number) => match number.strip_prefix('x') {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(digits, 16),
                None if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse(),
                _ => return Err(BadText::Structure("a malformed character reference")),
            },
        },
    };
    code.ok()
        .and_then(char::from_u32)
        .filter(|character| is_fhir_char(*character))
        .ok_or(BadText::Structure("a reference to a character that XML cannot hold"))
}

/// Appends `text` so that it survives as an attribute value or as element text.
pub(super) fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, 0..0x20 | b'&' | b'<' | b'>' | b'"' | 0xEF)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\n') => out.push_str("&#10;"),
            Some('\r') => out.push_str("&#13;"),
            Some('\t') => out.push_str("&#9;"),
            // Parsers refuse other characters; a tree made by a program may still hold one.
            Some(character) => out.push(if is_fhir_char(character) { character } else { '\u{FFFD}' }),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}
