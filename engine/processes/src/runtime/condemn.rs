//! Ending an instance that cannot end by itself: what a job, a message or the start found to be beyond repair.

use store::processes::{InstanceState, InstanceUpdate};
use store::{StoreError, Transaction};

use bpmn::{Caller, Command};

use super::{ProcessError, Runtime, Unit, answers, settle};
use crate::{limits, user_task};

/// Ends the instance with its Tasks for this reason, in order if it can be read and stored, else by [`condemn`].
pub(crate) fn fail_instance(
    runtime: &Runtime,
    tx: &mut Transaction<'_>,
    id: &str,
    reason: &str,
) -> Result<(), ProcessError> {
    let in_order = tx.attempt(|tx| {
        let mut unit = Unit::new(runtime, tx);
        unit.enqueue(id, Command::Fail { element: None, reason: reason.to_owned() });
        unit.run()
    });
    match in_order {
        Err(error) if error.is_final() => give_up(runtime, tx, id, reason),
        other => other,
    }
}

/// Ends an instance by [`condemn`], and in order the one that called it.
pub(super) fn give_up(runtime: &Runtime, tx: &mut Transaction<'_>, id: &str, reason: &str) -> Result<(), ProcessError> {
    let Some(caller) = condemn(tx, id, reason)? else { return Ok(()) };
    // The caller waits for an answer that will never come. Callers are not nested deeper than processes call each other.
    fail_instance(runtime, tx, &caller.instance, reason)
}

/// Ends the row of an instance whose state cannot be read or changed: its Tasks fail, nothing of it is done any more. The
/// unreadable state stays as evidence. Gives the instance that called it.
pub(super) fn condemn(tx: &mut Transaction<'_>, id: &str, reason: &str) -> Result<Option<Caller>, StoreError> {
    let Some(row) = tx.lock_instance(id)? else { return Ok(None) };
    if row.state.has_ended() {
        return Ok(None);
    }
    let caller = caller_of(tx, id)?;
    tracing::error!(
        instance = id,
        process = row.process_key,
        version = row.version_tag,
        reason,
        "instance is given up"
    );
    let process = format!("{}|{}", row.process_key, row.version_tag);
    metrics::counter!("schleuse_instances_ended_total", "process" => process, "state" => "failed").increment(1);
    let tasks = tasks_of(tx, id)?;
    for task in &tasks {
        settle::fail(tx, task, Vec::new(), reason)?;
    }
    loop {
        let (jobs, messages, work) = (tx.jobs_of(id)?, tx.outbox_of(id)?, tx.work_of(id)?);
        if jobs.is_empty() && messages.is_empty() && work.is_empty() {
            break;
        }
        for job in jobs {
            tx.delete_job(&job.id)?;
        }
        for message in messages {
            tx.delete_outbox(&message.id)?;
        }
        for item in work {
            tx.delete_work_item(&item.id)?;
        }
    }
    for (_, task) in answers::earlier_tasks(tx, id)? {
        user_task::close(tx, &task)?;
    }
    tx.set_subscriptions(id, &[], &[])?;
    let event = bpmn::Event::InstanceFailed { element: None, reason: reason.to_owned(), messages: tasks };
    let event = serde_json::to_vec(&event).map_err(|error| StoreError::BadRow(error.to_string()))?;
    tx.append_instance_events(id, &[event])?;
    let update = InstanceUpdate {
        alternative_business_key: row.alternative_business_key,
        state: InstanceState::Failed,
        data: row.data,
    };
    tx.update_instance(id, row.revision, &update)?;
    Ok(caller)
}

/// The instance that called it, from the first event of its log.
fn caller_of(tx: &mut Transaction<'_>, id: &str) -> Result<Option<Caller>, StoreError> {
    let first = tx.instance_events(id, 0, 1)?.into_iter().next();
    let first: serde_json::Value = first.and_then(|event| serde_json::from_slice(&event.data).ok()).unwrap_or_default();
    Ok(first.get("caller").and_then(|caller| serde_json::from_value(caller.clone()).ok()))
}

/// The Tasks that the instance received, from its log, which is read with tolerance.
fn tasks_of(tx: &mut Transaction<'_>, id: &str) -> Result<Vec<String>, StoreError> {
    let (mut tasks, mut from) = (Vec::new(), 0);
    loop {
        let page = tx.instance_events(id, from, limits::LOG_PAGE)?;
        let Some(last) = page.last() else { return Ok(tasks) };
        from = last.position + 1;
        for event in &page {
            let event: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
            let is_message = event.get("event").and_then(serde_json::Value::as_str) == Some("task-message-received");
            if let Some(task) = event.get("message").and_then(serde_json::Value::as_str).filter(|_| is_message) {
                tasks.push(task.to_owned());
            }
        }
    }
}
