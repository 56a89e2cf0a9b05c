//! Ending an instance that cannot end by itself: what a job, a message or the start found to be beyond repair.

use store::processes::{InstanceState, InstanceUpdate};
use store::{StoreError, Transaction};

use bpmn::Command;

use super::{ProcessError, Runtime, Unit, settle};

/// Rows read at once.
const PAGE: u32 = 1_000;

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
        Err(error) if error.is_final() => Ok(condemn(tx, id, reason)?),
        other => other,
    }
}

/// Ends the row of an instance whose state cannot be read or changed: its Tasks fail, nothing of it is done any more. The
/// unreadable state stays as evidence.
pub(super) fn condemn(tx: &mut Transaction<'_>, id: &str, reason: &str) -> Result<(), StoreError> {
    let Some(row) = tx.lock_instance(id)? else { return Ok(()) };
    if row.state.has_ended() {
        return Ok(());
    }
    tracing::error!(
        instance = id,
        process = row.process_key,
        version = row.version_tag,
        reason,
        "instance is given up"
    );
    metrics::counter!("schleuse_instances_ended_total", "state" => "failed").increment(1);
    let tasks = tasks_of(tx, id)?;
    for task in &tasks {
        settle::fail(tx, task, Vec::new(), reason)?;
    }
    loop {
        let (jobs, messages) = (tx.jobs_of(id)?, tx.outbox_of(id)?);
        if jobs.is_empty() && messages.is_empty() {
            break;
        }
        for job in jobs {
            tx.delete_job(&job.id)?;
        }
        for message in messages {
            tx.delete_outbox(&message.id)?;
        }
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
    Ok(())
}

/// The Tasks that the instance received, from its log, which is read with tolerance.
fn tasks_of(tx: &mut Transaction<'_>, id: &str) -> Result<Vec<String>, StoreError> {
    let (mut tasks, mut from) = (Vec::new(), 0);
    loop {
        let page = tx.instance_events(id, from, PAGE)?;
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
