//! `start`: how long a node takes to be ready, and what it occupies while nobody asks.
//!
//! The node is made by `schleuse init` and run by `schleuse run`, as an administrator does it; ready is when the
//! management listener says so, which needs both processes and the allow-list between them. Stores: none yet, the one of
//! an earlier start, and one with many Tasks, which is made once and kept beside the results.

use std::path::Path;

use store::{IndexContext, Store, StoreError, StoreOptions};

use crate::Run;
use crate::error::{During as _, Outcome};
use crate::limits::STORED_TASKS;
use crate::own_node::{Node, ORGANIZATION};
use crate::report::{Report, Table, Target, number};
use crate::statistics::{Values, median};

/// Where partners would reach the node. It is stored and must stay; the node listens elsewhere.
const BASE_URL: &str = "https://localhost:8443/fhir";
/// Writers that share commits while the store is filled.
const LANES: u64 = 64;

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let count = if run.quick { 3 } else { 9 };
    let folder = tempfile::Builder::new().prefix("benchmark-").tempdir().during("making a temporary folder")?;

    say("first starts");
    let mut first = Vec::new();
    let mut node = None;
    for number in 0..count {
        let fresh = Node::init(run, &folder.path().join(format!("node-{number}")), BASE_URL)?;
        first.push(fresh.time_to_ready().await?);
        node = Some(fresh);
    }
    let node = node.during("starting a node")?;
    say("starts of a node with little in its store");
    let second = node.times_to_ready(count).await?;
    let small = node.memory().await?;

    let filled = filled_node(run).await?;
    say("starts of a node with many Tasks");
    let many = filled.times_to_ready(count).await?;
    let large = filled.memory().await?;

    let (first, second, many) = (Values::new(first), Values::new(second), Values::new(many));
    let full = format!("store with {STORED_TASKS} Tasks");
    let rows = [("first start, no store yet", &first), ("second start", &second), (full.as_str(), &many)].map(
        |(name, values)| {
            let at = |percent| number(values.percentile(percent));
            vec![name.to_owned(), at(0.0), at(50.0), at(100.0), values.len().to_string()]
        },
    );
    report.table(Table::new("Start to ready, ms", &["store", "least", "median", "most", "starts"], rows.into()));
    let rows = [("little in the store", &small), (full.as_str(), &large)].map(|(name, memory)| memory.row(name));
    report.table(Table::new(
        "Memory when idle, MB (10^6 bytes)",
        &["store", "RSS engine", "RSS gateway", "RSS both", "PSS both"],
        rows.into(),
    ));
    report.figure("first start to ready", first.p50(), "ms", Target::Below(300.0));
    report.figure("second start to ready", second.p50(), "ms", Target::Below(300.0));
    report.figure(format!("start to ready with {STORED_TASKS} Tasks"), many.p50(), "ms", Target::Below(1_000.0));
    report.figure("RSS of both processes, idle", small.both().rss as f64 / 1e6, "MB", Target::Below(60.0));
    report.value("PSS of both processes, idle", small.both().pss as f64 / 1e6, "MB");
    report.note("from the start of `schleuse run` until /ready answers 200, looked at every millisecond; files are in the page cache");
    Ok(())
}

// === A store with many Tasks ===

/// A node whose store has [`STORED_TASKS`] Tasks; made if there is none yet, or if the one of an earlier build does not
/// start any more.
async fn filled_node(run: &Run) -> Outcome<Node<'_>> {
    let directory = run.results.join(format!("node-with-{STORED_TASKS}-tasks"));
    // Written last: a directory without it is half made.
    let mark = directory.join("complete");
    if mark.is_file() {
        let node = Node::existing(run, &directory)?;
        match node.time_to_ready().await {
            Ok(_) => return Ok(node),
            Err(failure) => say(&format!("the kept node does not start and is made again ({failure})")),
        }
    }
    if directory.is_dir() {
        std::fs::remove_dir_all(&directory).during(format!("removing {}", directory.display()))?;
    }
    say(&format!("storing {STORED_TASKS} Tasks (once; kept in {})", directory.display()));
    let node = Node::init(run, &directory, BASE_URL)?;
    node.time_to_ready().await?;
    fill(&directory.join("data/engine.db"), STORED_TASKS).await.during("storing Tasks")?;
    // Checkpoints and whatever the engine does at its first start with them.
    let times = node.times_to_ready(2).await?;
    std::fs::write(&mark, format!("{:.0} ms\n", median(times))).during("writing a file")?;
    Ok(node)
}

async fn fill(path: &Path, tasks: u64) -> Result<(), StoreError> {
    let context = IndexContext { base: Some(BASE_URL.to_owned()), ..IndexContext::default() };
    let store = Store::open_sqlite(path, StoreOptions { context, ..StoreOptions::default() }).await?;
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        let store = store.clone();
        lanes.spawn(async move {
            for _ in (lane..tasks).step_by(LANES as usize) {
                let id = uuid::Uuid::new_v4().to_string();
                store.write(move |transaction| transaction.create(task(&id)?, &id).map(|_| ())).await?;
            }
            Ok::<_, StoreError>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.map_err(|error| StoreError::Panicked(error.to_string()))??;
    }
    store.close().await;
    Ok(())
}

/// A Task as it stands in the store when a ping is over.
fn task(id: &str) -> Result<fhir::Resource, StoreError> {
    let organization = serde_json::json!({
        "type": "Organization",
        "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": ORGANIZATION },
    });
    let coded = |code: &str, value: &str| {
        let coding = serde_json::json!({ "system": "http://dsf.dev/fhir/CodeSystem/bpmn-message", "code": code });
        serde_json::json!({ "type": { "coding": [coding] }, "valueString": value })
    };
    let task = serde_json::json!({
        "resourceType": "Task",
        "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0"] },
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}") }],
        "instantiatesCanonical": "http://dsf.dev/bpe/Process/ping|1.0",
        "status": "completed",
        "intent": "order",
        "authoredOn": "2026-11-22T12:00:00.000Z",
        "requester": organization,
        "restriction": { "recipient": [organization] },
        "input": [coded("message-name", "startPing"), coded("business-key", id)],
        "output": [{
            "type": { "coding": [{ "system": "http://dsf.dev/fhir/CodeSystem/ping", "code": "ping-status" }] },
            "valueCoding": { "system": "http://dsf.dev/fhir/CodeSystem/ping-status", "code": "pong-received" },
        }],
    });
    fhir::parse(fhir::Format::Json, task.to_string().as_bytes(), &fhir::Limits::default())
        .map_err(|error| StoreError::BadRow(error.to_string()))
}

fn say(what: &str) {
    eprintln!("start: {what}");
}
