//! One test that every kind of source passes: the same questions, the same answers, the same refusals.

use std::sync::Arc;

use serde_json::{Value, json};
use synthetic::Chance;

use super::cql_server::{self, Way};
use super::harness::Desk;
use super::{fhir_server, flare_server};
use crate::folder::tests::naive::{TODAY, scan};
use crate::folder::tests::{Folder, random};
use crate::folder::{FolderSource, Index};
use crate::mapping::Mapping;
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
            let found = source.cohort(&asked(&question), TODAY).await.unwrap();
            assert_eq!(
                found.into_iter().collect::<std::collections::BTreeSet<_>>(),
                scan(&records, &question),
                "{question}"
            );
        }
    }
}
