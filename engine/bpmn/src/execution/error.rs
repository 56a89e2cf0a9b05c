//! Why a command could not run. The instance is unchanged after every one of these.

use crate::ElementId;

/// A refused command. The instance is as it was before; the host retries, records an incident or fails the instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The model has no such process or element: the instance belongs to another version of the model.
    #[error("model has no element {0}")]
    UnknownElement(String),
    /// The subscription, job, step or user task is not (or no longer) open: a late or repeated command.
    #[error("{kind} {id} is not open")]
    NotOpen {
        /// `subscription`, `job`, `step` or `user task`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// The instance does not take this command in its state, e.g. a second start or anything after its end.
    #[error("instance is {status} and does not take {command}")]
    Status {
        /// Status of the instance.
        status: &'static str,
        /// Name of the command.
        command: &'static str,
    },
    /// An expression, condition, timer or listener of an element failed, or a gateway found no flow to take.
    #[error("element {element}: {text}")]
    Element {
        /// The element.
        element: ElementId,
        /// What went wrong.
        text: String,
    },
    /// A bound of [`crate::limits`] was reached.
    #[error("limit reached at element {element}: {limit}")]
    Limit {
        /// The element.
        element: ElementId,
        /// Which bound.
        limit: &'static str,
    },
    /// The instance or the events to replay contradict themselves: they were altered outside this crate.
    #[error("instance is inconsistent: {0}")]
    Inconsistent(String),
}
