//! PostgreSQL as the store: the demonstration, two engines on one database, an engine that is killed, a server that is
//! restarted. Each test has networks of its own; without `SCHLEUSE_TEST_POSTGRES` (`scripts/with-postgres`) they say that
//! nothing was tested.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guard::Guard;
use tests::network::{folder, free_ports, run_node};
use tests::{Client, Network, Node, Schleuse, search, tasks, until, websocket};

const DEMO_TIME: Duration = Duration::from_secs(240);
/// Pings that are under way when something ends.
const PINGS: usize = 8;

fn server() -> Option<String> {
    let url = std::env::var("SCHLEUSE_TEST_POSTGRES").ok();
    if url.is_none() {
        println!("not tested on PostgreSQL: SCHLEUSE_TEST_POSTGRES is not set; scripts/with-postgres sets it");
    }
    url
}

fn database_engine_files(from: &Path, to: &Path, ports: (u16, u16)) {
    for folder in ["certificates", "policies", "trust"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
    let settings = std::fs::read_to_string(from.join("node.toml")).unwrap();
    let address = |section: &str, port: u16, text: &str| {
        let start = text.find(&format!("[{section}]")).unwrap();
        let line = start + text[start..].find("\naddress = ").unwrap() + 1;
        let end = line + text[line..].find('\n').unwrap();
        format!("{}address = \"127.0.0.1:{port}\"{}", &text[..line], &text[end..])
    };
    let settings = address("management", ports.1, &address("listen", ports.0, &settings));
    std::fs::write(to.join("node.toml"), settings).unwrap();
}

/// A second engine, with a gateway, for the database of a node.
struct Second {
    guard: Guard,
    client: Client,
    directory: PathBuf,
    port: u16,
}

/// Both gateways serve the base URL of the node, as behind something that shares out connections.
async fn second(network: &Network, node: &Node, place: &Path) -> Second {
    let ports = free_ports();
    let directory = place.join("second");
    database_engine_files(&node.directory, &directory, ports);
    let guard = run_node(&directory, ports.1).await;
    let client = network.organization("portal", "portal").reached_at(ports.0);
    Second { guard, client, directory, port: ports.0 }
}

fn code_system(name: &str) -> Value {
    let tag = json!({ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": "ALL" });
    json!({
        "resourceType": "CodeSystem", "meta": { "tag": [tag] }, "url": format!("http://example.org/{name}"),
        "version": "1.0", "name": format!("Test{}", name.replace('-', "")), "status": "active", "date": "2026-11-22",
        "content": "complete"
    })
}

#[test]
fn demonstration_succeeds_twice_on_a_database_server() {
    let Some(url) = server() else { return };
    let place = folder();
    let directory = place.path().join("net");
    for _ in 0..2 {
        let mut arguments =
            ["demo", "--once", "--sites", "1", "--port", "0", "--store", &url, "--directory"].map(OsStr::new).to_vec();
        arguments.push(directory.as_os_str());
        let output = Schleuse::run_within(DEMO_TIME, &arguments).expect(0);
        assert_eq!(output.out.matches("pong-received").count(), 3, "{}", output.out);
    }
    assert!(!directory.join("nodes/dic-1/data/engine.db").exists());
}

#[tokio::test]
async fn two_engines_on_one_database_are_one_endpoint() {
    let Some(url) = server() else { return };
    let place = folder();
    let network = Network::start_on(1, Some(&url));
    let node = network.node("portal");
    let second = second(&network, &node, place.path()).await;
    let first = network.organization("portal", "portal");
    let engines = [&first, &second.client];

    // What one stores the other reads, changes and keeps unique.
    let id = first.post("/CodeSystem", &code_system("one")).await.expect(201).created_id();
    let found = second.client.get(&format!("/CodeSystem/{id}")).await.expect(200);
    assert_eq!(found.json()["meta"]["versionId"], "1");
    let mut changed = found.json();
    changed["name"] = json!("Changed");
    second.client.put(&format!("/CodeSystem/{id}"), &changed).await.expect(200);
    let history = first.get(&format!("/CodeSystem/{id}/_history")).await.expect(200).json();
    assert_eq!(history["total"], 2, "{history:#}");
    second.client.post("/CodeSystem", &code_system("one")).await.expect(403);
    for round in 0..4 {
        let resource = code_system(&format!("both-{round}"));
        let [one, two] = engines.map(|client| client.post("/CodeSystem", &resource));
        let (one, two) = tokio::join!(one, two);
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 403], "round {round}");
    }

    // A client of the second engine hears of what the first one stores.
    let subscriptions = search::all(&second.client, "Subscription", "").await;
    let subscription = subscriptions
        .iter()
        .find(|found| found["criteria"].as_str().is_some_and(|criteria| criteria.starts_with("Task?")))
        .expect("a Subscription of Tasks");
    let mut socket = websocket::open(&second.client).await.expect("the local organisation");
    let bind = format!("bind {}", subscription["id"].as_str().unwrap());
    websocket::say(&mut socket, &bind).await;
    let bound = websocket::hear(&mut socket).await.unwrap();
    assert!(bound.starts_with("bound "), "{bound}");
    let started = first.post("/Task", &tasks::start_ping("portal.example")).await.expect(201).created_id();
    let heard = websocket::hear(&mut socket).await.expect("an event of the other engine");
    assert!(heard.contains("Task") && heard.contains(&started), "{heard}");

    // A new member is known to the gateways of both.
    let mut organization =
        search::all(&first, "Organization", "identifier=http://dsf.dev/sid/organization-identifier|dic-1.example")
            .await[0]
            .clone();
    organization["active"] = json!(false);
    let id = organization["id"].as_str().unwrap().to_owned();
    first.put(&format!("/Organization/{id}"), &organization).await.expect(200);
    let removed = network.organization("dic-1", "portal").reached_at(second.port);
    until("the removed member to be refused by the other engine", Duration::from_secs(20), async || {
        (removed.get("/metadata").await.status == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn plug_ins_that_one_engine_is_told_to_load_are_loaded_by_the_other_and_not_taken_away_by_it() {
    let Some(url) = server() else { return };
    let place = folder();
    let network = Network::start_on(1, Some(&url));
    let node = network.node("portal");
    let other = second(&network, &node, place.path()).await;
    let text = |path: &Path| path.display().to_string();
    let example = place.path().join("hello");
    Schleuse::run(&["process", "new", &text(&example)]).expect(0);
    let is_listed = |directory: &Path| {
        let list = Schleuse::run(&["--format", "json", "process", "list", &text(directory)]).expect(0).json();
        list["processes"].as_array().unwrap().iter().any(|process| process["key"] == "exampleorg_hello")
    };
    // Its files are on both machines, and nobody has said anything to the second engine.
    for part in ["bpe", "fhir/ActivityDefinition", "fhir/StructureDefinition", "fhir/Questionnaire"] {
        let to = other.directory.join("plugins/hello").join(part);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(example.join(part)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(example.join("plugin.toml"), other.directory.join("plugins/hello/plugin.toml")).unwrap();
    assert!(!is_listed(&other.directory) && !is_listed(&node.directory));
    Schleuse::run(&["process", "install", &text(&example), &text(&node.directory)]).expect(0);
    assert!(is_listed(&node.directory));
    until("the other engine to load the plug-in", Duration::from_secs(60), async || {
        is_listed(&other.directory).then_some(())
    })
    .await;

    // An engine whose folder lacks it does not take away what partners need of it: neither when it starts nor when an
    // operator orders something else.
    std::fs::remove_dir_all(other.directory.join("plugins/hello")).unwrap();
    let directory = other.directory.clone();
    drop(other);
    let ports = free_ports();
    let again = place.path().join("again");
    std::fs::create_dir_all(again.join("plugins")).unwrap();
    database_engine_files(&directory, &again, ports);
    let _guard = run_node(&again, ports.1).await;
    assert!(!is_listed(&again));
    let ping = "http://dsf.dev/bpe/Process/ping|1.0";
    Schleuse::run(&["process", "retire", ping, &text(&again)]).expect(0);
    Schleuse::run(&["process", "activate", ping, &text(&again)]).expect(0);
    let own = network.organization("portal", "portal");
    let url = "url=http://example.org/bpe/Process/hello";
    assert_eq!(search::all(&own, "ActivityDefinition", url).await.len(), 1);
}

#[tokio::test]
async fn what_a_killed_engine_was_doing_is_done_by_the_other() {
    let Some(url) = server() else { return };
    let place = folder();
    let network = Network::start_on(1, Some(&url));
    let node = network.node("portal");
    let mut second = second(&network, &node, place.path()).await;
    let first = network.organization("portal", "portal");
    let mut started = Vec::new();
    for _ in 0..PINGS {
        let task = tasks::start_ping("portal.example");
        started.push(second.client.post("/Task", &task).await.expect(201).created_id());
    }
    // All of it at once, so that nothing is handed over and nothing starts again.
    let children = children_of(second.guard.pid().as_raw_nonzero().get());
    assert!(children.len() >= 2, "gateway and engine of {}", second.directory.display());
    second.guard.signal(Signal::KILL);
    for child in children {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(child).unwrap(), Signal::KILL);
    }
    all_completed(&first, &started).await;
    let _ = second.guard.stop();
}

async fn all_completed(client: &Client, started: &[String]) {
    for id in started {
        let task = until(&format!("Task {id} to end"), Duration::from_secs(180), async || {
            let answer = client.get(&format!("/Task/{id}")).await;
            let task = (answer.status == 200).then(|| answer.json())?;
            ["completed", "failed"].contains(&task["status"].as_str()?).then_some(task)
        })
        .await;
        assert_eq!(task["status"], "completed", "{task:#}");
        let replies = tasks::replies(&task);
        assert!(!replies.is_empty() && replies.iter().all(|reply| reply.status == "pong-received"), "{task:#}");
    }
}

fn children_of(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A server that other tests do not use.
struct OwnServer {
    process: Child,
    url: String,
    control: String,
}

impl OwnServer {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/with-postgres");
        let say = r#"echo "$SCHLEUSE_TEST_POSTGRES"; echo "$SCHLEUSE_TEST_POSTGRES_CONTROL"; cat >/dev/null"#;
        let mut process = Command::new(script)
            .args(["sh", "-c", say])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/with-postgres");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("a line of scripts/with-postgres").unwrap();
        let (url, control) = (line(), line());
        Self { process, url, control }
    }

    fn control(&self, what: &str) {
        assert!(Command::new(&self.control).arg(what).status().unwrap().success(), "{what}");
    }
}

/// The end of its input ends the script, which removes the server.
impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_or_killed_under_load_loses_nothing() {
    if server().is_none() {
        return;
    }
    let server = OwnServer::start();
    let network = Network::start_on(1, Some(&server.url));
    let portal = network.organization("portal", "portal");
    let mut started = Vec::new();
    for (round, what) in ["restart", "kill"].into_iter().enumerate() {
        let mut posting = tokio::task::JoinSet::new();
        for _ in 0..PINGS {
            let portal = network.organization("portal", "portal");
            posting.spawn(async move { portal.post("/Task", &tasks::start_ping("portal.example")).await });
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.control(what);
        for answer in posting.join_all().await {
            // What was accepted is there; what was not was said to be not.
            match answer.status {
                201 => started.push(answer.created_id()),
                status => assert!([500, 503].contains(&status), "round {round}: {status} {}", answer.text()),
            }
        }
        // The node goes on by itself.
        let id = until("a Task to be accepted again", Duration::from_secs(120), async || {
            let answer = portal.post("/Task", &tasks::start_ping("portal.example")).await;
            if answer.status != 201 {
                println!("round {round}: {} {}", answer.status, answer.text());
            }
            (answer.status == 201).then(|| answer.created_id())
        })
        .await;
        started.push(id);
    }
    for id in &started {
        portal.get(&format!("/Task/{id}")).await.expect(200);
        let task = until(&format!("Task {id} to end"), Duration::from_secs(180), async || {
            let task = portal.get(&format!("/Task/{id}")).await.json();
            ["completed", "failed"].contains(&task["status"].as_str()?).then_some(task)
        })
        .await;
        assert_eq!(task["status"], "completed", "{task:#}");
    }
}
