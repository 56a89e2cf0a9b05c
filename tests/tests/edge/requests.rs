//! Paths, methods, hosts, and what every answer carries.

use std::time::Duration;

use tests::client::JSON;
use tests::{Answer, shared, until};
use uuid::Uuid;

use super::{fields, never_reached_the_engine, remote};

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
