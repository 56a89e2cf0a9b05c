//! Read, version, delete: cases 1 to 16.

use std::time::Duration;

use serde_json::{Value, json};
use tests::Answer;

use crate::resources::{all, local, patient, unknown_id};
use crate::subject::{Subject, shared};

fn assert_outcome(answer: &Answer, code: &str) {
    assert_eq!(answer.outcome_codes()[0], code, "{}", answer.text());
}

/// Stores another version and gives it.
async fn update(subject: &Subject, path: &str) -> Value {
    let stored = subject.loc.get(path).await.expect(200).json();
    let mut next = stored.clone();
    next["active"] = json!(!stored["active"].as_bool().unwrap());
    subject.loc.put(path, &next).await.expect(200).json()
}

async fn new_patient(subject: &Subject) -> String {
    format!("/Patient/{}", subject.create(&patient(&[all()])).await)
}

#[tokio::test]
async fn fhir_001_an_unknown_id_is_404_without_a_body() {
    let answer = shared().await.loc.get(&format!("/Organization/{}", unknown_id())).await.expect(404);
    assert_eq!(answer.text(), "");
}

#[tokio::test]
async fn fhir_002_an_id_that_is_no_uuid_is_404_and_explained() {
    let answer = shared().await.loc.get("/Organization/not-a-uuid").await.expect(404);
    assert!(answer.text().contains("(not a UUID) not found"), "{}", answer.text());
    answer.outcome_codes();
}

#[tokio::test]
async fn fhir_003_a_read_has_its_headers() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let answer = subject.loc.get(&path).await.expect(200);
    assert_eq!(answer.field("etag"), Some("W/\"1\""));
    assert!(answer.field("last-modified").unwrap().ends_with(" GMT"));
    let cache = answer.field("cache-control").unwrap();
    assert!(cache.contains("private") && cache.contains("no-cache"), "{cache}");
    assert_eq!(answer.field("vary"), Some("Accept"));
    for absent in ["server", "x-powered-by"] {
        assert_eq!(answer.field(absent), None);
    }
    let head = subject.loc.send("HEAD", &path, &[("accept", tests::client::JSON)], "").await.expect(200);
    assert_eq!(head.text(), "");
    assert_eq!(head.field("etag"), Some("W/\"1\""));
    assert_eq!(head.field("content-length").unwrap(), answer.body.len().to_string());
}

#[tokio::test]
async fn fhir_004_every_version_is_read_and_no_other() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    update(subject, &path).await;
    for (version, status) in [("1", 200), ("2", 200), ("3", 404), ("0", 404), ("x", 404)] {
        let answer = subject.loc.get(&format!("{path}/_history/{version}")).await;
        assert_eq!(answer.status, status, "version {version}");
        if status == 200 {
            assert_eq!(answer.json()["meta"]["versionId"], version);
        }
    }
}

#[tokio::test]
async fn fhir_005_a_deleted_resource_is_gone_and_its_version_stays() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let deleted = subject.loc.delete(&path).await.expect(200);
    assert!(deleted.text().contains("marked as deleted"));
    let gone = subject.loc.get(&path).await.expect(410);
    assert_outcome(&gone, "deleted");
    assert_eq!(gone.field("etag"), Some("W/\"2\""));
    assert!(gone.field("last-modified").is_some());
    assert_eq!(gone.field("location").unwrap(), format!("{}{path}/_history/2", subject.base));
    for (version, status) in [(1, 200), (2, 410), (3, 404)] {
        subject.loc.get(&format!("{path}/_history/{version}")).await.expect(status);
    }
    // It is not brought back by a PUT, and found by no search.
    let mut revived = patient(&[all()]);
    let id = path.rsplit('/').next().unwrap();
    revived["id"] = json!(id);
    subject.loc.put(&path, &revived).await.expect(410);
    assert_eq!(crate::subject::total(&subject.loc, &format!("/Patient?_id={id}")).await, 0);
}

#[tokio::test]
async fn fhir_006_deleting_again_changes_nothing() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    subject.loc.delete(&path).await.expect(200);
    subject.loc.delete(&path).await.expect(200);
    let gone = subject.loc.get(&path).await.expect(410);
    assert_eq!(gone.field("etag"), Some("W/\"2\""));
    let unknown = subject.loc.delete(&format!("/Patient/{}", unknown_id())).await.expect(404);
    unknown.outcome_codes();
}

#[tokio::test]
async fn fhir_007_only_what_is_deleted_is_removed_for_good() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let answer = subject.loc.send("POST", &format!("{path}/$permanent-delete"), &[], "").await.expect(400);
    assert!(answer.text().contains("is not marked deleted"), "{}", answer.text());
    subject.loc.get(&path).await.expect(200);
}

#[tokio::test]
async fn fhir_008_a_deleted_resource_is_removed_for_good() {
    let subject = shared().await;
    for slash in ["", "/"] {
        let path = new_patient(subject).await;
        update(subject, &path).await;
        subject.loc.delete(&path).await.expect(200);
        let target = format!("{path}/$permanent-delete{slash}");
        let answer = subject.loc.send("POST", &target, &[("accept", tests::client::JSON)], "").await.expect(200);
        assert!(answer.text().contains("permanently deleted"), "{}", answer.text());
        for gone in [path.clone(), format!("{path}/_history/1"), format!("{path}/_history/3")] {
            assert_eq!(subject.loc.get(&gone).await.expect(404).text(), "");
        }
        let history = subject.loc.get(&format!("{path}/_history")).await.expect(200).json();
        assert_eq!(history["total"], 0);
        subject.loc.send("POST", &target, &[], "").await.expect(404);
    }
}

#[tokio::test]
async fn fhir_009_others_remove_nothing_for_good() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    subject.loc.delete(&path).await.expect(200);
    for client in [&subject.ext, &subject.pra, &subject.adm] {
        client.send("POST", &format!("{path}/$permanent-delete"), &[], "").await.expect(403);
    }
    subject.loc.get(&path).await.expect(410);
}

#[tokio::test]
async fn fhir_010_clients_choose_no_ids() {
    let subject = shared().await;
    let id = unknown_id();
    let mut body = patient(&[all()]);
    body["id"] = json!(id);
    let answer = subject.loc.put(&format!("/Patient/{id}"), &body).await.expect(405);
    assert_outcome(&answer, "forbidden");
    assert!(answer.text().contains("Update as create not allowed"));
    subject.loc.put("/Patient/not-a-uuid", &body).await.expect(404);
}

#[tokio::test]
async fn fhir_011_path_and_body_name_the_same_resource() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let mut body = subject.loc.get(&path).await.expect(200).json();
    body["id"] = json!(unknown_id());
    subject.loc.put(&path, &body).await.expect(400).outcome_codes();
    body.as_object_mut().unwrap().remove("id");
    subject.loc.put(&path, &body).await.expect(400).outcome_codes();
}

#[tokio::test]
async fn fhir_012_an_update_of_another_version_is_refused() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let second = update(subject, &path).await;
    let stale = subject.loc.write_with("PUT", &path, &[("if-match", "W/\"1\"")], &second).await.expect(412);
    stale.outcome_codes();
    let fresh = subject.loc.write_with("PUT", &path, &[("if-match", "W/\"2\"")], &second).await.expect(200);
    assert_eq!(fresh.field("etag"), Some("W/\"3\""));
    assert_eq!(fresh.field("location").unwrap(), format!("{}{path}/_history/3", subject.base));
    // What is no weak numeric tag counts as absent.
    for (index, ignored) in ["\"1\"", "W/\"x\"", "1", "*"].iter().enumerate() {
        let answer = subject.loc.write_with("PUT", &path, &[("if-match", ignored)], &second).await.expect(200);
        assert_eq!(answer.json()["meta"]["versionId"], (index + 4).to_string());
    }
}

#[tokio::test]
async fn fhir_013_what_the_client_has_is_not_sent_again() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let answer = subject.loc.get_with(&path, &[("if-none-match", "W/\"1\"")]).await.expect(304);
    assert_eq!(answer.text(), "");
    assert_eq!(answer.field("etag"), Some("W/\"1\""));
    assert!(answer.field("last-modified").is_some());
    for (field, value) in [("if-match", "W/\"7\""), ("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT")] {
        let failed = subject.loc.get_with(&path, &[(field, value)]).await.expect(412);
        assert_eq!(failed.text(), "");
    }
}

#[tokio::test]
async fn fhir_014_a_newer_version_is_sent() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    update(subject, &path).await;
    let answer = subject.loc.get_with(&path, &[("if-none-match", "W/\"1\"")]).await.expect(200);
    assert_eq!(answer.json()["meta"]["versionId"], "2");
}

#[tokio::test]
async fn fhir_015_dates_decide_like_tags() {
    let subject = shared().await;
    let path = new_patient(subject).await;
    let modified = subject.loc.get(&path).await.expect(200).field("last-modified").unwrap().to_owned();
    let since = [("if-modified-since", modified.as_str())];
    assert_eq!(subject.loc.get_with(&path, &since).await.expect(304).text(), "");
    // A cached value is asked about with both; the tag wins.
    let both = [("if-none-match", "W/\"1\""), ("if-modified-since", modified.as_str())];
    subject.loc.get_with(&path, &both).await.expect(304);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    update(subject, &path).await;
    subject.loc.get_with(&path, &since).await.expect(200);
    subject.loc.get_with(&path, &both).await.expect(200);
}

#[tokio::test]
async fn fhir_016_who_may_not_read_learns_no_version() {
    let subject = shared().await;
    let id = subject.create(&patient(&[local()])).await;
    let path = format!("/Patient/{id}");
    for fields in [&[("if-none-match", "W/\"1\"")], &[("if-match", "W/\"9\"")]] {
        let answer = subject.ext.get_with(&path, fields).await.expect(403);
        assert_outcome(&answer, "forbidden");
    }
}
