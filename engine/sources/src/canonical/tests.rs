use std::collections::BTreeSet;

use serde_json::{Value, json};
use synthetic::Chance;

use super::fingerprint;
use crate::ccdl::Definition;
use crate::folder::tests::naive::scan;
use crate::folder::tests::random;
use crate::mapping::Mapping;
use crate::privacy::{Fingerprint, NoiseKey, Obfuscation};

const ICD: &str = "http://fhir.de/CodeSystem/bfarm/icd-10-gm";

fn asked(question: &Value) -> Fingerprint {
    let mapping = Mapping::native().unwrap();
    let definition = Definition::parse(question.to_string().as_bytes()).unwrap();
    fingerprint(&definition, &mapping).unwrap_or_else(|| panic!("not in the mapping: {question}"))
}

fn diagnosis(codes: &[&str]) -> Value {
    let codes: Vec<Value> = codes.iter().map(|code| json!({ "system": ICD, "code": code, "display": code })).collect();
    json!({ "context": { "system": "fdpg.mii.cds", "code": "Diagnose" }, "termCodes": codes })
}

fn with(mut criterion: Value, name: &str, value: Value) -> Value {
    criterion[name] = value;
    criterion
}

fn lab(filter: &Value) -> Value {
    json!({ "context": { "system": "fdpg.mii.cds", "code": "Laboruntersuchung" },
        "termCodes": [{ "system": "http://loinc.org", "code": "718-7" }], "valueFilter": filter })
}

fn age(filter: &Value) -> Value {
    json!({ "context": { "system": "fdpg.mii.cds", "code": "Patient" },
        "termCodes": [{ "system": "http://snomed.info/sct", "code": "424144002" }], "valueFilter": filter })
}

fn question(inclusion: &[Vec<Value>], exclusion: &[Vec<Value>]) -> Value {
    json!({ "version": "2", "inclusionCriteria": inclusion, "exclusionCriteria": exclusion })
}

/// One random step that changes how a question is written and not what it asks.
fn rephrase(chance: &mut Chance, question: &mut Value) {
    let list = if chance.percent(50) { "inclusionCriteria" } else { "exclusionCriteria" };
    let is_inclusion = list == "inclusionCriteria";
    let groups = question[list].as_array_mut().unwrap();
    let Some(at) = (!groups.is_empty()).then(|| chance.below(groups.len() as u64) as usize) else { return };
    match chance.below(7) {
        // Another order, of groups and of criteria.
        0 => groups.rotate_left(at),
        1 => groups[at].as_array_mut().unwrap().reverse(),
        // Once more.
        2 => groups.push(groups[at].clone()),
        3 => {
            let again = groups[at][0].clone();
            groups[at].as_array_mut().unwrap().push(again);
        }
        // A group that the chosen one implies.
        4 => {
            let mut wider = groups[at].clone();
            wider.as_array_mut().unwrap().push(diagnosis(&["J45"]));
            groups.push(wider);
        }
        // A criterion that says more than one that is enough.
        5 if is_inclusion => {
            let narrower = with(groups[at][0].clone(), "timeRestriction", json!({ "afterDate": "2021-03-01" }));
            let has_time =
                groups[at][0].get("timeRestriction").is_some() || groups[at][0]["context"]["code"] == "Patient";
            if !has_time {
                groups[at].as_array_mut().unwrap().push(narrower);
            }
        }
        // Synonyms as criteria of their own, and other words.
        _ => {
            let criterion = groups[at][0].clone();
            let codes = criterion["termCodes"].as_array().unwrap().clone();
            if is_inclusion && codes.len() > 1 {
                let apart = codes.iter().map(|code| with(criterion.clone(), "termCodes", json!([code])));
                let rest: Vec<Value> = groups[at].as_array().unwrap().iter().skip(1).cloned().collect();
                groups[at] = apart.chain(rest).collect();
            } else {
                groups[at][0]["termCodes"][0]["display"] = json!(chance.below(1000).to_string());
                question["display"] = json!(chance.below(1000).to_string());
            }
        }
    }
}

#[test]
fn fifty_phrasings_of_a_question_get_one_answer() {
    let base = question(
        &[
            vec![
                diagnosis(&["C34", "C50.4"]),
                lab(
                    &json!({ "type": "quantity-comparator", "comparator": "gt", "value": 3, "unit": { "code": "g/dL" } }),
                ),
            ],
            vec![age(
                &json!({ "type": "quantity-comparator", "comparator": "ge", "value": 18, "unit": { "code": "a" } }),
            )],
        ],
        &[vec![diagnosis(&["I10"]), diagnosis(&["E11"])]],
    );
    let mut chance = Chance::of(6, &[54]);
    let (mut texts, mut names, mut told) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    while texts.len() < 50 {
        let mut phrased = base.clone();
        for _ in 0..1 + chance.below(6) {
            rephrase(&mut chance, &mut phrased);
        }
        if texts.insert(phrased.to_string()) {
            let name = asked(&phrased);
            names.insert(name);
            told.insert(Obfuscation::default().tell(&NoiseKey::new([3; 32]), name, 1234));
        }
    }
    assert_eq!((names.len(), told.len()), (1, 1));
    assert_eq!(names.pop_first(), Some(asked(&base)));
}

/// The steps of the test above are what they say: a scan that knows no normal form finds the same persons.
#[test]
fn random_questions_and_their_phrasings_have_the_same_persons_and_the_same_name() {
    let mapping = Mapping::native().unwrap();
    let mut names = BTreeSet::new();
    let mut changed = 0;
    for seed in 0..12 {
        let mut chance = Chance::of(seed, &[54]);
        let records = random::records(&mut chance);
        for _ in 0..6 {
            let mut question = random::question(&mut chance);
            if question.get("exclusionCriteria").is_none() {
                question["exclusionCriteria"] = json!([]);
            }
            let before = scan(&records, &question);
            let definition = Definition::parse(question.to_string().as_bytes()).unwrap();
            let Some(name) = fingerprint(&definition, &mapping) else { continue };
            names.insert(name);
            for _ in 0..6 {
                let mut phrased = question.clone();
                for _ in 0..1 + chance.below(4) {
                    rephrase(&mut chance, &mut phrased);
                }
                let definition = Definition::parse(phrased.to_string().as_bytes()).unwrap();
                // A step may ask for a time of what has none.
                let Some(phrased_name) = fingerprint(&definition, &mapping) else { continue };
                assert_eq!(scan(&records, &phrased), before, "seed {seed}: {phrased}");
                assert_eq!(phrased_name, name, "seed {seed}: {question}\n{phrased}");
                changed += usize::from(phrased != question);
            }
        }
    }
    assert!(changed > 200, "{changed}");
    assert!(names.len() > 50, "different questions are different: {}", names.len());
}

#[test]
fn the_same_bounds_codes_dates_and_ages_are_the_same_question() {
    let one = |criterion: Value| asked(&question(&[vec![criterion]], &[]));
    let unit = json!({ "code": "g/dL" });
    let range = |low: f64, high: f64| {
        lab(&json!({ "type": "quantity-range", "minValue": low, "maxValue": high, "unit": unit }))
    };
    let equal = lab(&json!({ "type": "quantity-comparator", "comparator": "eq", "value": 5, "unit": unit }));
    assert_eq!(one(range(5.0, 5.0)), one(equal));
    assert_ne!(one(range(5.0, 5.0)), one(range(5.0, 6.0)));
    // What is below a code of a classification is in it already.
    assert_eq!(one(diagnosis(&["C34"])), one(diagnosis(&["C34", "C34.1"])));
    assert_ne!(one(diagnosis(&["C34"])), one(diagnosis(&["C34.1"])));
    let both = question(&[vec![diagnosis(&["C34.1"]), diagnosis(&["C34"])]], &[]);
    assert_eq!(one(diagnosis(&["C34"])), asked(&both));
    // Of two that must both hold the narrower is enough.
    let both = question(&[vec![diagnosis(&["J45"])]], &[vec![diagnosis(&["C34"]), diagnosis(&["C34.1"])]]);
    assert_eq!(asked(&question(&[vec![diagnosis(&["J45"])]], &[vec![diagnosis(&["C34.1"])]])), asked(&both));
    let since = |date: &str| one(with(diagnosis(&["C34"]), "timeRestriction", json!({ "afterDate": date })));
    assert_eq!(since("2021-01"), since("2021-01-01"));
    assert_eq!(since("2021-01-01"), since("2021-01-01T08:00:00+01:00"));
    assert_ne!(since("2021-01-01"), since("2021-01-02"));
    let old = |value: u32, unit: &str| {
        one(age(
            &json!({ "type": "quantity-comparator", "comparator": "ge", "value": value, "unit": { "code": unit } }),
        ))
    };
    assert_eq!(old(2, "a"), old(24, "mo"));
    assert_ne!(old(2, "a"), old(25, "mo"));
    // A context that has another name means the same resources.
    let renamed = with(
        lab(&json!({ "type": "quantity-range", "minValue": 1, "maxValue": 2 })),
        "context",
        json!({ "system": "x", "code": "Observation" }),
    );
    assert_eq!(one(lab(&json!({ "type": "quantity-range", "minValue": 1, "maxValue": 2 }))), one(renamed));
}

#[test]
fn what_asks_something_else_is_another_question() {
    let (a, b, c) = (diagnosis(&["C34"]), diagnosis(&["J45"]), diagnosis(&["E11"]));
    let all = [
        question(&[vec![a.clone()]], &[]),
        question(&[vec![a.clone()], vec![b.clone()]], &[]),
        question(&[vec![a.clone(), b.clone()]], &[]),
        question(&[vec![a.clone()]], &[vec![b.clone()]]),
        question(&[vec![a.clone()]], &[vec![b.clone(), c.clone()]]),
        question(&[vec![a.clone()]], &[vec![b.clone()], vec![c.clone()]]),
        question(&[vec![a.clone(), b.clone()], vec![c.clone()]], &[]),
        question(&[vec![a.clone(), c.clone()], vec![b.clone()]], &[]),
        question(&[vec![b.clone()]], &[vec![a.clone()]]),
        question(&[vec![with(a.clone(), "timeRestriction", json!({ "afterDate": "2020" }))]], &[]),
        question(&[vec![with(a, "timeRestriction", json!({ "beforeDate": "2020" }))]], &[]),
    ];
    let names: BTreeSet<Fingerprint> = all.iter().map(asked).collect();
    assert_eq!(names.len(), all.len());
}

/// A definition at every limit is brought to its form in a moment.
#[test]
fn many_criteria_and_codes_take_no_time() {
    let many: Vec<Value> =
        (0..450).map(|number| diagnosis(&[&format!("C{:02}.{}", number % 90, number % 10)])).collect();
    let begun = std::time::Instant::now();
    asked(&question(&[many.clone(), many.iter().rev().cloned().collect()], &[]));
    asked(&question(&[vec![diagnosis(&["J45"])]], &[many]));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
