//! The audit log on its way out: sinks that take it, that are dead, slow, false or come back; processes that are killed in
//! between. Through the real refresher, to a receiver of syslog over TLS and a journal that stand here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::development::{Authority, KeyType, Subject, Validity};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tests::network::{Network, Pair, Process};
use tests::receiver::{Manner, Receiver};
use tests::{Answer, Client, Node, Schleuse, tasks, until};
use time::OffsetDateTime;
use tokio::net::UnixDatagram;

/// For what takes seconds on a machine that does nothing else.
const TIME: Duration = Duration::from_secs(120);
/// `sink-patience` of the tests.
const PATIENCE: &str = "4s";

/// A node with sinks.
struct Lab {
    network: Network,
    folder: tempfile::TempDir,
    certificate: Pair,
}

/// A journal: the datagrams that came.
struct Journal(Arc<Mutex<Vec<String>>>);

// === impl Lab ===

impl Lab {
    fn new() -> Self {
        let network = Network::start(1);
        let folder = tests::network::folder();
        let certificate = server_certificate(&authority(&network), folder.path(), "receiver");
        Self { network, folder, certificate }
    }

    fn node(&self) -> Node {
        self.network.node("portal")
    }

    /// The organisation of the node, which may change things there.
    fn own(&self) -> Client {
        self.network.organization("portal", "portal")
    }

    async fn receiver(&self, port: u16) -> Receiver {
        Receiver::start(port, &self.certificate, &self.network.authority_certificate()).await
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    /// Puts these sinks in force.
    async fn ship_to(&self, port: u16, dead_sink: &str) {
        let node = self.node();
        let authority = authority(&self.network);
        let subject = Subject::german("Portal", "shipper");
        let own = authority.issue_organization(&subject, &[], KeyType::EcdsaP256, validity()).unwrap();
        std::fs::create_dir_all(node.path("syslog")).unwrap();
        let _ = Pair::write(&node.path("syslog"), "own", &own);
        if !node.text("node.toml").contains("[syslog]") {
            node.edit("node.toml", |text| {
                format!("{text}\n[syslog]\ncertificate = \"syslog/own.pem\"\nprivate-key = \"syslog/own.key\"\n")
            });
        }
        let sinks = format!("[\"tls-syslog://localhost:{port}\", \"journald:{}\"]", self.socket().display());
        let header = "schema = 1\n\n[audit]\nformat = \"json-lines\"\nlog-query-values = false\n";
        let audit = format!("{header}sink = {sinks}\ndead-sink = \"{dead_sink}\"\nsink-patience = \"{PATIENCE}\"\n");
        std::fs::write(node.path("policies/audit.toml"), audit).unwrap();
        for (process, name) in [(Process::Engine, "engine"), (Process::Gateway, "gateway")] {
            let metric = format!("schleuse_reload_last_success{{process=\"{name}\"");
            let before = node.metric(&metric).await.unwrap_or(0.0);
            node.signal(process, Signal::HUP);
            until("the reload", TIME, async || (node.metric(&metric).await.unwrap_or(0.0) > before).then_some(()))
                .await;
        }
    }

    /// Something that changes the store.
    async fn write(&self) -> Answer {
        let tag = json!({ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": "ALL" });
        self.own().post("/Patient", &json!({ "resourceType": "Patient", "meta": { "tag": [tag] } })).await
    }

    async fn until_writes(&self, status: u16) -> Answer {
        until(&format!("a write to be answered {status}"), TIME, async || {
            let answer = self.write().await;
            (answer.status == status).then_some(answer)
        })
        .await
    }

    async fn ready(&self) -> (u16, Value) {
        let (status, text) = self.node().manage("/ready").await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    /// What `/ready` says about the syslog receiver.
    async fn report(&self) -> Value {
        let (_, ready) = self.ready().await;
        let all = ready["audit-sinks"].as_array().unwrap().clone();
        all.into_iter().find(|sink| sink["sink"].as_str().unwrap().starts_with("tls-syslog")).unwrap()
    }

    /// Lines of both chains as they stand in the files now.
    fn lines(&self) -> BTreeSet<String> {
        let node = self.node();
        let text = node.text("audit/gateway.log") + &node.text("audit/engine.log");
        // The last line may be in writing.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until every line that stands in the files now has come, and returns what came.
    async fn until_all_have_come(&self, what: &str, came: impl Fn() -> Vec<String>) -> Vec<String> {
        let wanted = self.lines();
        until(what, TIME, async || {
            let all = came();
            let found: BTreeSet<&str> = all.iter().map(|message| line_of(message)).collect();
            wanted.iter().all(|line| found.contains(line.as_str())).then_some(all)
        })
        .await
    }

    /// The process id of the node's refresher.
    async fn refresher(&self) -> i32 {
        let directory = self.node().directory;
        until("a refresher", TIME, async || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).find(|pid: &i32| {
                let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
                words.first().is_some_and(|program| program.ends_with(b"schleuse-refresh"))
                    && words.contains(&directory.as_os_str().as_encoded_bytes())
            })
        })
        .await
    }
}

// === impl Journal ===

impl Journal {
    fn open(socket: &Path) -> Self {
        let socket = UnixDatagram::bind(socket).unwrap();
        let entries = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&entries);
        tokio::spawn(async move {
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(read) = socket.recv(&mut buffer).await {
                kept.lock().unwrap().push(String::from_utf8(buffer[..read].to_vec()).unwrap());
            }
        });
        Self(entries)
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn authority(network: &Network) -> Authority {
    let read = |name: &str| std::fs::read_to_string(network.authority().join(name)).unwrap();
    Authority::from_pem(&read("ca.pem"), &read("ca.key"), "authority").unwrap()
}

fn validity() -> Validity {
    Validity::days(OffsetDateTime::now_utc(), 30)
}

fn server_certificate(authority: &Authority, folder: &Path, name: &str) -> Pair {
    let subject = Subject::german("Test", name);
    Pair::write(folder, name, &authority.issue_server(&subject, &[], KeyType::EcdsaP256, validity()).unwrap())
}

/// The audit line in a message: behind the header, or in the field of a journal entry.
fn line_of(message: &str) -> &str {
    match message.split_once("\nMESSAGE=") {
        Some((_, line)) => line.trim_end_matches('\n'),
        None => message.find('{').map_or("", |at| &message[at..]),
    }
}

/// Numbers of a chain in the order in which they came.
fn sequences(messages: &[String], chain: &str) -> Vec<u64> {
    let of_chain = messages.iter().filter(|message| message.contains(&format!(" schleuse-{chain} ")));
    of_chain
        .map(|message| serde_json::from_str::<Value>(line_of(message)).unwrap()["sequence"].as_u64().unwrap())
        .collect()
}

/// Some may come twice; none comes before one that precedes it.
fn in_order_without_gaps(messages: &[String]) {
    for chain in ["gateway", "engine"] {
        let mut known = 0;
        for number in sequences(messages, chain) {
            assert!(number <= known + 1, "{chain}: {number} came before {}", known + 1);
            known = known.max(number);
        }
        assert!(known > 0, "{chain}");
    }
}

#[tokio::test]
async fn the_audit_log_leaves_the_node_and_a_dead_sink_stops_what_changes_something() {
    let lab = Lab::new();
    let journal = Journal::open(&lab.socket());
    let receiver = lab.receiver(0).await;
    let port = receiver.port();
    lab.ship_to(port, "refuse-writes").await;
    everything_arrives_in_order_at_every_sink(&lab, &receiver, &journal).await;
    let before = nothing_is_lost_when_processes_are_killed(&lab, receiver).await;
    a_dead_sink_stops_writes_until_it_lives_again(&lab, port, before).await;
    a_sink_that_is_not_whom_it_says_gets_nothing(&lab, port).await;
    a_sink_counts_only_what_was_confirmed(&lab, port).await;
    a_state_that_cannot_be_written_is_a_dead_sink(&lab, port).await;
    under_serve_records_wait_and_everything_goes_on(&lab, port).await;
}

async fn everything_arrives_in_order_at_every_sink(lab: &Lab, receiver: &Receiver, journal: &Journal) {
    lab.until_writes(201).await;
    lab.network.stranger("portal").get("/metadata").await.expect(403);
    let messages = lab.until_all_have_come("all records at the receiver", || receiver.messages()).await;
    in_order_without_gaps(&messages);
    let host = "localhost";
    for message in &messages {
        let (header, _) = message.split_once(" - {").unwrap();
        let fields: Vec<&str> = header.split(' ').collect();
        assert_eq!(fields.len(), 6, "{header}");
        assert!(["<108>1", "<110>1"].contains(&fields[0]), "{header}");
        assert!(fields[2] == host && fields[4] == "-", "{header}");
        OffsetDateTime::parse(fields[1], &time::format_description::well_known::Rfc3339).unwrap();
    }
    let refused = messages.iter().find(|message| message.contains("GW-IDENT-")).unwrap();
    assert!(refused.starts_with("<108>1 "), "a refusal is a warning: {refused}");
    lab.until_all_have_come("all records in the journal", || journal.entries()).await;
    let entry = journal.entries().remove(0);
    for field in ["PRIORITY=", "SYSLOG_IDENTIFIER=schleuse-", "SCHLEUSE_SEQUENCE=1\n"] {
        assert!(entry.contains(field), "{entry}");
    }
    let report = lab.report().await;
    assert_eq!((&report["alive"], &report["missing"]), (&json!(true), &json!(0)), "{report}");
}

async fn nothing_is_lost_when_processes_are_killed(lab: &Lab, receiver: Receiver) -> Vec<String> {
    for process in [None, Some(Process::Gateway), None, Some(Process::Engine)] {
        for _ in 0..3 {
            lab.own().get("/Patient").await.expect(200);
        }
        match process {
            Some(process) => lab.network.kill_and_await_restart("portal", process).await,
            None => {
                let pid = lab.refresher().await;
                rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
            }
        }
        lab.until_writes(201).await;
    }
    let messages = lab.until_all_have_come("all records after kills", || receiver.messages()).await;
    in_order_without_gaps(&messages);
    receiver.stop().await
}

async fn a_dead_sink_stops_writes_until_it_lives_again(lab: &Lab, port: u16, before: Vec<String>) {
    let refused = lab.until_writes(503).await;
    assert!(refused.text().contains("GW-AUDIT-002"), "{}", refused.text());
    lab.own().get("/Patient").await.expect(200);
    // A batch may hold anything.
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [] });
    lab.own().post("", &batch).await.expect(503);
    let (status, ready) = lab.ready().await;
    assert_eq!(status, 503, "{ready:#}");
    let report = lab.report().await;
    assert_eq!(report["alive"], json!(false), "{report}");
    assert!(report["error"].as_str().unwrap().contains("cannot be connected to"), "{report}");
    let dead = format!("schleuse_audit_sink_alive{{process=\"gateway\",sink=\"tls-syslog://localhost:{port}\"");
    assert_eq!(lab.node().metric(&dead).await, Some(0.0));
    let doctor = Schleuse::run(&["doctor".as_ref(), lab.node().directory.as_os_str(), "--offline".as_ref()]).expect(1);
    assert!(doctor.out.contains(&format!("tls-syslog://localhost:{port}")), "{}", doctor.out);

    let receiver = lab.receiver(port).await;
    lab.until_writes(201).await;
    let mut all = before;
    let wanted = lab.lines();
    until("the records that waited", TIME, async || {
        let came = receiver.messages();
        let found: BTreeSet<&str> = all.iter().chain(&came).map(|message| line_of(message)).collect();
        wanted.iter().all(|line| found.contains(line.as_str())).then_some(())
    })
    .await;
    all.extend(receiver.stop().await);
    let events: Vec<&String> = all.iter().filter(|message| message.contains("\"event\":\"audit-sink\"")).collect();
    assert!(events.iter().any(|event| event.contains("is dead")), "the death itself is recorded");
    assert!(events.iter().any(|event| event.contains("lives again")), "{events:?}");
}

async fn a_sink_that_is_not_whom_it_says_gets_nothing(lab: &Lab, port: u16) {
    let stranger = Authority::root(&Subject::german("Test", "Other CA"), KeyType::EcdsaP256, validity()).unwrap();
    let certificate = server_certificate(&stranger, lab.folder.path(), "false");
    let receiver = Receiver::start(port, &certificate, &lab.network.authority_certificate()).await;
    lab.until_writes(503).await;
    let report = lab.report().await;
    assert!(report["error"].as_str().unwrap().contains("no TLS connection"), "{report}");
    assert_eq!(receiver.stop().await, Vec::<String>::new());
    // And one that does not accept our certificate.
    let other = lab.folder.path().join("other.pem");
    std::fs::write(&other, stranger.certificate_pem()).unwrap();
    let receiver = Receiver::start(port, &lab.certificate, &other).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    lab.write().await.expect(503);
    assert_eq!(receiver.stop().await, Vec::<String>::new());
}

async fn a_sink_counts_only_what_was_confirmed(lab: &Lab, port: u16) {
    let receiver = lab.receiver(port).await;
    lab.until_writes(201).await;
    for manner in [Manner::Stalls, Manner::Resets, Manner::KeepsOpen] {
        receiver.behave(manner);
        lab.until_writes(503).await;
        receiver.behave(Manner::Good);
        lab.until_writes(201).await;
    }
    receiver.stop().await;
}

async fn a_state_that_cannot_be_written_is_a_dead_sink(lab: &Lab, port: u16) {
    let receiver = lab.receiver(port).await;
    lab.until_writes(201).await;
    let states: Vec<_> =
        std::fs::read_dir(lab.node().path("refresh")).unwrap().flatten().map(|entry| entry.path()).collect();
    let is_of_receiver = |path: &&std::path::PathBuf| {
        path.extension().is_some_and(|extension| extension == "json")
            && std::fs::read_to_string(path).unwrap_or_default().contains("tls-syslog")
    };
    let state = states.iter().find(is_of_receiver).unwrap();
    // What a full disk does, for any user: the file cannot be replaced.
    let kept = lab.folder.path().join("state.json");
    let blocked = until("the state to be taken away", TIME, async || {
        std::fs::rename(state, &kept).ok()?;
        std::fs::create_dir(state).ok()
    });
    blocked.await;
    lab.until_writes(503).await;
    std::fs::remove_dir(state).unwrap();
    lab.until_writes(201).await;
    receiver.stop().await;
}

async fn under_serve_records_wait_and_everything_goes_on(lab: &Lab, port: u16) {
    lab.ship_to(port, "serve").await;
    until("the sink to be dead", TIME, async || {
        lab.write().await.expect(201);
        (lab.report().await["alive"] == json!(false)).then_some(())
    })
    .await;
    lab.write().await.expect(201);
    let (status, ready) = lab.ready().await;
    assert_eq!(status, 200, "{ready:#}");
    let receiver = lab.receiver(port).await;
    until("the sink to live", TIME, async || (lab.report().await["alive"] == json!(true)).then_some(())).await;
    let last = lab.write().await.expect(201).field("x-correlation-id").unwrap().to_owned();
    until("the last record", TIME, async || {
        receiver.messages().iter().any(|message| message.contains(&last)).then_some(())
    })
    .await;
    let replies = tasks::run_ping(&lab.own(), "portal.example").await;
    assert!(!replies.is_empty());
}
