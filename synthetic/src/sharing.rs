//! A data set that follows from the facts: an extraction definition, and what a right answer of several sites is.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;

use crate::Network;
use crate::patient::{Consent, Patient};

/// Adults with their laboratory results and diagnoses (CRTDL).
pub const DEFINITION: &str = r#"{"version":"http://json-schema.org/to-be-done/schema#","display":"adults","cohortDefinition":{"version":"2","display":"adults","inclusionCriteria":[
[{"context":{"system":"fdpg.mii.cds","code":"Patient","display":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"424144002","display":"age"}],"valueFilter":{"type":"quantity-comparator","comparator":"ge","value":18,"unit":{"code":"a","display":"a"}}}]]},
"dataExtraction":{"attributeGroups":[
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-person/StructureDefinition/Patient","attributes":[{"attributeRef":"Patient.birthDate","mustHave":true},{"attributeRef":"Patient.gender"}]},
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-labor/StructureDefinition/ObservationLab","attributes":[{"attributeRef":"Observation.code"},{"attributeRef":"Observation.value[x]"},{"attributeRef":"Observation.effective[x]"}]},
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-diagnose/StructureDefinition/Diagnose","attributes":[{"attributeRef":"Condition.code"},{"attributeRef":"Condition.recordedDate"},{"attributeRef":"Condition.onset[x]"}]}]}}"#;

/// What is true of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedTruth {
    /// Persons, each counted once.
    pub persons: u64,
    /// Of these, those whose data come from several sites.
    pub several: u64,
    /// Laboratory results.
    pub observations: u64,
    /// Diagnoses.
    pub conditions: u64,
    /// Persons by site.
    pub sites: Vec<u64>,
}

impl SharedTruth {
    /// Computes it for these sites of a network.
    #[must_use]
    pub fn of(network: &Network, sites: &[u32], today: Date) -> Self {
        let mut truth = Self::default();
        let mut persons: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for site in sites {
            let mut count = 0;
            let takes_part = |patient: &Patient| patient.age(today) >= 18 && patient.consent.permits(today);
            for patient in network.patients_of(*site).filter(takes_part) {
                count += 1;
                persons.entry(patient.person).or_default().insert(*site);
                let results = patient.laboratory.iter().filter(|result| covers(&patient, result.on));
                truth.observations += results.count() as u64;
                let diagnoses = patient.diagnoses.iter().filter(|diagnosis| covers(&patient, diagnosis.on));
                truth.conditions += diagnoses.count() as u64;
            }
            truth.sites.push(count);
        }
        truth.persons = persons.len() as u64;
        truth.several = persons.values().filter(|sites| sites.len() > 1).count() as u64;
        truth
    }
}

/// Whether the consent covers what was documented on a day.
fn covers(patient: &Patient, on: Date) -> bool {
    matches!(patient.consent, Consent::Permitted { from, retrospective } if retrospective || from <= on)
}
