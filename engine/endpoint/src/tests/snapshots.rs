//! `$snapshot`, and what becomes of snapshots in writes and events (`fhir-api` 1.10).

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use link::PERMIT_HEADER;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::support::{Node, Who, tag_all, tag_local};

const PROFILE: &str = "http://example.org/fhir/StructureDefinition/profile";
const TASK: &str = "http://dsf.dev/fhir/StructureDefinition/task";

/// A profile on Patient or on another profile of it.
fn profile(url: &str, base: &str, tag: &Value) -> Value {
    json!({
        "resourceType": "StructureDefinition",
        "meta": { "tag": [tag] },
        "url": url,
        "version": "1.0",
        "name": "Profile",
        "status": "active",
        "date": "2026-01-01",
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": false,
        "type": "Patient",
        "baseDefinition": base,
        "derivation": "constraint",
        "differential": { "element": [{ "id": "Patient.active", "path": "Patient.active", "min": 1 }] },
    })
}

fn patient_profile(tag: &Value) -> Value {
    profile(PROFILE, "http://hl7.org/fhir/StructureDefinition/Patient", tag)
}

/// A client's own snapshot: true, and told apart from a generated one by its text.
fn sent_snapshot() -> Value {
    let element = |path: &str, base: &str| {
        json!({
            "id": path, "path": path, "definition": "from the client", "min": 0, "max": "1",
            "base": { "path": base, "min": 0, "max": "1" },
        })
    };
    json!({ "element": [element("Patient", "Patient"), element("Patient.id", "Resource.id")] })
}

fn by_url(url: &str) -> Value {
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "url", "valueUri": url }] })
}

fn by_resource(resource: &Value) -> Value {
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "resource", "resource": resource }] })
}

/// The element of the snapshot with this path.
fn element(definition: &Value, path: &str) -> Value {
    let elements = definition["snapshot"]["element"].as_array().unwrap_or_else(|| panic!("no snapshot: {definition}"));
    elements.iter().find(|element| element["path"] == path).cloned().unwrap_or_else(|| panic!("no {path}"))
}

#[tokio::test]
async fn every_form_of_the_operation_answers_the_whole_definition() {
    let node = Node::start().await;
    let id = node.post(Who::Loc, "/StructureDefinition", &patient_profile(&tag_all())).await.expect(201).id();
    let instance = format!("/StructureDefinition/{id}/$snapshot");
    let encoded = "http%3A%2F%2Fexample.org%2Ffhir%2FStructureDefinition%2Fprofile";
    for who in [Who::Loc, Who::Ext] {
        let answers = [
            node.get(who, &instance).await,
            node.post(who, &instance, &json!({ "resourceType": "Parameters" })).await,
            node.get(who, &format!("/StructureDefinition/$snapshot?url={encoded}")).await,
            node.get(who, &format!("/StructureDefinition/$snapshot?url={encoded}%7C1.0")).await,
            node.post(who, "/StructureDefinition/$snapshot", &by_url(PROFILE)).await,
            node.post(who, "/StructureDefinition/$snapshot", &by_resource(&patient_profile(&tag_all()))).await,
        ];
        for answer in answers {
            let definition = answer.expect(200).json();
            assert_eq!(definition["url"], PROFILE);
            assert_eq!(element(&definition, "Patient.active")["min"], 1);
            assert_eq!(element(&definition, "Patient.id")["base"]["path"], "Resource.id");
        }
    }
    // A shipped profile, stored without a snapshot.
    let task = node.post(Who::Ext, "/StructureDefinition/$snapshot", &by_url(TASK)).await.expect(200).json();
    assert_eq!(element(&task, "Task.requester")["min"], 1);
    let metadata = node.get(Who::Ext, "/metadata").await.expect(200).json();
    let resources = metadata["rest"][0]["resource"].as_array().unwrap();
    let with = resources.iter().filter(|resource| resource["operation"][0]["name"] == "snapshot");
    assert_eq!(with.map(|resource| resource["type"].clone()).collect::<Vec<_>>(), ["StructureDefinition"]);
}

#[tokio::test]
async fn what_is_not_there_or_not_asked_properly_is_told() {
    let node = Node::start().await;
    let unknown = "11111111-2222-4333-8444-555555555555";
    let operation = "/StructureDefinition/$snapshot";
    node.get(Who::Loc, &format!("/StructureDefinition/{unknown}/$snapshot")).await.expect(404);
    node.get(Who::Loc, &format!("{operation}?url=http://example.org/nobody")).await.expect(404);
    node.post(Who::Loc, operation, &by_url("http://example.org/nobody")).await.expect(404);
    node.get(Who::Loc, operation).await.expect(400);
    node.get(Who::Loc, &format!("{operation}?url=a&url=b")).await.expect(400);
    let mut both = by_url(PROFILE);
    both["parameter"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "resource", "resource": patient_profile(&tag_all()) }));
    let mut without_differential = patient_profile(&tag_all());
    without_differential.as_object_mut().unwrap().remove("differential");
    for parameters in [
        json!({ "resourceType": "Parameters" }),
        json!({ "resourceType": "Parameters", "parameter": [{ "name": "other", "valueUri": PROFILE }] }),
        json!({ "resourceType": "Parameters", "parameter": [{ "name": "url", "valueBoolean": true }] }),
        by_resource(&json!({ "resourceType": "Patient" })),
        by_resource(&without_differential),
        both,
    ] {
        node.post(Who::Loc, operation, &parameters).await.expect(400);
    }
    let mut wrong = patient_profile(&tag_all());
    wrong["differential"]["element"][0]["path"] = json!("Patient.foreign");
    wrong["differential"]["element"][0]["id"] = json!("Patient.foreign");
    let outcome = node.post(Who::Loc, operation, &by_resource(&wrong)).await.expect(500).json();
    assert_eq!(outcome["issue"][0]["expression"][0], "Patient.foreign");
    assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "EN-FHIR-027");
}

/// GHSA-xw2h-2xx5-j86q: the operation of 2.1.0 did not ask whether the caller may read the definition.
#[tokio::test]
async fn nobody_gets_a_snapshot_of_what_he_may_not_read() {
    let node = Node::start().await;
    let id = node.post(Who::Loc, "/StructureDefinition", &patient_profile(&tag_local())).await.expect(201).id();
    let operation = "/StructureDefinition/$snapshot";
    let derived = by_resource(&profile("http://example.org/own", PROFILE, &tag_all()));
    for (who, status) in [(Who::Ext, 403), (Who::Loc, 200)] {
        node.get(who, &format!("/StructureDefinition/{id}/$snapshot")).await.expect(status);
        node.get(who, &format!("{operation}?url={PROFILE}")).await.expect(status);
        node.post(who, operation, &by_url(PROFILE)).await.expect(status);
        // Nor by way of a definition that builds on it.
        node.post(who, operation, &derived).await.expect(status);
    }
}

#[tokio::test]
async fn a_snapshot_is_cut_off_kept_and_shown_only_to_whom_sent_it() {
    let node = Node::start().await;
    let mut with = patient_profile(&tag_all());
    with["snapshot"] = sent_snapshot();
    let created = node.post(Who::Loc, "/StructureDefinition", &with).await.expect(201);
    let id = created.id();
    assert_eq!(created.json()["snapshot"], with["snapshot"]);
    let path = format!("/StructureDefinition/{id}");
    let operation = format!("{path}/$snapshot");
    for read in [path.clone(), format!("{path}/_history/1")] {
        assert_eq!(node.get(Who::Loc, &read).await.expect(200).json().get("snapshot"), None);
    }
    let found = node.get(Who::Loc, &format!("/StructureDefinition?url={PROFILE}")).await.json();
    assert_eq!(found["entry"][0]["resource"].get("snapshot"), None);
    let kept = node.get(Who::Loc, &operation).await.expect(200).json();
    assert_eq!(element(&kept, "Patient")["definition"], "from the client");

    // The next version comes without: it gets its own.
    let mut next = patient_profile(&tag_all());
    next["id"] = json!(id);
    next["differential"]["element"][0]["short"] = json!("changed");
    let updated = node.put(Who::Loc, &path, &next).await.expect(200).json();
    assert_eq!(updated.get("snapshot"), None);
    let made = node.get(Who::Loc, &operation).await.expect(200).json();
    assert_eq!(element(&made, "Patient.active")["short"], "changed");

    node.delete(Who::Loc, &path).await.expect(200);
    node.get(Who::Loc, &operation).await.expect(410);
    let gone = id.clone();
    assert_eq!(node.store.read(move |tx| tx.snapshot(&gone, 2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_definition_without_base_is_stored_alone_and_refused_in_a_bundle() {
    let node = Node::start().await;
    let derived = profile("http://example.org/derived", PROFILE, &tag_all());
    let entry = |resource: &Value| {
        let request = json!({ "method": "POST", "url": "StructureDefinition" });
        json!({ "fullUrl": format!("urn:uuid:{}", uuid::Uuid::new_v4()), "resource": resource, "request": request })
    };
    let bundle = |kind: &str, entries: Vec<Value>| json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
    node.post(Who::Loc, "", &bundle("transaction", vec![entry(&derived)])).await.expect(400);
    let batch = node.post(Who::Loc, "", &bundle("batch", vec![entry(&derived)])).await.expect(200).json();
    assert!(batch["entry"][0]["response"]["status"].as_str().unwrap().starts_with("400"), "{batch}");
    assert_eq!(node.count(Who::Loc, "/StructureDefinition?url=http://example.org/derived").await, 0);
    // With its base, in whatever order, it is fine.
    let other = profile("http://example.org/other", PROFILE, &tag_all());
    let both = bundle("transaction", vec![entry(&other), entry(&patient_profile(&tag_all()))]);
    node.post(Who::Loc, "", &both).await.expect(200);
    node.delete(
        Who::Loc,
        &format!("/StructureDefinition/{}", node.find(&format!("/StructureDefinition?url={PROFILE}")).await),
    )
    .await
    .expect(200);

    let id = node.post(Who::Loc, "/StructureDefinition", &derived).await.expect(201).id();
    let operation = format!("/StructureDefinition/{id}/$snapshot");
    node.get(Who::Loc, &operation).await.expect(500);
    node.post(Who::Loc, "/StructureDefinition", &patient_profile(&tag_all())).await.expect(201);
    let made = node.get(Who::Loc, &operation).await.expect(200).json();
    assert_eq!(element(&made, "Patient.active")["min"], 1);
}

#[tokio::test]
async fn events_always_carry_the_snapshot() {
    let node = Node::start().await;
    let subscription = json!({
        "resourceType": "Subscription", "meta": { "tag": [tag_local()] }, "status": "active", "reason": "test",
        "criteria": "StructureDefinition?status=active",
        "channel": { "type": "websocket", "payload": "application/fhir+json" },
    });
    let id = node.post(Who::Loc, "/Subscription", &subscription).await.expect(201).id();
    let stream = UnixStream::connect(node.socket()).await.unwrap();
    let mut request = "ws://engine/fhir/ws".into_client_request().unwrap();
    let permit = node.permit(Who::Loc, "websocket").encode().unwrap();
    request.headers_mut().insert(PERMIT_HEADER, permit.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(format!("bind {id}"))).await.unwrap();
    let mut with = profile("http://example.org/with", "http://hl7.org/fhir/StructureDefinition/Patient", &tag_all());
    with["snapshot"] = sent_snapshot();
    for (definition, text) in [(patient_profile(&tag_all()), None), (with, Some("from the client"))] {
        node.post(Who::Loc, "/StructureDefinition", &definition).await.expect(201);
        let event: Value = loop {
            let frame = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("no frame");
            match frame.unwrap().unwrap() {
                Message::Text(text) if text.starts_with('{') => break serde_json::from_str(&text).unwrap(),
                _ => {}
            }
        };
        assert_eq!(event["url"], definition["url"]);
        let root = element(&event, "Patient");
        assert!(text.is_none_or(|text| root["definition"] == text), "{root}");
    }
}
