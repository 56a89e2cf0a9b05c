//! The allow-list between organisations: the trusted third party publishes it, a site downloads it, by the command line and
//! as a partner's software would. Names `bpmn_NNN` are cases of `process-engine.md`, `edge_tNN` of `access-and-edge.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::members::{member, organization_entry, transaction};
use tests::network::{Network, Process, shared};
use tests::{Client, Node, Output, Schleuse, tasks, until};

const TIME: Duration = Duration::from_secs(30);
const ORGANIZATION: &str = "http://dsf.dev/sid/organization-identifier";
const ALLOW_LIST: &str = "http://dsf.dev/fhir/CodeSystem/allow-list";

fn publish(node: &Node) -> Value {
    Schleuse::run(&["--format", "json", "allow-list", "publish", &node.directory.display().to_string()])
        .expect(0)
        .json()
}

fn download(node: &Node, url: &str) -> Output {
    let directory = node.directory.display().to_string();
    Schleuse::run(&["--format", "json", "allow-list", "download", url, "--directory", &directory])
}

fn pending(node: &Node) -> Vec<Value> {
    let list = Schleuse::run(&["--format", "json", "allow-list", "pending", &node.directory.display().to_string()]);
    list.expect(0).json()["pending"].as_array().unwrap().clone()
}

async fn organization(client: &Client, identifier: &str) -> Option<Value> {
    let found = client.get(&format!("/Organization?identifier={ORGANIZATION}%7C{identifier}")).await.expect(200).json();
    found["entry"].as_array().and_then(|entries| Some(entries.first()?["resource"].clone()))
}

/// A Bundle at the trusted third party that says what the test wants; its address.
async fn place(client: &Client, node: &Node, kind: &str, identifier: &str, entries: &[Value]) -> String {
    let mut bundle = json!({
        "resourceType": "Bundle",
        "meta": { "tag": [{ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": "ALL" }] },
        "type": kind,
        "entry": entries,
    });
    bundle["identifier"] = json!({ "system": ALLOW_LIST, "value": identifier });
    let created = client.post("/Bundle", &bundle).await.expect(201);
    format!("{}/Bundle/{}", node.base_url, created.created_id())
}

/// Puts a changed policy in force, at both processes.
async fn reload(node: &Node) {
    let version = async || {
        let ready: Value = serde_json::from_str(&node.manage("/ready").await?.1).ok()?;
        let status = Schleuse::run(&["--format", "json", "status", &node.directory.display().to_string()]).json();
        (ready["policy-version"] == status["policy-version"]).then(|| ready["policy-version"].clone())
    };
    let before = version().await.unwrap();
    node.signal(Process::Engine, Signal::HUP);
    node.signal(Process::Gateway, Signal::HUP);
    until("the changed policy", TIME, async || version().await.filter(|now| *now != before)).await;
}

#[tokio::test]
async fn bpmn_045_and_047_a_published_list_is_downloaded_and_in_force() {
    let network = Network::start(1);
    let (ttp, dic) = (network.node("ttp"), network.node("dic-1"));
    let (at_ttp, at_dic) = (network.organization("ttp", "ttp"), network.organization("dic-1", "dic-1"));
    let first = publish(&ttp);
    let url = first["bundle"].as_str().unwrap();
    assert_eq!(publish(&ttp), first, "what has not changed makes no new version");

    // Everybody of the network reads it, in the form of the reference.
    let seen =
        network.organization("dic-1", "ttp").get(url.strip_prefix(&ttp.base_url).unwrap()).await.expect(200).json();
    assert_eq!((&seen["type"], &seen["identifier"]["value"]), (&json!("transaction"), &json!("allow_list")));
    let entries = seen["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 13, "the parent, and of four members organisation, endpoint and affiliation");
    for entry in entries {
        let text = entry.to_string();
        assert_eq!(entry["request"]["method"], "PUT");
        assert!(entry["fullUrl"].as_str().unwrap().starts_with("urn:uuid:"), "{text}");
        assert!(!text.contains("versionId") && !text.contains("lastUpdated"), "{text}");
        assert!(entry["resource"].get("id").is_none() && !text.contains("\"reference\":\"Organization/"), "{text}");
    }

    // A new member, and a second version.
    at_ttp.post("", &transaction(&member("new.example", &"a".repeat(128)))).await.expect(200);
    let second = publish(&ttp);
    assert_eq!((&second["bundle"], &second["version"]), (&first["bundle"], &json!("2")));
    assert!(organization(&at_dic, "new.example").await.is_none());
    let old = download(&dic, &format!("{url}/_history/1")).expect(0).json();
    assert_eq!(
        (&old["outcome"], old["text"].as_str().unwrap().contains("0 organizations added")),
        (&json!("applied"), true)
    );
    assert!(organization(&at_dic, "new.example").await.is_none(), "the first version does not name it");
    let outcome = download(&dic, url).expect(0).json();
    assert!(outcome["text"].as_str().unwrap().starts_with("1 organizations added, 0 removed"), "{outcome}");
    assert_eq!(organization(&at_dic, "new.example").await.unwrap()["active"], true);
    // And by a Task as the reference's user interface sends it; the network still works afterwards.
    let mut task = tasks::task(
        "http://dsf.dev/bpe/Process/downloadAllowList|1.0",
        "http://dsf.dev/fhir/StructureDefinition/task-download-allow-list|1.0",
        "downloadAllowListMessage",
        "dic-1.example",
        "dic-1.example",
    );
    task["input"].as_array_mut().unwrap().push(json!({
        "type": { "coding": [{ "system": ALLOW_LIST, "code": "allow_list" }] },
        "valueReference": { "reference": url, "type": "Bundle" },
    }));
    let id = at_dic.post("/Task", &task).await.expect(201).created_id();
    let ended = tasks::ended(&at_dic, &id, TIME).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    // Nobody but the own organisation starts it.
    let foreign = network.organization("dic-1", "dms").post("/Task", &task).await;
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let ping = tasks::ping(&dic, &network.node("dms"));
    network.organization("dic-1", "dms").post("/Task", &ping).await.expect(201);
}

#[tokio::test]
async fn edge_t77_and_bpmn_046_a_hostile_list_changes_nothing() {
    let network = shared();
    let (ttp, dic) = (network.node("ttp"), network.node("dic-1"));
    let (at_ttp, at_dic) = (network.organization("ttp", "ttp"), network.organization("dic-1", "dic-1"));
    let own = organization(&at_dic, "dic-1.example").await.unwrap();
    let thumbprint = own["extension"][0]["valueString"].as_str().unwrap().to_owned();
    let evil = |thumbprint: &str| vec![organization_entry("evil.example", thumbprint)];
    let fresh = "b".repeat(128);
    let mut patient = evil(&fresh);
    patient
        .push(json!({ "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } }));
    let mut disguised = evil(&fresh);
    disguised[0]["request"]["url"] = json!(format!("Organization?identifier={ORGANIZATION}|portal.example"));
    let mut whole_type = evil(&fresh);
    whole_type.push(json!({ "request": { "method": "DELETE", "url": "Organization" } }));
    let own_certificate = vec![organization_entry("dic-1.example", &fresh)];
    for (what, kind, identifier, entries, reason) in [
        ("a POST of a Patient", "transaction", "allow_list", patient, "entry 1"),
        ("the own certificate replaced", "transaction", "allow_list", own_certificate, "the own Organization"),
        ("the own certificate given away", "transaction", "allow_list", evil(&thumbprint), "would belong to"),
        ("an entry that is not what its URL names", "transaction", "allow_list", disguised, "request.url names"),
        ("a whole type deleted", "transaction", "allow_list", whole_type, "without criteria"),
        (
            "half a batch",
            "batch",
            "allow_list",
            [evil(&fresh), vec![organization_entry("other.example", &thumbprint)]].concat(),
            "would belong to",
        ),
        ("another identifier", "transaction", "other", evil(&fresh), "has not the identifier"),
    ] {
        let url = place(&at_ttp, &ttp, kind, identifier, &entries).await;
        let refused = download(&dic, &url).expect(1).json();
        assert_eq!(refused["outcome"], "failed", "{what}: {refused}");
        assert!(refused["errors"].to_string().contains(reason), "{what}: {refused}");
        assert!(refused["errors"].to_string().contains("nothing of it was brought in"), "{what}: {refused}");
        assert!(organization(&at_dic, "evil.example").await.is_none(), "{what}");
        assert_eq!(
            organization(&at_dic, "dic-1.example").await.unwrap()["meta"]["versionId"],
            own["meta"]["versionId"],
            "{what}"
        );
    }
    // What is no Bundle, is nowhere, or is not for this organisation.
    let nowhere = format!("{}/Bundle/00000000-0000-4000-8000-000000000000", ttp.base_url);
    for url in [nowhere.as_str(), "https://localhost:1/fhir/Bundle/1", "Bundle/1", "https://localhost:1/fhir/Task/1"] {
        let refused = download(&dic, url).expect(1);
        assert!(!refused.err.is_empty() || refused.json()["outcome"] == "failed", "{url}: {refused:?}");
    }
    assert!(pending(&dic).is_empty());
}

#[tokio::test]
async fn edge_t78_sources_pins_and_size_of_the_policy_hold() {
    let network = Network::start(1);
    let (ttp, dic) = (network.node("ttp"), network.node("dic-1"));
    let (at_ttp, at_dic) = (network.organization("ttp", "ttp"), network.organization("dic-1", "dic-1"));
    let published = publish(&ttp);
    let url = published["bundle"].as_str().unwrap();
    let policy = |lines: &str| {
        let text = dic.text("policies/allow-list.toml");
        let head = &text[..text.find("[allow-list]").unwrap()];
        std::fs::write(dic.path("policies/allow-list.toml"), format!("{head}[allow-list]\n{lines}\n")).unwrap();
    };
    let refused = |reason: &str| {
        let refused = download(&dic, url).expect(1).json();
        assert!(refused["errors"].to_string().contains(reason), "{refused}");
    };
    policy("sources = [\"https://elsewhere.example/fhir/Bundle/*\"]");
    reload(&dic).await;
    refused("is not among the sources");
    policy(&format!("sources = [\"{}/Bundle/*\"]\npin-server-sha256 = [\"{}\"]", ttp.base_url, "0".repeat(64)));
    reload(&dic).await;
    refused("which is not pinned");
    let server = std::fs::read(ttp.path("certificates/server.pem")).unwrap();
    let pin = certs::read_certificates(&server, "server").unwrap()[0].sha256().to_owned();
    policy(&format!("sources = [\"{url}\"]\npin-server-sha256 = [\"{pin}\"]"));
    reload(&dic).await;
    assert_eq!(download(&dic, url).expect(0).json()["outcome"], "applied");

    // A change that is larger than the policy permits waits, although nobody has to approve others.
    at_ttp.post("", &transaction(&member("new.example", &"c".repeat(128)))).await.expect(200);
    publish(&ttp);
    policy("[allow-list.max-delta]\norganizations-added = 0");
    reload(&dic).await;
    let held = download(&dic, url).expect(0).json();
    assert_eq!(held["outcome"], "waiting", "{held}");
    assert!(held["text"].as_str().unwrap().contains("organizations-added: 1, more than 0"), "{held}");
    assert!(organization(&at_dic, "new.example").await.is_none());
    let waiting = pending(&dic);
    assert_eq!(waiting.len(), 1);
    assert!(held["text"].as_str().unwrap().ends_with(waiting[0]["digest"].as_str().unwrap()), "{held}");

    // Sent again it is the same change; rejected it is gone, and without the bound it comes in.
    assert_eq!(download(&dic, url).expect(0).json()["outcome"], "waiting");
    assert_eq!(pending(&dic), waiting);
    let (digest, directory) = (waiting[0]["digest"].as_str().unwrap(), dic.directory.display().to_string());
    Schleuse::run(&["allow-list", "reject", digest, "--reason", "test", "--directory", &directory]).expect(0);
    policy("");
    reload(&dic).await;
    assert_eq!(download(&dic, url).expect(0).json()["outcome"], "applied");
    assert!(organization(&at_dic, "new.example").await.is_some());
}
