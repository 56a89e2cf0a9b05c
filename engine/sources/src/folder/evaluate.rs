//! Evaluation of a plan: sets of rows in every segment, then sets of persons, then their algebra.

use std::collections::HashSet;

use super::index::Index;
use super::key::{self, BOUND, ResourceKey};
use super::segment::{Dictionary, Segment, key_at};
use super::set::PersonSet;
use crate::error::ReadError;
use crate::plan::{Bounds, Code, Plan, Rows, Test};

/// Resources that a test refers to, in the order of the tests.
type Links = Vec<HashSet<ResourceKey>>;

/// A segment that is being asked.
struct Asked<'s> {
    segment: &'s Segment,
    dictionary: &'s Dictionary,
}

impl Index {
    /// The persons that belong to the cohort.
    pub fn evaluate(&self, plan: &Plan) -> Result<PersonSet, ReadError> {
        let mut cohort = self.patients.clone();
        for group in &plan.inclusion {
            let mut any = PersonSet::empty(self.person_count());
            for rows in group {
                any.unite(&self.persons_with(rows)?);
            }
            cohort.intersect(&any);
        }
        for group in &plan.exclusion {
            let mut all = PersonSet::full(self.person_count());
            for rows in group {
                all.intersect(&self.persons_with(rows)?);
            }
            cohort.subtract(&all);
        }
        Ok(cohort)
    }

    fn persons_with(&self, rows: &Rows) -> Result<PersonSet, ReadError> {
        let mut persons = PersonSet::empty(self.person_count());
        self.for_each_segment(rows, |index, number, found| index.add_persons(number, found, &mut persons))?;
        Ok(persons)
    }

    fn keys_of(&self, rows: &Rows) -> Result<HashSet<ResourceKey>, ReadError> {
        let mut keys = HashSet::new();
        self.for_each_segment(rows, |index, number, found| {
            if let Some(part) = index.parts.get(number)
                && !found.is_empty()
            {
                let column = part.segment.key_column()?;
                keys.extend(found.iter().map(|row| key_at(&column, row as usize * 16)));
            }
            Ok(())
        })?;
        Ok(keys)
    }

    fn for_each_segment(
        &self,
        rows: &Rows,
        mut found: impl FnMut(&Self, usize, &PersonSet) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut links = Links::new();
        self.collect_links(&rows.tests, &mut links)?;
        for (number, part) in self.parts.iter().enumerate() {
            let dictionary = self.dictionary(number)?;
            let asked = Asked { segment: &part.segment, dictionary: &dictionary };
            let mut set = asked.rows(rows, &links)?;
            set.subtract(&part.replaced);
            found(self, number, &set)?;
        }
        Ok(())
    }

    fn collect_links(&self, tests: &[Test], links: &mut Links) -> Result<(), ReadError> {
        for test in tests {
            match test {
                Test::Linked { rows, .. } => {
                    let keys = self.keys_of(rows)?;
                    links.push(keys);
                }
                Test::AnyOf(tests) => self.collect_links(tests, links)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Asked<'_> {
    fn rows(&self, rows: &Rows, links: &Links) -> Result<PersonSet, ReadError> {
        let mut links = links.iter();
        let mut set = self.entries_of(&key::of_type(&rows.resource_type))?;
        for test in &rows.tests {
            // Every test takes its links, also when nothing is left, so that the next one finds its own.
            set.intersect(&self.test(test, &mut links)?);
        }
        Ok(set)
    }

    fn test<'l>(
        &self,
        test: &Test,
        links: &mut impl Iterator<Item = &'l HashSet<ResourceKey>>,
    ) -> Result<PersonSet, ReadError> {
        let mut set = self.nothing();
        match test {
            Test::Code { element, codes } => {
                for code in codes {
                    self.add_code(code, &mut set, |system, code| key::code(element, system, code))?;
                }
            }
            Test::CodeOf { element, group, codes } => {
                for beside in self.expand(&element_of_group(element), group) {
                    let beside = (beside.0.as_str(), beside.1.as_str());
                    for code in codes {
                        self.add_code(code, &mut set, |system, code| key::code_of(element, beside, system, code))?;
                    }
                }
            }
            Test::Quantity { element, group, unit, bounds } if group.is_empty() => {
                self.add_quantities(&key::quantity(element, unit), *bounds, &mut set)?;
            }
            Test::Quantity { element, group, unit, bounds } => {
                for beside in self.expand(&element_of_group(element), group) {
                    let key = key::quantity_of(element, (&beside.0, &beside.1), unit);
                    self.add_quantities(&key, *bounds, &mut set)?;
                }
            }
            Test::Time { elements, days } => {
                let mut has_earlier = self.nothing();
                for element in elements {
                    let mut has = self.nothing();
                    let mut overlaps = self.nothing();
                    if let Some(term) = self.dictionary.find(&key::days(element)) {
                        for (row, found) in self.segment.entries(term)?.days() {
                            has.insert(row);
                            if found.overlaps(*days) {
                                overlaps.insert(row);
                            }
                        }
                    }
                    overlaps.subtract(&has_earlier);
                    set.unite(&overlaps);
                    has_earlier.unite(&has);
                }
            }
            Test::Linked { element, .. } => {
                let wanted = links.next();
                if let (Some(wanted), Some(term)) = (wanted, self.dictionary.find(&key::reference(element))) {
                    for (row, target) in self.segment.entries(term)?.references() {
                        if wanted.contains(&target) {
                            set.insert(row);
                        }
                    }
                }
            }
            Test::AnyOf(tests) => {
                for test in tests {
                    set.unite(&self.test(test, links)?);
                }
            }
        }
        Ok(set)
    }

    fn nothing(&self) -> PersonSet {
        PersonSet::empty(self.segment.rows as usize)
    }

    fn entries_of(&self, key: &str) -> Result<PersonSet, ReadError> {
        let mut set = self.nothing();
        self.add_entries(key, &mut set)?;
        Ok(set)
    }

    fn add_entries(&self, key: &str, set: &mut PersonSet) -> Result<(), ReadError> {
        if let Some(term) = self.dictionary.find(key) {
            self.segment.entries(term)?.rows().for_each(|row| set.insert(row));
        }
        Ok(())
    }

    fn add_quantities(&self, key: &str, bounds: Bounds, set: &mut PersonSet) -> Result<(), ReadError> {
        if let Some(term) = self.dictionary.find(key) {
            let quantities = self.segment.entries(term)?;
            quantities.quantities().filter(|(_, value)| bounds.contain(*value)).for_each(|(row, _)| set.insert(row));
        }
        Ok(())
    }

    /// Rows with the code; elements of type `code` have no system and match by the code alone.
    fn add_code(&self, code: &Code, set: &mut PersonSet, key: impl Fn(&str, &str) -> String) -> Result<(), ReadError> {
        for system in [code.system.as_str(), BOUND] {
            let key = key(system, &code.code);
            if !code.descendants {
                self.add_entries(&key, set)?;
                continue;
            }
            for (_, term) in self.dictionary.with_prefix(&key) {
                self.segment.entries(term)?.rows().for_each(|row| set.insert(row));
            }
        }
        Ok(())
    }

    /// The codes that stand beside values here: those that are meant exactly, and what is below the others.
    fn expand(&self, element: &str, codes: &[Code]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for code in codes {
            if !code.descendants {
                found.push((code.system.clone(), code.code.clone()));
                continue;
            }
            let prefix = key::code(element, &code.system, &code.code);
            let terms = self.dictionary.with_prefix(&prefix);
            found.extend(
                terms
                    .filter_map(|(key, _)| key::parts_of_code(key))
                    .map(|(_, system, code)| (system.to_owned(), code.to_owned())),
            );
        }
        found
    }
}

/// Where the code of a value stands: `Observation.component.value` -> `Observation.component.code`.
fn element_of_group(element: &str) -> String {
    let parent = element.rsplit_once('.').map_or(element, |(parent, _)| parent);
    format!("{parent}.code")
}
