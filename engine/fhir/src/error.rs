//! Why a body could not be read.
//!
//! The two kinds get different answers (`architecture.md` section 6): what no honest client sends is refused by the
//! gateway with 400, everything else that cannot be read is 403 `structure` as in the reference.

use std::fmt;

/// A body that is not a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body tries to cost more than it may, or is ambiguous between parsers.
    #[error("hostile body: {reason} at {position}")]
    Hostile {
        /// What was seen.
        reason: Hostility,
        /// Where.
        position: Position,
    },
    /// The body is malformed or is not FHIR.
    #[error("unreadable body: {text} at {position}")]
    Structure {
        /// What is wrong.
        text: String,
        /// Where.
        position: Position,
    },
}

/// What makes a body hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hostility {
    /// More bytes than allowed.
    #[error("more than {0} bytes")]
    Bytes(usize),
    /// Deeper nesting than allowed.
    #[error("nested deeper than {0}")]
    Depth(usize),
    /// More members than allowed.
    #[error("more than {0} members")]
    Members(usize),
    /// A longer string, number or name than allowed.
    #[error("a text of more than {0} bytes")]
    Text(usize),
    /// A member or attribute occurs twice.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// Bytes in another encoding than UTF-8, or a byte order mark in JSON.
    #[error("an encoding other than UTF-8")]
    Encoding,
    /// A document type declaration.
    #[error("a document type declaration")]
    DocumentType,
    /// A reference to an entity that XML does not define.
    #[error("an entity reference")]
    Entity,
    /// A processing instruction.
    #[error("a processing instruction")]
    ProcessingInstruction,
}

/// A place in a body; line and column count from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes before the place.
    pub offset: usize,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

// === impl ParseError ===

impl ParseError {
    /// Whether the gateway answers 400 instead of 403 `structure`.
    #[must_use]
    pub const fn is_hostile(&self) -> bool {
        matches!(self, Self::Hostile { .. })
    }

    /// Where the error was noticed.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self {
            Self::Hostile { position, .. } | Self::Structure { position, .. } => *position,
        }
    }

    pub(crate) fn hostile(reason: Hostility, body: &[u8], offset: usize) -> Self {
        Self::Hostile { reason, position: Position::of(body, offset) }
    }

    pub(crate) fn structure(text: impl Into<String>, body: &[u8], offset: usize) -> Self {
        Self::Structure { text: text.into(), position: Position::of(body, offset) }
    }
}

// === impl Position ===

impl Position {
    /// The place after `offset` bytes of `body`.
    #[must_use]
    pub fn of(body: &[u8], offset: usize) -> Self {
        let offset = offset.min(body.len());
        let before = body.get(..offset).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let in_line = before.get(line_start..).unwrap_or_default();
        let column = 1 + in_line.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        Self { offset, line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}
