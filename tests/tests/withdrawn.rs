//! What takes a certificate's rights while connections are open: `schleuse block`, revocation lists; and what narrows
//! rights by time and count. Each through real sockets, on a network of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use std::ffi::OsString;
use std::time::Duration;

use certs::Certificate;
use certs::development::Authority;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::network::{Network, Process};
use tests::{Client, Node, Output, Schleuse, tasks, until, wire};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const TIME: Duration = Duration::from_secs(30);

fn thumbprint(node: &Node) -> String {
    leaf(node).thumbprint().to_owned()
}

fn leaf(node: &Node) -> Certificate {
    let bytes = std::fs::read(&node.organization.certificate).unwrap();
    certs::read_certificates(&bytes, "organization").unwrap().remove(0)
}

fn authority(network: &Network) -> Authority {
    let read = |name: &str| std::fs::read_to_string(network.authority().join(name)).unwrap();
    Authority::from_pem(&read("ca.pem"), &read("ca.key"), "authority").unwrap()
}

fn schleuse(node: &Node, arguments: &[&str]) -> Output {
    let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    all.extend(["--directory".into(), node.directory.clone().into_os_string()]);
    Schleuse::run(&all)
}

/// Writes a file of a node and reloads both processes.
async fn reload(node: &Node, file: &str, text: &str) {
    std::fs::write(node.path(file), text).unwrap();
    for (process, name) in [(Process::Engine, "engine"), (Process::Gateway, "gateway")] {
        let metric = format!("schleuse_reload_last_success{{process=\"{name}\"");
        let before = node.metric(&metric).await.unwrap_or(0.0);
        node.signal(process, Signal::HUP);
        until("the reload", TIME, async || (node.metric(&metric).await.unwrap_or(0.0) > before).then_some(())).await;
    }
}

/// Asks on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>, client: &Client) -> u16 {
    let get = format!("GET /fhir/metadata HTTP/1.1\r\nHost: {}\r\n\r\n", client.authority());
    wire::exchange(stream, &get).await.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn certificates_lose_their_rights_on_open_connections_and_get_them_back() {
    let network = Network::start(1);
    let portal = network.node("portal");
    let dic = network.node("dic-1");
    let remote = network.organization("dic-1", "portal");
    edge_t18_a_block_acts_at_once(&portal, &dic, &remote).await;
    edge_t17_a_revocation_list_acts_at_once(&network, &portal, &dic, &remote).await;
    the_portal_may_only_at_hours_and_so_often(&network, &portal, &dic).await;
}

async fn edge_t18_a_block_acts_at_once(portal: &Node, dic: &Node, remote: &Client) {
    let mut open = remote.connect().await.unwrap();
    assert_eq!(ask(&mut open, remote).await, 200);
    let print = thumbprint(dic);
    schleuse(portal, &["block", &print]).expect(2);
    schleuse(portal, &["block", "abc", "--reason", "x"]).expect(2);
    let blocked = schleuse(portal, &["block", &print, "--reason", "key lost", "--format", "json"]);
    assert_eq!(blocked.expect(0).json()["in-force"], json!(true));
    assert_eq!(ask(&mut open, remote).await, 403, "an open connection");
    remote.get("/metadata").await.expect(403);
    let listed = schleuse(portal, &["block", "--format", "json"]);
    assert_eq!(listed.expect(0).json()["blocks"][0]["reason"], json!("key lost"));
    // A damaged file changes nothing.
    let good = portal.text("blocks/blocks.toml");
    std::fs::write(portal.path("blocks/blocks.toml"), "[[block]\n").unwrap();
    until("the alarm", TIME, async || {
        let failures = portal.metric("schleuse_withdrawn_failures_total").await.unwrap_or(0.0);
        (failures > 0.0).then_some(())
    })
    .await;
    remote.get("/metadata").await.expect(403);
    std::fs::write(portal.path("blocks/blocks.toml"), good).unwrap();
    schleuse(portal, &["block", &print, "--lift"]).expect(0);
    remote.get("/metadata").await.expect(200);
}

async fn edge_t17_a_revocation_list_acts_at_once(network: &Network, portal: &Node, dic: &Node, remote: &Client) {
    let authority = authority(network);
    let now = OffsetDateTime::now_utc();
    let put = |revoked: &[&Certificate], number, issued: OffsetDateTime| {
        let list = authority.revocation_list(revoked, number, issued, issued + time::Duration::days(2)).unwrap();
        let temporary = portal.path("crl/authority.new");
        std::fs::write(&temporary, list).unwrap();
        std::fs::rename(temporary, portal.path("crl/authority.crl")).unwrap();
    };
    let trust = portal.text("policies/trust.toml");
    put(&[], 1, now - time::Duration::hours(3));
    reload(portal, "policies/trust.toml", &trust.replace("mode = \"off\"", "mode = \"hard\"")).await;
    let mut open = remote.connect().await.unwrap();
    assert_eq!(ask(&mut open, remote).await, 200);

    let leaf = leaf(dic);
    put(&[&leaf], 2, now - time::Duration::hours(2));
    until("the list in force", TIME, async || (ask(&mut open, remote).await != 200).then_some(())).await;
    let refused = remote.connect().await;
    // TLS 1.3 tells a client after its own handshake is over; a resumed session is verified by its first request.
    if let Ok(mut stream) = refused {
        assert!([0, 403].contains(&ask(&mut stream, remote).await), "a revoked certificate is let in");
    }
    let verified = schleuse(portal, &["cert", "verify", dic.organization.certificate.to_str().unwrap()]);
    let said = verified.expect(1).out;
    assert!(said.contains("[revoked]"), "{said}");

    // An older list, and none at all, do not make it good again.
    for attack in [Some(()), None] {
        match attack {
            Some(()) => put(&[], 1, now - time::Duration::hours(3)),
            None => std::fs::remove_file(portal.path("crl/authority.crl")).unwrap(),
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let still = match remote.connect().await {
            Ok(mut stream) => ask(&mut stream, remote).await,
            Err(_) => 0,
        };
        assert!([0, 403].contains(&still), "{still}");
    }
    put(&[], 3, now - time::Duration::hours(1));
    until("the certificate is good again", TIME, async || {
        let mut stream = remote.connect().await.ok()?;
        (ask(&mut stream, remote).await == 200).then_some(())
    })
    .await;
    schleuse(portal, &["cert", "verify", dic.organization.certificate.to_str().unwrap()]).expect(0);
    reload(portal, "policies/trust.toml", &trust).await;
}

/// The officer's rule of the policy guide, with a day that is over and with one that is not.
async fn the_portal_may_only_at_hours_and_so_often(network: &Network, portal: &Node, dic: &Node) {
    let client = network.organization("portal", "dic-1");
    let rule = |only: &str| {
        format!(
            "schema = 1\n\n[[rule]]\nid = \"portal-pings\"\neffect = \"restrict\"\nsubject = \"org:{}\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\nwhen.task = {{ process = [\"http://dsf.dev/bpe/Process/pong|*\"], message-name = [\"ping\"] }}\n{only}\n",
            portal.organization_identifier
        )
    };
    let send = async || client.post("/Task", &tasks::ping(portal, dic)).await;
    // A window that is over, on any machine: yesterday's day of the week.
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let today = usize::from(OffsetDateTime::now_utc().weekday().number_days_from_monday());
    let (over, soon) = (days[(today + 3) % 7], days[(today + 4) % 7]);
    reload(dic, "policies/portal.toml", &rule(&format!("only.time = {{ days = [\"{over}\", \"{soon}\"] }}"))).await;
    let refused = send().await.expect(403).text();
    assert!(refused.contains("GW-POL-014") && refused.contains("portal-pings"), "{refused}");
    client.get("/metadata").await.expect(200);

    reload(dic, "policies/portal.toml", &rule("only.count = { most = 2, per = \"month\" }")).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(send().await);
    }
    let last = statuses.pop().unwrap().expect(403).text();
    assert!(last.contains("EN-FHIR-026") && last.contains("portal-pings"), "{last}");
    assert!(statuses.iter().all(|answer| answer.status == 201));
    // The count is in the store: another life of the engine knows it.
    dic.signal(Process::Engine, Signal::KILL);
    until("the engine is back", TIME, async || (client.get("/metadata").await.status == 200).then_some(())).await;
    send().await.expect(403);

    tools_tell_what_happened(dic).await;
    std::fs::remove_file(dic.path("policies/portal.toml")).unwrap();
}

async fn tools_tell_what_happened(dic: &Node) {
    let before = tests::network::folder();
    for file in std::fs::read_dir(dic.path("policies")).unwrap() {
        let file = file.unwrap().path();
        if !file.ends_with("portal.toml") {
            std::fs::copy(&file, before.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let at = |command: &str, rest: &[&str]| {
        let mut all = vec![command.to_owned(), dic.directory.display().to_string()];
        all.extend(rest.iter().map(|text| (*text).to_owned()));
        Schleuse::run(&all)
    };
    let old = before.path().to_str().unwrap();
    let diff = at("diff", &["--candidate", old, "--format", "json"]);
    let changes: Value = diff.expect(1).json();
    let change = &changes["decisions"][0];
    assert_eq!(change["cells"], json!(["create Task"]), "{changes}");
    assert_eq!(change["callers"].as_array().unwrap().len(), 1, "{changes}");
    // What the restriction by time refused the shipped policy permits.
    let replay = at("replay", &["--policy", old, "--format", "json"]);
    let replayed = replay.expect(1).json();
    assert_eq!(replayed["changes"][0]["count"], json!(1), "{replayed}");
    let id = replayed["changes"][0]["correlation-id"].as_str().unwrap().to_owned();
    let told = schleuse(dic, &["explain", &id]);
    let said = told.expect(0).out;
    assert!(said.contains("portal-pings"), "{said}");
    assert!(at("matrix", &[]).expect(0).out.contains("2 a month"));
    assert!(at("check", &[]).expect(0).out.contains("the rules were proven"));
}

/// `[revocation] sources` is read again by a reload: the third program comes and goes with it.
#[tokio::test]
async fn a_reload_begins_and_ends_the_fetching_of_lists() {
    let place = tests::network::folder();
    let node = place.path().join("node");
    let (port, management) = tests::network::free_ports();
    let arguments = [
        "init".to_owned(),
        node.display().to_string(),
        "--organization-identifier=alone.example".to_owned(),
        format!("--base-url=https://localhost:{port}/fhir"),
        format!("--listen=127.0.0.1:{port}"),
        format!("--management=127.0.0.1:{management}"),
        "--development-certificates".to_owned(),
    ];
    Schleuse::run(&arguments).expect(0);
    let running = tests::network::run_node(&node, management).await;
    let settings = std::fs::read_to_string(node.join("node.toml")).unwrap();
    let report = node.join("refresh/state.json");
    assert!(!report.is_file());
    // Nobody answers there, and that is reported.
    let with = settings.replace("sources = []", "sources = [\"http://127.0.0.1:9/list.crl\"]");
    std::fs::write(node.join("node.toml"), with).unwrap();
    running.signal(Signal::HUP);
    until("the report of the refresher", TIME, async || report.is_file().then_some(())).await;
    std::fs::write(node.join("node.toml"), settings).unwrap();
    running.signal(Signal::HUP);
    until("the end of the refresher", TIME, async || running.err().contains("refresh stops").then_some(())).await;
}
