use std::sync::Arc;
use std::sync::atomic::Ordering;

use fhir::Resource;

use super::harness::{Node, PKI, ServerOptions, TrustedClients, answer, outbound, serve, serve_with};
use crate::{Client, ClientError, Created, Denial, Method, OutboundMode, OutboundPolicy, Request, Search};

fn task() -> Resource {
    let mut task = Resource::new("Task");
    task.set("status", "requested");
    task
}

fn at(mut response: super::harness::Response, url: &str) -> super::harness::Response {
    response.headers_mut().insert("Location", url.parse().unwrap());
    response
}

#[tokio::test]
async fn a_task_is_created_once_and_found_the_second_time() {
    let server = serve(|request| {
        let known = request.headers.get("x-correlation-id").is_some_and(|id| id == "second");
        at(answer(if known { 200 } else { 201 }, ""), "https://localhost/fhir/Task/9a1f/_history/1")
    })
    .await;
    let client = Node::new().client();
    let identifier = Some(("urn:ietf:rfc:3986", "urn:uuid:0d1c"));
    let created = client.create_task(&server.base_url(), &task(), identifier, "first").await.unwrap();
    let Created::New { location: Some(location) } = created else { panic!("{created:?}") };
    assert_eq!((location.id.as_str(), location.version.as_deref()), ("9a1f", Some("1")));
    let request = server.last();
    let header = |name: &str| request.headers.get(name).unwrap().to_str().unwrap();
    assert_eq!((request.method.as_str(), request.uri.path()), ("POST", "/fhir/Task"));
    assert_eq!(header("prefer"), "return=minimal");
    assert_eq!(header("accept"), "application/fhir+json");
    assert_eq!(header("content-type"), "application/fhir+json; charset=utf-8");
    assert_eq!(header("if-none-exist"), "identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A0d1c");
    assert_eq!(header("host"), format!("localhost:{}", server.address.port()));
    assert_eq!(&request.body[..], br#"{"resourceType":"Task","status":"requested"}"#);
    let again = client.create_task(&server.base_url(), &task(), identifier, "second").await.unwrap();
    assert!(matches!(again, Created::AlreadyExists { location: Some(_) }));
    let plain = client.create_task(&server.base_url(), &task(), None, "second").await;
    assert!(matches!(plain, Err(ClientError::InvalidAnswer { .. })), "200 to an unconditional create is no creation");
}

#[tokio::test]
async fn one_connection_carries_many_calls_in_http_1_and_2() {
    for (alpn, version) in [("http/1.1", http::Version::HTTP_11), ("h2", http::Version::HTTP_2)] {
        let server = serve_with(ServerOptions { alpn: vec![alpn], ..ServerOptions::default() }, |_| {
            answer(200, r#"{"resourceType":"Task"}"#)
        })
        .await;
        let client = Node::new().client();
        for _ in 0..20 {
            client.read(&server.base_url(), "Task", "1", "c").await.unwrap();
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{alpn}");
        assert_eq!(server.last().version, version);
        assert_eq!(server.last().uri.path(), "/fhir/Task/1");
    }
}

#[tokio::test]
async fn tls_1_2_works_with_a_client_certificate() {
    let options = ServerOptions { versions: vec![&rustls::version::TLS12], ..ServerOptions::default() };
    let server = serve_with(options, |_| answer(200, r#"{"resourceType":"CapabilityStatement"}"#)).await;
    Node::new().client().metadata(&server.base_url(), "c").await.unwrap();
}

#[tokio::test]
async fn a_search_is_strict_and_follows_its_pages() {
    let server = serve(|request| {
        let page = request.uri.query().is_some_and(|query| query.contains("_page=2"));
        let host = request.headers.get("host").unwrap().to_str().unwrap();
        let next = if page {
            String::new()
        } else {
            format!(r#"{{"relation":"next","url":"https://{host}/fhir/Task?status=requested&_page=2"}}"#)
        };
        let id = if page { "b" } else { "a" };
        let entries = format!(
            r#"[{{"resource":{{"resourceType":"Task","id":"{id}"}},"search":{{"mode":"match"}}}},
               {{"resource":{{"resourceType":"Organization","id":"o"}},"search":{{"mode":"include"}}}},
               {{"resource":{{"resourceType":"OperationOutcome"}},"search":{{"mode":"outcome"}}}}]"#
        );
        answer(
            200,
            &format!(r#"{{"resourceType":"Bundle","type":"searchset","link":[{next}],"entry":{entries}}}"#)
                .replace("\"link\":[],", ""),
        )
    })
    .await;
    let client = Node::new().client();
    let search =
        Search { resource_type: "Task", parameters: &[("status", "requested"), ("x", "a b|c&d")], maximum: 10 };
    let found = client.search(&server.base_url(), search, "c").await.unwrap();
    let ids: Vec<_> = found.iter().map(|found| (found.resource.id().unwrap(), found.is_match)).collect();
    assert_eq!(ids, [("a", true), ("o", false), ("b", true), ("o", false)]);
    let first = server.arrived.lock().unwrap()[0].clone();
    assert_eq!(first.uri.query(), Some("status=requested&x=a+b%7Cc%26d"));
    assert_eq!(first.headers.get("prefer").unwrap(), "handling=strict");
    let few = client.search(&server.base_url(), Search { maximum: 3, ..search }, "c").await;
    assert!(matches!(few, Err(ClientError::InvalidAnswer { .. })));
}

#[tokio::test]
async fn a_next_page_elsewhere_is_refused() {
    let elsewhere = r#"{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"https://evil.example/fhir/Task?p=2"}]}"#;
    let server = serve(move |_| answer(200, elsewhere)).await;
    let search = Search { resource_type: "Task", parameters: &[], maximum: 10 };
    let error = Node::new().client().search(&server.base_url(), search, "c").await.unwrap_err();
    assert!(matches!(error, ClientError::InvalidAnswer { .. }), "{error}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn only_active_endpoints_are_called_and_withdrawal_acts_at_once() {
    let server = serve(|_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let node = Node::new();
    let listed = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (base, flag) = (server.base_url(), Arc::clone(&listed));
    let endpoints = Arc::new(move |url: &str| url == base && flag.load(Ordering::SeqCst));
    let mut settings = node.settings();
    settings.outbound = OutboundPolicy {
        mode: OutboundMode::AllowListEndpoints,
        endpoints,
        partner_methods: vec![Method::Get],
        ..outbound()
    };
    let client = Client::new(settings).unwrap();
    client.read(&server.base_url(), "Task", "1", "c").await.unwrap();
    let other = client.read(&format!("{}/other", server.base_url()), "Task", "1", "c").await.unwrap_err();
    assert!(matches!(other, ClientError::NotAllowed { denial: Denial::NotListed, .. }));
    let method = client.create_task(&server.base_url(), &task(), None, "c").await.unwrap_err();
    assert!(matches!(method, ClientError::NotAllowed { denial: Denial::Method { .. }, .. }));
    listed.store(false, Ordering::SeqCst);
    let withdrawn = client.read(&server.base_url(), "Task", "1", "c").await.unwrap_err();
    assert!(matches!(withdrawn, ClientError::NotAllowed { denial: Denial::NotListed, .. }));
    assert_eq!(server.count(), 1, "nothing else was sent");
}

#[tokio::test]
async fn a_reload_shows_the_new_certificate_and_an_invalid_one_changes_nothing() {
    let other = certs::development::Authority::root(
        &certs::development::Subject::german("Other", "Other Root"),
        certs::development::KeyType::EcdsaP256,
        super::harness::validity(),
    )
    .unwrap();
    let renewed = other
        .issue_organization(
            &certs::development::Subject::german("Client", "client.example"),
            &[],
            certs::development::KeyType::EcdsaP256,
            super::harness::validity(),
        )
        .unwrap();
    let options = ServerOptions { demand_certificate: Some(TrustedClients::of(&other)), ..ServerOptions::default() };
    let server = serve_with(options, |_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let node = Node::new();
    let client = node.client();
    client.read(&server.base_url(), "Task", "1", "c").await.unwrap_err();
    node.write("client.pem", &renewed.chain_pem());
    client.reload(node.settings()).unwrap_err();
    node.write("client.key", renewed.private_key_pem());
    client.reload(node.settings()).unwrap();
    client.read(&server.base_url(), "Task", "1", "c").await.unwrap();
    node.write("ca.pem", "");
    let error = client.reload(node.settings()).unwrap_err();
    assert!(!error.remedy().is_empty());
    client.read(&server.base_url(), "Task", "1", "c").await.unwrap();
}

#[tokio::test]
async fn requests_that_cannot_be_expressed_are_not_sent() {
    let server = serve(|_| answer(200, r#"{"resourceType":"Task"}"#)).await;
    let client = Node::new().client();
    let base = server.base_url();
    for id in ["", "../1", "a b", &"x".repeat(65)] {
        assert!(matches!(client.read(&base, "Task", id, "c").await, Err(ClientError::InvalidRequest { .. })));
    }
    assert!(matches!(client.read(&base, "Task/1/x", "1", "c").await, Err(ClientError::InvalidRequest { .. })));
    assert!(matches!(client.read(&base, "Task", "1", "a\r\nb: c").await, Err(ClientError::InvalidRequest { .. })));
    let outside = client.request(Request::new(Method::Get, &base, "../admin", "c")).await;
    assert!(matches!(outside, Err(ClientError::NotAllowed { denial: Denial::InvalidUrl { .. }, .. })));
    assert_eq!(server.count(), 0);
    assert!(PKI.client.certificate().names_client_auth());
}
