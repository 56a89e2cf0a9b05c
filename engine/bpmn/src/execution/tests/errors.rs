use serde_json::json;

use super::support::{Run, chain, flow};
use crate::{Event, StepOutcome, VariableWrite};

fn thrown(code: &str) -> StepOutcome {
    StepOutcome::BpmnError { code: code.to_owned(), message: Some("why".to_owned()), variables: vec![] }
}

fn task_with_boundary(definition: &str) -> Run {
    Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T"/><task id="ok"/><task id="caught"/>
        <boundaryEvent id="b" attachedToRef="t">{definition}</boundaryEvent>{}{}"#,
        chain(&["s", "t", "ok"]),
        flow("b", "caught")
    ))
}

#[test]
fn bpmn_056_a_boundary_event_with_the_same_code_catches_and_sets_its_variables() {
    let mut run = task_with_boundary(
        r#"<errorEventDefinition errorRef="e-x" camunda:errorCodeVariable="code" camunda:errorMessageVariable="text"/>"#,
    );
    run.start(json!({}));
    let events = run.answer("t", thrown("X"));
    assert_eq!(run.path(), ["s", "t", "b", "caught"]);
    let set = |wanted: &str, expected: &str| {
        events.iter().any(|event| {
            matches!(event, Event::VariableSet { name, value, .. }
            if name == wanted && **value == json!(expected))
        })
    };
    assert!(set("code", "X") && set("text", "why"));
    run.assert_completed();
}

#[test]
fn bpmn_057_an_error_without_a_matching_boundary_event_ends_the_execution() {
    let mut run = task_with_boundary(r#"<errorEventDefinition errorRef="e-y"/>"#);
    run.start(json!({}));
    let events = run.answer("t", thrown("X"));
    assert!(events.iter().any(|event| matches!(event, Event::ErrorUnhandled { code, .. } if code == "X")));
    assert!(!events.iter().any(|event| matches!(event, Event::EndEventReached { .. })));
    run.assert_completed();
}

#[test]
fn bpmn_057_messages_of_an_execution_that_ended_by_an_error_are_handed_back() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"><messageEventDefinition messageRef="m-start"/></startEvent><serviceTask id="t" camunda:class="T"/>{}"#,
        flow("s", "t")
    ));
    run.start_by("start");
    let events = run.answer("t", thrown("X"));
    assert!(matches!(events.last(), Some(Event::InstanceCompleted { messages }) if messages == &["Task/start"]));
}

#[test]
fn bpmn_058_a_boundary_event_without_error_reference_or_code_catches_every_error() {
    for definition in ["<errorEventDefinition/>", r#"<errorEventDefinition errorRef="e-any"/>"#] {
        let mut run = task_with_boundary(definition);
        run.start(json!({}));
        run.answer("t", thrown("whatever"));
        assert_eq!(run.path(), ["s", "t", "b", "caught"]);
    }
}

#[test]
fn an_error_is_caught_by_the_nearest_scope_that_has_a_boundary_event_for_it() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><subProcess id="outer"><startEvent id="os"/><subProcess id="inner"><startEvent id="is"/>
            <parallelGateway id="g"/><serviceTask id="t" camunda:class="T"/><userTask id="u"/>{}{}</subProcess>
            <boundaryEvent id="wrong" attachedToRef="inner"><errorEventDefinition errorRef="e-y"/></boundaryEvent>{}</subProcess>
        <boundaryEvent id="right" attachedToRef="outer"><errorEventDefinition errorRef="e-x"/></boundaryEvent><task id="caught"/>{}{}"#,
        chain(&["is", "g", "t"]),
        flow("g", "u"),
        flow("os", "inner"),
        flow("s", "outer"),
        flow("right", "caught")
    ));
    run.start(json!({}));
    let events = run.answer("t", thrown("X"));
    assert!(events.iter().any(|event| matches!(event, Event::UserTaskCancelled { .. })));
    assert_eq!(run.path().last().unwrap(), "caught");
    run.assert_completed();
}

#[test]
fn an_error_end_event_throws_out_of_its_sub_process() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><subProcess id="sub"><startEvent id="is"/><endEvent id="ie"><errorEventDefinition errorRef="e-x"/></endEvent>{}</subProcess>
        <boundaryEvent id="b" attachedToRef="sub"><errorEventDefinition errorRef="e-x"/></boundaryEvent><task id="caught"/><task id="ok"/>{}{}"#,
        flow("is", "ie"),
        chain(&["s", "sub", "ok"]),
        flow("b", "caught")
    ));
    run.start(json!({}));
    assert_eq!(run.path(), ["s", "sub", "is", "ie", "b", "caught"]);
    run.assert_completed();
}

#[test]
fn an_error_in_one_instance_interrupts_the_whole_multi_instance_body() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T">
            <multiInstanceLoopCharacteristics camunda:collection="list" camunda:elementVariable="item"/></serviceTask>
        <boundaryEvent id="b" attachedToRef="t"><errorEventDefinition/></boundaryEvent><task id="caught"/>{}{}"#,
        flow("s", "t"),
        flow("b", "caught")
    ));
    run.start(json!({"list": [1, 2, 3]}));
    let events = run.answer("t", thrown("X"));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::StepCancelled { .. })).count(), 2);
    assert_eq!(run.path().last().unwrap(), "caught");
    run.assert_completed();
}

#[test]
fn an_unhandled_error_in_one_instance_ends_only_this_instance() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T">
            <multiInstanceLoopCharacteristics camunda:collection="list"/></serviceTask><task id="after"/>{}"#,
        chain(&["s", "t", "after"])
    ));
    run.start(json!({"list": [1, 2]}));
    run.answer("t", thrown("X"));
    run.complete("t", vec![]);
    assert_eq!(run.path().last().unwrap(), "after");
    run.assert_completed();
}

#[test]
fn variables_written_before_the_error_are_kept() {
    let mut run = task_with_boundary("<errorEventDefinition/>");
    run.start(json!({}));
    let variables = vec![VariableWrite::set("kept", 1)];
    let events = run.answer("t", StepOutcome::BpmnError { code: "X".to_owned(), message: None, variables });
    assert!(events.iter().any(|event| matches!(event, Event::VariableSet { name, .. } if name == "kept")));
}
