use serde_json::json;

use super::support::{Run, chain};
use crate::{Command, Event, ScopeKind, StepError, VariableWrite};

fn send_task(asynchronous: &str) -> Run {
    Run::of(&format!(
        r#"<startEvent id="s"/><sendTask id="t" camunda:class="Send"><multiInstanceLoopCharacteristics {asynchronous}
            camunda:collection="${{targets.entries}}" camunda:elementVariable="target"/></sendTask><endEvent id="e"/>{}"#,
        chain(&["s", "t", "e"])
    ))
}

#[test]
fn each_element_gets_its_own_instance_with_local_variables() {
    let mut run = send_task("");
    run.start(json!({"targets": {"entries": ["a", "b", "c"]}}));
    let mut seen: Vec<_> = run
        .instance
        .steps()
        .map(|step| {
            let view = run.instance.variables(step.token);
            (view.get("loopCounter").cloned(), view.get_local("target").cloned(), view.get("nrOfInstances").cloned())
        })
        .collect();
    seen.sort_by_key(|(counter, _, _)| counter.as_ref().and_then(serde_json::Value::as_u64));
    assert_eq!(seen[1], (Some(json!(1)), Some(json!("b")), Some(json!(3))));
    run.complete("t", vec![VariableWrite::set("last", 1), VariableWrite::set_local("own", 1)]);
    let body = run.instance.scopes().find(|scope| scope.kind == ScopeKind::MultiInstance).unwrap();
    assert_eq!(*body.variables["nrOfCompletedInstances"], json!(1));
    assert_eq!(*body.variables["nrOfActiveInstances"], json!(2));
    run.complete("t", vec![]);
    run.complete("t", vec![]);
    run.assert_completed();
}

#[test]
fn bpmn_035_an_empty_collection_completes_at_once() {
    let mut run = send_task("");
    run.start(json!({"targets": {"entries": []}}));
    assert_eq!(run.path(), ["s", "t", "e"]);
    run.assert_completed();
}

#[test]
fn a_collection_that_is_no_list_or_missing_refuses_the_command() {
    for variables in [json!({}), json!({"targets": {"entries": "x"}}), json!({"targets": {}})] {
        let mut run = send_task("");
        let variables = super::support::pairs(variables);
        let command = Command::Start {
            process: "p".to_owned(),
            start_event: "s".into(),
            business_key: None,
            variables,
            message: None,
            caller: None,
        };
        assert!(matches!(run.command(command), Err(StepError::Element { .. })));
    }
}

#[test]
fn async_before_on_the_marker_makes_one_job_for_each_instance() {
    let mut run = send_task(r#"camunda:asyncBefore="true" camunda:exclusive="false""#);
    let events = run.start(json!({"targets": {"entries": [1, 2, 3]}}));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::JobCreated(job) if !job.exclusive)).count(), 3);
    run.run_jobs();
    assert_eq!(run.instance.steps().count(), 3);
}

#[test]
fn a_thousand_instances_stay_quick() {
    let mut run = send_task("");
    let entries: Vec<_> = (0..1000).collect();
    run.start(json!({"targets": {"entries": entries}}));
    assert_eq!(run.instance.steps().count(), 1000);
    for _ in 0..5 {
        run.complete("t", vec![]);
    }
}
