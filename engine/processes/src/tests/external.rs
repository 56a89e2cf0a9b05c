//! External workers: tasks are fetched by topic, reported once, and belong to who holds their lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use bpmn::VariableWrite;
use serde_json::json;
use store::processes::ExternalFetch;
use time::Duration;

use super::models;
use super::support::{Network, Node, error_of, new_task};
use super::work::notes;
use crate::external::{ExternalError, ExternalTask, FetchOrder, FetchTopic, Report, Worker};
use crate::plugin::{Implementations, Plugin};
use crate::runtime::Runtime;

const LOCK: Duration = Duration::minutes(1);

const BODY: &str = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
    <sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
    <serviceTask id="do" IMPLEMENTATION><extensionElements><camunda:field name="size" stringValue="large"/></extensionElements></serviceTask>
    <sequenceFlow id="f2" sourceRef="do" targetRef="note"/>
    <boundaryEvent id="error" attachedToRef="do"><errorEventDefinition errorRef="x" camunda:errorMessageVariable="text"/></boundaryEvent>
    <sequenceFlow id="f3" sourceRef="error" targetRef="note"/>
    <boundaryEvent id="stop" attachedToRef="do"><messageEventDefinition messageRef="go"/></boundaryEvent>
    <sequenceFlow id="f4" sourceRef="stop" targetRef="end"/>
    <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f5" sourceRef="note" targetRef="end"/><endEvent id="end"/>"#;

fn plugins() -> Vec<Plugin> {
    let model = |name, implementation| models::bpmn(name, "1.0", &BODY.replace("IMPLEMENTATION", implementation));
    let mut plugin = models::plugin(vec![
        model("topic", r#"camunda:type="external" camunda:topic="images""#),
        model("bound", r#"camunda:class="org.example.ReadImages""#),
        model(
            "urgent",
            r#"camunda:type="external" camunda:topic="urgent" camunda:taskPriority="${execution.hasVariable('x') ? 1 : 7}""#,
        ),
        model("calm", r#"camunda:type="external" camunda:topic="images" camunda:taskPriority="-3""#),
    ]);
    plugin.implementations.extend(&Implementations::default().with_topic("org.example.ReadImages", "images"));
    vec![plugin]
}

async fn network() -> Network {
    Network::with_plugins(&["a"], plugins).await
}

async fn start(node: &Node, process: &str) -> String {
    node.create(new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), "m", Some("A"), None)).await
}

fn worker(name: &str, topic: &str) -> Worker {
    Worker { id: name.to_owned(), topics: Arc::new(BTreeSet::from([topic.to_owned()])) }
}

async fn fetch(node: &Node, worker: &Worker) -> Vec<ExternalTask> {
    let (runtime, worker) = (node.runtime(), worker.clone());
    let topic = FetchTopic {
        fetch: ExternalFetch { topic: "images".to_owned(), ..ExternalFetch::default() },
        lock: LOCK,
        variables: None,
        is_local: false,
    };
    let store = node.store();
    store.write(move |tx| runtime.fetch_external(tx, &worker, &[topic], FetchOrder::Topics, 10)).await.unwrap()
}

async fn report(node: &Node, worker: &Worker, id: &str, report: Report) -> Result<(), ExternalError> {
    let (runtime, worker, id, store) = (node.runtime(), worker.clone(), id.to_owned(), node.store());
    store.write(move |tx| runtime.report_external(tx, &worker, &id, report)).await
}

fn done() -> Report {
    Report::Completed { variables: vec![VariableWrite::set("code", "found"), VariableWrite::set("text", json!("3"))] }
}

fn failed(retries: u32) -> Report {
    Report::Failed {
        message: "no such image".to_owned(),
        details: Some("a long trace".to_owned()),
        retries,
        pause: Duration::seconds(30),
        variables: vec![VariableWrite::set("seen", true)],
    }
}

#[tokio::test]
async fn a_task_of_a_topic_or_of_a_bound_class_is_fetched_and_its_result_moves_the_instance() {
    let network = network().await;
    let node = &network.nodes[0];
    for process in ["topic", "bound"] {
        let id = start(node, process).await;
        let worker = worker("w1", "images");
        let task = fetch(node, &worker).await.pop().unwrap();
        assert_eq!((task.item.element.as_str(), task.item.business_key.as_str()), ("do", "A"));
        assert_eq!(task.fields.get("size"), Some(&json!("large")));
        assert!(fetch(node, &worker).await.is_empty(), "it is locked");
        report(node, &worker, &task.item.id, done()).await.unwrap();
        assert_eq!(notes(&node.task(&id).await), ["found/3"]);
        assert_eq!(node.status(&id).await, "completed");
        let again = report(node, &worker, &task.item.id, done()).await;
        assert!(matches!(again, Err(ExternalError::Missing(_))), "a result counts once");
    }
    network.assert_quiet().await;
}

/// What a worker of both topics gets, as processes.
async fn fetch_both(node: &Node, order: FetchOrder, most: u32) -> Vec<(String, i64)> {
    let worker =
        Worker { id: "w1".to_owned(), topics: Arc::new(["images", "urgent"].map(str::to_owned).into_iter().collect()) };
    let topics = ["images", "urgent", "images"].map(|topic| FetchTopic {
        fetch: ExternalFetch { topic: topic.to_owned(), ..ExternalFetch::default() },
        lock: LOCK,
        variables: None,
        is_local: false,
    });
    let (runtime, store) = (node.runtime(), node.store());
    let fetched = store.write(move |tx| runtime.fetch_external(tx, &worker, &topics, order, most)).await.unwrap();
    fetched.into_iter().map(|task| (task.item.process_key.replace("testorg_", ""), task.item.priority)).collect()
}

#[tokio::test]
async fn the_priority_of_the_model_decides_within_a_topic_and_between_topics_if_the_worker_wants_it() {
    let network = network().await;
    let node = &network.nodes[0];
    for process in ["calm", "topic", "urgent"] {
        start(node, process).await;
        network.clock.advance(Duration::seconds(1));
    }
    let all = |order, most| fetch_both(node, order, most);
    let expected = |processes: &[(&str, i64)]| -> Vec<(String, i64)> {
        processes.iter().map(|(process, priority)| ((*process).to_owned(), *priority)).collect()
    };
    assert_eq!(all(FetchOrder::Topics, 1).await, expected(&[("topic", 0)]));
    network.clock.advance(LOCK);
    let by_topic = all(FetchOrder::Topics, 3).await;
    assert_eq!(by_topic, expected(&[("topic", 0), ("calm", -3), ("urgent", 7)]));
    network.clock.advance(LOCK);
    assert_eq!(all(FetchOrder::Priority, 2).await, expected(&[("urgent", 7), ("topic", 0)]));
    assert_eq!(all(FetchOrder::Priority, 2).await, expected(&[("calm", -3)]), "the others are locked");
}

#[tokio::test]
async fn only_who_holds_the_lock_reports_and_only_for_its_topics() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "topic").await;
    let (first, second) = (worker("w1", "images"), worker("w2", "images"));
    let stranger = worker("w1", "other");
    assert!(fetch(node, &stranger).await.is_empty());
    let task = fetch(node, &first).await.pop().unwrap().item.id;
    assert!(matches!(report(node, &stranger, &task, done()).await, Err(ExternalError::Missing(_))));
    let refused = report(node, &second, &task, done()).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("External Task {task} cannot be completed by worker 'w2'. It is locked by worker 'w1'.")
    );
    // Its lock is over, and the next one has it; the first comes too late.
    network.clock.advance(LOCK + Duration::seconds(1));
    assert_eq!(fetch(node, &second).await.len(), 1);
    assert!(report(node, &first, &task, done()).await.is_err());
    // A crash of the node takes no worker's lock.
    node.restart().await;
    report(node, &second, &task, done()).await.unwrap();
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_failure_is_tried_again_while_the_worker_says_so_and_then_fails_the_step() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "topic").await;
    let worker = worker("w1", "images");
    let task = fetch(node, &worker).await.pop().unwrap().item.id;
    report(node, &worker, &task, failed(1)).await.unwrap();
    assert!(fetch(node, &worker).await.is_empty(), "not before its time");
    network.clock.advance(Duration::seconds(31));
    let again = fetch(node, &worker).await.pop().unwrap();
    assert_eq!((again.item.retries, again.item.failure.as_deref()), (Some(1), Some("no such image")));
    assert_eq!(again.variables.get("seen"), Some(&json!(true)));
    report(node, &worker, &task, failed(0)).await.unwrap();
    let reason = "Process testorg_topic|1.0 has fatal error in step do, reason: no such image";
    assert_eq!(error_of(&node.task(&id).await).as_deref(), Some(reason));
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_bpmn_error_takes_its_way_and_a_cancelled_task_is_gone() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "topic").await;
    let worker = worker("w1", "images");
    let task = fetch(node, &worker).await.pop().unwrap().item.id;
    let error = Report::Error { code: "X".to_owned(), message: Some("broken".to_owned()), variables: Vec::new() };
    report(node, &worker, &task, error).await.unwrap();
    assert_eq!(notes(&node.task(&id).await), ["/broken"]);

    let id = start(node, "topic").await;
    let task = fetch(node, &worker).await.pop().unwrap().item.id;
    let stop = node.create(new_task("http://test.org/bpe/Process/topic|1.0", "go", Some("A"), None)).await;
    assert!(matches!(report(node, &worker, &task, done()).await, Err(ExternalError::Missing(_))));
    assert_eq!((node.status(&id).await, node.status(&stop).await), ("completed".to_owned(), "completed".to_owned()));
    network.assert_quiet().await;
}

#[tokio::test]
async fn locks_are_extended_given_up_and_taken() {
    let network = network().await;
    let node = &network.nodes[0];
    start(node, "topic").await;
    let (first, second) = (worker("w1", "images"), worker("w2", "images"));
    let task = fetch(node, &first).await.pop().unwrap().item.id;
    let store = node.store();
    let (id, holder) = (task.clone(), first.clone());
    store.write(move |tx| Runtime::extend_external(tx, &holder, &id, LOCK * 2)).await.unwrap();
    network.clock.advance(LOCK + Duration::seconds(1));
    assert!(fetch(node, &second).await.is_empty());
    let (id, other) = (task.clone(), second.clone());
    let refused = store.write(move |tx| Runtime::lock_external(tx, &other, &id, LOCK)).await;
    assert!(matches!(refused, Err(ExternalError::NotHeld { .. })));
    let (id, other) = (task.clone(), second.clone());
    store.write(move |tx| Runtime::unlock_external(tx, &other, &id)).await.unwrap();
    let (id, other) = (task.clone(), second.clone());
    store.write(move |tx| Runtime::lock_external(tx, &other, &id, LOCK)).await.unwrap();
    report(node, &second, &task, done()).await.unwrap();
    network.assert_quiet().await;
}
