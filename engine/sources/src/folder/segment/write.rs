//! Collecting the rows of a segment, and writing column files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::layout::{COPIED, MAGIC, NOBODY};
use crate::folder::extract::{Entry, Extracted};
use crate::folder::key::{self, ResourceKey};

/// Where a resource is, as the builder is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) is_copied: bool,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// Rows of a segment that is being built.
#[derive(Default)]
pub(crate) struct Builder {
    rows: Vec<Row>,
    persons: Numbers,
    terms: Numbers,
    entries: Vec<Vec<(u32, Entry)>>,
}

/// Numbers for texts, in the order in which they came.
#[derive(Default)]
struct Numbers {
    by_text: HashMap<String, u32>,
}

struct Row {
    person: u32,
    file: u32,
    offset: u64,
    length: u32,
    key: ResourceKey,
}

/// Writes arrays one after the other, and the table at the end.
pub(crate) struct ColumnWriter {
    out: BufWriter<File>,
    position: u64,
    sections: Vec<(u64, u64)>,
    begin: u64,
}

// === impl Builder ===

impl Builder {
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Adds a resource that is at this place of the file.
    pub(crate) fn add(&mut self, resource: Extracted, place: Place) {
        let number = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let person = resource.person.map_or(NOBODY, |person| self.persons.number(person));
        let key = key::resource(&format!("{}/{}", resource.resource_type, resource.id));
        let file = if place.is_copied { place.file | COPIED } else { place.file };
        self.rows.push(Row { person, file, offset: place.offset, length: place.length, key });
        for (term, entry) in resource.entries {
            let term = self.terms.number(term) as usize;
            if term >= self.entries.len() {
                self.entries.resize_with(term + 1, Vec::new);
            }
            if let Some(entries) = self.entries.get_mut(term) {
                entries.push((number, entry));
            }
        }
    }

    /// Writes the segment and forgets it.
    pub(crate) fn finish(self, path: &Path) -> std::io::Result<()> {
        let persons = self.persons.sorted();
        let order = self.row_order(&persons.place);
        let mut new_row = vec![0_u32; order.len()];
        for (new, old) in (0_u32..).zip(&order) {
            if let Some(place) = new_row.get_mut(*old as usize) {
                *place = new;
            }
        }
        let rows: Vec<&Row> = order.iter().filter_map(|old| self.rows.get(*old as usize)).collect();
        let person_of = |row: &Row| persons.place.get(row.person as usize).copied().unwrap_or(NOBODY);

        let mut out = ColumnWriter::create(path)?;
        out.section(rows.iter().map(|row| person_of(row).to_le_bytes()))?;
        out.section(rows.iter().map(|row| row.file.to_le_bytes()))?;
        out.section(rows.iter().map(|row| row.offset.to_le_bytes()))?;
        out.section(rows.iter().map(|row| row.length.to_le_bytes()))?;
        out.section(rows.iter().map(|row| row.key))?;
        out.section(sorted_keys(&rows))?;
        out.texts(&persons.texts)?;
        out.section(first_rows(&rows, persons.texts.len(), person_of).into_iter().map(u32::to_le_bytes))?;
        let terms = self.terms.sorted();
        out.texts(&terms.texts)?;
        let mut by_place: Vec<(u32, &Vec<(u32, Entry)>)> = terms.place.iter().copied().zip(&self.entries).collect();
        by_place.sort_by_key(|(place, _)| *place);
        write_entries(&mut out, by_place.into_iter().map(|(_, entries)| entries), &new_row)?;
        out.finish()
    }

    /// Old numbers of the rows in the order in which they are written: by person, then as they came.
    fn row_order(&self, place: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|old| {
            let person = self.rows.get(*old as usize).map_or(NOBODY, |row| row.person);
            place.get(person as usize).copied().unwrap_or(NOBODY)
        });
        order
    }
}

fn sorted_keys(rows: &[&Row]) -> impl Iterator<Item = [u8; 20]> {
    let mut keys: Vec<(ResourceKey, u32)> = rows.iter().map(|row| row.key).zip(0..).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(key, row)| {
        let mut bytes = [0; 20];
        let (first, last) = bytes.split_at_mut(16);
        first.copy_from_slice(&key);
        last.copy_from_slice(&row.to_le_bytes());
        bytes
    })
}

fn first_rows(rows: &[&Row], persons: usize, person_of: impl Fn(&Row) -> u32) -> Vec<u32> {
    let mut first = Vec::with_capacity(persons + 1);
    let mut row = 0_usize;
    for person in 0..u32::try_from(persons).unwrap_or(u32::MAX) {
        first.push(u32::try_from(row).unwrap_or(u32::MAX));
        while rows.get(row).is_some_and(|found| person_of(found) == person) {
            row += 1;
        }
    }
    first.push(u32::try_from(row).unwrap_or(u32::MAX));
    first
}

/// Entries of every term in the order of the dictionary: first where they are, then they.
fn write_entries<'e>(
    out: &mut ColumnWriter,
    terms: impl Iterator<Item = &'e Vec<(u32, Entry)>>,
    new_row: &[u32],
) -> std::io::Result<()> {
    let mut blob = Vec::new();
    let mut places = Vec::new();
    for entries in terms {
        let begin = blob.len() as u64;
        let mut renumbered: Vec<(u32, Entry)> =
            entries.iter().filter_map(|(row, entry)| Some((*new_row.get(*row as usize)?, *entry))).collect();
        renumbered.sort_by_key(|(row, _)| *row);
        renumbered.dedup();
        for (row, entry) in &renumbered {
            blob.extend_from_slice(&row.to_le_bytes());
            match entry {
                Entry::Row => {}
                Entry::Quantity(number) => blob.extend_from_slice(&number.to_le_bytes()),
                Entry::Days(days) => {
                    blob.extend_from_slice(&days.first.to_le_bytes());
                    blob.extend_from_slice(&days.last.to_le_bytes());
                }
                Entry::Reference(key) => blob.extend_from_slice(key),
            }
        }
        let mut place = [0; 12];
        let (first, last) = place.split_at_mut(8);
        first.copy_from_slice(&begin.to_le_bytes());
        last.copy_from_slice(&u32::try_from(renumbered.len()).unwrap_or(u32::MAX).to_le_bytes());
        places.push(place);
    }
    out.section(places.into_iter())?;
    out.section(std::iter::once(blob))
}

// === impl Numbers ===

struct Sorted {
    /// Texts in order.
    texts: Vec<String>,
    /// Number -> place in the order.
    place: Vec<u32>,
}

impl Numbers {
    fn number(&mut self, text: String) -> u32 {
        let next = u32::try_from(self.by_text.len()).unwrap_or(u32::MAX);
        *self.by_text.entry(text).or_insert(next)
    }

    fn sorted(&self) -> Sorted {
        let mut texts: Vec<(&String, u32)> = self.by_text.iter().map(|(text, number)| (text, *number)).collect();
        texts.sort_unstable();
        let mut place = vec![0; texts.len()];
        for (new, (_, number)) in (0_u32..).zip(&texts) {
            if let Some(place) = place.get_mut(*number as usize) {
                *place = new;
            }
        }
        Sorted { texts: texts.into_iter().map(|(text, _)| text.clone()).collect(), place }
    }
}

// === impl ColumnWriter ===

impl ColumnWriter {
    /// Creates the file for its owner alone.
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        out.write_all(MAGIC)?;
        Ok(Self { out, position: MAGIC.len() as u64, sections: Vec::new(), begin: MAGIC.len() as u64 })
    }

    /// Writes an array.
    pub(crate) fn section(&mut self, parts: impl Iterator<Item = impl AsRef<[u8]>>) -> std::io::Result<()> {
        for part in parts {
            self.write(part.as_ref())?;
        }
        self.end_section();
        Ok(())
    }

    /// Adds to the array that is being written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Ends the array that is being written.
    pub(crate) fn end_section(&mut self) {
        self.sections.push((self.begin, self.position - self.begin));
        self.begin = self.position;
    }

    /// Two arrays: where each text begins, and the texts.
    fn texts(&mut self, texts: &[String]) -> std::io::Result<()> {
        let mut offset = 0_u32;
        let mut offsets = vec![offset.to_le_bytes()];
        for text in texts {
            offset = offset
                .checked_add(u32::try_from(text.len()).unwrap_or(u32::MAX))
                .ok_or_else(|| std::io::Error::other("the texts of a segment exceed 4 GiB"))?;
            offsets.push(offset.to_le_bytes());
        }
        self.section(offsets.into_iter())?;
        self.section(texts.iter())
    }

    /// Writes the table and waits until the file is on disk.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        let table = self.position;
        for (offset, length) in std::mem::take(&mut self.sections) {
            self.write(&offset.to_le_bytes())?;
            self.write(&length.to_le_bytes())?;
        }
        let count = (self.position - table) / 16;
        self.write(&table.to_le_bytes())?;
        self.write(&count.to_le_bytes())?;
        self.write(MAGIC)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}
