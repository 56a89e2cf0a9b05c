//! Read-access tags: cases 46 to 55, and the hardening cases about them.

use serde_json::{Value, json};

use crate::resources::{
    all, code_system, for_organization, for_role, group, local, organization_reference, patient, resource, unique,
};
use crate::seed::{self, EXTERNAL, LOCAL, PARENT};
use crate::subject::{Subject, shared, total};

async fn tagged(subject: &Subject, tags: &[Value]) -> String {
    let body = code_system(&unique("http://test.example/CodeSystem/tagged"), "1.0", tags);
    format!("/CodeSystem/{}", subject.create(&body).await)
}

#[tokio::test]
async fn fhir_046_local_is_for_the_own_organisation() {
    let subject = shared().await;
    let path = tagged(subject, &[local()]).await;
    subject.loc.get(&path).await.expect(200);
    subject.pra.get(&path).await.expect(200);
    let refused = subject.ext.get(&path).await.expect(403);
    assert_eq!(refused.outcome_codes()[0], "forbidden");
    subject.min.get(&path).await.expect(403);
}

#[tokio::test]
async fn fhir_047_all_is_for_everybody() {
    let subject = shared().await;
    let path = tagged(subject, &[all()]).await;
    subject.ext.get(&path).await.expect(200);
}

#[tokio::test]
async fn fhir_048_an_organisation_is_named() {
    let subject = shared().await;
    for (name, status) in [(EXTERNAL, 200), (LOCAL, 403)] {
        let path = tagged(subject, &[local(), for_organization(name)]).await;
        subject.ext.get(&path).await.expect(status);
        subject.loc.get(&path).await.expect(200);
    }
}

#[tokio::test]
async fn fhir_049_a_role_is_named() {
    let subject = shared().await;
    for (role, status) in [("TTP", 200), ("DIC", 403)] {
        let path = tagged(subject, &[local(), for_role(PARENT, role)]).await;
        subject.ext.get(&path).await.expect(status);
    }
}

/// A resource whose first version is for everybody and whose second is not.
async fn narrowed(subject: &Subject) -> String {
    let path = tagged(subject, &[all()]).await;
    let mut body = subject.loc.get(&path).await.expect(200).json();
    body["meta"]["tag"] = json!([local()]);
    subject.loc.put(&path, &body).await.expect(200);
    path
}

#[tokio::test]
async fn fhir_050_each_version_has_its_readers() {
    let subject = shared().await;
    let path = narrowed(subject).await;
    for (version, status) in [("", 403), ("/_history/2", 403), ("/_history/1", 200)] {
        subject.ext.get(&format!("{path}{version}")).await.expect(status);
    }
}

#[tokio::test]
async fn fhir_051_histories_and_searches_show_what_may_be_read() {
    let subject = shared().await;
    let path = narrowed(subject).await;
    let history = subject.ext.get(&format!("{path}/_history")).await.expect(200).json();
    assert_eq!(history["total"], 1);
    assert_eq!(history["entry"][0]["resource"]["meta"]["versionId"], "1");
    let id = path.rsplit('/').next().unwrap();
    assert_eq!(total(&subject.ext, &format!("/CodeSystem?_id={id}")).await, 0);
    assert_eq!(total(&subject.loc, &format!("{path}/_history")).await, 2);
}

#[tokio::test]
async fn fhir_052_a_resource_says_who_may_read_it() {
    let subject = shared().await;
    let mut body = group(&[]);
    body.as_object_mut().unwrap().remove("meta");
    subject.loc.post("/Group", &body).await.expect(403).outcome_codes();
}

#[tokio::test]
async fn fhir_053_all_stands_alone() {
    let subject = shared().await;
    for tags in [
        vec![all(), local()],
        vec![all(), all()],
        vec![local(), local()],
        vec![for_organization(EXTERNAL)],
        vec![all(), for_role(PARENT, "TTP")],
        vec![local(), for_organization("nobody.example")],
        vec![local(), for_role(PARENT, "NO_SUCH_ROLE")],
    ] {
        let answer = subject.loc.post("/Patient", &patient(&tags)).await;
        assert_eq!(answer.status, 403, "{tags:?}");
    }
}

#[tokio::test]
async fn fhir_054_others_write_nothing_that_is_tagged() {
    let subject = shared().await;
    let answer = subject.ext.post("/Patient", &patient(&[all()])).await.expect(403);
    assert_eq!(answer.outcome_codes()[0], "forbidden");
    let path = tagged(subject, &[all()]).await;
    let body = subject.ext.get(&path).await.expect(200).json();
    subject.ext.put(&path, &body).await.expect(403);
    subject.ext.delete(&path).await.expect(403);
    let conditional = format!("/CodeSystem?url={}", body["url"].as_str().unwrap());
    subject.ext.put(&conditional, &body).await.expect(403);
    subject.ext.delete(&conditional).await.expect(403);
}

/// A consortium of its own with one member, so that other tests keep theirs.
async fn consortium(subject: &Subject, role: &str) -> (String, String) {
    let parent = unique("Parent");
    let id = subject.create(&seed::parent_organization(&parent)).await;
    let member = subject.organization(EXTERNAL).await;
    let endpoint = subject.endpoint(seed::EXTERNAL_ENDPOINT).await;
    let affiliation = seed::affiliation(
        &format!("Organization/{id}"),
        &format!("Organization/{member}"),
        &format!("Endpoint/{endpoint}"),
        &[role],
    );
    let affiliation = subject.create(&affiliation).await;
    (parent, format!("/OrganizationAffiliation/{affiliation}"))
}

#[tokio::test]
async fn fhir_055_a_lost_role_closes_what_was_for_it() {
    let subject = shared().await;
    let (parent, affiliation) = consortium(subject, "TTP").await;
    let path = tagged(subject, &[local(), for_role(&parent, "TTP")]).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let may_read = async |status: u16, found: u64| {
        subject.ext.get(&path).await.expect(status);
        assert_eq!(total(&subject.ext, &format!("/CodeSystem?_id={id}")).await, found);
    };
    may_read(200, 1).await;
    let original = subject.loc.get(&affiliation).await.expect(200).json();
    let mut other = original.clone();
    other["code"][0]["coding"][0]["code"] = json!("DTS");
    subject.loc.put(&affiliation, &other).await.expect(200);
    may_read(403, 0).await;
    subject.loc.put(&affiliation, &original).await.expect(200);
    may_read(200, 1).await;
    let mut inactive = original.clone();
    inactive["active"] = json!(false);
    subject.loc.put(&affiliation, &inactive).await.expect(200);
    may_read(403, 0).await;
    subject.loc.put(&affiliation, &original).await.expect(200);
    may_read(200, 1).await;
    let consortium = format!("/Organization/{}", subject.organization(&parent).await);
    let active = subject.loc.get(&consortium).await.expect(200).json();
    let mut closed = active.clone();
    closed["active"] = json!(false);
    subject.loc.put(&consortium, &closed).await.expect(200);
    may_read(403, 0).await;
    subject.loc.put(&consortium, &active).await.expect(200);
    may_read(200, 1).await;
    subject.loc.delete(&affiliation).await.expect(200);
    may_read(403, 0).await;
}

#[tokio::test]
async fn an_included_resource_that_may_not_be_read_is_left_out() {
    let subject = shared().await;
    let group_id = subject.create(&resource("Group", &[local()], json!({ "type": "person", "actual": true }))).await;
    let mut study = crate::resources::research_study(&[all()], None);
    study["enrollment"] = json!([{ "reference": format!("Group/{group_id}") }]);
    let study = subject.create(&study).await;
    let target = format!("/ResearchStudy?_id={study}&_include=ResearchStudy:enrollment");
    let shown = subject.loc.get(&target).await.expect(200).json();
    assert_eq!(crate::resources::modes(&shown), ["match", "include"]);
    let shown = subject.ext.get(&target).await.expect(200).json();
    assert_eq!(crate::resources::modes(&shown), ["match"]);
}

#[tokio::test]
async fn a_stored_bundle_is_replaced_by_its_identifier_and_kept_with_any_answer() {
    let subject = shared().await;
    let value = unique("allow_list");
    let mut bundle = resource(
        "Bundle",
        &[all()],
        json!({
            "type": "collection",
            "identifier": { "system": "http://dsf.dev/fhir/CodeSystem/update-allow-list", "value": value },
            "entry": [],
        }),
    );
    bundle.as_object_mut().unwrap().remove("entry");
    let target = format!("/Bundle?identifier=http://dsf.dev/fhir/CodeSystem/update-allow-list%7C{value}");
    subject.loc.put(&target, &bundle).await.expect(201);
    for form in ["return=minimal", "return=OperationOutcome", "return=representation"] {
        let answer = subject.loc.write_with("PUT", &target, &[("prefer", form)], &bundle).await.expect(200);
        assert_eq!(answer.text().is_empty(), form == "return=minimal");
    }
    assert_eq!(total(&subject.loc, &target).await, 1);
    subject.ext.get(&target).await.expect(200);
}

#[tokio::test]
async fn literals_beside_identifiers_are_hidden_everywhere() {
    let subject = shared().await;
    let name = unique("hidden.example");
    let mut body = seed::endpoint(&name, &format!("https://{name}/fhir"), &organization_reference(EXTERNAL));
    body["name"] = json!(name);
    let created = subject.loc.post("/Endpoint", &body).await.expect(201);
    let path = format!("/Endpoint/{}", created.created_id());
    let read = subject.loc.get(&path).await.expect(200).json();
    let search = subject.loc.get(&format!("/Endpoint?identifier={name}")).await.expect(200).json();
    let history = subject.loc.get(&format!("{path}/_history")).await.expect(200).json();
    for shown in [&created.json(), &read, &search["entry"][0]["resource"], &history["entry"][0]["resource"]] {
        let managing = &shown["managingOrganization"];
        assert!(managing.get("reference").is_none() && managing.get("identifier").is_some(), "{shown:#}");
    }
}
