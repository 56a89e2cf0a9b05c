//! Long steps: work that needs time, files or the network, done beside transactions.
//!
//! ```text
//! Unit::order_work ─ work item ─▶ claim (lease) ─▶ WorkStep::work ─▶ record: item removed and Unit::worked, one transaction
//!                                   ▲     │ renewed while it runs      │ WorkError::Retry, attempts left
//!                                   │     ▼                            ▼
//!                                   └── lease over (crash) ◀── pause (the model's retry cycle)
//! ```
//!
//! Invariants:
//! - An item is worked on by one engine at a time, as far as leases can tell, and its result is recorded by the
//!   transaction that removes it: once, whoever else has worked on it.
//! - Work that ends its engine each time ends too ([`limits::WORK_STARTS`]).
//! - Nothing is claimed that cannot be begun at once.
//! - Work whose step was cancelled, and work of an engine that stops, is told and then cut off.

mod context;
mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bpmn::model::RetryCycle;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::processes::WorkItem;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use context::{ContentReader, ContentWriter, WorkContext};

use crate::limits;
use crate::runtime::{ProcessError, Runtime};
use crate::step::WorkError;

/// What an item of work holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// What the step prepared.
    pub(crate) input: Value,
    /// Retries that the model asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<RetryCycle>,
}

/// What this engine works on, by id: how each is told that nobody wants it any more.
#[derive(Debug, Default)]
pub(crate) struct Working {
    running: Mutex<BTreeMap<String, watch::Sender<bool>>>,
}

/// An entry of [`Working`] for as long as it lives.
struct Place {
    working: Arc<Working>,
    id: String,
    cancelled: watch::Receiver<bool>,
}

// === impl Order ===

impl Order {
    /// The stored form, unless it is too large.
    pub(crate) fn stored(&self) -> Result<Vec<u8>, String> {
        let bytes = serde_json::to_vec(self).map_err(|error| format!("the work cannot be stored: {error}"))?;
        match bytes.len() > limits::WORK_BYTES {
            true => Err(format!("the input of the work has {} bytes, more than {}", bytes.len(), limits::WORK_BYTES)),
            false => Ok(bytes),
        }
    }

    /// The pause before the next attempt when `left` are left.
    fn pause(&self, left: u32) -> time::Duration {
        let (attempts, intervals) = match &self.retry {
            Some(retry) => (retry.attempts.max(1), retry.intervals.as_slice()),
            None => (limits::WORK_ATTEMPTS, limits::WORK_PAUSES.as_slice()),
        };
        let used = usize::try_from(attempts.saturating_sub(left).saturating_sub(1)).unwrap_or(usize::MAX);
        let seconds = intervals.get(used).or_else(|| intervals.last()).copied().unwrap_or_default();
        time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

// === impl Working ===

impl Working {
    /// Tells work that nobody waits for it any more.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            running.send_replace(true);
        }
    }

    fn cancel_all(&self) {
        for running in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            running.send_replace(true);
        }
    }

    /// Enters work, unless it is being done here (its lease ran out, but not its work).
    fn enter(self: &Arc<Self>, id: &str) -> Option<Place> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(id) {
            return None;
        }
        let (cancel, cancelled) = watch::channel(false);
        running.insert(id.to_owned(), cancel);
        Some(Place { working: Arc::clone(self), id: id.to_owned(), cancelled })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.working.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Runs until `stop` turns true; work that does not end soon after is cut off and begun again by whoever comes next.
pub(crate) async fn work(runtime: Arc<Runtime>, mut stop: watch::Receiver<bool>) {
    let mut wake = runtime.store.watch_work();
    let mut running = JoinSet::new();
    while !*stop.borrow() {
        wake.borrow_and_update();
        while running.try_join_next().is_some() {}
        let pause = match round(&runtime, &mut running).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "work could not be claimed");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = wake.changed() => if changed.is_err() { return },
            _ = stop.changed() => {}
            Some(_) = running.join_next() => {}
        }
    }
    runtime.working.cancel_all();
    let ended = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::WORK_GRACE, ended).await.is_err() {
        tracing::warn!("work was cut off because the engine stops; it is begun again at the next start");
    }
}

/// Begins what is due and says how long nothing will be.
async fn round(runtime: &Arc<Runtime>, running: &mut JoinSet<()>) -> Result<Duration, ProcessError> {
    let room = limits::WORKING.saturating_sub(running.len());
    if room == 0 {
        return Ok(limits::LONGEST_SLEEP);
    }
    let (now, next) = runtime.store.read(|tx| Ok::<_, ProcessError>((tx.now(), tx.next_step()?))).await?;
    match next {
        None => return Ok(limits::LONGEST_SLEEP),
        Some(next) if next > now => {
            let pause = Duration::try_from(next - now).unwrap_or(Duration::ZERO);
            return Ok(pause.clamp(Duration::from_millis(1), limits::LONGEST_SLEEP));
        }
        Some(_) => {}
    }
    let items = claim(runtime, room).await?;
    if items.is_empty() {
        return Ok(limits::CLAIM_PAUSE);
    }
    for item in items {
        running.spawn(run(Arc::clone(runtime), item));
    }
    Ok(Duration::ZERO)
}

/// Claims work whose time has come.
pub(crate) async fn claim(runtime: &Arc<Runtime>, limit: usize) -> Result<Vec<WorkItem>, ProcessError> {
    let owner = runtime.owner.clone();
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let claim = move |tx: &mut store::Transaction<'_>| {
        let now = tx.now();
        Ok::<_, ProcessError>(tx.claim_steps(&owner, now, limits::WORK_LEASE, limit)?)
    };
    runtime.store.write(claim).await
}

/// Does claimed work and records what came of it.
pub(crate) async fn run(runtime: Arc<Runtime>, item: WorkItem) {
    // Its lease ran out although it is still being done here: the claim has prolonged it.
    let Some(place) = runtime.working.enter(&item.id) else { return };
    let begun = std::time::Instant::now();
    let result = attempt(&runtime, &item, place.cancelled.clone()).await;
    let Some(result) = result else { return };
    let label = match &result {
        Ok(_) => "completed",
        Err(WorkError::Retry { .. }) => "retried",
        Err(WorkError::Failed { .. }) => "failed",
        Err(WorkError::Bpmn { .. }) => "bpmn-error",
    };
    metrics::histogram!("schleuse_step_duration_seconds", "process" => item.process_key.clone(), "step" => item.element.clone(), "result" => label)
        .record(begun.elapsed().as_secs_f64());
    record::record(&runtime, item, result).await;
}

/// One attempt; `None` if nobody wants its result any more, or another engine has taken the work over.
async fn attempt(
    runtime: &Arc<Runtime>,
    item: &WorkItem,
    mut cancelled: watch::Receiver<bool>,
) -> Option<Result<Value, WorkError>> {
    if item.attempts > limits::WORK_STARTS {
        let reason = item.failure.as_deref().unwrap_or("its engine ended each time");
        return Some(Err(WorkError::failed(format!("begun {} times without a result: {reason}", limits::WORK_STARTS))));
    }
    // A step that failed in its transaction, and that an operator has tried again: there is nothing to do outside.
    if item.input.is_empty() {
        record::again(runtime, item).await;
        return None;
    }
    let Some(step) = runtime.catalogue().implementations.works.get(item.topic.as_str()).map(Arc::clone) else {
        return Some(Err(WorkError::failed(crate::runtime::NO_PLUGIN)));
    };
    let order: Order = match serde_json::from_slice(&item.input) {
        Ok(order) => order,
        Err(error) => return Some(Err(WorkError::failed(format!("the stored work cannot be read: {error}")))),
    };
    let context = WorkContext::new(runtime, item, cancelled.clone());
    let mut working = tokio::spawn(async move { step.work(&order.input, context).await });
    let mut renewal =
        tokio::time::interval_at(tokio::time::Instant::now() + limits::WORK_RENEWAL, limits::WORK_RENEWAL);
    loop {
        tokio::select! {
            biased;
            () = unwanted(&mut cancelled) => break,
            ended = &mut working => {
                let abnormal = |error| WorkError::retry(format!("the step ended abnormally: {error}"));
                return Some(ended.unwrap_or_else(|error| Err(abnormal(error))));
            }
            _ = renewal.tick() => if !renew(runtime, item).await { break },
        }
    }
    // What it still brings in this time is a result only if the work is still wanted, which recording it finds out.
    match tokio::time::timeout(limits::WORK_GRACE, &mut working).await {
        Ok(Ok(Ok(output))) => Some(Ok(output)),
        Ok(_) => None,
        Err(_) => {
            working.abort();
            None
        }
    }
}

async fn unwanted(cancelled: &mut watch::Receiver<bool>) {
    // An error means that nobody can say so any more, which is the same.
    let _ = cancelled.wait_for(|cancelled| *cancelled).await;
}

/// Renews the lease; false if it is lost.
async fn renew(runtime: &Arc<Runtime>, item: &WorkItem) -> bool {
    let (id, owner) = (item.id.clone(), runtime.owner.clone());
    let renewed = runtime.store.write(move |tx| {
        let until = tx.now() + limits::WORK_LEASE;
        tx.extend_work_lock(&id, &owner, until)
    });
    match renewed.await {
        Ok(is_held) => is_held,
        Err(error) => {
            tracing::warn!(work = item.id, %error, "a lease could not be renewed");
            true
        }
    }
}
