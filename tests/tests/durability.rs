//! `kill -9` at any moment: what was accepted ends, nothing is stuck, nothing runs twice, no partner sees a duplicate.
//!
//! The portal pings three sites again and again while processes of every node are killed and started again by their
//! supervisor. Afterwards every Task of every node is looked at. `SCHLEUSE_SLOW=1` takes 200 pings instead of 20.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::binaries::is_slow;
use tests::chance::Chance;
use tests::client::JSON;
use tests::network::{Process, folder};
use tests::{Client, Network, Schleuse, search, tasks, until};
use uuid::Uuid;

/// A Task is accepted at last, however often its node was killed before.
const ACCEPT_TIME: Duration = Duration::from_secs(120);
/// Timers (20 s), messages that wait for their receiver (60 s), repetitions, and a busy machine.
const SETTLE_TIME: Duration = Duration::from_secs(180);
const SYSTEM: &str = "urn:ietf:rfc:3986";

#[tokio::test]
async fn killed_processes_lose_no_task_and_run_none_twice() {
    tokio::task::LocalSet::new().run_until(ping_among_kills()).await;
}

async fn ping_among_kills() {
    let (pings, kills) = if is_slow() { (200, 60) } else { (20, 12) };
    let network = Rc::new(Network::start(1));
    let (killed, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let killer = tokio::task::spawn_local(kill_at_random(Rc::clone(&network), Rc::clone(&killed), Rc::clone(&done)));

    let portal = network.organization("portal", "portal");
    let mut accepted = BTreeSet::new();
    let mut running = tokio::task::JoinSet::new();
    let mut started = 0;
    // On a fast machine the pings would be over before the killing has begun.
    while started < pings || killed.get() < kills {
        started += 1;
        // Four at a time; each waits for its end, so that kills fall into every phase of a ping.
        while running.len() >= 4 {
            accepted.insert(running.join_next().await.unwrap().unwrap());
        }
        let portal = portal.clone();
        running.spawn_local(async move {
            let id = start_ping(&portal).await;
            let _ = tasks::ended(&portal, &id, SETTLE_TIME).await;
            id
        });
    }
    accepted.extend(running.join_all().await);
    done.set(true);
    killer.await.unwrap();
    println!("{started} pings, {} kills", killed.get());
    assert_eq!(accepted.len(), started, "every accepted Task is one of its own");
    everything_ended_once(&network, &accepted).await;
}

#[tokio::test]
async fn network_that_is_killed_whole_goes_on_where_it_was() {
    let place = folder();
    let directory = place.path().join("net");
    let mut chance = Chance::begin();
    let mut accepted = BTreeSet::new();
    for run in 0..if is_slow() { 10 } else { 2 } {
        let notes = place.path().join(format!("notes-{run}"));
        std::fs::create_dir(&notes).unwrap();
        let mut network = Network::start_in(&directory, &notes, 1).unwrap();
        let portal = network.organization("portal", "portal");
        for _ in 0..5 {
            accepted.insert(start_ping(&portal).await);
        }
        tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
        let nodes = network.nodes();
        network.guard().signal(Signal::KILL);
        for node in nodes {
            node.signal(Process::Engine, Signal::KILL);
            node.signal(Process::Gateway, Signal::KILL);
        }
    }
    let notes = place.path().join("notes-last");
    std::fs::create_dir(&notes).unwrap();
    let network = Network::start_in(&directory, &notes, 1).unwrap();
    everything_ended_once(&network, &accepted).await;
}

/// Kills one process after another until told to stop; the next when `demo.json` shows that the one before is back.
async fn kill_at_random(network: Rc<Network>, killed: Rc<Cell<u32>>, done: Rc<Cell<bool>>) {
    let mut chance = Chance::begin();
    let names: Vec<String> = network.nodes().into_iter().map(|node| node.name).collect();
    while !done.get() {
        let name = chance.one_of(&names).clone();
        let process = *chance.one_of(&[Process::Engine, Process::Gateway]);
        network.kill(&name, process).await;
        killed.set(killed.get() + 1);
        tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
    }
}

/// Creates a Task that starts a ping, as often as it takes, with one identifier; gives its id.
async fn start_ping(portal: &Client) -> String {
    let identifier = format!("urn:uuid:{}", Uuid::new_v4());
    let mut task = tasks::start_ping("portal.example");
    task["identifier"] = json!([{ "system": SYSTEM, "value": identifier }]);
    let condition = format!("identifier={SYSTEM}|{identifier}");
    let fields = [("accept", JSON), ("content-type", JSON), ("if-none-exist", condition.as_str())];
    until("a Task to be accepted", ACCEPT_TIME, async || {
        let answer = portal.try_send("POST", "/Task", &fields, task.to_string()).await.ok()?;
        // Between the death of a process and its return the gateway says 502, 503 or 504, or nobody says anything.
        assert!([200, 201, 502, 503, 504].contains(&answer.status), "{} {}", answer.status, answer.text());
        matches!(answer.status, 200 | 201).then(|| answer.created_id())
    })
    .await
}

async fn everything_ended_once(network: &Network, accepted: &BTreeSet<String>) {
    for node in network.nodes() {
        node.until_ready().await;
    }
    let mut statuses: BTreeMap<String, u32> = BTreeMap::new();
    for node in network.nodes() {
        let client = network.organization(&node.name, &node.name);
        let every = until(&format!("the end of every Task of {}", node.name), SETTLE_TIME, async || {
            let every = search::all(&client, "Task", "").await;
            every.iter().all(has_ended).then_some(every)
        })
        .await;
        no_duplicates(&node.name, &every);
        for task in &every {
            let reason = tasks::value(task, "output", "error");
            assert!(task["status"] != "failed" || reason.is_some(), "failed without a reason: {task:#}");
            if task["status"] == "draft" {
                continue;
            }
            *statuses.entry(format!("{} {} {}", node.name, message(task), task["status"])).or_default() += 1;
        }
        instances_match_tasks(&node, &every);
        if node.name == "portal" {
            started_once(&every, accepted);
        }
        Schleuse::run(&[OsStr::new("audit"), OsStr::new("verify"), node.directory.as_os_str()]).expect(0);
    }
    println!("{statuses:#?}");
}

fn has_ended(task: &Value) -> bool {
    task["status"] == "completed" || task["status"] == "failed" || task["status"] == "draft"
}

fn message(task: &Value) -> String {
    tasks::value(task, "input", "message-name").unwrap_or_default()
}

/// No two Tasks with one identifier, and no two pings or pongs with one correlation key.
fn no_duplicates(node: &str, every: &[Value]) {
    let mut identifiers = BTreeSet::new();
    let mut exchanges = BTreeSet::new();
    for task in every.iter().filter(|task| task["status"] != "draft") {
        let identifier =
            task["identifier"][0]["value"].as_str().unwrap_or_else(|| panic!("a Task without identifier: {task:#}"));
        assert!(identifiers.insert(identifier.to_owned()), "{node} has {identifier} twice");
        if let Some(key) = tasks::value(task, "input", "correlation-key") {
            assert!(exchanges.insert((message(task), key.clone())), "{node} has {} {key} twice", message(task));
        }
    }
}

/// Every accepted Task is there, and a completed one names each site once.
fn started_once(every: &[Value], accepted: &BTreeSet<String>) {
    let started: Vec<&Value> =
        every.iter().filter(|task| message(task) == "startPing" && task["status"] != "draft").collect();
    let ids: BTreeSet<String> = started.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(&ids, accepted, "the Tasks that were accepted are those that are there");
    let pongs: BTreeSet<String> = every
        .iter()
        .filter(|task| message(task) == "pong")
        .filter_map(|task| tasks::value(task, "input", "correlation-key"))
        .collect();
    for task in started.into_iter().filter(|task| task["status"] == "completed") {
        let replies = tasks::replies(task);
        let sites: Vec<&str> = replies.iter().map(|reply| reply.organization.as_str()).collect();
        assert_eq!(sites, ["dic-1.example", "dms.example", "ttp.example"], "{task:#}");
        for reply in &replies {
            assert!(
                ["pong-received", "pong-missing", "not-reachable", "not-allowed"].contains(&reply.status.as_str()),
                "{reply:?}"
            );
            assert!(reply.status != "pong-received" || pongs.contains(&reply.correlation_key), "{reply:?}");
            assert!(reply.status != "not-reachable" || reply.error.is_some(), "{reply:?}");
        }
    }
}

/// One instance for each Task that starts a process, and none that still runs.
fn instances_match_tasks(node: &tests::Node, every: &[Value]) {
    let status =
        Schleuse::run(&[OsStr::new("--format"), OsStr::new("json"), OsStr::new("status"), node.directory.as_os_str()])
            .expect(0)
            .json();
    let mut instances: BTreeMap<String, u64> = BTreeMap::new();
    for instance in status["instances"].as_array().unwrap() {
        assert_ne!(instance["state"], "active", "{status:#}");
        *instances.entry(instance["process"].as_str().unwrap().to_owned()).or_default() +=
            instance["count"].as_u64().unwrap();
    }
    for (process, starts_with) in [("dsfdev_ping", "startPing"), ("dsfdev_pong", "ping")] {
        let tasks =
            every.iter().filter(|task| message(task) == starts_with && task["status"] != "draft").count() as u64;
        let found = instances.get(process).copied().unwrap_or(0);
        assert_eq!(found, tasks, "{}: instances of {process}: {status:#}", node.name);
    }
    assert_eq!(status["messages-waiting"], 0, "{status:#}");
}
