//! `bpmn`: the token engine in memory beside SpiffWorkflow and bpmn-engine, the size of what a waiting instance keeps, and instances and
//! timers in a store.
//!
//! All run the same models: start, five script tasks that count, end; and a fork into ten branches and their join. Ours
//! writes its events as in production, only nobody stores them.

mod durable;
mod peers;

use std::hint::black_box;
use std::time::Instant;

use bpmn::{
    Command, Environment, Event, Instance, JobKind, ListenerCall, ListenerError, Model, StepOutcome, VariableWrite,
    step,
};
use serde_json::json;

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::report::{Report, Target};
use crate::statistics;

/// A process of DSF that waits in many ways.
const PING: &str = include_str!("../../../engine/bpmn/tests/models/ping.bpmn");

/// Rounds, in each of which both sides run.
const ROUNDS: usize = 5;

/// Script of a language.
#[derive(Clone, Copy, Debug)]
enum Language {
    Ours,
    Python,
    JavaScript,
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Instances in memory, beside the peers, and the size of their states.
    Memory,
    /// Instances per second in a file.
    Rate,
    /// Instances that wait.
    Waiting,
    /// Timers.
    Timers,
    /// Instances per second on a database server.
    Server,
}

struct Host(u64);

impl Environment for Host {
    fn now(&self) -> time::OffsetDateTime {
        time::OffsetDateTime::UNIX_EPOCH
    }

    fn new_id(&mut self) -> String {
        self.0 += 1;
        format!("{:036}", self.0)
    }

    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        let key = call.variables.get("target").and_then(|target| target.get("correlationKey")).cloned();
        Ok(key.map(|key| VariableWrite::set_local("correlationKey", key)).into_iter().collect())
    }
}

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    if run.wants_part(Part::Memory) {
        in_memory(run, report)?;
    }
    durable::run(run, report).await
}

fn in_memory(run: &Run, report: &mut Report) -> Outcome<()> {
    let peers = peers::install(&run.results, report);
    for (name, model, times) in
        [("five script tasks", five_scripts as fn(Language) -> String, 20_000), ("ten-way fork and join", fork, 10_000)]
    {
        let times = if run.quick { times / 10 } else { times };
        let ours_model = Model::parse(model(Language::Ours).as_bytes());
        let ours_model = ours_model.map_err(|errors| Failure::new(format!("{errors:?}")))?;
        let (mut ours, mut best) = (Vec::new(), Vec::new());
        let mut theirs: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
        for _ in 0..if run.quick { 2 } else { ROUNDS } {
            ours.push(rate(&ours_model, times)?);
            for (peer, rates) in peers.iter().zip(&mut theirs) {
                rates.push(peer.rate(&model(peer.language()), &run.results, times)?);
            }
            best.extend(theirs.iter().filter_map(|rates| rates.last().copied()).reduce(f64::max));
        }
        report.value(format!("{name}, instances per second"), statistics::median(ours.iter().copied()), "1/s");
        for (peer, rates) in peers.iter().zip(theirs) {
            report.value(format!("{name}, {}", peer.name()), statistics::median(rates), "1/s");
        }
        if !best.is_empty() {
            let target = if name.starts_with("five") { Target::AtLeast(100.0) } else { Target::AtLeast(1.0) };
            report.figure(format!("{name}, ratio to the best of them"), statistics::ratio(&ours, &best), "x", target);
        }
    }
    let sizes = waiting_sizes()?;
    let mean = sizes.iter().map(|(_, size)| *size as f64).sum::<f64>() / sizes.len().max(1) as f64;
    for (name, size) in &sizes {
        report.value(format!("state of an instance, {name}"), *size as f64, "B");
    }
    report.figure("state of an instance, mean", mean, "B", Target::Below(2048.0));
    Ok(())
}

/// A rate of instances from start to end.
fn rate(model: &Model, times: usize) -> Outcome<f64> {
    let mut host = Host(0);
    for _ in 0..times / 10 {
        once(model, &mut host)?;
    }
    let started = Instant::now();
    for _ in 0..times {
        once(model, &mut host)?;
    }
    Ok(times as f64 / started.elapsed().as_secs_f64())
}

fn once(model: &Model, host: &mut Host) -> Outcome<()> {
    let mut instance = Instance::default();
    let start = Command::Start {
        process: "p".to_owned(),
        start_event: "s".into(),
        business_key: None,
        variables: vec![("x".to_owned(), json!(0))],
        message: None,
        caller: None,
    };
    let events = step(model, &mut instance, start, host).during("running a process")?;
    black_box(&events);
    if instance.is_ended() { Ok(()) } else { Err(Failure::new("the process did not end")) }
}

fn document(body: &str) -> String {
    format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d" targetNamespace="t"><process id="p" isExecutable="true">{body}</process></definitions>"#
    )
}

fn five_scripts(language: Language) -> String {
    let mut body = r#"<startEvent id="s"/><endEvent id="e"/>"#.to_owned();
    let mut previous = "s".to_owned();
    for number in 0..5 {
        let (format, script) = match (language, number) {
            (Language::Ours, _) => ("juel", "${x + 1}"),
            (Language::Python, 0) => ("python", "x = 1"),
            (Language::Python, _) => ("python", "x = x + 1"),
            (Language::JavaScript, 0) => ("javascript", "environment.output.x = 1; next();"),
            (Language::JavaScript, _) => ("javascript", "environment.output.x = environment.output.x + 1; next();"),
        };
        body += &format!(
            r#"<scriptTask id="t{number}" scriptFormat="{format}" camunda:resultVariable="x"><script>{script}</script></scriptTask><sequenceFlow id="f{number}" sourceRef="{previous}" targetRef="t{number}"/>"#
        );
        previous = format!("t{number}");
    }
    document(&format!(r#"{body}<sequenceFlow id="f" sourceRef="{previous}" targetRef="e"/>"#))
}

fn fork(_: Language) -> String {
    let mut body = r#"<startEvent id="s"/><endEvent id="e"/><parallelGateway id="fork"/><parallelGateway id="join"/><sequenceFlow id="a" sourceRef="s" targetRef="fork"/><sequenceFlow id="z" sourceRef="join" targetRef="e"/>"#.to_owned();
    for number in 0..10 {
        body += &format!(
            r#"<task id="t{number}"/><sequenceFlow id="i{number}" sourceRef="fork" targetRef="t{number}"/><sequenceFlow id="o{number}" sourceRef="t{number}" targetRef="join"/>"#
        );
    }
    document(&body)
}

/// Sizes of instances as they are stored while they wait.
fn waiting_sizes() -> Outcome<Vec<(&'static str, usize)>> {
    let user_task = r#"<startEvent id="s"/><userTask id="u" name="Release the data set" camunda:formKey="http://dsf.dev/fhir/Questionnaire/release|1.0"/><sequenceFlow id="f" sourceRef="s" targetRef="u"/>"#;
    let timer = r#"<startEvent id="s"/><intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent><sequenceFlow id="f" sourceRef="s" targetRef="t"/>"#;
    let mut sizes = Vec::new();
    for (name, xml) in [("user task", user_task), ("timer", timer)] {
        let model = Model::parse(document(xml).as_bytes()).map_err(|errors| Failure::new(format!("{errors:?}")))?;
        let start = Command::Start {
            process: "p".to_owned(),
            start_event: "s".into(),
            business_key: Some("5f2c1a4e-0000-4000-8000-000000000000".to_owned()),
            variables: vec![("x".to_owned(), json!("a variable of ordinary length"))],
            message: Some("5f2c1a4e-0000-4000-8000-000000000001".to_owned()),
            caller: None,
        };
        let mut instance = Instance::default();
        step(&model, &mut instance, start, &mut Host(0)).during("starting a process")?;
        sizes.push((name, size(&instance)?));
    }
    sizes.push(("ping of one site, waiting for its pong", ping()?));
    Ok(sizes)
}

fn size(instance: &Instance) -> Outcome<usize> {
    Ok(serde_json::to_vec(instance).during("storing an instance")?.len())
}

fn ping() -> Outcome<usize> {
    let model = Model::parse(PING.as_bytes()).map_err(|errors| Failure::new(format!("{errors:?}")))?;
    let (mut instance, mut host) = (Instance::default(), Host(0));
    let start = Command::Start {
        process: "dsfdev_ping".to_owned(),
        start_event: "StartPingMessageStartEvent".into(),
        business_key: Some("5f2c1a4e-0000-4000-8000-000000000000".to_owned()),
        variables: Vec::new(),
        message: Some("5f2c1a4e-0000-4000-8000-000000000001".to_owned()),
        caller: None,
    };
    let mut events = step(&model, &mut instance, start, &mut host).during("starting ping")?;
    let targets = json!({"entries": [{"organizationIdentifierValue": "dic-1.example", "endpointIdentifierValue": "endpoint.dic-1.example", "endpointUrl": "https://dic-1.example/fhir", "correlationKey": "5f2c1a4e-0000-4000-8000-000000000002"}]});
    for _ in 0..2 {
        let requested = events.iter().find_map(|event| match event {
            Event::StepRequested(step) => Some(step.step.clone()),
            _ => None,
        });
        let step_id = requested.during("a step of ping")?;
        let variables = vec![VariableWrite::set("targets", targets.clone())];
        let command = Command::StepCompleted { step: step_id, outcome: StepOutcome::Completed { variables } };
        events = step(&model, &mut instance, command, &mut host).during("a step of ping")?;
        let job = instance.jobs().find(|job| job.kind != JobKind::Timer).map(|job| job.job.clone());
        if let Some(job) = job {
            events = step(&model, &mut instance, Command::Job { job }, &mut host).during("a job of ping")?;
        }
    }
    size(&instance)
}
