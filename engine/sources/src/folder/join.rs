//! The generation: what holds over all segments. Persons have one number, and of two copies of a resource one counts.
//!
//! Everything is merged from sorted arrays, a few thousand entries of each segment at a time. Of two copies the one in
//! the later file (by path), then at the later place, counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use super::key::{self, ResourceKey};
use super::manifest::SegmentFile;
use super::segment::{ColumnWriter, NOBODY, Section, Segment, key_at, u32_at};
use super::set::PersonSet;
use crate::error::{IndexError, ReadError};

/// Sections of a generation: where the id of each person begins, the ids, who has a Patient resource; then for every
/// segment the numbers of its persons and its rows that do not count.
pub(crate) const PERSON_OFFSETS: usize = 0;
pub(crate) const PERSON_TEXT: usize = 1;
pub(crate) const PATIENTS: usize = 2;
const FIRST_OF_SEGMENTS: usize = 3;

/// Section with the numbers of a segment's persons.
pub(crate) const fn persons_of(segment: usize) -> usize {
    FIRST_OF_SEGMENTS + 2 * segment
}

/// Section with the rows of a segment that another copy replaces.
pub(crate) const fn replaced_of(segment: usize) -> usize {
    FIRST_OF_SEGMENTS + 2 * segment + 1
}

/// How many sections a generation of so many segments has.
pub(crate) const fn sections(segments: usize) -> usize {
    FIRST_OF_SEGMENTS + 2 * segments
}

/// Entries that are read at once.
const CHUNK: u32 = 4_096;

/// Why segments cannot be joined.
#[derive(Debug)]
pub(crate) enum JoinError {
    Read(ReadError),
    Write(std::io::Error),
}

impl From<ReadError> for JoinError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<std::io::Error> for JoinError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error)
    }
}

impl JoinError {
    pub(crate) fn at(self, path: &Path) -> IndexError {
        let (path, source) = match self {
            Self::Write(source) => (path.to_owned(), source),
            Self::Read(ReadError::File { path, source }) => (path, source),
            Self::Read(error) => (PathBuf::from(path), std::io::Error::other(error.to_string())),
        };
        IndexError::File { path, source }
    }
}

/// Writes the generation of these segments.
pub(crate) fn write(path: &Path, segments: &[Segment], files: &[SegmentFile]) -> Result<(), JoinError> {
    let replaced = replaced_rows(segments, files)?;
    let mut out = ColumnWriter::create(path)?;
    let (offsets, text, numbers) = persons(segments)?;
    for offset in &offsets {
        out.write(&offset.to_le_bytes())?;
    }
    out.end_section();
    out.write(&text)?;
    out.end_section();
    let patients = patients(segments, &numbers, &replaced, offsets.len().saturating_sub(1))?;
    out.section(patients.words().iter().map(|word| word.to_le_bytes()))?;
    for (numbers, replaced) in numbers.iter().zip(&replaced) {
        out.section(numbers.iter().map(|number| number.to_le_bytes()))?;
        out.section(replaced.words().iter().map(|word| word.to_le_bytes()))?;
    }
    out.finish()?;
    Ok(())
}

/// First byte of every id, the ids, and the number of every person of every segment.
type Persons = (Vec<u64>, Vec<u8>, Vec<Vec<u32>>);

fn persons(segments: &[Segment]) -> Result<Persons, ReadError> {
    let mut cursors: Vec<PersonCursor<'_>> = segments.iter().map(PersonCursor::new).collect();
    let mut heap = BinaryHeap::new();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        if let Some(id) = cursor.next()? {
            heap.push(Reverse((id, index)));
        }
    }
    let (mut offsets, mut text) = (vec![0_u64], Vec::new());
    let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); segments.len()];
    let mut last: Option<String> = None;
    while let Some(Reverse((id, index))) = heap.pop() {
        if last.as_ref() != Some(&id) {
            text.extend_from_slice(id.as_bytes());
            offsets.push(text.len() as u64);
            last = Some(id);
        }
        if let Some(numbers) = numbers.get_mut(index) {
            numbers.push(u32::try_from(offsets.len() - 2).unwrap_or(NOBODY));
        }
        if let Some(id) = cursors.get_mut(index).map(PersonCursor::next).transpose()?.flatten() {
            heap.push(Reverse((id, index)));
        }
    }
    Ok((offsets, text, numbers))
}

/// Who has a Patient resource. The others are only referred to, and no query counts them.
fn patients(
    segments: &[Segment],
    numbers: &[Vec<u32>],
    replaced: &[PersonSet],
    persons: usize,
) -> Result<PersonSet, ReadError> {
    let mut patients = PersonSet::empty(persons);
    for ((segment, numbers), replaced) in segments.iter().zip(numbers).zip(replaced) {
        let Some(term) = segment.dictionary()?.find(&key::of_type("Patient")) else { continue };
        let column = segment.person_column()?;
        for row in segment.entries(term)?.rows().filter(|row| !replaced.contains(*row)) {
            let local = u32_at(&column, row as usize * 4);
            if let Some(number) = numbers.get(local as usize) {
                patients.insert(*number);
            }
        }
    }
    Ok(patients)
}

/// Rows of every segment that another copy replaces.
fn replaced_rows(segments: &[Segment], files: &[SegmentFile]) -> Result<Vec<PersonSet>, ReadError> {
    let mut cursors: Vec<KeyCursor<'_>> = segments.iter().map(KeyCursor::new).collect();
    let mut heap = BinaryHeap::new();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        if let Some((key, row)) = cursor.next()? {
            heap.push(Reverse((key, index, row)));
        }
    }
    let mut replaced: Vec<PersonSet> = segments.iter().map(|segment| PersonSet::empty(segment.rows as usize)).collect();
    let mut best: Option<(ResourceKey, usize, u32)> = None;
    while let Some(Reverse((key, index, row))) = heap.pop() {
        if let Some((key, row)) = cursors.get_mut(index).map(KeyCursor::next).transpose()?.flatten() {
            heap.push(Reverse((key, index, row)));
        }
        let loser = match best {
            Some((best_key, other, other_row)) if best_key == key => {
                if place(segments, files, index, row)? > place(segments, files, other, other_row)? {
                    best = Some((key, index, row));
                    Some((other, other_row))
                } else {
                    Some((index, row))
                }
            }
            _ => {
                best = Some((key, index, row));
                None
            }
        };
        if let Some((segment, row)) = loser
            && let Some(set) = replaced.get_mut(segment)
        {
            set.insert(row);
        }
    }
    Ok(replaced)
}

fn place<'f>(
    segments: &[Segment],
    files: &'f [SegmentFile],
    index: usize,
    row: u32,
) -> Result<(Option<&'f PathBuf>, u64), ReadError> {
    let Some(segment) = segments.get(index) else { return Ok((None, 0)) };
    let location = segment.location(row)?;
    let file = files.get(index).and_then(|segment| segment.files.get(location.file as usize));
    Ok((file.map(|file| &file.path), location.offset))
}

struct PersonCursor<'s> {
    segment: &'s Segment,
    next: u32,
    read: std::vec::IntoIter<String>,
}

impl<'s> PersonCursor<'s> {
    fn new(segment: &'s Segment) -> Self {
        Self { segment, next: 0, read: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<String>, ReadError> {
        if let Some(id) = self.read.next() {
            return Ok(Some(id));
        }
        let count = CHUNK.min(self.segment.persons().saturating_sub(self.next));
        let ids = self.segment.persons_from(self.next, count)?;
        self.next += count;
        self.read = ids.into_iter();
        Ok(self.read.next())
    }
}

struct KeyCursor<'s> {
    segment: &'s Segment,
    next: u32,
    read: std::vec::IntoIter<(ResourceKey, u32)>,
}

impl<'s> KeyCursor<'s> {
    fn new(segment: &'s Segment) -> Self {
        Self { segment, next: 0, read: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<(ResourceKey, u32)>, ReadError> {
        if let Some(entry) = self.read.next() {
            return Ok(Some(entry));
        }
        let count = CHUNK.min(self.segment.rows.saturating_sub(self.next));
        let section = Section::SortedKeys.index();
        let bytes = self.segment.columns.read(section, u64::from(self.next) * 20, count as usize * 20)?;
        self.next += count;
        let entries: Vec<_> = bytes.chunks_exact(20).map(|entry| (key_at(entry, 0), u32_at(entry, 16))).collect();
        self.read = entries.into_iter();
        Ok(self.read.next())
    }
}
