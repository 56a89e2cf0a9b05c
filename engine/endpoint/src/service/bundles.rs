//! Bundles at the root, and the engine's own requests.

use std::sync::Arc;

use fhir::{Object, Resource};
use http::StatusCode;
use policies::{AllowList, CanonicalRequest};

use super::transact::{audit_failed, not_routed, read, record, write, write_one_of_many};
use crate::admit::Caller;
use crate::bundle::plan::{Entry, Kind, Plan};
use crate::bundle::{AnswerSpace, TemporaryIds, response, run_batch_entry, run_transaction};
use crate::endpoint::LocalAnswer;
use crate::hooks::AuditEvent;
use crate::prefer::Prefer;
use crate::publication;
use crate::refusal::{Code, Refusal};
use crate::reply::{Content, Reply};
use crate::session::{CreateOptions, Prepared, Session};
use crate::shared::Shared;
use crate::{external, limits};

/// Processes a Bundle; `request` is absent for the engine's own.
pub(super) async fn run_bundle(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    request: Option<&CanonicalRequest>,
    bundle: Resource,
    prefer: Prefer,
) -> Result<Reply, Refusal> {
    let allow_list = shared.allow_list().await?;
    let body = request.is_some().then(|| bundle.clone());
    let plan = Plan::of(bundle, &shared.base_url)?;
    let kind = plan.kind;
    if let (Some(request), Some(body)) = (request.cloned(), body) {
        read(shared, caller, move |session| session.authorize(&request, Some(&body))).await?;
    }
    // A batch answers a failing entry in its place; a transaction fails with it either way.
    if kind == Kind::Transaction {
        let mut targets = Vec::new();
        for (resource, is_update) in plan.entries.iter().flatten().filter_map(|entry| entry.command.resource()) {
            external::targets(resource, is_update, &allow_list, &mut targets)?;
        }
        external::ask(targets, &shared.remote).await?;
    }
    let plan = validated_early(shared, plan).await?;
    let entries = match plan.kind {
        Kind::Transaction => {
            let entries = plan.entries;
            if entries.iter().flatten().all(|entry| entry.command.is_read()) {
                read(shared, caller, move |session| run_transaction(session, entries, prefer)).await?
            } else {
                write(shared, caller, move |session| run_transaction(session, entries, prefer)).await?
            }
        }
        Kind::Batch => run_batch(shared, caller, plan, &allow_list, prefer).await?,
    };
    Ok(Reply::resource(StatusCode::OK, None, response::bundle(kind.response_type(), entries)))
}

async fn validated_early(shared: &Arc<Shared>, mut plan: Plan) -> Result<Plan, Refusal> {
    let conformance = shared.conformance().await?;
    let base_url = shared.base_url.clone();
    let work = move || {
        plan.validate_early(&conformance, &base_url);
        plan
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(error.to_string()))
}

/// Runs the entries one after the other, each in its own transaction.
async fn run_batch(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    plan: Plan,
    allow_list: &AllowList,
    prefer: Prefer,
) -> Result<Vec<Object>, Refusal> {
    let entries = plan.entries;
    let (temporary, entries) = read(shared, caller, move |session| {
        let temporary = TemporaryIds::assign(session, entries.iter().flatten())?;
        Ok((Arc::new(temporary), entries))
    })
    .await?;
    let mut answers = Vec::with_capacity(entries.len());
    let mut last_change = None;
    let mut asked = 0;
    let mut space = AnswerSpace::new();
    for entry in entries {
        let is_read = entry.as_ref().is_ok_and(|entry| entry.command.is_read());
        let has_space = if is_read { space.check() } else { Ok(()) };
        let done = match entry.and_then(|entry| has_space.map(|()| entry)) {
            Err(refusal) => Err(refusal),
            Ok(entry) => {
                let checked = check_remote(shared, &entry, allow_list, &mut asked).await;
                let temporary = Arc::clone(&temporary);
                match checked {
                    Err(refusal) => Err(refusal),
                    Ok(()) if entry.command.is_read() => {
                        read(shared, caller, move |session| run_batch_entry(session, entry, &temporary, prefer)).await
                    }
                    Ok(()) => {
                        let work =
                            move |session: &mut Session<'_, '_>| run_batch_entry(session, entry, &temporary, prefer);
                        write_one_of_many(shared, caller, work).await.map(|(done, requested)| {
                            last_change = requested.or(last_change);
                            done
                        })
                    }
                }
            }
        };
        // What was written is told in any case.
        let done = done.and_then(|(reply, shown)| {
            if is_read {
                space.take(&reply)?;
            }
            Ok((reply, shown))
        });
        answers.push(match done {
            Ok((reply, shown)) => response::done(reply, shown, &shared.base_url),
            Err(refusal) => response::refused(&refusal),
        });
    }
    if let Some(requested) = last_change {
        publication::acknowledged(shared, requested).await;
    }
    Ok(answers)
}

/// Asks for the references of one entry of a batch; all entries together may ask as often as one request.
async fn check_remote(
    shared: &Arc<Shared>,
    entry: &Entry,
    allow_list: &AllowList,
    asked: &mut usize,
) -> Result<(), Refusal> {
    let Some((resource, is_update)) = entry.command.resource() else { return Ok(()) };
    let mut targets = Vec::new();
    external::targets(resource, is_update, allow_list, &mut targets)?;
    *asked += targets.len();
    if *asked > limits::REMOTE_REFERENCES {
        let text = format!("More than {} references to other servers", limits::REMOTE_REFERENCES);
        return Err(Refusal::reference(text));
    }
    external::ask(targets, &shared.remote).await
}

/// A resource or Bundle of the engine itself.
pub(crate) async fn execute_local(
    shared: &Arc<Shared>,
    caller: Arc<Caller>,
    resource: Resource,
) -> Result<LocalAnswer, Refusal> {
    let is_request = resource.type_name() == "Bundle" && matches!(resource.str("type"), Some("batch" | "transaction"));
    let name = if is_request { "bundle" } else { "create" };
    let resource_type = resource.resource_type();
    let begun = AuditEvent::Begun { rule: &caller.rule, policy_version: caller.policy.version() };
    record(shared, &caller, name, resource_type, None, begun)?;
    let prefer = Prefer::default();
    let result = if is_request {
        run_bundle(shared, &caller, None, resource, prefer).await
    } else {
        let conformance = shared.conformance().await?;
        let mut prepared = Prepared::new(resource, &shared.base_url).ok_or_else(not_routed)?;
        prepared.validate_early(&conformance);
        write(shared, &caller, move |session| session.create(prepared, &CreateOptions::default())).await
    };
    let (status, code) = match &result {
        Ok(reply) => (reply.status.as_u16(), None),
        Err(refusal) => (refusal.status.as_u16(), Some(refusal.code.as_str())),
    };
    record(shared, &caller, name, resource_type, None, AuditEvent::Ended { status, code })?;
    shared.audit.on_disk().await.map_err(|error| audit_failed(&error))?;
    let reply = result?;
    let resource = match reply.content {
        Content::Resource(resource) => Some(*resource),
        Content::Empty | Content::Raw { .. } => None,
    };
    Ok(LocalAnswer { status: reply.status.as_u16(), resource })
}
