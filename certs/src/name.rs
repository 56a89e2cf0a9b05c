//! Distinguished names: the text of RFC 4514 and the attributes that rules ask for.
//!
//! The text is made by us and not taken from the parser library because it goes into audit records and terminals: every
//! character that RFC 4514 reserves and every control character is escaped, so a name cannot forge a second log field,
//! and all ASN.1 string types that hospital CAs have used (Teletex, BMP, Universal) are decoded.

use std::fmt;

use serde::Serialize;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::X509Name;

use crate::limits;

/// Attribute types with the name that operators know them by. The first nine are the table of RFC 4514 section 3.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.12", "title"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
];

/// A distinguished name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Name {
    text: String,
    attributes: Vec<Attribute>,
    #[serde(skip)]
    der: Vec<u8>,
}

/// One attribute of a name, in the order of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Attribute {
    /// The short name, or the dotted OID of types without one.
    pub kind: String,
    /// The decoded text; hex with a leading `#` for values that are no strings.
    pub value: String,
}

impl Name {
    pub(crate) fn read(name: &X509Name<'_>) -> Self {
        let mut attributes = Vec::new();
        let mut parts = Vec::new();
        for rdn in name.iter_rdn() {
            let mut part = String::new();
            for attribute in rdn.iter() {
                if attributes.len() >= limits::NAMES {
                    break;
                }
                let oid = attribute.attr_type().to_id_string();
                let kind = ATTRIBUTES.iter().find(|(id, _)| *id == oid).map_or(oid.as_str(), |(_, name)| name);
                let (value, is_text) = decode(attribute.attr_value());
                if !part.is_empty() {
                    part.push('+');
                }
                part.push_str(kind);
                part.push('=');
                if is_text {
                    escape(&value, &mut part)
                } else {
                    part.push_str(&value)
                }
                attributes.push(Attribute { kind: kind.to_owned(), value });
            }
            parts.push(part);
        }
        parts.reverse();
        Self { text: parts.join(","), attributes, der: name.as_raw().to_vec() }
    }

    /// The text of RFC 4514: most specific part first.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The DER of the name, which is what chains are built by.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it has no attribute at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// All attributes in the order of the certificate.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The values of one attribute type (`CN`, `C`, `O`, `emailAddress`, ...), in the order of the certificate.
    pub fn values<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value.as_str())
    }

    /// The first common name.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.values("CN").next()
    }

    /// The common name, or what best stands for it in a table: organisation, then the whole name.
    #[must_use]
    pub fn short(&self) -> &str {
        self.common_name().or_else(|| self.values("O").next()).unwrap_or(if self.text.is_empty() {
            "(empty name)"
        } else {
            &self.text
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text of an attribute value, and whether it was a string type.
fn decode(value: &Any<'_>) -> (String, bool) {
    let bytes = value.data;
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            // Some CAs put Latin-1 into these; losing the umlaut is better than losing the name.
            String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| latin1(bytes))
        }
        Tag::T61String => latin1(bytes),
        Tag::BmpString => bmp(bytes),
        Tag::UniversalString => universal(bytes),
        _ => {
            let mut hex = String::from("#");
            for byte in bytes {
                hex.push_str(&format!("{byte:02x}"));
            }
            return (hex, false);
        }
    };
    (text, true)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bmp(bytes: &[u8]) -> String {
    let units = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0xFFFD,
    });
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn universal(bytes: &[u8]) -> String {
    bytes
        .chunks(4)
        .map(|four| match four {
            [a, b, c, d] => char::from_u32(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(char::REPLACEMENT_CHARACTER),
            _ => char::REPLACEMENT_CHARACTER,
        })
        .collect()
}

/// RFC 4514 section 2.4, and hex pairs for characters that could move a cursor or reverse a line.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (position, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            ' ' if position == 0 || position == last => out.push_str("\\ "),
            '#' if position == 0 => out.push_str("\\#"),
            _ if is_unprintable(character) => {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    out.push_str(&format!("\\{byte:02X}"));
                }
            }
            _ => out.push(character),
        }
    }
}

/// Controls, line separators and the marks that change the direction of text.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests;
