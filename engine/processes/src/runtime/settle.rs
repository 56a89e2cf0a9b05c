//! Status changes of Tasks: `in-progress` to `completed` or `failed`, with the outputs that steps added. Tasks of another
//! status are left alone, as in the reference (`process-engine.md` 1.5).

use fhir::{Object, Resource};
use store::{StoreError, Transaction};

use crate::task;

/// Adds outputs to a Task that stays as it is.
pub(super) fn add_outputs(tx: &mut Transaction<'_>, id: &str, outputs: Vec<Object>) -> Result<(), StoreError> {
    let Some(mut stored) = task::read(tx, id)? else { return Ok(()) };
    if stored.str("status") == Some("in-progress") && !outputs.is_empty() {
        append(&mut stored, outputs);
        task::write(tx, stored)?;
    }
    Ok(())
}

/// `completed`.
pub(super) fn complete(tx: &mut Transaction<'_>, id: &str, outputs: Vec<Object>) -> Result<(), StoreError> {
    end(tx, id, "completed", outputs)
}

/// `failed`, with the reason as error output.
pub(crate) fn fail(
    tx: &mut Transaction<'_>,
    id: &str,
    mut outputs: Vec<Object>,
    reason: &str,
) -> Result<(), StoreError> {
    outputs.push(task::error_output(reason));
    end(tx, id, "failed", outputs)
}

fn end(tx: &mut Transaction<'_>, id: &str, status: &str, outputs: Vec<Object>) -> Result<(), StoreError> {
    let Some(mut stored) = task::read(tx, id)? else {
        tracing::warn!(task = id, status, "a Task was removed before its process could end it");
        return Ok(());
    };
    if stored.str("status") != Some("in-progress") {
        return Ok(());
    }
    stored.set("status", status);
    append(&mut stored, outputs);
    metrics::counter!("schleuse_tasks_ended_total", "status" => status.to_owned()).increment(1);
    task::write(tx, stored)?;
    Ok(())
}

fn append(stored: &mut Resource, outputs: Vec<Object>) {
    for output in outputs {
        stored.push("output", output);
    }
}
