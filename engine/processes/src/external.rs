//! External workers: steps whose model names a topic instead of a class. A worker fetches them, works for as long as its
//! lock holds, and reports; the transaction of the report moves the instance on. What a worker sees and may do is what
//! Operaton's external tasks permit; the HTTP interface is the engine's (`workers`).
//!
//! Invariants:
//! - A task is reported once: its item is removed by the transaction that records the report, and only who holds the lock
//!   (or held it last, with nobody after) may report.
//! - A worker sees and touches tasks of its topics alone; others do not exist for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bpmn::{Command, StepOutcome, VariableWrite};
use serde_json::Value;
use store::processes::{ExternalFetch, WorkItem, WorkKind};
use store::{StoreError, Transaction};
use time::{Duration, OffsetDateTime};

use crate::limits;
use crate::runtime::{ProcessError, Runtime, Unit, fail_instance, read_instance};

/// Who asks: the name that a worker gives itself, and the topics that its credential permits.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name.
    pub id: String,
    /// Its topics.
    pub topics: Arc<BTreeSet<String>>,
}

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct FetchTopic {
    /// Topic and filters.
    pub fetch: ExternalFetch,
    /// How long the tasks are locked.
    pub lock: Duration,
    /// Only these variables; all without a list.
    pub variables: Option<BTreeSet<String>>,
    /// Only the variables of the execution itself.
    pub is_local: bool,
}

/// Which of several topics comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOrder {
    /// In the order of the request.
    Topics,
    /// The one with the task of the highest priority (`usePriority`).
    Priority,
}

/// A task that is locked for a worker.
#[derive(Clone, Debug)]
pub struct ExternalTask {
    /// What is stored of it.
    pub item: WorkItem,
    /// Digest of the definition of its process.
    pub definition: String,
    /// The execution that waits: a number in its instance.
    pub execution: u32,
    /// Injected fields of the element.
    pub fields: BTreeMap<String, Value>,
    /// Variables as the element sees them.
    pub variables: BTreeMap<String, Value>,
}

/// Why a worker's request is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// There is no such task, for this worker.
    #[error("External task with id {0} does not exist")]
    Missing(String),
    /// The task is not locked by this worker.
    #[error("External Task {id} cannot be {action} by worker '{worker}'. It is locked by worker '{holder}'.")]
    NotHeld {
        /// The task.
        id: String,
        /// What was asked for.
        action: &'static str,
        /// Who asked.
        worker: String,
        /// Who has it.
        holder: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
    /// The database failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl From<StoreError> for ExternalError {
    fn from(error: StoreError) -> Self {
        Self::Process(error.into())
    }
}

/// A report of a worker about one task.
#[derive(Clone, Debug)]
pub enum Report {
    /// It is done.
    Completed {
        /// What it wrote.
        variables: Vec<VariableWrite>,
    },
    /// It failed; with attempts left it is offered again after a pause.
    Failed {
        /// Why.
        message: String,
        /// More about that.
        details: Option<String>,
        /// Attempts that are left.
        retries: u32,
        /// Pause before the next.
        pause: Duration,
        /// What it wrote.
        variables: Vec<VariableWrite>,
    },
    /// A BPMN error.
    Error {
        /// Code.
        code: String,
        /// Message.
        message: Option<String>,
        /// What it wrote.
        variables: Vec<VariableWrite>,
    },
}

impl Runtime {
    /// Whether something of these topics can be fetched now, or when at the latest to look again.
    pub fn next_external(
        tx: &mut Transaction<'_>,
        topics: &[FetchTopic],
    ) -> Result<Option<OffsetDateTime>, ProcessError> {
        let now = tx.now();
        let mut next: Option<OffsetDateTime> = None;
        for topic in topics {
            if let Some(time) = tx.next_external(&topic.fetch.topic, now)? {
                next = Some(next.map_or(time, |known| known.min(time)));
            }
        }
        Ok(next)
    }

    /// Locks tasks for a worker, the highest priority of a topic first: of each topic in turn, or whatever their topic.
    pub fn fetch_external(
        &self,
        tx: &mut Transaction<'_>,
        worker: &Worker,
        topics: &[FetchTopic],
        order: FetchOrder,
        most: u32,
    ) -> Result<Vec<ExternalTask>, ExternalError> {
        let now = tx.now();
        let mut offered: Vec<(WorkItem, &FetchTopic)> = Vec::new();
        for topic in topics.iter().filter(|topic| worker.topics.contains(&topic.fetch.topic)) {
            let room = match order {
                FetchOrder::Topics => most.saturating_sub(u32::try_from(offered.len()).unwrap_or(u32::MAX)),
                FetchOrder::Priority => most,
            };
            if room == 0 {
                break;
            }
            let items = tx.offered_external(&topic.fetch, now, room)?;
            // A topic that is named twice is not offered twice.
            let items = items.into_iter().filter(|item| !offered.iter().any(|(known, _)| known.id == item.id));
            let items: Vec<_> = items.map(|item| (item, topic)).collect();
            offered.extend(items);
        }
        if order == FetchOrder::Priority {
            offered.sort_by(|(a, _), (b, _)| (b.priority, a.created, &a.id).cmp(&(a.priority, b.created, &b.id)));
            offered.truncate(most as usize);
        }
        let (mut tasks, mut bytes) = (Vec::new(), 0);
        for (item, topic) in offered {
            // What does not fit stays for the next request. One always does.
            if bytes >= limits::FETCHED_BYTES {
                break;
            }
            bytes += tx.instance_size(&item.instance)?;
            for item in tx.lock_all(vec![item], &worker.id, now + topic.lock)? {
                match self.external_task(tx, item, topic)? {
                    Ok(task) => tasks.push(task),
                    // Nobody waits for it: its instance is beyond repair and ends when it is looked at next.
                    Err(item) => drop(tx.delete_work_item(&item.id)?),
                }
            }
        }
        metrics::counter!("schleuse_external_tasks_fetched_total").increment(tasks.len() as u64);
        Ok(tasks)
    }

    /// The task with what a worker needs to know, or the item again if its instance does not wait for it.
    fn external_task(
        &self,
        tx: &mut Transaction<'_>,
        item: WorkItem,
        topic: &FetchTopic,
    ) -> Result<Result<ExternalTask, WorkItem>, StoreError> {
        let Some(row) = tx.instance(&item.instance)? else { return Ok(Err(item)) };
        let Ok((definition, instance)) = read_instance(&self.catalogue(), &row) else { return Ok(Err(item)) };
        let Some(step) = instance.pending_step(&item.id) else { return Ok(Err(item)) };
        let seen = instance.variables(step.token);
        let variables = if topic.is_local { seen.local_map() } else { seen.to_map() };
        let is_wanted = |name: &String| topic.variables.as_ref().is_none_or(|wanted| wanted.contains(name));
        let variables = variables.into_iter().filter(|(name, _)| is_wanted(name));
        let variables = variables.map(|(name, value)| (name, (*value).clone())).collect();
        let (execution, fields) = (step.token.0, step.fields.clone());
        Ok(Ok(ExternalTask { item, definition: definition.digest.clone(), execution, fields, variables }))
    }

    /// A task of the worker's topics, whoever holds it.
    pub fn external_item(tx: &mut Transaction<'_>, worker: &Worker, id: &str) -> Result<WorkItem, ExternalError> {
        let found = tx.lock_work_item(id)?.filter(|item| item.kind == WorkKind::External);
        let found = found.filter(|item| worker.topics.contains(&item.topic));
        found.ok_or_else(|| ExternalError::Missing(id.to_owned()))
    }

    /// A task that the worker holds, or held last.
    fn held(
        tx: &mut Transaction<'_>,
        worker: &Worker,
        id: &str,
        action: &'static str,
    ) -> Result<WorkItem, ExternalError> {
        let item = Self::external_item(tx, worker, id)?;
        if item.locked_by.as_deref() == Some(&worker.id) {
            return Ok(item);
        }
        Err(ExternalError::NotHeld {
            id: id.to_owned(),
            action,
            worker: worker.id.clone(),
            holder: item.locked_by.unwrap_or_else(|| "null".to_owned()),
        })
    }

    /// Records what a worker says about a task.
    pub fn report_external(
        &self,
        tx: &mut Transaction<'_>,
        worker: &Worker,
        id: &str,
        report: Report,
    ) -> Result<(), ExternalError> {
        let (action, label) = match &report {
            Report::Completed { .. } => ("completed", "completed"),
            Report::Failed { .. } => ("failed", "failed"),
            Report::Error { .. } => ("ended with a BPMN error", "bpmn-error"),
        };
        let item = Self::held(tx, worker, id, action)?;
        metrics::counter!("schleuse_external_tasks_reported_total", "result" => label).increment(1);
        let outcome = match report {
            Report::Completed { variables } => StepOutcome::Completed { variables },
            Report::Error { code, message, variables } => StepOutcome::BpmnError { code, message, variables },
            Report::Failed { message, details, retries, pause, variables } => {
                let text = |text: &str| text.chars().take(limits::ERROR_TEXT).collect::<String>();
                let details: Option<String> =
                    details.map(|details| details.chars().take(limits::ERROR_DETAILS).collect());
                if retries > 0 {
                    let due = tx.now() + pause;
                    tx.fail_work_item(id, &worker.id, retries, due, &text(&message), details.as_deref())?;
                    return Ok(self.write_for(tx, &item, variables)?);
                }
                tracing::warn!(task = id, element = item.element, worker = worker.id, details, "external task failed");
                StepOutcome::Failed { reason: text(&message) }
            }
        };
        tx.complete_work_item(id, &worker.id)?;
        let moved = tx.attempt(|tx| {
            let mut unit = Unit::new(self, tx);
            unit.worked_outside(&item, outcome)?;
            unit.run()
        });
        match moved {
            Err(error) if error.is_final() => Ok(fail_instance(self, tx, &item.instance, &error.to_string())?),
            other => Ok(other?),
        }
    }

    /// Variables that come with a failure which is not the last.
    fn write_for(
        &self,
        tx: &mut Transaction<'_>,
        item: &WorkItem,
        variables: Vec<VariableWrite>,
    ) -> Result<(), ProcessError> {
        if variables.is_empty() {
            return Ok(());
        }
        let Some(row) = tx.instance(&item.instance)? else { return Ok(()) };
        let token = read_instance(&self.catalogue(), &row)
            .ok()
            .and_then(|(_, instance)| instance.pending_step(&item.id).map(|step| step.token));
        let mut unit = Unit::new(self, tx);
        unit.enqueue(&item.instance, Command::SetVariables { token, variables });
        unit.run()
    }

    /// Sets the end of the worker's lock to a time from now.
    pub fn extend_external(
        tx: &mut Transaction<'_>,
        worker: &Worker,
        id: &str,
        lock: Duration,
    ) -> Result<(), ExternalError> {
        Self::held(tx, worker, id, "extended")?;
        let until = tx.now() + lock;
        tx.extend_work_lock(id, &worker.id, until)?;
        Ok(())
    }

    /// Locks a task that nobody holds, or prolongs the worker's own lock.
    pub fn lock_external(
        tx: &mut Transaction<'_>,
        worker: &Worker,
        id: &str,
        lock: Duration,
    ) -> Result<(), ExternalError> {
        let item = Self::external_item(tx, worker, id)?;
        let now = tx.now();
        match item.locked_by {
            Some(holder) if holder != worker.id && item.locked_until > now => {
                Err(ExternalError::NotHeld { id: id.to_owned(), action: "locked", worker: worker.id.clone(), holder })
            }
            _ => Ok(tx.lock_work_for(id, &worker.id, now + lock)?),
        }
    }

    /// Gives up the lock of a task, whoever holds it.
    pub fn unlock_external(tx: &mut Transaction<'_>, worker: &Worker, id: &str) -> Result<(), ExternalError> {
        Self::external_item(tx, worker, id)?;
        tx.unlock_work_item(id)?;
        Ok(())
    }
}
