//! What an index holds, for people: how many resources of which type, and which codes.

use std::collections::BTreeMap;

use super::index::Index;
use super::key;
use super::set::PersonSet;
use crate::error::ReadError;
use crate::plan::{Code, Plan, Rows, Test};

/// Numbers of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Persons with a Patient resource.
    pub patients: u64,
    /// Files that were indexed.
    pub files: u64,
    /// By resource type.
    pub types: Vec<TypeCount>,
    /// Resources that a later copy replaces.
    pub replaced: u64,
}

/// Resources of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeCount {
    /// Type.
    pub name: String,
    /// How many.
    pub resources: u64,
    /// How many of them belong to a person that has a Patient resource.
    pub of_patients: u64,
}

/// Resources with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeCount {
    /// Code system; `=` for elements whose system follows from the element.
    pub system: String,
    /// Code.
    pub code: String,
    /// How many.
    pub resources: u64,
    /// How many persons.
    pub persons: u64,
}

impl Index {
    /// Counts what is there.
    pub fn statistics(&self) -> Result<Statistics, ReadError> {
        let mut types: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut files: Vec<&std::path::Path> = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            files.extend(part.file.files.iter().map(|file| file.path.as_path()));
            let dictionary = self.dictionary(number)?;
            for (name, term) in dictionary.with_prefix("A").filter_map(|(key, term)| Some((key::type_of(key)?, term))) {
                let mut rows = PersonSet::empty(part.segment.rows as usize);
                part.segment.entries(term)?.rows().for_each(|row| rows.insert(row));
                rows.subtract(&part.replaced);
                let counts = types.entry(name.to_owned()).or_default();
                counts.0 += rows.len();
                counts.1 += self.rows_of_patients(number, &rows)?;
            }
        }
        files.sort_unstable();
        files.dedup();
        let types =
            types.into_iter().map(|(name, (resources, of_patients))| TypeCount { name, resources, of_patients });
        Ok(Statistics {
            patients: self.patients(),
            files: files.len() as u64,
            types: types.collect(),
            replaced: self.parts.iter().map(|part| part.replaced.len()).sum(),
        })
    }

    fn rows_of_patients(&self, number: usize, rows: &PersonSet) -> Result<u64, ReadError> {
        let Some(part) = self.parts.get(number) else { return Ok(0) };
        let column = part.segment.person_column()?;
        let numbers = self.generation.read_all(super::join::persons_of(number))?;
        let is_patient = |row: &u32| {
            let local = super::segment::u32_at(&column, *row as usize * 4) as usize;
            local.saturating_mul(4) < numbers.len()
                && self.patients.contains(super::segment::u32_at(&numbers, local * 4))
        };
        Ok(rows.iter().filter(is_patient).count() as u64)
    }

    /// The most frequent codes of an element (`Condition.code`), at most so many.
    pub fn codes(&self, element: &str, most: usize) -> Result<Vec<CodeCount>, ReadError> {
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        let prefix = key::codes_of(element);
        for (number, part) in self.parts.iter().enumerate() {
            let dictionary = self.dictionary(number)?;
            for (key, term) in dictionary.with_prefix(&prefix) {
                let Some((_, system, code)) = key::parts_of_code(key) else { continue };
                let mut rows = PersonSet::empty(part.segment.rows as usize);
                part.segment.entries(term)?.rows().for_each(|row| rows.insert(row));
                rows.subtract(&part.replaced);
                *counts.entry((system.to_owned(), code.to_owned())).or_default() += rows.len();
            }
        }
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, resources)| *resources > 0).collect();
        counts.sort_by_key(|(_, resources)| std::cmp::Reverse(*resources));
        counts.truncate(most);
        counts
            .into_iter()
            .map(|((system, code), resources)| self.code_count(element, system, code, resources))
            .collect()
    }

    fn code_count(&self, element: &str, system: String, code: String, resources: u64) -> Result<CodeCount, ReadError> {
        let resource_type = element.split('.').next().unwrap_or_default().to_owned();
        let codes = vec![Code::exact(system.as_str(), code.as_str())];
        let tests = vec![Test::Code { element: element.to_owned(), codes }];
        let inclusion = vec![vec![Rows { resource_type, tests }]];
        let persons = self.evaluate(&Plan { inclusion, exclusion: Vec::new() })?.len();
        Ok(CodeCount { system, code, resources, persons })
    }
}
