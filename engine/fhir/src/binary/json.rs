//! Finds the member `data` of the outermost object in JSON text.

use super::decoder::Decoder;
use super::{Problem, Rest, STAND_IN};

/// Where in the text the next byte is.
#[derive(Debug, Default)]
enum State {
    /// Between tokens, and in numbers and literals.
    #[default]
    Plain,
    /// In a text that stays as it is.
    Text { escaped: bool },
    /// In the name of a member of the outermost object.
    Name { escaped: bool },
    /// Behind the name `data`.
    Colon,
    /// Behind the colon of `data`.
    Value,
    /// In the content.
    Data,
    /// Behind a backslash in the content.
    Escape,
    /// In the digits of `\uXXXX` in the content.
    Unicode { digits: u8, code: u32 },
}

/// Scans JSON.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    depth: usize,
    /// The next text at the outermost level is the name of a member.
    expects_name: bool,
    /// The name so far, as far as it can be `data`.
    name: Vec<u8>,
    has_taken: bool,
}

impl Scanner {
    /// Whether content was found.
    pub(super) const fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// Takes a part of what is left; returns its length.
    pub(super) fn step(&mut self, left: &[u8], rest: &mut Rest, decoder: &mut Decoder) -> Result<usize, Problem> {
        let Some(byte) = left.first().copied() else { return Ok(0) };
        match self.state {
            State::Data => return self.content(left, byte, rest, decoder),
            State::Escape => return self.escape(byte, decoder),
            State::Unicode { digits, code } => return self.unicode(byte, digits, code, decoder),
            State::Text { escaped: false } => {
                // Most of what is not content is text.
                let end = left.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(left.len());
                if end > 0 {
                    rest.keep(left.get(..end).unwrap_or_default())?;
                    return Ok(end);
                }
            }
            _ => {}
        }
        if matches!(self.state, State::Value) && byte == b'"' && !self.has_taken {
            self.has_taken = true;
            self.state = State::Data;
            rest.keep(b"\"")?;
            rest.keep(STAND_IN.as_bytes())?;
            return Ok(1);
        }
        rest.keep(&[byte])?;
        self.token(byte);
        Ok(1)
    }

    /// Follows the structure; it is not checked here.
    fn token(&mut self, byte: u8) {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.state = match self.state {
            State::Text { escaped: true } => State::Text { escaped: false },
            State::Text { .. } => match byte {
                b'\\' => State::Text { escaped: true },
                b'"' => State::Plain,
                _ => State::Text { escaped: false },
            },
            State::Name { escaped } => {
                if byte == b'"' && !escaped {
                    if self.name == b"data" { State::Colon } else { State::Plain }
                } else {
                    if self.name.len() <= 4 {
                        self.name.push(byte);
                    }
                    State::Name { escaped: byte == b'\\' && !escaped }
                }
            }
            State::Colon if is_blank => State::Colon,
            State::Colon if byte == b':' => {
                self.expects_name = false;
                State::Value
            }
            State::Value if is_blank => State::Value,
            _ => self.structure(byte),
        };
    }

    fn structure(&mut self, byte: u8) -> State {
        match byte {
            b'"' if self.depth == 1 && self.expects_name => {
                self.name.clear();
                return State::Name { escaped: false };
            }
            b'"' => return State::Text { escaped: false },
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.expects_name = self.depth == 1 && byte == b'{';
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 => self.expects_name = true,
            b':' if self.depth == 1 => self.expects_name = false,
            _ => {}
        }
        State::Plain
    }

    fn content(&mut self, left: &[u8], byte: u8, rest: &mut Rest, decoder: &mut Decoder) -> Result<usize, Problem> {
        let run = decoder.take_run(left);
        if run > 0 {
            return Ok(run);
        }
        match byte {
            b'"' => {
                self.state = State::Plain;
                rest.keep(b"\"")?;
            }
            b'\\' => self.state = State::Escape,
            b'\t' | b'\n' | b'\r' => return Err(Problem::Content("a control character in a text")),
            _ => decoder.take(byte).map_err(Problem::Content)?,
        }
        Ok(1)
    }

    fn escape(&mut self, byte: u8, decoder: &mut Decoder) -> Result<usize, Problem> {
        self.state = State::Data;
        let character = match byte {
            b'/' => b'/',
            b'n' | b'r' | b't' => b' ',
            b'u' => {
                self.state = State::Unicode { digits: 0, code: 0 };
                return Ok(1);
            }
            _ => return Err(Problem::Content("an escape that base64 does not have")),
        };
        decoder.take(character).map_err(Problem::Content)?;
        Ok(1)
    }

    fn unicode(&mut self, byte: u8, digits: u8, code: u32, decoder: &mut Decoder) -> Result<usize, Problem> {
        let digit = char::from(byte).to_digit(16).ok_or(Problem::Content("a malformed escape"))?;
        let code = code * 16 + digit;
        self.state = if digits < 3 { State::Unicode { digits: digits + 1, code } } else { State::Data };
        if digits == 3 {
            let character = u8::try_from(code).map_err(|_| Problem::Content("data is no base64"))?;
            decoder.take(character).map_err(Problem::Content)?;
        }
        Ok(1)
    }
}
