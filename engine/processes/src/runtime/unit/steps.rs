//! Steps: what the classes of the model do, inside the transaction of their instance. Messages and long work are queued
//! here and answered in a later transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use bpmn::{Command, StepOutcome};
use fhir::Resource;
use serde_json::Value;
use store::processes::{NewOutboxMessage, NewWorkItem, WorkItem, WorkKind};
use time::OffsetDateTime;

use super::{NO_PLUGIN, Unit};
use crate::outbox::{self, DeliveryFailure};
use crate::runtime::{ProcessError, is_final};
use crate::step::{Message, StepContext, StepError, WorkError};
use crate::work::Order;
use crate::{limits, task};

impl Unit<'_, '_> {
    pub(super) fn service(&mut self, id: &str, step: &bpmn::Step) -> Result<(), ProcessError> {
        if let Some(topic) = self.topic_of(step) {
            return self.offer_outside(id, step, &topic);
        }
        if self.catalogue.implementations.works.contains_key(step.class.as_str()) {
            return self.order_work(id, step);
        }
        let implementation = self.catalogue.implementations.services.get(step.class.as_str()).map(Arc::clone);
        let requested = self.tx.now();
        let outcome = match implementation {
            Some(implementation) => self.in_context(id, step, requested, |context| implementation.execute(context))?.1,
            None => no_plugin(step),
        };
        self.answer(id, step, outcome, Carrier::step(step))
    }

    /// The topic under which a worker does the step: of the model, or bound to its class.
    fn topic_of(&self, step: &bpmn::Step) -> Option<String> {
        let bound = || self.catalogue.implementations.topics.get(step.class.as_str()).map(|topic| (*topic).to_owned());
        step.topic.clone().or_else(bound)
    }

    /// Stores a step that a worker fetches.
    fn offer_outside(&mut self, id: &str, step: &bpmn::Step, topic: &str) -> Result<(), ProcessError> {
        if topic.is_empty() || topic.len() > limits::KEY_BYTES {
            let reason = format!("the topic of an external task must have 1 to {} bytes", limits::KEY_BYTES);
            return self.answer(id, step, StepOutcome::Failed { reason }, Carrier::step(step));
        }
        self.insert_work(id, step, WorkKind::External, topic, None, Vec::new())
    }

    /// Answers a step with what a worker reported of it.
    pub(crate) fn worked_outside(&mut self, item: &WorkItem, outcome: StepOutcome) -> Result<(), ProcessError> {
        let id = &item.instance;
        if !self.load(id)? {
            return Ok(());
        }
        let pending = self.loaded.get(id).and_then(|loaded| loaded.instance.pending_step(&item.id).cloned());
        match pending {
            Some(step) => self.answer(id, &step, outcome, Carrier::of(item)),
            None => Ok(()),
        }
    }

    /// Does a step of an incident again: it failed in its transaction, so there is no work to repeat.
    pub(crate) fn again(&mut self, item: &WorkItem) -> Result<(), ProcessError> {
        let id = &item.instance;
        if !self.load(id)? {
            return Ok(());
        }
        let pending = self.loaded.get(id).and_then(|loaded| loaded.instance.pending_step(&item.id).cloned());
        match pending {
            Some(step) if step.kind == bpmn::StepKind::Service => self.service(id, &step),
            Some(step) => self.send(id, &step),
            None => Ok(()),
        }
    }

    /// Answers a step. A failure gets the reference's text; where the node keeps incidents, the step is left as it is for
    /// an operator instead, with the evidence in the item that carries it.
    fn answer(
        &mut self,
        id: &str,
        step: &bpmn::Step,
        outcome: StepOutcome,
        carrier: Carrier,
    ) -> Result<(), ProcessError> {
        let reason = match outcome {
            StepOutcome::Failed { reason } if reason == NO_PLUGIN => reason,
            StepOutcome::Failed { reason } => self.fatal(id, step, &reason),
            outcome => {
                self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
                return Ok(());
            }
        };
        if !self.keeps_incident(id, &reason) {
            let outcome = StepOutcome::Failed { reason };
            self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
            return Ok(());
        }
        tracing::warn!(instance = id, element = &*step.element, reason, "a step failed; an operator decides");
        metrics::counter!("schleuse_incidents_opened_total").increment(1);
        self.insert_work(id, step, carrier.kind, &carrier.topic, Some(0), carrier.input)?;
        let reason: String = reason.chars().take(limits::ERROR_TEXT).collect();
        self.tx.note_work_failure(&step.step, &reason)?;
        if let Some(loaded) = self.loaded.get_mut(id) {
            loaded.has_incident = true;
        }
        Ok(())
    }

    /// Whether a step that failed waits for an operator: as its process has it, and always when what it lacks may belong
    /// to a plug-in that is left out at the moment. Repairing that plug-in and trying again is then all it needs.
    fn keeps_incident(&self, id: &str, reason: &str) -> bool {
        let Some(loaded) = self.loaded.get(id) else { return false };
        (reason == NO_PLUGIN && self.catalogue.is_incomplete())
            || self.runtime.keeps_incidents(&self.catalogue, &loaded.definition)
    }

    /// Stores the work of a long step, or answers the step when there is none to do.
    fn order_work(&mut self, id: &str, step: &bpmn::Step) -> Result<(), ProcessError> {
        let implementation = self.catalogue.implementations.works.get(step.class.as_str()).map(Arc::clone);
        let requested = self.tx.now();
        let (input, outcome) = match implementation {
            Some(implementation) => self.in_context(id, step, requested, |context| implementation.prepare(context))?,
            None => (None, no_plugin(step)),
        };
        let order = input.ok_or_else(|| outcome.clone()).and_then(|input| {
            let order = Order { input, retry: step.retry.clone() };
            order.stored().map_err(|reason| StepOutcome::Failed { reason })
        });
        let input = match order {
            Ok(input) => input,
            Err(outcome) => return self.answer(id, step, outcome, Carrier::step(step)),
        };
        self.write_variables(id, step, outcome);
        let retries = step.retry.as_ref().map_or(limits::WORK_ATTEMPTS, |retry| retry.attempts.max(1));
        self.insert_work(id, step, WorkKind::Step, &step.class, Some(retries), input)
    }

    /// Stores work of a step.
    pub(super) fn insert_work(
        &mut self,
        id: &str,
        step: &bpmn::Step,
        kind: WorkKind,
        topic: &str,
        retries: Option<u32>,
        input: Vec<u8>,
    ) -> Result<(), ProcessError> {
        let Some(loaded) = self.loaded.get(id) else { return Ok(()) };
        let item = NewWorkItem {
            id: step.step.to_string(),
            instance: self.stored_id(id),
            element: step.element.to_string(),
            process_key: loaded.definition.key.clone(),
            version_tag: loaded.definition.version.clone(),
            business_key: loaded.business_key.clone(),
            kind,
            topic: topic.to_owned(),
            priority: step.priority.unwrap_or_default(),
            retries,
            due: self.tx.now(),
            input,
        };
        Ok(self.tx.insert_work_item(&item)?)
    }

    /// What a step wrote while it goes on.
    pub(super) fn write_variables(&mut self, id: &str, step: &bpmn::Step, outcome: StepOutcome) {
        if let StepOutcome::Completed { variables } = outcome
            && !variables.is_empty()
        {
            self.enqueue(id, Command::SetVariables { token: Some(step.token), variables });
        }
    }

    /// Answers a long step with what came of its work. The work itself is recorded by the caller.
    pub(crate) fn worked(&mut self, item: &WorkItem, result: Result<Value, WorkError>) -> Result<(), ProcessError> {
        let id = &item.instance;
        if !self.load(id)? {
            return Ok(());
        }
        let pending = self.loaded.get(id).and_then(|loaded| loaded.instance.pending_step(&item.id).cloned());
        let Some(step) = pending else { return Ok(()) };
        let outcome = match result {
            Ok(output) => match self.catalogue.implementations.works.get(step.class.as_str()).map(Arc::clone) {
                Some(implementation) => {
                    let finish = |context: &mut StepContext<'_, '_>| implementation.finish(context, output);
                    self.in_context(id, &step, item.created, finish)?.1
                }
                None => no_plugin(&step),
            },
            Err(WorkError::Bpmn { code, message }) => StepOutcome::BpmnError { code, message, variables: Vec::new() },
            Err(WorkError::Failed { message } | WorkError::Retry { message }) => {
                StepOutcome::Failed { reason: message }
            }
        };
        self.answer(id, &step, outcome, Carrier::of(item))
    }

    /// A step that nobody waits for any more: its message is not sent, its work not done.
    pub(super) fn step_cancelled(&mut self, step: &bpmn::Id) -> Result<(), ProcessError> {
        self.tx.delete_outbox(step)?;
        if self.tx.delete_work_item(step)? {
            let (working, step) = (Arc::clone(&self.runtime.working), Arc::clone(step));
            self.tx.after_commit(move || working.cancel(&step));
        }
        Ok(())
    }

    /// The reference's text for a step that failed.
    pub(super) fn fatal(&self, id: &str, step: &bpmn::Step, reason: &str) -> String {
        let process =
            self.loaded.get(id).map(|loaded| format!("{}|{}", loaded.definition.key, loaded.definition.version));
        format!("Process {} has fatal error in step {}, reason: {reason}", process.unwrap_or_default(), step.element)
    }

    /// Queues the message of a send step, or answers the step when there is none to send.
    pub(super) fn send(&mut self, id: &str, step: &bpmn::Step) -> Result<(), ProcessError> {
        if let Some(topic) = self.topic_of(step) {
            return self.offer_outside(id, step, &topic);
        }
        let implementation = self.catalogue.implementations.sends.get(step.class.as_str()).map(Arc::clone);
        let requested = self.tx.now();
        let (message, outcome) = match implementation {
            Some(implementation) => self.in_context(id, step, requested, |context| implementation.message(context))?,
            None => (None, no_plugin(step)),
        };
        let written = outcome.clone();
        let built = message.ok_or(outcome).and_then(|message| {
            let business_key = self.loaded.get(id).map(|loaded| loaded.business_key.clone()).unwrap_or_default();
            outbox::build_task(&self.runtime.node, step, &business_key, &message, requested)
                .map(|task| (message, task))
                .map_err(|reason| StepOutcome::Failed { reason: self.fatal(id, step, &reason) })
        });
        match built {
            Ok((message, task)) => {
                self.write_variables(id, step, written);
                self.queue_message(id, step, &message, &task)
            }
            Err(StepOutcome::Failed { reason }) if reason == NO_PLUGIN => {
                self.answer(id, step, StepOutcome::Failed { reason }, Carrier::step(step))
            }
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
        message: &Message,
        task: &Resource,
    ) -> Result<(), ProcessError> {
        let instance = self.stored_id(id);
        Ok(self.runtime.sending.queue(
            self.tx,
            &self.runtime.owner,
            &NewOutboxMessage {
                id: step.step.to_string(),
                instance: Some(instance),
                step: step.step.to_string(),
                target_url: message.endpoint_url.clone(),
                target_organization: message.organization_identifier.clone(),
                body: fhir::print(fhir::Format::Json, task, false).into_bytes(),
                next_attempt: self.tx.now(),
            },
        )?)
    }

    /// The retry cycle that the model gives the element of a waiting step.
    pub(crate) fn retry_cycle_of(
        &mut self,
        id: &str,
        step: &str,
    ) -> Result<Option<bpmn::model::RetryCycle>, ProcessError> {
        if !self.load(id)? {
            return Ok(None);
        }
        Ok(self.loaded.get(id).and_then(|loaded| loaded.instance.pending_step(step)?.retry.clone()))
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
        let outcome = match self.catalogue.implementations.sends.get(step.class.as_str()).map(Arc::clone) {
            Some(implementation) => {
                self.in_context(id, &step, requested, |context| implementation.delivered(context, result))?.1
            }
            None => no_plugin(&step),
        };
        match outcome {
            StepOutcome::Failed { ref reason } if self.keeps_incident(id, reason) => {
                self.answer(id, &step, outcome, Carrier::step(&step))
            }
            outcome => {
                self.enqueue(id, Command::StepCompleted { step: step.step.clone(), outcome });
                Ok(())
            }
        }
    }

    /// Runs code of a step and collects what it wrote.
    pub(super) fn in_context<R>(
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
            failing: None,
            completing: false,
            requested,
        };
        let result = code(&mut context);
        let StepContext { writes: variables, outputs, failing, completing, .. } = context;
        let received = loaded.instance.scopes().flat_map(|scope| &scope.messages);
        let tasks: BTreeSet<String> = start_id.into_iter().map(str::to_owned).chain(received.cloned()).collect();
        if let Some(start) = start_id.map(str::to_owned) {
            self.outputs.entry(start).or_default().extend(outputs);
        }
        if let Some(reason) = failing {
            self.fail(&tasks, &reason)?;
        } else if completing {
            self.complete(&tasks)?;
        }
        Ok(match result {
            Ok(value) => (Some(value), StepOutcome::Completed { variables }),
            Err(StepError::Bpmn { code, message }) => (None, StepOutcome::BpmnError { code, message, variables }),
            Err(StepError::Failed(reason)) => (None, StepOutcome::Failed { reason }),
            Err(StepError::Store(error)) if is_final(&error) => {
                (None, StepOutcome::Failed { reason: error.to_string() })
            }
            Err(StepError::Store(error)) => return Err(error.into()),
        })
    }
}

/// What an incident of a step is kept in.
struct Carrier {
    kind: WorkKind,
    topic: String,
    input: Vec<u8>,
}

impl Carrier {
    /// A step that failed in its transaction, and is done again in one.
    fn step(step: &bpmn::Step) -> Self {
        Self { kind: WorkKind::Step, topic: step.class.clone(), input: Vec::new() }
    }

    /// Work that is done again as it was.
    fn of(item: &WorkItem) -> Self {
        Self { kind: item.kind, topic: item.topic.clone(), input: item.input.clone() }
    }
}

fn no_plugin(step: &bpmn::Step) -> StepOutcome {
    tracing::error!(element = &*step.element, class = step.class, "no plug-in implements the class");
    StepOutcome::Failed { reason: NO_PLUGIN.to_owned() }
}
