//! A unit of work: commands to instances inside one transaction, until nothing is left to do.
//!
//! A command may cause more: a service step that runs at once, a signal that reaches other instances, a message that
//! waited in the inbox. All of them are queued and run here, then every instance that changed is stored with its events
//! and its subscriptions. An error undoes the whole transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bpmn::{Command, Event, StepKind, StepOutcome, Trigger};
use fhir::{Object, Resource};
use store::processes::{
    InstanceState, InstanceUpdate, MessageSubscription, NewInstance, NewJob, NewOutboxMessage, SignalSubscription,
};
use store::Transaction;
use time::OffsetDateTime;

use super::environment::HostEnvironment;
use super::{ProcessError, Runtime, settle};
use crate::definition::Definition;
use crate::outbox::{self, DeliveryFailure};
use crate::step::{StepContext, StepError};
use crate::{limits, task};

/// The reference's text for a message without a receiver.
pub(crate) const UNABLE_TO_CORRELATE: &str = "Unable to correlate Task";

/// Revision of a row that was just inserted.
const FIRST_REVISION: u64 = 1;

/// Kind of the jobs that belong to instances.
pub(crate) const INSTANCE_JOB: &str = "instance";

/// Commands, and the instances that they have reached.
pub(crate) struct Unit<'u, 't> {
    runtime: &'u Runtime,
    tx: &'u mut Transaction<'t>,
    queue: VecDeque<(String, Command)>,
    loaded: BTreeMap<String, Loaded>,
    /// Outputs that steps added to start Tasks, not yet stored.
    outputs: BTreeMap<String, Vec<Object>>,
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
}

// === impl Unit ===

impl<'u, 't> Unit<'u, 't> {
    pub(crate) fn new(runtime: &'u Runtime, tx: &'u mut Transaction<'t>) -> Self {
        Self { runtime, tx, queue: VecDeque::new(), loaded: BTreeMap::new(), outputs: BTreeMap::new(), commands: 0 }
    }

    /// Begins a new instance.
    pub(crate) fn start(&mut self, definition: &Arc<Definition>, business_key: &str, command: Command) {
        // The instance gets its id from its first event; until then it is known by its business key and place.
        let place = format!("new {}", self.loaded.len());
        let loaded = Loaded {
            definition: Arc::clone(definition),
            instance: bpmn::Instance::default(),
            business_key: business_key.to_owned(),
            revision: 0,
            events: Vec::new(),
        };
        self.loaded.insert(place.clone(), loaded);
        self.queue.push_back((place, command));
    }

    /// Adds a command to a stored instance.
    pub(crate) fn enqueue(&mut self, instance: &str, command: Command) {
        self.queue.push_back((instance.to_owned(), command));
    }

    /// Runs everything and stores it.
    pub(crate) fn run(mut self) -> Result<(), ProcessError> {
        while let Some((id, command)) = self.queue.pop_front() {
            self.commands += 1;
            if self.commands > limits::COMMANDS_PER_TRANSACTION {
                return Err(ProcessError::Endless { id });
            }
            self.command(&id, command)?;
        }
        self.store()
    }

    /// Whether the instance can take the command: it is there and has not ended.
    fn load(&mut self, id: &str) -> Result<bool, ProcessError> {
        if let Some(loaded) = self.loaded.get(id) {
            return Ok(!loaded.instance.is_ended());
        }
        let Some(row) = self.tx.lock_instance(id)? else { return Ok(false) };
        if row.state.has_ended() {
            return Ok(false);
        }
        let unreadable = |reason: String| ProcessError::Instance { id: id.to_owned(), reason };
        let definition = self.runtime.definitions.by_digest(&row.definition_digest);
        let definition = definition.ok_or_else(|| unreadable("its definition is not stored".to_owned()))?;
        let instance = serde_json::from_slice(&row.data).map_err(|error| unreadable(error.to_string()))?;
        let loaded = Loaded {
            definition: Arc::clone(definition),
            instance,
            business_key: row.business_key,
            revision: row.revision,
            events: Vec::new(),
        };
        self.loaded.insert(id.to_owned(), loaded);
        Ok(true)
    }

    fn command(&mut self, id: &str, command: Command) -> Result<(), ProcessError> {
        let message = match &command {
            Command::Message { message: Some(message), .. } => Some(message.clone()),
            _ => None,
        };
        if !self.load(id)? {
            return self.not_taken(message);
        }
        let mut environment = HostEnvironment { now: self.tx.now(), implementations: &self.runtime.implementations };
        let Some(loaded) = self.loaded.get_mut(id) else { return Ok(()) };
        let model = &loaded.definition.model;
        let may_fail = !matches!(command, Command::Fail { .. } | Command::Cancel { .. } | Command::Start { .. });
        let events = match bpmn::step(model, &mut loaded.instance, command, &mut environment) {
            Ok(events) => events,
            // Late or repeated: somebody else was first, and nothing is to be done.
            Err(bpmn::StepError::NotOpen { .. }) => return self.not_taken(message),
            Err(error) if may_fail => {
                let reason = error.to_string();
                tracing::warn!(instance = id, reason, "instance fails");
                let fail = Command::Fail { element: None, reason };
                bpmn::step(model, &mut loaded.instance, fail, &mut environment)
                    .map_err(|source| ProcessError::Step { id: id.to_owned(), source })?
            }
            Err(source) => return Err(ProcessError::Step { id: id.to_owned(), source }),
        };
        for event in &events {
            self.act(id, event)?;
        }
        if let Some(loaded) = self.loaded.get_mut(id) {
            loaded.events.extend(events);
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

    /// Does what an event asks of the host.
    fn act(&mut self, id: &str, event: &Event) -> Result<(), ProcessError> {
        match event {
            Event::InstanceStarted { .. } => self.insert(id),
            Event::StepRequested(step) if step.kind == StepKind::Service => self.service(id, step),
            Event::StepRequested(step) => self.send(id, step),
            Event::StepCancelled { step } => Ok(self.tx.delete_outbox(step).map(drop)?),
            Event::JobCreated(job) => self.job_created(id, job),
            Event::JobCompleted { job } | Event::JobCancelled { job } => Ok(self.tx.delete_job(job).map(drop)?),
            Event::SubscriptionOpened(subscription) => self.subscription_opened(id, subscription),
            Event::SubscriptionRekeyed { subscription, .. } => self.rekeyed(id, subscription),
            Event::SignalThrown { name, .. } => self.signal_thrown(id, name),
            Event::EndEventReached { messages, .. } | Event::InstanceCompleted { messages } => self.complete(messages),
            Event::InstanceFailed { reason, messages, element } => {
                tracing::warn!(instance = id, element = element.as_deref(), reason, "instance failed");
                self.fail(messages, reason)
            }
            Event::InstanceCancelled { reason, messages } => self.fail(messages, reason),
            Event::ErrorUnhandled { element, code, .. } => {
                tracing::info!(instance = id, element = &**element, code, "BPMN error without a boundary event ended its execution");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn job_created(&mut self, id: &str, job: &bpmn::Job) -> Result<(), ProcessError> {
        let instance = self.stored_id(id);
        Ok(self.tx.insert_job(&NewJob {
            id: job.job.to_string(),
            instance: Some(instance),
            kind: INSTANCE_JOB.to_owned(),
            exclusive: job.exclusive,
            due: job.due.unwrap_or_else(|| self.tx.now()),
            retries: limits::JOB_ATTEMPTS,
            payload: Vec::new(),
        })?)
    }

    /// The row of a new instance comes first: what the instance waits for refers to it.
    fn insert(&mut self, place: &str) -> Result<(), ProcessError> {
        let id = self.stored_id(place);
        let Some(loaded) = self.loaded.get_mut(place) else { return Ok(()) };
        let data = serialized(&id, &loaded.instance)?;
        self.tx.insert_instance(&NewInstance {
            id,
            process_key: loaded.definition.key.clone(),
            version_tag: loaded.definition.version.clone(),
            definition_digest: loaded.definition.digest.clone(),
            business_key: loaded.business_key.clone(),
            alternative_business_key: None,
            state: InstanceState::Running,
            data,
        })?;
        loaded.revision = FIRST_REVISION;
        Ok(())
    }

    /// A message may have come before its receiver waited for it.
    fn subscription_opened(&mut self, id: &str, subscription: &bpmn::Subscription) -> Result<(), ProcessError> {
        let Trigger::Message { name, correlation_key } = &subscription.trigger else { return Ok(()) };
        let Some(loaded) = self.loaded.get(id) else { return Ok(()) };
        let mut keys = vec![loaded.business_key.clone()];
        keys.extend(alternative_business_key(&loaded.instance));
        let (key, version) = (loaded.definition.key.clone(), loaded.definition.version.clone());
        for business_key in keys {
            let waiting = self.tx.inbox_of(&business_key)?;
            let fits = waiting.into_iter().find(|message| {
                message.message_name == *name
                    && message.process_key == key
                    && message.version_tag == version
                    && (message.correlation_key.is_none() || message.correlation_key == *correlation_key)
            });
            if let Some(message) = fits {
                self.tx.delete_inbox(&message.task_id)?;
                let subscription = subscription.subscription.clone();
                let command = Command::Message { subscription, variables: Vec::new(), message: Some(message.task_id) };
                self.enqueue(id, command);
                break;
            }
        }
        Ok(())
    }

    fn rekeyed(&mut self, id: &str, subscription: &str) -> Result<(), ProcessError> {
        let opened = self.loaded.get(id).and_then(|loaded| {
            loaded.instance.subscriptions().find(|open| &*open.subscription == subscription).cloned()
        });
        opened.map_or(Ok(()), |opened| self.subscription_opened(id, &opened))
    }

    fn signal_thrown(&mut self, id: &str, name: &str) -> Result<(), ProcessError> {
        let own = self.stored_id(id);
        let mut receivers: Vec<String> =
            self.tx.find_signal_subscriptions(name)?.into_iter().map(|waiting| waiting.instance).collect();
        receivers.dedup();
        for instance in receivers.into_iter().filter(|instance| *instance != own) {
            self.enqueue(&instance, Command::Signal { name: name.to_owned() });
        }
        Ok(())
    }

    fn complete(&mut self, messages: &[String]) -> Result<(), ProcessError> {
        for message in messages {
            let outputs = self.outputs.remove(message).unwrap_or_default();
            settle::complete(self.tx, message, outputs)?;
        }
        Ok(())
    }

    fn fail(&mut self, messages: &[String], reason: &str) -> Result<(), ProcessError> {
        for message in messages {
            let outputs = self.outputs.remove(message).unwrap_or_default();
            settle::fail(self.tx, message, outputs, reason)?;
        }
        Ok(())
    }

    // --- steps ---

    fn service(&mut self, id: &str, step: &bpmn::Step) -> Result<(), ProcessError> {
        let implementation = self.runtime.implementations.services.get(step.class.as_str()).map(Arc::clone);
        let requested = self.tx.now();
        let outcome = match implementation {
            Some(implementation) => self.in_context(id, step, requested, |context| implementation.execute(context))?.1,
            None => StepOutcome::Failed { reason: format!("no implementation {}", step.class) },
        };
        self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
        Ok(())
    }

    /// Queues the message of a send step, or answers the step when there is none to send.
    fn send(&mut self, id: &str, step: &bpmn::Step) -> Result<(), ProcessError> {
        let implementation = self.runtime.implementations.sends.get(step.class.as_str()).map(Arc::clone);
        let requested = self.tx.now();
        let (message, outcome) = match implementation {
            Some(implementation) => self.in_context(id, step, requested, |context| implementation.message(context))?,
            None => (None, StepOutcome::Failed { reason: format!("no implementation {}", step.class) }),
        };
        let built = message.ok_or(outcome).and_then(|message| {
            let business_key = self.loaded.get(id).map(|loaded| loaded.business_key.clone()).unwrap_or_default();
            outbox::build_task(&self.runtime.node, step, &business_key, &message, requested)
                .map(|task| (message, task))
                .map_err(|reason| StepOutcome::Failed { reason })
        });
        match built {
            Ok((message, task)) => self.queue_message(id, step, &message, &task),
            Err(outcome) => {
                self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
                Ok(())
            }
        }
    }

    fn queue_message(
        &mut self,
        id: &str,
        step: &bpmn::Step,
        message: &crate::Message,
        task: &Resource,
    ) -> Result<(), ProcessError> {
        let instance = self.stored_id(id);
        Ok(self.tx.insert_outbox(&NewOutboxMessage {
            id: step.step.to_string(),
            instance: Some(instance),
            step: step.step.to_string(),
            target_url: message.endpoint_url.clone(),
            target_organization: message.organization_identifier.clone(),
            body: fhir::print(fhir::Format::Json, task, false).into_bytes(),
            next_attempt: self.tx.now(),
        })?)
    }

    /// Answers a send step with the result of the delivery.
    pub(crate) fn delivered(
        &mut self,
        id: &str,
        step: &str,
        requested: OffsetDateTime,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), ProcessError> {
        if !self.load(id)? {
            return Ok(());
        }
        let pending = self.loaded.get(id).and_then(|loaded| loaded.instance.pending_step(step).cloned());
        let Some(step) = pending else { return Ok(()) };
        let outcome = match self.runtime.implementations.sends.get(step.class.as_str()).map(Arc::clone) {
            Some(implementation) => {
                self.in_context(id, &step, requested, |context| implementation.delivered(context, result))?.1
            }
            None => StepOutcome::Failed { reason: format!("no implementation {}", step.class) },
        };
        self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
        Ok(())
    }

    /// Runs code of a step and collects what it wrote.
    fn in_context<R>(
        &mut self,
        id: &str,
        step: &bpmn::Step,
        requested: OffsetDateTime,
        code: impl FnOnce(&mut StepContext<'_, '_>) -> Result<R, StepError>,
    ) -> Result<(Option<R>, StepOutcome), ProcessError> {
        let Some(loaded) = self.loaded.get(id) else {
            return Ok((None, StepOutcome::Failed { reason: "instance is gone".to_owned() }));
        };
        let start_id = loaded.instance.start_message();
        let latest_id = loaded.instance.messages(step.scope).last().map(String::as_str).or(start_id);
        let start_task = start_id.map(|id| task::read(self.tx, id)).transpose()?.flatten();
        let latest_task = latest_id.map(|id| task::read(self.tx, id)).transpose()?.flatten();
        let mut context = StepContext {
            tx: self.tx,
            node: &self.runtime.node,
            step,
            variables: loaded.instance.variables(step.token),
            start_task: start_task.as_ref(),
            latest_task: latest_task.as_ref(),
            writes: Vec::new(),
            outputs: Vec::new(),
            requested,
        };
        let result = code(&mut context);
        let StepContext { writes: variables, outputs, .. } = context;
        if let Some(start) = start_id.map(str::to_owned) {
            self.outputs.entry(start).or_default().extend(outputs);
        }
        Ok(match result {
            Ok(value) => (Some(value), StepOutcome::Completed { variables }),
            Err(StepError::Bpmn { code, message }) => (None, StepOutcome::BpmnError { code, message, variables }),
            Err(StepError::Failed(reason)) => (None, StepOutcome::Failed { reason }),
        })
    }

    // --- storing ---

    /// The id under which the instance is stored.
    fn stored_id(&self, id: &str) -> String {
        let own = self.loaded.get(id).and_then(|loaded| loaded.instance.id());
        own.map_or_else(|| id.to_owned(), ToString::to_string)
    }

    fn store(mut self) -> Result<(), ProcessError> {
        for (task, outputs) in std::mem::take(&mut self.outputs) {
            settle::add_outputs(self.tx, &task, outputs)?;
        }
        for (place, loaded) in std::mem::take(&mut self.loaded) {
            let id = loaded.instance.id().map_or_else(|| place.clone(), ToString::to_string);
            self.store_one(&id, loaded)?;
        }
        Ok(())
    }

    fn store_one(&mut self, id: &str, loaded: Loaded) -> Result<(), ProcessError> {
        if loaded.events.is_empty() {
            return Ok(());
        }
        let state = state_of(&loaded.instance);
        let update = InstanceUpdate {
            alternative_business_key: alternative_business_key(&loaded.instance),
            state,
            data: serialized(id, &loaded.instance)?,
        };
        self.tx.update_instance(id, loaded.revision, &update)?;
        let events: Result<Vec<Vec<u8>>, _> = loaded.events.iter().map(serde_json::to_vec).collect();
        let events = events.map_err(|error| ProcessError::Instance { id: id.to_owned(), reason: error.to_string() })?;
        self.tx.append_instance_events(id, &events)?;
        let (messages, signals) = subscriptions(id, &loaded.instance);
        self.tx.set_subscriptions(id, &messages, &signals)?;
        if state.has_ended() {
            metrics::counter!("schleuse_instances_ended_total", "state" => state.as_str()).increment(1);
        }
        Ok(())
    }
}

fn serialized(id: &str, instance: &bpmn::Instance) -> Result<Vec<u8>, ProcessError> {
    serde_json::to_vec(instance).map_err(|error| ProcessError::Instance { id: id.to_owned(), reason: error.to_string() })
}

fn state_of(instance: &bpmn::Instance) -> InstanceState {
    match instance.status() {
        bpmn::Status::New | bpmn::Status::Active => InstanceState::Running,
        bpmn::Status::Completed => InstanceState::Completed,
        bpmn::Status::Failed { .. } => InstanceState::Failed,
        bpmn::Status::Cancelled { .. } => InstanceState::Cancelled,
    }
}

/// The variable under which DSF keeps a second business key for replies (`process-engine.md` 1.4, 2.5).
fn alternative_business_key(instance: &bpmn::Instance) -> Option<String> {
    instance.root_variables().get("alternativeBusinessKey")?.as_str().map(str::to_owned)
}

fn subscriptions(id: &str, instance: &bpmn::Instance) -> (Vec<MessageSubscription>, Vec<SignalSubscription>) {
    let (mut messages, mut signals) = (Vec::new(), Vec::new());
    for open in instance.subscriptions() {
        match &open.trigger {
            Trigger::Message { name, correlation_key } => messages.push(MessageSubscription {
                instance: id.to_owned(),
                id: open.subscription.to_string(),
                message_name: name.clone(),
                correlation_key: correlation_key.clone(),
            }),
            Trigger::Signal { name } => signals.push(SignalSubscription {
                instance: id.to_owned(),
                id: open.subscription.to_string(),
                signal_name: name.clone(),
            }),
            Trigger::Condition => {}
        }
    }
    (messages, signals)
}
