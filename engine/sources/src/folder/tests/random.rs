//! Random records and random questions that use every operator.

use serde_json::{Value, json};
use synthetic::Chance;

pub(crate) const ICD: &str = "http://fhir.de/CodeSystem/bfarm/icd-10-gm";
pub(crate) const LOINC: &str = "http://loinc.org";
pub(crate) const ATC: &str = "http://fhir.de/CodeSystem/bfarm/atc";
pub(crate) const SNOMED: &str = "http://snomed.info/sct";
pub(crate) const ELEMENTS: &str = "http://hl7.org/fhir/StructureDefinition";

const DIAGNOSES: &[&str] = &["C34", "C34.1", "C34.3", "C50.4", "E11.90", "I10.00", "J45"];
const LABS: &[&str] = &["718-7", "4548-4", "2160-0", "85354-9"];
const COMPONENTS: &[&str] = &["8480-6", "8462-4"];
const SUBSTANCES: &[&str] = &["A10BA02", "A10BB01", "C09AA05"];
const UNITS: &[&str] = &["g/dL", "%", ""];
const VALUES: &[&str] = &["260385009", "10828004"];
const SPECIMENS: &[&str] = &["119297000", "122555007"];

/// Resources of some persons; among them references to nobody, resources without a date, partial dates.
pub(crate) fn records(chance: &mut Chance) -> Vec<Value> {
    let mut records = Vec::new();
    let medications: Vec<String> = SUBSTANCES
        .iter()
        .map(|code| {
            records.push(
                json!({"resourceType":"Medication","id":format!("m-{code}"),"code":{"coding":[coding(ATC, code)]}}),
            );
            format!("Medication/m-{code}")
        })
        .collect();
    let persons = 20 + chance.below(30);
    for person in 0..persons {
        if !chance.percent(8) {
            let mut patient = json!({"resourceType":"Patient","id":format!("p{person}")});
            if !chance.percent(10) {
                patient["gender"] = json!(["male", "female", "other"][chance.below(3) as usize]);
            }
            if !chance.percent(10) {
                patient["birthDate"] = json!(date(chance, 1930, 95));
            }
            records.push(patient);
        }
        let subject = json!({"reference": if chance.percent(90) { format!("Patient/p{person}") } else { format!("https://x.example/fhir/Patient/p{person}/_history/2") }});
        for number in 0..chance.below(9) {
            let id = format!("r{person}-{number}");
            let specimen = format!("s{person}-{number}");
            match chance.below(4) {
                0 => records.push(condition(chance, &id, &subject)),
                1 | 2 => {
                    let mut observation = observation(chance, &id, &subject);
                    if chance.percent(40) {
                        observation["specimen"] = json!({"reference": format!("Specimen/{specimen}")});
                        if chance.percent(85) {
                            let code = one(chance, SPECIMENS);
                            records.push(json!({"resourceType":"Specimen","id":specimen,"subject":subject,"type":{"coding":[coding(SNOMED, code)]}}));
                        }
                    }
                    records.push(observation);
                }
                _ => {
                    let mut statement = json!({"resourceType":"MedicationStatement","id":id,"subject":subject});
                    if chance.percent(50) {
                        statement["medicationReference"] = json!({"reference": chance.one_of(&medications).unwrap()});
                    } else {
                        statement["medicationCodeableConcept"] =
                            json!({"coding":[coding(ATC, one(chance, SUBSTANCES))]});
                    }
                    if chance.percent(80) {
                        statement["effectivePeriod"] = json!({"start": date(chance, 2018, 4)});
                        if chance.percent(50) {
                            statement["effectivePeriod"]["end"] = json!(date(chance, 2022, 4));
                        }
                    }
                    records.push(statement);
                }
            }
        }
    }
    records
}

fn condition(chance: &mut Chance, id: &str, subject: &Value) -> Value {
    let mut codings = vec![coding(ICD, one(chance, DIAGNOSES))];
    if chance.percent(20) {
        codings.push(coding(ICD, one(chance, DIAGNOSES)));
    }
    let mut condition = json!({"resourceType":"Condition","id":id,"subject":subject,"code":{"coding":codings}});
    if chance.percent(50) {
        condition["onsetDateTime"] = json!(date(chance, 2018, 8));
    }
    if chance.percent(60) {
        condition["recordedDate"] = json!(date(chance, 2018, 8));
    }
    if chance.percent(50) {
        condition["bodySite"] = json!([{"coding":[coding(SNOMED, one(chance, SPECIMENS))]}]);
    }
    condition
}

fn observation(chance: &mut Chance, id: &str, subject: &Value) -> Value {
    let code = one(chance, LABS);
    let mut observation = json!({"resourceType":"Observation","id":id,"subject":subject,"status":"final","code":{"coding":[coding(LOINC, code)]}});
    if chance.percent(85) {
        observation["effectiveDateTime"] = json!(date(chance, 2018, 8));
    }
    match chance.below(4) {
        0 => observation["valueCodeableConcept"] = json!({"coding":[coding(SNOMED, one(chance, VALUES))]}),
        1 => {
            let components = COMPONENTS.iter().filter_map(|code| {
                let value = chance.below(12);
                let component =
                    json!({"code":{"coding":[coding(LOINC, code)]},"valueQuantity":{"value":value,"code":"g/dL"}});
                (value < 10).then_some(component)
            });
            observation["component"] = components.collect::<Vec<_>>().into();
        }
        _ => {
            let mut quantity = json!({"value": chance.below(20) as f64 / 2.0});
            let unit = one(chance, UNITS);
            if !unit.is_empty() {
                quantity["code"] = json!(unit);
                quantity["system"] = json!("http://unitsofmeasure.org");
            }
            observation["valueQuantity"] = quantity;
        }
    }
    observation
}

fn one<'t>(chance: &mut Chance, list: &'t [&str]) -> &'t str {
    chance.one_of(list).unwrap()
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

fn date(chance: &mut Chance, year: u64, years: u64) -> String {
    let (year, month, day) = (year + chance.below(years), 1 + chance.below(12), 1 + chance.below(28));
    match chance.below(10) {
        0 => format!("{year}"),
        1 => format!("{year}-{month:02}"),
        2 => format!("{year}-{month:02}-{day:02}T23:30:00+02:00"),
        _ => format!("{year}-{month:02}-{day:02}"),
    }
}

/// A question.
pub(crate) fn question(chance: &mut Chance) -> Value {
    let mut groups = |most: u64, least: u64| -> Vec<Vec<Value>> {
        (0..least + chance.below(most))
            .map(|_| (0..1 + chance.below(2)).map(|_| criterion(chance, true)).collect())
            .collect()
    };
    json!({"version":"2","inclusionCriteria":groups(2, 1),"exclusionCriteria":groups(2, 0)})
}

fn criterion(chance: &mut Chance, may_refer: bool) -> Value {
    let context = |code: &str| json!({"system":"fdpg.mii.cds","code":code,"display":""});
    let mut criterion = match chance.below(6) {
        0 => json!({"context":context("Patient"),"termCodes":[coding(SNOMED, "263495000")],
            "valueFilter":{"type":"concept","selectedConcepts":[coding("http://hl7.org/fhir/administrative-gender", ["male", "female"][chance.below(2) as usize])]}}),
        1 => {
            let unit = ["a", "mo"][chance.below(2) as usize];
            json!({"context":context("Patient"),"termCodes":[coding(SNOMED, "424144002")], "valueFilter": quantity(chance, unit, 90)})
        }
        2 => {
            let codes = (0..1 + chance.below(2)).map(|_| coding(ICD, one(chance, DIAGNOSES))).collect::<Vec<_>>();
            let mut criterion = json!({"context":context("Diagnose"),"termCodes":codes});
            if chance.percent(25) {
                criterion["attributeFilters"] = json!([{"type":"concept","attributeCode":coding(ELEMENTS, "bodySite"),"selectedConcepts":[coding(SNOMED, one(chance, SPECIMENS))]}]);
            }
            criterion
        }
        3 => {
            json!({"context":context("Medikationsaussage"),"termCodes":[coding(ATC, ["A10BA02", "A10B", "A10", "C09AA05"][chance.below(4) as usize])]})
        }
        _ => {
            let mut criterion =
                json!({"context":context("Laboruntersuchung"),"termCodes":[coding(LOINC, one(chance, LABS))]});
            match chance.below(6) {
                0 => {
                    criterion["valueFilter"] =
                        json!({"type":"concept","selectedConcepts":[coding(SNOMED, one(chance, VALUES))]})
                }
                1 | 2 => {
                    criterion["valueFilter"] = {
                        let unit = one(chance, UNITS);
                        quantity(chance, unit, 10)
                    }
                }
                3 => {
                    let mut filter = quantity(chance, "g/dL", 10);
                    filter["attributeCode"] = coding(LOINC, one(chance, COMPONENTS));
                    criterion["attributeFilters"] = json!([filter]);
                }
                4 if may_refer => {
                    let specimen =
                        json!({"context":context("Bioprobe"),"termCodes":[coding(SNOMED, one(chance, SPECIMENS))]});
                    criterion["attributeFilters"] = json!([{"type":"reference","attributeCode":coding(ELEMENTS, "specimen"),"criteria":[specimen]}]);
                }
                _ => {}
            }
            criterion
        }
    };
    if criterion["context"]["code"] != "Patient" && chance.percent(35) {
        let mut time = json!({});
        let year = 2018 + chance.below(7);
        if chance.percent(70) {
            time["afterDate"] = json!(format!("{year}-04-15"));
        }
        if chance.percent(60) || time.as_object().unwrap().is_empty() {
            time["beforeDate"] = json!(format!("{}-08-20", year + chance.below(3)));
        }
        criterion["timeRestriction"] = time;
    }
    criterion
}

fn quantity(chance: &mut Chance, unit: &str, most: u64) -> Value {
    let mut filter = if chance.percent(25) {
        let low = chance.below(most);
        json!({"type":"quantity-range","minValue":low,"maxValue":low + chance.below(most)})
    } else {
        let comparator = ["gt", "ge", "lt", "le", "eq", "ne"][chance.below(6) as usize];
        json!({"type":"quantity-comparator","comparator":comparator,"value":chance.below(most * 2) as f64 / 2.0})
    };
    if !unit.is_empty() {
        filter["unit"] = json!({"code":unit,"display":unit});
    }
    filter
}
