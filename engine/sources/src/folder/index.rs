//! An index that is open: what queries and extraction read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::join;
use super::manifest::{Manifest, SegmentFile};
use super::segment::{ColumnFile, Dictionaries, Dictionary, Segment, u32_at};
use super::set::PersonSet;
use crate::error::ReadError;
use crate::limits;
use crate::mapping::Mapping;

/// An index of a folder. It stays as it is; a new one is opened after the folder was indexed again.
pub struct Index {
    pub(crate) path: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) parts: Vec<Part>,
    pub(crate) generation: ColumnFile,
    pub(crate) patients: PersonSet,
    pub(crate) mapping: Arc<Mapping>,
    dictionaries: Dictionaries,
}

/// A segment with what the generation says about it.
pub(crate) struct Part {
    pub(crate) segment: Segment,
    pub(crate) file: SegmentFile,
    /// Rows that another copy replaces.
    pub(crate) replaced: PersonSet,
}

// === impl Index ===

impl Index {
    /// Opens what [`super::build()`] has written.
    pub fn open(path: &Path, mapping: Arc<Mapping>) -> Result<Self, ReadError> {
        let manifest = Manifest::read(path)?.ok_or_else(|| ReadError::NoIndex(path.to_owned()))?;
        let count = manifest.segments.len();
        let generation = ColumnFile::open(&path.join(&manifest.generation), join::sections(count))?;
        let patients = PersonSet::from_bytes(&generation.read_all(join::PATIENTS)?);
        let mut parts = Vec::with_capacity(count);
        for (number, file) in manifest.segments.into_iter().enumerate() {
            let segment = Segment::open(&path.join(&file.name))?;
            let replaced = PersonSet::from_bytes(&generation.read_all(join::replaced_of(number))?);
            parts.push(Part { segment, file, replaced });
        }
        let dictionaries = Dictionaries::builder()
            .weigher(|_, dictionary: &Arc<Dictionary>| dictionary.bytes())
            .max_capacity(limits::DICTIONARY_CACHE)
            .build();
        Ok(Self { path: path.to_owned(), folder: manifest.folder, parts, generation, patients, mapping, dictionaries })
    }

    /// How many persons have a Patient resource.
    #[must_use]
    pub fn patients(&self) -> u64 {
        self.patients.len()
    }

    /// How criteria become conditions on its records.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Numbers that persons have.
    pub(crate) fn person_count(&self) -> usize {
        usize::try_from(self.generation.length(join::PERSON_OFFSETS) / 8).unwrap_or(0).saturating_sub(1)
    }

    pub(crate) fn dictionary(&self, number: usize) -> Result<Arc<Dictionary>, ReadError> {
        if let Some(dictionary) = self.dictionaries.get(&number) {
            return Ok(dictionary);
        }
        let part = self.parts.get(number).ok_or_else(|| ReadError::NoIndex(self.path.clone()))?;
        let dictionary = Arc::new(part.segment.dictionary()?);
        self.dictionaries.insert(number, Arc::clone(&dictionary));
        Ok(dictionary)
    }

    /// The persons of these rows.
    pub(crate) fn add_persons(&self, number: usize, rows: &PersonSet, to: &mut PersonSet) -> Result<(), ReadError> {
        let Some(part) = self.parts.get(number) else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        let column = part.segment.person_column()?;
        let numbers = self.generation.read_all(join::persons_of(number))?;
        for row in rows.iter() {
            // Nobody's number is beyond the table, and the bytes beyond it are none.
            let local = u32_at(&column, row as usize * 4) as usize;
            if local.saturating_mul(4) < numbers.len() {
                to.insert(u32_at(&numbers, local * 4));
            }
        }
        Ok(())
    }
}
