//! References: cases 67 to 72.

use serde_json::json;

use crate::partner;
use crate::resources::{
    all, binary, identifier, organization_reference, post, reference_input, research_study, statuses, unique,
    unknown_id,
};
use crate::seed::{self, EXTERNAL, LOCAL};
use crate::subject::{shared, total};

#[tokio::test]
async fn fhir_067_a_literal_reference_must_exist() {
    let subject = shared().await;
    let name = unique("dangling.example");
    let nobody = json!({ "reference": format!("Organization/{}", unknown_id()) });
    let body = seed::endpoint(&name, &format!("https://{name}/fhir"), &nobody);
    subject.loc.post("/Endpoint", &body).await.expect(403).outcome_codes();
    subject.bundle(&subject.loc, "transaction", &[post(&body)]).await.expect(403).outcome_codes();
    let batch = subject.bundle(&subject.loc, "batch", &[post(&body)]).await.expect(200).json();
    assert_eq!(statuses(&batch), ["403 Forbidden"]);
    assert_eq!(total(&subject.loc, &format!("/Endpoint?identifier={name}")).await, 0, "nothing is left of a batch");
    // Of a type that the element does not allow, of a version that is not there, and of a deleted resource.
    let organization = subject.organization(EXTERNAL).await;
    let endpoint = subject.endpoint(seed::EXTERNAL_ENDPOINT).await;
    let deleted = subject.create(&seed::parent_organization(&unique("Gone"))).await;
    subject.loc.delete(&format!("/Organization/{deleted}")).await.expect(200);
    for reference in [
        format!("Endpoint/{endpoint}"),
        format!("Organization/{organization}/_history/999"),
        format!("Organization/{deleted}"),
        format!("urn:uuid:{}", unknown_id()),
        "Organization?name=x".to_owned(),
    ] {
        let body = seed::endpoint(&name, &format!("https://{name}/fhir"), &json!({ "reference": reference }));
        let answer = subject.loc.post("/Endpoint", &body).await;
        assert_eq!(answer.status, 403, "{reference}: {}", answer.text());
    }
    for reference in [format!("Organization/{organization}"), format!("{}/Organization/{organization}", subject.base)] {
        let name = unique("existing.example");
        let body = seed::endpoint(&name, &format!("https://{name}/fhir"), &json!({ "reference": reference }));
        subject.create(&body).await;
    }
}

#[tokio::test]
async fn fhir_068_a_logical_reference_is_resolved_and_shown_as_it_was() {
    let subject = shared().await;
    let name = unique("logical.example");
    let body = seed::endpoint(&name, &format!("https://{name}/fhir"), &organization_reference(LOCAL));
    let created = subject.loc.post("/Endpoint", &body).await.expect(201);
    let read = subject.loc.get(&format!("/Endpoint/{}", created.created_id())).await.expect(200).json();
    for shown in [created.json(), read] {
        let managing = &shown["managingOrganization"];
        assert_eq!(managing["identifier"]["value"], LOCAL);
        assert!(managing.get("reference").is_none());
    }
    let organization = subject.organization(LOCAL).await;
    assert_eq!(total(&subject.loc, &format!("/Endpoint?identifier={name}&organization={organization}")).await, 1);
}

fn task_with(reference: serde_json::Value) -> serde_json::Value {
    let mut task = seed::task("ext", 2);
    task["input"].as_array_mut().unwrap().push(reference_input(reference));
    task
}

#[tokio::test]
async fn fhir_069_identifiers_of_unknown_systems_are_left_alone() {
    let subject = shared().await;
    let reference = json!({ "type": "Patient", "identifier": identifier("http://test.example/pseudonym", "p1") });
    subject.ext.post("/Task", &task_with(reference)).await.expect(201);
}

#[tokio::test]
async fn fhir_070_identifiers_of_organisations_are_known() {
    let subject = shared().await;
    let known = organization_reference(LOCAL);
    let unknown = organization_reference("nobody.example");
    let mut untyped = known.clone();
    untyped.as_object_mut().unwrap().remove("type");
    for (reference, status) in [(known, 201), (unknown, 403), (untyped, 403)] {
        let answer = subject.ext.post("/Task", &task_with(reference.clone())).await;
        assert_eq!(answer.status, status, "{reference}: {}", answer.text());
    }
}

#[tokio::test]
async fn fhir_071_servers_that_nobody_knows_are_not_asked() {
    let subject = shared().await;
    let reference = json!({ "reference": format!("https://unknown.example/fhir/Patient/{}", unknown_id()) });
    subject.ext.post("/Task", &task_with(reference)).await.expect(201);
}

#[tokio::test]
async fn servers_of_partners_are_asked_whether_a_resource_exists() {
    let subject = shared().await;
    let base = format!("https://localhost:{}/fhir", partner::port());
    let rest = "-0000-4000-8000-000000000000";
    for (begin, status, text) in [
        (partner::EXISTING, 201, ""),
        (partner::MISSING, 403, "not found on server"),
        ("cccccccc", 403, "(reason hidden)"),
    ] {
        let reference = json!({ "reference": format!("{base}/Patient/{begin}{rest}") });
        let answer = subject.ext.post("/Task", &task_with(reference)).await;
        assert_eq!(answer.status, status, "{begin}: {}", answer.text());
        assert!(answer.text().contains(text), "{}", answer.text());
    }
}

#[tokio::test]
async fn fhir_072_related_artifacts_are_made_absolute_and_checked() {
    let subject = shared().await;
    let content = subject.create(&binary(&[all()], "aGVsbG8=")).await;
    let absolute = format!("{}/Binary/{content}", subject.base);
    for (url, shown) in [
        ("https://foo.bar".to_owned(), "https://foo.bar".to_owned()),
        (format!("Binary/{content}"), absolute.clone()),
        (absolute.clone(), absolute),
    ] {
        let created = subject.loc.post("/ResearchStudy", &research_study(&[all()], Some(&url))).await.expect(201);
        assert_eq!(created.json()["relatedArtifact"][0]["url"], shown.as_str());
    }
    let unknown = format!("Binary/{}", unknown_id());
    subject.loc.post("/ResearchStudy", &research_study(&[all()], Some(&unknown))).await.expect(403);
    let mut document = crate::resources::document_reference(&[all()]);
    document["content"][0]["attachment"]["url"] = json!(format!("Binary/{content}"));
    let created = subject.loc.post("/DocumentReference", &document).await.expect(201).json();
    assert_eq!(created["content"][0]["attachment"]["url"], format!("{}/Binary/{content}", subject.base));
}
