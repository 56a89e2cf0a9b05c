//! Extraction over a source: cohort, consent, selection, one person after the other.
//!
//! Memory holds one person at a time, however many there are. What is handed out still has the source's ids and dates; it
//! must not leave the site before it went through `pseudonyms`.

use std::collections::{BTreeMap, BTreeSet};

use fhir::Resource;
use sources::{PersonId, QueryError, ReadError, Records, Selection};
use time::Date;

use crate::consent::{ConsentPolicy, Excluded, Statistics};
use crate::crtdl::Definition;

/// Who takes the resources of a person; an error ends the extraction.
pub type Take<'t> = dyn FnMut(&PersonId, Vec<Resource>) -> Result<(), String> + 't;

/// One extraction.
pub struct Extraction<'e> {
    /// Where the records are.
    pub source: &'e dyn Records,
    /// What is asked for.
    pub definition: &'e Definition,
    /// What must be permitted.
    pub policy: &'e ConsentPolicy,
    /// The day for which consent and ages count.
    pub today: Date,
}

/// What an extraction is of, in numbers: for who approves it. There is no person in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Persons of the cohort.
    pub cohort: u64,
    /// Their consents.
    pub consent: Statistics,
    /// Persons who permit the use and have not all that must be there.
    pub incomplete: u64,
    /// Persons whose resources were handed out.
    pub persons: u64,
    /// Resources that were handed out, by type.
    pub resources: BTreeMap<String, u64>,
    /// Resources that were asked for and are outside the permitted time, or without a date.
    pub not_permitted: u64,
}

/// Why an extraction ended.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The cohort cannot be asked for.
    #[error(transparent)]
    Cohort(#[from] QueryError),
    /// The source cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Whoever takes the resources cannot go on.
    #[error("{0}")]
    Taker(String),
}

// === impl Extraction ===

impl Extraction<'_> {
    /// Hands the resources of each person to `take`, persons in the order of the source.
    pub fn run(&self, take: &mut Take<'_>) -> Result<Report, ExtractError> {
        let cohort = sources::ccdl::Definition::parse(self.definition.cohort.to_string().as_bytes())?;
        let persons = self.source.cohort(&cohort, self.today)?;
        let mut report = Report { cohort: persons.len() as u64, ..Report::default() };
        let selection = self.selection();
        for person in &persons {
            match self.of_person(person, &selection, &mut report)? {
                Ok(resources) if self.definition.is_complete(&resources) => {
                    report.persons += 1;
                    for resource in &resources {
                        *report.resources.entry(resource.type_name().to_owned()).or_default() += 1;
                    }
                    take(person, resources).map_err(ExtractError::Taker)?;
                }
                Ok(_) => report.incomplete += 1,
                Err(_) => {}
            }
        }
        Ok(report)
    }

    fn selection(&self) -> Selection {
        let asked = self.definition.groups.iter().map(|group| group.resource_type.clone());
        let types: BTreeSet<String> = asked.chain(["Patient".to_owned(), "Consent".to_owned()]).collect();
        Selection { types: types.into_iter().collect(), ..Selection::default() }
    }

    fn of_person(
        &self,
        person: &PersonId,
        selection: &Selection,
        report: &mut Report,
    ) -> Result<Result<Vec<Resource>, Excluded>, ExtractError> {
        let records = self.source.resources_of(person, selection)?;
        let resources: Vec<Resource> = records.into_iter().map(|record| record.resource).collect();
        let (consents, resources): (Vec<Resource>, Vec<Resource>) =
            resources.into_iter().partition(|resource| resource.type_name() == "Consent");
        let judgement = self.policy.judge(&consents.iter().collect::<Vec<_>>(), self.today);
        report.consent.count(&judgement);
        let permission = match judgement {
            Ok(permission) => permission,
            Err(excluded) => return Ok(Err(excluded)),
        };
        let mut selected = Vec::new();
        let mut medications = BTreeSet::new();
        for resource in resources {
            let Some(asked) = self.definition.select(&resource) else { continue };
            if !permission.covers(&resource) {
                report.not_permitted += 1;
                continue;
            }
            let medication = asked.get("medicationReference").and_then(|reference| reference.str("reference"));
            medications.extend(medication.map(str::to_owned));
            selected.push(asked);
        }
        for medication in medications.iter().filter(|_| self.definition.has_type("Medication")) {
            // A Medication is of no person; it belongs to what refers to it.
            let record = self.source.referenced(medication)?;
            selected.extend(record.and_then(|record| self.definition.select(&record.resource)));
        }
        Ok(Ok(selected))
    }
}
