//! A host in memory. Messages carry the name of a Task, whose status follows the instance as in DSF: `in-progress` while
//! an instance has it, then `completed` or `failed`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::execution::event::{Call, CallBinding, CallOutcome, Caller};
use crate::timer::{Repeat, Schedule};
use crate::{
    Command, ElementId, Environment, Event, Id, Instance, Job, JobKind, ListenerCall, ListenerError, Model, StepError,
    Trigger, VariableMap, VariableWrite, step,
};

/// Commands that one call may run; a network of processes that signal each other without end stops here.
const COMMANDS: usize = 100_000;

/// Time before the first timer of a test.
const BEGIN: OffsetDateTime = time::macros::datetime!(2030-01-01 00:00 UTC);

/// How long a message waits for its receiver.
const INBOX: Duration = Duration::minutes(1);

/// The texts of DSF.
const UNABLE: &str = "Unable to correlate Task";

/// What came of a Task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskStatus {
    /// An instance has it, or it waits for one.
    InProgress,
    /// Settled by an end event.
    Completed,
    /// Refused, or its instance failed.
    Failed(String),
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The engine refused the command.
    #[error(transparent)]
    Step(#[from] StepError),
    /// Nothing fits.
    #[error("{0}")]
    Nothing(String),
}

/// Processes in memory.
#[derive(Default)]
pub struct Network {
    /// Models, the newest version of a process last.
    models: Vec<Arc<Model>>,
    instances: BTreeMap<Id, Running>,
    /// Ids of instances in the order of their start.
    order: Vec<Id>,
    tasks: BTreeMap<String, TaskStatus>,
    queue: VecDeque<(Id, Command)>,
    starts: Vec<TimerStart>,
    inbox: Vec<Buffered>,
    host: Host,
}

/// An instance and its log.
pub(super) struct Running {
    pub(super) model: Arc<Model>,
    pub(super) instance: Instance,
    pub(super) history: Vec<Event>,
}

/// A timer start event.
struct TimerStart {
    model: Arc<Model>,
    process: ElementId,
    element: ElementId,
    due: OffsetDateTime,
    repeat: Option<Repeat>,
}

/// A message that came before its receiver waited.
struct Buffered {
    message: Message,
    expires: OffsetDateTime,
}

/// A message as a Task brings it.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) process: String,
    pub(super) name: String,
    pub(super) business_key: Option<String>,
    pub(super) correlation_key: Option<String>,
    pub(super) task: Option<String>,
    pub(super) variables: Vec<(String, Value)>,
}

/// What a listener does.
pub(super) enum ListenerBehaviour {
    Writes(Vec<VariableWrite>),
    Throws(String),
    Fails(String),
}

struct Host {
    now: OffsetDateTime,
    ids: u64,
    listeners: BTreeMap<String, ListenerBehaviour>,
    /// Unknown listeners do nothing instead of failing.
    lenient: bool,
}

// === impl Host ===

impl Default for Host {
    fn default() -> Self {
        Self { now: BEGIN, ids: 0, listeners: BTreeMap::new(), lenient: false }
    }
}

impl Environment for Host {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn new_id(&mut self) -> String {
        self.ids = self.ids.saturating_add(1);
        format!("id-{:05}", self.ids)
    }

    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        match self.listeners.get(call.class) {
            Some(ListenerBehaviour::Writes(writes)) => Ok(writes.clone()),
            Some(ListenerBehaviour::Throws(code)) => Err(ListenerError::Bpmn { code: code.clone(), message: None }),
            Some(ListenerBehaviour::Fails(reason)) => Err(ListenerError::Failed(reason.clone())),
            None if self.lenient => Ok(Vec::new()),
            None => Err(ListenerError::Failed(format!("no listener {}", call.class))),
        }
    }
}

// === impl Network ===

impl Network {
    /// Adds a model; processes of the same id that were added before are older versions. Its timers start to run.
    pub fn add(&mut self, model: Model) {
        let model = Arc::new(model);
        for process in &model.processes {
            for (element, timer) in process.timer_starts() {
                let text = timer.expression().constant().unwrap_or_default();
                let Ok(Schedule { due, repeat }) = timer.schedule(&text, self.host.now) else { continue };
                self.starts.push(TimerStart {
                    model: Arc::clone(&model),
                    process: process.id.clone(),
                    element: element.clone(),
                    due,
                    repeat,
                });
            }
        }
        self.models.push(model);
    }

    /// Present time.
    pub fn now(&self) -> OffsetDateTime {
        self.host.now
    }

    /// Execution listeners that are not known do nothing.
    pub fn ignore_unknown_listeners(&mut self) {
        self.host.lenient = true;
    }

    pub(super) fn set_listener(&mut self, class: &str, behaviour: ListenerBehaviour) {
        self.host.listeners.insert(class.to_owned(), behaviour);
    }

    /// Every instance, in the order of their start.
    pub(super) fn running(&self) -> impl DoubleEndedIterator<Item = &Running> {
        self.order.iter().filter_map(|id| self.instances.get(id))
    }

    /// Instances that have not ended.
    pub fn active(&self) -> impl DoubleEndedIterator<Item = &Instance> {
        self.running().map(|running| &running.instance).filter(|instance| !instance.is_ended())
    }

    /// Status of a Task.
    pub fn task(&self, task: &str) -> Option<&TaskStatus> {
        self.tasks.get(task)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = (&String, &TaskStatus)> {
        self.tasks.iter()
    }

    fn newest(&self, process: &str) -> Option<&Arc<Model>> {
        self.models.iter().rev().find(|model| model.process(process).is_some())
    }

    /// Starts a process at its none start event, or at the one given.
    pub(super) fn start(&mut self, process: &str, start_event: Option<&str>, message: Message) -> Result<Id, Refusal> {
        let missing = |what: String| Refusal::Nothing(what);
        let model = self.newest(process).cloned().ok_or_else(|| missing(format!("no process {process}")))?;
        let element = match start_event {
            Some(element) => element.into(),
            None => model
                .process(process)
                .and_then(crate::Process::none_start)
                .cloned()
                .ok_or_else(|| missing(format!("process {process} has no none start event")))?,
        };
        let command = Command::Start {
            process: process.to_owned(),
            start_event: element,
            business_key: message.business_key,
            variables: message.variables,
            message: message.task,
            caller: None,
        };
        let id = self.begin(&model, command)?;
        self.work()?;
        Ok(id)
    }

    fn begin(&mut self, model: &Arc<Model>, command: Command) -> Result<Id, Refusal> {
        let mut running = Running { model: Arc::clone(model), instance: Instance::default(), history: Vec::new() };
        let events = running.step(command, &mut self.host)?;
        let id = running.instance.id().cloned().ok_or_else(|| Refusal::Nothing("instance has no id".to_owned()))?;
        self.instances.insert(Arc::clone(&id), running);
        self.order.push(Arc::clone(&id));
        self.follow(&id, &events);
        Ok(id)
    }

    /// Gives a command to an instance and does what follows from it.
    pub fn command(&mut self, instance: &str, command: Command) -> Result<Vec<Event>, Refusal> {
        let id: Id = instance.into();
        let running = self.instances.get_mut(&id).ok_or_else(|| Refusal::Nothing(format!("no instance {instance}")))?;
        let events = running.step(command, &mut self.host)?;
        self.follow(&id, &events);
        self.work()?;
        Ok(events)
    }

    /// Works the queue off. What one instance cannot do fails that instance, as a host would.
    fn work(&mut self) -> Result<(), Refusal> {
        let mut commands = 0_usize;
        loop {
            while let Some((id, command)) = self.queue.pop_front() {
                commands = commands.saturating_add(1);
                if commands > COMMANDS {
                    return Err(Refusal::Nothing("processes drive each other without end".to_owned()));
                }
                self.run_queued(&id, command);
            }
            if !self.take_from_inbox() {
                return Ok(());
            }
        }
    }

    fn run_queued(&mut self, id: &Id, command: Command) {
        let Some(running) = self.instances.get_mut(id).filter(|running| !running.instance.is_ended()) else { return };
        let events = match running.step(command, &mut self.host) {
            Ok(events) => events,
            Err(StepError::NotOpen { .. }) => return,
            Err(error) => {
                let fail = Command::Fail { element: None, reason: error.to_string() };
                running.step(fail, &mut self.host).unwrap_or_default()
            }
        };
        self.follow(id, &events);
    }

    /// Does what events ask of their host.
    fn follow(&mut self, id: &Id, events: &[Event]) {
        for event in events {
            match event {
                Event::TaskMessageReceived { message: Some(task), .. } => {
                    self.tasks.insert(task.clone(), TaskStatus::InProgress);
                }
                Event::EndEventReached { messages, .. } | Event::InstanceCompleted { messages } => {
                    self.settle(messages, &TaskStatus::Completed);
                }
                Event::InstanceFailed { messages, reason, .. } | Event::InstanceCancelled { messages, reason } => {
                    self.settle(messages, &TaskStatus::Failed(reason.clone()));
                }
                Event::SignalThrown { name, variables, .. } => self.broadcast(Some(id), name, variables),
                Event::CallRequested(call) => self.call(id, call),
                Event::CallCancelled { call } => {
                    let reason = "the process that called this one was interrupted or ended".to_owned();
                    self.queue.push_back((Arc::clone(call), Command::Cancel { reason }));
                }
                Event::Returned { caller, outcome } => {
                    let (call, outcome) = (Arc::clone(&caller.call), outcome.clone());
                    self.queue.push_back((Arc::clone(&caller.instance), Command::CallReturned { call, outcome }));
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self, tasks: &[String], status: &TaskStatus) {
        for task in tasks {
            if self.tasks.get(task) == Some(&TaskStatus::InProgress) {
                self.tasks.insert(task.clone(), status.clone());
            }
        }
    }

    fn call(&mut self, id: &Id, call: &Call) {
        if let Err(reason) = self.start_called(id, call) {
            let command =
                Command::CallReturned { call: Arc::clone(&call.call), outcome: CallOutcome::Failed { reason } };
            self.queue.push_back((Arc::clone(id), command));
        }
    }

    fn start_called(&mut self, id: &Id, call: &Call) -> Result<(), String> {
        let own = self.instances.get(id).and_then(|running| running.instance.version_tag().map(str::to_owned));
        let has_tag = |model: &&Arc<Model>, tag: Option<&str>| {
            model.process(&call.process).is_some_and(|process| process.version_tag.as_deref() == tag)
        };
        let model = match &call.binding {
            CallBinding::Latest => self.newest(&call.process),
            CallBinding::Deployment => self.models.iter().rev().find(|model| has_tag(model, own.as_deref())),
            CallBinding::VersionTag(tag) => self.models.iter().rev().find(|model| has_tag(model, Some(tag))),
        };
        let model = model.cloned().ok_or_else(|| format!("process {} is not installed", call.process))?;
        let start_event = model.process(&call.process).and_then(crate::Process::none_start).cloned();
        let start_event = start_event.ok_or_else(|| format!("process {} has no none start event", call.process))?;
        let command = Command::Start {
            process: call.process.clone(),
            start_event,
            business_key: call.business_key.clone(),
            variables: owned(&call.variables),
            message: None,
            caller: Some(Caller { instance: Arc::clone(id), call: Arc::clone(&call.call) }),
        };
        self.begin(&model, command).map(drop).map_err(|error| error.to_string())
    }

    /// A signal from outside.
    pub fn signal(&mut self, name: &str, variables: &VariableMap) -> Result<(), Refusal> {
        self.broadcast(None, name, variables);
        self.work()
    }

    fn broadcast(&mut self, thrower: Option<&Id>, name: &str, variables: &VariableMap) {
        for running in self.instances.values() {
            let Some(id) = running.instance.id().filter(|id| thrower != Some(*id)) else { continue };
            let waits = running
                .instance
                .subscriptions()
                .any(|open| matches!(&open.trigger, Trigger::Signal { name: awaited } if awaited == name));
            if waits {
                let command = Command::Signal { name: name.to_owned(), variables: owned(variables) };
                self.queue.push_back((Arc::clone(id), command));
            }
        }
        let mut starts = Vec::new();
        for model in &self.models {
            for process in model
                .processes
                .iter()
                .filter(|process| self.newest(&process.id).is_some_and(|newest| Arc::ptr_eq(newest, model)))
            {
                let found = process.signal_starts().into_iter().find(|(_, awaited)| awaited == name);
                starts.extend(found.map(|(element, _)| (Arc::clone(model), process.id.clone(), element.clone())));
            }
        }
        for (model, process, start_event) in starts {
            let command = Command::Start {
                process: process.to_string(),
                start_event,
                business_key: None,
                variables: owned(variables),
                message: None,
                caller: None,
            };
            // A process that cannot begin does not disturb the thrower.
            drop(self.begin(&model, command));
        }
    }

    /// A Task for a process, correlated as in DSF: it starts or continues an instance, waits for a receiver that is not
    /// there yet, or fails.
    pub(super) fn accept(&mut self, message: &Message) -> Result<(), Refusal> {
        let task = message.task.clone().unwrap_or_default();
        let Some(model) = self.newest(&message.process).cloned() else {
            self.tasks.insert(task, TaskStatus::Failed("Process not found".to_owned()));
            return Ok(());
        };
        let start = model.process(&message.process).and_then(|process| process.message_start(&message.name)).cloned();
        let runs = self.active().any(|instance| {
            instance.process().is_some_and(|process| **process == *message.process) && has_key(instance, message)
        });
        let receivers = self.receivers(message);
        match (receivers.as_slice(), start) {
            ([(instance, subscription)], _) if runs => {
                let command = Command::Message {
                    subscription: Arc::clone(subscription),
                    variables: message.variables.clone(),
                    message: message.task.clone(),
                };
                self.command(&Arc::clone(instance), command).map(drop)
            }
            ([] | [_], Some(start)) => {
                self.tasks.insert(task.clone(), TaskStatus::InProgress);
                match self.start(&message.process, Some(&start), message.clone()) {
                    Err(Refusal::Step(error)) => {
                        self.tasks.insert(task, TaskStatus::Failed(error.to_string()));
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
            (_, None) if !runs => {
                let text = format!("Process with start message-name '{}' not found", message.name);
                self.tasks.insert(task, TaskStatus::Failed(text));
                Ok(())
            }
            ([], None) => {
                self.tasks.insert(task, TaskStatus::InProgress);
                self.inbox.push(Buffered { message: message.clone(), expires: self.host.now.saturating_add(INBOX) });
                Ok(())
            }
            _ => {
                self.tasks.insert(task, TaskStatus::Failed(UNABLE.to_owned()));
                Ok(())
            }
        }
    }

    /// Open subscriptions that a message fits.
    fn receivers(&self, message: &Message) -> Vec<(Id, Id)> {
        let mut found = Vec::new();
        for instance in self.active().filter(|instance| has_key(instance, message)) {
            if !message.process.is_empty() && instance.process().is_none_or(|process| **process != *message.process) {
                continue;
            }
            let Some(id) = instance.id() else { continue };
            let fits = instance.subscriptions().filter(|open| {
                matches!(&open.trigger, Trigger::Message { name, correlation_key } if *name == message.name
                    && (message.correlation_key.is_none() || message.correlation_key == *correlation_key))
            });
            found.extend(fits.map(|open| (Arc::clone(id), Arc::clone(&open.subscription))));
        }
        found
    }

    /// Delivers a message to the one subscription that it fits.
    pub(super) fn message(&mut self, message: &Message) -> Result<(), Refusal> {
        match self.receivers(message).as_slice() {
            [(instance, subscription)] => {
                let command = Command::Message {
                    subscription: Arc::clone(subscription),
                    variables: message.variables.clone(),
                    message: message.task.clone(),
                };
                self.command(&Arc::clone(instance), command).map(drop)
            }
            [] => Err(Refusal::Nothing(format!("nothing waits for message {}", message.name))),
            several => Err(Refusal::Nothing(format!("{} events wait for message {}", several.len(), message.name))),
        }
    }

    fn take_from_inbox(&mut self) -> bool {
        for index in 0..self.inbox.len() {
            let Some(buffered) = self.inbox.get(index) else { break };
            let receivers = self.receivers(&buffered.message);
            if let [(instance, subscription), ..] = receivers.as_slice() {
                let message = self.inbox.remove(index).message;
                let command = Command::Message {
                    subscription: Arc::clone(subscription),
                    variables: message.variables,
                    message: message.task,
                };
                self.queue.push_back((Arc::clone(instance), command));
                return true;
            }
        }
        false
    }

    /// Runs a job.
    pub(super) fn run_job(&mut self, instance: &Id, job: &Id) -> Result<(), Refusal> {
        self.command(instance, Command::Job { job: Arc::clone(job) }).map(drop)
    }

    /// Async continuations that are due.
    pub(super) fn continuations(&self) -> Vec<(Id, Id)> {
        self.jobs_where(|job| job.kind != JobKind::Timer)
    }

    fn jobs_where(&self, wanted: impl Fn(&Job) -> bool) -> Vec<(Id, Id)> {
        let mut jobs: Vec<(Option<OffsetDateTime>, Id, Id)> = Vec::new();
        for instance in self.active() {
            let Some(id) = instance.id() else { continue };
            let wanted = instance.jobs().filter(|job| wanted(job));
            jobs.extend(wanted.map(|job| (job.due, Arc::clone(id), Arc::clone(&job.job))));
        }
        jobs.sort();
        jobs.into_iter().map(|(_, instance, job)| (instance, job)).collect()
    }

    /// Moves the clock and fires the timers that become due, each at its time.
    pub fn pass(&mut self, time: Duration) -> Result<(), Refusal> {
        let until = self.host.now.saturating_add(time);
        let mut fired = 0_usize;
        loop {
            fired = fired.saturating_add(1);
            if fired > COMMANDS {
                return Err(Refusal::Nothing("timers fire without end".to_owned()));
            }
            let instances = self.active().flat_map(Instance::jobs).filter(|job| job.kind == JobKind::Timer);
            let next = instances.filter_map(|job| job.due).chain(self.starts.iter().map(|start| start.due)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.host.now = self.host.now.max(next);
            let due = self.jobs_where(|job| job.kind == JobKind::Timer && job.due.is_some_and(|due| due <= next));
            match due.into_iter().next() {
                Some((instance, job)) => self.run_job(&instance, &job)?,
                None => self.fire_start(next)?,
            }
        }
        self.host.now = until;
        for expired in self.inbox.extract_if(.., |buffered| buffered.expires <= until) {
            if let Some(task) = expired.message.task {
                self.tasks.insert(task, TaskStatus::Failed(UNABLE.to_owned()));
            }
        }
        Ok(())
    }

    fn fire_start(&mut self, now: OffsetDateTime) -> Result<(), Refusal> {
        let Some(index) = self.starts.iter().position(|start| start.due <= now) else { return Ok(()) };
        let start = self.starts.remove(index);
        let command = Command::Start {
            process: start.process.to_string(),
            start_event: start.element.clone(),
            business_key: None,
            variables: Vec::new(),
            message: None,
            caller: None,
        };
        self.begin(&start.model, command)?;
        self.work()?;
        if let Some(Ok(Some(Schedule { due, repeat }))) =
            start.repeat.as_ref().map(|repeat| repeat.next(start.due, now))
        {
            self.starts.push(TimerStart { due, repeat, ..start });
        }
        Ok(())
    }
}

fn has_key(instance: &Instance, message: &Message) -> bool {
    let Some(key) = message.business_key.as_deref() else { return message.process.is_empty() };
    let alternative = instance.root_variables().get("alternativeBusinessKey").and_then(Value::as_str);
    instance.business_key() == Some(key) || alternative == Some(key)
}

fn owned(variables: &VariableMap) -> Vec<(String, Value)> {
    variables.iter().map(|(name, value)| (name.clone(), Value::clone(value))).collect()
}

// === impl Running ===

impl Running {
    /// Runs a command; then the log must replay to the identical instance, which goes on as it is read back from storage.
    fn step(&mut self, command: Command, host: &mut Host) -> Result<Vec<Event>, StepError> {
        let events = step(&self.model, &mut self.instance, command, host)?;
        self.history.extend(events.iter().cloned());
        let replayed = Instance::replay(&self.history)?;
        let broken = |text: &str| StepError::Inconsistent(text.to_owned());
        if replayed != self.instance {
            return Err(broken("replay of the log gives another instance"));
        }
        let stored = serde_json::to_vec(&self.instance).map_err(|error| StepError::Inconsistent(error.to_string()))?;
        let restarted: Instance =
            serde_json::from_slice(&stored).map_err(|error| StepError::Inconsistent(error.to_string()))?;
        if restarted != self.instance {
            return Err(broken("instance does not survive being stored"));
        }
        self.instance = restarted;
        Ok(events)
    }
}
