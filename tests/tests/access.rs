//! Who gets in, and what they can do: organisations, persons, strangers, and those who pretend.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use http::HeaderMap;
use serde_json::{Value, json};
use tests::client::{JSON, XML};
use tests::network::{Network, Node};
use tests::{Answer, Client, Pair, search, shared, tasks, until, websocket};
use uuid::Uuid;

/// Every field by which a program behind a gateway of another kind would learn who asks, with values that lie.
fn lies(network: &Network, victim: &Node) -> Vec<(String, String)> {
    let pem = std::fs::read_to_string(&victim.organization.certificate).unwrap();
    let escaped = pem.replace('\n', "%0A").replace(' ', "%20");
    let one_line = pem.replace('\n', " ");
    let certificates = certs::read_certificates(pem.as_bytes(), "victim").unwrap();
    let thumbprint = certificates[0].thumbprint();
    let permit = json!({
        "identity": { "local": { "identifier": victim.organization_identifier, "thumbprint": thumbprint } },
        "interaction": "update", "rule": "local-all", "correlation-id": Uuid::nil(),
    });
    let root = network.root().display().to_string();
    [
        ("X-ClientCert", one_line.as_str()),
        ("x-clientcert", escaped.as_str()),
        ("X-ClientCert", thumbprint),
        ("X-SSL-Client-Cert", &escaped),
        ("X-Forwarded-Client-Cert", &escaped),
        ("SSL_CLIENT_CERT", &escaped),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "evil.example:10000"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-User", &victim.organization_identifier),
        ("Forwarded", "for=127.0.0.1;host=evil.example;proto=http"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Proxied-Https", "on"),
        ("X-Original-URL", "/fhir/Subscription"),
        ("X-Rewrite-URL", "/fhir/Subscription"),
        ("Proxy", "http://evil.example"),
        ("x-schleuse-permit", &permit.to_string()),
        ("X-Schleuse-Permit", &root),
        ("X-Correlation-Id", "00000000-0000-0000-0000-000000000000"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "PUT"),
        ("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
        ("Cookie", "identity=local"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn known_fields_only(headers: &HeaderMap) {
    let known = [
        "content-length",
        "x-correlation-id",
        "strict-transport-security",
        "x-content-type-options",
        "date",
        "connection",
    ];
    for name in headers.keys() {
        assert!(known.contains(&name.as_str()), "a stranger learns {name}");
    }
}

/// An answer that tells a stranger nothing.
fn tells_nothing(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (403, 0), "{}", answer.text());
    known_fields_only(&answer.headers);
}

/// Whether the connection was refused in the handshake or right after it, without one byte of HTTP.
async fn is_refused_by_tls(client: &Client) -> bool {
    client.try_send("GET", "/metadata", &[("accept", JSON)], "").await.is_err()
}

/// Whether the node's engine has heard of a request.
fn engine_knows(node: &Node, what: &str) -> bool {
    node.text("audit/engine.log").contains(what) || node.text("log/engine.log").contains(what)
}

#[tokio::test]
async fn every_organization_reads_metadata_on_every_node() {
    let network = shared();
    for node in network.nodes() {
        for visitor in network.nodes() {
            let client = network.client(&node, Some(&visitor.organization));
            let metadata = client.get("/metadata").await.expect(200);
            assert_eq!(metadata.field("content-type").unwrap().split(';').next(), Some(JSON));
            let statement = metadata.json();
            assert_eq!(statement["resourceType"], "CapabilityStatement", "{} at {}", visitor.name, node.name);
            assert_eq!(statement["fhirVersion"], "4.0.1");
        }
    }
}

#[tokio::test]
async fn stranger_gets_an_empty_403_everywhere() {
    let network = shared();
    let task = tasks::start_ping("stranger.example").to_string();
    for node in network.nodes() {
        let stranger = network.stranger(&node.name);
        for (method, target) in [
            ("GET", "/metadata"),
            ("GET", "/Organization"),
            ("GET", "/Task/1"),
            ("GET", "/no-such-thing"),
            ("GET", "/ws"),
            ("HEAD", "/metadata"),
            ("POST", "/Task"),
            ("POST", ""),
            ("PUT", "/Organization/1"),
            ("DELETE", "/Organization/1"),
        ] {
            let body = if method.starts_with('P') { task.clone() } else { String::new() };
            let answer = stranger.send(method, target, &[("accept", JSON), ("content-type", JSON)], body).await;
            tells_nothing(&answer);
        }
        assert_eq!(websocket::open(&stranger).await.err(), Some(403));
    }
}

#[tokio::test]
async fn certificates_of_others_and_no_certificate_end_in_the_handshake() {
    use certs::development::{Authority, KeyType, Subject, Validity};
    let network = shared();
    let folder = tests::network::folder();
    let now = time::OffsetDateTime::now_utc();
    let (key, validity) = (KeyType::EcdsaP256, Validity::days(now, 30));
    let own_chain = std::fs::read_to_string(network.authority().join("ca.pem")).unwrap();
    let own_key = std::fs::read_to_string(network.authority().join("ca.key")).unwrap();
    let own = Authority::from_pem(&own_chain, &own_key, "authority").unwrap();
    // Same names as the network's authority, another key.
    let twin =
        Authority::root(&Subject::german("Schleuse demonstration", "Demonstration Authority"), key, validity).unwrap();
    let portal = Subject::german("portal.example", "portal.example");
    let past = Validity { not_before: now - time::Duration::days(10), not_after: now - time::Duration::hours(1) };
    let future = Validity { not_before: now + time::Duration::days(1), not_after: now + time::Duration::days(10) };
    let cases = [
        ("twin", twin.issue_organization(&portal, &[], key, validity).unwrap()),
        ("expired", own.issue_organization(&portal, &[], key, past).unwrap()),
        ("not-yet-valid", own.issue_organization(&portal, &[], key, future).unwrap()),
        ("server", own.issue_server(&portal, &["localhost"], key, validity).unwrap()),
    ];
    for node in network.nodes() {
        assert!(is_refused_by_tls(&network.client(&node, None)).await, "no certificate at {}", node.name);
        for (name, issued) in &cases {
            let pair = Pair::write(folder.path(), name, issued);
            assert!(is_refused_by_tls(&network.client(&node, Some(&pair))).await, "{name} at {}", node.name);
        }
    }
    // The name of a listed organisation in a certificate that is not listed makes a stranger.
    let namesake = own.issue_organization(&portal, &[], key, validity).unwrap();
    let pair = Pair::write(folder.path(), "namesake", &namesake);
    tells_nothing(&network.client(&network.node("portal"), Some(&pair)).get("/metadata").await);
}

#[tokio::test]
async fn attack_a01_a02_fields_of_a_client_give_no_identity() {
    let network = shared();
    let portal = network.node("portal");
    let (local, remote) = (network.organization("portal", "portal"), network.organization("dic-1", "portal"));
    // Subscriptions are for the local organisation's eyes only.
    let seen_by_local = search::total(&local, "Subscription", "").await;
    assert!(seen_by_local > 0);
    assert_eq!(search::total(&remote, "Subscription", "").await, 0);
    let own =
        search::all(&remote, "Organization", "identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example")
            .await;
    let organization = &own[0];
    let target = format!("/Organization/{}", organization["id"].as_str().unwrap());
    let (authority, stranger) = (remote.authority(), network.stranger("portal"));
    for (name, value) in lies(network, &portal) {
        let head = |method: &str, path: &str, length: usize| {
            format!(
                "{method} /fhir{path} HTTP/1.1\r\nHost: {authority}\r\nAccept: {JSON}\r\nContent-Type: {JSON}\r\n{name}: {value}\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        let allowed: &[u16] = if name.contains('_') { &[400] } else { &[200] };
        let answer = remote.send_raw(head("GET", "/Subscription", 0)).await.unwrap_or_else(|| panic!("{name}"));
        assert!(allowed.contains(&answer.status), "{name}: {}", answer.status);
        if answer.status == 200 {
            assert_eq!(answer.json()["total"], 0, "{name}");
        }
        let body = organization.to_string();
        let write = format!("{}{body}", head("PUT", &target, body.len()));
        let answer = remote.send_raw(write).await.unwrap_or_else(|| panic!("{name}"));
        assert!([400, 403].contains(&answer.status), "{name}: {}", answer.status);
        let answer = stranger.send_raw(head("GET", "/metadata", 0)).await.unwrap_or_else(|| panic!("{name}"));
        if name.contains('_') {
            assert!([400, 403].contains(&answer.status) && answer.body.is_empty(), "{name}");
        } else {
            tells_nothing(&answer);
        }
    }
    // Naming the gateway's own field for removal does not make a request arrive without identity.
    for nominated in ["x-schleuse-permit", "X-ClientCert, x-schleuse-permit", "x-correlation-id"] {
        let request = format!(
            "GET /fhir/Subscription HTTP/1.1\r\nHost: {authority}\r\nAccept: {JSON}\r\nConnection: close, {nominated}\r\n\r\n"
        );
        let answer = remote.send_raw(request).await.unwrap().expect(200);
        assert_eq!(answer.json()["total"], 0, "{nominated}");
    }
    let after =
        search::all(&remote, "Organization", "identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example")
            .await;
    assert_eq!(after[0]["meta"]["versionId"], organization["meta"]["versionId"], "nothing was written");
}

#[tokio::test]
async fn attack_a01_fields_with_an_underscore_are_refused() {
    let remote = shared().organization("dic-1", "portal");
    let authority = remote.authority();
    for name in ["X_ClientCert", "x_clientcert", "X_Forwarded_For", "x_schleuse_permit", "x-schleuse_permit"] {
        let request = format!("GET /fhir/metadata HTTP/1.1\r\nHost: {authority}\r\n{name}: x\r\n\r\n");
        assert_eq!(remote.send_raw(request).await.unwrap().status, 400, "{name}");
    }
    for name in ["X-ClientCert ", " X-ClientCert", "X-ClientCert\t"] {
        let request = format!("GET /fhir/metadata HTTP/1.1\r\nHost: {authority}\r\n{name}: x\r\n\r\n");
        assert_eq!(remote.send_raw(request).await.unwrap().status, 400, "{name:?}");
    }
}

#[tokio::test]
async fn remote_writes_and_websockets_are_refused_at_the_gateway_and_the_engine_never_hears_of_them() {
    let network = shared();
    let portal = network.node("portal");
    let remote = network.organization("dic-1", "portal");
    let marker = Uuid::new_v4().to_string();
    let organization = json!({ "resourceType": "Organization", "id": marker, "active": true });
    let entry =
        |method: &str, url: String| json!({ "resource": organization, "request": { "method": method, "url": url } });
    let bundle =
        |kind: &str, entry: Value| json!({ "resourceType": "Bundle", "type": kind, "entry": [entry] }).to_string();
    let patch = json!({ "resourceType": "Parameters" }).to_string();
    let cases = [
        ("PUT", format!("/Organization/{marker}"), organization.to_string(), 403),
        ("PUT", format!("/Organization?identifier={marker}"), organization.to_string(), 403),
        ("PUT", format!("/Task/{marker}"), json!({ "resourceType": "Task", "id": marker }).to_string(), 403),
        ("POST", "/Organization".to_owned(), organization.to_string(), 403),
        ("POST", "/Subscription".to_owned(), json!({ "resourceType": "Subscription", "id": marker }).to_string(), 403),
        ("POST", "/Binary".to_owned(), json!({ "resourceType": "Binary", "id": marker }).to_string(), 403),
        ("DELETE", format!("/Organization/{marker}"), String::new(), 403),
        ("DELETE", format!("/Task?identifier={marker}"), String::new(), 403),
        ("POST", format!("/Task/{marker}/$permanent-delete"), String::new(), 403),
        ("PATCH", format!("/Organization/{marker}"), patch, 405),
        ("GET", "/ws".to_owned(), String::new(), 400),
        ("POST", String::new(), bundle("transaction", entry("PUT", format!("Organization/{marker}"))), 403),
        ("POST", String::new(), bundle("batch", entry("POST", "Organization".to_owned())), 403),
        (
            "POST",
            String::new(),
            bundle("batch", json!({ "request": { "method": "DELETE", "url": format!("Organization/{marker}") } })),
            403,
        ),
    ];
    let mut correlations = Vec::new();
    for (method, target, body, status) in cases {
        let answer = remote.send(method, &target, &[("accept", JSON), ("content-type", JSON)], body).await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.outcome_codes(), ["forbidden"], "{method} {target}");
        }
        correlations.push(answer.field("x-correlation-id").expect("a correlation id").to_owned());
    }
    // A complete WebSocket handshake is refused before the 101.
    assert_eq!(websocket::open(&remote).await.err(), Some(403));
    // A read for comparison: what is permitted reaches the engine and is found in its records.
    let read = remote.get(&format!("/Task?identifier={marker}")).await.expect(200);
    let permitted = read.field("x-correlation-id").unwrap().to_owned();
    until("the engine's record of the read", std::time::Duration::from_secs(20), async || {
        engine_knows(&portal, &permitted).then_some(())
    })
    .await;
    for correlation in &correlations {
        assert!(portal.text("audit/gateway.log").contains(correlation), "the gateway recorded {correlation}");
        assert!(!engine_knows(&portal, correlation), "the engine heard of {correlation}");
    }
    assert!(!engine_knows(&portal, &marker));
    assert!(!portal.text("audit/engine.log").contains("websocket"));
}

#[tokio::test]
async fn websocket_is_for_the_local_organization_alone() {
    let network = shared();
    let portal = network.node("portal");
    for pair in [&portal.administrator, &portal.practitioner, &portal.limited] {
        assert_eq!(websocket::open(&network.client(&portal, Some(pair))).await.err(), Some(403));
    }
    for name in ["dic-1", "dms", "ttp"] {
        assert_eq!(websocket::open(&network.organization(name, "portal")).await.err(), Some(403), "{name}");
    }
    let local = network.organization("portal", "portal");
    let mut socket = websocket::open(&local).await.expect("the local organisation");
    websocket::say(&mut socket, "bind no-such-subscription").await;
    assert_eq!(websocket::hear(&mut socket).await, None, "an unknown subscription ends the socket");
}

#[tokio::test]
async fn websocket_tells_the_local_organization_of_new_tasks() {
    let network = shared();
    let local = network.organization("ttp", "ttp");
    let subscriptions = search::all(&local, "Subscription", "type=websocket").await;
    let of_tasks = |subscription: &&Value| {
        subscription["criteria"].as_str().is_some_and(|criteria| criteria.starts_with("Task?status=requested"))
            && subscription["channel"]["payload"] == JSON
    };
    let subscription = subscriptions.iter().find(of_tasks).expect("a Subscription of requested Tasks");
    let id = subscription["id"].as_str().unwrap();
    let mut socket = websocket::open(&local).await.unwrap();
    websocket::say(&mut socket, &format!("bind {id}")).await;
    assert_eq!(websocket::hear(&mut socket).await, Some(format!("bound {id}")));
    let task = tasks::ping(&network.node("dms"), &network.node("ttp"));
    let created = network.organization("dms", "ttp").post("/Task", &task).await.expect(201);
    let event: Value = serde_json::from_str(&websocket::hear(&mut socket).await.expect("an event")).unwrap();
    assert_eq!(event["resourceType"], "Task");
    assert_eq!(event["id"].as_str().unwrap(), created.created_id());
    assert_eq!(event["status"], "requested");
}

#[tokio::test]
async fn persons_may_do_what_their_roles_say() {
    let network = shared();
    let portal = network.node("portal");
    let [administrator, practitioner, limited] =
        [&portal.administrator, &portal.practitioner, &portal.limited].map(|pair| network.client(&portal, Some(pair)));
    for person in [&administrator, &practitioner] {
        assert_eq!(search::total(person, "Organization", "active=true").await, 5);
        person.get("/metadata").await.expect(200);
    }
    limited.get("/Task").await.expect(200);
    limited.get("/Questionnaire").await.expect(200);
    for target in ["/Organization", "/Endpoint", "/Subscription", "/ActivityDefinition", "/StructureDefinition"] {
        assert_eq!(limited.get(target).await.expect(403).outcome_codes(), ["forbidden"], "{target}");
    }
    // A ping may be started by DSF_ADMIN, not by another practitioner, and by nobody in another's name.
    let start = |email: &str| {
        let mut task = tasks::start_ping("portal.example");
        task["requester"] = json!({
            "type": "Practitioner",
            "identifier": { "system": "http://dsf.dev/sid/practitioner-identifier", "value": email },
        });
        task
    };
    let mail = |name: &str| format!("{name}@portal.example");
    for (person, name, status) in
        [(&administrator, "administrator", 201), (&practitioner, "practitioner", 403), (&limited, "limited", 403)]
    {
        let answer = person.post("/Task", &start(&mail(name))).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        if status == 201 {
            let task = tasks::ended(&administrator, &answer.created_id(), tasks::PING_TIME).await;
            assert_eq!(task["status"], "completed", "{task:#}");
        }
    }
    administrator.post("/Task", &start(&mail("practitioner"))).await.expect(403);
    practitioner.post("/Task", &tasks::start_ping("portal.example")).await.expect(403);
    let query = "identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example";
    let organization = search::all(&administrator, "Organization", query).await.remove(0);
    let target = format!("/Organization/{}", organization["id"].as_str().unwrap());
    limited.put(&target, &organization).await.expect(403);
    limited.send("DELETE", &target, &[("accept", JSON)], "").await.expect(403);
}

#[tokio::test]
async fn persons_of_one_node_are_strangers_at_another() {
    let network = shared();
    let portal = network.node("portal");
    for at in ["dic-1", "dms", "ttp"] {
        let node = network.node(at);
        for pair in [&portal.administrator, &portal.practitioner, &portal.limited] {
            tells_nothing(&network.client(&node, Some(pair)).get("/metadata").await);
        }
    }
}

#[tokio::test]
async fn refusals_are_explained_in_the_format_that_was_asked_for() {
    let remote = shared().organization("dic-1", "portal");
    let json = remote.send("DELETE", "/Task/1", &[("accept", JSON)], "").await.expect(403);
    assert_eq!(json.outcome_codes(), ["forbidden"]);
    let coding = json.json()["issue"][0]["details"]["coding"][0].clone();
    assert!(coding["code"].as_str().unwrap().starts_with("GW-"), "{coding}");
    let xml = remote.send("DELETE", "/Task/1", &[("accept", XML)], "").await.expect(403);
    assert!(xml.field("content-type").unwrap().starts_with(XML));
    assert!(xml.text().starts_with("<OperationOutcome xmlns=\"http://hl7.org/fhir\">"), "{}", xml.text());
}

#[tokio::test]
async fn management_and_partner_port_know_nothing_of_each_other() {
    let network = shared();
    let portal = network.node("portal");
    for (path, status) in
        [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/fhir/metadata", 404), ("/fhir/Task", 404), ("/", 404)]
    {
        assert_eq!(portal.manage(path).await.expect("an answer").0, status, "{path}");
    }
    let local = network.organization("portal", "portal");
    let authority = local.authority();
    for path in ["/health", "/ready", "/metrics", "/status", "/tasks", "/", "/fhir/../metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let answer = local.send_raw(request).await.unwrap();
        assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
    assert!(local.get("/status").await.status >= 400);
}

#[tokio::test]
async fn what_an_organization_may_not_read_is_hidden_from_search_and_refused_by_id() {
    let network = shared();
    let local = network.organization("portal", "portal");
    let remote = network.organization("dic-1", "portal");
    let hidden = search::all(&local, "Subscription", "").await;
    for resource in hidden {
        let id = resource["id"].as_str().unwrap();
        remote.get(&format!("/Subscription/{id}")).await.expect(403);
        remote.get(&format!("/Subscription/{id}/_history/1")).await.expect(403);
        // An ETag that fits must not turn the refusal into a 304.
        let answer = remote
            .send("GET", &format!("/Subscription/{id}"), &[("accept", JSON), ("if-none-match", "W/\"1\"")], "")
            .await;
        assert_eq!(answer.status, 403);
    }
    for query in ["_include=*", "_id:not=x", "criteria=Task", "_summary=count", "_elements=id"] {
        let answer = remote.get(&format!("/Subscription?{query}")).await;
        if answer.status == 200 {
            assert_eq!(answer.json()["total"], 0, "{query}");
        }
    }
}
