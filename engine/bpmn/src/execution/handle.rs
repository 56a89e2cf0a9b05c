//! Commands: each becomes its first events and an agenda.

use std::sync::Arc;

use serde_json::Value;

use super::command::{Command, StepOutcome, VariableWrite};
use super::engine::{Engine, Operation, Result};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{Event, JobKind};
use super::instance::{ScopeKind, Status};
use crate::ElementId;
use crate::model::{NodeKind, StartTrigger};

impl Engine<'_> {
    /// Takes a command in; the agenda does the rest.
    pub(super) fn handle(&mut self, command: Command) -> Result<(), StepError> {
        self.check_status(&command)?;
        let process = Arc::clone(&self.process.id);
        let done = match command {
            Command::Start { process: _, start_event, business_key, variables, message } => {
                self.start(&start_event, business_key, variables, message)
            }
            Command::Message { subscription, variables, message } => {
                self.receive_message(&subscription, variables, message)
            }
            Command::Signal { name } => self.receive_signal(&name),
            Command::Job { job } => self.run_job(&job),
            Command::StepCompleted { step, outcome } => self.complete_step(&step, outcome),
            Command::UserTaskCompleted { user_task, variables } => {
                let Some(open) = self.instance.user_tasks.get(&user_task).cloned() else {
                    return Err(StepError::NotOpen { kind: "user task", id: user_task.to_string() });
                };
                self.append(Event::UserTaskCompleted { user_task })?;
                self.write(Some(open.token), &open.element, variables)?;
                self.schedule(Operation::Complete(open.token));
                Ok(())
            }
            Command::SetVariables { token, variables } => {
                if let Some(token) = token {
                    self.token(token)?;
                }
                self.write(token, &process, variables)?;
                Ok(())
            }
            Command::Fail { element, reason } => {
                self.abandon(|messages| Event::InstanceFailed { element, reason, messages })?;
                Ok(())
            }
            Command::Cancel { reason } => {
                self.abandon(|messages| Event::InstanceCancelled { reason, messages })?;
                Ok(())
            }
        };
        done.map_err(|stop| stop.into_error(&process))
    }

    fn check_status(&self, command: &Command) -> Result<(), StepError> {
        let is_start = matches!(command, Command::Start { .. });
        match (self.instance.status(), is_start) {
            (Status::New, true) | (Status::Active, false) => Ok(()),
            (status, _) => Err(StepError::Status { status: status.name(), command: command.name() }),
        }
    }

    fn start(
        &mut self,
        start_event: &ElementId,
        business_key: Option<String>,
        variables: Vec<(String, Value)>,
        message: Option<String>,
    ) -> Result<()> {
        let process = self.process;
        let node = self.node(start_event)?;
        let NodeKind::StartEvent(trigger) = &node.kind else {
            return Err(StepError::UnknownElement(start_event.to_string()).into());
        };
        if node.parent.is_some() {
            return self.refuse(&node.id, "start event of a sub-process does not start the process");
        }
        let instance = self.new_id();
        self.append(Event::InstanceStarted {
            instance,
            process: Arc::clone(&process.id),
            version_tag: process.version_tag.clone(),
            business_key,
            at: self.environment.now(),
        })?;
        let root = self.open_scope(None, ScopeKind::Process, &process.id)?;
        let writes = variables.into_iter().map(|(name, value)| VariableWrite { name, value: Some(value), local: true });
        self.write(None, &process.id, writes.collect())?;
        let token = self.create_token(root, &node.id)?;
        if let StartTrigger::Message { message: name } = trigger {
            let name = self.evaluate_text(token, &node.id, name)?;
            self.append(Event::TaskMessageReceived {
                element: Arc::clone(&node.id),
                name,
                scope: root,
                message,
                start: true,
            })?;
        }
        self.listen(token, &process.id, &process.listeners, ListenerEvent::Start)?;
        self.schedule(Operation::Arrive { token, continued: false });
        Ok(())
    }

    fn run_job(&mut self, job: &str) -> Result<()> {
        let Some(open) = self.instance.jobs.get(job).cloned() else {
            return Err(StepError::NotOpen { kind: "job", id: job.to_owned() }.into());
        };
        self.append(Event::JobCompleted { job: open.job })?;
        match open.kind {
            JobKind::AsyncBefore => self.schedule(Operation::Arrive { token: open.token, continued: true }),
            JobKind::AsyncAfter => self.schedule(Operation::Depart(open.token)),
            JobKind::Timer => self.trigger_at(open.token, &open.element)?,
        }
        Ok(())
    }

    fn complete_step(&mut self, step: &str, outcome: StepOutcome) -> Result<()> {
        let Some(open) = self.instance.steps.get(step).cloned() else {
            return Err(StepError::NotOpen { kind: "step", id: step.to_owned() }.into());
        };
        self.append(Event::StepCompleted { step: open.step })?;
        match outcome {
            StepOutcome::Completed { variables } => {
                self.write(Some(open.token), &open.element, variables)?;
                super::element::step_completed(self, open.token)?;
            }
            StepOutcome::BpmnError { code, message, variables } => {
                self.write(Some(open.token), &open.element, variables)?;
                self.throw(open.token, code, message)?;
            }
            StepOutcome::Failed { reason } => {
                let element = Some(open.element);
                self.abandon(|messages| Event::InstanceFailed { element, reason, messages })?;
            }
        }
        Ok(())
    }
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Message { .. } => "message",
            Self::Signal { .. } => "signal",
            Self::Job { .. } => "job",
            Self::StepCompleted { .. } => "step completed",
            Self::UserTaskCompleted { .. } => "user task completed",
            Self::SetVariables { .. } => "set variables",
            Self::Fail { .. } => "fail",
            Self::Cancel { .. } => "cancel",
        }
    }
}

impl Status {
    fn name(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}
