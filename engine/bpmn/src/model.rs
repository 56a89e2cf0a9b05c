//! The immutable model: what a BPMN file says, as far as it is executed.
//!
//! [`Model::parse`] reads the XML into an element tree (module `xml`), turns it into the types below, and then checks
//! references and structure. Everything that would behave differently from what its author drew is an error at load: an
//! element, attribute or combination that this engine does not execute is refused by name, element id and line. Lanes,
//! data, artefacts, diagrams and foreign extensions carry no behaviour and are passed over.

mod check;
mod definitions;
mod event_definition;
mod extension;
mod node;
mod reader;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ElementId;
use crate::expression::Expression;
use crate::timer::Timer;

/// A BPMN file.
#[derive(Debug, Clone)]
pub struct Model {
    /// `id` of the definitions element.
    pub id: Option<String>,
    /// Its target name space.
    pub target_namespace: Option<String>,
    /// Messages by id.
    pub messages: BTreeMap<ElementId, Message>,
    /// Signals by id.
    pub signals: BTreeMap<ElementId, Signal>,
    /// Errors by id.
    pub errors: BTreeMap<ElementId, ErrorDeclaration>,
    /// Processes in document order.
    pub processes: Vec<Process>,
}

/// A `message` element.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its name; may hold an expression.
    pub name: Expression,
}

/// A `signal` element.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Its name; may hold an expression.
    pub name: Expression,
}

/// An `error` element.
#[derive(Debug, Clone)]
pub struct ErrorDeclaration {
    /// `errorCode`; none catches every error.
    pub code: Option<String>,
    /// `camunda:errorMessage`, the message that an error end event throws.
    pub message: Option<Expression>,
}

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// `id`, in DSF the key of the process.
    pub id: ElementId,
    /// `name`.
    pub name: Option<String>,
    /// `isExecutable`.
    pub is_executable: bool,
    /// `camunda:versionTag`.
    pub version_tag: Option<String>,
    /// `camunda:historyTimeToLive` as written.
    pub history_time_to_live: Option<String>,
    /// Execution listeners of the process itself.
    pub listeners: Vec<ExecutionListener>,
    /// Flow nodes of the process and all its sub-processes by id.
    pub nodes: BTreeMap<ElementId, Node>,
    /// Sequence flows by id.
    pub flows: BTreeMap<ElementId, SequenceFlow>,
    /// Line of the element.
    pub line: u32,
    /// Sequence flows in document order, which decides in which order conditions are tried.
    pub(crate) flow_order: Vec<ElementId>,
    /// Only then changes of variables have to be looked at.
    pub(crate) has_conditions: bool,
}

/// A flow node.
#[derive(Debug, Clone)]
pub struct Node {
    /// `id`.
    pub id: ElementId,
    /// `name`.
    pub name: Option<String>,
    /// Line of the element in the file.
    pub line: u32,
    /// Sub-process that holds it; none at the level of the process.
    pub parent: Option<ElementId>,
    /// What it is.
    pub kind: NodeKind,
    /// Incoming sequence flows in document order.
    pub incoming: Vec<ElementId>,
    /// Outgoing sequence flows in document order.
    pub outgoing: Vec<ElementId>,
    /// `default` flow.
    pub default_flow: Option<ElementId>,
    /// Boundary events attached to it, in document order.
    pub boundary_events: Vec<ElementId>,
    /// Continues in a job before it is entered and/or after it is left.
    pub asynchronous: Asynchronous,
    /// Execution listeners in document order.
    pub listeners: Vec<ExecutionListener>,
    /// `inputParameter`s in document order.
    pub inputs: Vec<Parameter>,
    /// `outputParameter`s in document order.
    pub outputs: Vec<Parameter>,
    /// Parallel multi-instance marker.
    pub multi_instance: Option<MultiInstance>,
}

/// `asyncBefore`, `asyncAfter`, `exclusive` and the retry cycle of an element.
#[derive(Debug, Clone, Default)]
pub struct Asynchronous {
    /// A job is made before the element is entered.
    pub before: bool,
    /// A job is made after the element was left.
    pub after: bool,
    /// Jobs of the element must not run beside others of the instance.
    pub exclusive: bool,
    /// `failedJobRetryTimeCycle`.
    pub retry: Option<RetryCycle>,
}

/// Automatic retries of a job or step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryCycle {
    /// How often it is tried; `0` and `1` both mean once, without retry.
    pub attempts: u32,
    /// Seconds to wait before each further attempt; the last entry repeats.
    pub intervals: Vec<u64>,
}

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
    /// Interrupting boundary event.
    BoundaryEvent {
        /// Activity to which it is attached.
        attached_to: ElementId,
        /// What triggers it.
        trigger: BoundaryTrigger,
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
    UserTask {
        /// `formKey`.
        form_key: Option<Expression>,
        /// Task listeners.
        listeners: Vec<TaskListener>,
    },
    /// Task without a type, or manual task: passed through.
    Task,
    /// Exclusive gateway.
    ExclusiveGateway,
    /// Parallel gateway.
    ParallelGateway,
    /// Event-based gateway.
    EventBasedGateway,
    /// Embedded sub-process.
    SubProcess {
        /// Its none start event.
        start: ElementId,
    },
}

/// What starts a process or sub-process.
#[derive(Debug, Clone)]
pub enum StartTrigger {
    /// The host, or the sub-process being entered.
    None,
    /// A message.
    Message {
        /// Its name.
        message: Expression,
    },
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
    },
    /// Throws a BPMN error.
    Error {
        /// Its code.
        code: String,
        /// Its message.
        message: Option<Expression>,
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
    },
}

/// What an intermediate catch event waits for.
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
    /// A BPMN error.
    Error {
        /// Code that it catches; none catches all.
        code: Option<String>,
        /// Variable that takes the code.
        code_variable: Option<String>,
        /// Variable that takes the message.
        message_variable: Option<String>,
    },
    /// A message.
    Message {
        /// Its name.
        message: Expression,
    },
    /// A timer.
    Timer(Timer),
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
    /// A class name that the host maps to a step.
    Class {
        /// The class.
        class: String,
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
    /// `create`, `complete`, ...
    pub event: String,
    /// Implementation class.
    pub class: String,
    /// Injected fields.
    pub fields: Vec<Field>,
}

/// An input or output parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name of the variable that it sets.
    pub name: String,
    /// Its value; none sets `null`.
    pub value: Option<Expression>,
}

/// A parallel multi-instance marker.
#[derive(Debug, Clone)]
pub struct MultiInstance {
    /// Collection to iterate over.
    pub collection: Expression,
    /// Local variable that takes the element.
    pub element_variable: Option<String>,
    /// Asynchronous continuation of every single instance.
    pub asynchronous: Asynchronous,
}

/// A sequence flow.
#[derive(Debug, Clone)]
pub struct SequenceFlow {
    /// `id`.
    pub id: ElementId,
    /// `name`.
    pub name: Option<String>,
    /// Line of the element in the file.
    pub line: u32,
    /// Where it begins.
    pub source: ElementId,
    /// Where it ends.
    pub target: ElementId,
    /// Condition.
    pub condition: Option<Expression>,
    /// Listeners that are called when it is taken.
    pub listeners: Vec<ExecutionListener>,
}

/// Why a model was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct ModelError {
    /// `id` of the element, or its name when it has none.
    pub element: String,
    /// Line in the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub text: String,
}

// === impl Model ===

impl Model {
    /// Reads a BPMN 2.0 file.
    ///
    /// Errors are reported together, in document order, at most [`crate::limits::MODEL_ERRORS`] of them. Processes that are
    /// not executable (black-box pools, documentation) are passed over; a file without any executable process is refused.
    pub fn parse(xml: &[u8]) -> Result<Self, Vec<ModelError>> {
        definitions::parse(xml)
    }

    /// The process of this id.
    pub fn process(&self, id: &str) -> Option<&Process> {
        self.processes.iter().find(|process| &*process.id == id)
    }
}

// === impl Process ===

impl Process {
    /// The flow node of this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The sequence flow of this id.
    pub fn flow(&self, id: &str) -> Option<&SequenceFlow> {
        self.flows.get(id)
    }

    /// The none start event of the process.
    pub fn none_start(&self) -> Option<&ElementId> {
        self.start_events().find(|(_, trigger)| matches!(trigger, StartTrigger::None)).map(|(id, _)| id)
    }

    /// The start event that begins with this message.
    pub fn message_start(&self, name: &str) -> Option<&ElementId> {
        self.message_starts().into_iter().find(|(_, message)| message == name).map(|(id, _)| id)
    }

    /// Start events that begin with a message, and the names of these messages.
    pub fn message_starts(&self) -> Vec<(&ElementId, String)> {
        self.start_events()
            .filter_map(|(id, trigger)| match trigger {
                StartTrigger::Message { message } => Some((id, message.constant()?)),
                StartTrigger::None => None,
            })
            .collect()
    }

    /// Elements that the host executes: class, fields and the element, for checks at load.
    pub fn implementations(&self) -> impl Iterator<Item = (&Node, &Implementation)> {
        self.nodes.values().filter_map(|node| Some((node, node.implementation()?)))
    }

    fn start_events(&self) -> impl Iterator<Item = (&ElementId, &StartTrigger)> {
        self.nodes.values().filter(|node| node.parent.is_none()).filter_map(|node| match &node.kind {
            NodeKind::StartEvent(trigger) => Some((&node.id, trigger)),
            _ => None,
        })
    }
}

// === impl Node ===

impl Node {
    /// The implementation that the host executes for this node.
    pub fn implementation(&self) -> Option<&Implementation> {
        match &self.kind {
            NodeKind::ServiceTask(implementation)
            | NodeKind::SendTask(implementation)
            | NodeKind::IntermediateThrowEvent(Throw::Message(implementation))
            | NodeKind::EndEvent(EndResult::Message(implementation)) => Some(implementation),
            _ => None,
        }
    }
}

// === impl ModelError ===

impl fmt::Display for ModelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}: {}", self.line, self.element, self.text)
    }
}
