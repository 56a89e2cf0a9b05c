//! `share_a22`: answers equal those of a scan that knows neither index, nor mapping, nor plan.
//!
//! The scan reads the question's JSON and walks every record for every criterion; the meaning of each operator is written
//! here a second time, as the specification states it.

use std::collections::BTreeSet;

use serde_json::Value;
use synthetic::Chance;
use time::Date;
use time::macros::date;

use super::{Folder, random};
use crate::ccdl::Definition;
use crate::records::Records;

pub(crate) const TODAY: Date = date!(2026 - 11 - 22);

#[test]
fn share_a22_counts_equal_a_naive_scan_for_questions_with_every_operator() {
    let (mut questions, mut answers_with_persons) = (0, 0);
    let mut used: BTreeSet<String> = BTreeSet::new();
    for seed in 0..40 {
        let mut chance = Chance::of(seed, &[22]);
        let records = random::records(&mut chance);
        let folder = Folder::new();
        write(&folder, &mut chance, &records);
        let index = folder.index();
        for _ in 0..15 {
            let question = random::question(&mut chance);
            let definition = Definition::parse(question.to_string().as_bytes()).unwrap();
            let answer: BTreeSet<String> =
                index.cohort(&definition, TODAY).unwrap().iter().map(ToString::to_string).collect();
            let scanned = scan(&records, &question);
            assert_eq!(answer, scanned, "seed {seed}: {question}");
            questions += 1;
            answers_with_persons += usize::from(!scanned.is_empty());
            note_operators(&question, &mut used);
        }
    }
    assert!(questions >= 500, "{questions}");
    assert!(answers_with_persons * 4 > questions, "most answers are empty: {answers_with_persons} of {questions}");
    for operator in [
        "gt",
        "ge",
        "lt",
        "le",
        "eq",
        "ne",
        "concept",
        "quantity-range",
        "reference",
        "afterDate",
        "beforeDate",
        "exclusion",
        "attribute",
    ] {
        assert!(used.contains(operator), "no question used {operator}");
    }
}

/// Some records as lines, some in Bundles, spread over files.
fn write(folder: &Folder, chance: &mut Chance, records: &[Value]) {
    let mut lines = [String::new(), String::new()];
    let mut entries = Vec::new();
    for record in records {
        match chance.below(3) {
            0 => entries.push(serde_json::json!({"resource": record})),
            place => {
                let lines = &mut lines[place as usize - 1];
                lines.push_str(&record.to_string());
                lines.push('\n');
            }
        }
    }
    folder.write("a.ndjson", &lines[0]);
    folder
        .write("b.json", &serde_json::json!({"resourceType":"Bundle","type":"collection","entry":entries}).to_string());
    folder.write("c.ndjson", &lines[1]);
}

fn note_operators(question: &Value, used: &mut BTreeSet<String>) {
    let text = question.to_string();
    for operator in ["gt", "ge", "lt", "le", "eq", "ne", "concept", "quantity-range", "reference"] {
        if text.contains(&format!("\"{operator}\"")) {
            used.insert(operator.to_owned());
        }
    }
    for (sign, operator) in [("afterDate", "afterDate"), ("beforeDate", "beforeDate"), ("attributeCode", "attribute")] {
        if text.contains(sign) {
            used.insert(operator.to_owned());
        }
    }
    if question["exclusionCriteria"].as_array().is_some_and(|groups| !groups.is_empty()) {
        used.insert("exclusion".to_owned());
    }
}

pub(crate) fn scan(records: &[Value], question: &Value) -> BTreeSet<String> {
    let patients = records.iter().filter(|record| record["resourceType"] == "Patient");
    let groups = |name: &str| question[name].as_array().cloned().unwrap_or_default();
    let holds = |criterion: &Value, person: &str| {
        records.iter().any(|record| person_of(record).as_deref() == Some(person) && meets(records, record, criterion))
    };
    patients
        .map(|patient| patient["id"].as_str().unwrap().to_owned())
        .filter(|person| {
            let included = groups("inclusionCriteria")
                .iter()
                .all(|group| list(group).iter().any(|criterion| holds(criterion, person)));
            let excluded = groups("exclusionCriteria")
                .iter()
                .any(|group| list(group).iter().all(|criterion| holds(criterion, person)));
            included && !excluded
        })
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn person_of(record: &Value) -> Option<String> {
    if record["resourceType"] == "Patient" {
        return record["id"].as_str().map(str::to_owned);
    }
    let reference = record["subject"]["reference"].as_str()?;
    let rest = reference.split("Patient/").nth(1)?;
    rest.split('/').next().map(str::to_owned)
}

fn meets(records: &[Value], record: &Value, criterion: &Value) -> bool {
    let resource = record["resourceType"].as_str().unwrap();
    match criterion["context"]["code"].as_str().unwrap() {
        "Patient" => resource == "Patient" && patient_meets(record, criterion),
        "Diagnose" => {
            resource == "Condition"
                && list(&criterion["termCodes"]).iter().any(|code| has_code_below(&record["code"], code))
                && list(&criterion["attributeFilters"]).iter().all(|filter| {
                    list(&record["bodySite"])
                        .iter()
                        .any(|site| list(&filter["selectedConcepts"]).iter().any(|concept| has_code(site, concept)))
                })
                && in_time(
                    criterion,
                    if record["onsetDateTime"].is_string() {
                        &record["onsetDateTime"]
                    } else {
                        &record["recordedDate"]
                    },
                )
        }
        "Medikationsaussage" => {
            let code = &criterion["termCodes"][0];
            let direct = has_code_below(&record["medicationCodeableConcept"], code);
            let linked = record["medicationReference"]["reference"].as_str().is_some_and(|reference| {
                records.iter().any(|other| {
                    format!("Medication/{}", other["id"].as_str().unwrap()) == reference
                        && other["resourceType"] == "Medication"
                        && has_code_below(&other["code"], code)
                })
            });
            resource == "MedicationStatement" && (direct || linked) && in_time(criterion, &record["effectivePeriod"])
        }
        "Bioprobe" => resource == "Specimen" && has_code(&record["type"], &criterion["termCodes"][0]),
        _ => {
            resource == "Observation"
                && has_code(&record["code"], &criterion["termCodes"][0])
                && (criterion["valueFilter"].is_null() || value_meets(record, &criterion["valueFilter"]))
                && list(&criterion["attributeFilters"]).iter().all(|filter| attribute_meets(records, record, filter))
                && in_time(criterion, &record["effectiveDateTime"])
        }
    }
}

fn patient_meets(record: &Value, criterion: &Value) -> bool {
    let filter = &criterion["valueFilter"];
    if filter["type"] == "concept" {
        return list(&filter["selectedConcepts"]).iter().any(|concept| concept["code"] == record["gender"]);
    }
    let Some((first, last)) = record["birthDate"].as_str().map(interval) else { return false };
    let months = filter["unit"]["code"] == "mo";
    let mut day = first;
    while day <= last {
        if number_meets(age(day, months) as f64, filter) {
            return true;
        }
        day = day.next_day().unwrap();
    }
    false
}

/// Whole years or months between the day and today, counted one by one.
fn age(birth: Date, months: bool) -> i64 {
    let mut whole = i64::from(TODAY.year() - birth.year()) * 12 + i64::from(u8::from(TODAY.month()))
        - i64::from(u8::from(birth.month()));
    if TODAY.day() < birth.day() {
        whole -= 1;
    }
    if months { whole } else { whole.div_euclid(12) }
}

fn attribute_meets(records: &[Value], record: &Value, filter: &Value) -> bool {
    if filter["type"] == "reference" {
        return list(&filter["criteria"]).iter().any(|criterion| {
            records.iter().any(|other| {
                let name = format!("{}/{}", other["resourceType"].as_str().unwrap(), other["id"].as_str().unwrap());
                record["specimen"]["reference"].as_str() == Some(name.as_str()) && meets(records, other, criterion)
            })
        });
    }
    list(&record["component"])
        .iter()
        .any(|component| has_code(&component["code"], &filter["attributeCode"]) && value_meets(component, filter))
}

fn value_meets(element: &Value, filter: &Value) -> bool {
    if filter["type"] == "concept" {
        return list(&filter["selectedConcepts"])
            .iter()
            .any(|concept| has_code(&element["valueCodeableConcept"], concept));
    }
    let quantity = &element["valueQuantity"];
    quantity["value"]
        .as_f64()
        .is_some_and(|value| quantity["code"] == filter["unit"]["code"] && number_meets(value, filter))
}

fn number_meets(value: f64, filter: &Value) -> bool {
    if filter["type"] == "quantity-range" {
        return value >= filter["minValue"].as_f64().unwrap() && value <= filter["maxValue"].as_f64().unwrap();
    }
    let bound = filter["value"].as_f64().unwrap();
    match filter["comparator"].as_str().unwrap() {
        "gt" => value > bound,
        "ge" => value >= bound,
        "lt" => value < bound,
        "le" => value <= bound,
        "eq" => value == bound,
        _ => value != bound,
    }
}

fn has_code(concept: &Value, wanted: &Value) -> bool {
    list(&concept["coding"])
        .iter()
        .any(|coding| coding["system"] == wanted["system"] && coding["code"] == wanted["code"])
}

fn has_code_below(concept: &Value, wanted: &Value) -> bool {
    list(&concept["coding"]).iter().any(|coding| {
        coding["system"] == wanted["system"]
            && coding["code"].as_str().unwrap().starts_with(wanted["code"].as_str().unwrap())
    })
}

fn in_time(criterion: &Value, time: &Value) -> bool {
    let restriction = &criterion["timeRestriction"];
    if restriction.is_null() {
        return true;
    }
    let after = restriction["afterDate"].as_str().map_or(Date::MIN, |text| interval(text).0);
    let before = restriction["beforeDate"].as_str().map_or(Date::MAX, |text| interval(text).1);
    let (first, last) = match time {
        Value::String(text) => interval(text),
        Value::Object(period) => (
            period.get("start").and_then(Value::as_str).map_or(Date::MIN, |text| interval(text).0),
            period.get("end").and_then(Value::as_str).map_or(Date::MAX, |text| interval(text).1),
        ),
        _ => return false,
    };
    first <= last && first <= before && after <= last
}

fn interval(text: &str) -> (Date, Date) {
    let day = |text: &str| Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).unwrap();
    match text.len() {
        4 => (day(&format!("{text}-01-01")), day(&format!("{text}-12-31"))),
        7 => {
            let first = day(&format!("{text}-01"));
            (first, first.replace_day(first.month().length(first.year())).unwrap())
        }
        _ => {
            let only = day(text.get(..10).unwrap());
            (only, only)
        }
    }
}
