//! The arrays of column files, and numbers in bytes.

use crate::folder::key::ResourceKey;

/// The first bytes of every column file; the number is the version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"schleus1";

/// Bytes of the trailer: position and number of the sections, magic.
pub(crate) const TRAILER_BYTES: u64 = 8 + 8 + 8;

/// An array of a segment or a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Row -> number of its person in this segment, or [`NOBODY`].
    RowPerson,
    /// Row -> number of its file, and [`COPIED`] if the resource is in the copies of the index.
    RowFile,
    /// Row -> first byte in the file.
    RowOffset,
    /// Row -> bytes.
    RowLength,
    /// Row -> identity of the resource.
    RowKey,
    /// Identities with their rows, sorted.
    SortedKeys,
    /// Person -> first byte of the id, and one more for the end.
    PersonOffsets,
    /// Ids of persons, sorted.
    PersonText,
    /// Person -> first row, and one more for the end. Rows are ordered by person; those of nobody come last.
    PersonRows,
    /// Dictionary: first byte of the key, and one more for the end.
    TermOffsets,
    /// Dictionary: keys, sorted.
    TermText,
    /// Dictionary: first byte and number of the entries.
    TermEntries,
    /// Entries.
    Entries,
}

impl Section {
    pub(crate) const COUNT: usize = 13;

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A row that belongs to nobody.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Set in the number of a file if the row's resource was copied out of a Bundle.
pub(crate) const COPIED: u32 = 1 << 31;

/// Bytes of an entry, by the first letter of its key.
pub(crate) const fn entry_bytes(kind: u8) -> usize {
    match kind {
        b'Q' | b'V' | b'D' => 12,
        b'R' => 20,
        _ => 4,
    }
}

/// Numbers at the beginning of bytes; bytes that are too short are a damaged file, which the caller finds by the length.
pub(crate) fn u32_at(bytes: &[u8], position: usize) -> u32 {
    u32::from_le_bytes(array(bytes, position))
}

pub(crate) fn i32_at(bytes: &[u8], position: usize) -> i32 {
    i32::from_le_bytes(array(bytes, position))
}

pub(crate) fn u64_at(bytes: &[u8], position: usize) -> u64 {
    u64::from_le_bytes(array(bytes, position))
}

pub(crate) fn f64_at(bytes: &[u8], position: usize) -> f64 {
    f64::from_le_bytes(array(bytes, position))
}

pub(crate) fn key_at(bytes: &[u8], position: usize) -> ResourceKey {
    array(bytes, position)
}

fn array<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    let end = position.saturating_add(N);
    bytes.get(position..end).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}
