//! The raw head of an HTTP/1.1 request, judged before the HTTP parser sees a byte of it.
//!
//! Parsers are lenient in different ways, and a difference between two of them is what request smuggling is made of. The
//! connection therefore holds a head back until it is complete and passes only heads that have exactly one reading:
//! CRLF line ends, one space between the parts of the request line, tokens as names, one framing. The findings for
//! pingora (`Content-Length` with `Transfer-Encoding`, bare LF, raw spaces in targets) are all decided here.

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadRefusal {
    /// More than [`HeadLimits::bytes`] without an end.
    #[error("request head is too large")]
    TooLarge,
    /// More than [`HeadLimits::fields`] fields.
    #[error("too many header fields")]
    TooManyFields,
    /// Not completed in time.
    #[error("request head was not completed in time")]
    TimedOut,
    /// LF without CR, or CR without LF.
    #[error("line does not end with CRLF")]
    LineEnd,
    /// Not `METHOD SP TARGET SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// A target that is no path: absolute, authority or asterisk form.
    #[error("request target is not in origin form")]
    TargetForm,
    /// `CONNECT`, which would change what the connection carries.
    #[error("method connect is not allowed")]
    Connect,
    /// A version other than 1.1, or 1.0 without the framing of 1.1.
    #[error("unsupported http version")]
    Version,
    /// A continued line (obs-fold), a name that is no token, a space before the colon, an underscore in a name.
    #[error("malformed header field name")]
    FieldName,
    /// A control character in a value.
    #[error("control character in header field")]
    FieldValue,
    /// No `Host`.
    #[error("missing host")]
    HostMissing,
    /// More than one `Host`.
    #[error("more than one host")]
    HostRepeated,
    /// `Content-Length` with `Transfer-Encoding`, repeated, or not a plain number.
    #[error("ambiguous content length")]
    ContentLength,
    /// `Transfer-Encoding` other than exactly `chunked`, repeated, or in HTTP/1.0.
    #[error("unsupported transfer encoding")]
    TransferEncoding,
}

/// How far a head has been read.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The end has not been seen.
    Partial,
    /// The head ends before this offset and is good.
    Complete(usize),
    /// It must not be parsed.
    Refused(HeadRefusal),
}

/// Reads a head incrementally: remembers where the last scan stopped, so that a slow sender costs linear time.
#[derive(Debug)]
pub struct HeadScanner {
    limits: HeadLimits,
    scanned: usize,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, request line included.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

// === impl HeadScanner ===

impl HeadScanner {
    /// For the next head.
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self { limits, scanned: 0 }
    }

    /// Looks at everything received so far for this head; `bytes` grows from call to call.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        let rest = bytes.get(self.scanned..).unwrap_or_default();
        let from = self.scanned;
        for (offset, byte) in rest.iter().enumerate() {
            let at = from + offset;
            match byte {
                b'\n' if at == 0 || bytes.get(at - 1) != Some(&b'\r') => {
                    return Progress::Refused(HeadRefusal::LineEnd);
                }
                b'\n' if ends_head(bytes, at) => {
                    let end = at + 1;
                    if end > self.limits.bytes {
                        return Progress::Refused(HeadRefusal::TooLarge);
                    }
                    self.scanned = 0;
                    let head = bytes.get(..end).unwrap_or_default();
                    return judge(head, self.limits.fields)
                        .map_or_else(Progress::Refused, |()| Progress::Complete(end));
                }
                _ => {}
            }
        }
        if bytes.len() > self.limits.bytes {
            return Progress::Refused(HeadRefusal::TooLarge);
        }
        self.scanned = bytes.len();
        Progress::Partial
    }
}

/// Whether the LF at `at` closes an empty line; a head that begins with an empty line has no request line and ends there.
fn ends_head(bytes: &[u8], at: usize) -> bool {
    at == 1 || (at >= 3 && bytes.get(at - 3..at) == Some(b"\r\n\r"))
}

/// Judges a complete head.
fn judge(head: &[u8], most_fields: usize) -> Result<(), HeadRefusal> {
    let mut lines = Lines { rest: head };
    let version = judge_request_line(lines.next_line()?)?;
    let mut fields = 0_usize;
    let mut framing = Framing::default();
    loop {
        let line = lines.next_line()?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > most_fields {
            return Err(HeadRefusal::TooManyFields);
        }
        framing.take(line)?;
    }
    framing.finish(version)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn judge_request_line(line: &[u8]) -> Result<Version, HeadRefusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadRefusal::RequestLine);
    };
    // A fragment is never sent; what reads the target as a URI would cut it off silently.
    let good_target = !target.is_empty() && target.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b'#');
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || !good_target {
        return Err(HeadRefusal::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(HeadRefusal::Version),
    };
    if method == b"CONNECT" {
        return Err(HeadRefusal::Connect);
    }
    if target.first() == Some(&b'/') { Ok(version) } else { Err(HeadRefusal::TargetForm) }
}

/// What a head says about the length of its body and about the host.
#[derive(Default)]
struct Framing {
    host: bool,
    content_length: bool,
    chunked: bool,
}

impl Framing {
    fn take(&mut self, line: &[u8]) -> Result<(), HeadRefusal> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(HeadRefusal::FieldName)?;
        let (name, value) = line.split_at_checked(colon).ok_or(HeadRefusal::FieldName)?;
        // A folded line begins with white space and a space before the colon ends the name: both are no tokens. An
        // underscore is one, but becomes the same variable as a hyphen in gateways of older kinds.
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte) && *byte != b'_') {
            return Err(HeadRefusal::FieldName);
        }
        let value = value.get(1..).unwrap_or_default();
        if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(HeadRefusal::FieldValue);
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            if std::mem::replace(&mut self.host, true) {
                return Err(HeadRefusal::HostRepeated);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let plain = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
            if std::mem::replace(&mut self.content_length, true) || !plain {
                return Err(HeadRefusal::ContentLength);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding")
            && (std::mem::replace(&mut self.chunked, true) || !value.eq_ignore_ascii_case(b"chunked"))
        {
            return Err(HeadRefusal::TransferEncoding);
        }
        Ok(())
    }

    fn finish(self, version: Version) -> Result<(), HeadRefusal> {
        if self.chunked && self.content_length {
            return Err(HeadRefusal::ContentLength);
        }
        if self.chunked && version == Version::Http10 {
            return Err(HeadRefusal::TransferEncoding);
        }
        if self.host { Ok(()) } else { Err(HeadRefusal::HostMissing) }
    }
}

/// The lines of a head that is known to have LF only after CR.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<&'a [u8], HeadRefusal> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(HeadRefusal::LineEnd)?;
        let (line, rest) = self.rest.split_at_checked(end + 1).ok_or(HeadRefusal::LineEnd)?;
        self.rest = rest;
        let line = line.strip_suffix(b"\r\n").ok_or(HeadRefusal::LineEnd)?;
        if line.contains(&b'\r') { Err(HeadRefusal::LineEnd) } else { Ok(line) }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

// === impl HeadRefusal ===

impl HeadRefusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyFields => 431,
            Self::TimedOut => 408,
            Self::Version => 505,
            Self::Connect => 405,
            Self::LineEnd
            | Self::RequestLine
            | Self::TargetForm
            | Self::FieldName
            | Self::FieldValue
            | Self::HostMissing
            | Self::HostRepeated
            | Self::ContentLength
            | Self::TransferEncoding => 400,
        }
    }

    /// The stable code in audit records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "GW-HEAD-001",
            Self::TooManyFields => "GW-HEAD-002",
            Self::TimedOut => "GW-HEAD-003",
            Self::LineEnd => "GW-HEAD-004",
            Self::RequestLine => "GW-HEAD-005",
            Self::Version => "GW-HEAD-006",
            Self::FieldName => "GW-HEAD-007",
            Self::FieldValue => "GW-HEAD-008",
            Self::HostMissing => "GW-HEAD-009",
            Self::HostRepeated => "GW-HEAD-010",
            Self::ContentLength => "GW-HEAD-011",
            Self::TransferEncoding => "GW-HEAD-012",
            Self::TargetForm => "GW-HEAD-013",
            Self::Connect => "GW-HEAD-014",
        }
    }
}

#[cfg(test)]
mod tests;
