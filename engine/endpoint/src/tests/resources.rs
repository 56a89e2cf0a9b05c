//! Create, read, versions, updates, deletes, preconditions, preferences, formats (cases 1 to 26, 57 to 63).

use serde_json::json;

use super::support::{BASE, Node, Who, patient, tag_all, tag_local};

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test]
async fn fhir_001_and_002_missing_ids_are_404_and_only_a_malformed_one_is_explained() {
    let node = Node::start().await;
    node.get(Who::Loc, &format!("/Organization/{UNKNOWN}")).await.expect_empty(404);
    node.get(Who::Loc, "/Organization/not-a-uuid").await.expect_outcome(404, "not-found");
}

#[tokio::test]
async fn fhir_003_and_019_a_created_resource_is_read_with_its_headers() {
    let node = Node::start().await;
    let mut sent = patient(&[tag_all()]);
    sent["id"] = json!(UNKNOWN);
    let created = node.post(Who::Loc, "/Patient", &sent).await.expect(201);
    let id = created.id();
    assert_ne!(id, UNKNOWN);
    assert_eq!(created.json()["meta"]["versionId"], "1");
    assert_eq!(created.header("location"), format!("{BASE}/Patient/{id}/_history/1"));
    let read = node.get(Who::Loc, &format!("/Patient/{id}")).await.expect(200);
    assert_eq!(read.header("etag"), "W/\"1\"");
    assert!(read.header("last-modified").ends_with("GMT"));
    assert_eq!(read.header("cache-control"), "private, no-cache, no-transform");
    assert_eq!(read.header("vary"), "Accept");
    assert_eq!(read.header("content-type"), "application/fhir+json;charset=UTF-8");
    assert_eq!(read.header("x-correlation-id").len(), 36);
    assert_eq!(read.json()["meta"]["profile"], json!(["http://dsf.dev/fhir/StructureDefinition/patient"]));
}

#[tokio::test]
async fn fhir_004_every_version_stays_readable() {
    let node = Node::start().await;
    let mut stored = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let id = stored["id"].as_str().unwrap().to_owned();
    stored["active"] = json!(false);
    let updated = node.put(Who::Loc, &format!("/Patient/{id}"), &stored).await.expect(200);
    assert_eq!(updated.header("etag"), "W/\"2\"");
    assert_eq!(updated.header("location"), format!("{BASE}/Patient/{id}/_history/2"));
    for (version, status) in [(1, 200), (2, 200), (3, 404)] {
        node.get(Who::Loc, &format!("/Patient/{id}/_history/{version}")).await.expect(status);
    }
    let history = node.get(Who::Loc, &format!("/Patient/{id}/_history")).await.expect(200).json();
    assert_eq!(history["type"], "history");
    assert_eq!(history["total"], 2);
    let methods: Vec<_> =
        history["entry"].as_array().unwrap().iter().map(|entry| entry["request"]["method"].clone()).collect();
    assert_eq!(methods, ["POST", "PUT"]);
    assert_eq!(history["entry"][0]["response"]["status"], "201 Created");
    assert_eq!(history["entry"][1]["response"]["etag"], "W/\"2\"");
}

#[tokio::test]
async fn fhir_005_to_009_a_deleted_resource_is_gone_until_it_is_removed_for_good() {
    let node = Node::start().await;
    let id = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id();
    let path = format!("/Patient/{id}");
    let purge = format!("{path}/$permanent-delete");
    node.send(Who::Loc, "POST", &purge, &[("accept", "application/fhir+json")], "")
        .await
        .expect_outcome(400, "processing");
    node.send(Who::Ext, "POST", &purge, &[("accept", "application/fhir+json")], "")
        .await
        .expect_outcome(403, "forbidden");
    node.delete(Who::Ext, &path).await.expect_outcome(403, "forbidden");
    node.delete(Who::Loc, &path).await.expect(200);
    let gone = node.get(Who::Loc, &path).await.expect_outcome(410, "deleted");
    assert_eq!(gone.header("etag"), "W/\"2\"");
    assert_eq!(gone.header("location"), format!("{BASE}/Patient/{id}/_history/2"));
    for (version, status) in [(1, 200), (2, 410), (3, 404)] {
        node.get(Who::Loc, &format!("{path}/_history/{version}")).await.expect(status);
    }
    node.delete(Who::Loc, &path).await.expect(200);
    node.put(Who::Loc, &path, &json!({ "resourceType": "Patient", "id": id })).await.expect_outcome(410, "deleted");
    node.send(Who::Loc, "POST", &purge, &[("accept", "application/fhir+json")], "").await.expect(200);
    node.get(Who::Loc, &path).await.expect_empty(404);
    node.delete(Who::Loc, &path).await.expect_outcome(404, "not-found");
}

#[tokio::test]
async fn fhir_010_to_012_updates_name_an_existing_resource_and_its_newest_version() {
    let node = Node::start().await;
    let mut unknown = patient(&[tag_all()]);
    unknown["id"] = json!(UNKNOWN);
    node.put(Who::Loc, &format!("/Patient/{UNKNOWN}"), &unknown).await.expect_outcome(405, "forbidden");
    let mut stored = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let id = stored["id"].as_str().unwrap().to_owned();
    node.put(Who::Loc, &format!("/Patient/{id}"), &unknown).await.expect(400);
    node.put(Who::Loc, "/Patient/not-a-uuid", &unknown).await.expect_outcome(404, "not-found");
    let path = format!("/Patient/{id}");
    node.write_with(Who::Loc, "PUT", &path, &[("if-match", "W/\"1\"")], &stored).await.expect(200);
    node.write_with(Who::Loc, "PUT", &path, &[("if-match", "W/\"1\"")], &stored).await.expect_outcome(412, "conflict");
    // Strong and malformed tags count as absent.
    node.write_with(Who::Loc, "PUT", &path, &[("if-match", "\"1\"")], &stored).await.expect(200);
    stored["resourceType"] = json!("Group");
    node.put(Who::Loc, &path, &stored).await.expect_outcome(403, "structure");
}

#[tokio::test]
async fn fhir_013_to_016_conditional_reads_do_not_tell_about_what_may_not_be_read() {
    let node = Node::start().await;
    let created = node.post(Who::Loc, "/Patient", &patient(&[tag_local()])).await.expect(201);
    let path = format!("/Patient/{}", created.id());
    let none_match = [("if-none-match", "W/\"1\"")];
    let not_modified = node.get_with(Who::Loc, &path, &none_match).await.expect_empty(304);
    assert_eq!(not_modified.header("etag"), "W/\"1\"");
    node.get_with(Who::Loc, &path, &[("if-none-match", "W/\"2\"")]).await.expect(200);
    let modified = created.header("last-modified");
    node.get_with(Who::Loc, &path, &[("if-modified-since", &modified)]).await.expect_empty(304);
    node.get_with(Who::Loc, &path, &[("if-match", "W/\"9\"")]).await.expect_empty(412);
    node.get_with(Who::Ext, &path, &none_match).await.expect_outcome(403, "forbidden");
    node.get_with(Who::Ext, &path, &[("if-match", "W/\"9\"")]).await.expect_outcome(403, "forbidden");
}

#[tokio::test]
async fn fhir_017_and_018_the_client_chooses_what_a_write_is_answered_with() {
    let node = Node::start().await;
    let body = patient(&[tag_all()]);
    let minimal = node.write_with(Who::Loc, "POST", "/Patient", &[("prefer", "return=minimal")], &body).await;
    let minimal = minimal.expect_empty(201);
    assert!(minimal.header("location").starts_with(&format!("{BASE}/Patient/")));
    assert_eq!(minimal.header("etag"), "W/\"1\"");
    let outcome = node.write_with(Who::Loc, "POST", "/Patient", &[("prefer", "return=OperationOutcome")], &body).await;
    assert_eq!(outcome.expect(201).json()["issue"][0]["severity"], "information");
}

#[tokio::test]
async fn fhir_020_metadata_is_made_from_what_routes_and_searches() {
    let node = Node::start().await;
    for who in [Who::Loc, Who::Ext, Who::Min] {
        let answer = node.get_with(who, "/metadata", &[("accept", "application/fhir+json; fhirVersion=4.0")]).await;
        let statement = answer.expect(200);
        assert_eq!(statement.header("etag"), "");
        let statement = statement.json();
        assert_eq!(statement["fhirVersion"], "4.0.1");
        let rest = &statement["rest"][0];
        assert_eq!(rest["resource"].as_array().unwrap().len(), 26);
        assert_eq!(rest["extension"][0]["valueUrl"], "wss://test.example/fhir/ws");
        let task = rest["resource"].as_array().unwrap().iter().find(|resource| resource["type"] == "Task").unwrap();
        assert_eq!(task["supportedProfile"], json!(["http://dsf.dev/fhir/StructureDefinition/test-task|1.0"]));
        let names: Vec<_> = task["searchParam"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert!(names.contains(&json!("status")) && names.contains(&json!("_lastUpdated")), "{names:?}");
    }
    node.get(Who::Stranger, "/metadata").await.expect_empty(403);
}

#[tokio::test]
async fn fhir_021_to_024_formats_are_negotiated() {
    let node = Node::start().await;
    let xml = node.send(Who::Loc, "GET", "/Organization", &[], "").await.expect(200);
    assert_eq!(xml.header("content-type"), "application/fhir+xml;charset=UTF-8");
    assert_eq!(xml.json()["resourceType"], "Bundle");
    let json = node.send(Who::Loc, "GET", "/Organization?_format=json&_pretty=true", &[], "").await.expect(200);
    assert_eq!(json.header("content-type"), "application/fhir+json;charset=UTF-8");
    assert!(json.body.contains(&b'\n'));
    node.send(Who::Loc, "GET", "/Organization?_format=foo", &[], "").await.expect_empty(415);
    node.send(Who::Loc, "GET", "/Organization", &[("accept", "image/png")], "").await.expect_empty(415);
    let permit = node.permit(Who::Loc, "bundle").encode().unwrap();
    let headers = [("x-schleuse-permit", permit.as_str()), ("accept", "application/fhir+json")];
    let root = node.send_raw("GET", "/fhir/", &headers, "").await.expect_outcome(405, "not-supported");
    assert_eq!(root.header("allow"), "POST");
}

#[tokio::test]
async fn fhir_026_bodies_that_are_no_resources_are_refused() {
    let node = Node::start().await;
    let table = [
        ("application/fhir+json", "{\"resourceType\":", 403),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"active\":true,\"active\":false}", 400),
        ("application/fhir+xml", "<!DOCTYPE x><Patient xmlns=\"http://hl7.org/fhir\"/>", 400),
        ("application/fhir+xml", "<Patient", 403),
        ("application/fhir+xml; charset=ISO-8859-1", "<Patient xmlns=\"http://hl7.org/fhir\"/>", 400),
    ];
    for (content_type, body, status) in table {
        let headers = [("accept", "application/fhir+json"), ("content-type", content_type)];
        node.send(Who::Loc, "POST", "/Patient", &headers, body).await.expect_outcome(status, "structure");
    }
    let headers = [("content-type", "text/plain")];
    node.send(Who::Loc, "POST", "/Patient", &headers, "x").await.expect_empty(415);
}

#[tokio::test]
async fn a_resource_that_breaks_its_profile_is_refused_with_all_issues() {
    let node = Node::start().await;
    let body = json!({ "resourceType": "Patient", "meta": { "tag": [tag_all()] }, "active": "yes", "nonsense": 1 });
    let outcome = node.post(Who::Loc, "/Patient", &body).await.expect(403).json();
    assert!(outcome["issue"].as_array().unwrap().len() >= 2, "{outcome}");
}

#[tokio::test]
async fn summaries_leave_out_and_say_so() {
    let node = Node::start().await;
    let mut body = patient(&[tag_all()]);
    body["text"] = json!({ "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" });
    body["photo"] = json!([{ "contentType": "image/png", "data": "AAAA" }]);
    let id = node.post(Who::Loc, "/Patient", &body).await.expect(201).id();
    for (summary, text, photo, active) in [
        ("false", true, true, true),
        ("data", false, true, true),
        ("true", false, false, true),
        ("text", true, false, false),
    ] {
        let shown = node.get(Who::Loc, &format!("/Patient/{id}?_summary={summary}")).await.expect(200).json();
        assert_eq!(shown.get("text").is_some(), text, "{summary}");
        assert_eq!(shown.get("photo").is_some(), photo, "{summary}");
        assert_eq!(shown.get("active").is_some(), active, "{summary}");
    }
}

#[tokio::test]
async fn fhir_056_to_063_binaries_are_uploaded_and_downloaded_raw() {
    let node = Node::start().await;
    let context = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id();
    let context = format!("Patient/{context}");
    let upload =
        [("content-type", "text/plain"), ("x-security-context", context.as_str()), ("accept", "application/fhir+json")];
    node.send(Who::Loc, "POST", "/Binary", &upload[..1], "0123456789").await.expect_empty(400);
    let created = node.send(Who::Loc, "POST", "/Binary", &upload, "0123456789").await.expect(201);
    let path = format!("/Binary/{}", created.id());
    let raw = node.send(Who::Ext, "GET", &path, &[("accept", "text/plain")], "").await.expect(200);
    assert_eq!(raw.body, "0123456789");
    assert_eq!(raw.header("content-type"), "text/plain");
    assert_eq!(raw.header("x-security-context"), context);
    assert!(raw.header("content-disposition").starts_with("attachment; filename=Binary_"));
    assert!(raw.header("content-disposition").ends_with(".txt"));
    node.send(Who::Loc, "GET", &path, &[("accept", "application/xml")], "").await.expect_empty(406);
    for (range, expected, content_range) in [
        ("bytes=0-1", "01", "bytes 0-1/10"),
        ("bytes=2-3", "23", "bytes 2-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let part = node.send(Who::Loc, "GET", &path, &[("accept", "*/*"), ("range", range)], "").await.expect(206);
        assert_eq!(part.body, expected, "{range}");
        assert_eq!(part.header("content-range"), content_range);
    }
    let beyond = node.send(Who::Loc, "GET", &path, &[("range", "bytes=20-")], "").await.expect_empty(416);
    assert_eq!(beyond.header("content-range"), "bytes */10");
    let get = node.get(Who::Loc, &path).await.expect(200);
    let head = node.send(Who::Loc, "HEAD", &path, &[("accept", "application/fhir+json")], "").await.expect_empty(200);
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    let both = json!({
        "resourceType": "Binary",
        "meta": { "tag": [tag_all()] },
        "contentType": "text/plain",
        "securityContext": { "reference": context },
        "data": "AAAA",
    });
    node.post(Who::Loc, "/Binary", &both).await.expect(403);
    node.post(Who::Loc, "/Binary", &json!({ "resourceType": "Binary", "contentType": "text/plain" })).await.expect(403);
}

#[tokio::test]
async fn fhir_064_and_065_a_binary_is_read_by_whom_its_context_is() {
    let node = Node::start().await;
    let mut context = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let id = context["id"].as_str().unwrap().to_owned();
    let binary = |id: &str| {
        json!({
            "resourceType": "Binary",
            "contentType": "text/plain",
            "securityContext": { "reference": format!("Patient/{id}") },
            "data": "AAAA",
        })
    };
    node.post(Who::Loc, "/Binary", &binary(UNKNOWN)).await.expect(403);
    let path = format!("/Binary/{}", node.post(Who::Loc, "/Binary", &binary(&id)).await.expect(201).id());
    node.get(Who::Ext, &path).await.expect(200);
    context["meta"]["tag"] = json!([tag_local()]);
    node.put(Who::Loc, &format!("/Patient/{id}"), &context).await.expect(200);
    node.get(Who::Ext, &path).await.expect(403);
    node.get(Who::Loc, &path).await.expect(200);
}
