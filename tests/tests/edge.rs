//! The outer edge: TLS, framing, sizes, slowness, paths, hosts. What is refused here never reaches the engine.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tests::client::JSON;
use tests::{Answer, Client, Node, search, shared, tasks, until, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

fn remote() -> Client {
    shared().organization("dic-1", "portal")
}

/// `Host` and `Accept` of a good request.
fn fields(client: &Client) -> String {
    format!("Host: {}\r\nAccept: {JSON}\r\n", client.authority())
}

/// The same client with one protocol version.
fn with_version(node: &Node, who: &str, version: &'static rustls::SupportedProtocolVersion) -> Client {
    let network = shared();
    let pair = &network.node(who).organization;
    let own = certs::Credentials::load(&pair.certificate, &pair.private_key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let authority = std::fs::read(network.authority().join("ca.pem")).unwrap();
    for certificate in certs::read_certificates(&authority, "authority").unwrap() {
        roots.add(certificate.der().clone()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(own.chain_der(), own.key_der())
        .unwrap();
    Client::with_config(&node.base_url, config)
}

fn never_reached_the_engine(node: &Node, marker: &str) {
    for file in ["audit/engine.log", "log/engine.log"] {
        assert!(!node.text(file).contains(marker), "{file} of {} has {marker}", node.name);
    }
}

// === TLS ===

#[tokio::test]
async fn edge_t03_tls_1_2_and_1_3_are_spoken_with_both_kinds_of_keys() {
    let network = shared();
    // dms has RSA keys, the others ECDSA.
    for (at, who) in [("portal", "dic-1"), ("dms", "portal"), ("portal", "dms"), ("dms", "dms")] {
        for version in [&TLS12, &TLS13] {
            let client = with_version(&network.node(at), who, version);
            let stream = client.connect().await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            client.get("/metadata").await.expect(200);
        }
    }
}

#[tokio::test]
async fn edge_t01_tls_1_0_and_1_1_are_refused_with_an_alert() {
    let portal = remote();
    for minor in [1, 2] {
        let mut stream = TcpStream::connect(("localhost", portal.port())).await.unwrap();
        stream.write_all(&old_client_hello(minor)).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection stays open");
        // Record type alert, level fatal, protocol_version or handshake_failure; nothing after it.
        assert_eq!(answer.len(), 7, "{answer:?}");
        assert_eq!((answer[0], answer[5]), (21, 2), "{answer:?}");
        assert!([70, 40].contains(&answer[6]), "{answer:?}");
    }
}

/// The hello of a client that knows TLS 1.`minor` at best.
fn old_client_hello(minor: u8) -> Vec<u8> {
    let suites = [0xc0, 0x13, 0xc0, 0x09, 0xc0, 0x14, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35];
    let server_name = [&[0, 0, 0, 14, 0, 12, 0, 0, 9], b"localhost".as_slice()].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let points = [0, 11, 0, 2, 1, 0];
    let extensions = [server_name.as_slice(), &groups, &points].concat();
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, suites.len() as u8]);
    hello.extend(suites);
    hello.extend([1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((hello.len() as u16).to_be_bytes());
    handshake.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

#[tokio::test]
async fn plain_http_gets_no_http() {
    let portal = remote();
    let mut stream = TcpStream::connect(("localhost", portal.port())).await.unwrap();
    stream.write_all(format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&portal)).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("an end");
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn http_2_obeys_the_same_rules() {
    let network = shared();
    let marker = Uuid::new_v4().to_string();
    let (task, organization) = (format!("/Task?identifier={marker}"), format!("/Organization/{marker}"));
    let requests = [
        ("GET", "/metadata"),
        ("GET", task.as_str()),
        ("DELETE", organization.as_str()),
        ("GET", "/../secret"),
        ("GET", "//Task"),
        ("GET", "/%2e%2e/secret"),
        ("TRACE", "/Task"),
    ];
    let answers = remote().send_h2(&requests).await.unwrap();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 403, 400, 400, 400, 405]);
    let stranger =
        network.stranger("portal").send_h2(&[("GET", "/metadata"), ("DELETE", &organization)]).await.unwrap();
    assert!(stranger.iter().all(|answer| answer.status == 403 && answer.body.is_empty()));
}

#[tokio::test]
async fn removed_organization_is_refused_at_once_on_open_and_on_resumed_connections() {
    let network = shared();
    let (dms, ttp) = (network.organization("dms", "dms"), network.organization("ttp", "dms"));
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&ttp));
    let mut open = ttp.connect().await.unwrap();
    assert_eq!(wire::exchange(&mut open, &get).await.unwrap().status, 200);
    let mut again = ttp.connect().await.unwrap();
    assert_eq!(wire::exchange(&mut again, &get).await.unwrap().status, 200);
    assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "a test of resumption needs one");

    let query = "identifier=http://dsf.dev/sid/organization-identifier%7Cttp.example";
    let mut organization = search::all(&dms, "Organization", query).await.remove(0);
    let target = format!("/Organization/{}", organization["id"].as_str().unwrap());
    organization["active"] = json!(false);
    let written = dms.put(&target, &organization).await.expect(200);
    // The answer to the change is the promise that it is in force.
    for stream in [&mut open, &mut again] {
        let answer = wire::exchange(stream, &get).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (403, 0));
    }
    let mut resumed = ttp.connect().await.unwrap();
    let answer = wire::exchange(&mut resumed, &get).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (403, 0));
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));

    let mut organization = written.json();
    organization["active"] = json!(true);
    dms.put(&target, &organization).await.expect(200);
    ttp.get("/metadata").await.expect(200);
}

// === Framing ===

#[tokio::test]
async fn attack_a07_smuggling_is_refused_and_the_connection_closed() {
    let network = shared();
    let client = remote();
    let host = fields(&client);
    let marker = Uuid::new_v4().to_string();
    let inner = format!("DELETE /fhir/Organization/{marker} HTTP/1.1\r\n{host}\r\n");
    let post = format!("POST /fhir/Task HTTP/1.1\r\n{host}Content-Type: {JSON}\r\n");
    let get = "GET /fhir/metadata HTTP/1.1\r\n";
    let length = inner.len();
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("CL and TE", format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"), &[400]),
        (
            "TE and CL",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{inner}"),
            &[400],
        ),
        ("two equal CL", format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde{inner}"), &[400]),
        ("two CL", format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"), &[400]),
        ("list CL", format!("{post}Content-Length: 0, {length}\r\n\r\n{inner}"), &[400]),
        ("plus CL", format!("{post}Content-Length: +5\r\n\r\nabcde{inner}"), &[400]),
        ("hex CL", format!("{post}Content-Length: 0x5\r\n\r\nabcde{inner}"), &[400]),
        ("huge CL", format!("{post}Content-Length: 99999999999999999999\r\n\r\n{inner}"), &[400, 413]),
        ("TE xchunked", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        ("TE list", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        (
            "TE twice",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}"),
            &[400, 501],
        ),
        ("TE gzip", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        ("TE space", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"), &[400]),
        ("TE vertical tab", format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"), &[400, 501]),
        (
            "TE in 1.0",
            format!("POST /fhir/Task HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
            &[400],
        ),
        ("bare LF", format!("GET /fhir/metadata HTTP/1.1\n{}\n", host.replace("\r\n", "\n")), &[400]),
        ("bare CR", format!("{get}{host}X: a\rX-ClientCert: b\r\n\r\n"), &[400]),
        ("folded line", format!("{get}{host}X: a\r\n b\r\n\r\n"), &[400]),
        ("NUL", format!("{get}{host}X: a\0b\r\n\r\n"), &[400]),
        ("no colon", format!("{get}{host}X\r\n\r\n"), &[400]),
        ("empty name", format!("{get}{host}: x\r\n\r\n"), &[400]),
        ("space in target", format!("GET /fhir/meta data HTTP/1.1\r\n{host}\r\n"), &[400]),
        ("tab in request line", format!("GET\t/fhir/metadata\tHTTP/1.1\r\n{host}\r\n"), &[400]),
        ("non-ASCII target", format!("GET /fhir/m\u{e9}tadata HTTP/1.1\r\n{host}\r\n"), &[400]),
        ("HTTP/2.0", format!("GET /fhir/metadata HTTP/2.0\r\n{host}\r\n"), &[400, 505]),
        ("HTTP/0.9", "GET /fhir/metadata\r\n\r\n".to_owned(), &[400, 505]),
        ("leading empty line", format!("\r\n{get}{host}\r\n"), &[400]),
    ];
    for (what, raw, statuses) in &cases {
        let mut stream = client.connect().await.unwrap();
        let answer = wire::exchange(&mut stream, raw).await.unwrap_or_else(|| panic!("no answer: {what}"));
        assert!(statuses.contains(&answer.status), "{what}: {}", answer.status);
        assert!(wire::is_closed(&mut stream).await, "{what}: the connection stays open");
    }
    never_reached_the_engine(&network.node("portal"), &marker);
}

#[tokio::test]
async fn attack_a07_broken_chunks_and_cut_bodies_leave_no_task() {
    let client = remote();
    let network = shared();
    let task = tasks::ping(&network.node("dic-1"), &network.node("portal"));
    let key = tasks::value(&task, "input", "correlation-key").unwrap();
    let text = task.to_string();
    let head = format!("POST /fhir/Task HTTP/1.1\r\n{}Content-Type: {JSON}\r\n", fields(&client));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let size = format!("{:x}", text.len());
    let cases = [
        ("bare LF in framing", format!("{chunked}{size}\n{text}\n0\n\n")),
        ("no size", format!("{chunked}\r\n{text}\r\n0\r\n\r\n")),
        ("negative size", format!("{chunked}-{size}\r\n{text}\r\n0\r\n\r\n")),
        ("overflow", format!("{chunked}ffffffffffffffff1\r\n{text}\r\n0\r\n\r\n")),
        ("short chunk", format!("{chunked}{:x}\r\n{text}\r\n0\r\n\r\n", text.len() - 3)),
        ("garbage size", format!("{chunked}{size}zz\r\n{text}\r\n0\r\n\r\n")),
    ];
    for (what, raw) in cases {
        let answer = client.send_raw(raw).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{what}: {answer:?}");
    }
    // A body that ends before its length, and chunks without an end.
    for raw in
        [format!("{head}Content-Length: {}\r\n\r\n{text}", text.len() + 10), format!("{chunked}{size}\r\n{text}\r\n")]
    {
        let mut stream = client.connect().await.unwrap();
        stream.write_all(raw.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = wire::read_answer(&mut stream).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{answer:?}");
    }
    let every = search::all(&network.organization("portal", "portal"), "Task", "").await;
    assert!(every.iter().all(|task| tasks::value(task, "input", "correlation-key").as_deref() != Some(&key)));
    // The same Task in good chunks is taken, so that the cases above are not refused for another reason. A trailer is not a field.
    let (first, second) = text.split_at(100);
    let good = format!("{chunked}64\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nX-ClientCert: evil\r\n\r\n", second.len());
    assert_eq!(client.send_raw(good).await.expect("an answer").status, 201);
}

#[tokio::test]
async fn attack_a38_pipelined_and_interleaved_requests_do_not_mix_identities() {
    let network = shared();
    let (remote, local) = (remote(), network.organization("portal", "portal"));
    let mut running = tokio::task::JoinSet::new();
    for (client, sees_all) in [(remote.clone(), false), (local.clone(), true), (remote.clone(), false), (local, true)] {
        running.spawn(async move {
            let get = format!("GET /fhir/Subscription?_count=0 HTTP/1.1\r\n{}\r\n", fields(&client));
            let mut stream = client.connect().await.unwrap();
            for _ in 0..100 {
                let answer = wire::exchange(&mut stream, &get).await.unwrap().expect(200);
                assert_eq!(answer.json()["total"].as_u64().unwrap() > 0, sees_all);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    // What follows a request on the wire is never answered as part of it.
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&remote));
    let evil = format!("PUT /fhir/Organization/1 HTTP/1.1\r\n{}Content-Length: 2\r\n\r\n{{}}", fields(&remote));
    let mut stream = remote.connect().await.unwrap();
    assert_eq!(wire::exchange(&mut stream, format!("{get}{evil}")).await.unwrap().status, 200);
    let second = wire::read_answer(&mut stream).await;
    assert!(second.as_ref().is_none_or(|answer| answer.status == 403), "{second:?}");
}

// === Sizes and slowness ===

#[tokio::test]
async fn attack_a08_a09_what_is_too_large_is_refused_early() {
    let client = remote();
    let host = fields(&client);
    let get = "GET /fhir/metadata HTTP/1.1\r\n";
    let heads: Vec<(&str, String, &[u16])> = vec![
        ("40 KiB field", format!("{get}{host}X-Large: {}\r\n\r\n", "a".repeat(40 * 1024)), &[431]),
        ("1 MiB field", format!("{get}{host}X-Large: {}\r\n\r\n", "a".repeat(1 << 20)), &[431]),
        ("101 fields", format!("{get}{host}{}\r\n", "X: a\r\n".repeat(101)), &[431]),
        ("9000 bytes of target", format!("GET /fhir/Task?a={} HTTP/1.1\r\n{host}\r\n", "a".repeat(9000)), &[414, 431]),
        ("1 MiB of query", format!("GET /fhir/Task?a={} HTTP/1.1\r\n{host}\r\n", "a".repeat(1 << 20)), &[414, 431]),
    ];
    for (what, raw, statuses) in heads {
        let answer = client.send_raw(raw).await.unwrap_or_else(|| panic!("no answer: {what}"));
        assert!(statuses.contains(&answer.status), "{what}: {}", answer.status);
    }
    // A length that is too large is refused before the body is sent.
    let post = format!("POST /fhir/Task HTTP/1.1\r\n{host}Content-Type: {JSON}\r\n");
    let limit = 4 << 20;
    let announced = client.send_raw(format!("{post}Content-Length: {}\r\n\r\n", limit + 1)).await.expect("an answer");
    assert_eq!(announced.status, 413);
    let enormous =
        client.send_raw(format!("{post}Content-Length: 999999999999999999\r\n\r\n")).await.expect("an answer");
    assert_eq!(enormous.status, 413);
    // Without a length it is refused when it becomes too large; the answer may be lost with the reset.
    let mut stream = client.connect().await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let sent = async {
        stream.write_all(format!("{post}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
        for _ in 0..(limit / 0x10000 + 8) {
            stream.write_all(chunk.as_bytes()).await?;
        }
        stream.flush().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(60), sent).await.expect("the sender is not held up");
    let answer = tokio::time::timeout(Duration::from_secs(60), wire::read_answer(&mut stream)).await.expect("an end");
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 413), "{answer:?}");
    // Compressed content is not unpacked.
    let packed = client.send("POST", "/Task", &[("content-type", JSON), ("content-encoding", "gzip")], "x").await;
    assert_eq!(packed.status, 415);
    client.get("/metadata").await.expect(200);
}

#[tokio::test]
async fn attack_a32_slow_heads_are_closed_and_nobody_else_notices() {
    let client = remote();
    let head = format!("GET /fhir/metadata HTTP/1.1\r\n{}X-Slow: ", fields(&client));
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, head) = (client.clone(), head.clone());
        running.spawn(async move {
            let mut stream = client.connect().await.unwrap();
            let drip = async {
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(b"a").await?;
                    stream.flush().await?;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if started.elapsed() > Duration::from_secs(40) {
                        return Ok::<_, std::io::Error>(());
                    }
                    // The answer may be there before writing fails.
                    let mut answer = [0; 4096];
                    match tokio::time::timeout(Duration::from_millis(1), stream.read(&mut answer)).await {
                        Ok(Ok(0) | Err(_)) => return Err(std::io::ErrorKind::ConnectionReset.into()),
                        Ok(Ok(_)) => {
                            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer))
                        }
                        Err(_) => {}
                    }
                }
            };
            assert!(drip.await.is_err(), "after {:?} the connection is still open", started.elapsed());
        });
    }
    // Meanwhile others are served.
    for _ in 0..10 {
        client.get("/metadata").await.expect(200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(35), "limits.timeouts.header of the shipped policy is 10 s");
}

#[tokio::test]
async fn silence_before_and_after_the_handshake_ends() {
    let client = remote();
    let started = Instant::now();
    let mut tcp = TcpStream::connect(("localhost", client.port())).await.unwrap();
    let mut tls = client.connect().await.unwrap();
    let (mut first, mut second) = ([0; 1], [0; 1]);
    let (tcp_ended, tls_ended) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(60), tcp.read(&mut first)),
        tokio::time::timeout(Duration::from_secs(60), tls.read(&mut second)),
    );
    assert!(tcp_ended.is_ok() && tls_ended.is_ok(), "a silent connection is still open after {:?}", started.elapsed());
}

// === Paths, methods, hosts ===

#[tokio::test]
async fn attack_a05_paths_have_one_form() {
    let client = remote();
    let host = fields(&client);
    let marker = Uuid::new_v4().to_string();
    let refused: [&str; 20] = [
        "/fhir/../secret",
        "/fhir/..",
        "/fhir/./Task",
        "/fhir/%2e%2e/secret",
        "/fhir/%2E%2E/secret",
        "/fhir/.%2e/secret",
        "/fhir/%252e%252e/secret",
        "/fhir//Task",
        "//fhir/Task",
        "/fhir/Task;x=1",
        "/fhir;x=1/Task",
        "/fhir/%2FTask",
        "/fhir%2FTask",
        "/fhir/Task%00",
        "/fhir/Task%0d%0aX:%20a",
        "/fhir/\\Task",
        "/fhir/Task\\..\\x",
        "/fhir/Task/%c0%ae%c0%ae",
        "/fhir/Task#x",
        "http://evil.example/fhir/Task",
    ];
    for target in refused {
        let answer = client.send_raw(format!("GET {target} HTTP/1.1\r\n{host}X-Marker: {marker}\r\n\r\n")).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer: {target}"));
        assert_eq!(answer.status, 400, "{target}");
    }
    for target in [
        "/",
        "/fhirx",
        "/fhir2/Task",
        "/FHIR/Task",
        "/server-status",
        "/bpe/",
        "/metadata",
        "/Task",
        "/fhir/task",
        "/fhir/NoSuchType",
        "/fhir/Task/1/2/3/4",
    ] {
        let answer = client
            .send_raw(format!("GET {target} HTTP/1.1\r\n{host}\r\n"))
            .await
            .unwrap_or_else(|| panic!("no answer: {target}"));
        assert_eq!(answer.status, 404, "{target}");
    }
    never_reached_the_engine(&shared().node("portal"), &marker);
    // Letters that need no encoding mean what they mean, for the decision too.
    let encoded = client.send_raw(format!("DELETE /fhir/Organiz%61tion/1 HTTP/1.1\r\n{host}\r\n")).await.unwrap();
    assert!([400, 403].contains(&encoded.status), "{}", encoded.status);
}

#[tokio::test]
async fn attack_a06_methods_are_those_of_fhir() {
    let client = remote();
    let host = fields(&client);
    for (method, statuses) in [
        ("TRACE", [405, 501]),
        ("CONNECT", [405, 400]),
        ("PROPFIND", [405, 501]),
        ("get", [405, 501]),
        ("PATCH", [405, 501]),
        ("OPTIONS", [405, 501]),
        ("DEBUG", [405, 501]),
    ] {
        let answer = client
            .send_raw(format!("{method} /fhir/Task HTTP/1.1\r\n{host}\r\n"))
            .await
            .unwrap_or_else(|| panic!("{method}"));
        assert!(statuses.contains(&answer.status), "{method}: {}", answer.status);
    }
    let post =
        client.send("POST", "/Task/1", &[("x-http-method-override", "DELETE"), ("content-type", JSON)], "{}").await;
    assert!([403, 405].contains(&post.status), "{}", post.status);
    let query = client.get("/Task?_method=DELETE").await;
    assert_eq!(query.status, 400);
    let upgrade = format!(
        "GET /fhir/Task HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    assert_eq!(client.send_raw(upgrade).await.unwrap().status, 400);
    let h2c = format!(
        "GET /fhir/metadata HTTP/1.1\r\n{host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    );
    assert_eq!(client.send_raw(h2c).await.unwrap().status, 400);
}

#[tokio::test]
async fn attack_a03_a04_only_the_configured_host_is_served() {
    let client = remote();
    let good = client.authority();
    for (host, status) in [
        ("evil.example".to_owned(), 421),
        ("localhost".to_owned(), 421),
        ("localhost:10000".to_owned(), 421),
        (format!("127.0.0.1:{}", client.port()), 421),
        (format!("{good}.evil.example"), 421),
        (format!("{good}@evil.example"), 421),
        (String::new(), 421),
    ] {
        let answer = client.send_raw(format!("GET /fhir/metadata HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        assert!(answer.status == status || answer.status == 400, "{host}: {}", answer.status);
        assert_ne!(answer.status, 200, "{host}");
    }
    for hosts in
        [String::new(), format!("Host: {good}\r\nHost: {good}\r\n"), format!("Host: {good}\r\nHost: evil.example\r\n")]
    {
        let answer = client.send_raw(format!("GET /fhir/metadata HTTP/1.1\r\n{hosts}\r\n")).await.unwrap();
        assert_eq!(answer.status, 400, "{hosts:?}");
    }
    // The name is compared without case, as DNS does.
    let upper =
        client.send_raw(format!("GET /fhir/metadata HTTP/1.1\r\nHost: {}\r\n\r\n", good.to_uppercase())).await.unwrap();
    assert_eq!(upper.status, 200);
}

#[tokio::test]
async fn edge_t30_t85_answers_carry_the_standing_fields_and_no_inside() {
    let network = shared();
    let client = remote();
    let answers: Vec<Answer> = vec![
        client.get("/metadata").await,
        client.get("/Task/no-such-task").await,
        client.get("/no-such-type").await,
        client.send("DELETE", "/Task/1", &[("accept", JSON)], "").await,
        client.send("POST", "/Task", &[("content-type", JSON)], "no json").await,
        network.stranger("portal").get("/metadata").await,
    ];
    for answer in answers {
        assert_eq!(
            answer.field("strict-transport-security"),
            Some("max-age=63072000; includeSubDomains"),
            "{}",
            answer.status
        );
        assert!(answer.field("x-correlation-id").is_some(), "{}", answer.status);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        for name in ["server", "x-powered-by", "via", "x-schleuse-permit"] {
            assert!(answer.field(name).is_none(), "{name}");
        }
        if answer.status >= 400 {
            let text = answer.text();
            for inside in ["/tmp", ".rs:", "panicked", "sqlite", "engine.sock", "127.0.0.1"] {
                assert!(!text.contains(inside), "{inside}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_correlation_id_joins_the_records_of_both_processes() {
    let portal = shared().node("portal");
    let answer = remote().get("/Organization?_count=1").await.expect(200);
    let id = answer.field("x-correlation-id").unwrap().to_owned();
    until("the records of both processes", Duration::from_secs(20), async || {
        (portal.text("audit/gateway.log").contains(&id) && portal.text("audit/engine.log").contains(&id)).then_some(())
    })
    .await;
}
