//! Processes that begin at a time: each timer start event of an installed process is one stored job.
//!
//! A start event is scheduled once for each definition: a restart of the engine sets no timer anew, and a definition that
//! was replaced starts nothing any more.

use std::sync::Arc;

use bpmn::timer::Repeat;
use serde::{Deserialize, Serialize};
use store::processes::{Job, NewJob};
use store::{StoreError, Transaction};

use super::{ProcessError, Runtime, Unit};
use crate::definition::Definition;
use crate::{limits, state};

/// Kind of these jobs.
pub(crate) const KIND: &str = "timer-start";

/// What such a job starts.
#[derive(Debug, Serialize, Deserialize)]
struct TimerStart {
    digest: String,
    element: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Repeat>,
}

/// Sets the timers of definitions that are new.
pub(super) fn schedule(tx: &mut Transaction<'_>, definitions: &[Arc<Definition>]) -> Result<(), ProcessError> {
    for definition in definitions {
        for (element, timer) in definition.process().into_iter().flat_map(bpmn::Process::timer_starts) {
            let name = format!("timer-start {} {element}", definition.digest);
            if tx.setting(&name)?.is_some() {
                continue;
            }
            let text = timer.expression().constant().unwrap_or_default();
            match timer.schedule(&text, tx.now()) {
                Ok(schedule) => {
                    let (digest, element) = (definition.digest.clone(), element.to_string());
                    let start = TimerStart { digest, element, repeat: schedule.repeat };
                    // Another engine on the same database may be starting too; one of them sets the timer.
                    match insert(tx, name.clone(), &start, schedule.due) {
                        Err(ProcessError::Store(StoreError::Exists { .. })) => {}
                        other => other?,
                    }
                }
                // A date that has passed, a cycle that is over.
                Err(error) => tracing::warn!(
                    process = definition.key,
                    version = definition.version,
                    element = &**element,
                    %error,
                    "timer start event will not fire"
                ),
            }
            tx.set_setting(&name, b"scheduled")?;
        }
    }
    Ok(())
}

/// Starts the process of a job that is due, and sets the next occurrence of its cycle.
pub(crate) fn run(runtime: &Runtime, tx: &mut Transaction<'_>, job: &Job) -> Result<(), ProcessError> {
    let Ok(start) = serde_json::from_slice::<TimerStart>(&job.payload) else {
        tracing::error!(job = job.id, "a timer start job cannot be read and is dropped");
        return Ok(());
    };
    let catalogue = runtime.catalogue();
    let definition = catalogue.definitions.all_newest().find(|definition| definition.digest == start.digest);
    let Some(definition) = definition else {
        tracing::info!(
            job = job.id,
            digest = start.digest,
            "the process of a timer start event is not installed any more"
        );
        return Ok(());
    };
    let next = start.repeat.as_ref().map(|repeat| repeat.next(job.due, tx.now()));
    match next {
        Some(Ok(Some(schedule))) => {
            let (digest, element) = (start.digest.clone(), start.element.clone());
            let start = TimerStart { digest, element, repeat: schedule.repeat };
            insert(tx, uuid::Uuid::new_v4().to_string(), &start, schedule.due)?;
        }
        Some(Err(error)) => tracing::warn!(job = job.id, %error, "timer start event will not fire again"),
        Some(Ok(None)) | None => {}
    }
    if !state::may_start(tx, &definition.key, &definition.version)? {
        return Ok(());
    }
    let mut unit = Unit::new(runtime, tx);
    unit.start_alone(definition, start.element.as_str().into(), Vec::new());
    unit.run()
}

fn insert(
    tx: &mut Transaction<'_>,
    id: String,
    start: &TimerStart,
    due: time::OffsetDateTime,
) -> Result<(), ProcessError> {
    let payload = serde_json::to_vec(start)
        .map_err(|error| ProcessError::Instance { id: start.element.clone(), reason: error.to_string() })?;
    Ok(tx.insert_job(&NewJob {
        id,
        instance: None,
        kind: KIND.to_owned(),
        exclusive: false,
        due,
        retries: limits::JOB_ATTEMPTS,
        payload,
    })?)
}
