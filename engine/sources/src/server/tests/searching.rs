//! What a FHIR server is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::fhir_server;
use super::harness::{Desk, Server};
use crate::mapping::Mapping;
use crate::server::connection::Connection;
use crate::server::{FhirServer, Kind};
use crate::source::{Question, Source as _};

pub(super) fn fhir(desk: &Desk, url: &str, mapping: &Arc<Mapping>) -> FhirServer {
    FhirServer::new(Connection::open(desk.settings(Kind::Fhir, url)).unwrap(), Arc::clone(mapping))
}

fn forms(server: &Server) -> Vec<(String, BTreeMap<String, String>)> {
    let arrived = server.arrived().into_iter().filter(|request| request.method == http::Method::POST);
    arrived
        .map(|request| (request.path.clone(), url::form_urlencoded::parse(&request.body).into_owned().collect()))
        .collect()
}

#[tokio::test]
async fn codes_stand_in_the_body_and_only_what_is_needed_is_asked_for() {
    let records: Vec<_> = (0..20)
        .flat_map(|number| {
            let patient = json!({"resourceType":"Patient","id":format!("p{number}")});
            let observation = json!({"resourceType":"Observation","id":format!("o{number}"),"status":"final",
                "subject":{"reference":format!("Patient/p{number}")},
                "code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]}});
            [patient, observation]
        })
        .collect();
    let (server, desk) = (fhir_server::start(records).await, Desk::new());
    let source = fhir(&desk, &server.url("/fhir"), &Arc::new(Mapping::native().unwrap()));
    let question = r#"{"inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Laboruntersuchung"},"termCodes":[{"system":"http://loinc.org","code":"718-7"}]}]]}"#;
    assert_eq!(source.count(&Question::ccdl(question.as_bytes().to_vec())).await.unwrap(), 20);
    let forms = forms(&server);
    let asked = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(forms[0].0, "/fhir/Observation/_search");
    let expected =
        [asked("_count", "1000"), asked("_elements", "code,subject"), asked("code", "http://loinc.org|718-7")];
    assert_eq!(forms[0].1, BTreeMap::from(expected));
    assert_eq!(forms[1].0, "/fhir/Patient/_search");
    assert!(forms[1].1["_id"].starts_with("p0,p1,"));
    // All pages were fetched: 20 of 7 each, twice.
    let pages = server.arrived().iter().filter(|request| request.path.contains("/page/")).count();
    assert_eq!(pages, 4);
    assert!(server.arrived().iter().all(|request| !request.path.contains("718-7")));
}
