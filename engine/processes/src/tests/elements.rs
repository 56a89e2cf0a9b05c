//! Elements that reach beyond one instance, on a real store: called processes, signals that start, timers that start,
//! event sub-processes that take messages. After every command the engine is killed and started again.

use time::Duration;

use super::models::{bpmn, plugin};
use super::support::{Network, Node, error_of, new_task};
use crate::plugin::Plugin;

const MODELS: &[(&str, &str)] = &[
    (
        "caller",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="call"/>
        <callActivity id="call" calledElement="testorg_called" camunda:calledElementBinding="deployment"><extensionElements>
          <camunda:in businessKey="${execution.processBusinessKey}"/><camunda:in sourceExpression="PT30S" target="wait"/><camunda:out source="result" target="result"/></extensionElements></callActivity>
        <boundaryEvent id="late" attachedToRef="call"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>
        <boundaryEvent id="wrong" attachedToRef="call"><errorEventDefinition errorRef="x" camunda:errorCodeVariable="code"/></boundaryEvent>
        <sequenceFlow id="f2" sourceRef="call" targetRef="gate"/><exclusiveGateway id="gate" default="f3"/>
        <sequenceFlow id="f3" sourceRef="gate" targetRef="note"/><sequenceFlow id="f4" sourceRef="gate" targetRef="end"><conditionExpression>${result == 'other'}</conditionExpression></sequenceFlow>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f5" sourceRef="note" targetRef="end"/>
        <sequenceFlow id="f6" sourceRef="late" targetRef="end"/><sequenceFlow id="f7" sourceRef="wrong" targetRef="note"/><endEvent id="end"/>"#,
    ),
    (
        "called",
        r#"<startEvent id="start"/><sequenceFlow id="f1" sourceRef="start" targetRef="wait"/>
        <intermediateCatchEvent id="wait"><timerEventDefinition><timeDuration>${wait}</timeDuration></timerEventDefinition></intermediateCatchEvent>
        <sequenceFlow id="f2" sourceRef="wait" targetRef="go"/><receiveTask id="go" messageRef="go"/>
        <boundaryEvent id="b" attachedToRef="go"><timerEventDefinition><timeDuration>PT10M</timeDuration></timerEventDefinition></boundaryEvent>
        <sequenceFlow id="f3" sourceRef="b" targetRef="bad"/><endEvent id="bad"><errorEventDefinition errorRef="x"/></endEvent>
        <sequenceFlow id="f4" sourceRef="go" targetRef="script"/>
        <scriptTask id="script" camunda:resultVariable="result"><script>${'done'}</script></scriptTask><sequenceFlow id="f5" sourceRef="script" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "missing",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="call"/>
        <callActivity id="call" calledElement="testorg_nobody"/>"#,
    ),
    (
        "thrower",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="end"/>
        <endEvent id="end"><signalEventDefinition signalRef="news"><extensionElements><camunda:in sourceExpression="PT5S" target="wait"/></extensionElements></signalEventDefinition></endEvent>"#,
    ),
    (
        "woken",
        r#"<startEvent id="start"><signalEventDefinition signalRef="news"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="wait"/>
        <intermediateCatchEvent id="wait"><timerEventDefinition><timeDuration>${wait}</timeDuration></timerEventDefinition></intermediateCatchEvent>"#,
    ),
    (
        "daily",
        r#"<startEvent id="start"><timerEventDefinition><timeCycle>R3/PT1H</timeCycle></timerEventDefinition></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "guarded",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="wait"/>
        <intermediateCatchEvent id="wait"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent>
        <subProcess id="ask" triggeredByEvent="true"><startEvent id="asked" isInterrupting="false"><messageEventDefinition messageRef="go"/></startEvent>
          <sequenceFlow id="g1" sourceRef="asked" targetRef="note"/><serviceTask id="note" camunda:class="Note"/><sequenceFlow id="g2" sourceRef="note" targetRef="answered"/><endEvent id="answered"/></subProcess>"#,
    ),
];

fn plugins() -> Vec<Plugin> {
    plugins_with(|name| name != "daily")
}

fn timed_plugins() -> Vec<Plugin> {
    plugins_with(|name| name == "daily")
}

fn plugins_with(wanted: fn(&str) -> bool) -> Vec<Plugin> {
    let models = MODELS.iter().filter(|(name, _)| wanted(name)).map(|(name, body)| {
        let text =
            bpmn(name, "1.0", body).replace("<error id=\"x\"", "<signal id=\"news\" name=\"news\"/><error id=\"x\"");
        &*Box::leak(text.into_boxed_str())
    });
    vec![plugin(models.collect())]
}

async fn network() -> Network {
    Network::with_plugins(&["a"], plugins).await
}

async fn send(node: &Node, process: &str, message: &str, key: &str) -> String {
    node.create(new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), message, Some(key), None)).await
}

/// Lets time pass, with a crash before and after what it causes.
async fn pass(network: &Network, time: Duration) {
    network.nodes[0].restart().await;
    network.clock.advance(time);
    network.settle().await;
    network.nodes[0].restart().await;
}

async fn states(node: &Node) -> Vec<(String, &'static str)> {
    let ended = node.instances(true).await;
    let mut states: Vec<_> = ended.into_iter().map(|row| (row.process_key, row.state.as_str())).collect();
    states.sort();
    states
}

#[tokio::test]
async fn a_called_process_lives_and_ends_with_its_caller() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "caller", "m", "A").await;
    assert_eq!(node.instances(false).await.len(), 2);
    pass(&network, Duration::seconds(31)).await;
    // The message finds the called instance by the business key that it was given.
    let go = send(node, "called", "go", "A").await;
    assert_eq!((node.status(&id).await, node.status(&go).await), ("completed".to_owned(), "completed".to_owned()));
    assert_eq!(
        states(node).await,
        [("testorg_called".to_owned(), "completed"), ("testorg_caller".to_owned(), "completed")]
    );
    network.assert_quiet().await;
}

#[tokio::test]
async fn an_error_of_a_called_process_is_caught_by_its_caller() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "caller", "m", "A").await;
    pass(&network, Duration::seconds(31)).await;
    pass(&network, Duration::minutes(11)).await;
    let task = node.task(&id).await;
    assert_eq!(task.str("status"), Some("completed"));
    assert!(fhir::print(fhir::Format::Json, &task, false).contains("X/"), "the step saw the error code");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_caller_that_is_interrupted_cancels_what_it_called() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "caller", "m", "A").await;
    network.clock.advance(Duration::hours(2));
    // Both timers are due; whichever runs first, nothing is left behind.
    network.settle().await;
    network.clock.advance(Duration::hours(2));
    network.settle().await;
    assert_eq!(node.status(&id).await, "completed");
    assert!(node.instances(false).await.is_empty());
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_process_that_is_not_there_fails_its_caller() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "missing", "m", "A").await;
    let error = error_of(&node.task(&id).await).unwrap();
    assert!(error.contains("process testorg_nobody that call calls is not installed"), "{error}");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_signal_starts_the_newest_version_of_a_process_with_its_variables() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "thrower", "m", "A").await;
    assert_eq!(node.status(&id).await, "completed");
    let running = node.instances(false).await;
    assert_eq!(running.iter().map(|row| row.process_key.as_str()).collect::<Vec<_>>(), ["testorg_woken"]);
    pass(&network, Duration::seconds(6)).await;
    assert!(node.instances(false).await.is_empty());
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_process_starts_as_often_as_its_timer_says_across_restarts() {
    let network = Network::with_plugins(&["a"], timed_plugins).await;
    let node = &network.nodes[0];
    for expected in [1, 2, 3, 3] {
        node.restart().await;
        pass(&network, Duration::minutes(61)).await;
        let started = states(node).await.into_iter().filter(|(key, _)| key == "testorg_daily").count();
        assert_eq!(started, expected);
    }
    network.assert_quiet().await;
}

#[tokio::test]
async fn an_event_sub_process_takes_every_message_and_completes_its_task() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = send(node, "guarded", "m", "A").await;
    for _ in 0..3 {
        let go = send(node, "guarded", "go", "A").await;
        assert_eq!(node.status(&go).await, "completed");
        node.restart().await;
    }
    assert_eq!(node.status(&id).await, "in-progress");
    pass(&network, Duration::minutes(61)).await;
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}
