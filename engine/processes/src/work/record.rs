//! Recording what came of work: once, in the transaction that removes it and moves its instance on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use store::Transaction;
use store::processes::WorkItem;

use super::Order;
use crate::limits;
use crate::runtime::{ProcessError, Runtime, Unit, fail_instance};
use crate::step::WorkError;

/// Records a result, patiently while the database does not work: what has been done need not be done again.
pub(super) async fn record(runtime: &Arc<Runtime>, item: WorkItem, result: Result<Value, WorkError>) {
    let result = bounded(result);
    for attempt in 1..=limits::RECORD_ATTEMPTS {
        let (shared, copy, outcome) = (Arc::clone(runtime), item.clone(), result.clone());
        let Err(error) = runtime.store.write(move |tx| record_in(&shared, tx, &copy, outcome)).await else { return };
        tracing::error!(work = item.id, attempt, %error, "the result of work could not be recorded");
        if error.is_final() {
            return give_up(runtime, item, &error).await;
        }
        if matches!(error, ProcessError::Store(store::StoreError::Closed)) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tracing::error!(work = item.id, "the work is done again when its lease is over");
}

fn bounded(result: Result<Value, WorkError>) -> Result<Value, WorkError> {
    let output = result?;
    let size = serde_json::to_vec(&output).map_or(usize::MAX, |bytes| bytes.len());
    if size > limits::WORK_BYTES {
        let text = format!("the result of the work has {size} bytes, more than {}", limits::WORK_BYTES);
        return Err(WorkError::failed(text));
    }
    Ok(output)
}

fn record_in(
    runtime: &Runtime,
    tx: &mut Transaction<'_>,
    item: &WorkItem,
    result: Result<Value, WorkError>,
) -> Result<(), ProcessError> {
    if let Err(WorkError::Retry { message }) = &result {
        let left = item.retries.unwrap_or(limits::WORK_ATTEMPTS).saturating_sub(1);
        if left > 0 {
            let order = serde_json::from_slice::<Order>(&item.input).ok();
            let pause = order.map_or(time::Duration::ZERO, |order| order.pause(left));
            tracing::warn!(work = item.id, element = item.element, left, reason = message, "work is tried again");
            let text: String = message.chars().take(limits::ERROR_TEXT).collect();
            let due = tx.now() + pause;
            tx.fail_work_item(&item.id, &runtime.owner, left, due, &text, None)?;
            return Ok(());
        }
    }
    // Lost to another engine, or nobody waits for it any more.
    if !tx.complete_work_item(&item.id, &runtime.owner)? {
        return Ok(());
    }
    let mut unit = Unit::new(runtime, tx);
    unit.worked(item, result)?;
    unit.run()
}

/// The instance that waits for the work cannot be moved on.
async fn give_up(runtime: &Arc<Runtime>, item: WorkItem, error: &ProcessError) {
    let (shared, reason, id) = (Arc::clone(runtime), error.to_string(), item.id.clone());
    let given_up = runtime.store.write(move |tx| {
        if !tx.complete_work_item(&item.id, &shared.owner)? {
            return Ok(());
        }
        fail_instance(&shared, tx, &item.instance, &reason)
    });
    if let Err(error) = given_up.await {
        tracing::error!(work = id, %error, "an instance could not be ended; its work is done again when its lease is over");
    }
}

/// Does a step again in a transaction.
pub(super) async fn again(runtime: &Arc<Runtime>, item: &WorkItem) {
    let (shared, copy) = (Arc::clone(runtime), item.clone());
    let done = runtime.store.write(move |tx| {
        if !tx.complete_work_item(&copy.id, &shared.owner)? {
            return Ok(());
        }
        let mut unit = Unit::new(&shared, tx);
        unit.again(&copy)?;
        unit.run()
    });
    if let Err(error) = done.await {
        tracing::error!(work = item.id, %error, "a step could not be done again; it is tried when its lease is over");
        if error.is_final() {
            give_up(runtime, item.clone(), &error).await;
        }
    }
}
