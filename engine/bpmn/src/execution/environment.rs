//! What the engine may ask of its host while a command runs: the time, fresh ids, and execution listeners.
//!
//! Listeners run synchronously inside the command because a model relies on their effect at that very place (DSF's ping
//! sets the correlation key of an event-based gateway in a `start` listener). They are therefore pure: they read
//! variables and return writes. Anything with a side effect is a step, which the host runs after its transaction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::command::VariableWrite;
use super::instance::Variables;
use crate::ElementId;

/// Time, ids and listeners of the host.
pub trait Environment {
    /// Present time; must not change while one command runs.
    fn now(&self) -> OffsetDateTime;

    /// A fresh identifier, unique among all instances of the host (a UUID in production, a counter in tests).
    fn new_id(&mut self) -> String;

    /// Runs an execution or task listener and returns the variables that it writes.
    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError>;
}

/// A call of an execution or task listener.
#[derive(Debug)]
pub struct ListenerCall<'a> {
    /// Implementation class as named in the model; the host maps it to a function.
    pub class: &'a str,
    /// When in the life of the element the listener is called.
    pub event: ListenerEvent,
    /// The element (or sequence flow) that declares the listener.
    pub element: &'a ElementId,
    /// Injected fields, evaluated.
    pub fields: &'a BTreeMap<String, Value>,
    /// Variables as the element sees them.
    pub variables: Variables<'a>,
}

/// When a listener is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerEvent {
    /// The element is entered, before its behaviour.
    Start,
    /// The element is left, after its behaviour.
    End,
    /// The sequence flow is taken.
    Take,
    /// The user task was created.
    Create,
    /// The user task got an assignee.
    Assignment,
    /// The user task is completed, before its element is left.
    Complete,
    /// The user task is withdrawn.
    Delete,
}

/// Why a listener did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenerError {
    /// The listener threw a BPMN error, which looks for its boundary event like that of a step.
    #[error("bpmn error {code}")]
    Bpmn {
        /// Error code.
        code: String,
        /// Error message.
        message: Option<String>,
    },
    /// The listener failed; the command is refused and the instance stays as it was.
    #[error("{0}")]
    Failed(String),
}
