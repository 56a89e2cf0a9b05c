//! One test that every kind of source passes: the same questions, the same answers, the same refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use synthetic::Chance;

use super::cql_server::{self, Way};
use super::harness::Desk;
use super::{fhir_server, flare_server};
use crate::date::Days;
use crate::folder::tests::naive::{TODAY, scan};
use crate::folder::tests::{Folder, random};
use crate::folder::{FolderSource, Index};
use crate::mapping::Mapping;
use crate::records::{CodedElement, Selection};
use crate::server::Kind;
use crate::source::{Cql, Language, Question, Source, count_all};
use crate::{QueryError, SourceError};

/// Records, their index, and questions that do not depend on the day.
struct Records {
    folder: Folder,
    records: Vec<Value>,
    questions: Vec<Value>,
}

impl Records {
    fn new() -> Self {
        let mut chance = Chance::of(7, &[15]);
        let mut records = random::records(&mut chance);
        records.extend(random::records(&mut chance).iter().map(renamed));
        let folder = Folder::new();
        let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
        folder.write("records.ndjson", &lines.join("\n"));
        folder.build().unwrap();
        let questions = std::iter::repeat_with(|| random::question(&mut chance));
        let questions = questions.filter(|question| !question.to_string().contains("424144002")).take(25).collect();
        Self { folder, records, questions }
    }

    fn index(&self) -> Arc<Index> {
        Arc::new(self.folder.open())
    }
}

/// The same under other ids, so that two sets can stand beside each other.
fn renamed(record: &Value) -> Value {
    let text = record.to_string().replace("Patient/p", "Patient/q").replace("\"id\":\"p", "\"id\":\"q");
    let text = text.replace("\"id\":\"r", "\"id\":\"t").replace("\"id\":\"s", "\"id\":\"u");
    serde_json::from_str(&text.replace("Specimen/s", "Specimen/u")).unwrap()
}

fn asked(question: &Value) -> Question {
    let text = cql_server::library(&question.to_string());
    let cql = Cql { text, expression: "InInitialPopulation".to_owned() };
    Question { definition: Some(question.to_string().into_bytes()), cql: Some(cql) }
}

/// What is expected of any source over the records.
async fn conforms(source: &Arc<dyn Source>, records: &Records) {
    let name = source.name().to_owned();
    assert!(!source.check().await.unwrap().is_empty(), "{name}");
    let mut with_persons = 0;
    for question in &records.questions {
        let expected = scan(&records.records, question).len() as u64;
        assert_eq!(source.count(&asked(question)).await.unwrap(), expected, "{name}: {question}");
        // Again: the same.
        assert_eq!(source.count(&asked(question)).await.unwrap(), expected, "{name}: {question}");
        with_persons += usize::from(expected > 0);
    }
    assert!(with_persons > 5, "most questions have no persons");
    // What nobody knows is an error and no zero.
    let unknown = json!({"inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Diagnose"},
        "termCodes":[{"system":random::ICD,"code":"ZZZ"}]}]]});
    assert!(source.count(&asked(&unknown)).await.is_err(), "{name}");
    // A question without the language of the source has no answer, though it has the other one.
    let whole = asked(&records.questions[0]);
    let (lacking, is_expected): (_, fn(&SourceError) -> bool) = match source.language() {
        Language::Ccdl => (Question { definition: None, ..whole }, |error| matches!(error, SourceError::NoDefinition)),
        Language::Cql => (Question { cql: None, ..whole }, |error| matches!(error, SourceError::NoCql)),
    };
    let error = source.count(&lacking).await.unwrap_err();
    assert!(is_expected(&error) && !error.may_pass(), "{name}: {error}");
    // A definition that is none.
    let broken = Question { definition: Some(b"{".to_vec()), cql: None };
    let error = source.count(&broken).await.unwrap_err();
    assert!(matches!(error, SourceError::Query(QueryError::Unreadable(_)) | SourceError::NoCql), "{name}: {error}");
}

#[tokio::test]
async fn every_kind_of_source_gives_the_same_answers() {
    let (records, desk) = (Records::new(), Desk::new());
    let mapping = Arc::new(Mapping::native().unwrap());
    let fhir = fhir_server::start(records.records.clone()).await;
    let flare = flare_server::start(records.index()).await;
    let cql = cql_server::start(records.index(), Way::AtOnce).await;
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(FolderSource::new(records.folder.index_path().to_owned(), mapping)),
        desk.source(Kind::Fhir, &fhir.url("/fhir")),
        desk.source(Kind::Flare, &flare.url("/flare")),
        desk.source(Kind::Cql, &cql.url("/fhir")),
    ];
    for source in &sources {
        conforms(source, &records).await;
    }
    // share_a15: the count of a site is the sum over its sources, and if one fails there is none.
    let question = records.questions.iter().find(|question| !scan(&records.records, question).is_empty()).unwrap();
    let one = scan(&records.records, question).len() as u64;
    assert_eq!(count_all(&sources, &asked(question)).await.unwrap(), 4 * one);
    let mut with_broken = sources;
    with_broken.push(desk.source(Kind::Flare, "http://localhost:1/flare"));
    let error = count_all(&with_broken, &asked(question)).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(count_all(&[], &asked(question)).await.is_err());
}

/// Everything that the records of a source say, in an order that hangs on no source.
fn told(records: &dyn crate::Records, wanted: &Records) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let persons = records.persons().unwrap();
    assert!(persons.is_sorted() && persons.len() > 20);
    told.insert("persons".to_owned(), persons.iter().map(ToString::to_string).collect());
    let types = ["Patient", "Condition", "Observation", "MedicationStatement", "Specimen", "Medication", "Consent"];
    let whole = Selection { types: types.map(str::to_owned).into(), ..Selection::default() };
    let some = Selection {
        codes: vec![CodedElement {
            element: "Condition.code".to_owned(),
            system: random::ICD.to_owned(),
            code: "C34.1".to_owned(),
        }],
        time: Some((vec!["Condition.recordedDate".to_owned()], Days::period(Some("2018"), Some("2026")).unwrap())),
        ..Selection::of_type("Condition")
    };
    for (name, selection) in [("whole", &whole), ("some", &some)] {
        for person in persons.iter().chain([&crate::PersonId::new("nobody")]) {
            let found = records.resources_of(person, selection).unwrap();
            let texts = found.iter().map(|record| fhir::json::print(&record.resource, false));
            told.insert(format!("{name} {person}"), texts.collect());
        }
    }
    for question in &wanted.questions {
        let definition = asked(question).definition().unwrap();
        let cohort: BTreeSet<String> =
            records.cohort(&definition, TODAY).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(cohort, scan(&wanted.records, question));
        told.insert(question.to_string(), cohort);
    }
    for reference in [
        "Medication/m-A10BA02",
        "https://x.example/fhir/Medication/m-A10BA02/_history/1",
        "Medication/none",
        "#1",
        "Medication/..%2f",
    ] {
        let found = records.referenced(reference).unwrap();
        told.insert(
            reference.to_owned(),
            found.iter().map(|record| fhir::json::print(&record.resource, false)).collect(),
        );
    }
    told
}

#[tokio::test]
async fn every_source_with_records_gives_the_same_records() {
    let (records, desk) = (Records::new(), Desk::new());
    let mapping = Arc::new(Mapping::native().unwrap());
    let server = fhir_server::start(records.records.clone()).await;
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(FolderSource::new(records.folder.index_path().to_owned(), mapping)),
        desk.source(Kind::Fhir, &server.url("/fhir")),
    ];
    let records = Arc::new(records);
    let mut answers = Vec::new();
    for source in sources {
        let (opened, wanted) = (source.records().unwrap(), Arc::clone(&records));
        let reading = tokio::task::spawn_blocking(move || told(opened.as_ref(), &wanted));
        answers.push(reading.await.unwrap());
    }
    assert!(answers[0].iter().filter(|(name, found)| name.starts_with("some ") && !found.is_empty()).count() > 0);
    assert_eq!(answers[0]["Medication/m-A10BA02"].len(), 1);
    for (name, found) in &answers[0] {
        assert_eq!(Some(found), answers[1].get(name), "{name}");
    }
    // What only counts says so.
    for (kind, path) in [(Kind::Flare, "/flare"), (Kind::Cql, "/fhir")] {
        let error = desk.source(kind, &server.url(path)).records().err().unwrap();
        assert!(matches!(error, SourceError::CountsOnly { .. }) && !error.may_pass(), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("fhir")));
    }
}

/// Whatever a server gives, nobody gets the records of another person, and half an answer is none.
#[tokio::test]
async fn a_server_that_gives_other_records_or_too_few_is_not_believed() {
    let desk = Desk::new();
    let of = |person: &str, id: &str| json!({ "resourceType": "Condition", "id": id, "subject": { "reference": format!("Patient/{person}") } });
    let bundle = |entries: &[Value], total: usize| {
        let entries: Vec<Value> = entries.iter().map(|entry| json!({ "resource": entry })).collect();
        json!({ "resourceType": "Bundle", "type": "searchset", "total": total, "entry": entries })
    };
    let other_type = json!({ "resourceType": "Observation", "id": "3", "subject": { "reference": "Patient/a" } });
    let cases = [
        (bundle(&[of("a", "1"), of("b", "2"), of("a", "3")], 3), Some(2)),
        (bundle(&[of("a", "1")], 2), None),
        (bundle(&[of("a", "1"), other_type], 2), None),
        (bundle(&[json!({ "resourceType": "Condition", "subject": { "reference": "Patient/a" } })], 1), None),
        (json!({ "resourceType": "Bundle", "type": "collection" }), None),
        (json!({ "resourceType": "OperationOutcome" }), None),
    ];
    for (answer, expected) in cases {
        let text = answer.to_string();
        let server = super::harness::Server::plain(move |_| super::harness::json(&answer)).await;
        let records = desk.source(Kind::Fhir, &server.url("/fhir")).records().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let found = records.resources_of(&crate::PersonId::new("a"), &Selection::of_type("Condition"));
            // The server gives another resource than the one that was asked for.
            assert!(records.referenced("Medication/9").is_err());
            found.map(|found| found.len()).ok()
        });
        assert_eq!(reading.await.unwrap(), expected, "{text}");
    }
    let gone = desk.source(Kind::Fhir, "http://localhost:1/fhir").records().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let unknown = gone.resources_of(&crate::PersonId::new("a"), &Selection::of_type("Measure")).unwrap_err();
        assert!(!unknown.may_pass() && unknown.to_string().contains("Measure"), "{unknown}");
        gone.resources_of(&crate::PersonId::new("a"), &Selection::of_type("Condition")).unwrap_err()
    });
    let error = reading.await.unwrap();
    assert!(error.may_pass(), "a server that is away may come back: {error}");
}

#[tokio::test]
async fn an_evaluation_that_runs_on_is_asked_for_until_it_is_done() {
    let (records, desk) = (Records::new(), Desk::new());
    let server = cql_server::start(records.index(), Way::Later).await;
    let source = desk.source(Kind::Cql, &server.url("/fhir"));
    let expected = scan(&records.records, &records.questions[0]).len() as u64;
    assert_eq!(source.count(&asked(&records.questions[0])).await.unwrap(), expected);
    let looks = server.arrived().iter().filter(|request| request.path.contains("__async-status")).count();
    assert_eq!(looks, 2);
}

#[tokio::test]
async fn share_a22_searches_find_the_persons_of_a_naive_scan_with_every_operator() {
    let desk = Desk::new();
    let mapping = Arc::new(Mapping::native().unwrap());
    for seed in 0..6 {
        let mut chance = Chance::of(seed, &[23]);
        let records = random::records(&mut chance);
        let server = fhir_server::start(records.clone()).await;
        let source = super::searching::fhir(&desk, &server.url("/fhir"), &mapping);
        for _ in 0..15 {
            let question = random::question(&mut chance);
            let found = source.cohort(&asked(&question).definition().unwrap(), TODAY).await.unwrap();
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), scan(&records, &question), "{question}");
        }
    }
}
