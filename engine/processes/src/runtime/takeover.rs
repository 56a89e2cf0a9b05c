//! The takeover at the start: Tasks that no part of this engine looks after.
//!
//! - `requested`: they were left for a foreign engine (`processes = "none"`), or restored from a backup. With processes
//!   installed they are accepted now, oldest first, exactly as if they had just arrived: each starts or continues an
//!   instance, waits in the inbox, or fails with the reference's reason.
//! - `in-progress` without an instance or inbox row: a foreign engine had taken them. Nothing will ever move them, so they
//!   fail and say why.
//! - Instances that cannot be read or whose definition is gone: they end with their Tasks, now instead of at their next
//!   message or timer.
//!
//! All of it runs beside normal work. Each Task is one transaction that looks at its status again, so a Task that arrives
//! or moves meanwhile is never touched twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fhir::ResourceType;
use store::processes::InstanceList;
use store::{ReadFilter, Transaction};
use tokio::sync::watch;

use super::unit::rows;
use super::{ProcessError, Runtime, condemn, pause, settle};
use crate::{limits, task};

/// Why a Task without an instance fails.
const NOT_CONTINUED: &str =
    "no process instance of this node continues this Task: the engine that took it over is not in use any more";

/// What nobody looks after.
#[derive(Debug, Default)]
struct Orphans {
    tasks: Vec<String>,
    /// Instances with the reason why they cannot go on.
    instances: Vec<(String, String)>,
}

/// Runs once to the end, or until `stop`.
pub(super) async fn work(runtime: Arc<Runtime>, mut stop: watch::Receiver<bool>) {
    if runtime.installed().is_empty() {
        // A foreign engine is at work; its Tasks are not ours.
        return;
    }
    let mut attempts = 0;
    while attempts < limits::TAKEOVER_ATTEMPTS && !*stop.borrow() {
        match take_over(&runtime, &stop).await {
            Ok(()) => return,
            Err(error) => {
                attempts += 1;
                tracing::error!(%error, attempts, "Tasks of an earlier time could not be taken over yet");
                pause(&mut stop, Duration::from_secs(1)).await;
            }
        }
    }
}

/// Takes over everything that is there now.
pub(crate) async fn take_over(runtime: &Arc<Runtime>, stop: &watch::Receiver<bool>) -> Result<(), ProcessError> {
    let shared = Arc::clone(runtime);
    let orphans = runtime.store.read(move |tx| orphans(&shared, tx)).await?;
    let requested = runtime.store.read(|tx| with_status(tx, "requested")).await?;
    if !(orphans.tasks.is_empty() && orphans.instances.is_empty() && requested.is_empty()) {
        let (tasks, instances) = (orphans.tasks.len(), orphans.instances.len());
        tracing::info!(
            requested = requested.len(),
            abandoned = tasks,
            instances,
            "Tasks of an earlier time are taken over"
        );
    }
    for (id, reason) in orphans.instances {
        let shared = Arc::clone(runtime);
        runtime.store.write(move |tx| condemn::give_up(&shared, tx, &id, &reason)).await?;
    }
    for id in orphans.tasks {
        runtime.store.write(move |tx| settle::fail(tx, &id, Vec::new(), NOT_CONTINUED)).await?;
    }
    for id in requested {
        if *stop.borrow() {
            return Ok(());
        }
        let shared = Arc::clone(runtime);
        let accept = move |tx: &mut Transaction<'_>| match task::read(tx, &id)? {
            Some(task) => shared.accept(tx, &task).map(drop),
            None => Ok(()),
        };
        runtime.store.write(accept).await?;
    }
    Ok(())
}

/// Ids of the Tasks with this status, the longest unchanged first.
fn with_status(tx: &mut Transaction<'_>, status: &str) -> Result<Vec<String>, ProcessError> {
    let search = format!("status={status}&_sort=_lastUpdated");
    let mut query = fhir::search::parse_query_in(&tx.context().as_context(), ResourceType::Task, &search);
    query.count = limits::BATCH;
    let mut ids = Vec::new();
    for page in 1.. {
        query.page = page;
        let result = tx.search(&query, &ReadFilter::everything())?;
        let is_last = result.matches.is_empty() || query.offset() + u64::from(limits::BATCH) >= result.total;
        ids.extend(result.matches.into_iter().map(|stored| stored.id));
        if is_last {
            break;
        }
    }
    Ok(ids)
}

fn orphans(runtime: &Runtime, tx: &mut Transaction<'_>) -> Result<Orphans, ProcessError> {
    let mut orphans = Orphans::default();
    let mut owned = BTreeSet::new();
    let mut list = InstanceList { ended: Some(false), limit: limits::BATCH, ..InstanceList::default() };
    loop {
        let page = tx.instances(&list)?;
        let Some(last) = page.last() else { break };
        list.after = Some((last.created, last.id.clone()));
        for row in page {
            match rows::read(&runtime.catalogue(), &row) {
                Ok((_, instance)) => {
                    owned.extend(instance.start_message().map(str::to_owned));
                    owned.extend(instance.scopes().flat_map(|scope| scope.messages.iter().cloned()));
                }
                Err(reason) => orphans.instances.push((row.id, reason)),
            }
        }
    }
    for id in with_status(tx, "in-progress")? {
        if !owned.contains(&id) && !is_buffered(tx, &id)? {
            orphans.tasks.push(id);
        }
    }
    Ok(orphans)
}

fn is_buffered(tx: &mut Transaction<'_>, id: &str) -> Result<bool, ProcessError> {
    let Some(task) = task::read(tx, id)? else { return Ok(false) };
    let Some(key) = task::message_input(&task, crate::terms::BUSINESS_KEY) else { return Ok(false) };
    Ok(tx.inbox_of(key)?.iter().any(|message| message.task_id == id))
}
