//! Joins endpoint and processes: a Task that the endpoint stores goes to the runtime in the same transaction.

use std::sync::Arc;

use endpoint::{HandlerError, TaskHandler};
use fhir::Resource;
use processes::{AnswerError, ProcessError, Runtime};
use store::Transaction;

pub(crate) struct Tasks(pub(crate) Arc<Runtime>);

impl TaskHandler for Tasks {
    fn task_created(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, HandlerError> {
        self.0.accept(tx, task).map_err(|error| match error {
            ProcessError::Store(error) => error.into(),
            other => HandlerError::Other(other.to_string()),
        })
    }

    fn answered(&self, tx: &mut Transaction<'_>, response: &Resource) -> Result<(), HandlerError> {
        self.0.answered(tx, response).map_err(|error| match error {
            AnswerError::Refused(reason) => HandlerError::Refused(reason),
            AnswerError::Process(ProcessError::Store(error)) => error.into(),
            AnswerError::Process(other) => HandlerError::Other(other.to_string()),
        })
    }

    /// The workers are woken by the store itself, which knows when a commit has left them something to do.
    fn committed(&self) {}
}
