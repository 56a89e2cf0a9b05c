//! What an event of an instance asks of its host.

use bpmn::{Event, StepKind};
use store::processes::{NewInstance, NewJob};

use super::{Unit, rows, settle};
use crate::runtime::ProcessError;
use crate::{limits, user_task};

/// Revision of a row that was just inserted.
const FIRST_REVISION: u64 = 1;

/// Kind of the jobs that belong to instances.
const INSTANCE_JOB: &str = "instance";

impl Unit<'_, '_> {
    /// Does what an event asks of the host.
    pub(super) fn act(&mut self, id: &str, event: &Event) -> Result<(), ProcessError> {
        match event {
            Event::InstanceStarted { .. } => self.insert(id),
            Event::StepRequested(step) if step.kind == StepKind::Service => self.service(id, step),
            Event::StepRequested(step) => self.send(id, step),
            Event::StepCancelled { step } => self.step_cancelled(step),
            Event::JobCreated(job) => self.job_created(id, job),
            Event::JobCompleted { job } | Event::JobCancelled { job } => Ok(self.tx.delete_job(job).map(drop)?),
            Event::SubscriptionOpened(_) | Event::SubscriptionRekeyed { .. } => {
                self.waiting.insert(id.to_owned());
                Ok(())
            }
            Event::SignalThrown { name, variables, .. } => self.signal_thrown(id, name, variables),
            Event::CallRequested(call) => self.call_requested(id, call),
            Event::CallCancelled { call } => {
                self.call_cancelled(call);
                Ok(())
            }
            Event::Returned { caller, outcome } => {
                self.returned(caller, outcome);
                Ok(())
            }
            Event::UserTaskCreated(task) => self.user_task_created(id, task),
            Event::UserTaskCancelled { user_task } => Ok(user_task::close(self.tx, user_task)?),
            Event::EndEventReached { messages, .. } | Event::InstanceCompleted { messages } => self.complete(messages),
            Event::InstanceFailed { reason, messages, element } => {
                tracing::warn!(instance = id, element = element.as_deref(), reason, "instance failed");
                self.fail(messages, reason)
            }
            Event::InstanceCancelled { reason, messages } => self.fail(messages, reason),
            Event::ErrorUnhandled { element, code, .. } => {
                tracing::info!(
                    instance = id,
                    element = &**element,
                    code,
                    "BPMN error without a boundary event ended its execution"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The row of a new instance comes first: what the instance waits for refers to it. It has the state after the whole
    /// command, which for many instances is the only one.
    fn insert(&mut self, place: &str) -> Result<(), ProcessError> {
        let id = self.stored_id(place);
        let Some(loaded) = self.loaded.get_mut(place) else { return Ok(()) };
        let data = rows::serialized(&id, &loaded.instance)?;
        self.tx.insert_instance(&NewInstance {
            id,
            process_key: loaded.definition.key.clone(),
            version_tag: loaded.definition.version.clone(),
            definition_digest: loaded.definition.digest.clone(),
            business_key: loaded.business_key.clone(),
            alternative_business_key: rows::alternative_business_key(&loaded.instance),
            state: rows::state_of(&loaded.instance),
            data,
        })?;
        loaded.revision = FIRST_REVISION;
        loaded.is_stored = true;
        Ok(())
    }

    fn job_created(&mut self, id: &str, job: &bpmn::Job) -> Result<(), ProcessError> {
        let instance = self.stored_id(id);
        let payload = job.retry.as_ref().map(serde_json::to_vec).transpose();
        let payload =
            payload.map_err(|error| ProcessError::Instance { id: id.to_owned(), reason: error.to_string() })?;
        Ok(self.tx.insert_job(&NewJob {
            id: job.job.to_string(),
            instance: Some(instance),
            kind: INSTANCE_JOB.to_owned(),
            exclusive: job.exclusive,
            due: job.due.unwrap_or_else(|| self.tx.now()),
            retries: job.retry.as_ref().map_or(limits::JOB_ATTEMPTS, |retry| retry.attempts.max(1)),
            payload: payload.unwrap_or_default(),
        })?)
    }

    pub(super) fn complete<'m>(&mut self, messages: impl IntoIterator<Item = &'m String>) -> Result<(), ProcessError> {
        for message in messages {
            let outputs = self.outputs.remove(message).unwrap_or_default();
            settle::complete(self.tx, message, outputs)?;
        }
        Ok(())
    }

    pub(super) fn fail<'m>(
        &mut self,
        messages: impl IntoIterator<Item = &'m String>,
        reason: &str,
    ) -> Result<(), ProcessError> {
        for message in messages {
            let outputs = self.outputs.remove(message).unwrap_or_default();
            settle::fail(self.tx, message, outputs, reason)?;
        }
        Ok(())
    }
}
