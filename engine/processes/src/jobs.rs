//! The jobs worker: timers and asynchronous continuations when they are due, and the end of buffered messages.
//!
//! Due jobs are claimed together and run one transaction each. A job whose transaction fails is tried again later; when
//! its attempts are used up, its instance fails and says so in its Tasks. A claim that is not honoured (this process
//! dies) ends by itself or at the next start.

use std::sync::Arc;
use std::time::Duration;

use bpmn::Command;
use store::processes::Job;
use tokio::sync::watch;

use crate::runtime::{ProcessError, Runtime, Unit};
use crate::{inbox, limits};

/// Runs until `stop` turns true.
pub(crate) async fn work(runtime: Arc<Runtime>, mut stop: watch::Receiver<bool>) {
    let mut wake = runtime.store.watch_jobs();
    while !*stop.borrow() {
        wake.borrow_and_update();
        let pause = match round(&runtime).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "due jobs could not be claimed");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = wake.changed() => if changed.is_err() { return },
            _ = stop.changed() => {}
        }
    }
}

/// Runs what is due and says how long nothing will be.
async fn round(runtime: &Arc<Runtime>) -> Result<Duration, ProcessError> {
    let owner = runtime.owner.clone();
    let now = Runtime::now();
    let nothing = runtime.store.read(|tx| Ok::<_, ProcessError>((tx.next_job()?, tx.next_inbox_expiry()?))).await?;
    let due = [nothing.0, nothing.1].into_iter().flatten().min();
    match due {
        None => return Ok(limits::LONGEST_SLEEP),
        Some(due) if due > now => return Ok(until(due - now)),
        Some(_) => {}
    }
    let jobs = runtime
        .store
        .write(move |tx| {
            inbox::expire(tx, now)?;
            Ok::<_, ProcessError>(tx.claim_jobs(&owner, now, limits::CLAIM_TIME, limits::CLAIM)?)
        })
        .await?;
    let running: Vec<_> = jobs.into_iter().map(|job| tokio::spawn(run(Arc::clone(runtime), job))).collect();
    for job in running {
        if let Err(error) = job.await {
            tracing::error!(%error, "a job ended abnormally");
        }
    }
    Ok(Duration::ZERO)
}

fn until(time: time::Duration) -> Duration {
    Duration::try_from(time).unwrap_or(Duration::ZERO).clamp(Duration::from_millis(1), limits::LONGEST_SLEEP)
}

async fn run(runtime: Arc<Runtime>, job: Job) {
    let (shared, claimed) = (Arc::clone(&runtime), job.clone());
    let result = runtime.store.write(move |tx| run_in(&shared, tx, &claimed)).await;
    if let Err(error) = result {
        tracing::error!(job = job.id, instance = job.instance, %error, "job failed");
        let (shared, failed, reason) = (Arc::clone(&runtime), job.clone(), error.to_string());
        let recorded = runtime.store.write(move |tx| record_failure(&shared, tx, &failed, &reason)).await;
        if let Err(error) = recorded {
            tracing::error!(job = job.id, %error, "failure of a job could not be recorded; its claim will run out");
        }
    }
}

fn run_in(runtime: &Runtime, tx: &mut store::Transaction<'_>, job: &Job) -> Result<(), ProcessError> {
    // Lost to another engine or cancelled meanwhile.
    if !tx.complete_job(&job.id, &runtime.owner)? {
        return Ok(());
    }
    let Some(instance) = &job.instance else { return Ok(()) };
    let mut unit = Unit::new(runtime, tx);
    unit.enqueue(instance, Command::Job { job: job.id.as_str().into() });
    unit.run()
}

fn record_failure(
    runtime: &Runtime,
    tx: &mut store::Transaction<'_>,
    job: &Job,
    reason: &str,
) -> Result<(), ProcessError> {
    let retries = job.retries.saturating_sub(1);
    if retries > 0 {
        let due = tx.now() + limits::JOB_PAUSE;
        return Ok(tx.reschedule_job(&job.id, due, retries, Some(reason))?);
    }
    tx.delete_job(&job.id)?;
    let Some(instance) = &job.instance else { return Ok(()) };
    let mut unit = Unit::new(runtime, tx);
    unit.enqueue(instance, Command::Fail { element: None, reason: reason.to_owned() });
    unit.run()
}
