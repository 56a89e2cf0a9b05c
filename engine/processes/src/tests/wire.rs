//! What goes over the wire, held against our definitions and, where they are present, the published ones.

use std::fs;
use std::path::{Path, PathBuf};

use fhir::validate::{ProfileRegistry, Severity, validate};
use fhir::{Format, Object, Resource};
use time::Duration;

use super::support::{Fault, Network, new_task, read_xml, start_ping};
use crate::plugin::Plugin;
use crate::{ping_pong, task, terms};

/// Base of the profiles of plug-ins of API version 1, which a node replaces (`process-engine.md` 1.9).
const TASK_BASE: &str = "http://dsf.dev/fhir/StructureDefinition/task-base";
const TASK: &str = "http://dsf.dev/fhir/StructureDefinition/task";

fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "xml") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn replaced(text: &str) -> Resource {
    let plugin = ping_pong::plugin();
    let text =
        text.replace("#{version}", plugin.version).replace("#{date}", plugin.date).replace("#{organization}", "a");
    let mut resource = read_xml(&text);
    if resource.str("baseDefinition").is_some_and(|base| base.strip_suffix("|1.0.0").unwrap_or(base) == TASK_BASE) {
        resource.set("baseDefinition", TASK);
    }
    resource
}

fn base() -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    for (_, text) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/dsf-base")) {
        registry.add(read_xml(&text));
    }
    registry
}

fn ours(plugin: &Plugin) -> ProfileRegistry {
    let mut registry = base();
    for resource in plugin.resources("a").unwrap() {
        registry.add(resource);
    }
    registry
}

fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The published base and a published plug-in.
fn published(plugin: &str) -> Option<ProfileRegistry> {
    let mut registry = ProfileRegistry::new();
    for folder in ["dsf-base", plugin] {
        for (_, text) in files(&shared(folder)?) {
            registry.add(replaced(&text));
        }
    }
    registry.remove("StructureDefinition", TASK, Some("2.0.0"));
    Some(registry)
}

#[track_caller]
pub(super) fn assert_valid(task: &Resource, registries: &[(&str, ProfileRegistry)]) {
    for (name, registry) in registries {
        let errors: Vec<_> = validate(task, registry)
            .into_iter()
            .filter(|issue| issue.severity >= Severity::Error)
            .map(|issue| issue.diagnostics)
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}\n{}", fhir::print(Format::Json, task, true));
    }
}

/// Our profiles with those of a plug-in, and the published ones where they are present.
pub(super) fn registries(plugin: &Plugin, published_as: &str) -> Vec<(&'static str, ProfileRegistry)> {
    let mut all = vec![("ours", ours(plugin))];
    all.extend(published(published_as).map(|registry| ("published", registry)));
    all
}

fn ping_pong_registries() -> Vec<(&'static str, ProfileRegistry)> {
    registries(&ping_pong::plugin(), "plugins/dsf-process-ping-pong")
}

fn with_profile(mut task: Resource, profile: &str) -> Resource {
    task.set(
        "meta",
        Object::new().with("profile", vec![format!("http://dsf.dev/fhir/StructureDefinition/{profile}|1.0").into()]),
    );
    task
}

#[tokio::test]
async fn every_task_that_is_sent_or_stored_is_valid() {
    let registries = ping_pong_registries();
    let network = Network::new(&["a", "b", "c", "d", "e"]).await;
    let a = &network.nodes[0];
    network.post.plan("b", &[Fault::Forbidden]);
    network.post.plan("c", &[Fault::Unreachable]);
    network.post.plan("d", &[Fault::Swallowed]);
    let mut autostart =
        with_profile(new_task("pingAutostart|1.0", "startPingAutostart", None, None), "task-start-ping-autostart");
    autostart.push("input", task::string_parameter("http://dsf.dev/fhir/CodeSystem/ping", "timer-interval", "PT1H"));
    let search = "Endpoint?status=active&identifier=http://dsf.dev/sid/endpoint-identifier|";
    autostart.push("input", task::string_parameter("http://dsf.dev/fhir/CodeSystem/ping", "target-endpoints", search));
    assert_valid(&autostart, &registries);
    a.create(autostart).await;
    network.pass(Duration::seconds(60)).await;
    // A pong that cannot be sent, and one that is refused.
    for fault in [Fault::Unreachable, Fault::Forbidden] {
        network.post.plan("a", &[fault]);
        a.create(with_profile(start_ping(), "task-start-ping")).await;
        network.pass(Duration::seconds(60)).await;
    }
    a.create(with_profile(new_task("pingAutostart|1.0", "stopPingAutostart", None, None), "task-stop-ping-autostart"))
        .await;
    network.settle().await;
    network.assert_quiet().await;
    let sent = network.post.sent.lock().unwrap().clone();
    assert!(sent.len() > 10);
    for (_, task) in &sent {
        assert_valid(task, &registries);
    }
    let mut statuses = std::collections::BTreeSet::new();
    for node in &network.nodes {
        for stored in node.tasks().await {
            assert_valid(&stored, &registries);
            for kind in ["ping-status", "pong-status"] {
                statuses.extend(super::support::results_of(&stored, kind).into_iter().map(|(_, status, _)| status));
            }
        }
    }
    let expected = ["not-allowed", "not-reachable", "pong-missing", "pong-received", "pong-send"];
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_sent_task_has_the_form_of_the_reference() {
    let network = Network::new(&["a", "b"]).await;
    network.nodes[0].create(new_task("ping|1.0", "startPing", Some("the-key"), None)).await;
    network.settle().await;
    let ping = network.post.sent_to("b", "ping").pop().unwrap();
    let names: Vec<_> = ping.tree().iter().map(|(name, _)| name.to_owned()).collect();
    let expected = [
        "resourceType",
        "meta",
        "identifier",
        "instantiatesCanonical",
        "status",
        "intent",
        "authoredOn",
        "requester",
        "restriction",
        "input",
    ];
    assert_eq!(names, expected);
    let identifier = &ping.list("identifier")[0];
    assert_eq!(identifier.str("system"), Some(terms::URI_IDENTIFIER));
    assert!(identifier.str("value").unwrap().starts_with("urn:uuid:"));
    let codes: Vec<_> = ping
        .list("input")
        .iter()
        .map(|input| {
            let coding = &input.get("type").unwrap().list("coding")[0];
            assert_eq!((coding.get("version"), coding.get("display")), (None, None));
            coding.str("code").unwrap().to_owned()
        })
        .collect();
    assert_eq!(codes, ["message-name", "business-key", "correlation-key", "endpoint-identifier"]);
    assert_eq!(task::message_input(&ping, terms::BUSINESS_KEY), Some("the-key"));
}

#[tokio::test]
async fn tasks_made_from_drafts_are_valid_and_run() {
    let registries = ping_pong_registries();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/ping-pong/Task")];
    folders.extend(shared("plugins/dsf-process-ping-pong/fhir/Task"));
    for folder in folders {
        let network = Network::new(&["a", "b"]).await;
        let drafts = files(&folder);
        assert_eq!(drafts.len(), 3, "{}", folder.display());
        for (path, text) in drafts {
            let draft = replaced(&text);
            assert_valid(&draft, &registries);
            // What a client makes of it.
            let mut task = draft;
            task.remove("identifier");
            task.set("status", "requested");
            task.set("authoredOn", "2026-01-01T00:00:00+01:00");
            assert_valid(&task, &registries);
            let id = network.nodes[0].create(task).await;
            network.settle().await;
            let status = network.nodes[0].status(&id).await;
            assert!(["in-progress", "completed"].contains(&status.as_str()), "{}: {status}", path.display());
        }
        let stop =
            with_profile(new_task("pingAutostart|1.0", "stopPingAutostart", None, None), "task-stop-ping-autostart");
        network.nodes[0].create(stop).await;
        network.settle().await;
        network.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_ping_of_a_reference_node_is_answered() {
    // As the reference builds it: no identifier, no display, a reference with an identifier only.
    let text = r#"{"resourceType":"Task","meta":{"profile":["http://dsf.dev/fhir/StructureDefinition/task-ping|1.0"]},
        "instantiatesCanonical":"http://dsf.dev/bpe/Process/pong|1.0","status":"requested","intent":"order",
        "authoredOn":"2026-01-01T10:00:00+01:00",
        "requester":{"type":"Organization","identifier":{"system":"http://dsf.dev/sid/organization-identifier","value":"b"}},
        "restriction":{"recipient":[{"type":"Organization","identifier":{"system":"http://dsf.dev/sid/organization-identifier","value":"a"}}]},
        "input":[
          {"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"message-name"}]},"valueString":"ping"},
          {"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"business-key"}]},"valueString":"k"},
          {"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"correlation-key"}]},"valueString":"c"},
          {"type":{"coding":[{"system":"http://dsf.dev/fhir/CodeSystem/ping","code":"endpoint-identifier"}]},
           "valueReference":{"type":"Endpoint","identifier":{"system":"http://dsf.dev/sid/endpoint-identifier","value":"b-endpoint"}}}]}"#;
    let ping = fhir::parse(Format::Json, text.as_bytes(), &fhir::Limits::default()).unwrap();
    assert_valid(&ping, &ping_pong_registries());
    let network = Network::new(&["a", "b"]).await;
    network.post.plan("b", &[Fault::Swallowed]);
    let id = network.nodes[0].create(ping).await;
    network.settle().await;
    assert_eq!(network.nodes[0].status(&id).await, "completed");
    let pong = network.post.sent_to("b", "pong").pop().unwrap();
    assert_eq!(task::message_input(&pong, terms::CORRELATION_KEY), Some("c"));
    assert_eq!(task::message_input(&pong, terms::BUSINESS_KEY), Some("k"));
}
