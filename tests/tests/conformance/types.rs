//! Every type has every interaction (`fhir-api` 1.2).

use serde_json::{Value, json};
use tests::client::{JSON, XML};

use crate::resources::{
    all, binary, code_system, coding, document_reference, group, organization_reference, patient, post, questionnaire,
    questionnaire_response, request, research_study, resource, statuses, subscription, unique, value_set,
};
use crate::seed;
use crate::subject::{Subject, shared, total};

/// A small valid resource of each of the 26 types.
async fn one_of_each(subject: &Subject) -> Vec<Value> {
    let external = format!("Organization/{}", subject.organization(seed::EXTERNAL).await);
    let endpoint = format!("Endpoint/{}", subject.endpoint(seed::EXTERNAL_ENDPOINT).await);
    let person = format!("Practitioner/{}", subject.create(&resource("Practitioner", &[all()], json!({}))).await);
    let parent = format!("Organization/{}", subject.create(&seed::parent_organization(&unique("Parent"))).await);
    let survey = unique("http://test.example/Questionnaire/q");
    subject.create(&questionnaire(&survey, "1.0")).await;
    let plain = |name: &str, members: Value| resource(name, &[all()], members);
    let url = |name: &str| unique(&format!("http://test.example/{name}/t"));
    let local = seed::party("LOCAL_ALL", None);
    let process = format!("http://dsf.dev/bpe/Process/{}", uuid::Uuid::new_v4().simple());
    let library_type = coding("http://terminology.hl7.org/CodeSystem/library-type", "logic-library");
    let period = json!({ "start": "2026-01-01", "end": "2026-01-31" });
    let name = unique("endpoint.example");
    vec![
        seed::activity_definition(&process, "1.0", std::slice::from_ref(&local), &local),
        binary(&[all()], "aGVsbG8="),
        plain("Bundle", json!({ "type": "collection" })),
        code_system(&url("CodeSystem"), "1.0", &[all()]),
        document_reference(&[all()]),
        seed::endpoint(&name, &format!("https://{name}/fhir"), &json!({ "reference": external })),
        group(&[]),
        plain("HealthcareService", json!({ "active": true, "name": "Service" })),
        plain("Library", json!({ "url": url("Library"), "status": "active", "type": { "coding": [library_type] } })),
        plain("Location", json!({ "name": "Place", "alias": ["Spot"] })),
        plain("Measure", json!({ "url": url("Measure"), "status": "active" })),
        plain(
            "MeasureReport",
            json!({
                "status": "complete", "type": "summary", "measure": "http://test.example/Measure/m", "period": period,
            }),
        ),
        plain(
            "NamingSystem",
            json!({
                "name": unique("Naming"), "status": "active", "kind": "identifier", "date": "2026-01-01",
                "uniqueId": [{ "type": "uri", "value": url("sid") }],
            }),
        ),
        seed::parent_organization(&unique("parent.example")),
        seed::affiliation(&parent, &external, &endpoint, &["DIC"]),
        patient(&[all()]),
        plain("Practitioner", json!({ "active": true })),
        plain(
            "PractitionerRole",
            json!({
                "active": true, "organization": { "reference": external }, "practitioner": { "reference": person },
            }),
        ),
        plain(
            "Provenance",
            json!({
                "target": [{ "reference": person }], "recorded": "2026-01-01T10:00:00Z",
                "agent": [{ "who": organization_reference(seed::LOCAL) }],
            }),
        ),
        questionnaire(&url("Questionnaire"), "1.0"),
        questionnaire_response(&format!("{survey}|1.0")),
        research_study(&[all()], Some("https://elsewhere.example/protocol")),
        seed::task_profile(&url("StructureDefinition"), "1.0"),
        subscription(&format!("Patient?identifier={}", unique("t")), None),
        seed::draft("loc"),
        value_set(&url("ValueSet"), "1.0"),
    ]
}

/// The next state that the rules of the type allow.
fn changed(mut resource: Value) -> Value {
    if resource["resourceType"] == "QuestionnaireResponse" {
        resource["status"] = json!("stopped");
    } else {
        resource["language"] = json!("de");
    }
    resource
}

#[tokio::test]
async fn every_type_has_every_interaction() {
    let subject = shared().await;
    let resources = one_of_each(subject).await;
    assert_eq!(resources.len(), 26);
    for body in resources {
        let resource_type = body["resourceType"].as_str().unwrap();
        let created = subject.loc.post(&format!("/{resource_type}"), &body).await;
        assert_eq!(created.status, 201, "{resource_type}: {}", created.text());
        let id = created.created_id();
        let path = format!("/{resource_type}/{id}");
        let stored = subject.loc.get(&path).await.expect(200).json();
        assert_eq!(stored, created.json(), "{resource_type}");
        for (name, value) in body.as_object().unwrap().iter().filter(|(name, _)| *name != "meta") {
            assert_eq!(&stored[name], value, "{resource_type}.{name}");
        }
        // What is read as XML can be written as XML.
        let xml = subject.loc.send("GET", &path, &[("accept", XML)], "").await.expect(200);
        let head = subject.loc.send("HEAD", &path, &[("accept", XML)], "").await.expect(200);
        assert_eq!(head.field("content-length").unwrap(), xml.body.len().to_string(), "{resource_type}");
        let mut version = 1;
        if resource_type != "QuestionnaireResponse" {
            let fields = [("content-type", XML), ("accept", JSON)];
            let again = subject.loc.send("PUT", &path, &fields, xml.body.clone()).await;
            assert_eq!(again.status, 200, "{resource_type}: {}", again.text());
            let mut same = again.json();
            same["meta"] = stored["meta"].clone();
            assert_eq!(same, stored, "{resource_type}");
            version = 2;
        }
        let next = changed(subject.loc.get(&path).await.expect(200).json());
        let updated = subject.loc.put(&format!("/{resource_type}?_id={id}"), &next).await;
        assert_eq!(updated.status, 200, "{resource_type}: {}", updated.text());
        version += 1;
        subject.loc.get(&format!("{path}/_history/{version}")).await.expect(200);
        assert_eq!(total(&subject.loc, &format!("/{resource_type}?_id={id}")).await, 1, "{resource_type}");
        assert_eq!(total(&subject.loc, &format!("{path}/_history")).await, version, "{resource_type}");
        assert!(total(&subject.loc, &format!("/{resource_type}/_history?_count=0")).await >= version);
        let condition = [("if-none-exist", format!("_id={id}"))];
        let condition: Vec<(&str, &str)> = condition.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if created.status == 201 && matches!(resource_type, "Patient" | "Group" | "Location" | "HealthcareService") {
            subject.loc.write_with("POST", &format!("/{resource_type}"), &condition, &body).await.expect(200);
        }
        // Outside nothing is written of it, in no way.
        if resource_type != "Task" {
            subject.ext.post(&format!("/{resource_type}"), &body).await.expect(403);
        }
        subject.ext.put(&path, &next).await.expect(403);
        subject.ext.delete(&path).await.expect(403);
        subject.loc.delete(&format!("/{resource_type}?_id={id}")).await.expect(200);
        subject.loc.get(&path).await.expect(410);
        subject.loc.send("POST", &format!("{path}/$permanent-delete"), &[("accept", JSON)], "").await.expect(200);
        subject.loc.get(&format!("{path}/_history/1")).await.expect(404);
    }
}

#[tokio::test]
async fn every_type_is_made_in_bundles() {
    let subject = shared().await;
    for kind in ["transaction", "batch"] {
        let resources = one_of_each(subject).await;
        let entries: Vec<Value> = resources.iter().map(post).collect();
        let answer = subject.bundle(&subject.loc, kind, &entries).await.expect(200).json();
        assert_eq!(statuses(&answer), vec!["201 Created"; 26], "{answer:#}");
        let created = answer["entry"].as_array().unwrap();
        let read: Vec<Value> = created
            .iter()
            .map(|entry| {
                request("GET", entry["fullUrl"].as_str().unwrap().strip_prefix(&format!("{}/", subject.base)).unwrap())
            })
            .collect();
        let answer = subject.bundle(&subject.loc, kind, &read).await.expect(200).json();
        assert_eq!(statuses(&answer), vec!["200 OK"; 26], "{answer:#}");
        let delete: Vec<Value> =
            read.iter().map(|entry| request("DELETE", entry["request"]["url"].as_str().unwrap())).collect();
        let answer = subject.bundle(&subject.loc, kind, &delete).await.expect(200).json();
        assert_eq!(statuses(&answer), vec!["200 OK"; 26], "{answer:#}");
    }
}
