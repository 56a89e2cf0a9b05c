//! Finds the attribute `value` of the element `data` right below the root in XML text.

use super::decoder::Decoder;
use super::{Problem, Rest, STAND_IN};

/// Longest reference in the content: `&#x0000A;`.
const REFERENCE_BYTES: usize = 10;

/// Where in the text the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between tags.
    #[default]
    Text,
    /// Behind `<`; the name of the tag is collected.
    Name,
    /// In a start tag, between attributes.
    Tag { is_data: bool, slash: bool },
    /// In the name of an attribute of `data`, up to its value.
    Attribute,
    /// In a quoted value that stays as it is.
    Quoted { quote: u8, is_data: bool },
    /// In an end tag.
    EndTag,
    /// In a comment, processing instruction or CDATA section, up to this end.
    Until(&'static [u8]),
    /// In what the parser refuses; nothing behind it is looked at.
    Opaque,
    /// In the content.
    Data { quote: u8 },
    /// In a reference in the content.
    Reference { quote: u8 },
}

/// Scans XML.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    depth: usize,
    /// The last bytes of interest: of a name, a reference, or a possible end of [`State::Until`].
    word: Vec<u8>,
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
            State::Data { quote } => return self.content(left, byte, quote, rest, decoder),
            State::Reference { quote } => return self.reference(byte, quote, decoder),
            State::Attribute if matches!(byte, b'"' | b'\'') && self.word == b"value=" && !self.has_taken => {
                self.has_taken = true;
                self.state = State::Data { quote: byte };
                rest.keep(&[byte])?;
                rest.keep(STAND_IN.as_bytes())?;
                return Ok(1);
            }
            _ => {}
        }
        rest.keep(&[byte])?;
        self.state = self.next(byte);
        Ok(1)
    }

    /// Follows the structure; it is not checked here.
    fn next(&mut self, byte: u8) -> State {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.state {
            State::Text if byte == b'<' => {
                self.word.clear();
                State::Name
            }
            State::Name => self.name(byte, is_blank),
            State::Tag { is_data, slash } => self.tag(byte, is_blank, is_data, slash),
            State::Attribute => match byte {
                b'"' | b'\'' => State::Quoted { quote: byte, is_data: true },
                b'>' | b'/' => self.tag(byte, false, true, false),
                _ => {
                    if !is_blank && self.word.len() <= 6 {
                        self.word.push(byte);
                    }
                    State::Attribute
                }
            },
            State::Quoted { quote, is_data } if byte == quote => State::Tag { is_data, slash: false },
            State::EndTag if byte == b'>' => {
                self.depth = self.depth.saturating_sub(1);
                State::Text
            }
            State::Until(end) => {
                if self.word.len() >= end.len() {
                    self.word.remove(0);
                }
                self.word.push(byte);
                if self.word == end { State::Text } else { State::Until(end) }
            }
            other => other,
        }
    }

    fn name(&mut self, byte: u8, is_blank: bool) -> State {
        if self.word.is_empty() && byte == b'/' {
            return State::EndTag;
        }
        if is_blank || matches!(byte, b'>' | b'/') {
            let local = self.word.rsplit(|byte| *byte == b':').next().unwrap_or_default();
            let is_data = self.depth == 1 && local == b"data";
            return self.tag(byte, is_blank, is_data, false);
        }
        if self.word.len() < 64 {
            self.word.push(byte);
        }
        let special: Option<&'static [u8]> = match self.word.as_slice() {
            b"?" => Some(b"?>"),
            b"!--" => Some(b"-->"),
            b"![CDATA[" => Some(b"]]>"),
            _ => None,
        };
        match (special, self.word.as_slice()) {
            (Some(end), _) => {
                self.word.clear();
                State::Until(end)
            }
            (None, [b'!', more @ ..]) if !b"--".starts_with(more) && !b"[CDATA[".starts_with(more) => State::Opaque,
            _ => State::Name,
        }
    }

    fn tag(&mut self, byte: u8, is_blank: bool, is_data: bool, slash: bool) -> State {
        match byte {
            b'>' => {
                if !slash {
                    self.depth = self.depth.saturating_add(1);
                }
                State::Text
            }
            b'/' => State::Tag { is_data, slash: true },
            b'"' | b'\'' => State::Quoted { quote: byte, is_data },
            _ if is_data && !is_blank => {
                self.word.clear();
                self.word.push(byte);
                State::Attribute
            }
            _ => State::Tag { is_data, slash: slash && is_blank },
        }
    }

    fn content(
        &mut self,
        left: &[u8],
        byte: u8,
        quote: u8,
        rest: &mut Rest,
        decoder: &mut Decoder,
    ) -> Result<usize, Problem> {
        let run = decoder.take_run(left);
        if run > 0 {
            return Ok(run);
        }
        if byte == quote {
            rest.keep(&[byte])?;
            self.state = State::Tag { is_data: true, slash: false };
        } else if byte == b'&' {
            self.word.clear();
            self.state = State::Reference { quote };
        } else {
            decoder.take(byte).map_err(Problem::Content)?;
        }
        Ok(1)
    }

    fn reference(&mut self, byte: u8, quote: u8, decoder: &mut Decoder) -> Result<usize, Problem> {
        const MALFORMED: Problem = Problem::Content("a reference that base64 does not have");
        if byte != b';' {
            self.word.push(byte);
            return if self.word.len() > REFERENCE_BYTES { Err(MALFORMED) } else { Ok(1) };
        }
        let number = std::str::from_utf8(&self.word).ok().and_then(|word| word.strip_prefix('#'));
        let code = number.and_then(|number| match number.strip_prefix('x') {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16)),
            None => number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse()),
        });
        let Some(Ok(character)) = code else { return Err(MALFORMED) };
        decoder.take(character).map_err(Problem::Content)?;
        self.state = State::Data { quote };
        Ok(1)
    }
}
