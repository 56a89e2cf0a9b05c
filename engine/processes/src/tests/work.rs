//! Long steps: done outside of transactions, tried again, cancelled, and recorded once whoever dies meanwhile.

use std::sync::Arc;

use fhir::{Object, Resource, ResourceType};
use serde_json::{Value, json};
use store::processes::{InstanceState, WorkItemList};
use time::Duration;
use tokio::sync::watch;

use super::models;
use super::support::{Clock, Network, Node, error_of, new_task};
use crate::plugin::{Implementations, Plugin};
use crate::step::{BoxFuture, StepContext, StepError, WorkError, WorkStep};
use crate::work::{self, WorkContext};
use crate::{limits, task, terms};

/// The process does one long step that behaves as the field of the step says; `stop` interrupts it.
const BODY: &str = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
    <sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
    <serviceTask id="do" camunda:class="Long"><extensionElements><camunda:field name="behaviour" stringValue="BEHAVIOUR"/>RETRY</extensionElements></serviceTask>
    <sequenceFlow id="f2" sourceRef="do" targetRef="end"/><endEvent id="end"/>
    <boundaryEvent id="stop" attachedToRef="do"><messageEventDefinition messageRef="go"/></boundaryEvent>
    <sequenceFlow id="f3" sourceRef="stop" targetRef="end"/>
    <boundaryEvent id="error" attachedToRef="do"><errorEventDefinition errorRef="x"/></boundaryEvent>
    <sequenceFlow id="f4" sourceRef="error" targetRef="note"/>
    <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f5" sourceRef="note" targetRef="end"/>"#;

const BEHAVIOURS: &[(&str, &str)] = &[
    ("done", ""),
    ("third", ""),
    ("never", "<camunda:failedJobRetryTimeCycle>R3/PT10S</camunda:failedJobRetryTimeCycle>"),
    ("fails", ""),
    ("throws", ""),
    ("waits", ""),
    ("content", ""),
    ("huge", ""),
    ("panics", "<camunda:failedJobRetryTimeCycle>R1/PT1S</camunda:failedJobRetryTimeCycle>"),
    ("unprepared", ""),
    ("unfinished", ""),
];

struct Long;

impl WorkStep for Long {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        context.set("prepared", true);
        match context.field("behaviour") {
            Some("unprepared") => Err(StepError::Failed("there is nothing to work on".to_owned())),
            behaviour => Ok(json!({ "behaviour": behaviour })),
        }
    }

    fn work<'a>(&'a self, input: &'a Value, mut context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            let behaviour = input.get("behaviour").and_then(Value::as_str).unwrap_or_default();
            context.progress("begun").await;
            match behaviour {
                "third" if context.attempt() < 3 => Err(WorkError::retry("not yet")),
                "never" => Err(WorkError::retry("the server does not answer")),
                "fails" => Err(WorkError::failed("the server says no")),
                "throws" => Err(WorkError::Bpmn { code: "X".to_owned(), message: Some("m".to_owned()) }),
                "waits" => {
                    context.cancelled().await;
                    Err(WorkError::retry("cancelled"))
                }
                "content" => {
                    let mut writer = context.write_content().await?;
                    for byte in 0..=255 {
                        writer.write(&vec![byte; 10_000]).await?;
                    }
                    let (upload, size) = writer.finish().await?;
                    Ok(json!({ "upload": upload, "size": size }))
                }
                "huge" => Ok(json!("x".repeat(limits::WORK_BYTES))),
                "panics" => panic!("a mistake in the step"),
                _ => Ok(json!({ "attempt": context.attempt(), "work": context.work_id() })),
            }
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        if context.field("behaviour") == Some("unfinished") {
            return Err(StepError::Failed("the result is of no use".to_owned()));
        }
        assert_eq!(context.variable("prepared"), Some(Value::Bool(true)));
        if let Some(upload) = output.get("upload").and_then(Value::as_str) {
            let mut binary = Resource::new("Binary");
            binary.set("contentType", "application/octet-stream");
            let id = context.create_binary(binary, upload)?;
            context.add_output(note(&id));
        }
        context.add_output(note("done"));
        Ok(())
    }
}

fn note(text: &str) -> Object {
    task::string_parameter(terms::BPMN_MESSAGE, "note", text)
}

pub(super) fn plugins() -> Vec<Plugin> {
    let models = BEHAVIOURS.iter().map(|(behaviour, retry)| {
        models::bpmn(behaviour, "1.0", &BODY.replace("BEHAVIOUR", behaviour).replace("RETRY", retry))
    });
    let mut plugin = models::plugin(models.collect());
    plugin.implementations.extend(&Implementations::default().with_work("Long", Long));
    vec![plugin]
}

pub(super) fn start(behaviour: &str, key: &str) -> Resource {
    new_task(&format!("http://test.org/bpe/Process/{behaviour}|1.0"), "m", Some(key), None)
}

/// The notes that steps have left in the Task.
pub(super) fn notes(task: &Resource) -> Vec<String> {
    let outputs = task.list("output").iter();
    outputs.filter_map(|output| output.str("valueString")).map(str::to_owned).collect()
}

async fn node() -> Network {
    Network::with_plugins(&["a"], plugins).await
}

async fn items(node: &Node) -> Vec<store::processes::WorkItem> {
    node.write(|tx| tx.work_items(&WorkItemList { limit: 100, ..WorkItemList::default() })).await
}

#[tokio::test]
async fn a_long_step_is_prepared_done_outside_and_finished() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("done", "A")).await;
    assert_eq!(node.status(&id).await, "in-progress", "the work is not done in the transaction");
    let item = items(node).await.pop().unwrap();
    assert_eq!((item.element.as_str(), item.topic.as_str(), item.business_key.as_str()), ("do", "Long", "A"));
    assert_eq!(item.retries, Some(limits::WORK_ATTEMPTS));
    network.settle().await;
    assert_eq!(notes(&node.task(&id).await), ["done"]);
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn work_that_may_succeed_later_is_tried_again_with_growing_pauses() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("third", "A")).await;
    for (pause, left) in [(limits::WORK_PAUSES[0], 5), (limits::WORK_PAUSES[1], 4)] {
        network.settle().await;
        let item = items(node).await.pop().unwrap();
        assert_eq!((item.retries, item.failure.as_deref()), (Some(left), Some("not yet")));
        assert_eq!(item.progress.as_deref(), Some("begun"));
        let pause = Duration::seconds(i64::try_from(pause).unwrap());
        network.clock.advance(pause - Duration::seconds(1));
        assert!(!node.run_work().await, "not before its time");
        network.clock.advance(Duration::seconds(2));
    }
    network.settle().await;
    assert_eq!(notes(&node.task(&id).await), ["done"]);
    network.assert_quiet().await;
}

#[tokio::test]
async fn the_retry_cycle_of_the_model_bounds_the_attempts() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("never", "A")).await;
    for _ in 0..2 {
        network.settle().await;
        assert_eq!(node.status(&id).await, "in-progress");
        network.clock.advance(Duration::seconds(11));
    }
    network.settle().await;
    assert_eq!(node.status(&id).await, "failed");
    let reason = "Process testorg_never|1.0 has fatal error in step do, reason: the server does not answer";
    assert_eq!(error_of(&node.task(&id).await).as_deref(), Some(reason));
    network.assert_quiet().await;
}

#[tokio::test]
async fn what_cannot_succeed_fails_at_once_and_a_bpmn_error_finds_its_boundary() {
    let network = node().await;
    let node = &network.nodes[0];
    for (behaviour, reason) in [
        ("fails", "the server says no"),
        ("huge", "the result of the work has 4194306 bytes, more than 4194304"),
        ("panics", "the step ended abnormally"),
        ("unprepared", "there is nothing to work on"),
        ("unfinished", "the result is of no use"),
    ] {
        let id = node.create(start(behaviour, behaviour)).await;
        network.settle().await;
        let error = error_of(&node.task(&id).await).unwrap();
        assert!(error.contains(reason), "{behaviour}: {error}");
        assert_eq!(node.history(&id).await, ["requested", "in-progress", "failed"]);
    }
    let id = node.create(start("throws", "throws")).await;
    network.settle().await;
    assert_eq!(notes(&node.task(&id).await), ["/"], "the path of the boundary event");
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn content_of_any_size_becomes_a_binary() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("content", "A")).await;
    network.settle().await;
    let notes = notes(&node.task(&id).await);
    let binary = notes.first().unwrap().clone();
    let content = node
        .write(move |tx| {
            assert!(tx.read(ResourceType::Binary, &binary)?.current().is_some());
            tx.content(&binary, 1)
        })
        .await;
    assert_eq!(content.unwrap().size, 2_560_000);
    network.assert_quiet().await;
}

#[tokio::test]
async fn work_that_nobody_wants_any_more_is_told_and_leaves_nothing() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("waits", "A")).await;
    let runtime = node.runtime();
    let item = work::claim(&runtime, 1).await.unwrap().pop().unwrap();
    let running = tokio::spawn(work::run(Arc::clone(&runtime), item));
    while items(node).await[0].progress.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished());
    let stop = node.create(new_task("http://test.org/bpe/Process/waits|1.0", "go", Some("A"), None)).await;
    tokio::time::timeout(std::time::Duration::from_secs(4), running).await.expect("it was not told").unwrap();
    assert_eq!((node.status(&id).await, node.status(&stop).await), ("completed".to_owned(), "completed".to_owned()));
    assert!(items(node).await.is_empty());
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_crash_at_any_point_of_the_work_leaves_one_result() {
    // Before the claim, after the claim, after the work, after the record.
    for point in 0..4 {
        let network = node().await;
        let node = &network.nodes[0];
        let id = node.create(start("done", "A")).await;
        if point == 0 {
            node.restart().await;
        }
        let runtime = node.runtime();
        let item = work::claim(&runtime, 1).await.unwrap().pop().unwrap();
        match point {
            1 => node.restart().await,
            2 => {
                // The engine dies between the work and its record: its store is gone when it would record.
                node.restart().await;
                work::run(runtime, item.clone()).await;
            }
            _ => {
                work::run(runtime, item.clone()).await;
                node.restart().await;
            }
        }
        network.settle().await;
        // Whoever comes too late with the same result changes nothing.
        work::run(node.runtime(), item).await;
        assert_eq!(notes(&node.task(&id).await), ["done"], "point {point}");
        assert_eq!(node.history(&id).await, ["requested", "in-progress", "completed"]);
        network.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_lease_that_is_over_gives_the_work_to_another_and_the_first_result_counts() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("done", "A")).await;
    let claim = |owner: &'static str| async move {
        let claimed = node.write(move |tx| {
            let now = tx.now();
            tx.claim_steps(owner, now, limits::WORK_LEASE, 10)
        });
        claimed.await.len()
    };
    assert_eq!(claim("gone").await, 1);
    assert_eq!(claim("other").await, 0);
    assert!(!node.run_work().await, "somebody else works on it");
    network.clock.advance(limits::WORK_LEASE + Duration::seconds(1));
    network.settle().await;
    assert_eq!(notes(&node.task(&id).await), ["done"]);
    assert!(!node.write(|tx| tx.complete_work_item("any", "gone")).await);
    network.assert_quiet().await;
}

#[tokio::test]
async fn work_that_ends_its_engine_each_time_ends_too() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("done", "A")).await;
    for _ in 0..limits::WORK_STARTS {
        let claimed = work::claim(&node.runtime(), 1).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let owner = node.runtime().owner.clone();
        node.write(move |tx| tx.release_locks(&owner)).await;
    }
    network.settle().await;
    let error = error_of(&node.task(&id).await).unwrap();
    assert!(error.contains("begun 100 times without a result"), "{error}");
    network.assert_quiet().await;
}

#[tokio::test]
async fn work_of_a_class_that_is_gone_fails_its_instance() {
    let network = node().await;
    let node = &network.nodes[0];
    let id = node.create(start("done", "A")).await;
    node.kill().await;
    let later = node.with_same_store(Vec::new);
    later.open().await;
    network.settle().await;
    let reason = "Plugin for process not found, unable to continue execution";
    assert_eq!(error_of(&node.task(&id).await).as_deref(), Some(reason));
    assert_eq!(node.instances(true).await[0].state, InstanceState::Failed);
    network.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_does_many_at_once_and_stops_with_what_waits() {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::open(directory.path(), &["a"], plugins, Clock::of_the_machine()).await;
    let node = &network.nodes[0];
    let (stop, stopping) = watch::channel(false);
    let worker = tokio::spawn(work::work(node.runtime(), stopping));
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(node.create(start("done", &number.to_string())).await);
    }
    let waits = node.create(start("waits", "waits")).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while items(node).await.len() > 1 || items(node).await.iter().all(|item| item.progress.is_none()) {
        assert!(std::time::Instant::now() < deadline, "the work is not done");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for id in ids {
        assert_eq!(notes(&node.task(&id).await), ["done"]);
    }
    stop.send_replace(true);
    tokio::time::timeout(std::time::Duration::from_secs(5), worker).await.expect("it does not stop").unwrap();
    let left = items(node).await.pop().unwrap();
    assert_eq!((left.retries, node.status(&waits).await), (Some(limits::WORK_ATTEMPTS), "in-progress".to_owned()));
}
