//! Walks through a process with stub steps: what would run, in which order, and where it ends.
//!
//! A stub step does nothing but write variables. Which variables a model needs, and which of their values make a
//! difference, is read from its expressions ([`crate::expression::analysis`]). Several walks with different values and
//! different events are taken; chance comes from a seed, so that every run is the same.

mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use time::Duration;

use super::network::{Message, Refusal};
use super::{Network, TaskStatus};
use crate::{Command, ElementId, Event, Id, Instance, JobKind, Model, Process, StepOutcome, Trigger, VariableWrite};
pub(super) use values::Random;
use values::Values;

/// Commands of one walk, after which it counts as endless.
const COMMANDS: usize = 3_000;

/// How a walk chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Steps succeed, messages arrive, people answer, timers fire only when nothing else can happen.
    Favourable,
    /// Anything that can happen next may happen.
    Any,
}

/// A walk.
#[derive(Debug, Clone)]
pub struct Walk {
    /// What happened, in order.
    pub stations: Vec<Station>,
    /// How it ended.
    pub end: End,
    /// Tasks that are still in progress.
    pub unsettled: Vec<String>,
}

/// One station of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Process.
    pub process: String,
    /// Element that was entered.
    pub element: ElementId,
    /// What it does: the class of a step, the message that it sends, a form.
    pub note: Option<String>,
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every instance completed.
    Completed,
    /// An instance failed.
    Failed(String),
    /// The engine refused a command.
    Refused(String),
    /// Tokens are left that nothing can move.
    Stuck(String),
    /// It went on and on.
    Endless,
}

/// Walks through one process.
#[derive(Debug)]
pub struct Simulation<'a> {
    models: &'a [Model],
    process: &'a Process,
}

// === impl Simulation ===

impl<'a> Simulation<'a> {
    /// For a process; the models are those that it may call.
    pub fn new(models: &'a [Model], process: &'a Process) -> Self {
        Self { models, process }
    }

    /// Start events at which a walk can begin.
    pub fn starts(&self) -> Vec<ElementId> {
        let mut starts: Vec<&ElementId> = self.process.none_start().into_iter().collect();
        starts.extend(self.process.message_starts().into_iter().map(|(id, _)| id));
        starts.extend(self.process.signal_starts().into_iter().map(|(id, _)| id));
        starts.extend(self.process.timer_starts().into_iter().map(|(id, _)| id));
        starts.extend(self.process.condition_starts().into_iter().map(|(id, _)| id));
        starts.into_iter().cloned().collect()
    }

    /// Of several favourable walks the one that visits the most elements and completes.
    pub fn main_path(&self, start: &ElementId, walks: u64) -> Walk {
        let mut best: Option<(usize, Walk)> = None;
        for seed in 0..walks.max(1) {
            let walk = self.walk(start, Choice::Favourable, seed);
            let elements: BTreeSet<&ElementId> = walk.stations.iter().map(|station| &station.element).collect();
            let rank =
                if walk.end == End::Completed { elements.len().saturating_add(1_000_000) } else { elements.len() };
            if best.as_ref().is_none_or(|(found, _)| rank > *found) {
                best = Some((rank, walk));
            }
        }
        best.map_or_else(|| self.walk(start, Choice::Favourable, 0), |(_, walk)| walk)
    }

    /// One walk from a start event.
    pub fn walk(&self, start: &ElementId, choice: Choice, seed: u64) -> Walk {
        let mut network = Network::default();
        network.ignore_unknown_listeners();
        for model in self.models {
            network.add(model.clone());
        }
        let mut values = Values::of(self.models, Random::new(seed));
        let message = Message {
            business_key: Some("simulation".to_owned()),
            task: Some("start".to_owned()),
            variables: values.all(),
            ..Message::default()
        };
        let end = match network.start(&self.process.id, Some(start), message) {
            Ok(_) => drive(&mut network, &mut values, choice),
            Err(refusal) => End::Refused(refusal.to_string()),
        };
        let stations = stations(&network);
        let unsettled = network
            .tasks()
            .filter(|(_, status)| **status == TaskStatus::InProgress)
            .map(|(task, _)| task.clone())
            .collect();
        Walk { stations, end, unsettled }
    }
}

/// Does what can be done until nothing is left.
fn drive(network: &mut Network, values: &mut Values, choice: Choice) -> End {
    for _ in 0..COMMANDS {
        let mut possible = possible(network, values);
        if possible.is_empty() {
            return match network.active().find(|instance| !instance.is_ended()) {
                Some(stuck) => End::Stuck(at(stuck)),
                None => outcome(network),
            };
        }
        if choice == Choice::Favourable {
            let first = possible.iter().map(|(rank, ..)| *rank).min();
            possible.retain(|(rank, ..)| Some(*rank) == first);
        }
        let index = values.random.below(possible.len());
        let Some((_, instance, command)) = possible.into_iter().nth(index) else { continue };
        let done = match command {
            Action::Command(command) => network.command(&instance, command).map(drop),
            Action::Wait(time) => network.pass(time),
        };
        match done {
            Ok(()) => {}
            // The same signal or condition came to nothing.
            Err(Refusal::Step(crate::StepError::NotOpen { .. })) => {}
            // As in production the instance fails, and its Tasks with it.
            Err(Refusal::Step(error)) => {
                let reason = error.to_string();
                if let Err(refusal) = network.command(&instance, Command::Fail { element: None, reason }) {
                    return End::Refused(refusal.to_string());
                }
            }
            Err(refusal) => return End::Refused(refusal.to_string()),
        }
    }
    End::Endless
}

enum Action {
    Command(Command),
    Wait(Duration),
}

fn outcome(network: &Network) -> End {
    let failed = network.running().find_map(|running| match running.instance.status() {
        crate::Status::Failed { reason } => Some(End::Failed(reason.clone())),
        _ => None,
    });
    failed.unwrap_or(End::Completed)
}

fn at(instance: &Instance) -> String {
    let tokens: Vec<&str> = instance.tokens().map(|token| &*token.element).collect();
    tokens.join(", ")
}

/// Everything that could happen next, with a rank: the favourable first.
fn possible(network: &Network, values: &mut Values) -> Vec<(u8, Id, Action)> {
    let mut found = Vec::new();
    for instance in network.active() {
        let Some(id) = instance.id() else { continue };
        let mut add = |rank: u8, command: Command| found.push((rank, Arc::clone(id), Action::Command(command)));
        for job in instance.jobs().filter(|job| job.kind != JobKind::Timer) {
            add(0, Command::Job { job: Arc::clone(&job.job) });
        }
        for step in instance.steps() {
            let outcome = StepOutcome::Completed { variables: values.some() };
            add(1, Command::StepCompleted { step: Arc::clone(&step.step), outcome });
            for code in catchable(network, instance, &step.element) {
                let outcome = StepOutcome::BpmnError { code, message: None, variables: values.some() };
                add(6, Command::StepCompleted { step: Arc::clone(&step.step), outcome });
            }
        }
        for open in instance.subscriptions() {
            match &open.trigger {
                Trigger::Message { .. } => add(
                    3,
                    Command::Message {
                        subscription: Arc::clone(&open.subscription),
                        variables: values.pairs(),
                        message: Some(format!("message {}", open.subscription)),
                    },
                ),
                Trigger::Signal { name } => add(4, Command::Signal { name: name.clone(), variables: Vec::new() }),
                Trigger::Condition => {
                    add(3, Command::SetVariables { token: None, variables: values.satisfying() });
                }
            }
        }
        for task in instance.user_tasks() {
            let command =
                Command::UserTaskCompleted { user_task: Arc::clone(&task.user_task), variables: values.some() };
            add(2, command);
        }
        let due = instance.jobs().filter(|job| job.kind == JobKind::Timer).filter_map(|job| job.due).min();
        if let Some(due) = due {
            found.push((5, Arc::clone(id), Action::Wait((due - network.now()).max(Duration::ZERO))));
        }
    }
    found
}

/// Codes of errors that a boundary event of the step's element would catch.
fn catchable(network: &Network, instance: &Instance, element: &str) -> Vec<String> {
    let running = network.running().find(|running| running.instance.id() == instance.id());
    let process = running.and_then(|running| running.model.process(instance.process()?));
    let Some(process) = process else { return Vec::new() };
    let events = process.node(element).map(|node| node.boundary_events.as_slice()).unwrap_or_default();
    let codes = events.iter().filter_map(|id| match &process.node(id)?.kind {
        crate::model::NodeKind::BoundaryEvent { trigger: crate::model::BoundaryTrigger::Error(catch), .. } => {
            Some(catch.code.clone().unwrap_or_else(|| "any".to_owned()))
        }
        _ => None,
    });
    codes.collect()
}

/// Elements that were entered, with what a reader wants to know of them.
fn stations(network: &Network) -> Vec<Station> {
    let mut stations = Vec::new();
    for running in network.running() {
        let process = running.instance.process().map(ToString::to_string).unwrap_or_default();
        let mut local: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        for event in &running.history {
            match event {
                Event::ElementEntered { element, .. } => {
                    local.clear();
                    stations.push(Station { process: process.clone(), element: element.clone(), note: None });
                }
                // Models of DSF 0.x give the fields of a message as input parameters.
                Event::VariableSet { name, value, .. } => {
                    if let Some(text) = value.as_str() {
                        local.insert(name.clone(), text.to_owned());
                    }
                }
                _ => {}
            }
            let Some(note) = note(event, &local) else { continue };
            if let Some(station) = stations.last_mut() {
                station.note = Some(note);
            }
        }
    }
    stations
}

fn note(event: &Event, local: &std::collections::BTreeMap<String, String>) -> Option<String> {
    match event {
        Event::StepRequested(step) => {
            let field = |name: &str| {
                step.fields.get(name).and_then(|value| value.as_str()).or_else(|| local.get(name).map(String::as_str))
            };
            let work = step.topic.as_ref().map_or_else(|| step.class.clone(), |topic| format!("topic {topic}"));
            Some(match (step.kind, field("messageName")) {
                (crate::StepKind::Service, _) | (_, None) => work,
                (_, Some(message)) => {
                    let process = field("instantiatesCanonical").or_else(|| field("instantiatesUri"));
                    format!("{work}, sends {message} to {}", process.unwrap_or("?"))
                }
            })
        }
        Event::UserTaskCreated(task) => Some(format!("form {}", task.form_key.as_deref().unwrap_or("none"))),
        Event::CallRequested(call) => Some(format!("calls {}", call.process)),
        Event::TaskMessageReceived { name, .. } => Some(format!("message {name}")),
        Event::SignalThrown { name, .. } => Some(format!("throws signal {name}")),
        _ => None,
    }
}

/// Writes that set these variables.
fn writes(pairs: Vec<(String, serde_json::Value)>) -> Vec<VariableWrite> {
    pairs.into_iter().map(|(name, value)| VariableWrite::set(name, value)).collect()
}
