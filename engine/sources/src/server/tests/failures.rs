//! Answers that are none: every one is an error that names the source, and none is a count.

use serde_json::{Value, json};

use super::harness::{Desk, Reply, Server, json as answer, reply};
use crate::SourceError;
use crate::server::Kind;
use crate::source::{Cql, Question};

const QUESTION: &str = r#"{"inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Laboruntersuchung"},"termCodes":[{"system":"http://loinc.org","code":"718-7"}]}]]}"#;

fn question() -> Question {
    let text = "library Retrieve version '1.0.0'\ndefine InInitialPopulation: true".to_owned();
    let cql = Cql { text, expression: "InInitialPopulation".to_owned() };
    Question { definition: Some(QUESTION.as_bytes().to_vec()), cql: Some(cql) }
}

async fn refused(kind: Kind, what: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> SourceError {
    let (server, desk) = (Server::plain(move |_| reply()).await, Desk::new());
    let source = desk.source(kind, &server.url("/fhir"));
    let error = source.count(&question()).await.err().unwrap_or_else(|| panic!("{what} is counted"));
    assert!(error.to_string().contains("records"), "{what}: {error}");
    assert!(error.remedy().is_some(), "{what}: {error}");
    error
}

fn searchset(change: impl Fn(&mut Value)) -> Value {
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [{ "resource":
        { "resourceType": "Observation", "id": "o", "code": {} } }] });
    change(&mut bundle);
    bundle
}

#[tokio::test]
async fn an_answer_of_a_fhir_server_that_is_not_whole_is_no_count() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 7] = [
        ("another type of Bundle", |bundle| bundle["type"] = json!("collection")),
        ("no Bundle", |bundle| *bundle = json!({ "resourceType": "OperationOutcome" })),
        ("fewer than promised", |bundle| bundle["total"] = json!(2)),
        ("a match without resource", |bundle| bundle["entry"][0] = json!({})),
        ("another resource", |bundle| bundle["entry"][0]["resource"]["resourceType"] = json!("Patient")),
        ("no id", |bundle| bundle["entry"][0]["resource"]["id"] = Value::Null),
        ("a page elsewhere", |bundle| {
            bundle["link"] = json!([{ "relation": "next", "url": "https://elsewhere.example/fhir/page" }]);
        }),
    ];
    for (what, change) in changes {
        let error = refused(Kind::Fhir, what, move || answer(&searchset(change))).await;
        assert!(matches!(error, SourceError::Answer { .. }), "{what}: {error}");
    }
}

#[tokio::test]
async fn errors_of_every_kind_of_server_are_told_and_server_errors_may_pass() {
    for kind in [Kind::Fhir, Kind::Cql, Kind::Flare] {
        let error = refused(kind, "500", || reply(500, "text/plain", "")).await;
        assert!(error.may_pass(), "{error}");
        let error = refused(kind, "403", || reply(403, "text/plain", "")).await;
        assert!(!error.may_pass(), "{error}");
        refused(kind, "a redirect", || {
            http::Response::builder()
                .status(302)
                .header("location", "http://localhost:1/")
                .body(Default::default())
                .unwrap()
        })
        .await;
        refused(kind, "nonsense", || reply(200, "text/html", "<html>")).await;
        refused(kind, "nothing", || reply(200, "application/fhir+json", "")).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_told_in_time() {
    let desk = Desk::new();
    let away = desk.source(Kind::Fhir, "http://localhost:1/fhir");
    let error = away.count(&question()).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(away.check().await.is_err());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}/fhir", listener.local_addr().unwrap().port());
    let mut settings = desk.settings(Kind::Flare, &url);
    settings.client.read_timeout = std::time::Duration::from_millis(300);
    let silent =
        crate::server::open(settings, &std::sync::Arc::new(crate::mapping::Mapping::native().unwrap())).unwrap();
    assert!(matches!(silent.count(&question()).await, Err(SourceError::Server { .. })));
}

#[tokio::test]
async fn a_check_refuses_what_is_no_such_server() {
    let desk = Desk::new();
    let wrong = Server::plain(|request| match request.path.as_str() {
        "/fhir/metadata" => answer(&json!({ "resourceType": "CapabilityStatement", "fhirVersion": "5.0.0" })),
        _ => reply(200, "text/html", "<html>"),
    })
    .await;
    for kind in [Kind::Fhir, Kind::Cql, Kind::Flare] {
        let error = desk.source(kind, &wrong.url("/fhir")).check().await.unwrap_err();
        assert!(matches!(error, SourceError::Answer { .. }), "{error}");
    }
}
