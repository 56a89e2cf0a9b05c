//! A Binary in its FHIR form, taken apart while it passes.
//!
//! The content of a Binary may be larger than memory, and in JSON and XML it stands inside the resource as base64. A
//! [`BinaryReader`] is given the body piece by piece, in pieces of any size. It hands out the decoded content as it comes
//! and keeps the rest, the resource with a short text in place of `data`, which at the end is read by the ordinary strict
//! parser.
//!
//! Invariant: the scanners (`json`, `xml`) only find where `data` begins and ends; they judge nothing else. Should one of
//! them see `data` where the parser sees something else, the text that was put there is not in the parser's `data`, and
//! the body is refused. Gateway and engine use this same reader.

mod decoder;
mod json;
mod xml;

use crate::error::{Hostility, Position};
use crate::{Format, Limits, ParseError, Resource, Value, parse};
use decoder::Decoder;

/// Stands for the content while the rest is parsed.
const STAND_IN: &str = "AAAA";

/// Reads one Binary.
#[derive(Debug)]
pub struct BinaryReader {
    format: Format,
    limits: Limits,
    scanner: Scanner,
    rest: Rest,
    decoder: Decoder,
    place: Place,
}

/// What was read.
#[derive(Debug)]
pub struct ReadBinary {
    /// The resource without `data`.
    pub resource: Resource,
    /// Whether it had `data`, of any length.
    pub has_data: bool,
}

#[derive(Debug)]
enum Scanner {
    Json(json::Scanner),
    Xml(xml::Scanner),
}

/// Everything but the content.
#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    limit: usize,
}

/// How far the body was read, for messages.
#[derive(Debug)]
struct Place {
    offset: usize,
    line: usize,
    column: usize,
}

/// What is wrong at a byte.
#[derive(Debug)]
enum Problem {
    /// The rest of the resource is too large.
    Large,
    /// The content is not what it must be.
    Content(&'static str),
}

// === impl BinaryReader ===

impl BinaryReader {
    /// For a body whose parts other than the content keep `limits`.
    #[must_use]
    pub fn new(format: Format, limits: Limits) -> Self {
        let scanner = match format {
            Format::Json => Scanner::Json(json::Scanner::default()),
            Format::Xml => Scanner::Xml(xml::Scanner::default()),
        };
        let rest = Rest { bytes: Vec::new(), limit: limits.bytes };
        let place = Place { offset: 0, line: 1, column: 1 };
        Self { format, limits, scanner, rest, decoder: Decoder::default(), place }
    }

    /// A reader for the same body from its beginning.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.format, self.limits)
    }

    /// Takes the next bytes of the body and appends what they hold of the content.
    pub fn push(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> Result<(), ParseError> {
        let mut at = 0;
        while let Some(left) = bytes.get(at..).filter(|left| !left.is_empty()) {
            let step = match &mut self.scanner {
                Scanner::Json(scanner) => scanner.step(left, &mut self.rest, &mut self.decoder),
                Scanner::Xml(scanner) => scanner.step(left, &mut self.rest, &mut self.decoder),
            };
            let problem = match step {
                Ok(taken) => {
                    at += taken.max(1);
                    match self.decoder.drain_to(content) {
                        Ok(()) => continue,
                        Err(text) => Problem::Content(text),
                    }
                }
                Err(problem) => problem,
            };
            let position = self.place.after(bytes.get(..at).unwrap_or(bytes));
            return Err(match problem {
                Problem::Large => ParseError::Hostile { reason: Hostility::Bytes(self.limits.bytes), position },
                Problem::Content(text) => ParseError::Structure { text: text.to_owned(), position },
            });
        }
        let Position { offset, line, column } = self.place.after(bytes);
        self.place = Place { offset, line, column };
        Ok(())
    }

    /// Ends the body: gives the resource and appends the end of the content.
    pub fn finish(mut self, content: &mut Vec<u8>) -> Result<ReadBinary, ParseError> {
        let position = self.place.after(&[]);
        let structure = |text: &str| ParseError::Structure { text: text.to_owned(), position };
        let mut resource = parse(self.format, &self.rest.bytes, &self.limits)?;
        let taken = match &self.scanner {
            Scanner::Json(scanner) => scanner.has_taken(),
            Scanner::Xml(scanner) => scanner.has_taken(),
        };
        let has_data = match resource.remove("data") {
            None if taken => return Err(structure("data stands where none can be")),
            None => false,
            Some(Value::String(text)) if taken => {
                if text != STAND_IN {
                    return Err(structure("data stands where none can be"));
                }
                true
            }
            // Written so that only the parser recognises it, for example with an escape in its name.
            Some(Value::String(text)) => {
                self.decoder.take_all(text.as_bytes()).map_err(structure)?;
                true
            }
            Some(_) => return Err(structure("data is no text")),
        };
        self.decoder.finish(content).map_err(structure)?;
        Ok(ReadBinary { resource, has_data })
    }
}

// === impl Rest ===

impl Rest {
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            return Err(Problem::Large);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

// === impl Place ===

impl Place {
    /// The place after more bytes.
    fn after(&self, bytes: &[u8]) -> Position {
        let within = Position::of(bytes, bytes.len());
        let column = if within.line == 1 { self.column + within.column - 1 } else { within.column };
        Position { offset: self.offset + within.offset, line: self.line + within.line - 1, column }
    }
}

#[cfg(test)]
mod tests;
