//! Building blocks that manifests bind classes to: messages to one and to many, and the published processes of the tutorial
//! between three nodes.

use std::path::Path;

use serde_json::json;
use time::Duration;

use super::models;
use super::support::{Fault, Network, base_url, error_of, new_task};
use super::work::notes;
use crate::plugin::{Implementations, Plugin};
use crate::sender;
use crate::step::{ServiceStep, StepContext, StepError};
use crate::user_task::DefaultListener;
use crate::{task, terms};

fn target(node: &str, correlation_key: Option<&str>) -> serde_json::Value {
    let mut target = json!({
        "organizationIdentifierValue": node,
        "endpointIdentifierValue": format!("{node}-endpoint"),
        "endpointUrl": base_url(node),
    });
    if let Some(key) = correlation_key {
        target["correlationKey"] = json!(key);
    }
    target
}

fn bound(mut all: Implementations, class: &'static str, name: &str, api: u8) -> Implementations {
    all = sender::bind(all, class, name, api).unwrap();
    all
}

/// A step that is a function.
struct Step<F>(F);

impl<F: Fn(&mut StepContext<'_, '_>) + Send + Sync> ServiceStep for Step<F> {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        (self.0)(context);
        Ok(())
    }
}

fn note(context: &mut StepContext<'_, '_>, text: &str) {
    context.add_output(task::string_parameter(terms::BPMN_MESSAGE, "note", text));
}

/// Sends to each of several targets, then says how many are left.
const MANY: &str = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
    <sequenceFlow id="f1" sourceRef="start" targetRef="list"/><serviceTask id="list" camunda:class="Targets"/>
    <sequenceFlow id="f2" sourceRef="list" targetRef="send"/>
    <sendTask id="send" camunda:class="Sender">SEND<multiInstanceLoopCharacteristics camunda:collection="${targets.entries}" camunda:elementVariable="target"/></sendTask>
    <sequenceFlow id="f3" sourceRef="send" targetRef="left"/><serviceTask id="left" camunda:class="Left"/>
    <sequenceFlow id="f4" sourceRef="left" targetRef="end"/><endEvent id="end"/>"#;

/// Sends to one target, without a list of targets.
const ONE: &str = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
    <sequenceFlow id="f1" sourceRef="start" targetRef="one"/><serviceTask id="one" camunda:class="Target"/>
    <sequenceFlow id="f2" sourceRef="one" targetRef="send"/><sendTask id="send" camunda:class="Sender">SEND</sendTask>
    <sequenceFlow id="f3" sourceRef="send" targetRef="left"/><serviceTask id="left" camunda:class="Left"/>
    <sequenceFlow id="f4" sourceRef="left" targetRef="end"/><endEvent id="end"/>"#;

fn plugins(api: u8) -> Vec<Plugin> {
    let mut plugin = models::plugin(vec![
        models::bpmn("many", "1.0", MANY),
        models::bpmn("one", "1.0", ONE),
        models::bpmn("hello", "1.0", models::body_of("hello")),
    ]);
    let targets = |context: &mut StepContext<'_, '_>| {
        let entries: Vec<_> = ["b", "c", "d"].into_iter().map(|node| target(node, None)).collect();
        context.set("targets", json!({ "entries": entries }));
    };
    let left = |context: &mut StepContext<'_, '_>| {
        let targets = context.variable("targets").unwrap_or_default();
        let entries = targets["entries"].as_array().into_iter().flatten();
        let names: Vec<_> = entries.map(|entry| entry["organizationIdentifierValue"].as_str().unwrap()).collect();
        let names = names.join(" ");
        note(context, &names);
        context.set("left", names);
    };
    let own = Implementations::default()
        .with_service("Targets", Step(targets))
        .with_service("Target", Step(|context: &mut StepContext<'_, '_>| context.set("target", target("c", None))))
        .with_service("Left", Step(left));
    plugin.implementations.extend(&bound(own, "Sender", "send", api));
    vec![plugin]
}

async fn send(api: u8, process: &str) -> (Network, String) {
    let network = Network::with_plugins(&["a", "b", "c", "d"], move || plugins(api)).await;
    network.post.plan("c", &[Fault::Forbidden]);
    let canonical = format!("http://test.org/bpe/Process/{process}|1.0");
    let id = network.nodes[0].create(new_task(&canonical, "m", Some("A"), None)).await;
    network.settle().await;
    network.assert_quiet().await;
    (network, id)
}

#[tokio::test]
async fn bpmn_052_one_of_several_targets_that_cannot_be_reached_is_left_out_and_the_error_stays_in_the_task() {
    let (network, id) = send(1, "many").await;
    let node = &network.nodes[0];
    assert_eq!(node.history(&id).await, ["requested", "in-progress", "completed"]);
    let ended = node.task(&id).await;
    let error = error_of(&ended).unwrap();
    assert!(error.contains("send failed [recipient: c, endpoint: c-endpoint, businessKey: A"), "{error}");
    assert_eq!(notes(&ended).last().map(String::as_str), Some("b d"));
    for (node, sent) in [(1, 1), (2, 0), (3, 1)] {
        assert_eq!(network.nodes[node].tasks().await.len(), sent);
    }
}

#[tokio::test]
async fn bpmn_053_with_api_version_2_the_task_fails_at_once_stays_failed_and_the_process_goes_on() {
    let (network, id) = send(2, "many").await;
    let node = &network.nodes[0];
    assert_eq!(node.history(&id).await, ["requested", "in-progress", "failed"]);
    assert!(error_of(&node.task(&id).await).unwrap().contains("recipient: c"));
    let instance = node.instances(true).await.pop().unwrap();
    assert_eq!(instance.state, store::processes::InstanceState::Completed);
    let events = node.write(move |tx| tx.instance_events(&instance.id, 0, 1_000)).await;
    let written = events.iter().any(|event| String::from_utf8_lossy(&event.data).contains(r#""b d""#));
    assert!(written, "the step after it has run, with the targets that are left");
    assert_eq!(network.nodes[3].tasks().await.len(), 1);
}

#[tokio::test]
async fn a_send_task_without_a_list_of_targets_ends_its_instance_when_the_message_cannot_be_sent() {
    for api in [1, 2] {
        let (network, id) = send(api, "one").await;
        let node = &network.nodes[0];
        assert_eq!(node.history(&id).await, ["requested", "in-progress", "failed"]);
        assert_eq!(notes(&node.task(&id).await).len(), 1, "the error, and nothing of the step after it");
        assert_eq!(node.instances(true).await[0].state, store::processes::InstanceState::Failed);
    }
}

/// The models of the tutorial; `None`, with a line, where they are not there.
fn tutorial() -> Option<Vec<&'static str>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/bpmn/dsf-process-tutorial-2.0.0-solution-7");
    let files = ["dic-process", "cos-process", "hrp-process", "voting-process", "vote"];
    let mut models: Vec<&'static str> = Vec::new();
    for file in files {
        let path = folder.join(format!("{file}.bpmn"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no published model {}", path.display());
            return None;
        };
        models.push(Box::leak(text.replace("#{version}", "1.0").into_boxed_str()));
    }
    Some(models)
}

/// Sets the one target.
fn to(node: &'static str) -> impl ServiceStep {
    Step(move |context: &mut StepContext<'_, '_>| context.set("target", target(node, None)))
}

fn tutorial_plugin(models: Vec<&'static str>) -> Plugin {
    let service = "org.tutorial.process.tutorial.service";
    let class = |name: &str| -> &'static str { Box::leak(format!("{service}.{name}").into_boxed_str()) };
    let set = |name: &'static str, value: bool| Step(move |context: &mut StepContext<'_, '_>| context.set(name, value));
    let dic = |context: &mut StepContext<'_, '_>| {
        context.set("stop", false);
        context.set("target", target("b", None));
    };
    let hrp = |context: &mut StepContext<'_, '_>| {
        context.set("sendResponse", true);
        context.set("target", target("a", None));
    };
    let select = |context: &mut StepContext<'_, '_>| {
        let entries: Vec<_> = ["b", "c", "d"].into_iter().map(|node| target(node, Some(&context.new_id()))).collect();
        context.set("targets", json!({ "entries": entries }));
    };
    let back = |context: &mut StepContext<'_, '_>| {
        let start = context.start_task().unwrap();
        let key = task::message_input(start, terms::CORRELATION_KEY).unwrap().to_owned();
        context.set("target", target("a", Some(&key)));
    };
    let of_target = |what: &'static str| {
        Step(move |context: &mut StepContext<'_, '_>| {
            let target = context.variable("target").unwrap();
            note(context, &format!("{} {what}", target["organizationIdentifierValue"].as_str().unwrap()));
        })
    };
    let all = Implementations::default()
        .with_service(class("DicTask"), Step(dic))
        .with_service(class("CosTask"), to("c"))
        .with_service(class("HrpTask"), Step(hrp))
        .with_service(class("SelectTargets"), Step(select))
        .with_service(class("DecideWhetherUserVote"), set("userVote", false))
        .with_service(class("AutomatedVote"), set("vote", true))
        .with_service(class("SaveUserVote"), set("vote", true))
        .with_service(class("PrepareReturnVote"), Step(back))
        .with_service(class("SaveVotingResult"), of_target("voted"))
        .with_service(class("SaveTimeoutResult"), of_target("is silent"))
        .with_service(class("AggregateResults"), set("aggregated", true))
        .with_user_task("org.tutorial.process.tutorial.listener.UserVoteListener", DefaultListener);
    let messages = ["HelloCosMessage", "HelloHrpMessage", "GoodbyeDicMessage", "StartVote", "ReturnVote"];
    let all = messages.into_iter().fold(all, |all, name| {
        bound(all, Box::leak(format!("org.tutorial.process.tutorial.message.{name}").into_boxed_str()), "send", 2)
    });
    let listener = "org.tutorial.process.tutorial.listener.SetCorrelationKeyListener";
    Plugin {
        name: "tutorial",
        version: "1.0",
        date: "2026-01-01",
        models,
        resources: Vec::new(),
        implementations: bound(all, listener, "correlation-key", 2),
    }
}

async fn tutorial_network(names: &[&'static str]) -> Option<Network> {
    let models = tutorial()?;
    Some(Network::with_plugins(names, move || vec![tutorial_plugin(models.clone())]).await)
}

#[tokio::test]
async fn bpmn_048_three_nodes_hand_on_to_each_other_and_all_four_tasks_are_completed() {
    let Some(network) = tutorial_network(&["a", "b", "c"]).await else { return };
    let start = new_task("http://example.org/bpe/Process/dicProcess|1.0", "startDicProcess", None, None);
    let dic = &network.nodes[0];
    let id = dic.create(start).await;
    assert_eq!(dic.status(&id).await, "in-progress");
    network.settle().await;
    assert_eq!(dic.history(&id).await, ["requested", "in-progress", "completed"]);
    let messages = |tasks: Vec<fhir::Resource>| {
        let names = tasks.iter().map(|task| task::message_input(task, terms::MESSAGE_NAME).unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for (node, expected) in
        network.nodes.iter().zip([&["startDicProcess", "goodbyeDic"][..], &["helloCos"], &["helloHrp"]])
    {
        let tasks = node.tasks().await;
        assert!(tasks.iter().all(|task| task.str("status") == Some("completed")));
        let mut found = messages(tasks);
        found.sort_by_key(|name| expected.iter().position(|expected| expected == name));
        assert_eq!(found, expected);
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_051_a_vote_of_three_with_one_silent_has_two_results_and_one_that_is_missing() {
    let Some(network) = tutorial_network(&["a", "b", "c", "d"]).await else { return };
    network.post.plan("c", &[Fault::Swallowed]);
    let start = new_task("http://example.org/bpe/Process/votingProcess|1.0", "startVotingProcess", None, None);
    let id = network.nodes[0].create(start).await;
    network.settle().await;
    assert_eq!(network.nodes[0].status(&id).await, "in-progress");
    network.pass(Duration::minutes(4)).await;
    assert_eq!(network.nodes[0].history(&id).await, ["requested", "in-progress", "completed"]);
    let mut results = notes(&network.nodes[0].task(&id).await);
    results.sort();
    assert_eq!(results, ["b voted", "c is silent", "d voted"]);
    network.assert_quiet().await;
}
