//! The form of one line and how lines hang together.
//!
//! ```text
//! {"sequence":7,"time":"2026-11-22T13:00:00.000Z","previous":"<64 hex>","record":{...},"hash":"<64 hex>"}
//! ```
//! The hash covers every byte of the line before `,"hash"`; since that includes `previous`, it covers the whole past.

use std::fmt;
use std::io::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// What stands between the hashed bytes and the hash.
const HASH_FIELD: &[u8] = b",\"hash\":\"";
/// What ends a line.
const LINE_END: &[u8] = b"\"}\n";
/// Length of the sealed end of a line: field name, 64 hex digits, end.
const SEAL_BYTES: usize = HASH_FIELD.len() + 64 + LINE_END.len();

/// `previous` of the first record of a chain.
pub const GENESIS: Hash = Hash([0; 32]);

/// A SHA-256, written as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// A moment, written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub OffsetDateTime);

/// The readable part of a line.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) time: String,
    pub(crate) previous: String,
}

/// Why a line is not part of the chain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not in the form above.
    #[error("line has not the form of an audit record")]
    Form,
    /// The content does not give the hash at its end.
    #[error("content does not match its hash")]
    Hash,
    /// The line before is not the one that it names.
    #[error("record does not follow the one before it")]
    Previous,
    /// What stands in the record is wrong.
    #[error("{0}")]
    Content(String),
    /// A number is missing or repeated.
    #[error("sequence is {found} where {expected} is due")]
    Sequence {
        /// Number that is due.
        expected: u64,
        /// Number that stands there.
        found: u64,
    },
}

/// Appends one sealed line to `out` and returns its hash.
pub(crate) fn seal(
    out: &mut Vec<u8>,
    sequence: u64,
    now: OffsetDateTime,
    previous: Hash,
    record: &impl Serialize,
) -> Result<Hash, serde_json::Error> {
    let start = out.len();
    // Writing to a vector cannot fail.
    let _ = write!(out, "{{\"sequence\":{sequence},\"time\":\"{}\",\"previous\":\"{previous}\",\"record\":", Time(now));
    serde_json::to_writer(&mut *out, record)?;
    let hash = Hash::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(HASH_FIELD);
    let _ = write!(out, "{hash}");
    out.extend_from_slice(LINE_END);
    Ok(hash)
}

/// Checks one line, with its line feed, by itself; returns its content and hash.
pub(crate) fn open(line: &[u8]) -> Result<(Line, Hash), LineError> {
    let hashed = line.len().checked_sub(SEAL_BYTES).ok_or(LineError::Form)?;
    let (content, sealed) = line.split_at_checked(hashed).ok_or(LineError::Form)?;
    let hash = Hash::of(content);
    let mut expected = Vec::with_capacity(SEAL_BYTES);
    expected.extend_from_slice(HASH_FIELD);
    let _ = write!(expected, "{hash}");
    expected.extend_from_slice(LINE_END);
    if sealed != expected {
        return Err(LineError::Hash);
    }
    // The whole line is JSON; serde ignores `record` and `hash`, which need no further reading.
    let json = line.strip_suffix(b"\n").ok_or(LineError::Form)?;
    let content = serde_json::from_slice(json).map_err(|_| LineError::Form)?;
    Ok((content, hash))
}

// === impl Hash ===

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Time ===

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.0.to_offset(time::UtcOffset::UTC);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            utc.year(),
            u8::from(utc.month()),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second(),
            utc.millisecond()
        )
    }
}
