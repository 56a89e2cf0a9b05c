//! The immutable model: what a BPMN file says, as far as it is executed.
//!
//! [`Model::parse`] reads the XML into an element tree (module `xml`), turns it into the types below, and then checks
//! references and structure. Everything that would behave differently from what its author drew is an error at load: an
//! element, attribute or combination that this engine does not execute is refused by name, element id and line. Lanes,
//! data, artefacts, diagrams and foreign extensions carry no behaviour: they stay in the [`crate::Document`], which can be
//! written again as a whole.

mod activity;
mod check;
mod compensation;
mod definitions;
mod element;
mod event_definition;
mod extension;
mod mapping;
mod node;
mod reader;
mod repetition;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::{Document, ElementId};

pub use element::{
    Binding, BoundaryTrigger, CallActivity, Catch, Condition, EndResult, ErrorCatch, EscalationCatch,
    ExecutionListener, Field, FieldValue, Implementation, Mapping, MultiInstance, NodeKind, Parameter, ParameterValue,
    Repetition, StandardLoop, StartTrigger, TaskListener, Throw, UserTaskModel, VariableEvent,
};

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
    /// Codes of escalations by id.
    pub escalations: BTreeMap<ElementId, Option<String>>,
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
    /// `camunda:taskPriority`, for external work that has none of its own.
    pub task_priority: Option<Expression>,
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
    /// Event sub-processes by the process or sub-process that holds them, in document order.
    pub(crate) event_sub_processes: BTreeMap<ElementId, Vec<ElementId>>,
    /// Only then changes of variables have to be looked at.
    pub(crate) has_conditions: bool,
    /// Only then waiting joins have to be looked at.
    pub(crate) has_inclusive_joins: bool,
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
    /// Multi-instance or loop marker.
    pub repetition: Option<Repetition>,
    /// Runs only to compensate another activity.
    pub is_for_compensation: bool,
    /// Activity that compensates this one.
    pub compensation_handler: Option<ElementId>,
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
        Self::of(&Document::parse(xml).map_err(|error| vec![error])?)
    }

    /// Reads a document.
    pub fn of(document: &Document) -> Result<Self, Vec<ModelError>> {
        definitions::read(document)
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
                StartTrigger::Event { catch: Catch::Message { message }, .. } => Some((id, message.constant()?)),
                _ => None,
            })
            .collect()
    }

    /// Elements that the host executes: class, fields and the element, for checks at load.
    pub fn implementations(&self) -> impl Iterator<Item = (&Node, &Implementation)> {
        self.nodes.values().filter_map(|node| Some((node, node.implementation()?)))
    }

    /// Start events that begin with a signal, and its name.
    pub fn signal_starts(&self) -> Vec<(&ElementId, String)> {
        self.start_events()
            .filter_map(|(id, trigger)| match trigger {
                StartTrigger::Event { catch: Catch::Signal { signal }, .. } => Some((id, signal.constant()?)),
                _ => None,
            })
            .collect()
    }

    /// Start events that begin at a time.
    pub fn timer_starts(&self) -> Vec<(&ElementId, &crate::timer::Timer)> {
        self.start_events()
            .filter_map(|(id, trigger)| match trigger {
                StartTrigger::Event { catch: Catch::Timer(timer), .. } => Some((id, timer)),
                _ => None,
            })
            .collect()
    }

    /// Start events that begin when a condition over given variables is true.
    pub fn condition_starts(&self) -> Vec<(&ElementId, &Condition)> {
        self.start_events()
            .filter_map(|(id, trigger)| match trigger {
                StartTrigger::Event { catch: Catch::Condition(condition), .. } => Some((id, condition)),
                _ => None,
            })
            .collect()
    }

    /// Event sub-processes of a process or sub-process.
    pub(crate) fn event_sub_processes_of(&self, container: &str) -> &[ElementId] {
        self.event_sub_processes.get(container).map_or(&[], Vec::as_slice)
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

// === impl Document ===

impl Document {
    /// Reads a file as XML. Errors are those of XML only; whether the model can be executed says [`Model::of`].
    pub fn parse(xml: &[u8]) -> Result<Self, ModelError> {
        crate::xml::read(xml).map_err(|error| ModelError {
            element: "document".to_owned(),
            line: error.line,
            text: error.text,
        })
    }
}

// === impl ModelError ===

impl fmt::Display for ModelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}: {}", self.line, self.element, self.text)
    }
}
