//! Events: everything that can change an instance, and everything that the host has to act on.
//!
//! The list of events of an instance is its history: [`crate::Instance::apply`] on each of them, in order, gives the
//! instance. Each variant says what a host has to do with it; those without such a sentence only move state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use time::OffsetDateTime;

use super::environment::ListenerEvent;
use super::instance::{ScopeId, ScopeKind, TokenId, TokenState, VariableOwner};
use crate::model::RetryCycle;
use crate::{ElementId, Id};

/// One change of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The instance exists.
    InstanceStarted {
        /// Id of the instance.
        instance: Id,
        /// Process of the model.
        process: ElementId,
        /// Version tag of the process.
        version_tag: Option<String>,
        /// Business key.
        business_key: Option<String>,
        /// Time of the start.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// A scope for variables was opened: the process, a sub-process, a multi-instance body, or one activity.
    ScopeOpened {
        /// The new scope.
        scope: ScopeId,
        /// What it is the scope of.
        kind: ScopeKind,
        /// The element.
        element: ElementId,
        /// Token inside whose activity the scope lies; none for the process.
        parent: Option<TokenId>,
    },
    /// A scope ended; its variables are gone, unsettled messages pass to the enclosing scope.
    ScopeClosed {
        /// The scope.
        scope: ScopeId,
    },
    /// A token was created.
    TokenCreated {
        /// The new token.
        token: TokenId,
        /// Scope in which it moves.
        scope: ScopeId,
        /// Element at which it begins.
        element: ElementId,
    },
    /// A token took a sequence flow.
    FlowTaken {
        /// The token.
        token: TokenId,
        /// The sequence flow.
        flow: ElementId,
        /// Element at which it arrived.
        target: ElementId,
    },
    /// A token was moved to an event by its trigger (boundary event, event behind an event-based gateway).
    TokenMoved {
        /// The token.
        token: TokenId,
        /// The event.
        element: ElementId,
    },
    /// A token waits, or goes on.
    TokenStateChanged {
        /// The token.
        token: TokenId,
        /// What it waits for.
        state: TokenState,
    },
    /// A token ended.
    TokenEnded {
        /// The token.
        token: TokenId,
    },
    /// An element began. For the history of an instance.
    ElementEntered {
        /// The token.
        token: TokenId,
        /// The element.
        element: ElementId,
    },
    /// An element ended normally. For the history of an instance.
    ElementLeft {
        /// The token.
        token: TokenId,
        /// The element.
        element: ElementId,
    },
    /// An element was cancelled by an interrupting event or the end of the instance. For the history of an instance.
    ElementCancelled {
        /// The token.
        token: TokenId,
        /// The element.
        element: ElementId,
    },
    /// An execution listener was called. For the history of an instance.
    ListenerCalled {
        /// The token.
        token: TokenId,
        /// The element.
        element: ElementId,
        /// Implementation class.
        class: String,
        /// When.
        on: ListenerEvent,
    },
    /// A variable was created or changed.
    VariableSet {
        /// Where it lives.
        owner: VariableOwner,
        /// Its name.
        name: String,
        /// Its value.
        value: Arc<Value>,
    },
    /// A variable was removed.
    VariableRemoved {
        /// Where it lived.
        owner: VariableOwner,
        /// Its name.
        name: String,
    },
    /// Host: execute the step after commit, then answer with `Command::StepCompleted`.
    StepRequested(Step),
    /// A step was answered.
    StepCompleted {
        /// The step.
        step: Id,
    },
    /// Host: the step is no longer wanted; drop it, a late answer is refused.
    StepCancelled {
        /// The step.
        step: Id,
    },
    /// Host: run `Command::Job` when due (at once when without due time).
    JobCreated(Job),
    /// The job ran; host: remove it.
    JobCompleted {
        /// The job.
        job: Id,
    },
    /// Host: remove the job, it must not run any more.
    JobCancelled {
        /// The job.
        job: Id,
    },
    /// Host (message and signal): deliver what matches with `Command::Message` or `Command::Signal`.
    SubscriptionOpened(Subscription),
    /// The correlation key of a message subscription changed with its local variable; host: update the stored subscription.
    SubscriptionRekeyed {
        /// The subscription.
        subscription: Id,
        /// The new correlation key.
        correlation_key: Option<String>,
    },
    /// Host: remove the subscription; it was consumed or is no longer wanted.
    SubscriptionClosed {
        /// The subscription.
        subscription: Id,
    },
    /// A signal was thrown. Subscriptions of this very instance were served already; host: deliver it to every **other**
    /// instance that waits for it, and to signal start events.
    SignalThrown {
        /// Element that threw it.
        element: ElementId,
        /// Name of the signal.
        name: String,
    },
    /// Host: offer the user task, then answer with `Command::UserTaskCompleted`.
    UserTaskCreated(UserTask),
    /// A user task was completed.
    UserTaskCompleted {
        /// The user task.
        user_task: Id,
    },
    /// Host: withdraw the user task.
    UserTaskCancelled {
        /// The user task.
        user_task: Id,
    },
    /// A message (in DSF a Task) was taken by an element and now belongs to the scope.
    TaskMessageReceived {
        /// Element that took it.
        element: ElementId,
        /// Name of the message.
        name: String,
        /// Scope to which it belongs until an end event of this scope is reached.
        scope: ScopeId,
        /// The host's name for it, from the command.
        message: Option<String>,
        /// `true` for the message that started the instance.
        start: bool,
    },
    /// An end event was reached. Host: complete the listed messages (DSF: Tasks `in-progress` to `completed`), newest first.
    EndEventReached {
        /// The end event.
        element: ElementId,
        /// Scope that it belongs to.
        scope: ScopeId,
        /// `true` when the root execution reached it, which settles the start message too.
        root: bool,
        /// Messages that this settles, newest first; the start message comes last.
        messages: Vec<String>,
    },
    /// A BPMN error found no boundary event: the execution ended here as at a none end event. Host: log it.
    ErrorUnhandled {
        /// Element that threw it.
        element: ElementId,
        /// Error code.
        code: String,
        /// Error message.
        message: Option<String>,
    },
    /// Every token ended. Host: settle the messages left over (no end event settled them), remove the instance.
    InstanceCompleted {
        /// Messages that no end event settled.
        messages: Vec<String>,
    },
    /// The instance was given up. Host: settle its messages as failed.
    InstanceFailed {
        /// Element at which it failed.
        element: Option<ElementId>,
        /// Evidence.
        reason: String,
        /// Messages that no end event settled.
        messages: Vec<String>,
    },
    /// The instance was cancelled by an operator. Host: settle its messages.
    InstanceCancelled {
        /// Evidence.
        reason: String,
        /// Messages that no end event settled.
        messages: Vec<String>,
    },
}

/// A step that the host executes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Id of the step, which stays the same over its retries.
    pub step: Id,
    /// Token that waits for it; gives the variables ([`crate::Instance::variables`]).
    pub token: TokenId,
    /// The element.
    pub element: ElementId,
    /// Innermost sub-process, multi-instance branch or process scope; the messages (Tasks) of this scope are "current".
    pub scope: ScopeId,
    /// Kind of step.
    pub kind: StepKind,
    /// Implementation class as named in the model.
    pub class: String,
    /// Injected fields, evaluated.
    pub fields: BTreeMap<String, Value>,
    /// Automatic retries that the model asks for.
    pub retry: Option<RetryCycle>,
}

/// Kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Service task.
    Service,
    /// Send task.
    SendTask,
    /// Intermediate message throw event.
    MessageThrow,
    /// Message end event.
    MessageEnd,
}

/// Something that runs later by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Id of the job.
    pub job: Id,
    /// Token to which it belongs.
    pub token: TokenId,
    /// Element that continues, or the timer event that fires.
    pub element: ElementId,
    /// Kind of job.
    pub kind: JobKind,
    /// When it is due; `None` is at once.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub due: Option<OffsetDateTime>,
    /// `false` allows it to run beside other jobs of the instance.
    pub exclusive: bool,
    /// Automatic retries that the model asks for.
    pub retry: Option<RetryCycle>,
}

/// Kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Continues by entering the element (`asyncBefore`).
    AsyncBefore,
    /// Continues by leaving the element (`asyncAfter`).
    AsyncAfter,
    /// Fires a timer event.
    Timer,
}

/// A wait for something from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Id of the subscription.
    pub subscription: Id,
    /// Token to which it belongs.
    pub token: TokenId,
    /// Event (or receive task) that is triggered.
    pub element: ElementId,
    /// What it waits for.
    pub trigger: Trigger,
}

/// What a subscription waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "kebab-case")]
pub enum Trigger {
    /// A message of exactly this name; with a correlation key only one that carries the same.
    Message {
        /// Name of the message.
        name: String,
        /// Value of the local variable `correlationKey`, if set and a string.
        correlation_key: Option<String>,
    },
    /// A signal of exactly this name.
    Signal {
        /// Name of the signal.
        name: String,
    },
    /// A condition over variables; the engine itself watches it, the host has nothing to do.
    Condition,
}

/// A task for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserTask {
    /// Id of the user task (DSF's item `user-task-id`).
    pub user_task: Id,
    /// Token that waits for it.
    pub token: TokenId,
    /// The element.
    pub element: ElementId,
    /// Name of the element.
    pub name: Option<String>,
    /// Innermost sub-process, multi-instance branch or process scope.
    pub scope: ScopeId,
    /// `formKey`, evaluated (DSF: canonical of the Questionnaire).
    pub form_key: Option<String>,
    /// Task listeners of the model, with evaluated fields.
    pub listeners: Vec<Listener>,
}

/// A task listener as declared in the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// `create`, `complete`, ...
    pub event: String,
    /// Implementation class.
    pub class: String,
    /// Injected fields, evaluated.
    pub fields: BTreeMap<String, Value>,
}
