//! The audit log: it says who did what by which rule, nothing of what was in it, and it shows when it was changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::chance::Chance;
use tests::network::{Network, Process, folder};
use tests::{Output, Schleuse, shared, tasks, until};
use uuid::Uuid;

fn verify(path: &Path) -> Output {
    Schleuse::run(&[OsStr::new("audit"), OsStr::new("verify"), path.as_os_str()])
}

/// The records of a chain.
fn records(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))["record"].clone()
        })
        .collect()
}

#[tokio::test]
async fn chains_of_every_node_are_intact_while_they_grow() {
    let network = shared();
    let portal = network.organization("portal", "portal");
    for _ in 0..2 {
        let replies = tasks::run_ping(&portal, "portal.example").await;
        assert!(replies.iter().all(|reply| reply.status == "pong-received"), "{replies:?}");
        for node in network.nodes() {
            let output = verify(&node.directory).expect(0);
            assert_eq!(output.out.matches("intact").count(), 2, "{}", output.out);
        }
    }
    let json = Schleuse::run(&[
        OsStr::new("--format"),
        OsStr::new("json"),
        OsStr::new("audit"),
        OsStr::new("verify"),
        network.node("portal").directory.as_os_str(),
    ]);
    let json = json.expect(0).json();
    let chains = json["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 2);
    assert!(
        chains.iter().all(|chain| chain["intact"] == true && chain["report"]["records"].as_u64() > Some(3)),
        "{json:#}"
    );
}

#[tokio::test]
async fn any_change_of_a_chain_is_found() {
    let network = shared();
    let portal = network.organization("portal", "portal");
    tasks::run_ping(&portal, "portal.example").await;
    let place = folder();
    let mut chance = Chance::begin();
    for name in ["gateway", "engine"] {
        let original = std::fs::read(network.node("portal").path(&format!("audit/{name}.log"))).unwrap();
        // The newest line may still be in writing.
        let end = original.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let original = &original[..end];
        let file = place.path().join(format!("{name}.log"));
        let check = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            verify(&file)
        };
        check(original).expect(0);
        let lines: Vec<&[u8]> = original.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines.len() > 5, "{name}");
        for _ in 0..12 {
            let position = usize::try_from(chance.below(original.len() as u64 - 1)).unwrap();
            let mut changed = original.to_vec();
            changed[position] ^= 1 << chance.below(7);
            let line = 1 + original[..position].iter().filter(|byte| **byte == b'\n').count();
            let output = check(&changed).expect(1);
            assert!(output.out.contains("BROKEN"), "{}", output.out);
            // A changed line end breaks the line that it joins with.
            assert!(
                output.out.contains(&format!("line {line}")),
                "byte {position} of {name} in line {line}: {}",
                output.out
            );
        }
        let without = |skip: usize| {
            lines
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != skip)
                .flat_map(|(_, line)| line.to_vec())
                .collect::<Vec<u8>>()
        };
        let output = check(&without(2)).expect(1);
        assert!(output.out.contains("line 3"), "{}", output.out);
        let mut swapped = lines.clone();
        swapped.swap(2, 3);
        check(&swapped.concat()).expect(1);
        let mut repeated = lines.clone();
        repeated.insert(3, lines[2]);
        check(&repeated.concat()).expect(1);
        // A line that is not finished is what a crash leaves, and is said.
        let cut = check(&original[..original.len() - 5]).expect(0);
        assert!(cut.out.contains("unfinished"), "{}", cut.out);
    }
}

#[tokio::test]
async fn edge_t80_decisions_are_recorded_with_identity_and_rule_and_without_content() {
    let network = shared();
    let portal = network.node("portal");
    let remote = network.organization("dic-1", "portal");
    let secret = Uuid::new_v4().to_string();
    let task = tasks::ping(&network.node("dic-1"), &portal);
    let business_key = tasks::value(&task, "input", "business-key").unwrap();
    let created = remote.post("/Task", &task).await.expect(201);
    let denied = remote
        .send("DELETE", "/Organization/1", &[("user-agent", "evil \\\"agent\\\" {\"event\":\"permit\"}")], "")
        .await
        .expect(403);
    let searched = remote.get(&format!("/Task?identifier={secret}")).await.expect(200);
    let stranger = network.stranger("portal").get("/metadata").await.expect(403);
    let id = |answer: &tests::Answer| answer.field("x-correlation-id").unwrap().to_owned();
    let log = portal.text("audit/gateway.log");
    let every = records(&log[..log.rfind('\n').unwrap() + 1]);
    let of = |answer: &tests::Answer| -> Vec<&Value> {
        let id = id(answer);
        every.iter().filter(|record| record["correlation-id"] == id.as_str()).collect()
    };
    let record = of(&created)[0];
    assert_eq!(record["event"], "permit", "{record:#}");
    assert_eq!((record["name"].as_str(), record["rule"].as_str()), (Some("dic-1.example"), Some("remote-task-create")));
    assert_eq!((record["method"].as_str(), record["interaction"].as_str()), (Some("POST"), Some("create")));
    assert_eq!(record["thumbprint"].as_str().map(str::len), Some(128));
    assert!(record["policy-version"].as_str().is_some_and(|version| version.len() == 64), "{record:#}");
    assert!(of(&created).iter().any(|record| record["status"] == 201), "the result of a write is recorded");
    let record = of(&denied)[0];
    assert_eq!(record["event"], "deny", "{record:#}");
    assert!(record["code"].as_str().is_some_and(|code| code.starts_with("GW-POL-")), "{record:#}");
    assert_eq!(of(&searched).len(), 1);
    let record = of(&stranger)[0];
    assert_eq!(record["code"], "GW-IDENT-003", "{record:#}");
    for hidden in [&secret, &business_key, &"evil".to_owned()] {
        assert!(!log.contains(hidden.as_str()), "the gateway's log shows {hidden}");
    }
    until("the engine's record", Duration::from_secs(20), async || {
        portal.text("audit/engine.log").contains(&id(&created)).then_some(())
    })
    .await;
    assert!(!portal.text("audit/engine.log").contains(&business_key));
}

#[tokio::test]
async fn administration_is_recorded() {
    let ttp = shared().node("ttp");
    Schleuse::run(&[OsStr::new("status"), ttp.directory.as_os_str()]).expect(0);
    let log = ttp.text("audit/engine.log");
    let every = records(&log[..log.rfind('\n').unwrap() + 1]);
    assert!(
        every.iter().any(|record| record["event"] == "administration" && record["command"] == "GET /status"),
        "{log}"
    );
}

#[tokio::test]
async fn records_are_found_exported_and_signed() {
    let network = Network::start(1);
    let portal = network.node("portal");
    let remote = network.organization("dic-1", "portal");
    let answer = remote.get("/Organization?_count=1&name=Meyer").await.expect(200);
    let id = answer.field("x-correlation-id").unwrap().to_owned();
    let denied = remote.delete("/Task/0190a5d2-0000-7000-8000-000000000001").await.expect(403);
    let denied = denied.field("x-correlation-id").unwrap().to_owned();
    let directory = portal.directory.display().to_string();
    let run = |arguments: &[&str]| {
        let mut all = vec!["audit".to_owned(), arguments[0].to_owned(), directory.clone()];
        all.extend(arguments[1..].iter().map(|text| (*text).to_owned()));
        Schleuse::run(&all)
    };
    let found = run(&["search", "--correlation-id", &id, "--format", "json"]).expect(0).json();
    let chains: Vec<&str> =
        found["records"].as_array().unwrap().iter().map(|record| record["chain"].as_str().unwrap()).collect();
    assert!(chains.contains(&"gateway") && chains.contains(&"engine"), "{found:#}");
    let refused = run(&["search", "--event", "deny", "--name", "dic-1.example", "--format", "json"]).expect(0).json();
    assert!(refused["records"].as_array().unwrap().iter().any(|found| found["record"]["correlation-id"] == denied));
    run(&["search", "--since", "2100-01-01T00:00:00Z"]).expect(1);
    run(&["search", "--since", "yesterday"]).expect(2);

    let exported = run(&["export", "--form", "fhir", "--correlation-id", &denied]).expect(0).out;
    let event: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!(event["resourceType"], "AuditEvent");
    assert_eq!((&event["action"], &event["outcome"]), (&"D".into(), &"8".into()), "{event:#}");
    assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "dic-1.example");
    let lines = run(&["export", "--correlation-id", &id]).expect(0).out;
    assert!(lines.lines().count() >= 2 && !lines.contains("Meyer"), "{lines}");

    // A process that stops signs what it has recorded.
    let before = portal.gateway_pid;
    portal.signal(Process::Gateway, Signal::TERM);
    until("another life of the gateway", Duration::from_secs(60), async || {
        let pid = network.node("portal").gateway_pid;
        (pid != before).then_some(())
    })
    .await;
    let verified = run(&["verify", "--format", "json"]).expect(0).json();
    let gateway = &verified["chains"][0];
    assert!(gateway["signed"]["checkpoints"].as_u64() >= Some(1), "{verified:#}");
    assert!(gateway["signed"]["signed-to"].as_u64() >= Some(3), "{verified:#}");
    let lone = folder();
    let copy = lone.path().join("gateway.log");
    std::fs::copy(portal.path("audit/gateway.log"), &copy).unwrap();
    let alone = Schleuse::run(&["audit".as_ref(), "verify".as_ref(), copy.as_os_str()]).expect(0).out;
    assert!(alone.contains("which was not given"), "{alone}");
    // A signature that was changed, in a line that was sealed again, is told.
    let text = std::fs::read_to_string(&copy).unwrap();
    let checkpoint = text.lines().position(|line| line.contains("\"event\":\"checkpoint\"")).unwrap();
    std::fs::write(&copy, text.replacen("\"event\":\"checkpoint\"", "\"event\":\"chackpoint\"", 1)).unwrap();
    let broken = Schleuse::run(&["audit".as_ref(), "verify".as_ref(), copy.as_os_str()]).expect(1).out;
    assert!(broken.contains(&format!("line {}", checkpoint + 1)), "{broken}");
}
