//! Transactions of requests, and what a commit entails.

use std::sync::Arc;

use fhir::ResourceType;
use http::StatusCode;
use store::{StoreError, Transaction};
use time::OffsetDateTime;

use crate::admit::Caller;
use crate::approval::{self, ApplyError, Judgement, PendingChange};
use crate::hooks::{AuditEvent, AuditRecord};
use crate::publication::{self, Requested};
use crate::refusal::{Code, Refusal};
use crate::session::{Effects, Mode, Noted, Session};
use crate::shared::Shared;

/// Runs `work` on a snapshot.
pub(super) async fn read<R, F>(shared: &Arc<Shared>, caller: &Arc<Caller>, work: F) -> Result<R, Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let work = on_snapshot(shared, caller, note(shared).await?, work);
    shared.store.read(work).await
}

/// Runs `work` on a snapshot, for what takes a few look-ups by key: where that is cheap it runs here and is not handed to
/// another thread.
pub(super) async fn look<R, F>(shared: &Arc<Shared>, caller: &Arc<Caller>, work: F) -> Result<R, Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let work = on_snapshot(shared, caller, note(shared).await?, work);
    shared.store.look(work).await
}

fn on_snapshot<R>(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    noted: Noted,
    work: impl FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
) -> impl FnOnce(&mut Transaction<'_>) -> Result<R, Refusal> + Send + 'static {
    let (shared, caller) = (Arc::clone(shared), Arc::clone(caller));
    move |tx| {
        let mut session = Session::open(tx, &shared, &caller, &noted, Mode::Read)?;
        work(&mut session)
    }
}

/// Runs `work` in a writing transaction, then does what a commit entails.
pub(super) async fn write<R, F>(shared: &Arc<Shared>, caller: &Arc<Caller>, work: F) -> Result<R, Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let (result, requested) = write_one_of_many(shared, caller, work).await?;
    if let Some(requested) = requested {
        publication::acknowledged(shared, requested).await;
    }
    Ok(result)
}

/// As [`write()`], but leaves it to the caller to wait for the publication of a changed allow-list: a batch waits once.
pub(super) async fn write_one_of_many<R, F>(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    work: F,
) -> Result<(R, Option<Requested>), Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let noted = note(shared).await?;
    let (inner, caller) = (Arc::clone(shared), Arc::clone(caller));
    let written: Result<(R, Effects), Refusal> = shared
        .store
        .write(move |tx| -> Result<(R, Effects), Refusal> {
            let mut session = Session::open(tx, &inner, &caller, &noted, Mode::Write)?;
            let result = work(&mut session)?;
            Ok((result, session.finish()?))
        })
        .await;
    match written {
        Ok((result, effects)) => Ok((result, committed(shared, effects))),
        Err(refusal) => Err(approval::keep_refused(shared, refusal).await),
    }
}

/// Has a change of the allow-list that waits judged, and keeps its approvals or carries it out, in one transaction: of two
/// approvals at one time the later one is judged together with the earlier.
pub(crate) async fn approve_pending<E>(
    shared: &Arc<Shared>,
    caller: Arc<Caller>,
    digest: String,
    judge: impl FnOnce(&PendingChange) -> Result<Judgement, E> + Send + 'static,
) -> Result<Judgement, E>
where
    E: From<ApplyError> + From<StoreError> + Send + 'static,
{
    let refused = |refusal: Refusal| ApplyError::Refused(approval::text_of(&refusal));
    let noted = note(shared).await.map_err(refused)?;
    let inner = Arc::clone(shared);
    let (judgement, effects) = shared
        .store
        .write(move |tx| -> Result<(Judgement, Option<Effects>), E> {
            let waiting = approval::all(tx)?;
            let mut pending = waiting.into_iter().find(|known| known.digest == digest).ok_or(ApplyError::Unknown)?;
            if pending.digest_now() != digest {
                return Err(ApplyError::Damaged.into());
            }
            let judgement = judge(&pending)?;
            if !judgement.carry_out {
                pending.approvals.clone_from(&judgement.approvals);
                approval::replace(tx, &digest, Some(pending))?;
                return Ok((judgement, None));
            }
            approval::replace(tx, &digest, None)?;
            let mut session = Session::open(tx, &inner, &caller, &noted, Mode::Write).map_err(refused)?;
            session.carry_out(&pending)?;
            Ok((judgement, Some(session.finish().map_err(refused)?)))
        })
        .await?;
    if let Some(requested) = effects.and_then(|effects| committed(shared, effects)) {
        publication::acknowledged(shared, requested).await;
    }
    Ok(judgement)
}

async fn note(shared: &Arc<Shared>) -> Result<Noted, Refusal> {
    Ok(Noted { allow_list: shared.allow_list().await?, conformance: shared.conformance().await? })
}

/// After a commit: the process engine is told, and a changed allow-list is published.
fn committed(shared: &Shared, effects: Effects) -> Option<Requested> {
    let allow_list_changed = effects.allow_list_changed();
    let task_taken = effects.task_taken;
    // From here on the caches may be filled with the new state.
    drop(effects);
    if task_taken {
        shared.tasks.committed();
    }
    allow_list_changed.then(|| shared.publications.request())
}

/// Writes an audit record; what cannot be recorded is not done.
pub(super) fn record(
    shared: &Shared,
    caller: &Caller,
    interaction: &str,
    resource_type: Option<ResourceType>,
    id: Option<&str>,
    event: AuditEvent<'_>,
) -> Result<(), Refusal> {
    let record = AuditRecord {
        correlation_id: caller.correlation_id,
        at: OffsetDateTime::now_utc(),
        identity: &caller.identity,
        interaction,
        resource_type,
        id,
        event,
    };
    shared.audit.record(&record).map_err(|error| audit_failed(&error))
}

pub(super) fn audit_failed(error: &crate::AuditError) -> Refusal {
    tracing::error!(error = %error, "audit record cannot be written");
    Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::Audit).because(error.to_string())
}

pub(super) const fn not_routed() -> Refusal {
    Refusal::empty(StatusCode::NOT_FOUND, Code::NotRouted)
}
