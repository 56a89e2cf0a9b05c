use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;

use super::support::{Run, chain, flow};
use crate::{Command, ListenerError, ListenerEvent, StepError, VariableWrite};

#[test]
fn listeners_run_at_start_end_and_take_with_fields_and_local_variables() {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&calls);
    let mut run = Run::of(
        r#"<extensionElements><camunda:executionListener class="L" event="start"/><camunda:executionListener class="L" event="end"/></extensionElements>
        <startEvent id="s"/><task id="t"><extensionElements>
            <camunda:executionListener class="L" event="end"><camunda:field name="f" expression="${x}"/></camunda:executionListener>
            <camunda:executionListener class="L" event="start"/></extensionElements></task>
        <sequenceFlow id="f" sourceRef="s" targetRef="t"><extensionElements><camunda:executionListener class="L" event="take"/></extensionElements></sequenceFlow>"#,
    )
    .listener("L", move |call| {
        seen.borrow_mut().push((call.element.to_string(), call.event, call.fields.get("f").cloned(), call.variables.get("x").cloned()));
        Ok(vec![VariableWrite::set("x", 1)])
    });
    run.start(json!({}));
    run.assert_completed();
    let one = Some(json!(1));
    assert_eq!(
        *calls.borrow(),
        [
            ("p".to_owned(), ListenerEvent::Start, None, None),
            ("f".to_owned(), ListenerEvent::Take, None, one.clone()),
            ("t".to_owned(), ListenerEvent::Start, None, one.clone()),
            ("t".to_owned(), ListenerEvent::End, one.clone(), one.clone()),
            ("p".to_owned(), ListenerEvent::End, None, one),
        ]
    );
}

#[test]
fn a_failing_listener_refuses_the_command_and_a_bpmn_error_is_caught() {
    let body = format!(
        r#"<startEvent id="s"/><serviceTask id="w" camunda:class="W"/><serviceTask id="t" camunda:class="T"><extensionElements>
            <camunda:executionListener class="L" event="start"/></extensionElements></serviceTask>
        <boundaryEvent id="b" attachedToRef="t"><errorEventDefinition errorRef="e-x"/></boundaryEvent><task id="caught"/>{}{}"#,
        chain(&["s", "w", "t"]),
        flow("b", "caught")
    );
    let mut failing = Run::of(&body).listener("L", |_| Err(ListenerError::Failed("no".to_owned())));
    failing.start(json!({}));
    let step = failing.pending("w").step;
    let error = failing.command(Command::StepCompleted { step, outcome: crate::StepOutcome::completed() });
    assert!(matches!(error, Err(StepError::Element { ref element, .. }) if &**element == "t"), "{error:?}");

    let mut throwing =
        Run::of(&body).listener("L", |_| Err(ListenerError::Bpmn { code: "X".to_owned(), message: None }));
    throwing.start(json!({}));
    throwing.complete("w", vec![]);
    assert_eq!(throwing.path(), ["s", "w", "t", "b", "caught"]);
    throwing.assert_completed();
}
