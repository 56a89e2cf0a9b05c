//! Commands: each becomes its first events and an agenda.

use std::sync::Arc;

use serde_json::Value;

use super::command::{Command, StepOutcome, VariableWrite};
use super::engine::{Engine, Operation, Result, Stop};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{Caller, Event, JobKind};
use super::instance::{Owner, ScopeKind, Status};
use crate::ElementId;
use crate::model::{Catch, NodeKind, StartTrigger};

impl Engine<'_> {
    /// Takes a command in; the agenda does the rest.
    pub(super) fn handle(&mut self, command: Command) -> Result<(), StepError> {
        self.check_status(&command)?;
        let process = Arc::clone(&self.process.id);
        let done = match command {
            Command::Start { process: _, start_event, business_key, variables, message, caller } => {
                self.start(&start_event, business_key, caller, variables, message)
            }
            Command::Message { subscription, variables, message } => {
                self.receive_message(&subscription, variables, message)
            }
            Command::Signal { name, variables } => self.receive_signal(&name, &variables),
            Command::CallReturned { call, outcome } => self.call_returned(&call, outcome),
            Command::Job { job } => self.run_job(&job),
            Command::StepCompleted { step, outcome } => self.complete_step(&step, outcome),
            Command::UserTaskCompleted { user_task, variables } => self.complete_user_task(&user_task, variables),
            Command::UserTaskRejected { user_task, code, reason } => self.reject_user_task(&user_task, code, reason),
            Command::SetVariables { token, variables } => {
                if let Some(token) = token {
                    self.token(token)?;
                }
                self.write(token, &process, variables)?;
                Ok(())
            }
            Command::Fail { element, reason } => {
                let evidence = reason.clone();
                self.abandon(&reason, |messages| Event::InstanceFailed { element, reason: evidence, messages })?;
                Ok(())
            }
            Command::Cancel { reason } => {
                let evidence = reason.clone();
                self.abandon(&reason, |messages| Event::InstanceCancelled { reason: evidence, messages })?;
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
        caller: Option<Caller>,
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
        let instance = match &caller {
            Some(caller) => Arc::clone(&caller.call),
            None => self.new_id(),
        };
        self.append(Event::InstanceStarted {
            instance,
            caller,
            process: Arc::clone(&process.id),
            version_tag: process.version_tag.clone(),
            business_key,
            at: self.environment.now(),
        })?;
        let root = self.open_scope(None, ScopeKind::Process, &process.id)?;
        let writes = variables.into_iter().map(|(name, value)| VariableWrite { name, value: Some(value), local: true });
        self.write(None, &process.id, writes.collect())?;
        if let StartTrigger::Event { catch: Catch::Message { message: name }, .. } = trigger {
            let name = self.evaluate_text(Owner::Scope(root), &node.id, name)?;
            self.append(Event::TaskMessageReceived {
                element: Arc::clone(&node.id),
                name,
                scope: root,
                message,
                start: true,
            })?;
        }
        let token = match self.open_event_sub_processes(root)? {
            // It runs instead of the start event.
            Some(satisfied) => self.start_event_sub_process(root, satisfied, None)?,
            None => {
                let token = self.create_token(root, &node.id)?;
                self.schedule(Operation::Arrive { token, continued: false });
                token
            }
        };
        self.listen(token, &process.id, &process.listeners, ListenerEvent::Start)
    }

    fn complete_user_task(&mut self, user_task: &str, variables: Vec<VariableWrite>) -> Result<()> {
        let Some(open) = self.instance.user_tasks.get(user_task).cloned() else {
            return Err(StepError::NotOpen { kind: "user task", id: user_task.to_owned() }.into());
        };
        self.write(Some(open.token), &open.element, variables)?;
        let listened = self.listen_to_task(open.token, ListenerEvent::Complete);
        self.append(Event::UserTaskCompleted { user_task: open.user_task })?;
        match listened {
            Err(Stop::Thrown { code, message }) => Ok(self.throw(open.token, code, message)?),
            Err(other) => Err(other),
            Ok(()) => {
                self.schedule(Operation::Complete(open.token));
                Ok(())
            }
        }
    }

    fn reject_user_task(&mut self, user_task: &str, code: String, reason: String) -> Result<()> {
        let Some(open) = self.instance.user_tasks.get(user_task).cloned() else {
            return Err(StepError::NotOpen { kind: "user task", id: user_task.to_owned() }.into());
        };
        if self.catches_error(open.token, &code)? {
            return Ok(self.throw(open.token, code, Some(reason))?);
        }
        let (element, evidence) = (Some(open.element), reason.clone());
        Ok(self.abandon(&reason, |messages| Event::InstanceFailed { element, reason: evidence, messages })?)
    }

    fn run_job(&mut self, job: &str) -> Result<()> {
        let Some(open) = self.instance.jobs.get(job).cloned() else {
            return Err(StepError::NotOpen { kind: "job", id: job.to_owned() }.into());
        };
        self.append(Event::JobCompleted { job: Arc::clone(&open.job) })?;
        match (open.kind, open.owner) {
            (JobKind::AsyncBefore, Owner::Token(token)) => self.schedule(Operation::Arrive { token, continued: true }),
            (JobKind::AsyncAfter, Owner::Token(token)) => self.schedule(Operation::Depart(token)),
            (JobKind::Timer, _) => self.fire_timer(&open)?,
            (_, Owner::Scope(_)) => {
                return Err(StepError::Inconsistent("a scope has no continuation".to_owned()).into());
            }
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
                let (element, evidence) = (Some(open.element), reason.clone());
                self.abandon(&reason, |messages| Event::InstanceFailed { element, reason: evidence, messages })?;
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
            Self::CallReturned { .. } => "call returned",
            Self::Job { .. } => "job",
            Self::StepCompleted { .. } => "step completed",
            Self::UserTaskCompleted { .. } => "user task completed",
            Self::UserTaskRejected { .. } => "user task rejected",
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
