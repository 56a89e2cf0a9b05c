//! Generated sites, whose truth is known without this crate: who permits, what they permit, and that nothing that
//! identifies them is left when it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir::Resource;
use pseudonyms::{DateShift, Deidentifier, Pseudonyms, Rules};
use secrets::Key;
use sources::folder::{self, Index};
use sources::mapping::Mapping;
use synthetic::{Consent, Network, Patient, Truth};

use crate::{ConsentPolicy, Definition, Excluded, Extraction, Report};

const NETWORK: Network = Network { seed: 11, sites: 2, patients: 150, shared: 20 };

/// Everybody, with laboratory, diagnoses and medication.
const DEFINITION: &str = r#"{"cohortDefinition":{"version":"2","inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Patient","display":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"424144002","display":"age"}],"valueFilter":{"type":"quantity-comparator","comparator":"ge","value":0,"unit":{"code":"a","display":"a"}}}]]},
"dataExtraction":{"attributeGroups":[
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-person/StructureDefinition/Patient","attributes":[{"attributeRef":"Patient.birthDate"},{"attributeRef":"Patient.gender"},{"attributeRef":"Patient.name"},{"attributeRef":"Patient.identifier"}]},
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-labor/StructureDefinition/ObservationLab","attributes":[{"attributeRef":"Observation.value[x]"},{"attributeRef":"Observation.effective[x]"}]},
{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-diagnose/StructureDefinition/Diagnose","attributes":[{"attributeRef":"Condition.code"},{"attributeRef":"Condition.recordedDate"},{"attributeRef":"Condition.text"}]}]}}"#;

struct Extracted {
    report: Report,
    resources: BTreeMap<String, Vec<Resource>>,
}

fn today() -> time::Date {
    synthetic::last_day()
}

fn extract() -> Extracted {
    let folder = tempfile::tempdir().unwrap();
    let (records, index) = (folder.path().join("records"), folder.path().join("index"));
    synthetic::write_site(&NETWORK, 0, &records).unwrap();
    folder::build(&records, &index, &mut |_| {}).unwrap();
    let source = Index::open(&index, Arc::new(Mapping::native().unwrap())).unwrap();
    let definition = Definition::parse(DEFINITION.as_bytes()).unwrap();
    let policy = ConsentPolicy::default();
    let extraction = Extraction { source: &source, definition: &definition, policy: &policy, today: today() };
    let mut resources = BTreeMap::new();
    let mut take = |person: &sources::PersonId, of_person| {
        resources.insert(person.as_str().to_owned(), of_person);
        Ok(())
    };
    let report = extraction.run(&mut take).unwrap();
    Extracted { report, resources }
}

/// Of the dated facts of a patient those that the consent covers.
fn covered(patient: &Patient, on: time::Date) -> bool {
    match patient.consent {
        Consent::Permitted { from, retrospective } => patient.consent.permits(today()) && (retrospective || from <= on),
        Consent::Expired { .. } | Consent::Withdrawn { .. } | Consent::None => false,
    }
}

#[test]
fn share_c05_and_c06_persons_and_resources_are_those_of_the_truth() {
    let extracted = extract();
    let truth = Truth::of(&NETWORK, today());
    let patients: Vec<Patient> = NETWORK.patients_of(0).collect();
    let report = &extracted.report;
    assert_eq!((report.cohort, report.persons), (truth.sites[0].patients, truth.sites[0].permitted));
    assert_eq!(report.consent.permitted, truth.sites[0].permitted);
    let count = |holds: fn(&Consent) -> bool| patients.iter().filter(|patient| holds(&patient.consent)).count() as u64;
    let excluded = |reason: Excluded| report.consent.excluded.get(&reason).copied().unwrap_or_default();
    assert_eq!(excluded(Excluded::Missing), count(|consent| *consent == Consent::None));
    assert_eq!(excluded(Excluded::NotToday), count(|consent| matches!(consent, Consent::Expired { .. })));
    let withdrawn = count(|consent| matches!(consent, Consent::Withdrawn { .. }));
    assert!(withdrawn > 0 && excluded(Excluded::Withdrawn) + excluded(Excluded::NotPermitted) == withdrawn);
    for patient in &patients {
        let resources = extracted.resources.get(&patient.id).map_or(&[][..], Vec::as_slice);
        let of_type = |name: &str| resources.iter().filter(|resource| resource.type_name() == name).count();
        let laboratory = patient.laboratory.iter().filter(|result| covered(patient, result.on)).count();
        let diagnoses = patient.diagnoses.iter().filter(|diagnosis| covered(patient, diagnosis.on)).count();
        assert_eq!((of_type("Observation"), of_type("Condition")), (laboratory, diagnoses), "{}", patient.id);
        assert_eq!(of_type("Patient"), usize::from(patient.consent.permits(today())), "{}", patient.id);
    }
    assert!(report.not_permitted > 0, "the network has data from before its consents");
}

#[test]
fn share_c03_nothing_that_identifies_a_person_is_left_when_it_leaves() {
    let extracted = extract();
    let rules = Rules::default();
    let pseudonyms = Pseudonyms::new(&Key::random().unwrap(), "project");
    let deidentifier = Deidentifier::new(&rules, &pseudonyms);
    let shift = DateShift::from_days(-42).unwrap();
    let mut text = String::new();
    let mut ids = BTreeSet::new();
    for (person, resources) in &extracted.resources {
        for resource in resources {
            let outcome = deidentifier.deidentify(resource, shift).unwrap();
            let birth = |resource: &Resource| resource.str("birthDate").map(str::to_owned);
            assert!(birth(&outcome.resource).is_none_or(|shifted| Some(shifted) != birth(resource)));
            if resource.type_name() == "Patient" {
                assert_eq!(outcome.resource.id(), Some(deidentifier.transfer_id("Patient", person).as_str()));
            }
            ids.insert(outcome.resource.id().unwrap().to_owned());
            text.push_str(&fhir::json::print(&outcome.resource, false));
            text.push('\n');
        }
    }
    let handed_out: usize = extracted.resources.values().map(Vec::len).sum();
    assert_eq!(ids.len(), handed_out, "ids stay apart");
    for patient in NETWORK.patients_of(0) {
        let identity = &patient.identity;
        let quoted =
            [&identity.given, &identity.family, &identity.city, &identity.postcode].map(|text| format!("\"{text}\""));
        let whole = [Some(&patient.id), Some(&identity.street), identity.insurance.as_ref()];
        for original in whole.into_iter().flatten().chain(&quoted) {
            assert!(!text.contains(original.as_str()), "{original} is left");
        }
        for diagnosis in &patient.diagnoses {
            assert!(!text.contains(diagnosis.text), "{} is left", diagnosis.text);
        }
    }
    assert!(text.contains("\"Observation\"") && text.contains("http://loinc.org"), "what is asked for is there");
}

#[test]
fn a_taker_that_cannot_go_on_ends_the_extraction() {
    let folder = tempfile::tempdir().unwrap();
    let (records, index) = (folder.path().join("records"), folder.path().join("index"));
    synthetic::write_site(&NETWORK, 0, &records).unwrap();
    folder::build(&records, &index, &mut |_| {}).unwrap();
    let source = Index::open(&index, Arc::new(Mapping::native().unwrap())).unwrap();
    let definition = Definition::parse(DEFINITION.as_bytes()).unwrap();
    let policy = ConsentPolicy::default();
    let extraction = Extraction { source: &source, definition: &definition, policy: &policy, today: today() };
    let error = extraction.run(&mut |_, _| Err("the disk is full".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
}
