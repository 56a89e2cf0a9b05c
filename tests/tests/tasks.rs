//! Tasks at the door: which are taken, which are refused, and what becomes of those that are taken.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::client::{JSON, XML};
use tests::{Client, search, shared, tasks, until};
use uuid::Uuid;

const TASK_IDENTIFIER: &str = "urn:ietf:rfc:3986";

/// A change of a good Task, and what it shows.
type Change = (&'static str, fn(&mut Value));

fn ping() -> Value {
    let network = shared();
    tasks::ping(&network.node("dic-1"), &network.node("portal"))
}

fn remote() -> Client {
    shared().organization("dic-1", "portal")
}

async fn stored(task: &Value) -> u64 {
    let key = tasks::value(task, "input", "correlation-key").unwrap();
    let local = shared().organization("portal", "portal");
    let every = search::all(&local, "Task", "").await;
    every.iter().filter(|stored| tasks::value(stored, "input", "correlation-key").as_deref() == Some(&key)).count()
        as u64
}

#[tokio::test]
async fn valid_ping_is_created_and_a_pong_comes_back() {
    let network = shared();
    let task = ping();
    let created = remote().post("/Task", &task).await.expect(201);
    let id = created.created_id();
    let portal = network.node("portal");
    assert_eq!(created.field("location"), Some(format!("{}/Task/{id}/_history/1", portal.base_url).as_str()));
    assert_eq!(created.field("etag"), Some("W/\"1\""));
    let shown = created.json();
    assert_eq!((shown["id"].as_str(), shown["meta"]["versionId"].as_str()), (Some(id.as_str()), Some("1")));
    assert_eq!(shown["status"], "requested", "version 1 is what the 201 shows");

    let ended = tasks::ended(&remote(), &id, tasks::PING_TIME).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let replies = outputs(&ended, "pong-status");
    assert_eq!(replies.len(), 1, "{ended:#}");
    assert_eq!(replies[0]["valueCoding"]["code"], "pong-send");

    // The pong is a Task at the sender, with the keys of the ping. No ping process waits for it, so it fails there.
    let at_sender = network.organization("dic-1", "dic-1");
    let key = tasks::value(&task, "input", "correlation-key");
    let pong = until("the pong", tasks::PING_TIME, async || {
        let found = search::all(&at_sender, "Task", "").await;
        found.into_iter().find(|found| tasks::value(found, "input", "correlation-key") == key)
    })
    .await;
    assert_eq!(tasks::value(&pong, "input", "message-name").as_deref(), Some("pong"));
    assert_eq!(tasks::value(&pong, "input", "business-key"), tasks::value(&task, "input", "business-key"));
    assert_eq!(pong["requester"]["identifier"]["value"], "portal.example");
    assert_eq!(pong["instantiatesCanonical"], "http://dsf.dev/bpe/Process/ping|1.0");
    let identifier = &pong["identifier"][0];
    assert_eq!(identifier["system"], TASK_IDENTIFIER, "a sent Task can be sent again without a duplicate");
    assert!(identifier["value"].as_str().unwrap().starts_with("urn:uuid:"));
    let pong = tasks::ended(&at_sender, pong["id"].as_str().unwrap(), tasks::PING_TIME).await;
    assert_eq!(pong["status"], "failed", "{pong:#}");
    assert!(tasks::value(&pong, "output", "error").is_some(), "a reason: {pong:#}");
}

#[tokio::test]
async fn xml_is_as_good_as_json() {
    let task = ping();
    let fields = [("accept", XML), ("content-type", XML)];
    let created = remote().send("POST", "/Task", &fields, tasks::to_xml(&task)).await.expect(201);
    assert!(created.field("content-type").unwrap().starts_with(XML));
    assert!(created.text().starts_with("<Task xmlns=\"http://hl7.org/fhir\">"), "{}", created.text());
    let ended = tasks::ended(&remote(), &created.created_id(), tasks::PING_TIME).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    // The same resource in both forms.
    let target = format!("/Task/{}/_history/1", created.created_id());
    let json = remote().get(&target).await.expect(200).json();
    assert_eq!(json["input"], task["input"]);
    let xml = remote().send("GET", &format!("{target}?_format=xml"), &[], "").await.expect(200);
    assert_eq!(xml.body, created.body);
}

#[tokio::test]
async fn attack_a27_tasks_that_the_process_does_not_allow_are_refused() {
    let changes: [Change; 18] = [
        ("another organisation as requester", |task| task["requester"] = tasks::organization("ttp.example")),
        ("the recipient as requester", |task| task["requester"] = tasks::organization("portal.example")),
        ("an unknown requester", |task| task["requester"] = tasks::organization("nobody.example")),
        ("no requester", |task| drop(task.as_object_mut().unwrap().remove("requester"))),
        ("another recipient", |task| task["restriction"]["recipient"] = json!([tasks::organization("ttp.example")])),
        ("the sender as recipient", |task| {
            task["restriction"]["recipient"] = json!([tasks::organization("dic-1.example")])
        }),
        ("two recipients", |task| {
            task["restriction"]["recipient"] =
                json!([tasks::organization("portal.example"), tasks::organization("ttp.example")]);
        }),
        ("no recipient", |task| drop(task.as_object_mut().unwrap().remove("restriction"))),
        ("an unknown process", |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/unknown|1.0")),
        ("an unknown version", |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/pong|9.9")),
        ("no version", |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/pong")),
        ("another process of the node", |task| {
            task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/ping|1.0")
        }),
        ("an unknown profile", |task| {
            task["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/task-unknown|1.0"])
        }),
        ("a profile of another message", |task| {
            task["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/task-pong|1.0"]);
        }),
        ("another version of the profile", |task| {
            task["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/task-ping|9.9"]);
        }),
        ("an unknown message", |task| task["input"][0]["valueString"] = json!("unknown")),
        ("two message names", |task| {
            let inputs = task["input"].as_array_mut().unwrap();
            inputs.push(tasks::message_input("message-name", "ping"));
        }),
        ("an output", |task| task["output"] = json!([tasks::message_input("error", "none")])),
    ];
    for (what, change) in changes {
        let mut task = ping();
        change(&mut task);
        refused(&task, what).await;
    }
}

#[tokio::test]
async fn tasks_that_do_not_fit_their_profile_are_refused() {
    let changes: [Change; 7] = [
        ("no business key", |task| remove_input(task, "business-key")),
        ("no correlation key", |task| remove_input(task, "correlation-key")),
        ("no endpoint", |task| remove_input(task, "endpoint-identifier")),
        ("an input of nobody's profile", |task| {
            let inputs = task["input"].as_array_mut().unwrap();
            inputs.push(tasks::string_input("http://dsf.dev/fhir/CodeSystem/ping", "no-such-code", "x"));
        }),
        ("another intent", |task| task["intent"] = json!("plan")),
        ("no time", |task| drop(task.as_object_mut().unwrap().remove("authoredOn"))),
        ("an element that FHIR does not know", |task| task["colour"] = json!("red")),
    ];
    for (what, change) in changes {
        let mut task = ping();
        change(&mut task);
        refused(&task, what).await;
    }
}

#[tokio::test]
async fn remote_tasks_begin_as_requested() {
    for status in ["draft", "in-progress", "completed", "failed", "accepted", "no-such-status"] {
        let mut task = ping();
        task["status"] = json!(status);
        refused(&task, status).await;
    }
}

#[tokio::test]
async fn remote_organizations_do_not_start_what_is_for_the_local_organization() {
    let start = tasks::start_ping("dic-1.example");
    let mut foreign = start.clone();
    foreign["restriction"]["recipient"] = json!([tasks::organization("portal.example")]);
    for task in [start, foreign] {
        let answer = remote().post("/Task", &task).await.expect(403);
        assert_eq!(answer.outcome_codes(), ["forbidden"]);
    }
}

#[tokio::test]
async fn conditional_create_twice_makes_one_task() {
    let mut task = ping();
    let value = format!("urn:uuid:{}", Uuid::new_v4());
    task["identifier"] = json!([{ "system": TASK_IDENTIFIER, "value": value }]);
    let condition = format!("identifier={TASK_IDENTIFIER}|{value}");
    let fields = [("accept", JSON), ("content-type", JSON), ("if-none-exist", condition.as_str())];
    let first = remote().send("POST", "/Task", &fields, task.to_string()).await.expect(201);
    let second = remote().send("POST", "/Task", &fields, task.to_string()).await.expect(200);
    assert_eq!(second.outcome_codes(), ["duplicate"]);
    assert_eq!(second.created_id(), first.created_id());
    assert_eq!(second.field("etag").map(|tag| tag.starts_with("W/\"")), Some(true));
    assert_eq!(stored(&task).await, 1);
    // Eight at once.
    let mut task = ping();
    let value = format!("urn:uuid:{}", Uuid::new_v4());
    task["identifier"] = json!([{ "system": TASK_IDENTIFIER, "value": value }]);
    let condition = format!("identifier={TASK_IDENTIFIER}|{value}");
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, task, condition) = (remote(), task.to_string(), condition.clone());
        running.spawn(async move {
            let fields = [("accept", JSON), ("content-type", JSON), ("if-none-exist", condition.as_str())];
            client.send("POST", "/Task", &fields, task).await.status
        });
    }
    let mut statuses = running.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!(stored(&task).await, 1);
}

#[tokio::test]
async fn requesters_see_their_own_tasks_and_no_others() {
    let network = shared();
    let created = remote().post("/Task", &ping()).await.expect(201).created_id();
    let other = network.organization("ttp", "portal");
    remote().get(&format!("/Task/{created}")).await.expect(200);
    let refusal = other.get(&format!("/Task/{created}")).await.expect(403);
    assert_eq!(refusal.outcome_codes(), ["forbidden"]);
    other.get(&format!("/Task/{created}/_history/1")).await.expect(403);
    assert_eq!(search::total(&remote(), "Task", &format!("_id={created}")).await, 1);
    assert_eq!(search::total(&other, "Task", &format!("_id={created}")).await, 0);
    for task in search::all(&remote(), "Task", "").await {
        assert_eq!(task["requester"]["identifier"]["value"], "dic-1.example", "{task:#}");
    }
}

#[tokio::test]
async fn hostile_and_broken_content_is_refused_without_a_trace() {
    let good = ping();
    let text = good.to_string();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let doctype = format!("<!DOCTYPE Task [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{}", tasks::to_xml(&good));
    let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("duplicate member", JSON, text.replacen("\"status\"", "\"status\":\"draft\",\"status\"", 1).into(), 400),
        ("depth", JSON, text.replacen("\"status\"", &format!("\"extension\":{deep},\"status\""), 1).into(), 400),
        ("document type", XML, doctype.into(), 400),
        ("utf-16", JSON, text.encode_utf16().flat_map(u16::to_be_bytes).collect(), 400),
        ("no json", JSON, b"no json".to_vec(), 403),
        ("half a resource", JSON, text.as_bytes()[..text.len() / 2].to_vec(), 403),
        ("json called xml", XML, text.clone().into(), 403),
        ("plain text", "text/plain", text.clone().into(), 415),
    ];
    for (what, media_type, body, status) in cases {
        let answer = remote().send("POST", "/Task", &[("accept", JSON), ("content-type", media_type)], body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{what}");
        assert!(!answer.text().contains("root:"), "{what}");
    }
    assert_eq!(stored(&good).await, 0);
}

#[tokio::test]
async fn published_draft_tasks_become_valid_tasks() {
    // Draft Tasks as DSF publishes them: with the placeholders filled in and the status of a request they must be taken.
    let Some(folder) = fixtures() else {
        println!("skipped: the published ping-pong resources are not on this machine");
        return;
    };
    let portal = shared().organization("portal", "portal");
    let start = std::fs::read_to_string(folder.join("Task/dsf-task-start-ping.xml")).unwrap();
    let start = start
        .replace("#{version}", "1.0")
        .replace("#{date}", &tasks::now())
        .replace("#{organization}", "portal.example")
        .replace("value=\"draft\"", "value=\"requested\"");
    // The identifier marks a draft; a copy that is started has none (DSF's user interface removes it).
    let begin = start.find("<identifier>").unwrap();
    let begin = if start[..begin].contains("<requester") { None } else { Some(begin) };
    let start = match begin {
        Some(begin) => {
            let end = begin + start[begin..].find("</identifier>").unwrap() + "</identifier>".len();
            format!("{}{}", &start[..begin], &start[end..])
        }
        None => start,
    };
    let created = portal.send("POST", "/Task", &[("accept", JSON), ("content-type", XML)], start).await.expect(201);
    let task = tasks::ended(&portal, &created.created_id(), tasks::PING_TIME).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    let replies = tasks::replies(&task);
    assert_eq!(replies.len(), 3, "{task:#}");
    assert!(replies.iter().all(|reply| reply.status == "pong-received"), "{replies:?}");
}

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/plugins/dsf-process-ping-pong/fhir");
    folder.is_dir().then_some(folder)
}

/// Demands 403 with an OperationOutcome, in JSON and in XML, and that nothing was stored.
async fn refused(task: &Value, what: &str) {
    let answer = remote().post("/Task", task).await;
    assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    let codes = answer.outcome_codes();
    assert!(!codes.is_empty(), "{what}");
    assert!(answer.field("x-correlation-id").is_some(), "{what}");
    let answer = remote().send("POST", "/Task", &[("accept", XML), ("content-type", JSON)], task.to_string()).await;
    assert_eq!(answer.status, 403, "{what}");
    assert!(answer.text().starts_with("<OperationOutcome"), "{what}: {}", answer.text());
    if tasks::value(task, "input", "correlation-key").is_some() {
        assert_eq!(stored(task).await, 0, "{what}");
    }
}

fn remove_input(task: &mut Value, code: &str) {
    let inputs = task["input"].as_array_mut().unwrap();
    inputs.retain(|input| input["type"]["coding"][0]["code"] != code);
}

fn outputs(task: &Value, code: &str) -> Vec<Value> {
    let outputs = task["output"].as_array().cloned().unwrap_or_default();
    outputs.into_iter().filter(|output| output["type"]["coding"][0]["code"] == code).collect()
}

#[tokio::test]
async fn autostart_pings_again_and_again_until_it_is_stopped() {
    let network = shared();
    let dms = network.organization("dms", "dms");
    let process = "http://dsf.dev/bpe/Process/pingAutostart|1.0";
    let profile = |name: &str| format!("http://dsf.dev/fhir/StructureDefinition/task-{name}-ping-autostart|1.0");
    let mut start = tasks::task(process, &profile("start"), "startPingAutostart", "dms.example", "dms.example");
    let interval = tasks::string_input("http://dsf.dev/fhir/CodeSystem/ping", "timer-interval", "PT2S");
    start["input"].as_array_mut().unwrap().push(interval);
    let started = dms.post("/Task", &start).await.expect(201).created_id();
    let pings = async || {
        let every = search::all(&dms, "Task", "").await;
        let is_ping = |task: &&Value| {
            tasks::value(task, "input", "message-name").as_deref() == Some("startPing") && task["status"] != "draft"
        };
        every.iter().filter(is_ping).count()
    };
    until("three pings", tasks::PING_TIME, async || (pings().await >= 3).then_some(())).await;
    assert_eq!(dms.get(&format!("/Task/{started}")).await.expect(200).json()["status"], "in-progress");
    let running = "schleuse_instances{process=\"dsfdev_pingAutostart|1.0\",state=\"running\"";
    let node = network.node("dms");
    until("the metric of the loop", tasks::PING_TIME, async || (node.metric(running).await == Some(1.0)).then_some(()))
        .await;
    let stop = tasks::task(process, &profile("stop"), "stopPingAutostart", "dms.example", "dms.example");
    let stopped = dms.post("/Task", &stop).await.expect(201).created_id();
    for id in [started, stopped] {
        let task = tasks::ended(&dms, &id, tasks::PING_TIME).await;
        assert_eq!(task["status"], "completed", "{task:#}");
    }
    // One may have been on its way to the partner when the loop was stopped.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let count = pings().await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(pings().await, count, "the loop has ended");
    until("the metric of its end", tasks::PING_TIME, async || (node.metric(running).await == Some(0.0)).then_some(()))
        .await;
}

#[tokio::test]
async fn pong_goes_to_an_endpoint_of_the_requester_alone() {
    let network = shared();
    let mut task = ping();
    let inputs = task["input"].as_array_mut().unwrap();
    let endpoint = inputs.iter_mut().find(|input| input["valueReference"].is_object()).unwrap();
    endpoint["valueReference"]["identifier"]["value"] = json!("dsf.ttp.example");
    let key = tasks::value(&task, "input", "correlation-key").unwrap();
    let created = remote().post("/Task", &task).await;
    if created.status == 201 {
        tasks::ended(&remote(), &created.created_id(), tasks::PING_TIME).await;
    }
    let at_ttp = search::all(&network.organization("ttp", "ttp"), "Task", "").await;
    assert!(at_ttp.iter().all(|task| tasks::value(task, "input", "correlation-key").as_deref() != Some(key.as_str())));
}
