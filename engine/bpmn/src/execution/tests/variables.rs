use serde_json::json;

use super::support::{Run, chain, flow};
use crate::{Command, Event, Trigger, VariableWrite};

#[test]
fn a_write_goes_where_the_variable_exists_and_else_to_the_instance() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><subProcess id="sub"><startEvent id="is"/><serviceTask id="t" camunda:class="T"/>
        <serviceTask id="u" camunda:class="U"/>{}</subProcess><userTask id="after"/>{}"#,
        chain(&["is", "t", "u"]),
        chain(&["s", "sub", "after"])
    ));
    run.start(json!({"known": 1}));
    run.complete(
        "t",
        vec![VariableWrite::set_local("inner", 1), VariableWrite::set("known", 2), VariableWrite::set("new", 3)],
    );
    assert_eq!(run.variable("inner"), None);
    assert_eq!(run.variable("known"), Some(json!(2)));
    assert_eq!(run.variable("new"), Some(json!(3)));
    let view = run.instance.variables(run.pending("u").token);
    assert_eq!(view.get("inner"), Some(&json!(1)), "a local variable of a lone token lives in its scope");
    assert_eq!(view.get_local("new"), None);
    run.complete("u", vec![VariableWrite::set("inner", 2), VariableWrite::remove("new")]);
    assert_eq!(run.variable("inner"), None, "it died with its scope");
    assert_eq!(run.variable("new"), None);
}

#[test]
fn local_variables_of_concurrent_tokens_stay_apart_and_the_last_ones_remain() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><parallelGateway id="g"/><serviceTask id="a" camunda:class="A"/><serviceTask id="b" camunda:class="B"/>
        <userTask id="ua"/><userTask id="ub"/><userTask id="end"/>{}{}{}"#,
        chain(&["s", "g", "a", "ua"]),
        chain(&["g", "b", "ub"]),
        flow("ub", "end")
    ));
    run.start(json!({}));
    run.complete("a", vec![VariableWrite::set_local("x", "a")]);
    run.complete("b", vec![VariableWrite::set_local("x", "b")]);
    assert_eq!(run.variable("x"), None);
    let first = run.instance.user_tasks().find(|task| &*task.element == "ua").unwrap().clone();
    run.command(Command::UserTaskCompleted { user_task: first.user_task, variables: vec![] }).unwrap();
    assert_eq!(run.variable("x"), Some(json!("b")));
}

#[test]
fn input_parameters_are_local_and_output_parameters_leave_the_activity() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T"><extensionElements><camunda:inputOutput>
            <camunda:inputParameter name="in">${{x}}</camunda:inputParameter>
            <camunda:inputParameter name="copy">[${{in}}]</camunda:inputParameter>
            <camunda:inputParameter name="nothing"/>
            <camunda:outputParameter name="out">${{result}}</camunda:outputParameter>
        </camunda:inputOutput></extensionElements></serviceTask><userTask id="u"/>{}"#,
        chain(&["s", "t", "u"])
    ));
    run.start(json!({"x": 7}));
    let token = run.pending("t").token;
    let view = run.instance.variables(token);
    assert_eq!(view.get_local("in"), Some(&json!(7)));
    assert_eq!(view.get_local("copy"), Some(&json!("[7]")));
    assert_eq!(view.get_local("nothing"), Some(&json!(null)));
    run.complete("t", vec![VariableWrite::set_local("result", "done")]);
    assert_eq!(run.variable("out"), Some(json!("done")));
    assert_eq!(run.variable("in"), None);
    assert_eq!(run.variable("result"), None);
}

#[test]
fn a_receive_task_is_correlated_by_its_local_key() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><receiveTask id="r" messageRef="m-a">
            <extensionElements><camunda:inputOutput><camunda:inputParameter name="correlationKey">${{target.correlationKey}}</camunda:inputParameter></camunda:inputOutput></extensionElements>
            <multiInstanceLoopCharacteristics camunda:collection="${{targets.entries}}" camunda:elementVariable="target"/>
        </receiveTask><endEvent id="e"/>{}"#,
        chain(&["s", "r", "e"])
    ));
    run.start(
        json!({"targets": {"entries": [{"correlationKey": "k1"}, {"correlationKey": "k2"}, {"correlationKey": "k3"}]}}),
    );
    for key in ["k2", "k3"] {
        run.message("a", Some(key)).unwrap();
        assert!(run.message("a", Some(key)).is_err());
    }
    let events = run.message("a", Some("k1")).unwrap();
    let settled = events.iter().find_map(|event| match event {
        Event::EndEventReached { messages, .. } => Some(messages.clone()),
        _ => None,
    });
    assert_eq!(settled.unwrap(), ["Task/a/k1", "Task/a/k3", "Task/a/k2"]);
    run.assert_completed();
}

#[test]
fn an_open_subscription_follows_its_correlation_key() {
    let mut run = Run::of(&format!(r#"<startEvent id="s"/><receiveTask id="r" messageRef="m-a"/>{}"#, flow("s", "r")));
    run.start(json!({}));
    let token = run.instance.tokens().next().unwrap().id;
    let variables = vec![VariableWrite::set_local("correlationKey", "k")];
    let events = run.command(Command::SetVariables { token: Some(token), variables }).unwrap();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::SubscriptionRekeyed { correlation_key: Some(key), .. } if key == "k"))
    );
    let open = run.instance.subscriptions().next().unwrap();
    assert!(matches!(&open.trigger, Trigger::Message { correlation_key: Some(key), .. } if key == "k"));
}

#[test]
fn a_key_outside_of_the_waiting_scope_does_not_correlate() {
    let mut run = Run::of(&format!(r#"<startEvent id="s"/><receiveTask id="r" messageRef="m-a"/>{}"#, flow("s", "r")));
    run.start(json!({"correlationKey": "outer"}));
    let open = run.instance.subscriptions().next().unwrap();
    assert!(matches!(&open.trigger, Trigger::Message { correlation_key: None, .. }));
}
