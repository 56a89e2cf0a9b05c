//! Ping-pong 2.0 between real nodes: both sides transfer bytes and tell how fast; nothing of it stays.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Schleuse, search, shared, tasks, until};

const TIME: Duration = Duration::from_secs(120);
const PING: &str = "http://dsf.dev/fhir/CodeSystem/ping";
const START: &str = "http://dsf.dev/fhir/StructureDefinition/task-start-ping|2.0";

/// Starts a ping with a number of bytes and gives the ended Task.
async fn ping(node: &str, bytes: i64) -> Value {
    let network = shared();
    let own = network.node(node).organization_identifier;
    let mut task = tasks::task("http://dsf.dev/bpe/Process/ping|2.0", START, "startPing", &own, &own);
    let coding = json!({ "coding": [{ "system": PING, "version": "2.0", "code": "download-resource-size-bytes" }] });
    task["input"].as_array_mut().unwrap().push(json!({ "type": coding, "valueDecimal": bytes }));
    let client = network.organization(node, node);
    let id = client.post("/Task", &task).await.expect(201).created_id();
    tasks::ended(&client, &id, TIME).await
}

/// Outputs of a code, which all have the version of these processes.
fn outputs<'t>(task: &'t Value, code: &str) -> Vec<&'t Value> {
    let outputs = task["output"].as_array().map_or(&[][..], Vec::as_slice);
    let of_code = |output: &&Value| output["type"]["coding"][0]["code"] == code;
    let found: Vec<&Value> = outputs.iter().filter(of_code).collect();
    assert!(found.iter().all(|output| output["type"]["coding"][0]["version"] == "2.0"), "{task}");
    found
}

/// A child of the details of a result.
fn child<'o>(output: &'o Value, name: &str) -> Option<&'o Value> {
    let details = &output["extension"][0];
    assert_eq!(details["url"], "http://dsf.dev/fhir/StructureDefinition/extension-ping-status");
    details["extension"].as_array().unwrap().iter().find(|child| child["url"] == name)
}

/// Demands both speeds and no errors.
fn is_measured(output: &Value) {
    for way in ["download-speed-from-remote", "upload-speed-to-remote"] {
        let speed = &child(output, way).unwrap_or_else(|| panic!("{way}: {output}"))["valueQuantity"];
        assert_eq!((&speed["unit"], &speed["code"]), (&json!("Mbps"), &json!("Mbit/s")), "{output}");
        assert!(speed["value"].as_f64().unwrap() > 0.0, "{output}");
    }
    assert!(child(output, "errors").is_none(), "{output}");
}

async fn binaries(client: &Client) -> usize {
    let every = search::all(client, "Binary", "").await;
    every.iter().filter(|binary| binary["contentType"] == "application/octet-stream").count()
}

#[tokio::test]
async fn both_directions_are_measured_and_what_was_transferred_is_removed() {
    let network = shared();
    for from in ["portal", "dic-1"] {
        let client = network.organization(from, from);
        let ended = ping(from, 200_000).await;
        assert_eq!(ended["status"], "completed", "{ended:#}");
        let results = outputs(&ended, "ping-status");
        assert_eq!(results.len(), network.nodes().len() - 1, "{ended:#}");
        for result in results {
            assert_eq!(result["valueCoding"]["code"], "pong-received", "{result}");
            is_measured(result);
        }
        until("what was offered is removed", TIME, async || (binaries(&client).await == 0).then_some(())).await;
    }
    // The other side has the same result, in the Task that it was sent.
    let at_dms = network.organization("dms", "dms");
    until("the pongs have ended", TIME, async || {
        let every = search::all(&at_dms, "Task", "").await;
        let is_ours = |task: &&Value| {
            task["instantiatesCanonical"] == "http://dsf.dev/bpe/Process/pong|2.0"
                && task["requester"]["identifier"]["value"] != "ttp.example"
                && tasks::value(task, "input", "message-name").as_deref() == Some("ping")
        };
        let pings: Vec<&Value> = every.iter().filter(is_ours).collect();
        if pings.len() < 2 || pings.iter().any(|task| task["status"] != "completed") {
            return None;
        }
        for task in pings {
            let results = outputs(task, "pong-status");
            assert_eq!((results.len(), &results[0]["valueCoding"]["code"]), (1, &json!("pong-send")), "{task:#}");
            is_measured(results[0]);
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_ping_without_transfer_has_no_speeds_and_the_command_line_starts_one_with() {
    let ended = ping("ttp", -1).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    for result in outputs(&ended, "ping-status") {
        assert_eq!(result["valueCoding"]["code"], "pong-received", "{result}");
        assert!(child(result, "download-speed-from-remote").is_none() && child(result, "errors").is_none(), "{result}");
    }
    let directory = shared().node("dms").directory.display().to_string();
    let target =
        format!("{PING}|target-endpoints=Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|dsf.ttp.example");
    let process = "http://dsf.dev/bpe/Process/ping|2.0";
    let started = ["--format", "json", "task", "start", &directory, process, "startPing", "--input", &target, "--wait"];
    let started = Schleuse::run_within(TIME, &started).expect(0).json();
    let results = outputs(&started["resource"], "ping-status");
    assert_eq!(results.len(), 1, "{started:#}");
    is_measured(results[0]);
}
