//! CQL by `$evaluate-measure`: a Measure and its Library are stored on the server, which then counts.
//!
//! Both are made here; of what arrived only the statements of the library are taken. They are stored under an URL that
//! follows from their content, so a question that is asked again, or again after a crash, stores nothing twice.

use std::time::Duration;

use ::client::{Answer, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderName;
use http::header::{CONTENT_LOCATION, RETRY_AFTER};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::Connection;
use crate::error::{QueryError, SourceError};
use crate::limits;
use crate::source::{BoxFuture, Cql, Language, Question, Source};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const BASE: &str = "http://schleuse.example/fhir";
const POPULATION: &str = "http://terminology.hl7.org/CodeSystem/measure-population";
const INITIAL: &str = "initial-population";
/// First and longest wait between two looks at an evaluation that runs.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A FHIR server with clinical reasoning.
pub struct CqlServer {
    connection: Connection,
}

// === impl CqlServer ===

impl CqlServer {
    pub(super) const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn evaluate(&self, question: &Question) -> Result<u64, SourceError> {
        let transaction = transaction(question.cql()?)?;
        let correlation = Uuid::new_v4().to_string();
        let mut request = self.connection.request(Method::Post, "", &correlation);
        request.body = Bytes::from(transaction.to_string());
        let stored = self.connection.send(request).await?;
        let id = self.stored_measure(&stored)?;
        let path =
            format!("Measure/{id}/$evaluate-measure?periodStart=1900-01-01&periodEnd=2100-01-01&reportType=population");
        let request = self.connection.request(Method::Get, &path, &correlation).with_header(PREFER, "respond-async");
        let mut answer = self.connection.send(request).await?;
        let mut wait = POLL.0;
        let path = match (answer.status, header(&answer, &CONTENT_LOCATION)) {
            (202, Some(location)) => self.connection.below(location)?.to_owned(),
            (202, None) => return Err(self.connection.wrong("it evaluates later and does not say where to ask")),
            _ => return self.count_in(&answer),
        };
        let begun = Instant::now();
        while answer.status == 202 {
            if begun.elapsed() > limits::SERVER_TIME {
                let seconds = limits::SERVER_TIME.as_secs();
                return Err(SourceError::Slow { name: self.name().to_owned(), seconds });
            }
            let asked = header(&answer, &RETRY_AFTER).and_then(|text| text.trim().parse().ok());
            tokio::time::sleep(asked.map_or(wait, Duration::from_secs).clamp(POLL.0, POLL.1)).await;
            wait = (wait * 2).min(POLL.1);
            answer = self.connection.send(self.connection.request(Method::Get, &path, &correlation)).await?;
        }
        self.count_in(&answer)
    }

    /// The id under which the server has the Measure: the first entry of its answer.
    fn stored_measure(&self, answer: &Answer) -> Result<String, SourceError> {
        let bundle: Value = self.json(answer)?;
        let location = bundle.pointer("/entry/0/response/location").and_then(Value::as_str);
        let id = location.and_then(|location| {
            let rest = location.split_once("Measure/").map(|(_, rest)| rest)?;
            rest.split('/').next().filter(|id| fhir::reference::is_id(id))
        });
        id.map(str::to_owned).ok_or_else(|| self.connection.wrong("it does not say where it stored the Measure"))
    }

    fn json(&self, answer: &Answer) -> Result<Value, SourceError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.connection.wrong("its answer is no JSON"))
    }

    /// A MeasureReport, alone or first in the Bundle of an evaluation that ran on.
    fn count_in(&self, answer: &Answer) -> Result<u64, SourceError> {
        let answered = self.json(answer)?;
        let report = match answered.get("resourceType").and_then(Value::as_str) {
            Some("Bundle") => {
                let status = answered.pointer("/entry/0/response/status").and_then(Value::as_str).unwrap_or("200");
                if !status.starts_with('2') {
                    return Err(self.connection.wrong(format!("its evaluation ended with status {}", number(status))));
                }
                answered.pointer("/entry/0/resource")
            }
            _ => Some(&answered),
        };
        report.and_then(count_of).ok_or_else(|| {
            self.connection.wrong("its evaluation gave no MeasureReport with the count of one initial population")
        })
    }
}

/// The digits of a status, which came from outside.
fn number(status: &str) -> String {
    status.chars().take_while(char::is_ascii_digit).take(3).collect()
}

fn header<'a>(answer: &'a Answer, name: &HeaderName) -> Option<&'a str> {
    answer.headers.get(name)?.to_str().ok()
}

fn count_of(report: &Value) -> Option<u64> {
    let is_report = report.get("resourceType")?.as_str()? == "MeasureReport";
    let is_complete = report.get("status")?.as_str()? == "complete";
    let [group] = report.get("group")?.as_array()?.as_slice() else { return None };
    let populations = group.get("population")?.as_array()?;
    let is_initial = |coding: &Value| {
        coding.get("system").and_then(Value::as_str) == Some(POPULATION)
            && coding.get("code").and_then(Value::as_str) == Some(INITIAL)
    };
    let mut initial = populations.iter().filter(|population| {
        population
            .pointer("/code/coding")
            .and_then(Value::as_array)
            .is_some_and(|codings| codings.iter().any(is_initial))
    });
    let count = initial.next()?.get("count")?.as_u64()?;
    (is_report && is_complete && initial.next().is_none()).then_some(count)
}

/// Measure and Library for a library of statements.
fn transaction(cql: &Cql) -> Result<Value, SourceError> {
    let unreadable = |reason: &str| QueryError::Unreadable(reason.to_owned());
    if cql.text.len() > limits::CQL_BYTES {
        return Err(QueryError::TooLarge { what: "bytes of CQL", limit: limits::CQL_BYTES }.into());
    }
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ' ';
    if cql.expression.is_empty() || !cql.expression.chars().all(is_name) {
        return Err(unreadable("the expression of the Measure is no name").into());
    }
    let statements =
        cql.statements().ok_or_else(|| unreadable("the CQL library does not begin with a line that names it"))?;
    let id = id_of(&cql.expression, statements);
    let text = format!("library \"{id}\" version '1.0.0'\n{statements}");
    let (library_url, measure_url) = (format!("{BASE}/Library/{id}"), format!("{BASE}/Measure/{id}"));
    let concept = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let library = json!({
        "resourceType": "Library", "url": library_url, "version": "1.0.0", "name": id, "status": "active",
        "type": concept("http://terminology.hl7.org/CodeSystem/library-type", "logic-library"),
        "content": [{ "contentType": "text/cql", "data": STANDARD.encode(text) }],
    });
    let measure = json!({
        "resourceType": "Measure", "url": measure_url, "version": "1.0.0", "status": "active",
        "subjectCodeableConcept": concept("http://hl7.org/fhir/resource-types", "Patient"),
        "library": [library_url],
        "scoring": concept("http://terminology.hl7.org/CodeSystem/measure-scoring", "cohort"),
        "group": [{ "population": [{
            "code": concept(POPULATION, INITIAL),
            "criteria": { "language": "text/cql-identifier", "expression": cql.expression },
        }] }],
    });
    let entry = |resource: &Value, kind: &str, url: &str| {
        json!({ "fullUrl": format!("urn:uuid:{}", id_of(kind, url)), "resource": resource,
            "request": { "method": "POST", "url": kind, "ifNoneExist": format!("url={url}") } })
    };
    let entries = [entry(&measure, "Measure", &measure_url), entry(&library, "Library", &library_url)];
    Ok(json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries }))
}

/// A UUID that follows from two texts.
fn id_of(first: &str, second: &str) -> Uuid {
    let digest = Sha256::new().chain_update(first).chain_update([0]).chain_update(second).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.split_at(16).0);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl Source for CqlServer {
    fn name(&self) -> &str {
        self.connection.name()
    }

    fn language(&self) -> Language {
        Language::Cql
    }

    fn count<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<u64, SourceError>> {
        Box::pin(self.evaluate(question))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, SourceError>> {
        Box::pin(super::fhir::capability(&self.connection))
    }
}

#[cfg(test)]
mod tests {
    use super::{count_of, transaction};
    use crate::source::Cql;
    use serde_json::json;

    fn cql(text: &str) -> Cql {
        Cql { text: text.to_owned(), expression: "InInitialPopulation".to_owned() }
    }

    #[test]
    fn the_same_statements_are_the_same_resources_whatever_the_library_is_called() {
        let first = transaction(&cql("library Retrieve version '1.0.0'\ndefine A: true")).unwrap();
        let second = transaction(&cql("\nlibrary Other\ndefine A: true")).unwrap();
        assert_eq!(first, second);
        assert_ne!(first, transaction(&cql("library Retrieve\ndefine A: false")).unwrap());
        let measure = &first["entry"][0]["resource"];
        assert_eq!(measure["library"][0], first["entry"][1]["resource"]["url"]);
    }

    #[test]
    fn what_is_no_library_is_refused() {
        for text in ["", "define A: true", "define A: true\nlibrary X", "library X"] {
            assert!(transaction(&cql(text)).is_err(), "{text}");
        }
        let named = Cql { expression: "x\"; drop".to_owned(), ..cql("library X\ndefine A: true") };
        assert!(transaction(&named).is_err());
    }

    #[test]
    fn only_a_complete_report_of_one_initial_population_is_a_count() {
        let report = |status: &str, populations: serde_json::Value| json!({ "resourceType": "MeasureReport", "status": status, "group": [{ "population": populations }] });
        let population = |code: &str, count: serde_json::Value| json!({ "code": { "coding": [{ "system": super::POPULATION, "code": code }] }, "count": count });
        let initial = population("initial-population", json!(7));
        assert_eq!(count_of(&report("complete", json!([initial]))), Some(7));
        for wrong in [
            report("pending", json!([initial])),
            report("complete", json!([])),
            report("complete", json!([initial, initial])),
            report("complete", json!([population("numerator", json!(7))])),
            report("complete", json!([population("initial-population", json!(-7))])),
            report("complete", json!([population("initial-population", json!("7"))])),
            json!({ "resourceType": "OperationOutcome" }),
        ] {
            assert_eq!(count_of(&wrong), None, "{wrong}");
        }
    }
}
