//! Binaries through gateway and engine: any size in bounded memory, every form, nothing half stored, space that returns.
//!
//! `SCHLEUSE_SLOW=1` takes 4 GiB instead of 256 MiB, and waits for the idle limits of both processes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "test code: a surprise is a failed test"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::binaries::is_slow;
use tests::client::{JSON, XML};
use tests::network::Process;
use tests::transfer::{Coming, Memory, Part, Parts, Protocol};
use tests::{Client, Network, Node, search, shared, until};

const MEBIBYTE: u64 = 1 << 20;
/// What streaming may add to the resident memory of a process (issue 3).
const GROWTH: u64 = 64 * MEBIBYTE;
const RAW: &str = "application/octet-stream";
/// Time for what is given up to be removed in the background.
const SWEEP_TIME: Duration = Duration::from_secs(180);

/// `Organization/id` of a node at itself, which may be the context of a Binary.
async fn own_organization(client: &Client, node: &Node) -> String {
    let found = search::all(client, "Organization", &format!("identifier={}", node.organization_identifier)).await;
    format!("Organization/{}", found[0]["id"].as_str().unwrap())
}

async fn upload(client: &Client, protocol: Protocol, context: &str, length: u64) -> String {
    let fields =
        [("content-type", RAW), ("accept", JSON), ("prefer", "return=minimal"), ("x-security-context", context)];
    let created = client.exchange(protocol, "POST", "/Binary", &fields, Parts::new([Part::Content(length)])).await;
    let created = created.unwrap();
    assert_eq!(created.status, 201, "{protocol:?}");
    let location = created.field("location").unwrap().to_owned();
    assert_eq!(created.text().await, "");
    location.split("/Binary/").nth(1).unwrap().split('/').next().unwrap().to_owned()
}

async fn get(client: &Client, protocol: Protocol, target: &str, fields: &[(&str, &str)]) -> Coming {
    client.exchange(protocol, "GET", target, fields, Parts::new([])).await.unwrap()
}

async fn delete_permanently(client: &Client, id: &str) {
    client.send("DELETE", &format!("/Binary/{id}"), &[("accept", JSON)], "").await.expect(200);
    client.send("POST", &format!("/Binary/{id}/$permanent-delete"), &[("accept", JSON)], "").await.expect(200);
}

/// Bytes of the store's files.
fn size_of_store(node: &Node) -> u64 {
    ["data/engine.db", "data/engine.db-wal"]
        .iter()
        .filter_map(|file| std::fs::metadata(node.path(file)).ok())
        .map(|file| file.len())
        .sum()
}

async fn until_store_is_below(node: &Node, limit: u64) {
    until(&format!("a store of {} below {limit} bytes", node.name), SWEEP_TIME, async || {
        (size_of_store(node) < limit).then_some(())
    })
    .await;
}

/// Both processes of a node with what they have taken since.
struct Watched(Vec<(Process, i32, u64)>);

impl Watched {
    fn begin(node: &Node) -> Self {
        let watch = |process| {
            let pid = node.pid(process);
            Memory::forget_peak(pid);
            (process, pid, Memory::of(pid).expect("a running process").now)
        };
        Self([Process::Gateway, Process::Engine].map(watch).to_vec())
    }

    fn check(&self, what: &str) {
        for (process, pid, before) in &self.0 {
            let growth = Memory::of(*pid).expect("a running process").peak.saturating_sub(*before);
            println!("{what}: {process:?} grew by {:.1} MiB", growth as f64 / MEBIBYTE as f64);
            assert!(growth < GROWTH, "{what}: {process:?} grew by {growth} bytes");
        }
    }
}

#[tokio::test]
async fn fhir_057_content_of_any_size_streams_both_ways_in_bounded_memory() {
    let length = if is_slow() { 4096 * MEBIBYTE } else { 256 * MEBIBYTE };
    let network = Network::start(1);
    let (node, client) = (network.node("dms"), network.organization("dms", "dms"));
    let context = own_organization(&client, &node).await;
    // What every first request of its kind takes is not growth by content.
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let warm = upload(&client, protocol, &context, 8 * MEBIBYTE).await;
        get(&client, protocol, &format!("/Binary/{warm}"), &[("accept", RAW)]).await.compare().await.unwrap();
        delete_permanently(&client, &warm).await;
    }
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let watched = Watched::begin(&node);
        let started = Instant::now();
        let rate = |started: Instant| length as f64 / 1e6 / started.elapsed().as_secs_f64();
        let id = upload(&client, protocol, &context, length).await;
        println!("{protocol:?} upload of {length} bytes: {:.0} MB/s", rate(started));
        let path = format!("/Binary/{id}");
        for (accept, expected) in [(RAW, Some(length)), (JSON, None)] {
            let started = Instant::now();
            let head = client.send("HEAD", &path, &[("accept", accept)], "").await.expect(200);
            println!("HEAD {accept}: {:?}", started.elapsed());
            let announced = head.field("content-length").unwrap().parse::<u64>().unwrap();
            assert_eq!(announced, expected.unwrap_or(announced));
            assert!(announced >= length);
        }
        let started = Instant::now();
        let answer = get(&client, protocol, &path, &[("accept", RAW)]).await;
        assert_eq!((answer.status, answer.field("x-security-context")), (200, Some(context.as_str())));
        assert_eq!(answer.compare().await.unwrap(), (length, true), "{protocol:?}");
        println!("{protocol:?} download of {length} bytes: {:.0} MB/s", rate(started));
        watched.check(&format!("{protocol:?}"));
        let (first, last) = (length - 5 * MEBIBYTE, length - 1);
        let part = get(&client, protocol, &path, &[("accept", RAW), ("range", &format!("bytes={first}-{last}"))]).await;
        assert_eq!(part.status, 206);
        assert_eq!(part.field("content-range").unwrap(), format!("bytes {first}-{last}/{length}"));
        assert_eq!(part.compare().await.unwrap().0, 5 * MEBIBYTE);
        assert!(size_of_store(&node) > length);
        delete_permanently(&client, &id).await;
        assert_eq!(get(&client, protocol, &path, &[("accept", RAW)]).await.status, 404);
        until_store_is_below(&node, 160 * MEBIBYTE).await;
    }
}

/// The parts of a Binary in a format; the data is not the last member of the JSON.
fn form(format: &str, context: &str, length: u64) -> Parts {
    let (before, after) = if format == JSON {
        let before = r#"{"resourceType":"Binary","contentType":"application/octet-stream","data":""#.to_owned();
        (before, format!(r#"","securityContext":{{"reference":"{context}"}}}}"#))
    } else {
        let before = format!(
            r#"<Binary xmlns="http://hl7.org/fhir"><contentType value="application/octet-stream"/><securityContext><reference value="{context}"/></securityContext><data value=""#
        );
        (before, r#""/></Binary>"#.to_owned())
    };
    Parts::new([Part::Text(before), Part::Base64(length), Part::Text(after)])
}

#[tokio::test]
async fn fhir_066_fhir_forms_of_any_size_stream_both_ways_in_bounded_memory() {
    // More than was ever judged in memory; not a multiple of three.
    let length = if is_slow() { 1024 * MEBIBYTE + 1 } else { 80 * MEBIBYTE + 1 };
    let network = Network::start(1);
    let (node, client) = (network.node("ttp"), network.organization("ttp", "ttp"));
    let context = own_organization(&client, &node).await;
    let warm =
        client.exchange(Protocol::Http1, "POST", "/Binary", &[("content-type", JSON)], form(JSON, &context, MEBIBYTE));
    assert_eq!(warm.await.unwrap().status, 201);
    for (protocol, format) in [(Protocol::Http1, JSON), (Protocol::Http2, XML)] {
        let watched = Watched::begin(&node);
        let fields = [("content-type", format), ("accept", JSON), ("prefer", "return=minimal")];
        let started = Instant::now();
        let created =
            client.exchange(protocol, "POST", "/Binary", &fields, form(format, &context, length)).await.unwrap();
        assert_eq!(created.status, 201);
        println!("{format} upload: {:.0} MB/s", length as f64 / 1e6 / started.elapsed().as_secs_f64());
        let location = created.field("location").unwrap();
        let path = format!("/Binary/{}", location.split("/Binary/").nth(1).unwrap().split('/').next().unwrap());
        for accept in [JSON, XML] {
            let head = client.send("HEAD", &path, &[("accept", accept)], "").await.expect(200);
            let shown = get(&client, protocol, &path, &[("accept", accept)]).await;
            let (bytes, _) = shown.compare().await.unwrap();
            assert_eq!(head.field("content-length").unwrap(), bytes.to_string(), "{accept}");
            assert!(bytes > length.div_ceil(3) * 4);
        }
        let raw = get(&client, protocol, &path, &[("accept", RAW)]).await;
        assert_eq!(raw.compare().await.unwrap(), (length, true), "{format}");
        watched.check(format);
    }
}

#[tokio::test]
async fn a_body_that_turns_bad_on_its_way_is_refused_and_leaves_nothing() {
    let network = shared();
    let (node, client) = (network.node("dic-1"), network.organization("dic-1", "dic-1"));
    let context = own_organization(&client, &node).await;
    let before = search::total(&client, "Binary", "").await;
    let json = |end: &str| {
        let begin = r#"{"resourceType":"Binary","contentType":"a/b","data":""#.to_owned();
        vec![Part::Text(begin), Part::Base64(5 * MEBIBYTE), Part::Text(end.to_owned())]
    };
    let tagless = json(r#""}"#);
    let twice = json(r#"","contentType":"a/b"}"#);
    let cut = json("");
    let no_base64 = json(r#"*"}"#);
    for (format, parts, status) in [(JSON, tagless, 403), (JSON, twice, 400), (JSON, cut, 403), (JSON, no_base64, 403)]
    {
        let sent = client
            .exchange(
                Protocol::Http1,
                "POST",
                "/Binary",
                &[("content-type", format), ("accept", JSON)],
                Parts::new(parts),
            )
            .await;
        let answer = sent.unwrap();
        assert_eq!(answer.status, status);
        let outcome: Value = serde_json::from_str(&answer.text().await).unwrap();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
    }
    let doctype = "<!DOCTYPE Binary><Binary xmlns=\"http://hl7.org/fhir\"><contentType value=\"a/b\"/><data value=\"";
    let parts = [Part::Text(doctype.to_owned()), Part::Base64(MEBIBYTE), Part::Text("\"/></Binary>".to_owned())];
    let sent = client.exchange(Protocol::Http2, "POST", "/Binary", &[("content-type", XML)], Parts::new(parts)).await;
    assert_eq!(sent.unwrap().status, 400);
    // What the head alone tells is refused before the content is taken.
    let fields = [("content-type", RAW), ("x-security-context", "Patient/4c4b2a0e-3c9a-4b8f-8d5c-0f6f3a1f4c11")];
    let parts = Parts::new([Part::Content(MEBIBYTE), Part::Stall]);
    let early = client.exchange(Protocol::Http2, "POST", "/Binary", &fields, parts).await.unwrap();
    assert_eq!(early.status, 403);
    let remote = network.organization("portal", "dic-1");
    let fields = [("content-type", RAW), ("x-security-context", context.as_str())];
    let refused =
        remote.exchange(Protocol::Http2, "POST", "/Binary", &fields, Parts::new([Part::Stall])).await.unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(search::total(&client, "Binary", "").await, before);
}

#[tokio::test]
async fn an_engine_that_is_killed_within_uploads_keeps_nothing_of_them() {
    let network = Network::start(1);
    let (node, client) = (network.node("dms"), network.organization("dms", "dms"));
    let context = own_organization(&client, &node).await;
    let kept = upload(&client, Protocol::Http1, &context, 3 * MEBIBYTE + 7).await;
    let before = size_of_store(&node);
    let mut uploads = tokio::task::JoinSet::new();
    for number in 0..3 {
        let (client, context) = (client.clone(), context.clone());
        uploads.spawn(async move {
            let protocol = if number == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let fields = [("content-type", RAW), ("x-security-context", context.as_str())];
            let parts = Parts::new([Part::Content(64 * MEBIBYTE), Part::Stall]);
            client.exchange(protocol, "POST", "/Binary", &fields, parts).await.map(|answer| answer.status)
        });
    }
    until("uploads under way", Duration::from_secs(120), async || {
        (size_of_store(&node) > before + 100 * MEBIBYTE).then_some(())
    })
    .await;
    network.kill_and_await_restart("dms", Process::Engine).await;
    while let Some(ended) = uploads.join_next().await {
        assert!(!matches!(ended.unwrap(), Ok(201)), "what was cut off was not created");
    }
    assert_eq!(search::total(&client, "Binary", "").await, 1);
    until_store_is_below(&node, before + 90 * MEBIBYTE).await;
    let raw = get(&client, Protocol::Http1, &format!("/Binary/{kept}"), &[("accept", RAW)]).await;
    assert_eq!(raw.compare().await.unwrap(), (3 * MEBIBYTE + 7, true));
}

#[tokio::test]
async fn edge_t57_and_t58_a_binary_is_closed_to_others_in_every_form() {
    let network = shared();
    let (node, client) = (network.node("dic-1"), network.organization("dic-1", "dic-1"));
    let remote = network.organization("portal", "dic-1");
    let patient = |code: &str| {
        let tag = json!({ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": code });
        json!({ "resourceType": "Patient", "meta": { "tag": [tag] } })
    };
    let mut context = client.post("/Patient", &patient("ALL")).await.expect(201).json();
    let reference = format!("Patient/{}", context["id"].as_str().unwrap());
    let path = format!("/Binary/{}", upload(&client, Protocol::Http1, &reference, 200_000).await);
    let versioned = format!("{path}/_history/1");
    let status = async |method: &str, target: &str, fields: &[(&str, &str)]| {
        let answer = remote.exchange(Protocol::Http2, method, target, fields, Parts::new([])).await.unwrap();
        answer.status
    };
    let inline = format!("{path}?_format=inline");
    let forms: [(&str, &str, &[(&str, &str)], u16); 6] = [
        ("GET", &path, &[("accept", RAW)], 200),
        ("GET", &path, &[("accept", RAW), ("range", "bytes=0-0")], 206),
        ("HEAD", &path, &[("accept", RAW)], 200),
        ("GET", &inline, &[("accept", RAW)], 200),
        ("GET", &versioned, &[("accept", RAW)], 200),
        ("GET", &path, &[("accept", JSON)], 200),
    ];
    for (method, target, fields, open) in forms {
        assert_eq!(status(method, target, fields).await, open, "{method} {target}");
    }
    context["meta"]["tag"] = patient("LOCAL")["meta"]["tag"].clone();
    client.put(&format!("/{reference}"), &context).await.expect(200);
    for (method, target, fields, _) in forms {
        assert_eq!(status(method, target, fields).await, 403, "{method} {target}");
    }
    assert_eq!(node.role, "DIC");
}

#[tokio::test]
async fn who_stalls_is_cut_and_holds_nothing() {
    if !is_slow() {
        println!("who_stalls_is_cut_and_holds_nothing: not run, it waits for idle limits; SCHLEUSE_SLOW=1 runs it");
        return;
    }
    let network = shared();
    let (node, client) = (network.node("dic-1"), network.organization("dic-1", "dic-1"));
    let context = own_organization(&client, &node).await;
    let stored = upload(&client, Protocol::Http1, &context, 64 * MEBIBYTE).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let started = Instant::now();
        let fields = [("content-type", RAW), ("x-security-context", context.as_str())];
        let parts = Parts::new([Part::Content(2 * MEBIBYTE), Part::Stall]);
        let ended = client.exchange(protocol, "POST", "/Binary", &fields, parts).await;
        assert!(!ended.is_ok_and(|answer| answer.status < 400));
        println!("{protocol:?}: a stalled upload is cut after {:?}", started.elapsed());
        let stalled = get(&client, protocol, &format!("/Binary/{stored}"), &[("accept", RAW)]).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let (length, _) = stalled.compare().await.unwrap_or((0, false));
        assert!(length < 64 * MEBIBYTE, "{protocol:?}: a stalled download is cut");
    }
}
