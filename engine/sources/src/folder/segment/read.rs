//! Reading column files by position.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{COPIED, MAGIC, Section, TRAILER_BYTES, entry_bytes, f64_at, i32_at, key_at, u32_at, u64_at};
use crate::date::Days;
use crate::error::ReadError;
use crate::folder::key::ResourceKey;

/// An open column file.
pub(crate) struct ColumnFile {
    path: PathBuf,
    file: File,
    sections: Vec<(u64, u64)>,
}

/// A segment.
pub(crate) struct Segment {
    pub(crate) columns: ColumnFile,
    pub(crate) rows: u32,
}

/// The dictionary of a segment, in memory.
pub(crate) struct Dictionary {
    offsets: Vec<u8>,
    text: Vec<u8>,
    entries: Vec<u8>,
}

/// Where the entries of a term are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    offset: u64,
    count: u32,
    kind: u8,
}

/// Where a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The file that it came in.
    pub(crate) file: u32,
    /// Whether it is in the copies of the index.
    pub(crate) is_copied: bool,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// Entries of a term.
pub(crate) struct Entries {
    bytes: Vec<u8>,
    size: usize,
}

// === impl ColumnFile ===

impl ColumnFile {
    pub(crate) fn open(path: &Path, sections: usize) -> Result<Self, ReadError> {
        let fail = |source| ReadError::File { path: path.to_owned(), source };
        let damaged = |reason: &str| ReadError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        let file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let trailer_at = length.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("too short"))?;
        let mut trailer = vec![0; TRAILER_BYTES as usize];
        file.read_exact_at(&mut trailer, trailer_at).map_err(fail)?;
        let (table, count) = (u64_at(&trailer, 0), u64_at(&trailer, 8));
        let fits = table.checked_add(count.saturating_mul(16)) == Some(trailer_at);
        if trailer.get(16..) != Some(MAGIC.as_slice()) || !fits || count != sections as u64 {
            return Err(damaged("no column file of this version, or not complete"));
        }
        let mut bytes = vec![0; sections * 16];
        file.read_exact_at(&mut bytes, table).map_err(fail)?;
        let sections: Vec<(u64, u64)> = bytes.chunks_exact(16).map(|part| (u64_at(part, 0), u64_at(part, 8))).collect();
        if sections.iter().any(|(offset, length)| offset.checked_add(*length).is_none_or(|end| end > table)) {
            return Err(damaged("an array beyond the end"));
        }
        Ok(Self { path: path.to_owned(), file, sections })
    }

    pub(crate) fn damaged(&self, reason: &str) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }

    pub(crate) fn length(&self, section: usize) -> u64 {
        self.sections.get(section).map_or(0, |(_, length)| *length)
    }

    /// A whole array.
    pub(crate) fn read_all(&self, section: usize) -> Result<Vec<u8>, ReadError> {
        let length = usize::try_from(self.length(section)).map_err(|_| self.damaged("an array is too large"))?;
        self.read(section, 0, length)
    }

    /// Part of an array.
    pub(crate) fn read(&self, section: usize, offset: u64, length: usize) -> Result<Vec<u8>, ReadError> {
        let (begin, size) = self.sections.get(section).copied().unwrap_or_default();
        if offset.checked_add(length as u64).is_none_or(|end| end > size) {
            return Err(self.damaged("an entry beyond its array"));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, begin + offset);
        read.map_err(|source| ReadError::File { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}

// === impl Segment ===

impl Segment {
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let columns = ColumnFile::open(path, Section::COUNT)?;
        let rows = columns.length(Section::RowPerson.index()) / 4;
        let rows = u32::try_from(rows).map_err(|_| columns.damaged("too many rows"))?;
        Ok(Self { columns, rows })
    }

    pub(crate) fn dictionary(&self) -> Result<Dictionary, ReadError> {
        let offsets = self.columns.read_all(Section::TermOffsets.index())?;
        let text = self.columns.read_all(Section::TermText.index())?;
        let entries = self.columns.read_all(Section::TermEntries.index())?;
        if offsets.len() / 4 != entries.len() / 12 + 1 {
            return Err(self.columns.damaged("the dictionary does not fit together"));
        }
        Ok(Dictionary { offsets, text, entries })
    }

    pub(crate) fn entries(&self, term: Term) -> Result<Entries, ReadError> {
        let size = entry_bytes(term.kind);
        let bytes =
            self.columns.read(Section::Entries.index(), term.offset, size.saturating_mul(term.count as usize))?;
        Ok(Entries { bytes, size })
    }

    /// Number of the person of every row.
    pub(crate) fn person_column(&self) -> Result<Vec<u8>, ReadError> {
        self.columns.read_all(Section::RowPerson.index())
    }

    pub(crate) fn key_column(&self) -> Result<Vec<u8>, ReadError> {
        self.columns.read_all(Section::RowKey.index())
    }

    /// How many persons.
    pub(crate) fn persons(&self) -> u32 {
        u32::try_from((self.columns.length(Section::PersonOffsets.index()) / 4).saturating_sub(1)).unwrap_or(0)
    }

    /// Ids of some persons, in order.
    pub(crate) fn persons_from(&self, first: u32, count: u32) -> Result<Vec<String>, ReadError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let section = Section::PersonOffsets.index();
        let places = self.columns.read(section, u64::from(first) * 4, (count as usize + 1) * 4)?;
        let (begin, end) = (u32_at(&places, 0), u32_at(&places, count as usize * 4));
        let length = end.checked_sub(begin).ok_or_else(|| self.columns.damaged("a text ends before it begins"))?;
        let text = self.columns.read(Section::PersonText.index(), u64::from(begin), length as usize)?;
        let id = |number: usize| {
            let from = u32_at(&places, number * 4).checked_sub(begin)? as usize;
            let to = u32_at(&places, number * 4 + 4).checked_sub(begin)? as usize;
            std::str::from_utf8(text.get(from..to)?).ok().map(str::to_owned)
        };
        (0..count as usize).map(|number| id(number).ok_or_else(|| self.columns.damaged("an id is no text"))).collect()
    }

    /// Id of a person.
    pub(crate) fn person(&self, number: u32) -> Result<String, ReadError> {
        let place = self.columns.read(Section::PersonOffsets.index(), u64::from(number) * 4, 8)?;
        let (begin, end) = (u32_at(&place, 0), u32_at(&place, 4));
        let length = end.checked_sub(begin).ok_or_else(|| self.columns.damaged("a text ends before it begins"))?;
        let text = self.columns.read(Section::PersonText.index(), u64::from(begin), length as usize)?;
        String::from_utf8(text).map_err(|_| self.columns.damaged("an id is no text"))
    }

    /// Number of a person, by its id.
    pub(crate) fn find_person(&self, id: &str) -> Result<Option<u32>, ReadError> {
        let (mut low, mut high) = (0, self.persons());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.person(middle)?.as_str().cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
            }
        }
        Ok(None)
    }

    /// Rows of a person.
    pub(crate) fn rows_of(&self, person: u32) -> Result<std::ops::Range<u32>, ReadError> {
        let place = self.columns.read(Section::PersonRows.index(), u64::from(person) * 4, 8)?;
        Ok(u32_at(&place, 0)..u32_at(&place, 4))
    }

    /// Row of a resource.
    pub(crate) fn find_row(&self, key: &ResourceKey) -> Result<Option<u32>, ReadError> {
        let section = Section::SortedKeys.index();
        let (mut low, mut high) = (0, self.columns.length(section) / 20);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.columns.read(section, middle * 20, 20)?;
            match key_at(&entry, 0).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(u32_at(&entry, 16))),
            }
        }
        Ok(None)
    }

    pub(crate) fn location(&self, row: u32) -> Result<Location, ReadError> {
        let row = u64::from(row);
        let file = self.columns.read(Section::RowFile.index(), row * 4, 4)?;
        let offset = self.columns.read(Section::RowOffset.index(), row * 8, 8)?;
        let length = self.columns.read(Section::RowLength.index(), row * 4, 4)?;
        let file = u32_at(&file, 0);
        Ok(Location {
            file: file & !COPIED,
            is_copied: file & COPIED != 0,
            offset: u64_at(&offset, 0),
            length: u32_at(&length, 0),
        })
    }
}

// === impl Dictionary ===

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() / 12
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> u32 {
        u32::try_from(self.offsets.len() + self.text.len() + self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn key(&self, index: usize) -> &str {
        let (begin, end) = (u32_at(&self.offsets, index * 4), u32_at(&self.offsets, index * 4 + 4));
        let bytes = self.text.get(begin as usize..end as usize).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) fn term(&self, index: usize) -> Term {
        let kind = self.key(index).bytes().next().unwrap_or_default();
        Term { offset: u64_at(&self.entries, index * 12), count: u32_at(&self.entries, index * 12 + 8), kind }
    }

    pub(crate) fn find(&self, key: &str) -> Option<Term> {
        let index = self.first_from(key);
        (index < self.len() && self.key(index) == key).then(|| self.term(index))
    }

    /// Terms whose keys begin so, with their keys.
    pub(crate) fn with_prefix<'d>(&'d self, prefix: &'d str) -> impl Iterator<Item = (&'d str, Term)> {
        let first = self.first_from(prefix);
        let found = (first..self.len()).map(|index| (self.key(index), index));
        found.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, index)| (key, self.term(index)))
    }

    /// The first that is not below.
    fn first_from(&self, key: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

// === impl Entries ===

impl Entries {
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.bytes.chunks_exact(self.size).map(|entry| u32_at(entry, 0))
    }

    pub(crate) fn quantities(&self) -> impl Iterator<Item = (u32, f64)> {
        self.bytes.chunks_exact(self.size).map(|entry| (u32_at(entry, 0), f64_at(entry, 4)))
    }

    pub(crate) fn days(&self) -> impl Iterator<Item = (u32, Days)> {
        self.bytes
            .chunks_exact(self.size)
            .map(|entry| (u32_at(entry, 0), Days { first: i32_at(entry, 4), last: i32_at(entry, 8) }))
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = (u32, ResourceKey)> {
        self.bytes.chunks_exact(self.size).map(|entry| (u32_at(entry, 0), key_at(entry, 4)))
    }
}

/// Dictionaries that are kept in memory, by segment.
pub(crate) type Dictionaries = moka::sync::Cache<usize, Arc<Dictionary>>;
