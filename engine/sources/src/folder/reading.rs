//! Reading of persons and their resources.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use fhir::{Limits, Resource};

use super::extract::{self, Entry};
use super::index::{Index, Part};
use super::{join, key};
use crate::ccdl::Definition;
use crate::date::Days;
use crate::error::ReadError;
use crate::folder::segment::Location;
use crate::records::{PersonId, Record, Records, Selection};
use crate::{json, limits};

impl Records for Index {
    fn persons(&self) -> Result<Vec<PersonId>, ReadError> {
        self.ids(&self.patients)
    }

    fn cohort(&self, definition: &Definition, today: time::Date) -> Result<Vec<PersonId>, ReadError> {
        let plan = self.mapping.plan(definition, today)?;
        self.ids(&self.evaluate(&plan)?)
    }

    fn resources_of(&self, person: &PersonId, selection: &Selection) -> Result<Vec<Record>, ReadError> {
        let mut records = Vec::new();
        for part in &self.parts {
            let Some(number) = part.segment.find_person(person.as_str())? else { continue };
            for row in part.segment.rows_of(number)? {
                if part.replaced.contains(row) {
                    continue;
                }
                let location = part.segment.location(row)?;
                let bytes = self.read(part, location)?;
                if is_selected(&bytes, selection) {
                    records.push(self.record(part, location, &bytes)?);
                }
            }
        }
        Ok(records)
    }

    fn referenced(&self, reference: &str) -> Result<Option<Record>, ReadError> {
        let Some(target) = extract::target(reference) else { return Ok(None) };
        let key = key::resource(&target);
        for part in &self.parts {
            match part.segment.find_row(&key)? {
                Some(row) if !part.replaced.contains(row) => {
                    let location = part.segment.location(row)?;
                    let bytes = self.read(part, location)?;
                    return self.record(part, location, &bytes).map(Some);
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Index {
    fn ids(&self, persons: &super::set::PersonSet) -> Result<Vec<PersonId>, ReadError> {
        let offsets = self.generation.read_all(join::PERSON_OFFSETS)?;
        let text = self.generation.read_all(join::PERSON_TEXT)?;
        let id = |number: u32| {
            let place = number as usize * 8;
            let at = |place: usize| {
                offsets.get(place..place + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
            };
            let (begin, end) = (usize::try_from(at(place)?).ok()?, usize::try_from(at(place + 8)?).ok()?);
            std::str::from_utf8(text.get(begin..end)?).ok().map(PersonId::new)
        };
        persons.iter().map(|number| id(number).ok_or_else(|| self.generation.damaged("a person without id"))).collect()
    }

    fn read(&self, part: &Part, location: Location) -> Result<Vec<u8>, ReadError> {
        let source = part.file.files.get(location.file as usize);
        let source = source.ok_or_else(|| part.segment.columns.damaged("a row of no file"))?;
        let path = match &part.file.copies {
            Some(copies) if location.is_copied => self.path.join(copies),
            _ => self.folder.join(&source.path),
        };
        let fail = |source| ReadError::File { path: path.clone(), source };
        if location.length as usize > limits::LINE_BYTES {
            return Err(part.segment.columns.damaged("a row that is too long"));
        }
        let file = File::open(&path).map_err(fail)?;
        if !location.is_copied && !source.is_unchanged(&file.metadata().map_err(fail)?) {
            return Err(ReadError::Changed(path));
        }
        let mut bytes = vec![0; location.length as usize];
        file.read_exact_at(&mut bytes, location.offset).map_err(fail)?;
        Ok(bytes)
    }

    fn record(&self, part: &Part, location: Location, bytes: &[u8]) -> Result<Record, ReadError> {
        let file = part.file.files.get(location.file as usize).map(|file| file.path.display().to_string());
        let origin = format!("{} at byte {}", file.unwrap_or_default(), location.offset);
        let limits = Limits { bytes: limits::LINE_BYTES, members: 5_000_000, ..Limits::default() };
        match fhir::json::parse(bytes, &limits) {
            Ok(resource) => Ok(Record { resource, origin }),
            Err(error) => Err(ReadError::Resource { origin, reason: error.to_string() }),
        }
    }
}

/// Whether a resource is wanted, by the same entries that the index is made of.
pub(crate) fn is_selected(bytes: &[u8], selection: &Selection) -> bool {
    if *selection == Selection::default() {
        return true;
    }
    let Ok(node) = json::parse(bytes) else { return true };
    let Ok(found) = extract::extract(&node) else { return true };
    let has = |wanted: &str| found.entries.iter().any(|(key, _)| key == wanted);
    let is_type = selection.types.is_empty() || selection.types.contains(&found.resource_type);
    let profile =
        |profile: &String| has(&key::code(&format!("{}.meta.profile", found.resource_type), key::BOUND, profile));
    let code = |code: &crate::records::CodedElement| has(&key::code(&code.element, &code.system, &code.code));
    let time = selection.time.as_ref().is_none_or(|(elements, days)| overlaps(&found.entries, elements, *days));
    is_type
        && (selection.profiles.is_empty() || selection.profiles.iter().any(profile))
        && (selection.codes.is_empty() || selection.codes.iter().any(code))
        && time
}

fn overlaps(entries: &[(String, Entry)], elements: &[String], days: Days) -> bool {
    for element in elements {
        let key = key::days(element);
        let mut found = entries.iter().filter_map(|(other, entry)| match entry {
            Entry::Days(found) if *other == key => Some(*found),
            _ => None,
        });
        if let Some(first) = found.next() {
            return first.overlaps(days) || found.any(|found| found.overlaps(days));
        }
    }
    false
}

impl Record {
    /// The resource itself.
    #[must_use]
    pub fn into_resource(self) -> Resource {
        self.resource
    }
}
