use serde_json::json;
use time::Duration;

use super::support::{Run, chain, flow};
use crate::{Command, Event, Status, StepError, StepKind, StepOutcome, Trigger, VariableWrite};

#[test]
fn a_service_task_requests_a_step_with_class_and_evaluated_fields_and_waits() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="Do"><extensionElements>
            <camunda:field name="literal"><camunda:string>${{x}}</camunda:string></camunda:field>
            <camunda:field name="computed"><camunda:expression>${{x + 1}}</camunda:expression></camunda:field>
            <camunda:failedJobRetryTimeCycle>R3/PT5S</camunda:failedJobRetryTimeCycle>
        </extensionElements></serviceTask><endEvent id="e"/>{}"#,
        chain(&["s", "t", "e"])
    ));
    run.start(json!({"x": 41}));
    let step = run.pending("t");
    assert_eq!(step.kind, StepKind::Service);
    assert_eq!(step.class, "Do");
    assert_eq!(step.fields["literal"], json!("${x}"));
    assert_eq!(step.fields["computed"], json!(42));
    assert_eq!(step.retry.unwrap().attempts, 3);
    run.complete("t", vec![VariableWrite::set("y", 1)]);
    run.assert_completed();
    assert_eq!(run.path(), ["s", "t", "e"]);
}

#[test]
fn a_late_or_repeated_answer_is_refused() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="A"/><serviceTask id="u" camunda:class="B"/>{}"#,
        chain(&["s", "t", "u"])
    ));
    run.start(json!({}));
    let step = run.pending("t").step;
    run.complete("t", vec![]);
    let again = run.command(Command::StepCompleted { step: step.clone(), outcome: StepOutcome::completed() });
    assert_eq!(again, Err(StepError::NotOpen { kind: "step", id: step.to_string() }));
    run.complete("u", vec![]);
    run.assert_completed();
    let late = run.command(Command::Signal { name: "go".to_owned(), variables: Vec::new() });
    assert_eq!(late, Err(StepError::Status { status: "completed", command: "signal" }));
}

#[test]
fn a_service_task_with_an_expression_runs_in_the_engine() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:expression="${{x * 2}}" camunda:resultVariable="y"/>
        <userTask id="u"/>{}"#,
        chain(&["s", "t", "u"])
    ));
    run.start(json!({"x": 21}));
    assert_eq!(run.variable("y"), Some(json!(42)));
}

#[test]
fn a_failed_step_ends_the_instance_and_hands_back_its_messages() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"><messageEventDefinition messageRef="m-start"/></startEvent><parallelGateway id="g"/>
        <serviceTask id="t" camunda:class="A"/><userTask id="u"/>{}{}"#,
        chain(&["s", "g", "t"]),
        flow("g", "u")
    ));
    run.start_by("start");
    let events = run.answer("t", StepOutcome::Failed { reason: "broken".to_owned() });
    assert!(events.iter().any(|event| matches!(event, Event::UserTaskCancelled { .. })));
    let last = events.last().unwrap();
    assert!(matches!(last, Event::InstanceFailed { element: Some(element), reason, messages }
        if &**element == "t" && reason == "broken" && messages == &["Task/start"]));
    assert_eq!(*run.status(), Status::Failed { reason: "broken".to_owned() });
}

#[test]
fn an_exclusive_gateway_takes_the_first_true_condition_else_the_default() {
    let body = format!(
        r#"<startEvent id="s"/><exclusiveGateway id="g" default="d"/><task id="a"/><task id="b"/><task id="c"/>{}
        <sequenceFlow id="d" sourceRef="g" targetRef="c"/>
        <sequenceFlow id="f1" sourceRef="g" targetRef="a"><conditionExpression>${{x &gt; 10}}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f2" sourceRef="g" targetRef="b"><conditionExpression>${{x &gt; 5}}</conditionExpression></sequenceFlow>"#,
        flow("s", "g")
    );
    for (x, taken) in [(11, "a"), (6, "b"), (1, "c")] {
        let mut run = Run::of(&body);
        run.start(json!({ "x": x }));
        assert_eq!(run.path(), ["s", "g", taken]);
        run.assert_completed();
    }
}

#[test]
fn a_gateway_without_a_flow_to_take_and_an_unknown_variable_refuse_the_command() {
    let body = format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T"/><exclusiveGateway id="g"/><task id="a"/><task id="b"/>{}
        <sequenceFlow id="f1" sourceRef="g" targetRef="a"><conditionExpression>${{x}}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f2" sourceRef="g" targetRef="b"><conditionExpression>${{x}}</conditionExpression></sequenceFlow>"#,
        chain(&["s", "t", "g"])
    );
    let mut run = Run::of(&body);
    run.start(json!({}));
    let step = run.pending("t").step;
    let undefined =
        run.command(Command::StepCompleted { step: step.clone(), outcome: StepOutcome::completed() }).unwrap_err();
    assert!(undefined.to_string().contains("unknown property used in expression: x"), "{undefined}");
    let outcome = StepOutcome::Completed { variables: vec![VariableWrite::set("x", false)] };
    let error = run.command(Command::StepCompleted { step: step.clone(), outcome }).unwrap_err();
    assert!(error.to_string().contains("element g: no outgoing sequence flow can be taken"), "{error}");
    let outcome = StepOutcome::Completed { variables: vec![VariableWrite::set("x", true)] };
    run.command(Command::StepCompleted { step, outcome }).unwrap();
    run.assert_completed();
}

#[test]
fn a_parallel_gateway_splits_and_joins_once() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><parallelGateway id="split"/><serviceTask id="a" camunda:class="A"/>
        <serviceTask id="b" camunda:class="B"/><parallelGateway id="join"/><task id="after"/><endEvent id="e"/>{}{}"#,
        chain(&["s", "split", "a", "join", "after", "e"]),
        chain(&["split", "b", "join"])
    ));
    run.start(json!({}));
    run.complete("b", vec![]);
    assert_eq!(run.path(), ["s", "split", "a", "b", "join"]);
    run.complete("a", vec![]);
    run.assert_completed();
    assert_eq!(run.path(), ["s", "split", "a", "b", "join", "join", "after", "e"]);
}

#[test]
fn a_join_that_can_never_complete_is_reported_as_stuck() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><exclusiveGateway id="x"/><parallelGateway id="join"/><task id="a"/><task id="b"/>{}
        <sequenceFlow id="f1" sourceRef="x" targetRef="a"><conditionExpression>${{true}}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f2" sourceRef="x" targetRef="b"><conditionExpression>${{false}}</conditionExpression></sequenceFlow>
        {}{}"#,
        flow("s", "x"),
        flow("a", "join"),
        flow("b", "join")
    ));
    run.start(json!({}));
    assert!(run.instance.is_stuck());
}

#[test]
fn a_task_with_several_flows_takes_every_one_whose_condition_is_true() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><task id="t"/><userTask id="a"/><userTask id="b"/><userTask id="c"/>{}{}
        <sequenceFlow id="f1" sourceRef="t" targetRef="b"><conditionExpression>${{false}}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f2" sourceRef="t" targetRef="c"><conditionExpression>${{true}}</conditionExpression></sequenceFlow>"#,
        flow("s", "t"),
        flow("t", "a")
    ));
    run.start(json!({}));
    assert_eq!(run.path(), ["s", "t", "a", "c"]);
}

#[test]
fn an_event_based_gateway_takes_the_first_event_and_cancels_its_siblings() {
    let body = format!(
        r#"<startEvent id="s"/><eventBasedGateway id="g"/>
        <intermediateCatchEvent id="m"><messageEventDefinition messageRef="m-a"/></intermediateCatchEvent>
        <intermediateCatchEvent id="z"><signalEventDefinition signalRef="s-go"/></intermediateCatchEvent>
        <intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition></intermediateCatchEvent>
        {}{}{}"#,
        chain(&["s", "g", "m"]),
        flow("g", "z"),
        flow("g", "t")
    );
    let mut by_message = Run::of(&body);
    by_message.start(json!({}));
    let events = by_message.message("a", None).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::JobCancelled { .. })));
    assert_eq!(by_message.path(), ["s", "g", "m"]);
    by_message.assert_completed();

    let mut by_timer = Run::of(&body);
    by_timer.start(json!({}));
    by_timer.pass(Duration::seconds(59));
    assert_eq!(by_timer.path(), ["s", "g"]);
    let events = by_timer.pass(Duration::seconds(1));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::SubscriptionClosed { .. })).count(), 2);
    assert_eq!(by_timer.path(), ["s", "g", "t"]);

    let mut by_signal = Run::of(&body);
    by_signal.start(json!({}));
    by_signal.signal("other");
    by_signal.signal("go");
    assert_eq!(by_signal.path(), ["s", "g", "z"]);
}

#[test]
fn a_message_goes_to_the_open_subscription_only_and_only_once() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><intermediateCatchEvent id="m"><messageEventDefinition messageRef="m-a"/></intermediateCatchEvent>
        <receiveTask id="r" messageRef="m-b"/><endEvent id="e"/>{}"#,
        chain(&["s", "m", "r", "e"])
    ));
    run.start(json!({}));
    let first = run.instance.subscriptions().next().unwrap().subscription.clone();
    assert!(matches!(run.message("b", None), Err(StepError::NotOpen { .. })));
    let events = run.message("a", None).unwrap();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::TaskMessageReceived { message: Some(message), start: false, .. }
        if message == "Task/a/-"))
    );
    assert_eq!(run.variable("received"), Some(json!("a")));
    let again = run.command(Command::Message { subscription: first, variables: vec![], message: None });
    assert!(matches!(again, Err(StepError::NotOpen { .. })));
    let events = run.message("b", None).unwrap();
    let end = events.iter().find_map(|event| match event {
        Event::EndEventReached { root, messages, .. } => Some((*root, messages.clone())),
        _ => None,
    });
    assert_eq!(end, Some((true, vec!["Task/b/-".to_owned(), "Task/a/-".to_owned()])));
}

#[test]
fn timers_take_durations_and_dates_from_expressions() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/>
        <intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>${{execution.hasVariable("d") ? d : "PT30S"}}</timeDuration></timerEventDefinition></intermediateCatchEvent>
        <intermediateCatchEvent id="u"><timerEventDefinition><timeDate>${{when}}</timeDate></timerEventDefinition></intermediateCatchEvent>{}"#,
        chain(&["s", "t", "u"])
    ));
    run.start(json!({"when": "2030-01-02T00:00:00+01:00"}));
    let due = run.instance.jobs().next().unwrap().due;
    assert_eq!(due, Some(time::macros::datetime!(2030-01-01 00:00:30 UTC)));
    run.pass(Duration::seconds(30));
    let due = run.instance.jobs().next().unwrap().due;
    assert_eq!(due, Some(time::macros::datetime!(2030-01-01 23:00 UTC)));
    run.pass(Duration::days(1));
    run.assert_completed();
}

#[test]
fn a_thrown_signal_serves_this_instance_at_once_and_is_announced_for_others() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><parallelGateway id="g"/>
        <intermediateCatchEvent id="c"><signalEventDefinition signalRef="s-go"/></intermediateCatchEvent><endEvent id="e1"/>
        <userTask id="u"/><intermediateThrowEvent id="throw"><signalEventDefinition signalRef="s-go"/></intermediateThrowEvent>
        <endEvent id="e2"><signalEventDefinition signalRef="s-go"/></endEvent>{}{}"#,
        chain(&["s", "g", "c", "e1"]),
        chain(&["g", "u", "throw", "e2"])
    ));
    run.start(json!({}));
    let user_task = run.instance.user_tasks().next().unwrap().user_task.clone();
    let events = run.command(Command::UserTaskCompleted { user_task, variables: vec![] }).unwrap();
    assert_eq!(super::support::path(&events), ["throw", "e1", "e2"]);
    assert_eq!(
        events.iter().filter(|event| matches!(event, Event::SignalThrown { name, .. } if name == "go")).count(),
        2
    );
    run.assert_completed();
}

#[test]
fn a_conditional_event_passes_if_true_and_else_waits_for_the_named_change() {
    let body = format!(
        r#"<startEvent id="s"/><intermediateCatchEvent id="c"><conditionalEventDefinition camunda:variableName="x" camunda:variableEvents="update">
        <condition>${{x}}</condition></conditionalEventDefinition></intermediateCatchEvent>{}"#,
        flow("s", "c")
    );
    let mut at_once = Run::of(&body);
    at_once.start(json!({"x": true}));
    at_once.assert_completed();

    let mut later = Run::of(&body);
    later.start(json!({}));
    let write = |name: &str, value: bool| Command::SetVariables {
        token: None,
        variables: vec![VariableWrite::set(name, value)],
    };
    later.command(write("x", true)).unwrap();
    assert_eq!(*later.status(), Status::Active, "creating the variable is not the awaited change");
    later.command(write("y", true)).unwrap();
    later.command(write("x", false)).unwrap();
    assert_eq!(*later.status(), Status::Active);
    later.command(write("x", true)).unwrap();
    later.assert_completed();
}

#[test]
fn a_condition_behind_an_event_based_gateway_takes_its_branch_and_cancels_the_timer() {
    let body = format!(
        r#"<startEvent id="s"/><eventBasedGateway id="g"/><intermediateCatchEvent id="c"><conditionalEventDefinition camunda:variableName="all">
        <condition>${{all}}</condition></conditionalEventDefinition></intermediateCatchEvent>
        <intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition></intermediateCatchEvent>{}{}"#,
        chain(&["s", "g", "c"]),
        flow("g", "t")
    );
    let mut waiting = Run::of(&body);
    waiting.start(json!({"all": false}));
    waiting.command(Command::SetVariables { token: None, variables: vec![VariableWrite::set("all", true)] }).unwrap();
    assert_eq!(waiting.path(), ["s", "g", "c"]);
    waiting.assert_completed();
    let mut at_once = Run::of(&body);
    at_once.start(json!({"all": true}));
    assert_eq!(at_once.path(), ["s", "g", "c"]);
    at_once.assert_completed();
}

#[test]
fn a_user_task_offers_form_and_listeners_and_is_closed_by_its_boundary_event() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><userTask id="u" name="Release" camunda:formKey="http://q|1.0"><extensionElements>
        <camunda:taskListener class="L" event="create"><camunda:field name="role"><camunda:expression>${{role}}</camunda:expression></camunda:field></camunda:taskListener>
        </extensionElements></userTask>
        <boundaryEvent id="stop" attachedToRef="u"><messageEventDefinition messageRef="m-a"/></boundaryEvent>
        <endEvent id="e"/><endEvent id="stopped"/>{}{}"#,
        chain(&["s", "u", "e"]),
        flow("stop", "stopped")
    ))
    .listener("L", |_| Ok(Vec::new()));
    run.start(json!({"role": "DIC_USER"}));
    let user_task = run.instance.user_tasks().next().unwrap().clone();
    assert_eq!(user_task.form_key.as_deref(), Some("http://q|1.0"));
    assert_eq!(user_task.listeners[0].fields["role"], json!("DIC_USER"));
    let events = run.message("a", None).unwrap();
    assert!(events.contains(&Event::UserTaskCancelled { user_task: user_task.user_task }));
    let settled = events
        .iter()
        .any(|event| matches!(event, Event::EndEventReached { messages, .. } if messages == &["Task/a/-".to_owned()]));
    assert!(settled, "the message of the boundary event is settled at the end of its scope");
    assert_eq!(run.path(), ["s", "u", "stop", "stopped"]);
    run.assert_completed();
}

#[test]
fn a_timer_boundary_event_interrupts_a_sub_process_with_everything_in_it() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><subProcess id="sub"><startEvent id="is"/><parallelGateway id="ig"/>
            <serviceTask id="a" camunda:class="A"/><receiveTask id="r" messageRef="m-a"/>{}{}</subProcess>
        <boundaryEvent id="late" attachedToRef="sub"><timerEventDefinition><timeDuration>PT45M</timeDuration></timerEventDefinition></boundaryEvent>
        <endEvent id="e"/><endEvent id="el"/>{}{}"#,
        chain(&["is", "ig", "a"]),
        flow("ig", "r"),
        chain(&["s", "sub", "e"]),
        flow("late", "el")
    ));
    run.start(json!({}));
    let step = run.pending("a").step;
    let events = run.pass(Duration::minutes(45));
    assert!(events.contains(&Event::StepCancelled { step: step.clone() }));
    assert!(run.message("a", None).is_err());
    assert_eq!(run.path(), ["s", "sub", "is", "ig", "a", "r", "late", "el"]);
    run.assert_completed();
}

#[test]
fn a_completed_activity_closes_its_boundary_events() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T"/><userTask id="u"/>
        <boundaryEvent id="late" attachedToRef="t"><timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition></boundaryEvent>{}"#,
        chain(&["s", "t", "u"])
    ));
    run.start(json!({}));
    assert_eq!(run.instance.jobs().count(), 1);
    run.complete("t", vec![]);
    assert_eq!(run.instance.jobs().count(), 0);
}

#[test]
fn asynchronous_continuations_make_jobs_before_and_after() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"/><serviceTask id="t" camunda:class="T" camunda:asyncBefore="true" camunda:asyncAfter="true" camunda:exclusive="false"/>
        <endEvent id="e" camunda:asyncAfter="true"/>{}"#,
        chain(&["s", "t", "e"])
    ));
    run.start(json!({}));
    assert_eq!(run.path(), ["s"]);
    assert!(!run.instance.jobs().next().unwrap().exclusive);
    run.run_jobs();
    let events = run.complete("t", vec![]);
    assert!(events.iter().any(|event| matches!(event, Event::ElementLeft { .. })));
    assert_eq!(run.path(), ["s", "t"]);
    let job = run.instance.jobs().next().unwrap().job.clone();
    let events = run.command(Command::Job { job: job.clone() }).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::EndEventReached { .. })), "the end listener ran already");
    assert_eq!(*run.status(), Status::Active);
    assert!(run.command(Command::Job { job }).is_err());
    run.run_jobs();
    run.assert_completed();
}

#[test]
fn a_message_end_event_settles_messages_only_after_the_message_was_sent() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"><messageEventDefinition messageRef="m-start"/></startEvent>
        <endEvent id="e"><messageEventDefinition camunda:class="Send"/></endEvent>{}"#,
        flow("s", "e")
    ));
    let events = run.start_by("start");
    assert!(!events.iter().any(|event| matches!(event, Event::EndEventReached { .. })));
    assert_eq!(run.pending("e").kind, StepKind::MessageEnd);
    let events = run.complete("e", vec![]);
    assert!(events.iter().any(|event| matches!(event, Event::EndEventReached { root: true, messages, .. }
        if messages == &["Task/start"])));
    run.assert_completed();
}

#[test]
fn only_the_last_of_concurrent_tokens_settles_the_start_message() {
    let mut run = Run::of(&format!(
        r#"<startEvent id="s"><messageEventDefinition messageRef="m-start"/></startEvent><parallelGateway id="g"/>
        <endEvent id="e1"/><userTask id="u"/><endEvent id="e2"/>{}{}"#,
        chain(&["s", "g", "e1"]),
        chain(&["g", "u", "e2"])
    ));
    let events = run.start_by("start");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::EndEventReached { root: false, messages, .. } if messages.is_empty()))
    );
    let user_task = run.instance.user_tasks().next().unwrap().user_task.clone();
    let events = run.command(Command::UserTaskCompleted { user_task, variables: vec![] }).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::EndEventReached { root: true, messages, .. }
        if messages == &["Task/start"])));
}

#[test]
fn a_loop_that_never_waits_is_refused_instead_of_hanging() {
    let mut run =
        Run::of(&format!(r#"<startEvent id="s"/><task id="a"/><task id="b"/>{}"#, chain(&["s", "a", "b", "a"])));
    let error = run.command(Command::Start {
        process: "p".to_owned(),
        start_event: "s".into(),
        business_key: None,
        variables: vec![],
        message: None,
        caller: None,
    });
    assert!(matches!(error, Err(StepError::Limit { .. })), "{error:?}");
}

#[test]
fn an_operator_can_cancel_and_the_host_can_give_up() {
    let body = format!(r#"<startEvent id="s"/><receiveTask id="r" messageRef="m-a"/>{}"#, flow("s", "r"));
    let mut run = Run::of(&body);
    run.start(json!({}));
    assert!(matches!(run.instance.subscriptions().next().unwrap().trigger, Trigger::Message { .. }));
    let events = run.command(Command::Cancel { reason: "no longer wanted".to_owned() }).unwrap();
    assert!(matches!(events[0], Event::SubscriptionClosed { .. }));
    assert!(run.instance.is_ended());
    assert_eq!(run.instance.tokens().count(), 0);
}
