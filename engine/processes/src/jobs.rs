//! The jobs worker: timers and asynchronous continuations when they are due, and the end of buffered messages.
//!
//! Due jobs are claimed together and run one transaction each, several at a time. A job whose transaction fails is tried
//! again later while the reason may pass; when it would fail again, or its attempts are used up, its instance fails and
//! says so in its Tasks. A claim that is not honoured (this process dies) ends by itself or at the next start.

use std::sync::Arc;
use std::time::Duration;

use bpmn::Command;
use store::processes::Job;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::runtime::{ProcessError, Runtime, Unit, fail_instance, timer_start};
use crate::{inbox, limits};

/// Runs until `stop` turns true; jobs that have begun are finished.
pub(crate) async fn work(runtime: Arc<Runtime>, mut stop: watch::Receiver<bool>) {
    let mut wake = runtime.store.watch_jobs();
    let mut running = JoinSet::new();
    while !*stop.borrow() {
        wake.borrow_and_update();
        while let Some(ended) = running.try_join_next() {
            report(&ended);
        }
        let pause = match round(&runtime, &mut running).await {
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
            Some(ended) = running.join_next() => report(&ended),
        }
    }
    while let Some(ended) = running.join_next().await {
        report(&ended);
    }
}

fn report(ended: &Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a job ended abnormally");
    }
}

/// Begins what is due and says how long nothing will be. The next jobs are claimed while those before still run, so that
/// both share commits.
async fn round(runtime: &Arc<Runtime>, running: &mut JoinSet<()>) -> Result<Duration, ProcessError> {
    let room = u32::try_from(limits::JOBS_RUNNING.saturating_sub(running.len())).unwrap_or(u32::MAX);
    if room < limits::CLAIM {
        return Ok(limits::LONGEST_SLEEP);
    }
    let due = runtime.store.read(|tx| Ok::<_, ProcessError>((tx.now(), tx.next_job()?, tx.next_inbox_expiry()?)));
    let (now, job, expiry) = due.await?;
    match [job, expiry].into_iter().flatten().min() {
        None => return Ok(limits::LONGEST_SLEEP),
        Some(due) if due > now => return Ok(until(due - now)),
        Some(_) => {}
    }
    let jobs = claim(runtime).await?;
    if jobs.is_empty() {
        // Due, but held: another exclusive job of the instance runs, or only the inbox had something to do.
        return Ok(limits::CLAIM_PAUSE);
    }
    for job in jobs {
        running.spawn(run(Arc::clone(runtime), job));
    }
    Ok(Duration::ZERO)
}

fn until(time: time::Duration) -> Duration {
    Duration::try_from(time).unwrap_or(Duration::ZERO).clamp(Duration::from_millis(1), limits::LONGEST_SLEEP)
}

/// Ends what waited too long in the inbox, and claims due jobs.
pub(crate) async fn claim(runtime: &Arc<Runtime>) -> Result<Vec<Job>, ProcessError> {
    let owner = runtime.owner.clone();
    let claim = move |tx: &mut store::Transaction<'_>| {
        inbox::expire(tx)?;
        let now = tx.now();
        Ok::<_, ProcessError>(tx.claim_jobs(&owner, now, limits::CLAIM_TIME, limits::CLAIM)?)
    };
    runtime.store.write(claim).await
}

/// Runs a claimed job.
pub(crate) async fn run(runtime: Arc<Runtime>, job: Job) {
    let (shared, claimed) = (Arc::clone(&runtime), job.clone());
    let Err(error) = runtime.store.write(move |tx| run_in(&shared, tx, &claimed)).await else { return };
    tracing::error!(job = job.id, instance = job.instance, %error, "job failed");
    let (shared, id) = (Arc::clone(&runtime), job.id.clone());
    let recorded = runtime.store.write(move |tx| record_failure(&shared, tx, &job, &error)).await;
    if let Err(error) = recorded {
        tracing::error!(job = id, %error, "failure of a job could not be recorded; its claim will run out");
    }
}

fn run_in(runtime: &Runtime, tx: &mut store::Transaction<'_>, job: &Job) -> Result<(), ProcessError> {
    // Lost to another engine or cancelled meanwhile.
    if !tx.complete_job(&job.id, &runtime.owner)? {
        return Ok(());
    }
    if job.kind == timer_start::KIND {
        return timer_start::run(runtime, tx, job);
    }
    let Some(instance) = &job.instance else { return Ok(()) };
    let mut unit = Unit::new(runtime, tx);
    unit.enqueue(instance, Command::Job { job: job.id.as_str().into() });
    unit.run()
}

/// The pause that the retry cycle of the model asks for, else the default.
fn pause_before_retry(job: &Job, left: u32) -> time::Duration {
    let Ok(cycle) = serde_json::from_slice::<bpmn::model::RetryCycle>(&job.payload) else { return limits::JOB_PAUSE };
    let used = usize::try_from(cycle.attempts.saturating_sub(left).saturating_sub(1)).unwrap_or(usize::MAX);
    let seconds = cycle.intervals.get(used).or_else(|| cycle.intervals.last()).copied();
    seconds.map_or(limits::JOB_PAUSE, |seconds| time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// Later, if the reason may pass; else the instance ends.
fn record_failure(
    runtime: &Runtime,
    tx: &mut store::Transaction<'_>,
    job: &Job,
    error: &ProcessError,
) -> Result<(), ProcessError> {
    let reason = error.to_string();
    let retries = match error {
        ProcessError::Store(error) if error.is_transient() => job.retries,
        error if error.is_final() => 0,
        _ => job.retries.saturating_sub(1),
    };
    if retries > 0 {
        let due = tx.now() + pause_before_retry(job, retries);
        return Ok(tx.reschedule_job(&job.id, due, retries, Some(&reason))?);
    }
    tx.delete_job(&job.id)?;
    match &job.instance {
        Some(instance) => fail_instance(runtime, tx, instance, &reason),
        None => Ok(()),
    }
}
