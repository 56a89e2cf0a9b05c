//! Binary: cases 56 to 66.

use serde_json::json;
use tests::client::JSON;
use tests::{Answer, Client};

use crate::resources::{
    all, binary, binary_of, for_organization, local, patient, post, research_study, statuses, unknown_id,
};
use crate::seed::EXTERNAL;
use crate::subject::{Subject, shared, total};

async fn raw(client: &Client, context: &str, content: impl Into<hyper::body::Bytes>) -> Answer {
    let fields = [("content-type", "text/plain"), ("x-security-context", context), ("accept", JSON)];
    client.send("POST", "/Binary", &fields, content).await
}

async fn context(subject: &Subject) -> String {
    format!("Patient/{}", subject.create(&patient(&[all()])).await)
}

/// A raw Binary of ten bytes.
async fn ten_bytes(subject: &Subject) -> String {
    let context = context(subject).await;
    format!("/Binary/{}", raw(&subject.loc, &context, "0123456789").await.expect(201).created_id())
}

#[tokio::test]
async fn fhir_056_readers_are_named_in_one_way() {
    let subject = shared().await;
    let context = context(subject).await;
    let mut neither = binary_of(&context, "aGVsbG8=");
    neither.as_object_mut().unwrap().remove("securityContext");
    subject.loc.post("/Binary", &neither).await.expect(403);
    let mut both = binary_of(&context, "aGVsbG8=");
    both["meta"] = json!({ "tag": [all()] });
    subject.loc.post("/Binary", &both).await.expect(403);
    subject.loc.post("/Binary", &binary_of(&context, "aGVsbG8=")).await.expect(201);
    // Binary and Task are no contexts.
    let other = subject.create(&binary(&[all()], "aGVsbG8=")).await;
    subject.loc.post("/Binary", &binary_of(&format!("Binary/{other}"), "aGVsbG8=")).await.expect(403);
}

#[tokio::test]
async fn fhir_057_content_is_stored_raw() {
    let subject = shared().await;
    let context = context(subject).await;
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let created = raw(&subject.loc, &context, content.clone()).await.expect(201);
    let path = format!("/Binary/{}", created.created_id());
    let answer = subject.loc.send("GET", &path, &[("accept", "text/plain")], "").await.expect(200);
    assert_eq!(answer.body, content);
    assert_eq!(answer.field("x-security-context"), Some(context.as_str()));
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    assert_eq!(answer.field("content-length"), Some("300000"));
    assert_eq!(answer.field("etag"), Some("W/\"1\""));
    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    assert!(answer.field("last-modified").is_some() && answer.field("cache-control").is_some());
    let resource = subject.loc.get(&path).await.expect(200).json();
    assert_eq!(resource["contentType"], "text/plain");
    assert_eq!(resource["securityContext"]["reference"], context.as_str());
    assert_eq!(resource["data"].as_str().unwrap().len(), 400_000);
}

#[tokio::test]
async fn fhir_058_raw_content_needs_a_context() {
    let subject = shared().await;
    let context = context(subject).await;
    for fields in [
        vec![("content-type", "text/plain")],
        vec![("content-type", "text/plain"), ("x-security-context", " ")],
        vec![("content-type", "text/plain"), ("x-security-context", &context), ("x-security-context", &context)],
    ] {
        let answer = subject.loc.send("POST", "/Binary", &fields, "hello").await.expect(400);
        assert_eq!(answer.text(), "", "{fields:?}");
    }
}

#[tokio::test]
async fn fhir_059_content_is_offered_as_a_download() {
    let subject = shared().await;
    let path = ten_bytes(subject).await;
    let id = path.rsplit('/').next().unwrap();
    for accept in ["text/plain", "*/*", "text/*", "application/json, */*"] {
        let answer = subject.loc.send("GET", &path, &[("accept", accept)], "").await.expect(200);
        assert_eq!(answer.text(), "0123456789", "{accept}");
        let disposition = answer.field("content-disposition").unwrap();
        assert_eq!(disposition, format!("attachment; filename=Binary_{id}.txt"));
    }
    let inline = format!("{path}?_format=inline");
    let answer = subject.loc.send("GET", &inline, &[("accept", "text/plain")], "").await.expect(200);
    assert_eq!((answer.text().as_str(), answer.field("content-disposition")), ("0123456789", None));
    let version = format!("{path}/_history/1");
    assert_eq!(subject.loc.send("GET", &version, &[], "").await.expect(200).text(), "0123456789");
}

#[tokio::test]
async fn fhir_060_content_of_another_type_is_406() {
    let subject = shared().await;
    let path = ten_bytes(subject).await;
    for accept in ["application/xml", "application/json", "image/*"] {
        let answer = subject.loc.send("GET", &path, &[("accept", accept)], "").await.expect(406);
        assert_eq!(answer.text(), "", "{accept}");
    }
}

#[tokio::test]
async fn fhir_061_a_part_of_the_content_is_sent() {
    let subject = shared().await;
    let path = ten_bytes(subject).await;
    for (range, content, told) in [
        ("bytes=0-1", "01", "bytes 0-1/10"),
        ("bytes=2-3", "23", "bytes 2-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
    ] {
        let fields = [("accept", "text/plain"), ("range", range)];
        let answer = subject.loc.send("GET", &path, &fields, "").await.expect(206);
        assert_eq!((answer.text().as_str(), answer.field("content-range")), (content, Some(told)));
        assert_eq!(answer.field("content-length").unwrap(), content.len().to_string());
    }
    let fields = [("range", "lines=0-1"), ("accept", "*/*")];
    assert_eq!(subject.loc.send("GET", &path, &fields, "").await.expect(200).text(), "0123456789");
    // The reference ignores several ranges, the gateway refuses them (`access-and-edge` A31).
    let fields = [("range", "bytes=0-1,3-4"), ("accept", "*/*")];
    let several = subject.loc.send("GET", &path, &fields, "").await;
    assert!(matches!(several.status, 200 | 416), "{}", several.status);
    for (condition, status) in [("W/\"1\"", 206), ("W/\"2\"", 200)] {
        let fields = [("range", "bytes=0-1"), ("if-range", condition), ("accept", "*/*")];
        subject.loc.send("GET", &path, &fields, "").await.expect(status);
    }
    // The FHIR form has no parts.
    let fields = [("range", "bytes=0-1"), ("accept", JSON)];
    assert_eq!(subject.loc.send("GET", &path, &fields, "").await.expect(200).json()["resourceType"], "Binary");
}

#[tokio::test]
async fn fhir_062_a_part_beyond_the_end_is_416() {
    let subject = shared().await;
    let path = ten_bytes(subject).await;
    let fields = [("accept", "text/plain"), ("range", "bytes=20-")];
    let answer = subject.loc.send("GET", &path, &fields, "").await.expect(416);
    assert_eq!((answer.text().as_str(), answer.field("content-range")), ("", Some("bytes */10")));
}

#[tokio::test]
async fn fhir_063_head_tells_the_length() {
    let subject = shared().await;
    let path = ten_bytes(subject).await;
    for accept in [JSON, tests::client::XML, "text/plain"] {
        let head = subject.loc.send("HEAD", &path, &[("accept", accept)], "").await.expect(200);
        let get = subject.loc.send("GET", &path, &[("accept", accept)], "").await.expect(200);
        assert_eq!(head.text(), "");
        assert_eq!(head.field("content-length").unwrap(), get.body.len().to_string(), "{accept}");
        assert_eq!(head.field("content-type"), get.field("content-type"));
    }
}

#[tokio::test]
async fn fhir_064_a_context_must_exist() {
    let subject = shared().await;
    let unknown = format!("Patient/{}", unknown_id());
    let body = binary_of(&unknown, "aGVsbG8=");
    subject.loc.post("/Binary", &body).await.expect(403);
    raw(&subject.loc, &unknown, "hello").await.expect(403);
    let answer = subject.bundle(&subject.loc, "batch", &[post(&body)]).await.expect(200).json();
    assert_eq!(statuses(&answer), ["403 Forbidden"]);
    assert_eq!(total(&subject.loc, &format!("/Binary?_id={}", unknown_id())).await, 0);
}

#[tokio::test]
async fn fhir_065_a_binary_is_for_the_readers_of_its_context() {
    let subject = shared().await;
    for tags in [vec![all()], vec![local(), for_organization(EXTERNAL)]] {
        let study = format!("/ResearchStudy/{}", subject.create(&research_study(&tags, None)).await);
        let path = format!("/Binary/{}", subject.create(&binary_of(&study[1..], "aGVsbG8=")).await);
        subject.ext.get(&path).await.expect(200);
        let mut narrowed = subject.loc.get(&study).await.expect(200).json();
        narrowed["meta"]["tag"] = json!([local()]);
        subject.loc.put(&study, &narrowed).await.expect(200);
        subject.ext.get(&path).await.expect(403);
        let id = path.rsplit('/').next().unwrap();
        assert_eq!(total(&subject.ext, &format!("/Binary?_id={id}")).await, 0);
        narrowed["meta"]["tag"] = json!(tags);
        subject.loc.put(&study, &narrowed).await.expect(200);
        subject.ext.get(&path).await.expect(200);
        subject.loc.delete(&study).await.expect(200);
        subject.ext.get(&path).await.expect(403);
    }
}

#[tokio::test]
async fn fhir_065_a_version_of_a_context_keeps_its_readers() {
    let subject = shared().await;
    let study = format!("/ResearchStudy/{}", subject.create(&research_study(&[all()], None)).await);
    let mut narrowed = subject.loc.get(&study).await.expect(200).json();
    narrowed["meta"]["tag"] = json!([local()]);
    subject.loc.put(&study, &narrowed).await.expect(200);
    for (version, status) in [(1, 200), (2, 403)] {
        let context = format!("{}/_history/{version}", &study[1..]);
        let id = subject.create(&binary_of(&context, "aGVsbG8=")).await;
        subject.ext.get(&format!("/Binary/{id}")).await.expect(status);
    }
}

#[tokio::test]
async fn fhir_066_long_content_is_accepted() {
    let subject = shared().await;
    let long = binary(&[all()], &"QUJD".repeat(5_250_000));
    let created = subject.loc.write_with("POST", "/Binary", &[("prefer", "return=minimal")], &long);
    let path = format!("/Binary/{}", created.await.expect(201).created_id());
    let head = subject.loc.send("HEAD", &path, &[("accept", "text/plain")], "").await.expect(200);
    assert_eq!(head.field("content-length"), Some("15750000"));
    let fields = [("accept", "text/plain"), ("range", "bytes=-3")];
    assert_eq!(subject.loc.send("GET", &path, &fields, "").await.expect(206).text(), "ABC");
}

#[tokio::test]
async fn parameters_of_a_media_type_are_kept_or_refused_and_never_lost() {
    let subject = shared().await;
    let context = context(subject).await;
    for media_type in ["text/plain; charset=utf-8", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"] {
        let fields = [("content-type", media_type), ("x-security-context", context.as_str()), ("accept", JSON)];
        let raw = subject.loc.send("POST", "/Binary", &fields, "hello").await;
        let mut body = binary(&[all()], "aGVsbG8=");
        body["contentType"] = json!(media_type);
        let resource = subject.loc.post("/Binary", &body).await;
        for answer in [raw, resource] {
            // The reference has no other parameters than the first in its value set.
            if answer.status == 403 && !media_type.contains("charset") {
                continue;
            }
            let path = format!("/Binary/{}", answer.expect(201).created_id());
            let read = subject.loc.send("GET", &path, &[("accept", "*/*")], "").await.expect(200);
            let shown = read.field("content-type").unwrap().replace(' ', "");
            assert_eq!(shown, media_type.replace(' ', ""));
        }
    }
}
