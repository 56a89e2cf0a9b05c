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
use super::instance::{Owner, ScopeId, ScopeKind, TokenId, TokenState};
use crate::model::RetryCycle;
use crate::timer::Repeat;
use crate::{ElementId, Id, VariableMap};

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
        /// The instance that called this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<Caller>,
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
        owner: Owner,
        /// Its name.
        name: String,
        /// Its value.
        value: Arc<Value>,
    },
    /// A variable was removed.
    VariableRemoved {
        /// Where it lived.
        owner: Owner,
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
        /// Variables that it carries.
        #[serde(default, skip_serializing_if = "VariableMap::is_empty")]
        variables: VariableMap,
    },
    /// An escalation was thrown. For the history of an instance.
    EscalationThrown {
        /// Element that threw it.
        element: ElementId,
        /// Its code.
        code: Option<String>,
        /// Event that caught it; none if nothing in this instance did.
        caught: Option<ElementId>,
    },
    /// Host: start the called process with the call as the id of its instance ([`super::command::Command::Start`]), in the
    /// same transaction; if it cannot be started answer with `Command::CallReturned`.
    CallRequested(Call),
    /// The called process ended.
    CallCompleted {
        /// The call.
        call: Id,
    },
    /// Host: cancel the called instance.
    CallCancelled {
        /// The call.
        call: Id,
    },
    /// Something to tell the instance that called this one. Host: give it `Command::CallReturned`.
    Returned {
        /// The calling instance and its call.
        caller: Caller,
        /// What came of it.
        outcome: CallOutcome,
    },
    /// An activity that can be compensated completed.
    CompensationRecorded {
        /// Scope in which it can be compensated.
        scope: ScopeId,
        /// The activity.
        activity: ElementId,
        /// The activity that compensates it.
        handler: Option<ElementId>,
        /// Scope of the completed sub-process: its variables and what completed in it are kept.
        from: Option<ScopeId>,
        /// Token of one of several instances, whose variables are kept.
        instance: Option<TokenId>,
    },
    /// What completed in a multi-instance body can now be compensated from outside.
    CompensationsMoved {
        /// The body.
        from: ScopeId,
        /// Scope around it.
        into: ScopeId,
    },
    /// Compensation was thrown: completed activities wait for it in the scope of the throwing event.
    CompensationStarted {
        /// Scope in which the activities completed.
        from: ScopeId,
        /// Scope of the throwing event.
        into: ScopeId,
        /// Only this activity.
        activity: Option<ElementId>,
    },
    /// The newest of the activities that wait for compensation is taken.
    CompensationTaken {
        /// Scope in which it waits.
        from: ScopeId,
        /// Token that runs the compensation.
        token: TokenId,
        /// Scope that takes the variables and completed activities of a sub-process.
        into: Option<ScopeId>,
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
    /// Implementation class as named in the model; empty for external work.
    pub class: String,
    /// Topic under which an external worker fetches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// External work of higher priority is fetched first; none is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Injected fields, evaluated.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// Automatic retries that the model asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// Token, or scope of an event sub-process, to which it belongs.
    pub owner: Owner,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryCycle>,
    /// The rest of a timer cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
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
    /// Token, or scope of an event sub-process, to which it belongs.
    pub owner: Owner,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Innermost sub-process, multi-instance branch or process scope.
    pub scope: ScopeId,
    /// `formKey`, evaluated (DSF: canonical of the Questionnaire).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form_key: Option<String>,
    /// `assignee`, evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// `candidateUsers`, evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_users: Vec<String>,
    /// `candidateGroups`, evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_groups: Vec<String>,
    /// `dueDate`, evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub due: Option<OffsetDateTime>,
    /// `followUpDate`, evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub follow_up: Option<OffsetDateTime>,
    /// `priority`, evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// `documentation`, evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Task listeners of the model that are classes, with evaluated fields. The engine has them called; they are named
    /// here for a host that does more at the creation of the task (DSF: the QuestionnaireResponse).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
}

/// A task listener as declared in the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// When it is called.
    pub event: ListenerEvent,
    /// Implementation class.
    pub class: String,
    /// Injected fields, evaluated.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
}

/// A call of another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Id of the call, and of the called instance.
    pub call: Id,
    /// Token that waits for it.
    pub token: TokenId,
    /// The call activity.
    pub element: ElementId,
    /// Key of the called process.
    pub process: String,
    /// Which version of it.
    pub binding: CallBinding,
    /// Business key of the called instance.
    pub business_key: Option<String>,
    /// Its variables.
    pub variables: VariableMap,
}

/// Which version of a process is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallBinding {
    /// The newest.
    Latest,
    /// The one of the same deployment as the caller.
    Deployment,
    /// The one with this version tag.
    VersionTag(String),
}

/// An open call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCall {
    /// Id of the call, and of the called instance.
    pub call: Id,
    /// Token that waits for it.
    pub token: TokenId,
    /// The call activity.
    pub element: ElementId,
}

/// The instance and call that a called instance answers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The calling instance.
    pub instance: Id,
    /// Its call.
    pub call: Id,
}

/// What a called process tells its caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum CallOutcome {
    /// It ended.
    Completed {
        /// Its variables.
        variables: VariableMap,
    },
    /// It ended with a BPMN error that nothing in it caught.
    BpmnError {
        /// Error code.
        code: String,
        /// Error message.
        message: Option<String>,
        /// Its variables.
        variables: VariableMap,
    },
    /// It threw an escalation that nothing in it caught, and goes on.
    Escalated {
        /// Escalation code.
        code: Option<String>,
        /// Its variables.
        variables: VariableMap,
    },
    /// It failed, or could not be started.
    Failed {
        /// Evidence.
        reason: String,
    },
}
