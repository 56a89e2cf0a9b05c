//! Batch and transaction Bundles (`fhir-api` 3).
//!
//! A transaction is one database transaction: temporary ids are given first, then deletes, creates, updates, reference
//! checks and reads follow. A batch is a database transaction per entry; a reference check is part of it, so that a
//! dangling reference leaves nothing stored (the reference keeps the resource, a quirk that is not copied).

pub(crate) mod plan;
pub(crate) mod response;
mod space;
mod temporary;

pub(crate) use space::AnswerSpace;
pub(crate) use temporary::TemporaryIds;

use std::sync::Arc;

use fhir::{Object, Resource, ResourceType};
use http::StatusCode;
use policies::Interaction;
use store::{Change, ChangeKind};

use crate::negotiate::Summary;
use crate::prefer::Prefer;
use crate::refusal::{Code, Refusal};
use crate::reply::Reply;
use crate::session::{CreateOptions, Found, Prepared, Session, UpdateOptions, version_of};
use plan::{Command, Entry};
use response::Shown;

/// The result of an entry.
pub(crate) type Done = (Reply, Shown);

/// Runs the entries of a transaction and returns the entries of the response.
pub(crate) fn run_transaction(
    session: &mut Session<'_, '_>,
    entries: Vec<Result<Entry, Refusal>>,
    prefer: Prefer,
) -> Result<Vec<Object>, Refusal> {
    let entries = entries.into_iter().collect::<Result<Vec<Entry>, Refusal>>().map_err(recode)?;
    let mut temporary = TemporaryIds::assign(session, entries.iter()).map_err(recode)?;
    announce_conformance(session, &entries, &temporary)?;
    let base_url = session.shared.base_url.clone();
    let mut order: Vec<(u8, usize, Entry)> =
        entries.into_iter().enumerate().map(|(index, entry)| (rank(&entry), index, entry)).collect();
    order.sort_by_key(|(rank, index, _)| (*rank, *index));
    let mut answers: Vec<(usize, Object)> = Vec::with_capacity(order.len());
    let mut is_checked = false;
    let mut space = AnswerSpace::new();
    for (rank, index, entry) in order {
        if rank > DELETES {
            temporary.replace_deleted(session.tx.changes());
        }
        if rank >= READS && !is_checked {
            finish_writes(session).map_err(recode)?;
            is_checked = true;
        }
        let is_read = rank >= READS;
        let answer = match run_entry(session, entry, &temporary, prefer) {
            Ok((reply, shown)) => {
                if is_read {
                    space.take(&reply).map_err(|refusal| recode(refusal.of_entry(index)))?;
                }
                response::done(reply, shown, &base_url)
            }
            // A resource that is not there does not abort, everything else does.
            Err(refusal) if is_read && refusal.status == StatusCode::NOT_FOUND => response::refused(&refusal),
            Err(refusal) => return Err(recode(refusal.of_entry(index))),
        };
        answers.push((index, answer));
    }
    if !is_checked {
        finish_writes(session).map_err(recode)?;
    }
    answers.sort_by_key(|(index, _)| *index);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Lets every entry be validated by the profiles that the transaction brings, whatever their order: they are all stored
/// together or not at all. This is also how the base profiles come into an empty store, which follow each other.
fn announce_conformance(
    session: &mut Session<'_, '_>,
    entries: &[Entry],
    temporary: &TemporaryIds,
) -> Result<(), Refusal> {
    for entry in entries {
        let (Command::Create { resource, .. }, Some(temporary_id)) = (&entry.command, &entry.temporary_id) else {
            continue;
        };
        let Some((resource_type, id)) = temporary.get(temporary_id) else { continue };
        let is_conformance = crate::conformance::TYPES.contains(&resource_type);
        // One that a condition finds stored already is not stored again and does not count.
        if is_conformance && session.tx.current_version(resource_type, id)?.is_none() {
            session.profiles.change(resource_type, id, Some(Arc::new(resource.clone())));
        }
    }
    Ok(())
}

/// Runs one entry of a batch as a transaction of its own.
pub(crate) fn run_batch_entry(
    session: &mut Session<'_, '_>,
    entry: Entry,
    temporary: &TemporaryIds,
    prefer: Prefer,
) -> Result<Done, Refusal> {
    let done = run_entry(session, entry, temporary, prefer)?;
    finish_writes(session)?;
    Ok(done)
}

const DELETES: u8 = 0;
const READS: u8 = 4;

/// Deletes, creates of what others are validated against, other creates, updates, reads.
fn rank(entry: &Entry) -> u8 {
    match (entry.command.class(), &entry.command) {
        (0, _) => DELETES,
        (_, Command::Create { resource, .. }) => {
            let is_conformance = resource.resource_type().is_some_and(|kind| crate::conformance::TYPES.contains(&kind));
            if is_conformance { 1 } else { 2 }
        }
        (2, _) => 3,
        _ => READS,
    }
}

/// 403 stays, a failure of this server stays, everything else becomes 400 (`fhir-api` 0.4).
fn recode(mut refusal: Refusal) -> Refusal {
    if refusal.status != StatusCode::FORBIDDEN && !refusal.status.is_server_error() {
        refusal.status = StatusCode::BAD_REQUEST;
        refusal.headers.clear();
        if refusal.issues.is_empty() {
            let mut with_outcome = Refusal::bad_request("Entry of the transaction failed");
            with_outcome.evidence = refusal.evidence.take();
            with_outcome.entry = refusal.entry;
            return with_outcome;
        }
    }
    refusal
}

/// Checks the references of everything that was stored and offers new Tasks and answers, once all entries are stored.
fn finish_writes(session: &mut Session<'_, '_>) -> Result<(), Refusal> {
    let changes: Vec<Change> = session.tx.changes().to_vec();
    for change in &changes {
        let Some(resource) = &change.resource else { continue };
        let old = (change.kind == ChangeKind::Updated).then_some(resource);
        session.check_references(resource, old.map(Arc::as_ref))?;
    }
    for change in &changes {
        match (&change.kind, &change.resource) {
            (ChangeKind::Created, Some(resource)) => session.offer_task(resource)?,
            (ChangeKind::Updated, Some(resource)) => session.offer_answer(resource)?,
            _ => {}
        }
    }
    session.note_changes();
    Ok(())
}

fn run_entry(
    session: &mut Session<'_, '_>,
    entry: Entry,
    temporary: &TemporaryIds,
    prefer: Prefer,
) -> Result<Done, Refusal> {
    let Some(request) = entry.request else { return run_temporary_read(session, &entry.command, temporary) };
    let resource_type = request.resource_type().ok_or_else(|| Refusal::bad_request("entry without type"))?;
    let id = request.id().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let known_id = entry.temporary_id.as_deref().and_then(|temporary_id| temporary.get(temporary_id)).map(|(_, id)| id);
    let early = entry.early;
    match entry.command {
        Command::Create { resource, if_none_exist } => {
            let prepared = prepare(session, resource, early, temporary)?;
            session.authorize(&request, Some(&prepared.resource))?;
            let options = CreateOptions {
                if_none_exist,
                returns: prefer.returns,
                id: known_id.map(str::to_owned),
                in_bundle: true,
            };
            let reply = session.create(prepared, &options)?;
            let shown = if reply.status == StatusCode::CREATED { Shown::Resource } else { Shown::Status };
            Ok((reply, shown))
        }
        Command::Update { resource, if_match } => {
            let prepared = prepare(session, resource, early, temporary)?;
            session.authorize(&request, Some(&prepared.resource))?;
            let options = UpdateOptions { if_match, returns: prefer.returns, id: None, in_bundle: true };
            Ok((session.update(&prepared, &id, &options)?, Shown::Resource))
        }
        Command::ConditionalUpdate { resource, if_match } => {
            let prepared = prepare(session, resource, early, temporary)?;
            session.authorize(&request, Some(&prepared.resource))?;
            let options =
                UpdateOptions { if_match, returns: prefer.returns, id: known_id.map(str::to_owned), in_bundle: true };
            let mut reply = session.conditional_update(prepared, &request.raw_query(), &options)?;
            // As the reference reports it, also when nothing matched and the resource was created.
            reply.status = StatusCode::OK;
            Ok((reply, Shown::Resource))
        }
        Command::Delete => {
            session.authorize(&request, None)?;
            Ok((session.delete(resource_type, &id)?, Shown::Status))
        }
        Command::ConditionalDelete => {
            session.authorize(&request, None)?;
            Ok((session.conditional_delete(resource_type, &request.raw_query(), true)?, Shown::Status))
        }
        Command::Read { preconditions, head } => {
            session.authorize(&request, None)?;
            let version = request.version().map(policies::VersionId::get);
            let reply = session.read(resource_type, &id, version, &preconditions)?;
            Ok((reply, if head { Shown::Address } else { Shown::Resource }))
        }
        Command::Search => {
            session.authorize(&request, None)?;
            run_search(session, resource_type, &request.raw_query(), prefer)
        }
        Command::ReadTemporary { .. } => Err(Refusal::bad_request("entry is not supported in a Bundle")),
    }
}

/// One hit without includes is answered as the resource itself.
fn run_search(
    session: &mut Session<'_, '_>,
    resource_type: ResourceType,
    query: &str,
    prefer: Prefer,
) -> Result<Done, Refusal> {
    let found = session.search(resource_type, query, prefer.strict)?;
    let outcome = found.outcome();
    match found.into_single() {
        Ok(single) => {
            let resource = session.shown(&single)?;
            let mut reply = Reply::resource(StatusCode::OK, Some(version_of(&single)), resource);
            reply.outcome = outcome.map(Box::new);
            Ok((reply, Shown::Resource))
        }
        Err(found) => {
            let bundle: Resource = Found::without_outcome(*found).into_bundle(session, Summary::False)?;
            Ok((Reply::resource(StatusCode::OK, None, bundle), Shown::Searchset))
        }
    }
}

fn run_temporary_read(
    session: &mut Session<'_, '_>,
    command: &Command,
    temporary: &TemporaryIds,
) -> Result<Done, Refusal> {
    let Command::ReadTemporary { temporary_id, head } = command else {
        return Err(Refusal::bad_request("entry is not supported in a Bundle"));
    };
    let Some((resource_type, id)) = temporary.get(temporary_id) else {
        return Err(Refusal::bad_request("request.url names no entry of the Bundle"));
    };
    let request =
        policies::request::for_bundle_entry(if *head { "HEAD" } else { "GET" }, &format!("{resource_type}/{id}"))
            .map_err(|error| Refusal::bad_request("request.url is not supported").because(error.to_string()))?;
    debug_assert!(matches!(request.interaction(), Interaction::Read | Interaction::Head));
    session.authorize(&request, None)?;
    let reply = session.read(resource_type, id, None, &crate::precondition::Preconditions::default())?;
    Ok((reply, if *head { Shown::Address } else { Shown::Resource }))
}

/// Puts literals where the Bundle has temporary or conditional references.
fn prepare(
    session: &mut Session<'_, '_>,
    resource: Resource,
    early: Option<Box<Prepared>>,
    temporary: &TemporaryIds,
) -> Result<Prepared, Refusal> {
    if let Some(early) = early {
        return Ok(*early);
    }
    let resource = temporary.rewrite(session, resource)?;
    Prepared::new(resource, &session.shared.base_url)
        .ok_or_else(|| Refusal::empty(StatusCode::BAD_REQUEST, Code::BadRequest))
}
