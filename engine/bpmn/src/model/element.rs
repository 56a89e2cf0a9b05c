//! What the elements of a process are and do: the vocabulary that is executed.

use crate::ElementId;
use crate::expression::Expression;
use crate::timer::Timer;

use super::Asynchronous;

/// Kinds of flow node that are executed.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// Start event.
    StartEvent(StartTrigger),
    /// End event.
    EndEvent(EndResult),
    /// Intermediate throw event.
    IntermediateThrowEvent(Throw),
    /// Intermediate catch event.
    IntermediateCatchEvent(Catch),
    /// Link throw event.
    LinkThrowEvent {
        /// Name of the link.
        name: String,
        /// The catch event of this name beside it.
        target: Option<ElementId>,
    },
    /// Link catch event.
    LinkCatchEvent {
        /// Name of the link.
        name: String,
    },
    /// Boundary event.
    BoundaryEvent {
        /// Activity to which it is attached.
        attached_to: ElementId,
        /// What triggers it.
        trigger: BoundaryTrigger,
        /// Cancels the activity.
        interrupting: bool,
    },
    /// Service task.
    ServiceTask(Implementation),
    /// Send task.
    SendTask(Implementation),
    /// Receive task.
    ReceiveTask {
        /// Name of the message.
        message: Expression,
    },
    /// User task.
    UserTask(UserTaskModel),
    /// Script task whose script is an expression.
    ScriptTask {
        /// The script.
        script: Expression,
        /// Variable that takes the result.
        result_variable: Option<String>,
    },
    /// Task without a type, or manual task: passed through.
    Task,
    /// Call activity.
    CallActivity(CallActivity),
    /// Exclusive gateway.
    ExclusiveGateway,
    /// Parallel gateway.
    ParallelGateway,
    /// Inclusive gateway.
    InclusiveGateway,
    /// Event-based gateway.
    EventBasedGateway,
    /// Embedded sub-process.
    SubProcess {
        /// Its none start event.
        start: ElementId,
    },
    /// Event sub-process.
    EventSubProcess {
        /// Its start event, which has a trigger.
        start: ElementId,
    },
}

/// What starts a process or sub-process.
#[derive(Debug, Clone)]
pub enum StartTrigger {
    /// The host, or the sub-process being entered.
    None,
    /// A message, timer, signal or condition.
    Event {
        /// What is waited for.
        catch: Catch,
        /// In an event sub-process: cancels what runs beside it.
        interrupting: bool,
    },
    /// A BPMN error, in an event sub-process.
    Error(ErrorCatch),
    /// An escalation, in an event sub-process.
    Escalation {
        /// What is caught.
        catch: EscalationCatch,
        /// Cancels what runs beside it.
        interrupting: bool,
    },
    /// Compensation of the enclosing sub-process.
    Compensation,
}

/// What an end event does.
#[derive(Debug, Clone)]
pub enum EndResult {
    /// Nothing.
    None,
    /// Sends a message.
    Message(Implementation),
    /// Throws a signal.
    Signal {
        /// Its name.
        signal: Expression,
        /// Variables that it carries.
        payload: Vec<Mapping>,
    },
    /// Throws a BPMN error.
    Error {
        /// Its code.
        code: Expression,
        /// Its message.
        message: Option<Expression>,
    },
    /// Throws an escalation.
    Escalation {
        /// Its code.
        code: Option<String>,
    },
    /// Ends everything in its scope.
    Terminate,
    /// Compensates.
    Compensation {
        /// Only this activity.
        activity: Option<ElementId>,
    },
}

/// What an intermediate throw event does.
#[derive(Debug, Clone)]
pub enum Throw {
    /// Nothing.
    None,
    /// Sends a message.
    Message(Implementation),
    /// Throws a signal.
    Signal {
        /// Its name.
        signal: Expression,
        /// Variables that it carries.
        payload: Vec<Mapping>,
    },
    /// Throws an escalation.
    Escalation {
        /// Its code.
        code: Option<String>,
    },
    /// Compensates.
    Compensation {
        /// Only this activity.
        activity: Option<ElementId>,
    },
}

/// What an event waits for.
#[derive(Debug, Clone)]
pub enum Catch {
    /// A message.
    Message {
        /// Its name.
        message: Expression,
    },
    /// A timer.
    Timer(Timer),
    /// A signal.
    Signal {
        /// Its name.
        signal: Expression,
    },
    /// A condition.
    Condition(Condition),
}

/// What triggers a boundary event.
#[derive(Debug, Clone)]
pub enum BoundaryTrigger {
    /// A message, timer, signal or condition.
    Event(Catch),
    /// A BPMN error.
    Error(ErrorCatch),
    /// An escalation.
    Escalation(EscalationCatch),
    /// Compensation of the activity, by the activity that is associated with the event.
    Compensation {
        /// The compensating activity.
        handler: Option<ElementId>,
    },
}

/// Which BPMN errors are caught.
#[derive(Debug, Clone)]
pub struct ErrorCatch {
    /// Code that is caught; none catches all.
    pub code: Option<String>,
    /// Variable that takes the code.
    pub code_variable: Option<String>,
    /// Variable that takes the message.
    pub message_variable: Option<String>,
}

/// Which escalations are caught.
#[derive(Debug, Clone)]
pub struct EscalationCatch {
    /// Code that is caught; none catches all.
    pub code: Option<String>,
    /// Variable that takes the code.
    pub code_variable: Option<String>,
}

/// A condition over variables.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The expression.
    pub expression: Expression,
    /// Only changes of this variable are looked at.
    pub variable: Option<String>,
    /// Only these kinds of change are looked at; empty is all.
    pub events: Vec<VariableEvent>,
}

/// Kind of change of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableEvent {
    /// It did not exist.
    Create,
    /// It existed.
    Update,
    /// It was removed.
    Delete,
}

/// How an activity or event is implemented.
#[derive(Debug, Clone)]
pub enum Implementation {
    /// A class name (or delegate expression, as written) that the host maps to a step.
    Class {
        /// The class.
        class: String,
        /// `taskPriority`, for where the host has workers do the class.
        priority: Option<Expression>,
        /// Injected fields.
        fields: Vec<Field>,
    },
    /// Work for an external worker.
    External {
        /// Topic under which workers fetch it.
        topic: Expression,
        /// `taskPriority`; else that of the process.
        priority: Option<Expression>,
        /// Injected fields.
        fields: Vec<Field>,
    },
    /// An expression that the engine evaluates.
    Expression {
        /// The expression.
        expression: Expression,
        /// Variable that takes the result.
        result_variable: Option<String>,
    },
}

/// A field injected into an implementation.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: FieldValue,
}

/// Value of a field.
#[derive(Debug, Clone)]
pub enum FieldValue {
    /// Text taken literally, also when it looks like an expression.
    Literal(String),
    /// An expression.
    Expression(Expression),
}

/// An execution listener.
#[derive(Debug, Clone)]
pub struct ExecutionListener {
    /// When it is called.
    pub event: crate::ListenerEvent,
    /// What is called.
    pub implementation: Implementation,
}

/// A task listener of a user task.
#[derive(Debug, Clone)]
pub struct TaskListener {
    /// When it is called: create, assignment, complete or delete.
    pub event: crate::ListenerEvent,
    /// What is called.
    pub implementation: Implementation,
}

/// A user task.
#[derive(Debug, Clone, Default)]
pub struct UserTaskModel {
    /// `formKey`.
    pub form_key: Option<Expression>,
    /// `assignee`.
    pub assignee: Option<Expression>,
    /// `candidateUsers`, comma separated or a list.
    pub candidate_users: Option<Expression>,
    /// `candidateGroups`, comma separated or a list.
    pub candidate_groups: Option<Expression>,
    /// `dueDate`.
    pub due: Option<Expression>,
    /// `followUpDate`.
    pub follow_up: Option<Expression>,
    /// `priority`.
    pub priority: Option<Expression>,
    /// `documentation`.
    pub description: Option<Expression>,
    /// Task listeners.
    pub listeners: Vec<TaskListener>,
}

/// A call activity.
#[derive(Debug, Clone)]
pub struct CallActivity {
    /// Key of the called process.
    pub called: Expression,
    /// Which version of it.
    pub binding: Binding,
    /// Variables handed over.
    pub inputs: Vec<Mapping>,
    /// Business key of the called instance.
    pub business_key: Option<Expression>,
    /// Variables handed back.
    pub outputs: Vec<Mapping>,
}

/// Which version of a process is called.
#[derive(Debug, Clone)]
pub enum Binding {
    /// The newest.
    Latest,
    /// The one of the same deployment as the caller.
    Deployment,
    /// The one with this version tag.
    VersionTag(Expression),
}

/// A variable passed to or from a called process or a signal (`camunda:in`, `camunda:out`).
#[derive(Debug, Clone)]
pub enum Mapping {
    /// All variables.
    All {
        /// Only those of the local scope (in), or to the local scope (out).
        local: bool,
    },
    /// One variable.
    Variable {
        /// Its value.
        source: Expression,
        /// `false`: `source` is the name of a variable, and a missing one gives null.
        is_expression: bool,
        /// Name at the receiver.
        target: String,
        /// To the local scope of the receiver.
        local: bool,
    },
}

/// An input or output parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name of the variable that it sets.
    pub name: String,
    /// Its value.
    pub value: ParameterValue,
}

/// Value of a parameter.
#[derive(Debug, Clone)]
pub enum ParameterValue {
    /// `null`.
    Null,
    /// Text, expression or script that is an expression.
    Expression(Expression),
    /// A list.
    List(Vec<Self>),
    /// A map.
    Map(Vec<(String, Self)>),
}

/// An activity that runs more than once.
#[derive(Debug, Clone)]
pub enum Repetition {
    /// Multi-instance marker.
    MultiInstance(MultiInstance),
    /// Loop marker.
    Standard(StandardLoop),
}

/// A multi-instance marker.
#[derive(Debug, Clone)]
pub struct MultiInstance {
    /// One instance after the other.
    pub sequential: bool,
    /// `loopCardinality`.
    pub cardinality: Option<Expression>,
    /// Collection to iterate over.
    pub collection: Option<Expression>,
    /// Local variable that takes the element.
    pub element_variable: Option<String>,
    /// `completionCondition`, looked at after every instance.
    pub completion: Option<Expression>,
    /// Asynchronous continuation of every single instance.
    pub asynchronous: Asynchronous,
}

/// A loop marker.
#[derive(Debug, Clone)]
pub struct StandardLoop {
    /// The condition is looked at before the first instance too.
    pub test_before: bool,
    /// Most instances.
    pub maximum: Option<usize>,
    /// Goes on while it is true.
    pub condition: Option<Expression>,
    /// Asynchronous continuation of every single instance.
    pub asynchronous: Asynchronous,
}

// === impl NodeKind ===

impl NodeKind {
    /// `true` for tasks, call activities and sub-processes.
    pub(crate) fn is_activity(&self) -> bool {
        matches!(
            self,
            Self::ServiceTask(_)
                | Self::SendTask(_)
                | Self::ReceiveTask { .. }
                | Self::UserTask(_)
                | Self::ScriptTask { .. }
                | Self::Task
                | Self::CallActivity(_)
                | Self::SubProcess { .. }
        )
    }
}

// === impl Repetition ===

impl Repetition {
    /// Asynchronous continuation of every single instance.
    pub fn asynchronous(&self) -> &Asynchronous {
        match self {
            Self::MultiInstance(marker) => &marker.asynchronous,
            Self::Standard(marker) => &marker.asynchronous,
        }
    }
}
