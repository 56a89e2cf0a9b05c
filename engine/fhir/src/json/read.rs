//! The JSON reader: one pass over the bytes, recursion bounded by [`Limits::depth`].

use std::collections::HashSet;

use crate::error::Hostility;
use crate::text::{is_fhir_char, utf_8};
use crate::{Limits, Number, Object, ParseError, Value, limits};

/// Objects up to this size are searched for duplicates one by one; larger ones with a set.
const LINEAR_SEARCH: usize = 24;

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Open objects and arrays.
    containers: usize,
    /// Open objects: what counts as a level in XML too.
    objects: usize,
    members: usize,
    limits: &'a Limits,
}

/// Reads the value that `bytes` consists of.
pub(super) fn value(bytes: &[u8], limits: &Limits) -> Result<Value, ParseError> {
    if bytes.len() > limits.bytes {
        return Err(ParseError::hostile(Hostility::Bytes(limits.bytes), bytes, limits.bytes));
    }
    let text = match utf_8(bytes) {
        Ok(text) if !text.starts_with('\u{FEFF}') => text,
        Ok(_) => return Err(ParseError::hostile(Hostility::Encoding, bytes, 0)),
        Err(offset) => return Err(ParseError::hostile(Hostility::Encoding, bytes, offset)),
    };
    let mut reader = Reader { text, bytes, at: 0, containers: 0, objects: 0, members: 0, limits };
    reader.skip_blanks();
    let value = reader.value()?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.structure("text after the value")),
    }
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, ParseError> {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => {
                self.at += 1;
                Ok(Value::String(self.string(self.limits.string_bytes)?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(_) => Err(self.structure("no JSON value")),
            None => Err(self.structure("the text ends where a value is expected")),
        }
    }

    fn object(&mut self) -> Result<Value, ParseError> {
        self.objects += 1;
        self.enter()?;
        let object = self.members()?;
        self.objects -= 1;
        self.containers -= 1;
        Ok(Value::Object(object))
    }

    /// Reads behind the opening brace to behind the closing one.
    fn members(&mut self) -> Result<Object, ParseError> {
        let mut object = Object::new();
        let mut names = HashSet::new();
        self.skip_blanks();
        if self.take(b'}') {
            return Ok(object);
        }
        loop {
            let name_at = self.at;
            if !self.take(b'"') {
                return Err(self.structure("expected a member name"));
            }
            let name = self.string(limits::NAME_BYTES)?;
            if is_duplicate(&object, &mut names, &name) {
                return Err(ParseError::hostile(Hostility::DuplicateKey(name), self.bytes, name_at));
            }
            self.count_member()?;
            if object.len() >= self.limits.object_members {
                return Err(self.hostile(Hostility::Members(self.limits.object_members)));
            }
            self.skip_blanks();
            if !self.take(b':') {
                return Err(self.structure("expected a colon"));
            }
            self.skip_blanks();
            let value = self.value()?;
            object.append_unchecked(name, value);
            self.skip_blanks();
            if self.take(b',') {
                self.skip_blanks();
            } else if self.take(b'}') {
                return Ok(object);
            } else {
                return Err(self.structure("expected a comma or the end of the object"));
            }
        }
    }

    fn array(&mut self) -> Result<Value, ParseError> {
        self.enter()?;
        let mut elements = Vec::new();
        self.skip_blanks();
        if self.take(b']') {
            self.containers -= 1;
            return Ok(Value::Array(elements));
        }
        loop {
            self.count_member()?;
            elements.push(self.value()?);
            self.skip_blanks();
            if self.take(b',') {
                self.skip_blanks();
            } else if self.take(b']') {
                self.containers -= 1;
                return Ok(Value::Array(elements));
            } else {
                return Err(self.structure("expected a comma or the end of the array"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .take(limits::NUMBER_BYTES + 1)
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        if length > limits::NUMBER_BYTES {
            return Err(self.hostile(Hostility::Text(limits::NUMBER_BYTES)));
        }
        let text = self.text.get(self.at..self.at + length).unwrap_or_default();
        let number = Number::parse(text).ok_or_else(|| self.structure("no JSON number"))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.structure("no JSON value"))
        }
    }

    /// Reads after the opening quote to behind the closing one.
    fn string(&mut self, max_bytes: usize) -> Result<String, ParseError> {
        let mut out = String::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            // 0xEF opens the only two multi-byte characters that need a look: U+FFFE and U+FFFF.
            let Some(run) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7F | 0xEF)) else {
                return Err(ParseError::structure("the string does not end", self.bytes, self.bytes.len()));
            };
            if out.len() + run > max_bytes {
                return Err(self.hostile(Hostility::Text(max_bytes)));
            }
            out.push_str(self.text.get(self.at..self.at + run).unwrap_or_default());
            self.at += run;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    self.push_char(&mut out, character)?;
                }
                _ => {
                    let character = self.text.get(self.at..).and_then(|rest| rest.chars().next());
                    match character {
                        Some(character) if !character.is_control() || character == '\u{7F}' => {
                            self.push_char(&mut out, character)?;
                            self.at += character.len_utf8();
                        }
                        _ => return Err(self.structure("a control character in a string")),
                    }
                }
            }
        }
    }

    fn push_char(&self, out: &mut String, character: char) -> Result<(), ParseError> {
        if !is_fhir_char(character) {
            return Err(self.structure("a character that FHIR strings cannot hold"));
        }
        out.push(character);
        Ok(())
    }

    /// Reads a backslash and what belongs to it.
    fn escape(&mut self) -> Result<char, ParseError> {
        let kind = self.bytes.get(self.at + 1).copied();
        self.at += 2;
        Ok(match kind {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.structure("unknown escape")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let first = self.four_hex_digits()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
                    return Err(self.structure("a lone surrogate"));
                }
                self.at += 2;
                match self.four_hex_digits()? {
                    second @ 0xDC00..=0xDFFF => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => return Err(self.structure("a lone surrogate")),
                }
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.structure("a lone surrogate"))
    }

    fn four_hex_digits(&mut self) -> Result<u32, ParseError> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let value = char::from(*digit).to_digit(16).ok_or_else(|| self.structure("no hexadecimal digit"))?;
            code = code * 16 + value;
        }
        if digits.is_empty() {
            return Err(self.structure("the text ends in an escape"));
        }
        self.at += 4;
        Ok(code)
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        self.at += 1;
        self.containers += 1;
        if self.objects > self.limits.depth || self.containers > self.limits.depth.saturating_mul(2) {
            return Err(self.hostile(Hostility::Depth(self.limits.depth)));
        }
        Ok(())
    }

    fn count_member(&mut self) -> Result<(), ParseError> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(self.hostile(Hostility::Members(self.limits.members)));
        }
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn structure(&self, text: &str) -> ParseError {
        ParseError::structure(text, self.bytes, self.at)
    }

    fn hostile(&self, reason: Hostility) -> ParseError {
        ParseError::hostile(reason, self.bytes, self.at)
    }
}

/// Whether `name` is in `object` already; `names` mirrors the names of objects that grow large.
fn is_duplicate(object: &Object, names: &mut HashSet<String>, name: &str) -> bool {
    if object.len() < LINEAR_SEARCH {
        return object.get(name).is_some();
    }
    if names.is_empty() {
        names.extend(object.iter().map(|(known, _)| known.to_owned()));
    }
    !names.insert(name.to_owned())
}
