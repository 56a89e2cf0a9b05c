//! Rows of the table of black-box tests (T01 to T85) that stand nowhere else, each named by its id. Rows that other tests
//! hold carry their id there; `docs/edge-tests.md` says which test holds which row.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{DistinguishedName, SignatureScheme};
use serde_json::{Value, json};
use tests::client::JSON;
use tests::{Answer, Client, Pair, search, shared, tasks, wire};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::tls::client_hello;
use super::{fields, remote, with_version};

const XML: &str = "application/fhir+xml";

fn local() -> Client {
    shared().organization("portal", "portal")
}

fn authority() -> Authority {
    let read = |name: &str| std::fs::read_to_string(shared().authority().join(name)).unwrap();
    Authority::from_pem(&read("ca.pem"), &read("ca.key"), "authority").unwrap()
}

/// Connects as somebody with this certificate and asks once: the alert, or the status.
async fn handshake(issued: &Issued) -> Result<u16, String> {
    let folder = tests::network::folder();
    let pair = Pair::write(folder.path(), "client", issued);
    let client = shared().client(&shared().node("portal"), Some(&pair));
    client
        .try_send("GET", "/metadata", &[("accept", JSON)], "")
        .await
        .map(|answer| answer.status)
        .map_err(|error| error.0)
}

fn subject() -> Subject {
    Subject::german("dic-1.example", "dic-1.example")
}

fn soon() -> Validity {
    Validity::days(OffsetDateTime::now_utc(), 30)
}

/// 403, and nothing about the resource.
fn forbidden(answer: &Answer) {
    let text = answer.text();
    assert!([403, 405].contains(&answer.status), "{} {text}", answer.status);
    if !answer.body.is_empty() {
        assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{text}");
    }
}

async fn organization(client: &Client, identifier: &str) -> Value {
    let query = format!("identifier=http://dsf.dev/sid/organization-identifier%7C{identifier}");
    search::all(client, "Organization", &query).await.remove(0)
}

// === TLS ===

#[tokio::test]
async fn edge_t02_cbc_suites_alone_are_refused_with_an_alert() {
    for suites in [vec![0xc0, 0x28], vec![0xc0, 0x24, 0xc0, 0x13], vec![0x00, 0x9d, 0x00, 0x2f]] {
        let mut stream = TcpStream::connect(("localhost", remote().port())).await.unwrap();
        stream.write_all(&client_hello(3, &suites)).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection stays open");
        assert_eq!((answer[0], answer[5], answer[6]), (21, 2, 40), "{answer:?}");
    }
}

#[tokio::test]
async fn edge_t05_no_client_certificate_is_an_alert_of_its_own() {
    let portal = shared().node("portal");
    // TLS 1.2 has no alert for this but handshake_failure; the library sends the newer one, which clients understand.
    for version in [&TLS13, &TLS12] {
        let client = with_version(&portal, "dic-1", version);
        let client = client.reconfigured(|config| config.client_auth_cert_resolver = Arc::new(Nobody::default()));
        let refused = client.try_send("GET", "/metadata", &[], "").await.unwrap_err();
        let alerts = ["CertificateRequired", "HandshakeFailure"];
        assert!(alerts.iter().any(|alert| refused.0.contains(alert)), "{refused}");
    }
}

/// Shows no certificate, and remembers what it was asked for.
#[derive(Debug, Default)]
struct Nobody(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for Nobody {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hints.iter().map(|hint| hint.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn edge_t06_the_certificate_request_names_the_authorities_of_the_trust_store() {
    let nobody = Arc::new(Nobody::default());
    let resolver = Arc::clone(&nobody);
    let client = remote().reconfigured(|config| config.client_auth_cert_resolver = resolver);
    client.try_send("GET", "/metadata", &[], "").await.unwrap_err();
    let pem = std::fs::read(shared().authority().join("ca.pem")).unwrap();
    let known = certs::read_certificates(&pem, "authority").unwrap();
    let expected: Vec<DistinguishedName> =
        known.iter().map(|known| DistinguishedName::from(known.subject().der().to_vec())).collect();
    let asked: Vec<DistinguishedName> = nobody.0.lock().unwrap().iter().cloned().map(DistinguishedName::from).collect();
    assert!(!asked.is_empty(), "the request names nobody");
    assert!(asked.iter().all(|name| expected.iter().any(|known| known.as_ref() == name.as_ref())), "{asked:?}");
}

#[tokio::test]
async fn edge_t07_t15_self_signed_certificates_and_twins_of_an_authority_are_refused_by_an_alert() {
    let twin = Subject::german("Schleuse demonstration", "Demonstration Authority");
    let twin = Authority::root(&twin, KeyType::EcdsaP256, soon()).unwrap();
    let issued = twin.issue_organization(&subject(), &[], KeyType::EcdsaP256, soon()).unwrap();
    let refused = handshake(&issued).await.unwrap_err();
    assert!(refused.contains("UnknownCA") || refused.contains("DecryptError") || refused.contains("Bad"), "{refused}");
}

#[tokio::test]
async fn edge_t08_expired_and_early_certificates_are_refused_by_an_alert() {
    let now = OffsetDateTime::now_utc();
    let past = Validity { not_before: now - time::Duration::days(10), not_after: now - time::Duration::hours(1) };
    let future = Validity { not_before: now + time::Duration::days(1), not_after: now + time::Duration::days(10) };
    for validity in [past, future] {
        let issued = authority().issue_organization(&subject(), &[], KeyType::EcdsaP256, validity).unwrap();
        let refused = handshake(&issued).await.unwrap_err();
        assert!(refused.contains("CertificateExpired") || refused.contains("BadCertificate"), "{refused}");
    }
}

#[tokio::test]
async fn edge_t09_a_certificate_for_servers_alone_is_refused() {
    let issued = authority().issue_server(&subject(), &["localhost"], KeyType::EcdsaP256, soon()).unwrap();
    let refused = handshake(&issued).await;
    assert!(refused.is_err() || refused == Ok(403), "{refused:?}");
}

#[tokio::test]
async fn edge_t19_t67_trusted_but_unlisted_certificates_get_an_empty_403() {
    let namesake = authority().issue_organization(&subject(), &[], KeyType::EcdsaP256, soon()).unwrap();
    assert_eq!(handshake(&namesake).await, Ok(403));
    // The e-mail of a listed person in a certificate that is not listed.
    let person = Subject::german("Portal", "Somebody").with_email("administrator@portal.example");
    let person = authority().issue_person(&person, KeyType::EcdsaP256, soon()).unwrap();
    assert_eq!(handshake(&person).await, Ok(403));
    let stranger = shared().stranger("portal").get("/metadata").await;
    assert_eq!((stranger.status, stranger.body.len()), (403, 0));
}

// === requests ===

#[tokio::test]
async fn edge_t24_t75_no_field_of_a_client_opens_the_status_port() {
    let client = remote();
    let host = fields(&client);
    for lie in
        ["X-Forwarded-Host: localhost:10000", "Forwarded: host=localhost:10000", "X-Forwarded-Port: 10000", "X: y"]
    {
        let request = format!("GET /fhir/status HTTP/1.1\r\n{host}{lie}\r\n\r\n");
        let answer = client.send_raw(request).await.unwrap();
        assert!([403, 404].contains(&answer.status), "{lie}: {}", answer.status);
    }
}

#[tokio::test]
async fn edge_t34_trailers_mean_nothing() {
    let client = remote();
    let body = "{\"resourceType\":\"Subscription\"}";
    let request = format!(
        "POST /fhir/Subscription HTTP/1.1\r\n{}Content-Type: {JSON}\r\nTransfer-Encoding: chunked\r\nTrailer: X-ClientCert\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-ClientCert: local\r\n\r\n",
        fields(&client),
        body.len()
    );
    let answer = client.send_raw(request).await.unwrap();
    assert!([400, 403].contains(&answer.status), "{}", answer.status);
}

#[tokio::test]
async fn edge_t38_hostile_json_is_400() {
    let client = local();
    let deep = ("{\"extension\":[".repeat(66), "]}".repeat(66));
    let deep = format!("{{\"resourceType\":\"Task\",\"extension\":[{}{}]}}", deep.0, deep.1);
    let utf16: Vec<u8> = "{\"resourceType\":\"Task\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("depth", deep.into_bytes()),
        ("duplicate key", b"{\"resourceType\":\"Task\",\"resourceType\":\"Organization\"}".to_vec()),
        ("UTF-16", utf16),
        ("byte order mark", b"\xef\xbb\xbf{\"resourceType\":\"Task\",\"status\":\"a\",\"status\":\"b\"}".to_vec()),
    ];
    for (what, body) in bodies {
        let answer = client.send("POST", "/Task", &[("content-type", JSON), ("accept", JSON)], body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn edge_t39_hostile_xml_is_400_at_once() {
    let client = local();
    let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">]>";
    let task = "<Task xmlns=\"http://hl7.org/fhir\"><status value=\"requested\"/></Task>";
    for head in [
        "<!DOCTYPE Task>".to_owned(),
        "<!DOCTYPE Task SYSTEM \"http://127.0.0.1:9/x\">".to_owned(),
        "<!DOCTYPE t [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>".to_owned(),
        laughs.to_owned(),
    ] {
        let began = Instant::now();
        let answer =
            client.send("POST", "/Task", &[("content-type", XML), ("accept", JSON)], format!("{head}{task}")).await;
        assert_eq!(answer.status, 400, "{head}: {}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(10), "{head}");
    }
}

#[tokio::test]
async fn edge_t37_t40_foreign_media_types_and_codings_are_415() {
    let client = remote();
    for (media_type, coding) in
        [("text/plain", ""), ("multipart/form-data; boundary=x", ""), (JSON, "gzip"), (JSON, "br")]
    {
        let fields = [("content-type", media_type), ("accept", JSON), ("content-encoding", coding)];
        let fields = if coding.is_empty() { &fields[..2] } else { &fields[..] };
        let answer = client.send("POST", "/Task", fields, "{}").await;
        assert_eq!(answer.status, 415, "{media_type} {coding}: {}", answer.text());
    }
}

#[tokio::test]
async fn edge_t50_t53_a_remote_organization_writes_nothing_but_tasks() {
    let network = shared();
    let client = remote();
    let task = tasks::ping(&network.node("dic-1"), &network.node("portal"));
    let id = client.post("/Task", &task).await.expect(201).created_id();
    let mut own = task.clone();
    own["id"] = json!(id);
    forbidden(&client.put(&format!("/Task/{id}"), &own).await);
    forbidden(&client.delete(&format!("/Task/{id}")).await);
    forbidden(&client.send("POST", &format!("/Task/{id}/$permanent-delete"), &[("accept", JSON)], "").await);
    for kind in ["Organization", "Endpoint", "OrganizationAffiliation", "Subscription", "ActivityDefinition", "Bundle"]
    {
        forbidden(&client.post(&format!("/{kind}"), &json!({ "resourceType": kind })).await);
    }
    forbidden(&client.send("POST", "/Binary", &[("content-type", "text/plain"), ("accept", JSON)], "x").await);
}

#[tokio::test]
async fn edge_t52_a_remote_organization_finds_its_own_tasks_only() {
    let network = shared();
    let client = remote();
    client.post("/Task", &tasks::ping(&network.node("dic-1"), &network.node("portal"))).await.expect(201);
    let dms = network.organization("dms", "portal");
    dms.post("/Task", &tasks::ping(&network.node("dms"), &network.node("portal"))).await.expect(201);
    let found = search::all(&client, "Task", "_count=100").await;
    assert!(!found.is_empty());
    let own = "dic-1.example";
    assert!(found.iter().all(|task| task["requester"]["identifier"]["value"] == own), "{found:#?}");
}

#[tokio::test]
async fn edge_t54_a_thumbprint_is_added_by_nobody_from_outside() {
    let client = remote();
    let mut changed = organization(&client, "portal.example").await;
    let own = organization(&client, "dic-1.example").await;
    let thumbprint = own["extension"][0].clone();
    changed["extension"].as_array_mut().unwrap().push(thumbprint);
    let target = "/Organization?identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example";
    forbidden(&client.put(target, &changed).await);
    changed.as_object_mut().unwrap().remove("id");
    forbidden(&client.put(target, &changed).await);
    let after = organization(&client, "portal.example").await;
    assert_eq!(after["meta"]["versionId"], changed["meta"]["versionId"]);
}

#[tokio::test]
async fn edge_t59_t60_includes_and_chains_show_nothing_foreign() {
    let client = remote();
    let target = "/Organization?_include=Organization:endpoint&_revinclude=OrganizationAffiliation:participating-organization&_count=100";
    let bundle = client.get(target).await.expect(200).json();
    for entry in bundle["entry"].as_array().unwrap() {
        let kind = entry["resource"]["resourceType"].as_str().unwrap();
        assert!(["Organization", "Endpoint", "OrganizationAffiliation"].contains(&kind), "{kind}");
    }
    for query in [
        "_include=*",
        "_include:iterate=Task:requester",
        "_has:Task:requester:status=requested",
        "requester.identifier=portal.example",
        "_filter=status%20eq%20requested",
        "_query=all",
        "_content=a",
        "_text=a",
    ] {
        let answer = client.get_with(&format!("/Task?{query}"), &[("prefer", "handling=strict")]).await;
        if answer.status == 200 {
            let bundle = answer.json();
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            let foreign = |entry: &&Value| {
                entry["resource"]["resourceType"] == "Task"
                    && entry["resource"]["requester"]["identifier"]["value"] != "dic-1.example"
            };
            assert!(entries.iter().find(foreign).is_none(), "{query}: {bundle:#}");
        } else {
            assert!([400, 403].contains(&answer.status), "{query}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn edge_t61_t62_bundles_with_a_forbidden_entry_change_nothing() {
    let network = shared();
    let client = remote();
    let portal = organization(&client, "portal.example").await;
    let id = portal["id"].as_str().unwrap();
    let delete = json!({ "request": { "method": "DELETE", "url": format!("Organization/{id}") } });
    let task = tasks::ping(&network.node("dic-1"), &network.node("portal"));
    let key = tasks::value(&task, "input", "correlation-key").unwrap();
    let create = json!({ "fullUrl": "urn:uuid:0190a5d2-0000-7000-8000-000000000002", "resource": task,
        "request": { "method": "POST", "url": "Task" } });
    let update = json!({ "fullUrl": "urn:uuid:0190a5d2-0000-7000-8000-000000000003", "resource": portal,
        "request": { "method": "PUT", "url": format!("Organization/{id}") } });
    for (kind, entries) in [
        ("batch", vec![delete.clone()]),
        ("transaction", vec![create.clone(), update]),
        ("transaction", vec![create, delete]),
    ] {
        let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
        forbidden(&client.post("", &bundle).await);
    }
    let after = organization(&client, "portal.example").await;
    assert_eq!(after["meta"]["versionId"], portal["meta"]["versionId"]);
    let tasks = search::all(&client, "Task", "_count=100").await;
    assert!(!tasks.iter().any(|task| task.to_string().contains(&key)), "the Task of a refused transaction is stored");
}

#[tokio::test]
async fn edge_t71_an_upgrade_elsewhere_is_refused() {
    let client = local();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for path in ["/fhir/Task", "/fhir/metadata", "/fhir/ws/x"] {
        let answer = client.send_raw(format!("GET {path} HTTP/1.1\r\n{}{upgrade}\r\n", fields(&client))).await.unwrap();
        assert!([400, 403, 404].contains(&answer.status), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn attack_a31_overlapping_ranges_are_not_served() {
    let client = local();
    let binary = json!({ "resourceType": "Binary", "contentType": "text/plain", "data": "YWJjZGVmZ2hpag==",
        "meta": { "tag": [{ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": "LOCAL" }] } });
    let id = client.post("/Binary", &binary).await.expect(201).created_id();
    let ranges = (0..200).map(|_| "0-9").collect::<Vec<_>>().join(",");
    let fields = [("accept", "text/plain"), ("range", &*format!("bytes={ranges}"))];
    let answer = client.send("GET", &format!("/Binary/{id}"), &fields, "").await;
    assert!([200, 400, 416, 431].contains(&answer.status), "{}", answer.status);
    assert!(answer.body.len() < 1000, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn attack_a34_a_stranger_learns_of_nothing() {
    let stranger = shared().stranger("portal");
    let known = organization(&remote(), "portal.example").await;
    let known = format!("/Organization/{}", known["id"].as_str().unwrap());
    let mut seen = Vec::new();
    for target in [known.as_str(), "/Organization/0190a5d2-0000-7000-8000-000000000009", "/nothing", "/metadata"] {
        let answer = stranger.get(target).await;
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        seen.push((answer.status, answer.body.len(), names));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn attack_a37_operations_are_those_of_the_table() {
    let client = local();
    for target in ["/$everything", "/Task/$validate", "/Organization/1/$expunge", "/$meta", "/Task/1/$foo"] {
        let answer = client.send("POST", target, &[("accept", JSON), ("content-type", JSON)], "{}").await;
        assert!([400, 403, 404, 405].contains(&answer.status), "{target}: {}", answer.status);
    }
}

#[tokio::test]
async fn edge_t26_sni_and_host_must_agree() {
    let client = remote();
    let pair = &shared().node("dic-1").organization;
    let own = certs::Credentials::load(&pair.certificate, &pair.private_key).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(own.chain_der(), own.key_der())
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for (name, expected) in [("portal.other.example", 421), ("localhost", 200)] {
        let stream = TcpStream::connect(("localhost", client.port())).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let mut tls = connector.connect(name, stream).await.unwrap();
        let request = format!("GET /fhir/metadata HTTP/1.1\r\n{}\r\n", fields(&client));
        assert_eq!(wire::exchange(&mut tls, request).await.unwrap().status, expected);
    }
}

/// Believes every server: the name is what is tested.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        certs::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// `docs/edge-tests.md` promises a test for each row; every name in it must be one.
#[test]
fn every_row_names_a_test_that_exists() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(repository.join("docs/edge-tests.md")).unwrap();
    let sources = sources(repository);
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
    assert!(names.len() > 60, "{}", names.len());
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
    }
    let ids = |prefix: char, most: u32| (1..=most).map(move |number| format!("{prefix}{number:02}"));
    for id in ids('T', 85).chain(ids('A', 38)) {
        let covered = page.contains(&id) || (id.as_str() > "T44" && id.as_str() < "T48");
        assert!(covered, "{id} is missing");
    }
}

/// Everything in Rust.
fn sources(repository: &std::path::Path) -> String {
    let mut sources = String::new();
    let mut folders: Vec<std::path::PathBuf> =
        ["audit", "certs", "cli", "engine", "gateway", "node", "policies", "refresh", "tests"]
            .map(|name| repository.join(name))
            .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

/// `scripts/mutations` opens holes and looks whether the named test notices: each patch still fits, and names a test.
#[test]
fn every_mutation_fits_and_names_a_test_that_exists() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = sources(repository);
    let mut count = 0;
    for entry in std::fs::read_dir(repository.join("tests/mutations")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let of = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
        assert!(!of("Class: ").is_empty() && !of("Target: ").is_empty(), "{}", path.display());
        let test = of("Test: ").rsplit("::").next().unwrap();
        assert!(sources.contains(&format!("fn {test}(")), "{}: no test is called {test}", path.display());
        let file = std::fs::read_to_string(repository.join(of("--- a/"))).unwrap();
        let hunk = text.split("\n@@").nth(1).unwrap();
        let before: Vec<&str> = hunk.lines().skip(1).filter_map(|line| line.strip_prefix([' ', '-'])).collect();
        assert!(file.contains(&before.join("\n")), "{} does not fit any more", path.display());
        count += 1;
    }
    assert!(count >= 15, "{count}");
}
