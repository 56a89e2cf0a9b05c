//! SIGHUP: what is good is taken over while requests run, what is not leaves the last good state in force and is said.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

mod storm;
mod upgrade;

use std::time::{Duration, Instant};

use certs::development::{Authority, KeyType, Subject, Validity};
use rustix::process::Signal;
use serde_json::Value;
use tests::network::{Network, Process};
use tests::{Client, Node, until, wire};

const TIME: Duration = Duration::from_secs(30);
const GATEWAY_FAILED: &str = "schleuse_reload_failures_total{process=\"gateway\"";
const GATEWAY_TIME: &str = "schleuse_reload_last_success{process=\"gateway\"";
const ENGINE_FAILED: &str = "schleuse_reload_failures_total{process=\"engine\"";
const ENGINE_TIME: &str = "schleuse_reload_last_success{process=\"engine\"";

/// What the metrics say about reloads.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    gateway_failed: f64,
    gateway_time: f64,
    engine_failed: f64,
    engine_time: f64,
}

async fn seen(node: &Node) -> Seen {
    let metric = async |name: &str| node.metric(name).await.unwrap_or(0.0);
    Seen {
        gateway_failed: metric(GATEWAY_FAILED).await,
        gateway_time: metric(GATEWAY_TIME).await,
        engine_failed: metric(ENGINE_FAILED).await,
        engine_time: metric(ENGINE_TIME).await,
    }
}

/// Reloads both processes, the engine first, and waits until both have said how it went.
async fn reload(node: &Node, is_good: bool) {
    let before = seen(node).await;
    node.signal(Process::Engine, Signal::HUP);
    until("the engine's reload", TIME, async || {
        let now = seen(node).await;
        let counted =
            if is_good { now.engine_time > before.engine_time } else { now.engine_failed > before.engine_failed };
        counted.then_some(())
    })
    .await;
    node.signal(Process::Gateway, Signal::HUP);
    until("the gateway's reload", TIME, async || {
        let now = seen(node).await;
        let counted =
            if is_good { now.gateway_time > before.gateway_time } else { now.gateway_failed > before.gateway_failed };
        counted.then_some(())
    })
    .await;
}

fn deny_metadata(rules: &str) -> String {
    let rule = "[[rule]]\nid = \"no-metadata\"\ndescription = \"For a test.\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = { operations = [\"metadata\"] }\n\n[[rule]]";
    rules.replacen("[[rule]]", rule, 1)
}

async fn certificate_of(client: &Client) -> Vec<u8> {
    let stream = client.connect().await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn reload_takes_what_is_good_and_keeps_the_last_good_otherwise() {
    let network = Network::start(1);
    let portal = network.node("portal");
    let remote = network.organization("dic-1", "portal");
    let local = network.organization("portal", "portal");
    let good_rules = portal.text("policies/rules.toml");
    let version = async || {
        let answered = tests::Schleuse::run(&[
            "--format".as_ref(),
            "json".as_ref(),
            "status".as_ref(),
            portal.directory.as_os_str(),
        ]);
        answered.expect(0).json()["policy-version"].as_str().unwrap().to_owned()
    };
    let first_version = version().await;

    // A policy with three mistakes: kept out, and each named with its line.
    let broken = format!("{}\n[colour]\nred = 1\n", good_rules.replacen("effect = \"allow\"", "effect = \"maybe\"", 1));
    std::fs::write(portal.path("policies/rules.toml"), &broken).unwrap();
    reload(&portal, false).await;
    remote.get("/metadata").await.expect(200);
    assert_eq!(version().await, first_version);
    for log in ["log/gateway.log", "log/engine.log"] {
        let text = portal.text(log);
        assert!(text.contains("rules.toml:") && text.contains("maybe") && text.contains("colour"), "{log}: {text}");
        assert!(text.contains("last good") || text.contains("stays in force"), "{log}: {text}");
    }
    let failed = events(&portal, "reload-failed");
    assert_eq!(failed.len(), 1, "{failed:#?}");

    // A good policy counts from the next request on, also on connections that are open.
    let mut open = remote.connect().await.unwrap();
    let get = format!("GET /fhir/metadata HTTP/1.1\r\nHost: {}\r\n\r\n", remote.authority());
    assert_eq!(wire::exchange(&mut open, &get).await.unwrap().status, 200);
    std::fs::write(portal.path("policies/rules.toml"), deny_metadata(&good_rules)).unwrap();
    reload(&portal, true).await;
    let refused = wire::exchange(&mut open, &get).await.unwrap().expect(403);
    assert!(refused.text().contains("GW-POL-013"), "{}", refused.text());
    remote.get("/metadata").await.expect(403);
    remote.get("/Organization").await.expect(200);
    local.get("/metadata").await.expect(200);
    assert_ne!(version().await, first_version);
    std::fs::write(portal.path("policies/rules.toml"), &good_rules).unwrap();
    reload(&portal, true).await;
    remote.get("/metadata").await.expect(200);
    assert_eq!(version().await, first_version);

    certificates_are_swapped(&network, &portal, &remote).await;
    trust_is_swapped(&portal, &remote).await;
    gateway_with_an_unknown_policy_gets_503(&portal, &remote, &good_rules).await;
}

async fn certificates_are_swapped(network: &Network, portal: &Node, remote: &Client) {
    let before = certificate_of(remote).await;
    let mut open = remote.connect().await.unwrap();
    let get = format!("GET /fhir/metadata HTTP/1.1\r\nHost: {}\r\n\r\n", remote.authority());
    let read = |name: &str| std::fs::read_to_string(network.authority().join(name)).unwrap();
    let authority = Authority::from_pem(&read("ca.pem"), &read("ca.key"), "authority").unwrap();
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 60);
    let issue = || {
        authority
            .issue_server(&Subject::german("portal.example", "localhost"), &["localhost"], KeyType::EcdsaP256, validity)
            .unwrap()
    };
    let (next, other) = (issue(), issue());
    let (old_chain, old_key) = (portal.text("certificates/server.pem"), portal.text("certificates/server.key"));

    // Certificate and key of different certificates: kept out.
    std::fs::write(portal.path("certificates/server.pem"), next.chain_pem()).unwrap();
    std::fs::write(portal.path("certificates/server.key"), other.private_key_pem()).unwrap();
    let failures = seen(portal).await.gateway_failed;
    portal.signal(Process::Gateway, Signal::HUP);
    until("the refusal of the certificate", TIME, async || {
        (seen(portal).await.gateway_failed > failures).then_some(())
    })
    .await;
    assert_eq!(certificate_of(remote).await, before);

    std::fs::write(portal.path("certificates/server.key"), next.private_key_pem()).unwrap();
    reload(portal, true).await;
    assert_eq!(certificate_of(remote).await, next.certificate().der().to_vec());
    assert_eq!(wire::exchange(&mut open, &get).await.unwrap().status, 200, "what is open goes on");

    std::fs::write(portal.path("certificates/server.pem"), old_chain).unwrap();
    std::fs::write(portal.path("certificates/server.key"), old_key).unwrap();
    reload(portal, true).await;
    assert_eq!(certificate_of(remote).await, before);
}

async fn trust_is_swapped(portal: &Node, remote: &Client) {
    let good = portal.text("trust/client-authorities.pem");
    let failures = seen(portal).await.gateway_failed;
    std::fs::write(portal.path("trust/client-authorities.pem"), "").unwrap();
    portal.signal(Process::Gateway, Signal::HUP);
    until("the refusal of an empty trust store", TIME, async || {
        (seen(portal).await.gateway_failed > failures).then_some(())
    })
    .await;
    remote.get("/metadata").await.expect(200);

    let validity = Validity::days(time::OffsetDateTime::now_utc(), 60);
    let foreign = Authority::root(&Subject::german("Foreign", "Foreign CA"), KeyType::EcdsaP256, validity).unwrap();
    std::fs::write(portal.path("trust/client-authorities.pem"), foreign.certificate_pem()).unwrap();
    reload(portal, true).await;
    // A session that could be resumed does not help either.
    let answer = remote.try_send("GET", "/metadata", &[], "").await;
    assert!(answer.as_ref().is_err_or_403(), "{answer:?}");
    std::fs::write(portal.path("trust/client-authorities.pem"), good).unwrap();
    reload(portal, true).await;
    remote.get("/metadata").await.expect(200);
}

/// Only the gateway reloads: the engine does not know the policy by which it decides, and nothing is served by it.
async fn gateway_with_an_unknown_policy_gets_503(portal: &Node, remote: &Client, good_rules: &str) {
    std::fs::write(portal.path("policies/rules.toml"), format!("{good_rules}\n# another version\n")).unwrap();
    let before = seen(portal).await.gateway_time;
    portal.signal(Process::Gateway, Signal::HUP);
    until("the gateway's reload", TIME, async || (seen(portal).await.gateway_time > before).then_some(())).await;
    remote.get("/Organization").await.expect(503);
    let before = seen(portal).await.engine_time;
    portal.signal(Process::Engine, Signal::HUP);
    until("the engine's reload", TIME, async || (seen(portal).await.engine_time > before).then_some(())).await;
    remote.get("/Organization").await.expect(200);
}

/// Records of the gateway with an event.
fn events(node: &Node, event: &str) -> Vec<Value> {
    let log = node.text("audit/gateway.log");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["record"].clone()).filter(|record| record["event"] == event).collect()
}

/// A connection that fails, or a refusal that says nothing.
trait Refused {
    fn is_err_or_403(&self) -> bool;
}

impl Refused for Result<&tests::Answer, &tests::client::NoAnswer> {
    fn is_err_or_403(&self) -> bool {
        self.as_ref().map_or(true, |answer| answer.status == 403 && answer.body.is_empty())
    }
}

/// Requests of `count` clients until `end`, each of which must be served; how many there were.
fn load(count: usize, client: &Client, end: Instant) -> tokio::task::JoinSet<i32> {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        running.spawn(async move {
            let get = format!("GET /fhir/Organization?_count=1 HTTP/1.1\r\nHost: {}\r\n\r\n", client.authority());
            let mut served = 0;
            while Instant::now() < end {
                let mut stream = client.connect().await.unwrap();
                for _ in 0..10 {
                    assert_eq!(wire::exchange(&mut stream, &get).await.expect("an answer").status, 200);
                    served += 1;
                }
            }
            served
        });
    }
    running
}

#[tokio::test]
async fn reloads_under_load_disturb_no_request() {
    let network = Network::start(1);
    let portal = network.node("portal");
    let end = Instant::now() + Duration::from_secs(4);
    let running = load(3, &network.organization("dic-1", "portal"), end);
    let rules = portal.text("policies/rules.toml");
    let mut reloads = 0;
    while Instant::now() < end {
        std::fs::write(portal.path("policies/rules.toml"), format!("{rules}# version {reloads}\n")).unwrap();
        reload(&portal, true).await;
        reloads += 1;
    }
    let served: i32 = running.join_all().await.into_iter().sum();
    println!("{served} requests during {reloads} reloads");
    assert!(reloads > 3 && served > 20);
}

#[tokio::test]
async fn reloads_of_a_supervised_node_disturb_no_request() {
    let place = tests::network::folder();
    let directory = place.path().join("node");
    let (port, management) = tests::network::free_ports();
    let base_url = format!("https://localhost:{port}/fhir");
    let text = directory.to_str().unwrap();
    let (listen, manage) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{management}"));
    tests::Schleuse::run(&[
        "init",
        text,
        "--organization-identifier",
        "new.example",
        "--base-url",
        &base_url,
        "--listen",
        &listen,
        "--management",
        &manage,
        "--development-certificates",
    ])
    .expect(0);
    let guard = tests::network::run_node(&directory, management).await;
    let pair = tests::Pair {
        certificate: directory.join("certificates/client.pem"),
        private_key: directory.join("certificates/client.key"),
    };
    let client = Client::new(&base_url, &directory.join("authority/ca.pem"), Some(&pair));
    let end = Instant::now() + Duration::from_secs(4);
    let running = load(3, &client, end);
    let rules = std::fs::read_to_string(directory.join("policies/rules.toml")).unwrap();
    let mut reloads = 0;
    while Instant::now() < end {
        std::fs::write(directory.join("policies/rules.toml"), format!("{rules}# version {reloads}\n")).unwrap();
        // One signal to the supervisor, which passes it on.
        guard.signal(Signal::HUP);
        reloads += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let served: i32 = running.join_all().await.into_iter().sum();
    println!("{served} requests during {reloads} reloads");
    assert!(guard.err().matches("reloaded").count() >= 4, "{}", guard.err());
}
