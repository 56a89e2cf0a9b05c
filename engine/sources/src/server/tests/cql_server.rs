//! A server with `$evaluate-measure` that looks at every request in detail. It takes as CQL what stands in a comment of the
//! library, a cohort definition, and counts with an index of the same records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::{Value, json};

use super::harness::{Arrived, Reply, Server, json as answer, reply};
use crate::ccdl::Definition;
use crate::folder::Index;
use crate::folder::tests::naive::TODAY;

/// How evaluations are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    AtOnce,
    /// After two looks, in a Bundle.
    Later,
}

#[derive(Default)]
struct State {
    base: String,
    /// Libraries by URL and Measures (URL of the Library) by URL.
    libraries: HashMap<String, String>,
    measures: HashMap<String, String>,
    looks: u32,
}

/// A library for a definition.
pub(super) fn library(definition: &str) -> String {
    format!(
        "library Retrieve version '1.0.0'\nusing FHIR version '4.0.0'\n// {definition}\ndefine InInitialPopulation: true\n"
    )
}

pub(super) async fn start(index: Arc<Index>, way: Way) -> Server {
    let state: Arc<Mutex<State>> = Arc::default();
    let known = Arc::clone(&state);
    let server = Server::plain(move |request| respond(&index, way, &mut known.lock().unwrap(), request)).await;
    state.lock().unwrap().base = server.url("/fhir");
    server
}

fn respond(index: &Index, way: Way, state: &mut State, request: &Arrived) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/fhir/metadata") => answer(
            &json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": { "name": "Blaze" } }),
        ),
        ("POST", "/fhir") => store(state, request),
        ("GET", "/fhir/__async-status/1") => {
            state.looks += 1;
            match state.looks {
                1 => reply(202, "application/fhir+json", ""),
                _ => {
                    let report = evaluate(index, state, state.measures.keys().next().unwrap().clone().as_str());
                    answer(&json!({ "resourceType": "Bundle", "type": "batch-response",
                        "entry": [{ "resource": report, "response": { "status": "200" } }] }))
                }
            }
        }
        ("GET", path) => {
            let asked = path.strip_prefix("/fhir/Measure/").unwrap();
            let (id, rest) = asked.split_once('/').unwrap();
            assert_eq!(rest, "$evaluate-measure?periodStart=1900-01-01&periodEnd=2100-01-01&reportType=population");
            assert_eq!(request.header("prefer"), Some("respond-async"));
            let url = state.measures.keys().find(|url| url.ends_with(id)).unwrap().clone();
            match way {
                Way::AtOnce => answer(&evaluate(index, state, &url)),
                Way::Later => http::Response::builder()
                    .status(202)
                    .header("content-location", format!("{}/__async-status/1", state.base))
                    .body(http_body_util::Full::default())
                    .unwrap(),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn store(state: &mut State, request: &Arrived) -> Reply {
    let bundle: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((bundle["resourceType"].as_str(), bundle["type"].as_str()), (Some("Bundle"), Some("transaction")));
    let [measure, library] = bundle["entry"].as_array().unwrap().as_slice() else { panic!("{bundle}") };
    for (entry, kind) in [(measure, "Measure"), (library, "Library")] {
        let url = entry["resource"]["url"].as_str().unwrap();
        assert_eq!(entry["request"], json!({ "method": "POST", "url": kind, "ifNoneExist": format!("url={url}") }));
        assert_eq!(entry["resource"]["resourceType"], kind);
        assert_eq!(entry["resource"]["meta"], Value::Null, "nothing of the partner's is stored");
    }
    let (measure, library) = (&measure["resource"], &library["resource"]);
    let library_url = library["url"].as_str().unwrap();
    let name = library["name"].as_str().unwrap();
    assert_eq!(measure["library"], json!([library_url]));
    assert_eq!(measure["scoring"]["coding"][0]["code"], "cohort");
    let population = &measure["group"][0]["population"][0];
    assert_eq!(population["criteria"]["expression"], "InInitialPopulation");
    let [content] = library["content"].as_array().unwrap().as_slice() else { panic!("{library}") };
    assert_eq!(content["contentType"], "text/cql");
    let text = base64::engine::general_purpose::STANDARD.decode(content["data"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with(&format!("library \"{name}\" version '1.0.0'\n")), "{text}");
    state.libraries.insert(library_url.to_owned(), text);
    let measure_url = measure["url"].as_str().unwrap();
    state.measures.insert(measure_url.to_owned(), library_url.to_owned());
    let id = measure_url.rsplit('/').next().unwrap();
    let location = |kind: &str| json!({ "response": { "status": "201", "location": format!("{}/{kind}/{id}/_history/1", state.base) } });
    answer(
        &json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": [location("Measure"), location("Library")] }),
    )
}

fn evaluate(index: &Index, state: &State, measure: &str) -> Value {
    let text = &state.libraries[&state.measures[measure]];
    let definition = text.lines().find_map(|line| line.strip_prefix("// ")).unwrap();
    let definition = Definition::parse(definition.as_bytes()).unwrap();
    let Ok(plan) = index.mapping().plan(&definition, TODAY) else {
        return json!({ "resourceType": "OperationOutcome", "issue": [] });
    };
    let count = index.evaluate(&plan).unwrap().len();
    json!({ "resourceType": "MeasureReport", "status": "complete", "type": "summary", "measure": measure,
        "group": [{ "population": [{ "code": { "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/measure-population", "code": "initial-population" }] },
            "count": count }] }] })
}
