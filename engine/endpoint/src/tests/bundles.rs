//! Batch and transaction Bundles (cases 25, 79 to 87).

use serde_json::{Value, json};

use super::support::{BASE, LOCAL, Node, Who, endpoint, entry, organization, patient, tag_all, tag_local};

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

fn request(method: &str, url: &str) -> Value {
    json!({ "request": { "method": method, "url": url } })
}

fn statuses(answer: &Value) -> Vec<String> {
    let entries = answer["entry"].as_array().unwrap();
    entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap().to_owned()).collect()
}

fn identified(value: &str) -> Value {
    let mut patient = patient(&[tag_all()]);
    patient["identifier"] = json!([{ "system": "http://test.example/sid", "value": value }]);
    patient
}

#[tokio::test]
async fn fhir_025_only_batches_and_transactions_are_processed() {
    let node = Node::start().await;
    node.post(Who::Loc, "/", &bundle("collection", &[])).await.expect_outcome(403, "forbidden");
    node.post(Who::Loc, "/", &patient(&[tag_all()])).await.expect_outcome(403, "forbidden");
    let empty = node.post(Who::Loc, "/", &json!({ "resourceType": "Bundle", "type": "transaction" })).await.expect(200);
    assert_eq!(empty.json()["type"], "transaction-response");
}

#[tokio::test]
async fn fhir_079_and_080_entries_are_answered_in_their_order() {
    for kind in ["transaction", "batch"] {
        let node = Node::start().await;
        let first = node.post(Who::Loc, "/Patient", &identified("1")).await.expect(201).id();
        let mut exists = entry("POST", "Patient", &identified("2"));
        exists["request"]["ifNoneExist"] = json!("identifier=http://test.example/sid|2");
        let entries = [
            request("DELETE", &format!("Patient/{first}")),
            entry("POST", "Patient", &identified("2")),
            exists,
            entry("PUT", "Patient?identifier=http://test.example/sid|2", &identified("2")),
            request("GET", "Patient?identifier=http://test.example/sid|2"),
            request("GET", "Patient?identifier=http://test.example/sid|none"),
            request("GET", "Patient?not-supported-parameter=x&identifier=http://test.example/sid|2"),
            request("GET", &format!("Patient/{UNKNOWN}")),
        ];
        let answer = node.post(Who::Loc, "/", &bundle(kind, &entries)).await.expect(200).json();
        assert_eq!(answer["type"], format!("{kind}-response"));
        let expected = ["200 OK", "201 Created", "200 OK", "200 OK", "200 OK", "200 OK", "200 OK", "404 Not Found"];
        assert_eq!(statuses(&answer), expected, "{kind}: {answer:#}");
        let created = &answer["entry"][1];
        assert_eq!(created["response"]["etag"], "W/\"1\"");
        assert_eq!(created["fullUrl"], format!("{BASE}/Patient/{}", created["resource"]["id"].as_str().unwrap()));
        assert_eq!(answer["entry"][2].get("resource"), None);
        assert_eq!(answer["entry"][4]["resource"]["resourceType"], "Patient");
        assert_eq!(answer["entry"][5]["resource"]["total"], 0);
        assert_eq!(answer["entry"][6]["response"]["outcome"]["issue"][0]["severity"], "warning");
        assert_eq!(node.count(Who::Loc, "/Patient").await, 1);
    }
}

#[tokio::test]
async fn fhir_081_and_082_a_failing_entry_fails_the_transaction_but_not_the_batch() {
    let node = Node::start().await;
    let first = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id();
    let mut unknown = patient(&[tag_all()]);
    unknown["id"] = json!(UNKNOWN);
    let put = json!({
        "fullUrl": format!("{BASE}/Patient/{UNKNOWN}"),
        "resource": unknown,
        "request": { "method": "PUT", "url": format!("Patient/{UNKNOWN}") },
    });
    let entries = [request("DELETE", &format!("Patient/{first}")), put];
    node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect_outcome(400, "forbidden");
    node.get(Who::Loc, &format!("/Patient/{first}")).await.expect(200);
    let answer = node.post(Who::Loc, "/", &bundle("batch", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200 OK", "405 Method Not Allowed"]);
    node.get(Who::Loc, &format!("/Patient/{first}")).await.expect(410);
}

#[tokio::test]
async fn fhir_083_temporary_references_become_literal() {
    let node = Node::start().await;
    let (one, two) = (format!("urn:uuid:{}", uuid::Uuid::new_v4()), format!("urn:uuid:{}", uuid::Uuid::new_v4()));
    let entries = [
        json!({
            "fullUrl": one,
            "resource": organization("new.example", Who::Min, &two),
            "request": { "method": "POST", "url": "Organization" },
        }),
        json!({
            "fullUrl": two,
            "resource": endpoint("new", "https://new.example/fhir", &json!({ "reference": one })),
            "request": { "method": "PUT", "url": "Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|new" },
        }),
        request("GET", &one),
    ];
    let answer = node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["201 Created", "200 OK", "200 OK"]);
    let organization = answer["entry"][0]["resource"]["id"].as_str().unwrap();
    let endpoint = answer["entry"][1]["resource"]["id"].as_str().unwrap();
    assert_eq!(answer["entry"][0]["resource"]["endpoint"][0]["reference"], format!("Endpoint/{endpoint}"));
    assert_eq!(
        answer["entry"][1]["resource"]["managingOrganization"]["reference"],
        format!("Organization/{organization}")
    );
    assert_eq!(answer["entry"][2]["resource"]["id"], organization);
    let dangling = [entry(
        "POST",
        "Endpoint",
        &super::support::endpoint("x", "https://x.example/fhir", &json!({ "reference": "urn:uuid:x" })),
    )];
    node.post(Who::Loc, "/", &bundle("transaction", &dangling)).await.expect(403);
}

#[tokio::test]
async fn conditional_references_name_one_resource() {
    let node = Node::start().await;
    let with = |criteria: &str| {
        let managing = json!({ "reference": format!("Organization?identifier=http://dsf.dev/sid/organization-identifier|{criteria}") });
        bundle("transaction", &[entry("POST", "Endpoint", &endpoint("new", "https://new.example/fhir", &managing))])
    };
    node.post(Who::Loc, "/", &with("nobody")).await.expect(403);
    let answer = node.post(Who::Loc, "/", &with(LOCAL)).await.expect(200).json();
    let id = node.find("/Organization?identifier=Test_Organization").await;
    assert_eq!(answer["entry"][0]["resource"]["managingOrganization"]["reference"], format!("Organization/{id}"));
}

#[tokio::test]
async fn fhir_084_what_may_not_be_read_is_not_read_in_a_bundle() {
    let node = Node::start().await;
    let id = node.post(Who::Loc, "/Patient", &patient(&[tag_local()])).await.expect(201).id();
    let entries = [request("GET", &format!("Patient/{id}"))];
    node.post(Who::Ext, "/", &bundle("transaction", &entries)).await.expect_outcome(403, "forbidden");
    let answer = node.post(Who::Ext, "/", &bundle("batch", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["403 Forbidden"]);
    assert_eq!(answer["entry"][0].get("resource"), None);
    let delete = [request("DELETE", &format!("Patient/{id}"))];
    for kind in ["batch", "transaction"] {
        node.post(Who::Ext, "/", &bundle(kind, &delete)).await.expect_outcome(403, "forbidden");
    }
    node.get(Who::Loc, &format!("/Patient/{id}")).await.expect(200);
}

#[tokio::test]
async fn fhir_085_a_resource_is_deleted_and_created_anew_in_one_transaction() {
    let node = Node::start().await;
    let value_set = json!({
        "resourceType": "ValueSet",
        "meta": { "tag": [tag_all()] },
        "url": "http://test.example/vs",
        "version": "1",
        "name": "Test",
        "status": "active",
        "date": "2026-01-01",
    });
    let id = node.post(Who::Loc, "/ValueSet", &value_set).await.expect(201).id();
    let entries = [request("DELETE", &format!("ValueSet/{id}")), entry("POST", "ValueSet", &value_set)];
    let answer = node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200 OK", "201 Created"]);
    assert_ne!(answer["entry"][1]["resource"]["id"], id);
}

#[tokio::test]
async fn fhir_087_nothing_of_a_transaction_is_stored_if_one_resource_is_invalid() {
    let node = Node::start().await;
    let binary = json!({
        "resourceType": "Binary",
        "meta": { "tag": [tag_all()] },
        "contentType": "text/plain",
        "data": "AAAA",
    });
    let mut invalid = organization("x", Who::Min, "Endpoint/none");
    invalid.as_object_mut().unwrap().remove("identifier");
    let entries = [entry("POST", "Binary", &binary), entry("POST", "Organization", &invalid)];
    node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect(403);
    assert_eq!(node.count(Who::Loc, "/Binary").await, 0);
}

#[tokio::test]
async fn a_batch_entry_with_a_dangling_reference_leaves_nothing_stored() {
    let node = Node::start().await;
    let dangling =
        endpoint("new", "https://new.example/fhir", &json!({ "reference": format!("Organization/{UNKNOWN}") }));
    let entries = [entry("POST", "Endpoint", &dangling), entry("POST", "Patient", &patient(&[tag_all()]))];
    let answer = node.post(Who::Loc, "/", &bundle("batch", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["403 Forbidden", "201 Created"]);
    assert_eq!(node.count(Who::Loc, "/Endpoint").await, 2);
}

#[tokio::test]
async fn bundles_that_break_the_entry_rules_are_refused() {
    let node = Node::start().await;
    let resource = patient(&[tag_all()]);
    let bad: [Value; 6] = [
        json!({ "resource": resource }),
        json!({ "fullUrl": "urn:uuid:x", "request": { "method": "POST", "url": "Patient" } }),
        json!({ "resource": resource, "request": { "method": "GET", "url": "Patient/1" } }),
        json!({ "resource": resource, "request": { "method": "PATCH", "url": "Patient/1" } }),
        json!({ "resource": resource, "request": { "method": "POST", "url": "Patient" } }),
        json!({ "fullUrl": "urn:uuid:x", "resource": resource, "request": { "method": "POST", "url": "Group" } }),
    ];
    for entry in bad {
        let answer = node.post(Who::Loc, "/", &bundle("transaction", std::slice::from_ref(&entry))).await;
        assert!(matches!(answer.status.as_u16(), 400 | 403), "{entry}: {}", answer.status);
        assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    }
    assert_eq!(node.count(Who::Loc, "/Patient").await, 0);
}

fn questionnaire() -> Value {
    let item =
        |link_id: &str, text: &str| json!({ "linkId": link_id, "text": text, "type": "string", "required": true });
    json!({
        "resourceType": "Questionnaire",
        "meta": { "tag": [tag_all()] },
        "url": "http://test.example/questionnaire",
        "version": "1.0",
        "name": "Test",
        "status": "active",
        "date": "2026-01-01",
        "subjectType": ["Organization"],
        "item": [
            item("user-task-id", "The user-task-id of the process execution"),
            { "linkId": "question", "text": "Yes?", "type": "boolean", "required": false },
        ],
    })
}

fn questionnaire_response() -> Value {
    json!({
        "resourceType": "QuestionnaireResponse",
        "questionnaire": "http://test.example/questionnaire|1.0",
        "status": "in-progress",
        "item": [{
            "linkId": "user-task-id",
            "text": "The user-task-id of the process execution",
            "answer": [{ "valueString": "task-1" }],
        }],
    })
}

#[tokio::test]
async fn fhir_086_a_response_may_stand_before_its_questionnaire() {
    for questionnaire_first in [true, false] {
        let node = Node::start().await;
        let mut entries = vec![
            entry("POST", "Questionnaire", &questionnaire()),
            entry("POST", "QuestionnaireResponse", &questionnaire_response()),
        ];
        if !questionnaire_first {
            entries.reverse();
        }
        let answer = node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect(200).json();
        assert_eq!(statuses(&answer), ["201 Created", "201 Created"]);
    }
}

#[tokio::test]
async fn fhir_094_user_tasks_are_answered_by_whom_they_are_for() {
    let node = Node::start().await;
    let body = questionnaire_response();
    node.post(Who::Loc, "/QuestionnaireResponse", &body).await.expect(403);
    node.post(Who::Loc, "/Questionnaire", &questionnaire()).await.expect(201);
    node.post(Who::Ext, "/QuestionnaireResponse", &body).await.expect_outcome(403, "forbidden");
    let mut completed = body.clone();
    completed["status"] = json!("completed");
    node.post(Who::Loc, "/QuestionnaireResponse", &completed).await.expect_outcome(403, "forbidden");
    let author = |who: Who| {
        let identifier = super::support::task(who, "requested", "1.0")["requester"]["identifier"].clone();
        let type_name = if who == Who::Loc { "Organization" } else { "Practitioner" };
        json!({ "type": type_name, "identifier": identifier })
    };
    let answered = |stored: &Value, who: Who| {
        let mut next = stored.clone();
        next["status"] = json!("completed");
        next["authored"] = json!("2026-01-01T10:00:00Z");
        next["author"] = author(who);
        next
    };
    let stored = node.post(Who::Loc, "/QuestionnaireResponse", &body).await.expect(201).json();
    let path = format!("/QuestionnaireResponse/{}", stored["id"].as_str().unwrap());
    node.get(Who::Ext, &path).await.expect(403);
    node.get(Who::Min, &path).await.expect(200);
    let mut changed = answered(&stored, Who::Loc);
    changed["item"][0]["answer"][0]["valueString"] = json!("other");
    node.put(Who::Loc, &path, &changed).await.expect_outcome(403, "forbidden");
    node.put(Who::Loc, &path, &answered(&stored, Who::Min)).await.expect_outcome(403, "forbidden");
    let done = node.put(Who::Loc, &path, &answered(&stored, Who::Loc)).await.expect(200).json();
    node.put(Who::Loc, &path, &done).await.expect_outcome(403, "forbidden");
    let mut amended = done.clone();
    amended["status"] = json!("amended");
    for who in [Who::Pra, Who::Min, Who::Ext] {
        node.put(who, &path, &amended).await.expect_outcome(403, "forbidden");
    }
    node.put(Who::Adm, &path, &amended).await.expect(200);
}

#[tokio::test]
async fn fhir_094_a_person_in_the_role_answers_a_user_task() {
    let node = Node::start().await;
    node.post(Who::Loc, "/Questionnaire", &questionnaire()).await.expect(201);
    let body = questionnaire_response();
    let answered = |stored: &Value, who: Who| {
        let mut next = stored.clone();
        next["status"] = json!("completed");
        next["authored"] = json!("2026-01-01T10:00:00Z");
        let identifier = super::support::task(who, "requested", "1.0")["requester"]["identifier"].clone();
        next["author"] = json!({ "type": "Practitioner", "identifier": identifier });
        next
    };
    for (role, status) in [("DIC_USER", 200), ("COS_USER", 403)] {
        let mut restricted = body.clone();
        restricted["extension"] = json!([{
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization",
            "extension": [{ "url": "practitioner-role", "valueCoding": super::support::user_role(role) }],
        }]);
        let stored = node.post(Who::Loc, "/QuestionnaireResponse", &restricted).await.expect(201).json();
        let path = format!("/QuestionnaireResponse/{}", stored["id"].as_str().unwrap());
        node.put(Who::Min, &path, &answered(&stored, Who::Min)).await.expect(status);
    }
}

#[tokio::test]
async fn start_up_data_is_applied_again_without_a_change() {
    let node = Node::start().await;
    let mut patient = entry("POST", "Patient", &identified("1"));
    patient["request"]["ifNoneExist"] = json!("identifier=http://test.example/sid|1");
    let organization = node.find("/Organization?identifier=Test_Organization").await;
    let stored = node.get(Who::Loc, &format!("/Organization/{organization}")).await.json();
    let mut body = stored.clone();
    body.as_object_mut().unwrap().remove("id");
    body.as_object_mut().unwrap().remove("meta");
    body["meta"] = json!({ "tag": [tag_all()] });
    let put =
        entry("PUT", &format!("Organization?identifier=http://dsf.dev/sid/organization-identifier|{LOCAL}"), &body);
    let first = super::support::execute(&node, "transaction", &[patient.clone(), put.clone()]).await;
    assert_eq!(statuses(&first), ["201 Created", "200 OK"]);
    let again = super::support::execute(&node, "transaction", &[patient, put]).await;
    assert_eq!(statuses(&again), ["200 OK", "200 OK"]);
    assert_eq!(node.count(Who::Loc, "/Organization").await, 3);
    node.get(Who::Loc, "/metadata").await.expect(200);
}

#[tokio::test]
async fn the_engine_itself_is_held_to_the_rules() {
    let node = Node::start().await;
    let resource = |value: &Value| fhir::json::parse(value.to_string().as_bytes(), &fhir::Limits::default()).unwrap();
    let untagged = resource(&patient(&[]));
    let error = node.endpoint.execute_local(Who::Loc.identity(), untagged).await.unwrap_err();
    assert_eq!(error.status, 403);
    let foreign = node.endpoint.execute_local(Who::Ext.identity(), resource(&patient(&[tag_all()]))).await;
    assert_eq!(foreign.unwrap_err().status, 403);
    let created = node.endpoint.execute_local(Who::Loc.identity(), resource(&patient(&[tag_all()]))).await.unwrap();
    assert_eq!(created.status, 201);
    assert!(created.resource.unwrap().id().is_some());
}

#[tokio::test]
async fn what_the_entries_read_together_is_bounded() {
    let node = Node::start().await;
    let mut large = patient(&[tag_all()]);
    large["text"] = json!({
        "status": "additional",
        "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{}</div>", "x".repeat(1 << 20)),
    });
    let id = node.post(Who::Loc, "/Patient", &large).await.expect(201).id();
    let mut entries = vec![request("GET", &format!("Patient/{id}")); 20];
    entries.extend(vec![request("GET", &format!("Patient?_id={id}")); 20]);
    entries.push(entry("POST", "Patient", &patient(&[tag_all()])));
    let answer = node.post(Who::Ext, "/", &bundle("batch", &entries[..40])).await.expect(200);
    let answered: Value = serde_json::from_slice(&answer.body).unwrap();
    let statuses_of_batch = statuses(&answered);
    assert_eq!(statuses_of_batch.iter().filter(|status| *status == "200 OK").count(), 31, "{statuses_of_batch:?}");
    assert!(statuses_of_batch[31..].iter().all(|status| status == "400 Bad Request"), "{statuses_of_batch:?}");
    assert_eq!(answered["entry"][39]["response"]["outcome"]["issue"][0]["code"], "too-costly");
    // A write is carried out and told whatever was read before it.
    let answer = node.post(Who::Loc, "/", &bundle("batch", &entries)).await.expect(200);
    let answered: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(statuses(&answered)[40], "201 Created");
    node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect_outcome(400, "too-costly");
    assert_eq!(node.count(Who::Loc, "/Patient?_summary=count").await, 2);
}
