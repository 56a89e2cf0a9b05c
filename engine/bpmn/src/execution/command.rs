//! Commands: what the host may ask of an instance. One command is one [`crate::step`] and one database transaction.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{CallOutcome, Caller};
use super::instance::TokenId;
use crate::{ElementId, Id};

/// What happens to an instance next. Every command either runs completely or leaves the instance untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Starts a process. Only valid on an empty instance ([`crate::Instance::default`]).
    Start {
        /// `id` of the process in the model.
        process: String,
        /// Start event to begin at; see [`crate::Process::message_start`] and [`crate::Process::none_start`].
        start_event: ElementId,
        /// Business key by which messages find the instance.
        business_key: Option<String>,
        /// Variables of the instance.
        variables: Vec<(String, Value)>,
        /// The host's name for the message (its Task id) that caused the start; comes back in `EndEventReached`.
        message: Option<String>,
        /// The call that starts it; gives the instance its id.
        caller: Option<Caller>,
    },
    /// Delivers a message to an open message subscription, consuming it.
    Message {
        /// The subscription that the host found by message name, business key and correlation key.
        subscription: Id,
        /// Variables of the message, set where they exist or else on the instance.
        variables: Vec<(String, Value)>,
        /// The host's name for the message (its Task id); comes back in `EndEventReached`.
        message: Option<String>,
    },
    /// Delivers a signal to every subscription of this name in the instance. Without any, nothing happens.
    Signal {
        /// Name of the signal.
        name: String,
        /// Variables that it carries.
        variables: Vec<(String, Value)>,
    },
    /// A called process ended or escalated.
    CallReturned {
        /// The call as announced by `CallRequested`.
        call: Id,
        /// What came of it.
        outcome: CallOutcome,
    },
    /// Runs a due job: a timer that fired or an async continuation.
    Job {
        /// The job as announced by `JobCreated`.
        job: Id,
    },
    /// Answers a `StepRequested`.
    StepCompleted {
        /// The step as announced by `StepRequested`.
        step: Id,
        /// What came of it.
        outcome: StepOutcome,
    },
    /// Completes a user task.
    UserTaskCompleted {
        /// The user task as announced by `UserTaskCreated`.
        user_task: Id,
        /// Variables that the answer brings.
        variables: Vec<VariableWrite>,
    },
    /// Ends a user task that nobody will complete: a BPMN error looks for its boundary event, and without one the instance
    /// fails. An end that nobody planned for must not look like a completed task.
    UserTaskRejected {
        /// The user task as announced by `UserTaskCreated`.
        user_task: Id,
        /// Error code, compared with the `errorCode` of boundary events.
        code: String,
        /// Why; the message of the error.
        reason: String,
    },
    /// Writes variables from outside, e.g. by an operator. Conditional events react to it.
    SetVariables {
        /// Token whose scope chain is written to; `None` writes to the instance itself.
        token: Option<TokenId>,
        /// What to write.
        variables: Vec<VariableWrite>,
    },
    /// Gives the instance up: everything that waits is cancelled and the instance is `Failed`.
    Fail {
        /// Element at which it failed, if any.
        element: Option<ElementId>,
        /// Reason, kept as evidence.
        reason: String,
    },
    /// Ends the instance on an operator's request: everything that waits is cancelled and the instance is `Cancelled`.
    Cancel {
        /// Reason, kept as evidence.
        reason: String,
    },
}

/// Result of a step that the host executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum StepOutcome {
    /// The step is done; the process goes on with these variables.
    Completed {
        /// Variables that the step wrote, in order.
        variables: Vec<VariableWrite>,
    },
    /// The step threw a BPMN error. Variables are written first, then the error looks for its boundary event.
    BpmnError {
        /// Error code, compared with the `errorCode` of boundary events.
        code: String,
        /// Message for `errorMessageVariable`.
        message: Option<String>,
        /// Variables written before the error was thrown.
        variables: Vec<VariableWrite>,
    },
    /// The step failed for good (retries used up); the instance fails as with [`Command::Fail`].
    Failed {
        /// Reason, kept as evidence.
        reason: String,
    },
}

/// One variable written by a step, listener, user task or operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableWrite {
    /// Name of the variable.
    pub name: String,
    /// New value; `None` removes the variable. A JSON `null` is a value.
    pub value: Option<Value>,
    /// `true` writes to the local scope of the execution; `false` writes where the variable exists, else to the instance.
    pub local: bool,
}

// === impl StepOutcome ===

impl StepOutcome {
    /// A completed step that wrote nothing.
    pub fn completed() -> Self {
        Self::Completed { variables: Vec::new() }
    }
}

// === impl VariableWrite ===

impl VariableWrite {
    /// Writes where the variable exists, else to the instance.
    pub fn set(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: Some(value.into()), local: false }
    }

    /// Writes to the local scope of the execution.
    pub fn set_local(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: Some(value.into()), local: true }
    }

    /// Removes the variable where it is found.
    pub fn remove(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None, local: false }
    }
}
