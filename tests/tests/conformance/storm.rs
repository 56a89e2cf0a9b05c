//! `kill -9` of the engine among transactions and uploads: what was answered is whole, the rest is not there at all, and
//! the store fits together (`schleuse check --deep`).

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tests::client::JSON;
use tests::{Client, Schleuse, until};

use crate::resources::{all, identifier, patient, post, unique};
use crate::subject::{self, Own, Subject, is_foreign, total};

/// Patients of one transaction.
const PATIENTS: u64 = 7;
/// Bytes of one upload, more than two pieces.
const UPLOAD: usize = 2_500_000;
/// Times that the engine is killed.
const KILLS: u32 = 4;

fn marked(mark: &str) -> Value {
    let mut patient = patient(&[all()]);
    patient["identifier"] = json!([identifier("http://test.example/storm", mark)]);
    patient
}

/// Sends transactions until told to stop; gives each with whether it was answered.
async fn transactions(client: Client, stop: Arc<AtomicBool>) -> Vec<(String, bool)> {
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mark = unique("storm");
        let entries: Vec<Value> = (0..PATIENTS).map(|_| post(&marked(&mark))).collect();
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries }).to_string();
        let fields = [("content-type", JSON), ("accept", JSON), ("prefer", "return=minimal")];
        let answer = client.try_send("POST", "", &fields, bundle).await;
        let is_answered = answer.is_ok_and(|answer| answer.status == 200);
        if !is_answered {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sent.push((mark, is_answered));
    }
    sent
}

/// Uploads until told to stop; gives the ids of what was answered.
async fn uploads(client: Client, context: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let content: Vec<u8> = (0..=255).cycle().take(UPLOAD).collect();
    let mut stored = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let fields = [
            ("content-type", "application/zip"),
            ("x-security-context", context.as_str()),
            ("accept", JSON),
            ("prefer", "return=minimal"),
        ];
        match client.try_send("POST", "/Binary", &fields, content.clone()).await {
            Ok(answer) if answer.status == 201 => stored.push(answer.created_id()),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    stored
}

/// The engine that the supervisor runs now.
fn engine_of(own: &Own) -> Option<Pid> {
    let supervisor = own.guard.pid().as_raw_nonzero().get().to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().find_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let parent = rest.split_whitespace().nth(1)?;
        let is_engine = name.starts_with("schleuse-engin") && parent == supervisor;
        is_engine.then(|| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))?
    })
}

async fn until_ready(subject: &Subject) {
    until("the node to be ready", Duration::from_secs(60), async || {
        let answer = subject.loc.try_send("GET", "/metadata", &[("accept", JSON)], "").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_engine_leaves_nothing_half_done() {
    if is_foreign() {
        println!("skipped: processes of a foreign node are not killed");
        return;
    }
    let subject = subject::own().await;
    let own = subject.own.as_ref().unwrap();
    let context = format!("Patient/{}", subject.create(&patient(&[all()])).await);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4).map(|_| tokio::spawn(transactions(subject.loc.clone(), Arc::clone(&stop)))).collect();
    let uploaders: Vec<_> =
        (0..2).map(|_| tokio::spawn(uploads(subject.loc.clone(), context.clone(), Arc::clone(&stop)))).collect();
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(300 + u64::from(kill) * 170)).await;
        let engine = until("the engine", Duration::from_secs(60), async || engine_of(own)).await;
        rustix::process::kill_process(engine, Signal::KILL).unwrap();
        until_ready(&subject).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for writer in writers {
        for (mark, is_answered) in writer.await.unwrap() {
            let found = total(&subject.loc, &format!("/Patient?identifier={mark}&_count=0")).await;
            answered += u64::from(is_answered);
            if is_answered {
                assert_eq!(found, PATIENTS, "an answered transaction is lost");
            } else {
                assert!(found == 0 || found == PATIENTS, "{found} of {PATIENTS} resources of a transaction");
            }
        }
    }
    assert!(answered > 0);
    for uploader in uploaders {
        for id in uploader.await.unwrap() {
            let fields = [("accept", "application/zip")];
            let answer = subject.loc.send("GET", &format!("/Binary/{id}"), &fields, "").await.expect(200);
            assert!(answer.body.len() == UPLOAD && answer.body.iter().zip((0..=255).cycle()).all(|(a, b)| *a == b));
        }
    }
    let arguments = ["--format", "json", "check", "--deep"].map(OsStr::new);
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([own.directory.as_os_str()]).collect();
    let checked = Schleuse::run(&arguments).expect(0).json();
    assert_eq!(checked["store"]["problems"], json!([]));
    assert!(checked["store"]["resources"].as_u64().unwrap() >= answered * PATIENTS, "{checked}");
}
