//! Content of Binaries over the socket: every form in and out, what is cut off, what is given up, what is bounded.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::support::{Node, Who, entry, patient, tag_all, tag_local};

const RAW: (&str, &str) = ("accept", "application/octet-stream");
const JSON: (&str, &str) = ("accept", "application/fhir+json");

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

/// Bytes that are not periodic in anything that matters here.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(length)
    .collect()
}

fn form(content: &[u8]) -> Value {
    json!({
        "resourceType": "Binary",
        "meta": { "tag": [tag_all()] },
        "contentType": "application/octet-stream",
        "data": STANDARD.encode(content),
    })
}

async fn context(node: &Node) -> String {
    format!("Patient/{}", node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id())
}

async fn upload(node: &Node, context: &str, content: &[u8]) -> String {
    let headers = [("content-type", "application/octet-stream"), ("x-security-context", context), JSON];
    let created = node.send(Who::Loc, "POST", "/Binary", &headers, content.to_vec()).await.expect(201);
    assert_eq!(created.json()["data"], json!(STANDARD.encode(content)), "the representation has the data");
    created.id()
}

async fn uploads(node: &Node) -> usize {
    node.store.read(|tx| tx.upload_count()).await.unwrap()
}

/// Waits until nothing but `kept` uploads is in the store.
async fn until_uploads_are(node: &Node, kept: usize) {
    let started = Instant::now();
    while uploads(node).await != kept {
        assert!(started.elapsed() < Duration::from_secs(20), "{} uploads", uploads(node).await);
        node.endpoint.shared().released.notify_one();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn content_of_every_size_and_form_comes_back_in_every_form() {
    let node = Node::start().await;
    let context = context(&node).await;
    let chunk = store::limits::CHUNK_BYTES;
    for size in [1, 2, 3, 70_000, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 5] {
        let content = noise(size);
        let as_form = node.post(Who::Loc, "/Binary", &form(&content)).await.expect(201);
        assert_eq!(as_form.json()["data"], json!(STANDARD.encode(&content)), "{size}");
        let xml = format!(
            "<Binary xmlns='http://hl7.org/fhir'><contentType value='application/octet-stream'/>\
             <securityContext><reference value='{context}'/></securityContext><data value='{}'/></Binary>",
            STANDARD.encode(&content)
        );
        let headers = [("content-type", "application/fhir+xml"), JSON];
        let as_xml = node.send(Who::Loc, "POST", "/Binary", &headers, xml).await.expect(201);
        for id in [as_form.id(), as_xml.id(), upload(&node, &context, &content).await] {
            let path = format!("/Binary/{id}");
            let raw = node.send(Who::Ext, "GET", &path, &[RAW], "").await.expect(200);
            assert_eq!(raw.header("content-length"), size.to_string());
            assert!(raw.body == content, "{size} bytes raw");
            let range = format!("bytes={}-{}", size / 3, size - 1);
            let part = node.send(Who::Ext, "GET", &path, &[RAW, ("range", &range)], "").await.expect(206);
            assert!(part.body == content[size / 3..], "{size} {range}");
            for accept in ["application/fhir+json", "application/fhir+xml"] {
                let shown = node.send(Who::Ext, "GET", &path, &[("accept", accept)], "").await.expect(200);
                let head = node.send(Who::Ext, "HEAD", &path, &[("accept", accept)], "").await.expect_empty(200);
                assert_eq!(head.header("content-length"), shown.body.len().to_string());
                assert_eq!(shown.header("content-length"), shown.body.len().to_string());
                let text = String::from_utf8(shown.body.to_vec()).unwrap();
                assert!(text.contains(&STANDARD.encode(&content)), "{size} {accept}");
            }
            let head = node.send(Who::Ext, "HEAD", &path, &[RAW], "").await.expect_empty(200);
            assert_eq!(head.header("content-length"), size.to_string());
        }
    }
}

#[tokio::test]
async fn searches_histories_and_bundles_show_the_data() {
    let node = Node::start().await;
    let (first, second) = (noise(200_000), noise(100_001));
    let id = node.post(Who::Loc, "/Binary", &form(&first)).await.expect(201).id();
    let mut changed = form(&second);
    changed["id"] = json!(id);
    let path = format!("/Binary/{id}");
    node.put(Who::Loc, &path, &changed).await.expect(200);
    let found = node.get(Who::Ext, &format!("/Binary?_id={id}")).await.expect(200).json();
    assert_eq!(found["entry"][0]["resource"]["data"], json!(STANDARD.encode(&second)));
    let history = node.get(Who::Ext, &format!("{path}/_history")).await.expect(200).json();
    let data: Vec<&Value> =
        history["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]["data"]).collect();
    assert_eq!(data, [&json!(STANDARD.encode(&first)), &json!(STANDARD.encode(&second))]);
    for (version, expected) in [(1, &first), (2, &second)] {
        let raw = node.send(Who::Ext, "GET", &format!("{path}/_history/{version}"), &[RAW], "").await.expect(200);
        assert!(raw.body == *expected, "version {version}");
    }
    let summary = node.get(Who::Ext, &format!("{path}?_summary=true&_format=json")).await.expect(200).json();
    assert_eq!(summary.get("data"), None);
    let reads: Vec<Value> = ["", "/_history/1"]
        .iter()
        .map(|tail| json!({ "request": { "method": "GET", "url": format!("Binary/{id}{tail}") } }))
        .collect();
    for kind in ["batch", "transaction"] {
        let answer = node.post(Who::Ext, "/", &bundle(kind, &reads)).await.expect(200).json();
        assert_eq!(answer["entry"][0]["resource"]["data"], json!(STANDARD.encode(&second)), "{kind}");
        assert_eq!(answer["entry"][1]["resource"]["data"], json!(STANDARD.encode(&first)), "{kind}");
    }
}

#[tokio::test]
async fn a_raw_update_makes_a_version_with_content_of_its_own() {
    let node = Node::start().await;
    let context = context(&node).await;
    let first = noise(3 << 20);
    let id = upload(&node, &context, &first).await;
    let path = format!("/Binary/{id}");
    let headers = [("content-type", "text/plain"), ("x-security-context", context.as_str()), JSON];
    let updated = node.send(Who::Loc, "PUT", &path, &headers, "second").await.expect(200);
    assert_eq!(updated.header("etag"), "W/\"2\"");
    let stale = [headers[0], headers[1], headers[2], ("if-match", "W/\"1\"")];
    node.send(Who::Loc, "PUT", &path, &stale, noise(2 << 20)).await.expect(412);
    node.send(Who::Loc, "PUT", &path, &headers[..1], "x").await.expect_empty(400);
    node.send(Who::Ext, "PUT", &path, &headers, "x").await.expect(403);
    let text = node.send(Who::Loc, "GET", &path, &[("accept", "text/plain")], "").await.expect(200);
    assert_eq!(text.body, "second");
    let old = node.send(Who::Loc, "GET", &format!("{path}/_history/1"), &[RAW], "").await.expect(200);
    assert!(old.body == first);
    until_uploads_are(&node, 2).await;
    node.delete(Who::Loc, &path).await.expect(200);
    node.send(Who::Loc, "POST", &format!("{path}/$permanent-delete"), &[JSON], "").await.expect(200);
    until_uploads_are(&node, 0).await;
}

#[tokio::test]
async fn fhir_087_a_bundle_stores_contents_together_or_not_at_all() {
    let node = Node::start().await;
    let content = noise(1_500_000);
    let good = entry("POST", "Binary", &form(&content));
    let answer = node.post(Who::Loc, "/", &bundle("transaction", std::slice::from_ref(&good))).await.expect(200).json();
    assert_eq!(answer["entry"][0]["resource"]["data"], json!(STANDARD.encode(&content)));
    let bad =
        entry("POST", "Binary", &json!({ "resourceType": "Binary", "contentType": "text/plain", "data": "QUJD" }));
    node.post(Who::Loc, "/", &bundle("transaction", &[good.clone(), bad.clone()])).await.expect(403);
    let answer = node.post(Who::Loc, "/", &bundle("batch", &[good, bad])).await.expect(200).json();
    assert_eq!(answer["entry"][1]["response"]["status"], "403 Forbidden");
    assert_eq!(node.count(Who::Loc, "/Binary").await, 2);
    assert_eq!(uploads(&node).await, 2);
    let mut wrong = form(b"x");
    wrong["data"] = json!("no base64!");
    node.post(Who::Loc, "/", &bundle("transaction", &[entry("POST", "Binary", &wrong)])).await.expect(403);
    node.post(Who::Loc, "/Binary", &wrong).await.expect(403);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_or_refused_leaves_nothing() {
    let node = Node::start().await;
    let context = context(&node).await;
    let permit = node.permit(Who::Loc, "create").encode().unwrap();
    let mut stream = UnixStream::connect(node.socket()).await.unwrap();
    let head = format!(
        "POST /fhir/Binary HTTP/1.1\r\nhost: engine\r\n{}: {permit}\r\ncontent-type: text/plain\r\nx-security-context: {context}\r\ncontent-length: 9000000\r\n\r\n",
        link::PERMIT_HEADER
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&noise(5 << 20)).await.unwrap();
    let started = Instant::now();
    while uploads(&node).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    until_uploads_are(&node, 0).await;
    // Refused at the end, when all of it is there.
    let mut nowhere = form(&noise(3 << 20));
    nowhere["securityContext"] = json!({ "reference": "Patient/4c4b2a0e-3c9a-4b8f-8d5c-0f6f3a1f4c11" });
    nowhere.as_object_mut().unwrap().remove("meta");
    node.post(Who::Loc, "/Binary", &nowhere).await.expect(403);
    until_uploads_are(&node, 0).await;
    assert_eq!(node.count(Who::Loc, "/Binary").await, 0);
}

#[tokio::test]
async fn what_will_be_refused_is_refused_before_the_content_is_sent() {
    let node = Node::start().await;
    let context = context(&node).await;
    for (who, context, media_type, status) in [
        (Who::Ext, context.as_str(), "text/plain", 403),
        (Who::Loc, "Patient/4c4b2a0e-3c9a-4b8f-8d5c-0f6f3a1f4c11", "text/plain", 403),
        (Who::Loc, "Task/4c4b2a0e-3c9a-4b8f-8d5c-0f6f3a1f4c11", "text/plain", 403),
        (Who::Loc, context.as_str(), "nonsense", 403),
    ] {
        let permit = node.permit(who, "create").encode().unwrap();
        let mut stream = UnixStream::connect(node.socket()).await.unwrap();
        let head = format!(
            "POST /fhir/Binary HTTP/1.1\r\nhost: engine\r\n{}: {permit}\r\ncontent-type: {media_type}\r\nx-security-context: {context}\r\ncontent-length: 4294967296\r\n\r\nx",
            link::PERMIT_HEADER
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"), "{media_type} {context}");
    }
}

#[tokio::test]
async fn content_that_vanishes_on_its_way_breaks_the_answer_off() {
    let node = Node::start().await;
    let context = context(&node).await;
    let id = upload(&node, &context, &noise(6 << 20)).await;
    let permit = node.permit(Who::Loc, "read").encode().unwrap();
    let mut stream = UnixStream::connect(node.socket()).await.unwrap();
    let head = format!(
        "GET /fhir/Binary/{id} HTTP/1.1\r\nhost: engine\r\n{}: {permit}\r\naccept: application/octet-stream\r\nconnection: close\r\n\r\n",
        link::PERMIT_HEADER
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begun = vec![0; 100_000];
    stream.read_exact(&mut begun).await.unwrap();
    node.delete(Who::Loc, &format!("/Binary/{id}")).await.expect(200);
    node.send(Who::Loc, "POST", &format!("/Binary/{id}/$permanent-delete"), &[JSON], "").await.expect(200);
    until_uploads_are(&node, 0).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(begun.len() + rest.len() < 6 << 20, "the answer ends early, and the connection with it");
}

#[tokio::test]
async fn one_caller_has_a_bounded_number_of_transfers_and_others_still_have_theirs() {
    let slots = crate::content::slots::Slots::new();
    let mut held = Vec::new();
    for _ in 0..crate::limits::TRANSFERS_PER_IDENTITY {
        held.push(slots.take("a").await.unwrap());
    }
    assert_eq!(slots.take("a").await.unwrap_err().status.as_u16(), 503);
    held.push(slots.take("b").await.unwrap());
    held.remove(0);
    slots.take("a").await.unwrap();
}

#[tokio::test]
async fn fhir_065_readers_follow_the_context_also_when_it_is_gone() {
    let node = Node::start().await;
    let mut patient = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let context = format!("Patient/{}", patient["id"].as_str().unwrap());
    let path = format!("/Binary/{}", upload(&node, &context, b"content").await);
    let pinned = format!("/Binary/{}", upload(&node, &format!("{context}/_history/1"), b"content").await);
    let read = |path: String| {
        let node = &node;
        async move { node.send(Who::Ext, "GET", &path, &[RAW], Bytes::new()).await.status.as_u16() }
    };
    assert_eq!((read(path.clone()).await, read(pinned.clone()).await), (200, 200));
    let shown = node.send(Who::Ext, "GET", &pinned, &[RAW], "").await.expect(200);
    assert_eq!(shown.header("x-security-context"), format!("{context}/_history/1"));
    patient["meta"]["tag"] = json!([tag_local()]);
    node.put(Who::Loc, &format!("/{context}"), &patient).await.expect(200);
    assert_eq!((read(path.clone()).await, read(pinned.clone()).await), (403, 200));
    patient["meta"]["tag"] = json!([tag_all()]);
    node.put(Who::Loc, &format!("/{context}"), &patient).await.expect(200);
    assert_eq!(read(path.clone()).await, 200);
    node.delete(Who::Loc, &format!("/{context}")).await.expect(200);
    assert_eq!((read(path.clone()).await, read(pinned).await), (403, 200), "of what is deleted nobody is a reader");
    node.get(Who::Loc, &path).await.expect(403);
    node.delete(Who::Loc, &path).await.expect(200);
}
