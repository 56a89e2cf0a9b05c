//! Prefer, formats, root: cases 17 to 28.

use serde_json::json;
use tests::client::{JSON, XML};
use tests::wire;

use crate::resources::{all, binary, patient, unknown_id};
use crate::subject::shared;

#[tokio::test]
async fn fhir_017_minimal_is_headers_alone() {
    let subject = shared().await;
    let prefer = [("prefer", "return=minimal")];
    let answer = subject.loc.write_with("POST", "/Binary", &prefer, &binary(&[all()], "aGVsbG8=")).await.expect(201);
    assert_eq!(answer.text(), "");
    let id = answer.created_id();
    assert_eq!(answer.field("location").unwrap(), format!("{}/Binary/{id}/_history/1", subject.base));
    assert_eq!(answer.field("etag"), Some("W/\"1\""));
}

#[tokio::test]
async fn fhir_018_an_outcome_tells_the_location() {
    let subject = shared().await;
    let prefer = [("prefer", "return=OperationOutcome")];
    let answer = subject.loc.write_with("POST", "/Binary", &prefer, &binary(&[all()], "aGVsbG8=")).await.expect(201);
    let outcome = answer.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    assert_eq!(outcome["issue"][0]["severity"], "information");
    let text = outcome["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(text.starts_with("Binary created at location "), "{text}");
    let path = format!("/Patient/{}", subject.create(&patient(&[all()])).await);
    let stored = subject.loc.get(&path).await.expect(200).json();
    let updated = subject.loc.write_with("PUT", &path, &prefer, &stored).await.expect(200);
    assert!(updated.text().contains("updated at location"), "{}", updated.text());
}

#[tokio::test]
async fn fhir_019_the_server_gives_ids_and_versions() {
    let subject = shared().await;
    let mut body = binary(&[all()], "aGVsbG8=");
    let wished = unknown_id();
    body["id"] = json!(wished);
    body["meta"]["versionId"] = json!("7");
    let answer = subject.loc.post("/Binary", &body).await.expect(201);
    let stored = answer.json();
    assert_ne!(stored["id"], wished.as_str());
    assert_eq!(stored["id"], answer.created_id().as_str());
    assert_eq!(stored["meta"]["versionId"], "1");
    assert_eq!(stored["data"], "aGVsbG8=");
}

#[tokio::test]
async fn fhir_020_metadata_tells_what_there_is() {
    let subject = shared().await;
    let fields = [("accept", "application/fhir+json; fhirVersion=4.0")];
    let answer = subject.loc.send("GET", "/metadata", &fields, "").await.expect(200);
    for absent in ["etag", "cache-control", "vary"] {
        assert_eq!(answer.field(absent), None, "{absent}");
    }
    let statement = answer.json();
    assert_eq!(statement["fhirVersion"], "4.0.1");
    assert_eq!(statement["implementation"]["url"], subject.base.as_str());
    let rest = &statement["rest"][0];
    let resources = rest["resource"].as_array().unwrap();
    assert_eq!(resources.len(), 26);
    let websocket = rest["extension"][0]["valueUrl"].as_str().unwrap();
    assert!(websocket.starts_with("wss://") && websocket.ends_with("/fhir/ws"), "{websocket}");
    assert_eq!(rest["security"]["service"][0]["coding"][0]["code"], "Certificates");
    for resource in resources {
        assert_eq!(resource["versioning"], "versioned");
        assert_eq!(resource["updateCreate"], false);
        assert_eq!(resource["conditionalRead"], "full-support");
        assert_eq!(resource["conditionalDelete"], "single");
        let codes: Vec<&str> =
            resource["interaction"].as_array().unwrap().iter().map(|code| code["code"].as_str().unwrap()).collect();
        for needed in ["create", "read", "vread", "update", "delete", "search-type"] {
            assert!(codes.contains(&needed), "{resource}");
        }
    }
    subject.ext.get("/metadata").await.expect(200);
}

#[tokio::test]
async fn fhir_020_profiles_come_and_go_with_what_is_stored() {
    let subject = shared().await;
    let url = crate::resources::unique("http://test.example/StructureDefinition/task");
    let supported = async || {
        let statement = subject.loc.get("/metadata").await.expect(200).json();
        let resources = statement["rest"][0]["resource"].as_array().unwrap().clone();
        let task = resources.into_iter().find(|resource| resource["type"] == "Task").unwrap();
        task["supportedProfile"]
            .as_array()
            .is_some_and(|profiles| profiles.iter().any(|known| known.as_str().unwrap().starts_with(&url)))
    };
    assert!(!supported().await);
    let id = subject.create(&crate::seed::task_profile(&url, "1.0")).await;
    assert!(supported().await);
    let delete = crate::resources::request("DELETE", &format!("StructureDefinition/{id}"));
    subject.bundle(&subject.loc, "transaction", &[delete]).await.expect(200);
    assert!(!supported().await);
}

#[tokio::test]
async fn fhir_021_xml_is_what_is_answered_unasked() {
    let subject = shared().await;
    for fields in [&[][..], &[("accept", "*/*")], &[("accept", "application/xml")]] {
        let answer = subject.loc.send("GET", "/Organization", fields, "").await.expect(200);
        let media_type = answer.field("content-type").unwrap();
        let wanted = if fields.iter().any(|(_, value)| *value == "application/xml") { "application/xml" } else { XML };
        assert!(media_type.starts_with(wanted) && media_type.ends_with("charset=UTF-8"), "{media_type}");
        assert!(answer.text().contains("<Bundle xmlns=\"http://hl7.org/fhir\">"));
    }
}

#[tokio::test]
async fn fhir_022_a_parameter_chooses_the_format() {
    let subject = shared().await;
    for (format, wanted) in [("json", JSON), ("xml", XML), ("application/fhir%2Bjson", JSON), ("text/xml", "text/xml")]
    {
        let target = format!("/Organization?_format={format}");
        let answer = subject.loc.send("GET", &target, &[("accept", XML)], "").await.expect(200);
        assert!(answer.field("content-type").unwrap().starts_with(wanted), "{format}");
    }
    let pretty = subject.loc.get("/Organization?_pretty=true").await.expect(200).text();
    let plain = subject.loc.get("/Organization?_pretty=yes").await.expect(200).text();
    assert!(pretty.lines().count() > 10 && plain.lines().count() == 1);
}

#[tokio::test]
async fn fhir_023_an_unknown_format_is_415() {
    let subject = shared().await;
    for format in ["foo", "html", "text/plain"] {
        let answer = subject.loc.get(&format!("/Organization?_format={format}")).await.expect(415);
        assert_eq!(answer.text(), "", "{format}");
    }
    // A browser gets what it lists behind the pages that are not offered.
    let browser = [("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    let answer = subject.loc.send("GET", "/Organization", &browser, "").await.expect(200);
    assert!(answer.field("content-type").unwrap().starts_with("application/xml"));
    let answer = subject.loc.send("GET", "/Organization", &[("accept", "image/png")], "").await.expect(415);
    assert_eq!(answer.text(), "");
    let fields = [("content-type", "text/plain"), ("accept", JSON)];
    subject.loc.send("POST", "/Patient", &fields, "{}").await.expect(415);
}

#[tokio::test]
async fn fhir_024_the_root_is_not_read() {
    let answer = shared().await.loc.get("/").await.expect(405);
    assert_eq!(answer.field("allow"), Some("POST"));
    assert_eq!(answer.field("cache-control"), Some("no-store, no-transform"));
    answer.outcome_codes();
}

#[tokio::test]
async fn fhir_025_only_batches_and_transactions_are_processed() {
    let subject = shared().await;
    for bundle in [json!({ "resourceType": "Bundle", "type": "collection" }), json!({ "resourceType": "Bundle" })] {
        for path in ["", "/"] {
            let answer = subject.loc.post(path, &bundle).await.expect(403);
            assert_eq!(answer.outcome_codes()[0], "forbidden");
        }
    }
}

#[tokio::test]
async fn fhir_026_what_cannot_be_parsed_is_403() {
    let subject = shared().await;
    for (media_type, body) in [
        (JSON, "{\"resourceType\":\"Patient\",}"),
        (JSON, "{\"resourceType\":\"Patient\",\"active\":\"maybe\"}"),
        (JSON, ""),
        (XML, "<Patient xmlns=\"http://hl7.org/fhir\"><active value=\"true\"></Patient>"),
        (XML, "{}"),
    ] {
        let answer =
            subject.loc.send("POST", "/Patient", &[("content-type", media_type), ("accept", JSON)], body).await;
        assert_eq!(answer.status, 403, "{body}: {}", answer.text());
        answer.outcome_codes();
    }
    let broken =
        subject.loc.send("POST", "/Patient", &[("content-type", JSON), ("accept", JSON)], "{").await.expect(403);
    assert_eq!(broken.outcome_codes()[0], "structure");
}

#[tokio::test]
async fn fhir_027_without_a_certificate_nothing_is_answered() {
    let subject = shared().await;
    for path in ["/metadata", "/Organization", "/"] {
        // Refused in the handshake, or with an empty 403.
        if let Ok(answer) = subject.nobody.try_send("GET", path, &[("accept", JSON)], "").await {
            assert_eq!((answer.status, answer.text().as_str()), (403, ""));
        }
    }
}

#[tokio::test]
async fn fhir_028_the_status_is_told_on_its_own_listener_alone() {
    let subject = shared().await;
    let refused = subject.loc.get("/status").await;
    assert!(matches!(refused.status, 401 | 403 | 404), "{}", refused.status);
    let Some(status) = &subject.status else {
        println!("skipped in part: SCHLEUSE_CONFORMANCE_STATUS names no status listener");
        return;
    };
    let address = status.strip_prefix("http://").unwrap();
    let get = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        wire::exchange(&mut stream, request).await.unwrap()
    };
    let answer = get("/fhir/status").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    for path in ["/fhir/metadata", "/fhir/Organization", "/fhir/"] {
        assert!(matches!(get(path).await.status, 401 | 403 | 404), "{path}");
    }
}

#[tokio::test]
async fn a_summary_is_smaller_and_says_so() {
    let subject = shared().await;
    let mut study = crate::resources::research_study(&[all()], None);
    study["text"] = json!({ "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Study</div>" });
    study["description"] = json!("Long");
    study["title"] = json!("Short");
    let id = subject.create(&study).await;
    let read = async |summary: &str| {
        subject.loc.get(&format!("/ResearchStudy/{id}?_summary={summary}")).await.expect(200).json()
    };
    let has = |value: &serde_json::Value, names: &[&str]| names.iter().map(|name| value.get(name).is_some()).collect();
    let names = ["text", "title", "description", "status", "meta"];
    let shown: Vec<(&str, Vec<bool>)> = vec![
        ("true", has(&read("true").await, &names)),
        ("text", has(&read("text").await, &names)),
        ("data", has(&read("data").await, &names)),
        ("false", has(&read("false").await, &names)),
        ("unknown", has(&read("unknown").await, &names)),
    ];
    assert_eq!(shown[0].1, [false, true, false, true, true], "true");
    assert_eq!(shown[1].1, [true, false, false, true, true], "text");
    assert_eq!(shown[2].1, [false, true, true, true, true], "data");
    assert_eq!(shown[3].1, [true; 5], "false");
    assert_eq!(shown[4].1, [true; 5], "unknown");
    let counted = subject.loc.get(&format!("/ResearchStudy?_id={id}&_summary=count")).await.expect(200).json();
    assert_eq!(counted["total"], 1);
    assert!(counted.get("entry").is_none());
    let history = subject.loc.get(&format!("/ResearchStudy/{id}/_history?_summary=count")).await.expect(200).json();
    assert_eq!(history["total"], 1);
    assert!(history.get("entry").is_none());
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    let subject = shared().await;
    for (method, target, statuses) in [
        ("GET", "/CareTeam", [403, 404]),
        ("POST", "/Patient/_search", [404, 405]),
        ("GET", "/Patient/$everything", [404, 405]),
        ("PATCH", "/Patient/00000000-0000-4000-8000-000000000000", [404, 405]),
        ("POST", "/Patient/$validate", [404, 405]),
    ] {
        let answer = subject.loc.send(method, target, &[("accept", JSON)], "").await;
        assert!(statuses.contains(&answer.status), "{method} {target}: {}", answer.status);
    }
}
