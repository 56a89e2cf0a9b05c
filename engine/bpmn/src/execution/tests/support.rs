//! A host for tests: counts ids, moves a clock by hand, runs listeners, and restarts the instance after every command.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    Command, Environment, Event, Instance, JobKind, ListenerCall, ListenerError, Model, Status, Step, StepError,
    StepOutcome, TokenState, Trigger, VariableWrite, step,
};

type ListenerFunction = Box<dyn FnMut(&ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError>>;

pub(super) struct Host {
    pub(super) now: OffsetDateTime,
    pub(super) ids: u32,
    pub(super) listeners: BTreeMap<String, ListenerFunction>,
}

impl Environment for Host {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("id-{:05}", self.ids)
    }

    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        match self.listeners.get_mut(call.class) {
            Some(listener) => listener(call),
            None => Err(ListenerError::Failed(format!("no listener {}", call.class))),
        }
    }
}

pub(super) struct Run {
    pub(super) model: Model,
    pub(super) instance: Instance,
    pub(super) history: Vec<Event>,
    pub(super) host: Host,
    /// The same instance, never restarted.
    undisturbed: Instance,
}

impl Run {
    pub(super) fn new(xml: &str) -> Self {
        let model = Model::parse(xml.as_bytes()).unwrap_or_else(|errors| panic!("{errors:#?}\n{xml}"));
        let host = Host { now: time::macros::datetime!(2030-01-01 00:00 UTC), ids: 0, listeners: BTreeMap::new() };
        Self { model, instance: Instance::default(), history: Vec::new(), host, undisturbed: Instance::default() }
    }

    /// A process with this body and the usual name spaces and declarations.
    pub(super) fn of(body: &str) -> Self {
        Self::new(&document(body))
    }

    pub(super) fn listener(
        mut self,
        class: &str,
        listener: impl FnMut(&ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> + 'static,
    ) -> Self {
        self.host.listeners.insert(class.to_owned(), Box::new(listener));
        self
    }

    /// Runs a command; checks replay, and restarts.
    pub(super) fn command(&mut self, command: Command) -> Result<Vec<Event>, StepError> {
        let before = self.instance.clone();
        let (ids, again) = (self.host.ids, command.clone());
        match step(&self.model, &mut self.instance, command, &mut self.host) {
            Ok(events) => {
                // Without listeners, which may count their calls, the same ids give the same instance.
                if self.host.listeners.is_empty() {
                    let mut twin = Host { now: self.host.now, ids, listeners: BTreeMap::new() };
                    step(&self.model, &mut self.undisturbed, again, &mut twin).unwrap();
                    assert_eq!(self.undisturbed, self.instance, "a restart made a difference");
                }
                self.history.extend(events.iter().cloned());
                self.check();
                Ok(events)
            }
            Err(error) => {
                assert_eq!(self.instance, before, "a refused command changed the instance");
                Err(error)
            }
        }
    }

    fn check(&mut self) {
        let history = serde_json::to_string(&self.history).unwrap();
        let history: Vec<Event> = serde_json::from_str(&history).unwrap();
        assert_eq!(history, self.history, "events do not survive being stored");
        assert_eq!(Instance::replay(&history).unwrap(), self.instance, "replay gives another instance");
        let stored = serde_json::to_string(&self.instance).unwrap();
        let restarted: Instance = serde_json::from_str(&stored).unwrap();
        assert_eq!(restarted, self.instance, "instance does not survive being stored");
        self.instance = restarted;
        assert!(self.instance.tokens().all(|token| token.state != TokenState::Running), "a token was left behind");
        for scope in self.instance.scopes() {
            let tokens = self.instance.tokens().filter(|token| token.scope == scope.id).count();
            assert_eq!(scope.tokens as usize, tokens, "tokens are miscounted");
        }
    }

    pub(super) fn start(&mut self, variables: Value) -> Vec<Event> {
        let process = self.model.processes[0].id.to_string();
        let start_event = self.model.processes[0].none_start().cloned().unwrap();
        self.command(Command::Start {
            process,
            start_event,
            business_key: Some("bk".to_owned()),
            variables: pairs(variables),
            message: None,
            caller: None,
        })
        .unwrap()
    }

    pub(super) fn start_by(&mut self, message: &str) -> Vec<Event> {
        let process = self.model.processes[0].id.to_string();
        let start_event = self.model.processes[0].message_start(message).cloned().unwrap();
        let message = Some(format!("Task/{message}"));
        self.command(Command::Start {
            process,
            start_event,
            business_key: Some("bk".to_owned()),
            variables: Vec::new(),
            message,
            caller: None,
        })
        .unwrap()
    }

    pub(super) fn pending(&self, element: &str) -> Step {
        let mut steps = self.instance.steps().filter(|step| &*step.element == element);
        let step = steps.next().unwrap_or_else(|| panic!("no step at {element}: {:#?}", self.instance));
        step.clone()
    }

    pub(super) fn complete(&mut self, element: &str, variables: Vec<VariableWrite>) -> Vec<Event> {
        self.answer(element, StepOutcome::Completed { variables })
    }

    pub(super) fn answer(&mut self, element: &str, outcome: StepOutcome) -> Vec<Event> {
        let step = self.pending(element).step;
        self.command(Command::StepCompleted { step, outcome }).unwrap()
    }

    /// Delivers a message to the subscription with this name and correlation key.
    pub(super) fn message(&mut self, wanted: &str, key: Option<&str>) -> Result<Vec<Event>, StepError> {
        let found = self.instance.subscriptions().find(|subscription| {
            matches!(&subscription.trigger, Trigger::Message { name, correlation_key }
                if name == wanted && correlation_key.as_deref() == key)
        });
        let subscription = found.map_or_else(|| "none".into(), |found| Arc::clone(&found.subscription));
        let message = Some(format!("Task/{wanted}/{}", key.unwrap_or("-")));
        self.command(Command::Message {
            subscription,
            variables: vec![("received".to_owned(), json!(wanted))],
            message,
        })
    }

    pub(super) fn signal(&mut self, name: &str) -> Vec<Event> {
        self.command(Command::Signal { name: name.to_owned(), variables: Vec::new() }).unwrap()
    }

    /// Runs async jobs until none is left.
    pub(super) fn run_jobs(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let next = self.instance.jobs().find(|job| job.kind != JobKind::Timer).map(|job| job.job.clone());
            let Some(job) = next else { break };
            events.extend(self.command(Command::Job { job }).unwrap());
        }
        events
    }

    /// Moves the clock and fires the timers that are due, in order.
    pub(super) fn pass(&mut self, duration: Duration) -> Vec<Event> {
        self.host.now += duration;
        let mut events = Vec::new();
        while let Some(job) = self.due() {
            events.extend(self.command(Command::Job { job }).unwrap());
        }
        events
    }

    fn due(&self) -> Option<crate::Id> {
        let timers = self.instance.jobs().filter(|job| job.due.is_some_and(|due| due <= self.host.now));
        timers.min_by_key(|job| job.due).map(|job| job.job.clone())
    }

    /// Elements entered so far.
    pub(super) fn path(&self) -> Vec<String> {
        path(&self.history)
    }

    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        self.instance.root_variables().get(name).cloned()
    }

    pub(super) fn status(&self) -> &Status {
        self.instance.status()
    }

    pub(super) fn assert_completed(&self) {
        assert_eq!(*self.status(), Status::Completed, "{:#?}", self.instance);
    }
}

pub(super) fn path(events: &[Event]) -> Vec<String> {
    let entered = events.iter().filter_map(|event| match event {
        Event::ElementEntered { element, .. } => Some(element.to_string()),
        _ => None,
    });
    entered.collect()
}

pub(super) fn document(body: &str) -> String {
    format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d">
  <message id="m-start" name="start"/><message id="m-a" name="a"/><message id="m-b" name="b"/>
  <signal id="s-go" name="go"/>
  <escalation id="x-e" escalationCode="E"/><error id="e-x" errorCode="X"/><error id="e-y" errorCode="Y"/><error id="e-any"/>
  <process id="p" isExecutable="true">{body}</process>
</definitions>"#
    )
}

/// A sequence flow with an id made of its ends.
pub(super) fn flow(source: &str, target: &str) -> String {
    format!(r#"<sequenceFlow id="{source}-{target}" sourceRef="{source}" targetRef="{target}"/>"#)
}

/// A chain of flows.
pub(super) fn chain(elements: &[&str]) -> String {
    elements.windows(2).map(|pair| flow(pair[0], pair[1])).collect()
}

pub(super) fn pairs(variables: Value) -> Vec<(String, Value)> {
    match variables {
        Value::Object(variables) => variables.into_iter().collect(),
        _ => Vec::new(),
    }
}
