//! What an operator does with instances: cancel one, and with incidents: retry the step, or resolve it by hand.

use bpmn::{Command, StepOutcome, VariableWrite};
use store::processes::{WorkItem, WorkItemList};
use store::{StoreError, Transaction};

use super::unit::rows;
use super::{ProcessError, Runtime, Unit, fail_instance};
use crate::limits;

/// Why an operator's command is not done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// There is no such instance.
    #[error("there is no instance {0}; `schleuse instance list` shows them")]
    Unknown(String),
    /// It has ended.
    #[error("instance {id} is {state}; only one that runs can be changed")]
    Ended {
        /// Which.
        id: String,
        /// Its state.
        state: &'static str,
    },
    /// It has no incident.
    #[error("instance {0} has no incident; `schleuse incident list` shows those that have")]
    NoIncident(String),
    /// The database failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl From<StoreError> for OperateError {
    fn from(error: StoreError) -> Self {
        Self::Process(error.into())
    }
}

impl Runtime {
    /// Ends a running instance: everything that waits is cancelled, its Tasks fail with the reason.
    pub fn cancel_instance(&self, tx: &mut Transaction<'_>, id: &str, reason: &str) -> Result<(), OperateError> {
        let row = running(tx, id)?;
        if rows::read(&self.catalogue(), &row).is_err() {
            return Ok(fail_instance(self, tx, id, reason)?);
        }
        let mut unit = Unit::new(self, tx);
        unit.enqueue(id, Command::Cancel { reason: reason.to_owned() });
        Ok(unit.run()?)
    }

    /// Has the failed steps of an instance tried again, and its jobs run at once; gives how many these are.
    pub fn retry_instance(&self, tx: &mut Transaction<'_>, id: &str) -> Result<usize, OperateError> {
        running(tx, id)?;
        let now = tx.now();
        let items = incidents(tx, Some(id))?;
        for item in &items {
            tx.set_work_retries(&item.id, limits::WORK_ATTEMPTS, now)?;
        }
        let mut count = items.len();
        for job in tx.jobs_of(id)?.into_iter().filter(|job| job.failure.is_some() && job.locked_by.is_none()) {
            tx.reschedule_job(&job.id, now, job.retries.max(1), job.failure.as_deref())?;
            count += 1;
        }
        if count == 0 {
            return Err(OperateError::NoIncident(id.to_owned()));
        }
        self.restate(tx, id)?;
        Ok(count)
    }

    /// Goes on behind the failed steps of an instance as if they had ended well and written these variables.
    pub fn resolve_instance(
        &self,
        tx: &mut Transaction<'_>,
        id: &str,
        variables: &[VariableWrite],
    ) -> Result<usize, OperateError> {
        running(tx, id)?;
        let items = incidents(tx, Some(id))?;
        if items.is_empty() {
            return Err(OperateError::NoIncident(id.to_owned()));
        }
        for item in &items {
            tx.delete_work_item(&item.id)?;
        }
        let mut unit = Unit::new(self, tx);
        for item in &items {
            let outcome = StepOutcome::Completed { variables: variables.to_vec() };
            unit.enqueue(id, Command::StepCompleted { step: item.id.as_str().into(), outcome });
        }
        unit.run()?;
        Ok(items.len())
    }

    /// Stores the state that follows from the incidents that are left.
    fn restate(&self, tx: &mut Transaction<'_>, id: &str) -> Result<(), ProcessError> {
        let mut unit = Unit::new(self, tx);
        unit.touch(id)?;
        unit.run()
    }
}

/// Steps that wait for an operator, of one instance or of all.
pub(crate) fn incidents(tx: &mut Transaction<'_>, instance: Option<&str>) -> Result<Vec<WorkItem>, StoreError> {
    let list = WorkItemList {
        instance: instance.map(str::to_owned),
        is_exhausted: Some(true),
        limit: limits::LOG_PAGE,
        ..WorkItemList::default()
    };
    tx.work_items(&list)
}

fn running(tx: &mut Transaction<'_>, id: &str) -> Result<store::processes::Instance, OperateError> {
    let row = tx.lock_instance(id)?.ok_or_else(|| OperateError::Unknown(id.to_owned()))?;
    match row.state.has_ended() {
        true => Err(OperateError::Ended { id: id.to_owned(), state: row.state.as_str() }),
        false => Ok(row),
    }
}
