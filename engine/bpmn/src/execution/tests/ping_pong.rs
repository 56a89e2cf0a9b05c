//! The graphs of ping-pong 1.0, with stand-ins for its steps.

use serde_json::json;
use time::Duration;

use super::support::Run;
use crate::{Event, JobKind, StepOutcome, VariableWrite};

fn ping(targets: usize) -> Run {
    let mut run = Run::new(include_str!("../../../tests/models/ping.bpmn")).listener(
        "dev.dsf.bpe.listener.SetCorrelationKeyListener",
        |call| {
            let key = call.variables.get("target").and_then(|target| target.get("correlationKey")).cloned().unwrap();
            Ok(vec![VariableWrite::set_local("correlationKey", key)])
        },
    );
    run.start_by("startPing");
    let entries: Vec<_> = (0..targets).map(|index| json!({"correlationKey": format!("ck-{index}")})).collect();
    run.complete("SelectPingTargets", vec![VariableWrite::set("targets", json!({"entries": entries}))]);
    run
}

fn settled(events: &[Event]) -> Vec<Vec<String>> {
    let reached = events.iter().filter_map(|event| match event {
        Event::EndEventReached { messages, .. } => Some(messages.clone()),
        _ => None,
    });
    reached.collect()
}

#[test]
fn bpmn_028_every_target_answers() {
    let mut run = ping(2);
    assert_eq!(run.instance.jobs().filter(|job| job.kind == JobKind::AsyncBefore).count(), 2);
    run.run_jobs();
    let step = run.pending("SendPing");
    assert_eq!(step.fields["messageName"], json!("ping"));
    run.complete("SendPing", vec![]);
    run.complete("SendPing", vec![]);
    for key in ["ck-1", "ck-0"] {
        run.message("pong", Some(key)).unwrap();
        let view = run.instance.variables(run.pending("LogPong").token);
        assert_eq!(view.get("target").unwrap()["correlationKey"], json!(key));
        let name = format!("statusCode_{key}");
        let events = run.complete("LogPong", vec![VariableWrite::set(name, "pong-received")]);
        assert_eq!(settled(&events), [[format!("Task/pong/{key}")]], "the pong Task is completed with its iteration");
    }
    assert!(run.instance.steps().next().is_none(), "asyncAfter of the inner end event holds the join back");
    run.run_jobs();
    assert_eq!(run.variable("statusCode_ck-0"), Some(json!("pong-received")));
    let events = run.complete("SaveResults", vec![]);
    assert_eq!(settled(&events), [["Task/startPing"]]);
    run.assert_completed();
}

#[test]
fn bpmn_029_a_send_that_fails_takes_the_error_branch() {
    let mut run = ping(1);
    run.run_jobs();
    run.complete("SendPing", vec![VariableWrite::set_local("statusCode", "not-allowed")]);
    let view = run.instance.variables(run.pending("LogSendError").token);
    assert_eq!(view.get("statusCode"), Some(&json!("not-allowed")));
    run.complete("LogSendError", vec![]);
    run.run_jobs();
    run.complete("SaveResults", vec![]);
    run.assert_completed();
}

#[test]
fn bpmn_030_031_032_no_answer_fires_the_timer_and_a_late_or_foreign_pong_finds_nothing() {
    let mut run = ping(2);
    run.run_jobs();
    run.complete("SendPing", vec![]);
    run.host.now += Duration::seconds(10);
    run.complete("SendPing", vec![]);
    assert!(run.message("pong", Some("ck-unknown")).is_err());
    run.pass(Duration::seconds(10));
    assert_eq!(run.instance.steps().filter(|step| &*step.element == "LogNoResponse").count(), 1);
    let late =
        run.instance.variables(run.pending("LogNoResponse").token).get("target").unwrap()["correlationKey"].clone();
    assert!(run.message("pong", late.as_str()).is_err());
    let other = if late == json!("ck-0") { "ck-1" } else { "ck-0" };
    run.message("pong", Some(other)).unwrap();
    run.complete("LogPong", vec![]);
    run.complete("LogNoResponse", vec![]);
    run.run_jobs();
    run.complete("SaveResults", vec![]);
    run.assert_completed();
    assert_eq!(run.instance.jobs().count(), 0);
}

#[test]
fn bpmn_035_without_targets_the_sub_process_is_skipped() {
    let mut run = ping(0);
    run.complete("SaveResults", vec![]);
    run.assert_completed();
}

#[test]
fn bpmn_036_fifty_targets_answer_and_none_is_lost() {
    let mut run = ping(50);
    run.run_jobs();
    for _ in 0..50 {
        run.complete("SendPing", vec![]);
    }
    for index in (0..50).rev() {
        run.message("pong", Some(&format!("ck-{index}"))).unwrap();
        run.complete("LogPong", vec![VariableWrite::set(format!("statusCode_ck-{index}"), "pong-received")]);
    }
    run.run_jobs();
    let statuses = run.instance.root_variables().to_map();
    assert_eq!(statuses.keys().filter(|name| name.starts_with("statusCode_")).count(), 50);
    run.complete("SaveResults", vec![]);
    run.assert_completed();
}

#[test]
fn pong_answers_and_bpmn_037_a_target_that_is_not_allowed_ends_without_an_answer() {
    let mut run = Run::new(include_str!("../../../tests/models/pong.bpmn"));
    run.start_by("ping");
    run.complete("LogPing", vec![]);
    run.complete("SelectPongTarget", vec![]);
    assert_eq!(run.pending("SendPong").class, "dev.dsf.bpe.message.SendPong");
    let events = run.complete("SendPong", vec![]);
    assert_eq!(settled(&events), [["Task/ping"]]);
    run.assert_completed();

    let mut refused = Run::new(include_str!("../../../tests/models/pong.bpmn"));
    refused.start_by("ping");
    refused.complete("LogPing", vec![]);
    let outcome = StepOutcome::BpmnError { code: "target_not_allowed".to_owned(), message: None, variables: vec![] };
    let events = refused.answer("SelectPongTarget", outcome);
    assert_eq!(settled(&events), [["Task/ping"]]);
    refused.assert_completed();
    assert!(!refused.path().contains(&"SendPong".to_owned()));
}

fn autostart() -> Run {
    let mut run = Run::new(include_str!("../../../tests/models/ping-autostart.bpmn"));
    let events = run.start_by("startPingAutostart");
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::SignalThrown { name, .. } if name == "stop_dsfdev_pingAutostart_1.0"))
    );
    run.complete("SetTargetAndConfigureTimer", vec![VariableWrite::set("timerInterval", "PT1M")]);
    run
}

#[test]
fn bpmn_025_autostart_sends_at_once_and_every_interval_until_the_signal() {
    let mut run = autostart();
    run.complete("SendStartPing", vec![]);
    for _ in 0..3 {
        assert!(run.instance.steps().next().is_none());
        run.pass(Duration::minutes(1));
        run.complete("SendStartPing", vec![]);
    }
    let events = run.signal("stop_dsfdev_pingAutostart_1.0");
    assert_eq!(settled(&events), [["Task/startPingAutostart"]]);
    run.assert_completed();
    assert_eq!(run.path().iter().filter(|element| *element == "SendStartPing").count(), 4);
}

#[test]
fn bpmn_027_the_stop_message_throws_the_signal_and_ends() {
    let mut run = Run::new(include_str!("../../../tests/models/ping-autostart.bpmn"));
    let events = run.start_by("stopPingAutostart");
    assert!(events.iter().any(|event| matches!(event, Event::SignalThrown { .. })));
    assert_eq!(settled(&events), [["Task/stopPingAutostart"]]);
    run.assert_completed();
}
