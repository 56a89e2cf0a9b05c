//! A unit of work: commands to instances inside one transaction, until nothing is left to do.
//!
//! A command may cause more: a service step that runs at once, a signal that reaches other instances, a message that
//! waited in the inbox. All of them are queued and run here, then every instance that changed is stored with its events
//! and its subscriptions.
//!
//! What goes wrong in one instance ends that instance and its Tasks, never the transaction: a command that its model
//! cannot follow, a state that cannot be read, a wait for nothing, a loop without end. Only an error of the database is an
//! error of the unit.

mod calls;
mod events;
mod inbox;
pub(in crate::runtime) mod rows;
mod signals;
mod steps;
mod user_tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bpmn::{Command, Event};
use fhir::Object;
use store::Transaction;

use super::condemn::condemn;
use super::environment::HostEnvironment;
use super::{ProcessError, Runtime, settle};
use crate::catalogue::Catalogue;
use crate::definition::Definition;
use crate::limits;

/// The reference's text for a message without a receiver.
pub(crate) const UNABLE_TO_CORRELATE: &str = "Unable to correlate Task";

/// The reference's text for an instance whose plug-in was removed.
pub(crate) const NO_PLUGIN: &str = "Plugin for process not found, unable to continue execution";

/// Commands, and the instances that they have reached.
pub(crate) struct Unit<'u, 't> {
    runtime: &'u Runtime,
    /// What is installed as the unit begins.
    catalogue: Arc<Catalogue>,
    tx: &'u mut Transaction<'t>,
    queue: VecDeque<(String, Command)>,
    loaded: BTreeMap<String, Loaded>,
    /// Outputs that steps added to start Tasks, not yet stored.
    outputs: BTreeMap<String, Vec<Object>>,
    /// Instances that opened subscriptions since the inbox was looked at.
    waiting: BTreeSet<String>,
    commands: usize,
}

/// An instance in this transaction.
struct Loaded {
    definition: Arc<Definition>,
    instance: bpmn::Instance,
    business_key: String,
    /// Revision in the database.
    revision: u64,
    events: Vec<Event>,
    /// A step of it waits, or waited, for an operator.
    has_incident: bool,
    /// This transaction began it: nothing of it was stored before.
    is_new: bool,
    /// The row holds the state as it is: nothing has moved since it was inserted.
    is_stored: bool,
    /// There are stored subscriptions.
    has_subscriptions: bool,
}

// === impl Unit ===

impl<'u, 't> Unit<'u, 't> {
    pub(crate) fn new(runtime: &'u Runtime, tx: &'u mut Transaction<'t>) -> Self {
        Self {
            runtime,
            catalogue: runtime.catalogue(),
            tx,
            queue: VecDeque::new(),
            loaded: BTreeMap::new(),
            outputs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            commands: 0,
        }
    }

    /// Begins a new instance.
    pub(crate) fn start(&mut self, definition: &Arc<Definition>, business_key: &str, command: Command) {
        // The instance gets its id from its first event; until then it is known by its business key and place.
        let place = format!("new {}", self.loaded.len());
        self.begin(place, definition, business_key, command);
    }

    fn begin(&mut self, place: String, definition: &Arc<Definition>, business_key: &str, command: Command) {
        let loaded = Loaded {
            definition: Arc::clone(definition),
            instance: bpmn::Instance::default(),
            business_key: business_key.to_owned(),
            revision: 0,
            events: Vec::new(),
            has_incident: false,
            is_new: true,
            is_stored: false,
            has_subscriptions: false,
        };
        self.loaded.insert(place.clone(), loaded);
        self.queue.push_back((place, command));
    }

    /// Adds a command to a stored instance.
    pub(crate) fn enqueue(&mut self, instance: &str, command: Command) {
        self.queue.push_back((instance.to_owned(), command));
    }

    /// Loads an instance, so that what follows from its work is stored.
    pub(crate) fn touch(&mut self, id: &str) -> Result<(), ProcessError> {
        self.load(id).map(drop)
    }

    /// Where an instance with this id is loaded.
    fn place_of(&self, id: &str) -> String {
        let mut loaded = self.loaded.iter();
        let place = loaded.find(|(_, loaded)| loaded.instance.id().is_some_and(|own| **own == *id));
        place.map_or_else(|| id.to_owned(), |(place, _)| place.clone())
    }

    /// Runs everything and stores it.
    pub(crate) fn run(mut self) -> Result<(), ProcessError> {
        loop {
            while let Some((id, command)) = self.queue.pop_front() {
                self.commands += 1;
                if self.commands == limits::COMMANDS_PER_TRANSACTION {
                    self.stop_the_endless(id, command)?;
                } else {
                    self.command(&id, command)?;
                }
            }
            self.take_from_inbox()?;
            self.fail_stuck();
            if self.queue.is_empty() {
                return self.store();
            }
        }
    }

    /// Instances that still have something to do after so many commands drive each other, or themselves, in a circle.
    fn stop_the_endless(&mut self, id: String, command: Command) -> Result<(), ProcessError> {
        let mut endless = BTreeSet::new();
        let dropped = std::mem::take(&mut self.queue);
        for (id, command) in [(id, command)].into_iter().chain(dropped) {
            if let Some(message) = message_of(&command) {
                self.not_taken(Some(message))?;
            }
            endless.insert(id);
        }
        for id in endless {
            let reason = format!(
                "process runs without end: more than {} steps without waiting",
                limits::COMMANDS_PER_TRANSACTION
            );
            self.enqueue(&id, Command::Fail { element: None, reason });
        }
        Ok(())
    }

    /// Whether the instance can take the command: it is there, can be read and has not ended.
    fn load(&mut self, id: &str) -> Result<bool, ProcessError> {
        if let Some(loaded) = self.loaded.get(id) {
            return Ok(!loaded.instance.is_ended());
        }
        let Some(row) = self.tx.lock_instance(id)? else { return Ok(false) };
        if row.state.has_ended() {
            return Ok(false);
        }
        match rows::read(&self.catalogue, &row) {
            Ok((definition, instance)) => {
                let (business_key, revision) = (row.business_key, row.revision);
                let has_incident = row.state == store::processes::InstanceState::Incident;
                let has_subscriptions = instance.subscriptions().next().is_some();
                let loaded = Loaded {
                    definition,
                    instance,
                    business_key,
                    revision,
                    events: Vec::new(),
                    has_incident,
                    is_new: false,
                    is_stored: false,
                    has_subscriptions,
                };
                self.loaded.insert(id.to_owned(), loaded);
                Ok(true)
            }
            Err(reason) => {
                self.condemn(id, &reason)?;
                Ok(false)
            }
        }
    }

    fn command(&mut self, id: &str, command: Command) -> Result<(), ProcessError> {
        let message = message_of(&command);
        if !self.load(id)? {
            return self.not_taken(message);
        }
        let mut environment = HostEnvironment { now: self.tx.now(), implementations: &self.catalogue.implementations };
        let Some(loaded) = self.loaded.get_mut(id) else { return Ok(()) };
        let model = &loaded.definition.model;
        let events = match bpmn::step(model, &mut loaded.instance, command, &mut environment) {
            Ok(events) => events,
            // Late or repeated: somebody else was first, and nothing is to be done.
            Err(bpmn::StepError::NotOpen { .. }) => return self.not_taken(message),
            Err(error) => return self.failed(id, message, &error),
        };
        self.follow(id, events)
    }

    /// Does what the events ask and remembers them.
    fn follow(&mut self, id: &str, events: Vec<Event>) -> Result<(), ProcessError> {
        if let Some(loaded) = self.loaded.get_mut(id) {
            loaded.is_stored = false;
        }
        for event in &events {
            self.act(id, event)?;
        }
        if let Some(loaded) = self.loaded.get_mut(id) {
            loaded.events.extend(events);
        }
        Ok(())
    }

    /// The instance could not follow its model: it ends with its Tasks.
    fn failed(&mut self, id: &str, message: Option<String>, error: &bpmn::StepError) -> Result<(), ProcessError> {
        let reason = error.to_string();
        tracing::warn!(instance = id, reason, "instance fails");
        let Some(loaded) = self.loaded.get_mut(id) else { return Ok(()) };
        let mut environment = HostEnvironment { now: self.tx.now(), implementations: &self.catalogue.implementations };
        let fail = Command::Fail { element: None, reason: reason.clone() };
        match bpmn::step(&loaded.definition.model, &mut loaded.instance, fail, &mut environment) {
            Ok(events) => self.follow(id, events)?,
            // It never began, or contradicts itself.
            Err(_) => {
                let stored = self.stored_id(id);
                self.loaded.remove(id);
                self.outputs.clear();
                self.condemn(&stored, &reason)?;
            }
        }
        // The message that was refused is not yet one of the instance's own.
        match message {
            Some(task) => Ok(settle::fail(self.tx, &task, Vec::new(), &reason)?),
            None => Ok(()),
        }
    }

    /// Gives up an instance that cannot be read or changed, and tells the instance that called it.
    fn condemn(&mut self, id: &str, reason: &str) -> Result<(), ProcessError> {
        if let Some(caller) = condemn(self.tx, id, reason)? {
            self.returned(&caller, &bpmn::CallOutcome::Failed { reason: reason.to_owned() });
        }
        Ok(())
    }

    /// A message that nobody takes any more must not leave its Task in progress.
    fn not_taken(&mut self, message: Option<String>) -> Result<(), ProcessError> {
        match message {
            Some(task) => Ok(settle::fail(self.tx, &task, Vec::new(), UNABLE_TO_CORRELATE)?),
            None => Ok(()),
        }
    }

    /// An instance that waits for nothing would stay for ever.
    fn fail_stuck(&mut self) {
        let stuck = self.loaded.iter().filter(|(_, loaded)| loaded.instance.is_stuck());
        let commands: Vec<_> = stuck
            .map(|(id, loaded)| {
                let at: Vec<&str> = loaded.instance.tokens().map(|token| &*token.element).collect();
                let reason = format!("process is stuck: it waits for nothing that can happen, at {}", at.join(", "));
                (id.clone(), Command::Fail { element: None, reason })
            })
            .collect();
        self.queue.extend(commands);
    }
}

/// The Task that a command brings.
fn message_of(command: &Command) -> Option<String> {
    match command {
        Command::Message { message, .. } | Command::Start { message, .. } => message.clone(),
        _ => None,
    }
}
