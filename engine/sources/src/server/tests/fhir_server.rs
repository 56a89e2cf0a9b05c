//! A FHIR server over some records, with the searches that a source may use, small pages, and `_elements` taken at its word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::harness::{Arrived, Reply, Server, json as answer, reply};

/// Matches on one page, whatever is asked for.
const PAGE: usize = 7;

/// Starts it.
pub(super) async fn start(records: Vec<Value>) -> Server {
    let pages: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
    let base: Arc<Mutex<String>> = Arc::default();
    let known = Arc::clone(&base);
    let server = Server::plain(move |request| respond(&records, &pages, &known.lock().unwrap(), request)).await;
    *base.lock().unwrap() = server.url("/fhir");
    server
}

fn respond(records: &[Value], pages: &Mutex<Vec<Vec<Value>>>, base: &str, request: &Arrived) -> Reply {
    let path = request.path.strip_prefix("/fhir/").unwrap_or_default();
    if path == "metadata" {
        return answer(&json!({ "resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1",
            "software": { "name": "Records" } }));
    }
    if let Some(number) = path.strip_prefix("page/") {
        let kept = pages.lock().unwrap();
        let (search, from) = number.split_once('/').unwrap();
        let matches = &kept[search.parse::<usize>().unwrap()];
        return page(matches, search.parse().unwrap(), from.parse().unwrap(), base);
    }
    if path == "Patient?_summary=count" {
        let total = records.iter().filter(|record| record["resourceType"] == "Patient").count();
        return answer(&json!({ "resourceType": "Bundle", "type": "searchset", "total": total }));
    }
    if let Some((resource_type, id)) = path.split_once('/').filter(|_| request.method == http::Method::GET) {
        let found = records.iter().find(|record| record["resourceType"] == resource_type && record["id"] == id);
        return found.map_or_else(|| reply(404, "text/plain", ""), answer);
    }
    let Some(resource_type) = path.strip_suffix("/_search").filter(|_| request.method == http::Method::POST) else {
        return reply(404, "text/plain", "");
    };
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let matches = records.iter().filter(|record| record["resourceType"] == resource_type && has_all(record, &form));
    let matches = matches.map(|record| only(record, form.get("_elements"))).collect();
    let mut kept = pages.lock().unwrap();
    kept.push(matches);
    let search = kept.len() - 1;
    page(&kept[search], search, 0, base)
}

fn page(matches: &[Value], search: usize, from: usize, base: &str) -> Reply {
    let entries: Vec<Value> = matches
        .iter()
        .skip(from)
        .take(PAGE)
        .map(|record| json!({ "fullUrl": format!("{base}/{}/{}", record["resourceType"].as_str().unwrap(), record["id"].as_str().unwrap()),
            "resource": record, "search": { "mode": "match" } }))
        .collect();
    let mut links = vec![json!({ "relation": "self", "url": base })];
    if from + PAGE < matches.len() {
        links.push(json!({ "relation": "next", "url": format!("{base}/page/{search}/{}", from + PAGE) }));
    }
    answer(
        &json!({ "resourceType": "Bundle", "type": "searchset", "total": matches.len(), "link": links, "entry": entries }),
    )
}

fn has_all(record: &Value, form: &BTreeMap<String, String>) -> bool {
    form.iter().all(|(name, values)| {
        let mut values = values.split(',');
        match name.as_str() {
            "_count" | "_elements" => true,
            "_id" => values.any(|value| record["id"] == value),
            "gender" => values.any(|value| record["gender"] == value),
            "code" | "type" => {
                let concept = match record["resourceType"].as_str().unwrap() {
                    "Specimen" => &record["type"],
                    "MedicationStatement" => &record["medicationCodeableConcept"],
                    _ => &record["code"],
                };
                let codings = concept["coding"].as_array().cloned().unwrap_or_default();
                let has = |value: &str| {
                    let (system, code) = value.split_once('|').unwrap();
                    codings.iter().any(|coding| coding["system"] == system && coding["code"] == code)
                };
                values.any(has)
            }
            "patient" => {
                let subject = record["subject"]["reference"].as_str().unwrap_or_default();
                values.any(|value| subject.split('/').any(|part| part == value))
            }
            "specimen" => values.any(|value| record["specimen"]["reference"] == value),
            "medication" => values.any(|value| record["medicationReference"]["reference"] == value),
            other => panic!("search parameter {other}"),
        }
    })
}

/// The resource without what was not asked for.
fn only(record: &Value, elements: Option<&String>) -> Value {
    let Some(elements) = elements else { return record.clone() };
    let mut named: Vec<&str> = elements.split(',').collect();
    named.extend(["resourceType", "id"]);
    let members = record.as_object().unwrap().iter().filter(|(name, _)| named.contains(&name.as_str()));
    Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
}
