//! The gateway as partners, attackers and operators meet it.
#![allow(clippy::string_slice, clippy::unwrap_used, clippy::indexing_slicing, unreachable_pub)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::{CipherSuite, NamedGroup};
use support::{LOCAL, Node, REMOTE, exchange, read_answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn fields(node: &Node) -> String {
    format!("Host: {}\r\nAccept: application/fhir+json\r\n", node.host())
}

#[tokio::test(flavor = "multi_thread")]
async fn known_organization_reads_and_the_engine_learns_it_from_the_permit_alone() {
    let node = Node::start().await;
    let spoofed = format!(
        "GET /fhir/Task?status=requested HTTP/1.1\r\n{}X-ClientCert: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=evil\r\nX-Schleuse-Permit: evil\r\nX-Correlation-Id: evil\r\n\
         Proxy: evil\r\nConnection: keep-alive, X-ClientCert\r\nCookie: evil\r\nAuthorization: evil\r\n\r\n",
        fields(&node)
    );
    let answer = node.send(&node.pki.remote, spoofed).await.unwrap();
    assert_eq!(answer.status, 200, "{}", node.log());
    assert_eq!(answer.field("strict-transport-security"), Some("max-age=63072000; includeSubDomains"));
    assert!(answer.field("server").is_none());
    let correlation = answer.field("x-correlation-id").unwrap().to_owned();

    let seen = node.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, "/fhir/Task?status=requested");
    assert!(seen[0].fields.values().all(|value| !String::from_utf8_lossy(value.as_bytes()).contains("evil")));
    let permit = seen[0].permit();
    assert_eq!(permit.identity.organization().unwrap().to_string(), REMOTE);
    assert_eq!((permit.interaction.as_str(), permit.rule.as_str()), ("search", "remote-read"));
    assert_eq!(permit.correlation_id.to_string(), correlation);
    let log = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
    assert!(log.contains(&correlation) && log.contains("remote-read"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_gets_an_empty_403_and_no_certificate_no_connection() {
    let node = Node::start().await;
    for target in ["/fhir/metadata", "/fhir/Task/1", "/", "/fhir/../x", "/fhir/ws"] {
        let answer = node.get(&node.pki.stranger, target).await;
        assert_eq!((answer.status, answer.body.len()), (403, 0), "{target}");
    }
    let refused = async |config| match node.connect_with(config).await {
        Err(_) => true,
        // With TLS 1.3 the alert comes with the first read.
        Ok(mut stream) => {
            exchange(&mut stream, format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node))).await.is_none()
        }
    };
    assert!(refused(node.config(None)).await);
    assert!(refused(node.config(Some(&node.pki.foreign))).await);
    assert!(node.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_writes_never_reach_the_engine() {
    let node = Node::start().await;
    let organization = r#"{"resourceType":"Organization","id":"1"}"#;
    for line in ["PUT /fhir/Organization/1", "PUT /fhir/Organization?identifier=a", "POST /fhir/Organization"] {
        let answer = node.with_body(&node.pki.remote, line, "application/fhir+json", organization).await;
        assert_eq!(answer.status, 403, "{line}");
        let outcome = answer.text();
        assert!(outcome.contains("\"forbidden\"") && outcome.contains("GW-POL-"), "{outcome}");
    }
    for line in ["DELETE /fhir/Task/1", "POST /fhir/Task/1/$permanent-delete"] {
        let answer = node.send(&node.pki.remote, format!("{line} HTTP/1.1\r\n{}\r\n", fields(&node))).await.unwrap();
        assert_eq!(answer.status, 403, "{line}");
    }
    for (line, status) in [
        ("PATCH /fhir/Task/1", 405),
        ("TRACE /fhir/Task", 405),
        ("CONNECT localhost:1", 405),
        ("PROPFIND /fhir/Task", 501),
    ] {
        let answer = node.send(&node.pki.remote, format!("{line} HTTP/1.1\r\n{}\r\n", fields(&node))).await.unwrap();
        assert_eq!(answer.status, status, "{line}");
    }
    let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Organization/1"}}]}"#;
    let answer = node.with_body(&node.pki.remote, "POST /fhir", "application/fhir+json", bundle).await;
    assert_eq!(answer.status, 403);
    assert!(node.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_body_is_forwarded_byte_by_byte() {
    let node = Node::start().await;
    let body = "{ \"resourceType\" : \"Organization\",\n \"active\":true , \"name\":\"ä\" }";
    let answer = node.with_body(&node.pki.local, "POST /fhir/Organization", "application/fhir+json", body).await;
    assert_eq!(answer.status, 201, "{} {}", answer.text(), node.log());
    let large = format!("{{\"resourceType\":\"Organization\",\"name\":\"{}\"}}", "x".repeat(300_000));
    let mut chunked = format!(
        "POST /fhir/Organization HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n",
        fields(&node)
    );
    for piece in [&large[..100_000], &large[100_000..]] {
        chunked.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    chunked.push_str("0\r\n\r\n");
    assert_eq!(node.send(&node.pki.local, chunked).await.unwrap().status, 201);
    let seen = node.seen();
    assert_eq!(seen[0].body, body.as_bytes());
    assert_eq!(seen[1].body, large.as_bytes());
    assert_eq!(seen[1].fields.get("content-length").unwrap(), &large.len().to_string());
    let log = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
    assert!(log.contains("body-sha256") && log.contains("\"answered\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_judged_are_refused() {
    let node = Node::start().await;
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let cases = [
        ("application/fhir+json", "{\"resourceType\":\"Organization\",\"a\":1,\"a\":2}".to_owned(), 400),
        ("application/fhir+json", format!("{{\"resourceType\":\"Organization\",\"a\":{deep}}}"), 400),
        ("application/fhir+xml", "<!DOCTYPE a><Organization xmlns=\"http://hl7.org/fhir\"/>".to_owned(), 400),
        ("application/fhir+json", "no json".to_owned(), 403),
        ("text/plain", "{}".to_owned(), 415),
        ("application/fhir+json;charset=utf-16", "{}".to_owned(), 415),
        (
            "application/fhir+json",
            format!("{{\"resourceType\":\"Organization\",\"name\":\"{}\"}}", "x".repeat(1 << 20)),
            413,
        ),
    ];
    for (media_type, body, status) in cases {
        let answer = node.with_body(&node.pki.local, "POST /fhir/Organization", media_type, &body).await;
        assert_eq!(answer.status, status, "{media_type} {} {}", &body[..body.len().min(60)], answer.text());
    }
    let gzip = format!(
        "POST /fhir/Organization HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}",
        fields(&node)
    );
    assert_eq!(node.send(&node.pki.local, gzip).await.unwrap().status, 415);
    let mut chunked = format!(
        "POST /fhir/Organization HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n",
        fields(&node)
    );
    for _ in 0..17 {
        chunked.push_str(&format!("10000\r\n{}\r\n", "x".repeat(0x10000)));
    }
    // The answer may be lost with the reset that a closed connection sends to a client which still writes.
    assert!(node.send(&node.pki.local, chunked).await.is_none_or(|answer| answer.status == 413));
    assert!(node.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_binary_streams_through() {
    let node = Node::start().await;
    let content = "z".repeat(500_000);
    let answer = node.with_body(&node.pki.local, "POST /fhir/Binary", "application/octet-stream", &content).await;
    assert_eq!(answer.status, 201, "{} {}", answer.text(), node.log());
    let seen = node.seen();
    assert_eq!(seen[0].body, content.as_bytes());
    assert_eq!(seen[0].fields.get("content-type").unwrap(), "application/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a07_smuggling_is_refused_and_the_connection_closed() {
    let node = Node::start().await;
    let host = fields(&node);
    let line = "POST /fhir/Task HTTP/1.1\r\n";
    let cases: Vec<(String, u16)> = vec![
        (format!("{line}{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{line}{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"), 400),
        (format!("{line}{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"), 400),
        (format!("{line}{host}Content-Length: 3, 3\r\n\r\nabc"), 400),
        (format!("{line}{host}Content-Length: +3\r\n\r\nabc"), 400),
        (format!("{line}{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{line}{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400),
        (format!("{line}{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{line}{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST /fhir/Task HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("GET /fhir/metadata HTTP/1.1\n{}\n", host.replace("\r\n", "\n")), 400),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}X-Folded: a\r\n b\r\n\r\n"), 400),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}X-Nul: a\0b\r\n\r\n"), 400),
        ("GET /fhir/metadata HTTP/1.1\r\nAccept: a\r\n\r\n".to_owned(), 400),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET https://evil/fhir/metadata HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /fhir/meta data HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /fhir/metadata HTTP/2.0\r\n{host}\r\n"), 505),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}x_clientcert: a\r\n\r\n"), 400),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}X-Large: {}\r\n\r\n", "a".repeat(300_000)), 431),
        (format!("GET /fhir/metadata HTTP/1.1\r\n{host}{}\r\n", "X: a\r\n".repeat(200)), 431),
        (format!("GET /fhir/Task?a={} HTTP/1.1\r\n{host}\r\n", "a".repeat(9_000)), 414),
    ];
    for (raw, status) in cases {
        let mut stream = node.connect(&node.pki.remote).await;
        let answer = exchange(&mut stream, &raw).await;
        let short = raw[..raw.len().min(120)].escape_debug().to_string();
        let answer = answer.unwrap_or_else(|| panic!("no answer to {short}"));
        assert_eq!(answer.status, status, "{short}");
        assert!(answer.field("x-correlation-id").is_some(), "{short}");
        if answer.status == 400 && answer.body.is_empty() {
            assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0, "{short}");
        }
    }
    for target in
        ["/fhir/../secret", "/fhir/%2e%2e/secret", "/fhir//Task", "/fhir/Task;x=1", "/fhir/%2FTask", "/fhir/Task%00"]
    {
        assert_eq!(node.get(&node.pki.remote, target).await.status, 400, "{target}");
    }
    for target in ["/", "/server-status", "/bpe/"] {
        let answer = node.get(&node.pki.remote, target).await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{target}");
    }
    assert!(node.seen().is_empty());
    let report = audit::verify(&node.path("audit/gateway.log")).unwrap();
    assert!(report.records > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_line_feeds_in_chunk_framing_do_not_get_through() {
    let node = Node::start().await;
    let raw = format!(
        "POST /fhir/Organization HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n2\n{{}}\n0\n\n",
        fields(&node)
    );
    let answer = node.send(&node.pki.local, raw).await;
    assert!(answer.is_none_or(|answer| answer.status >= 400));
    assert!(node.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a03_only_the_configured_host_is_served() {
    let node = Node::start().await;
    for host in ["localhost:10000", "localhost", "evil", "127.0.0.1"] {
        let answer =
            node.send(&node.pki.remote, format!("GET /fhir/metadata HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
        assert_eq!(answer.status, 421, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_serves_many_requests_and_pipelining_ends_the_connection() {
    let node = Node::start().await;
    let mut stream = node.connect(&node.pki.remote).await;
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    for _ in 0..50 {
        assert_eq!(exchange(&mut stream, &get).await.unwrap().status, 200);
    }
    let large = format!("GET /fhir/Task?large=1 HTTP/1.1\r\n{}\r\n", fields(&node));
    assert_eq!(exchange(&mut stream, &large).await.unwrap().body.len(), 300_000);
    let task = r#"{"resourceType":"Organization"}"#;
    let post = format!(
        "POST /fhir/Task HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{task}",
        fields(&node),
        task.len()
    );
    assert_eq!(exchange(&mut stream, &post).await.unwrap().status, 403);
    assert_eq!(
        exchange(&mut stream, &get).await.unwrap().status,
        200,
        "a judged and refused body leaves the connection usable"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_silence_are_closed() {
    let node = Node::start_with(|folder| {
        let path = folder.join("policies/limits.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .map(|line| match line.split('=').next().map(str::trim) {
                Some("header") => "header = \"1s\"\n".to_owned(),
                Some("handshake") => "handshake = \"1s\"\n".to_owned(),
                _ => format!("{line}\n"),
            })
            .collect();
        std::fs::write(path, text).unwrap();
    })
    .await;
    // A head that comes byte by byte.
    let mut drip = node.connect(&node.pki.remote).await;
    let started = Instant::now();
    let head = format!("GET /fhir/metadata HTTP/1.1\r\n{}X: {}", fields(&node), "a".repeat(1000));
    for byte in head.as_bytes() {
        if drip.write_all(&[*byte]).await.is_err()
            || drip.flush().await.is_err()
            || started.elapsed() > Duration::from_secs(3)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = read_answer(&mut drip).await;
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(started.elapsed() < Duration::from_secs(5));
    // Silence after TLS, and silence before it.
    let started = Instant::now();
    let mut silent = node.connect(&node.pki.remote).await;
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut tcp = tokio::net::TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    assert_eq!(tcp.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(started.elapsed() < Duration::from_secs(6));
    // Nobody else noticed.
    assert_eq!(node.get(&node.pki.remote, "/fhir/metadata").await.status, 200);
}

fn websocket_head(node: &Node) -> String {
    format!(
        "GET /fhir/ws HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        fields(node)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_passes_for_the_local_organization_and_is_cut_with_its_right() {
    let node = Node::start().await;
    let mut stream = node.connect(&node.pki.local).await;
    let answer = exchange(&mut stream, websocket_head(&node)).await.unwrap();
    assert_eq!(answer.status, 101, "{} {}", answer.head, node.log());
    for size in [5, 200, 900] {
        let message = vec![b'm'; size];
        stream.write_all(&message).await.unwrap();
        stream.flush().await.unwrap();
        let mut echo = vec![0; size];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, message);
    }
    let remote = node.send(&node.pki.remote, websocket_head(&node)).await.unwrap();
    assert_eq!(remote.status, 403);
    let elsewhere = websocket_head(&node).replace("/fhir/ws", "/fhir/Task");
    assert_eq!(node.send(&node.pki.local, elsewhere).await.unwrap().status, 400);
    assert_eq!(node.seen().len(), 1);

    node.publish(2, &[(REMOTE, node.pki.remote.certificate())]).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 10])).await.expect("cut");
    assert_eq!(ended.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_identity_is_refused_on_open_and_resumed_connections() {
    let node = Node::start().await;
    let mut config = node.config(Some(&node.pki.remote));
    config.resumption = rustls::client::Resumption::in_memory_sessions(4);
    let config = Arc::new(config);
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    let mut open = node.connect_with((*config).clone()).await.unwrap();
    assert_eq!(exchange(&mut open, &get).await.unwrap().status, 200);
    let mut resumed = node.connect_with((*config).clone()).await.unwrap();
    assert_eq!(exchange(&mut resumed, &get).await.unwrap().status, 200);
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));

    node.publish(2, &[(LOCAL, node.pki.local.certificate())]).await;
    let answer = exchange(&mut open, &get).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (403, 0));
    let mut again = node.connect_with((*config).clone()).await.unwrap();
    assert_eq!(exchange(&mut again, &get).await.unwrap().status, 403);
    assert_eq!(again.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_obeys_the_same_rules() {
    let node = Node::start().await;
    let mut config = node.config(Some(&node.pki.remote));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = node.connect_with(config).await.unwrap();
    assert_eq!(stream.get_ref().1.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = |method: &str, target: &str, body: &'static str| {
        http::Request::builder()
            .method(method)
            .uri(format!("https://{}{target}", node.host()))
            .header("accept", "application/fhir+json")
            .header("content-type", "application/fhir+json")
            .header("x-clientcert", "evil")
            .body(http_body_util::Full::new(bytes::Bytes::from_static(body.as_bytes())))
            .unwrap()
    };
    let cases = [
        ("GET", "/fhir/metadata", "", 200),
        ("GET", "/fhir/Task?large=1", "", 200),
        ("DELETE", "/fhir/Task/1", "", 403),
        ("PUT", "/fhir/Organization/1", "{\"resourceType\":\"Organization\"}", 403),
        ("GET", "/fhir/../secret", "", 400),
        ("GET", "/fhir/ws", "", 400),
    ];
    for (method, target, body, status) in cases {
        let response = sender.send_request(request(method, target, body)).await.unwrap();
        assert_eq!(response.status(), status, "{method} {target} {}", node.log());
        let _ = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    }
    let mut foreign = request("GET", "/fhir/metadata", "");
    *foreign.uri_mut() = "https://evil/fhir/metadata".parse().unwrap();
    assert_eq!(sender.send_request(foreign).await.unwrap().status(), 421);
    assert!(node.seen().iter().all(|seen| seen.method == "GET" && !seen.fields.contains_key("x-clientcert")));
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_takes_what_is_good_and_keeps_the_last_good_otherwise() {
    let node = Node::start().await;
    let rules = node.path("policies/rules.toml");
    let good = std::fs::read_to_string(&rules).unwrap();
    let reloaded = async |failures: f64, since: f64| {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let failed = node.metric("schleuse_reload_failures_total").await.unwrap_or(-1.0);
            let success = node.metric("schleuse_reload_last_success").await.unwrap_or(0.0);
            if failed == failures && success > since {
                return success;
            }
            assert!(Instant::now() < end, "{failed} {success} {}", node.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let first = reloaded(0.0, 0.0).await;
    std::fs::write(&rules, format!("{good}\nunknown-key = 1\n")).unwrap();
    node.signal(Signal::HUP);
    reloaded(1.0, 0.0).await;
    assert_eq!(node.get(&node.pki.remote, "/fhir/metadata").await.status, 200);

    std::fs::write(&rules, &good).unwrap();
    let trust = node.path("trust/client-authorities.pem");
    let authorities = std::fs::read_to_string(&trust).unwrap();
    std::fs::write(&trust, "").unwrap();
    node.signal(Signal::HUP);
    reloaded(2.0, 0.0).await;
    assert_eq!(node.get(&node.pki.remote, "/fhir/metadata").await.status, 200);
    std::fs::write(&trust, authorities).unwrap();

    let denying = good.replacen("[[rule]]", "[[rule]]\nid = \"no-metadata\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = { operations = [\"metadata\"] }\n\n[[rule]]", 1);
    std::fs::write(&rules, denying).unwrap();
    let mut open = node.connect(&node.pki.remote).await;
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    assert_eq!(exchange(&mut open, &get).await.unwrap().status, 200);
    node.signal(Signal::HUP);
    reloaded(2.0, first).await;
    let answer = exchange(&mut open, &get).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("GW-POL-013"));
}

#[tokio::test(flavor = "multi_thread")]
async fn management_tells_state_and_nothing_of_fhir() {
    let node = Node::start().await;
    for (path, status) in
        [("/health", 200), ("/ready", 200), ("/fhir/status", 200), ("/fhir/metadata", 404), ("/", 404)]
    {
        assert_eq!(node.manage(path).await.unwrap().status, status, "{path}");
    }
    node.get(&node.pki.remote, "/fhir/metadata").await;
    // A request is counted when its answer has left.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = node.manage("/metrics").await.unwrap().text();
        assert!(metrics.contains("schleuse_store_bytes{process=\"engine\"} 5"), "{metrics}");
        if metrics.contains("schleuse_gateway_requests_total{process=\"gateway\"") {
            break;
        }
        assert!(Instant::now() < end, "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(node.get(&node.pki.remote, "/fhir/status").await.status >= 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_gateway_answers_503_and_knows_its_partners_from_the_last_run() {
    let mut node = Node::prepare().await;
    std::fs::remove_file(node.path("run/snapshot.sock")).unwrap();
    node.spawn();
    let end = Instant::now() + Duration::from_secs(20);
    while node.manage("/ready").await.is_none_or(|answer| answer.status != 503) {
        assert!(Instant::now() < end, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let answer = node.get(&node.pki.remote, "/fhir/metadata").await;
    assert_eq!((answer.status, answer.field("retry-after").is_some()), (503, true));
    assert!(node.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_drains_and_the_copy_of_the_allow_list_survives() {
    let mut node = Node::start().await;
    let mut open = node.connect(&node.pki.remote).await;
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    assert_eq!(exchange(&mut open, &get).await.unwrap().status, 200);
    let started = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(9), "idle connections do not hold up the end");
    assert!(gateway::allow_list::last_good(&node.path("gateway/snapshot.json")).is_some());
    let report = audit::verify(&node.path("audit/gateway.log")).unwrap();
    assert!(report.records >= 3 && report.unfinished_bytes == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_configuration_is_refused_with_a_remedy_and_78() {
    let cases: [(&str, &str); 4] = [
        ("policies/rules.toml", "nonsense = 1\n"),
        ("certificates/server.pem", "not a certificate"),
        ("trust/client-authorities.pem", ""),
        ("node.toml", "[node]\nunknown = 1\n"),
    ];
    for (file, text) in cases {
        let mut node = Node::prepare().await;
        std::fs::write(node.path(file), text).unwrap();
        node.spawn();
        assert_eq!(node.ended().await, Some(78), "{file}: {}", node.log());
        assert!(
            node.log().contains("remedy") || node.log().contains("write") || node.log().contains("use"),
            "{}",
            node.log()
        );
    }
    let mut node = Node::prepare().await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", node.port)).unwrap();
    node.spawn();
    assert_eq!(node.ended().await, Some(1), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_is_asked_again_after_a_reload_on_open_and_resumed_connections() {
    let node = Node::start().await;
    let mut config = node.config(Some(&node.pki.remote));
    config.resumption = rustls::client::Resumption::in_memory_sessions(4);
    let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    let mut open = node.connect_with(config.clone()).await.unwrap();
    assert_eq!(exchange(&mut open, &get).await.unwrap().status, 200);
    std::fs::write(node.path("trust/client-authorities.pem"), node.pki.other.certificate_pem()).unwrap();
    node.signal(Signal::HUP);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        // On a connection of its own each time, so that the refusal is seen as soon as it is there.
        let Ok(mut again) = node.connect_with(config.clone()).await else { break };
        if exchange(&mut again, &get).await.is_none() {
            break;
        }
        assert!(Instant::now() < end, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let answer = exchange(&mut open, &get).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (403, 0));
    let log = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
    assert!(log.contains("GW-IDENT-002"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_profiles_offer_what_they_say() {
    let connect =
        async |profile: &'static str, version: &'static rustls::SupportedProtocolVersion, suites: &[CipherSuite]| {
            let node = Node::start_with(|folder| {
                let path = folder.join("policies/tls.toml");
                let text = std::fs::read_to_string(&path).unwrap().replace("dsf-compat\"", &format!("{profile}\""));
                std::fs::write(path, text).unwrap();
            })
            .await;
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.cipher_suites.retain(|known| suites.is_empty() || suites.contains(&known.suite()));
            let mut roots = rustls::RootCertStore::empty();
            roots.add(node.pki.root.certificate().der().clone()).unwrap();
            let (chain, key) = support::identity(&node.pki.remote);
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
                .unwrap();
            let get = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
            let Ok(mut stream) = node.connect_with(config).await else { return None };
            let status = exchange(&mut stream, &get).await?.status;
            Some((status, stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()))
        };
    use rustls::version::{TLS12, TLS13};
    assert_eq!(connect("dsf-compat", &TLS12, &[]).await.map(|found| found.0), Some(200));
    assert_eq!(connect("dsf-compat", &TLS13, &[]).await, Some((200, NamedGroup::X25519MLKEM768)));
    assert_eq!(connect("tls13-only", &TLS12, &[]).await, None);
    assert_eq!(connect("bsi", &TLS13, &[]).await.map(|found| found.0), Some(200));
    assert_eq!(connect("bsi", &TLS13, &[CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a32_silent_clients_of_one_address_lock_nobody_else_out() {
    let node = Node::start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(("127.0.0.1", node.port)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(([127, 0, 0, 1], node.port).into()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(node.config(Some(&node.pki.local))));
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, tcp).await.expect("another address is served");
    let answer = exchange(&mut stream, format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node))).await;
    assert_eq!(answer.unwrap().status, 200);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_a32_slow_bodies_of_one_partner_leave_room_for_everybody() {
    let node = Node::start().await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = node.connect(&node.pki.remote).await;
        let head = format!(
            "POST /fhir HTTP/1.1\r\n{}Content-Type: application/fhir+json\r\nContent-Length: 67108864\r\n\r\n{{",
            fields(&node)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for client in [&node.pki.local, &node.pki.remote] {
        let bundle = r#"{"resourceType":"Bundle","type":"batch","entry":[]}"#;
        let answer = node.with_body(client, "POST /fhir", "application/fhir+json", bundle).await;
        assert_ne!(answer.status, 503, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_binary_in_its_fhir_form_is_judged_while_it_passes() {
    let node = Node::start().await;
    let data = "QUJD".repeat(200_000);
    let json = |more: &str| {
        format!("{{\"resourceType\":\"Binary\",\"data\":\"{data}\",\"contentType\":\"text/plain\"{more}}}")
    };
    let xml = |prolog: &str| {
        format!(
            "{prolog}<Binary xmlns=\"http://hl7.org/fhir\"><contentType value=\"a/b\"/><data value=\"{data}\"/></Binary>"
        )
    };
    let good = [("application/fhir+json", json("")), ("application/fhir+xml", xml(""))];
    for (media_type, body) in &good {
        let answer = node.with_body(&node.pki.local, "POST /fhir/Binary", media_type, body).await;
        assert_eq!(answer.status, 201, "{media_type} {} {}", answer.text(), node.log());
    }
    let seen = node.seen();
    for ((media_type, body), seen) in good.iter().zip(&seen) {
        assert_eq!(seen.body, body.as_bytes());
        assert_eq!(seen.fields.get("content-type").unwrap(), &format!("{media_type};charset=UTF-8"));
        assert_eq!(seen.fields.get("content-length"), None, "the end is sent only when all of it was judged");
    }
    let (truncated, other) = (json("").replace('}', ""), json("").replace("Binary", "Patient"));
    for (media_type, body, status) in [
        ("application/fhir+json", json(",\"contentType\":\"b\""), 400),
        ("application/fhir+json", json(",\"data\":\"QUJD\""), 400),
        ("application/fhir+json", json(",\"language\":[[[1]]"), 403),
        ("application/fhir+json", truncated, 403),
        ("application/fhir+json", other, 403),
        ("application/fhir+xml", xml("<!DOCTYPE Binary>"), 400),
    ] {
        let answer = node.with_body(&node.pki.local, "POST /fhir/Binary", media_type, &body).await;
        assert_eq!(answer.status, status, "{media_type} {} {}", answer.text(), node.log());
        assert!(answer.text().contains("OperationOutcome"), "{}", answer.text());
    }
    // A body that breaks off is empty here; the engine stores nothing of it.
    let complete = node.seen().iter().filter(|seen| !seen.body.is_empty()).count();
    assert_eq!(complete, good.len(), "what is refused at its end never ends for the engine");
    let answer = node.with_body(&node.pki.remote, "POST /fhir/Binary", "application/fhir+json", &json("")).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_can_send_raw_content() {
    let node = Node::start().await;
    let mut stream = node.connect(&node.pki.local).await;
    let head = format!(
        "POST /fhir/Binary HTTP/1.1\r\n{}Content-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        fields(&node)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut word = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut word)).await.expect("a word").unwrap();
    assert!(word[..read].starts_with(b"HTTP/1.1 100"));
    assert_eq!(exchange(&mut stream, "hello").await.unwrap().status, 201);
    assert_eq!(node.seen()[0].body, b"hello"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_deeper_than_the_policy_allows_is_refused_in_the_handshake() {
    let replace = |root: &std::path::Path, from: &str, to: &str| {
        let path = root.join("policies/trust.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let node = Node::start_with(|root| replace(root, "max-depth = 3", "max-depth = 1")).await;
    let (key, validity) = (
        certs::development::KeyType::EcdsaP256,
        certs::development::Validity::days(time::OffsetDateTime::now_utc(), 9),
    );
    let subject = |name| certs::development::Subject::german("Test", name);
    let issuing = node.pki.root.issuing(&subject("Issuing CA"), key, validity).unwrap();
    let deep = issuing.issue_organization(&subject("deep.example"), &["deep.example"], key, validity).unwrap();
    node.publish(2, &[(LOCAL, node.pki.local.certificate()), (REMOTE, deep.certificate())]).await;
    let head = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&node));
    assert_eq!(node.send(&node.pki.local, &head).await.unwrap().status, 200);
    let mut stream = node.connect(&deep).await;
    assert!(exchange(&mut stream, &head).await.is_none(), "two authorities stand above it");
    // And a reload that allows one more is in force for the next connection.
    replace(&node.path(""), "max-depth = 1", "max-depth = 2");
    node.signal(Signal::HUP);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = node.connect(&deep).await;
        if exchange(&mut stream, &head).await.is_some_and(|answer| answer.status == 200) {
            break;
        }
        assert!(Instant::now() < end, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_queries_are_recorded_only_if_the_policy_says_so() {
    for wanted in [false, true] {
        let node = Node::start_with(|root| {
            let path = root.join("policies/audit.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace("log-query-values = false", &format!("log-query-values = {wanted}")))
                .unwrap();
        })
        .await;
        // One that is permitted, one that has no canonical form, one of a stranger.
        node.get(&node.pki.remote, "/fhir/Patient?family=Permitted").await;
        node.get(&node.pki.remote, "/fhir/Patient?family=Malformed&x=%00").await;
        node.get(&node.pki.stranger, "/fhir/Patient?family=Stranger").await;
        let records = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
        for value in ["Permitted", "Malformed", "Stranger"] {
            assert_eq!(records.contains(value), wanted, "{value}: {records}");
        }
        assert_eq!(records.matches("/Patient?family").count(), 3, "{records}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_does_not_fill_the_audit_log() {
    let node = Node::start().await;
    for _ in 0..80 {
        assert_eq!(node.get(&node.pki.stranger, "/fhir/metadata").await.status, 403);
    }
    let count = |text: &str| {
        let records = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
        records.matches(text).count()
    };
    let written = count("GW-IDENT-003");
    assert!((20..60).contains(&written), "{written}");
    // Partners are recorded one by one.
    for _ in 0..80 {
        assert_eq!(node.get(&node.pki.remote, "/fhir/nothing").await.status, 404);
    }
    assert_eq!(count("\"status\":404"), 80);
    assert!(node.metric("schleuse_audit_left_out_total").await.unwrap() >= 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_of_a_partner_and_a_change_of_the_allow_list_are_recorded_under_their_names() {
    let node = Node::start().await;
    let smuggled =
        format!("POST /fhir/Task HTTP/1.1\r\n{}Content-Length: 5\r\nContent-Length: 6\r\n\r\n", fields(&node));
    assert_eq!(node.send(&node.pki.remote, smuggled).await.unwrap().status, 400);
    node.publish(2, &[(LOCAL, node.pki.local.certificate())]).await;
    let records = std::fs::read_to_string(node.path("audit/gateway.log")).unwrap();
    let refused = records.lines().find(|line| line.contains("GW-HEAD-011")).unwrap();
    assert!(refused.contains(&format!("\"name\":\"{REMOTE}\"")), "{refused}");
    assert!(records.contains("\"event\":\"allow-list\"") && records.contains("version 2 after 1"), "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_xml_are_bounded_by_the_policy() {
    let node = Node::start().await;
    let attributes: String = (0..65).map(|number| format!(" a{number}=''")).collect();
    let body = format!(
        "<Patient xmlns=\"http://hl7.org/fhir\"><text><status value=\"generated\"/>\
         <div xmlns=\"http://www.w3.org/1999/xhtml\"><p{attributes}>x</p></div></text></Patient>"
    );
    let answer = node.with_body(&node.pki.local, "POST /fhir/Patient", "application/fhir+xml", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}
