//! TLS: versions, keys, resumption, and the protocol above it.

use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tests::{search, shared, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{fields, remote, with_version};

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
    client_hello(minor, &[0xc0, 0x13, 0xc0, 0x09, 0xc0, 0x14, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35])
}

/// A hello of version 3.`minor` with these suites and no others.
pub(super) fn client_hello(minor: u8, suites: &[u8]) -> Vec<u8> {
    let server_name = [&[0, 0, 0, 14, 0, 12, 0, 0, 9], b"localhost".as_slice()].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let points = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1];
    let extensions = [server_name.as_slice(), &groups, &points, &signatures].concat();
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, suites.len() as u8]);
    hello.extend_from_slice(suites);
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
