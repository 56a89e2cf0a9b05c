use std::time::Duration;

use bytes::Bytes;
use certs::development::{Authority, KeyType, Subject, Validity};
use http_body_util::Full;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::harness::{Node, PKI, ServerOptions, TrustedClients, answer, outbound, serve, serve_with, validity};
use crate::{Client, ClientError, Denial, OutboundPolicy, Phase, Retry};

const TASK: &str = r#"{"resourceType":"Task"}"#;

async fn read(client: &Client, base_url: &str) -> ClientError {
    let error = client.read(base_url, "Task", "1", "c").await.unwrap_err();
    assert!(!error.remedy().is_empty() && !error.short().is_empty() && !error.to_string().contains('\n'));
    error
}

fn tls_code(error: &ClientError) -> String {
    assert_eq!(error.topic(), Some("error-ssl"));
    assert_eq!(error.retry(), Retry::Never, "{error}");
    let ClientError::Tls { failure, .. } = error else { panic!("{error}") };
    failure.code()
}

fn stranger() -> Authority {
    Authority::root(&Subject::german("Other", "Other Root"), KeyType::EcdsaP256, validity()).unwrap()
}

#[tokio::test]
async fn a_closed_port_is_connection_refused_and_may_be_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = read(&Node::new().client(), &format!("https://localhost:{port}/fhir")).await;
    assert!(matches!(error, ClientError::ConnectionRefused { .. }), "{error}");
    assert_eq!((error.topic(), error.short().as_str()), (Some("connection-refused"), "connection refused"));
    assert!(matches!(error.retry(), Retry::After(_)));
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let error = read(&Node::new().client(), "https://no-such-host.invalid/fhir").await;
    if matches!(error, ClientError::ConnectTimeout { phase: Phase::Resolve, .. }) {
        println!("skipped: the name server of this machine does not answer");
        return;
    }
    assert!(matches!(&error, ClientError::UnknownHost { host, .. } if host == "no-such-host.invalid"), "{error}");
    assert_eq!(error.topic(), Some("unknown-host"));
    assert!(matches!(error.retry(), Retry::After(_)));
}

#[tokio::test]
async fn a_host_that_drops_packets_is_a_connect_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // A full accept queue answers no further SYN.
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        held.push(stream);
        assert!(held.len() < 100);
    }
    let client = client_with(Duration::from_millis(400), Duration::from_secs(5));
    let error = read(&client, &format!("https://localhost:{}/fhir", address.port())).await;
    assert!(matches!(error, ClientError::ConnectTimeout { phase: Phase::Connect, .. }), "{error}");
    assert_eq!(error.topic(), Some("connection-timeout"));
    assert!(matches!(error.retry(), Retry::After(_)));
}

fn client_with(connect_timeout: Duration, read_timeout: Duration) -> Client {
    let node = Node::new();
    let mut settings = node.settings();
    settings.connect_timeout = connect_timeout;
    settings.read_timeout = read_timeout;
    Client::new(settings).unwrap()
}

#[tokio::test]
async fn a_server_that_never_speaks_tls_is_a_timeout_of_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client_with(Duration::from_millis(300), Duration::from_secs(5));
    let error = read(&client, &format!("https://localhost:{port}/fhir")).await;
    assert!(matches!(error, ClientError::ConnectTimeout { phase: Phase::Tls, .. }), "{error}");
}

#[tokio::test]
async fn a_slow_answer_is_a_read_timeout_that_is_not_repeated() {
    let server =
        serve_with(ServerOptions { delay: Duration::from_secs(20), ..ServerOptions::default() }, |_| answer(200, TASK))
            .await;
    let client = client_with(Duration::from_secs(5), Duration::from_millis(300));
    let error = read(&client, &server.base_url()).await;
    assert!(matches!(error, ClientError::ReadTimeout { .. }), "{error}");
    assert_eq!((error.topic(), error.retry()), (Some("read-timeout"), Retry::Never));
    assert!(error.is_outcome_unknown());
}

#[tokio::test]
async fn servers_with_wrong_certificates_are_refused_with_the_reason() {
    let now = OffsetDateTime::now_utc();
    let other = stranger();
    let subject = Subject::german("Server", "localhost");
    let unknown = other.issue_server(&subject, &[], KeyType::EcdsaP256, validity()).unwrap();
    let past = Validity { not_before: now - time::Duration::days(20), not_after: now - time::Duration::days(1) };
    let expired = PKI.authority.issue_server(&subject, &[], KeyType::EcdsaP256, past).unwrap();
    let future = Validity { not_before: now + time::Duration::days(1), not_after: now + time::Duration::days(9) };
    let early = PKI.authority.issue_server(&subject, &[], KeyType::EcdsaP256, future).unwrap();
    let client = Node::new().client();
    for (issued, expected) in
        [(&unknown, "unknown-issuer"), (&expired, "expired"), (&early, "not-yet-valid"), (&PKI.client, "wrong-purpose")]
    {
        let options = ServerOptions {
            chain: issued.chain_pem(),
            key: issued.private_key_pem().to_owned(),
            ..ServerOptions::default()
        };
        let server = serve_with(options, |_| answer(200, TASK)).await;
        assert_eq!(tls_code(&read(&client, &server.base_url()).await), expected);
    }
    let server = serve(|_| answer(200, TASK)).await;
    let node = Node::new();
    let mut settings = node.settings();
    settings.outbound.private_hosts.push("127.0.0.2".to_owned());
    let client = Client::new(settings).unwrap();
    let proxied = TcpListener::bind(("127.0.0.2", 0)).await.unwrap();
    let (address, to) = (proxied.local_addr().unwrap(), server.address);
    tokio::spawn(async move {
        let (mut inbound, _) = proxied.accept().await.unwrap();
        let mut outbound = TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
    });
    assert_eq!(tls_code(&read(&client, &format!("https://{address}/fhir")).await), "wrong-name");
}

#[tokio::test]
async fn a_partner_that_refuses_our_certificate_is_told_from_a_network_failure() {
    for versions in [vec![&rustls::version::TLS13], vec![&rustls::version::TLS12]] {
        let options = ServerOptions {
            demand_certificate: Some(TrustedClients::of(&stranger())),
            versions: versions.clone(),
            ..ServerOptions::default()
        };
        let server = serve_with(options, |_| answer(200, TASK)).await;
        let node = Node::new();
        for _ in 0..20 {
            // A new client each time: no connection of the call before.
            assert_eq!(tls_code(&read(&node.client(), &server.base_url()).await), "peer-unknown-issuer");
            // A long body is still being written when the refusal arrives.
            let mut task = fhir::Resource::new("Task");
            task.set("description", "x".repeat(3_000_000).as_str());
            let error = node.client().create_task(&server.base_url(), &task, None, "c").await.unwrap_err();
            assert_eq!(tls_code(&error), "peer-unknown-issuer");
        }
        let mut settings = node.settings();
        settings.identity = None;
        let anonymous = Client::new(settings).unwrap();
        assert_eq!(tls_code(&read(&anonymous, &server.base_url()).await), "peer-no-certificate");
        assert_eq!(server.count(), 0);
    }
}

#[tokio::test]
async fn plain_http_behind_an_https_address_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0_u8; 512]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = read(&Node::new().client(), &format!("https://localhost:{port}/fhir")).await;
    assert_eq!(tls_code(&error), "not-tls");
}

#[tokio::test]
async fn a_refusal_carries_the_text_of_the_operation_outcome_bounded_and_printable() {
    let server = serve(|request| match request.uri.path() {
        "/fhir/Task/1" => answer(403, r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","diagnostics":"not\npermitted"},{"severity":"error","code":"processing","details":{"text":"second"}}]}"#),
        "/fhir/Task/2" => answer(403, ""),
        "/fhir/Task/3" => http::Response::builder().status(502).header("Content-Type", "text/html").body(Full::new(Bytes::from("<html>"))).unwrap(),
        "/fhir/Task/4" => http::Response::builder().status(302).header("Location", "https://evil.example/").body(Full::default()).unwrap(),
        "/fhir/Task/5" => http::Response::builder().status(503).header("Retry-After", "17").body(Full::default()).unwrap(),
        _ => answer(403, &format!(r#"{{"resourceType":"OperationOutcome","issue":[{{"code":"forbidden","diagnostics":"{}"}}]}}"#, "x".repeat(5000))),
    })
    .await;
    let client = Node::new().client();
    let cases = [
        ("1", 403, "forbidden: not permitted; processing: second", Retry::Never),
        ("2", 403, "no OperationOutcome (empty body)", Retry::Never),
        ("3", 502, "no OperationOutcome (text/html)", Retry::After(Duration::from_secs(5))),
        ("4", 302, "redirect to https://evil.example/", Retry::Never),
        ("5", 503, "no OperationOutcome (empty body)", Retry::After(Duration::from_secs(17))),
    ];
    for (id, expected_status, expected, retry) in cases {
        let error = client.read(&server.base_url(), "Task", id, "c").await.unwrap_err();
        let ClientError::Http { status, outcome, .. } = &error else { panic!("{error}") };
        assert_eq!(
            (*status, outcome.as_str(), error.retry(), error.topic()),
            (expected_status, expected, retry, Some("error-http"))
        );
    }
    let long = client.read(&server.base_url(), "Task", "6", "c").await.unwrap_err();
    assert!(long.to_string().len() < 1200, "{long}");
    assert_eq!(server.count(), 6, "no redirect was followed, nothing repeated");
}

#[tokio::test]
async fn answers_that_are_too_large_or_no_fhir_are_invalid() {
    let server = serve(|request| match request.uri.path() {
        "/fhir/Task/big" => {
            answer(200, &format!(r#"{{"resourceType":"Task","description":"{}"}}"#, "x".repeat(100_000)))
        }
        "/fhir/Task/text" => http::Response::new(Full::new(Bytes::from("hello"))),
        "/fhir/Task/other" => answer(200, r#"{"resourceType":"Binary"}"#),
        "/fhir/Task/bigerror" => answer(500, &"x".repeat(crate::limits::ERROR_BYTES + 1)),
        _ => answer(200, "{\"resourceType\":\"Task\",\"resourceType\":\"Task\"}"),
    })
    .await;
    let node = Node::new();
    let mut settings = node.settings();
    settings.answer_bytes = 50_000;
    let client = Client::new(settings).unwrap();
    for id in ["big", "text", "other", "double"] {
        let error = client.read(&server.base_url(), "Task", id, "c").await.unwrap_err();
        assert!(matches!(error, ClientError::InvalidAnswer { .. }), "{id}: {error}");
        assert_eq!(error.retry(), Retry::Never);
    }
    let error = client.read(&server.base_url(), "Task", "bigerror", "c").await.unwrap_err();
    assert_eq!(error.status(), Some(500));
}

#[tokio::test]
async fn private_addresses_are_refused_before_anything_is_sent() {
    let server = serve(|_| answer(200, TASK)).await;
    let node = Node::new();
    let mut settings = node.settings();
    settings.outbound = OutboundPolicy { private_hosts: Vec::new(), ..outbound() };
    let client = Client::new(settings).unwrap();
    let port = server.address.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let error = read(&client, &format!("https://{host}:{port}/fhir")).await;
        assert!(
            matches!(error, ClientError::NotAllowed { denial: Denial::PrivateAddress { .. }, .. }),
            "{host}: {error}"
        );
        assert_eq!(error.retry(), Retry::Never);
    }
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_may_be_repeated_only_if_the_request_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0_u8; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
            });
        }
    });
    let node = Node::new();
    let mut settings = node.settings();
    let base = format!("http://localhost:{port}/fhir");
    settings.outbound.extra = vec![base.clone()];
    let client = Client::new(settings).unwrap();
    let task = fhir::Resource::new("Task");
    for (result, is_repeatable) in [
        (client.read(&base, "Task", "1", "c").await.map(|_| ()), true),
        (client.create_task(&base, &task, None, "c").await.map(|_| ()), false),
        (client.create_task(&base, &task, Some(("s", "v")), "c").await.map(|_| ()), true),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, ClientError::ConnectionLost { .. }), "{error}");
        assert_eq!(matches!(error.retry(), Retry::After(_)), is_repeatable);
        assert!(error.is_outcome_unknown());
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_long_body_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0_u8; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        }
    });
    let node = Node::new();
    let mut settings = node.settings();
    let base = format!("http://localhost:{port}/fhir");
    settings.outbound.extra = vec![base.clone()];
    let mut task = fhir::Resource::new("Task");
    task.set("description", "x".repeat(5_000_000).as_str());
    for _ in 0..20 {
        let error = Client::new(settings.clone()).unwrap().create_task(&base, &task, None, "c").await.unwrap_err();
        assert_eq!(error.status(), Some(413), "{error}");
    }
}
