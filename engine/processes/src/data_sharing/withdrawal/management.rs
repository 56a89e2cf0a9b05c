//! The data management site's side: the merged data without who has withdrawn.
//!
//! Only files that hold one of the persons are written anew; the ones before are deleted with all versions. A Provenance in
//! a file of its own says when persons were taken out and names their pseudonyms, of which nobody can tell any more whose
//! they were, so that who has a copy can take them out of it too.

mod strike;

use std::collections::BTreeSet;

use sealing::{Part, Revision};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::strike::{WITHDRAWN_FILE, strike, withdrawn_provenance};
use super::super::delivery::{self, File, Letter, NDJSON, Uploaded};
use super::super::kept::{self, Kept};
use super::super::merge::{MERGED_FILES, SUMMARY};
use super::super::parties::{self, Network, address_of, failed, organization_of};
use super::super::release::{self, PROVIDED, PROVIDED_BINARIES, REVISION, provide, read_file, revision_of};
use super::super::rows::PersonRow;
use super::super::site::text_of;
use super::super::{Parts, announcement, failure, inputs, limits, time_limits};
use super::{NoteDone, PERSONS, SETTLED, SendDelivery, asker, conclude, with_new_key};
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Member of the record with the pseudonyms of who was taken out so far.
const WITHDRAWN: &str = "withdrawn";
/// Member of the record that is true while the portal has not confirmed the latest revision.
const UNTOLD: &str = "untold";

pub(in super::super) struct CheckRevision;

impl ServiceStep for CheckRevision {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let (ttp, key) = asker(context)?;
        let network = Network::of(context, "DMS", &ttp, "TTP")?;
        context.set("asker", parties::target(network.member(&ttp, "TTP")?, key.as_deref()));
        if let Some(record) = Kept::Management.read(context)? {
            if record.get("ttp").map(organization_of) != Some(ttp.as_str()) {
                return failed("the persons of this run were linked by another organisation");
            }
            let portal = with_new_key(context, record.get("portal").unwrap_or(&Value::Null));
            context.set("target", portal);
        }
        let end = context.now() + time::Duration::hours(limits::REVISION_HOURS);
        time_limits::set(context, "withdrawalEnd", end);
        Ok(())
    }
}

/// Makes the data set anew.
pub(in super::super) struct Revise(pub(in super::super) Parts);

impl WorkStep for Revise {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        // Without a record the data were deleted already, and nothing is left to take out.
        let Some(record) = Kept::Management.read(context)? else { return Ok(Value::Null) };
        release::begin(context, &record);
        let mut input = record;
        if let Some(members) = input.as_object_mut() {
            members.insert("run".to_owned(), context.business_key().into());
            let delivery = inputs::text(context.start_task()?, "delivery");
            members.insert("delivery".to_owned(), delivery.into());
        }
        Ok(input)
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            failure::settle(&context, failure::FAILED, revise(&self.0, input, &context).await)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(record) = release::current(context)? else { return Ok(()) };
        let done = failure::take(context, &output).unwrap_or_default();
        let Some(revised) = done.get("revised").filter(|revised| !revised.is_null() && !record.is_null()) else {
            context.set(SETTLED, true);
            return Ok(());
        };
        let persons = revised.get("removed").and_then(Value::as_u64).unwrap_or_default();
        context.set(PERSONS, persons);
        let replaced = kept::texts(revised, "replaced");
        kept::delete(context, &replaced)?;
        let files = revised.get("files").map(delivery::uploads).unwrap_or_default();
        let mut all = kept::texts(&record, kept::BINARIES);
        all.retain(|id| !replaced.contains(id));
        all.extend(delivery::create(context, &files, NDJSON, None)?);
        let member = |name: &str| revised.get(name).cloned().unwrap_or_default();
        let revision = revision_of(&record) + 1;
        let record = kept::with(kept::with(record, kept::BINARIES, all), REVISION, revision);
        let record = kept::with(kept::with(record, MERGED_FILES, member("named")), WITHDRAWN, member(WITHDRAWN));
        let mut record = kept::with(record, SUMMARY, member(SUMMARY));
        context.add_output(inputs::unsigned(REVISION, revision));
        match done.get("sealed").filter(|sealed| !sealed.is_null()) {
            Some(sealed) => record = kept::with(provide(context, record, sealed)?, UNTOLD, true),
            None => context.set(SETTLED, true),
        }
        tracing::info!(revision, persons, "persons who have withdrawn were taken out of a merged data set");
        Kept::Management.write(context, &record)
    }
}

/// The files of the new revision.
struct Revised {
    files: Vec<Uploaded>,
    named: Vec<Part>,
    replaced: Vec<String>,
    persons: BTreeSet<String>,
    resources: u64,
}

async fn revise(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let withdrawn = ordered(parts, input, context).await?;
    let before: BTreeSet<String> = kept::texts(input, WITHDRAWN).into_iter().collect();
    let is_released = input.get(PROVIDED_BINARIES).is_some();
    let mut named: Vec<Part> = serde_json::from_value(input.get(MERGED_FILES).cloned().unwrap_or_default())
        .map_err(|_| WorkError::failed("the files of the merged data set are not known"))?;
    named.retain(|part| !is_list_of_withdrawn(&part.name));
    let all: BTreeSet<String> = before.union(&withdrawn).cloned().collect();
    let (sender, mut sealing) = mpsc::channel(limits::PARTS_AHEAD);
    let make = make(context, named, &withdrawn, &before, &all, is_released.then_some(sender));
    if !is_released {
        let revised = make.await?;
        return Ok(json!({ "revised": output(input, revised, &before, &all) }));
    }
    let portal = input.get("portal").cloned().unwrap_or_default();
    let announced = announcement::fetch(parts, organization_of(&portal), address_of(&portal)).await?;
    let letter = Letter::of(input, &context.node().organization_identifier, organization_of(&portal), "dataSetRevised");
    let revision = Revision { number: revision_of(input) + 1, withdrawn: all.len() as u64 };
    let seal = delivery::seal_revision(parts, context, &announced, &letter, Some(revision), &mut sealing);
    let (revised, sealed) = tokio::try_join!(make, seal)?;
    let is_untold = input.get(UNTOLD).and_then(Value::as_bool) == Some(true);
    if revised.persons.is_empty() && !is_untold {
        return Ok(json!({}));
    }
    Ok(json!({ "revised": output(input, revised, &before, &all), "sealed": sealed }))
}

fn is_list_of_withdrawn(name: &str) -> bool {
    name.split_once('/').is_some_and(|(_, file)| file == WITHDRAWN_FILE)
}

/// The pseudonyms that the trusted third party names.
async fn ordered(parts: &Parts, input: &Value, context: &WorkContext) -> Result<BTreeSet<String>, WorkError> {
    let ttp = input.get("ttp").cloned().unwrap_or_default();
    let from_ttp = Letter::of(input, organization_of(&ttp), &context.node().organization_identifier, "withdrawalOrder");
    let order = delivery::open(parts, address_of(&ttp), text_of(input, "delivery"), from_ttp).await?;
    let rows: Vec<PersonRow> = order.all_rows().await?;
    Ok(rows.into_iter().map(|row| row.pseudonym).collect())
}

/// Goes through the files, one after the other; hands each to who seals it, if somebody does.
async fn make(
    context: &WorkContext,
    named: Vec<Part>,
    withdrawn: &BTreeSet<String>,
    before: &BTreeSet<String>,
    all: &BTreeSet<String>,
    sealing: Option<mpsc::Sender<File>>,
) -> Result<Revised, WorkError> {
    let mut revised =
        Revised { files: Vec::new(), named: Vec::new(), replaced: Vec::new(), persons: BTreeSet::new(), resources: 0 };
    for part in named {
        let file = read_file(context, &json!({ "name": part.name, "records": part.records })).await?;
        let (bytes, withdrawn) = (file.bytes, withdrawn.clone());
        let struck = tokio::task::spawn_blocking(move || strike(bytes, &withdrawn)).await;
        let struck = struck.map_err(|error| WorkError::retry(error.to_string()))??;
        revised.persons.extend(struck.persons);
        revised.resources += struck.resources;
        let (bytes, records) = (struck.bytes, struck.records);
        if !struck.is_changed {
            revised.named.push(part);
        } else {
            revised.replaced.extend(part.name.split('/').next().map(str::to_owned));
            if records == 0 {
                continue;
            }
            revised.add(context, &file.name, &bytes, records).await?;
        }
        hand_on(sealing.as_ref(), File { name: file.name, bytes, records }).await?;
    }
    let after: BTreeSet<&String> = before.iter().chain(&revised.persons).collect();
    if !after.is_empty() {
        let now = fhir::date::format_instant(time::OffsetDateTime::now_utc());
        let bytes = withdrawn_provenance(all, &context.node().organization_identifier, &now);
        revised.add(context, WITHDRAWN_FILE, &bytes, 1).await?;
        hand_on(sealing.as_ref(), File { name: WITHDRAWN_FILE.to_owned(), bytes, records: 1 }).await?;
    }
    Ok(revised)
}

async fn hand_on(sealing: Option<&mpsc::Sender<File>>, file: File) -> Result<(), WorkError> {
    match sealing {
        Some(sealing) => sealing.send(file).await.map_err(|_| WorkError::retry("nobody takes the files any more")),
        None => Ok(()),
    }
}

impl Revised {
    async fn add(&mut self, context: &WorkContext, name: &str, bytes: &[u8], records: u64) -> Result<(), WorkError> {
        let id = context.new_id();
        self.named.push(Part::of(&format!("{id}/{name}"), bytes, records));
        self.files.push(delivery::upload(context, id, bytes).await?);
        Ok(())
    }
}

/// What becomes of the record; nothing if none of the persons is in the data.
fn output(input: &Value, revised: Revised, before: &BTreeSet<String>, all: &BTreeSet<String>) -> Value {
    let is_untold = input.get(UNTOLD).and_then(Value::as_bool) == Some(true);
    if revised.persons.is_empty() && !is_untold {
        return Value::Null;
    }
    // The list of who was taken out before is replaced too.
    let files = input.get(MERGED_FILES).and_then(Value::as_array).into_iter().flatten();
    let lists = files.filter_map(|file| file.get("name")?.as_str()).filter(|name| is_list_of_withdrawn(name));
    let mut replaced = revised.replaced;
    replaced.extend(lists.filter_map(|name| name.split('/').next()).map(str::to_owned));
    let mut summary = input.get(SUMMARY).cloned().unwrap_or_default();
    let less = |summary: &Value, name: &str, by: u64| {
        summary.get(name).and_then(Value::as_u64).unwrap_or_default().saturating_sub(by)
    };
    let (persons, total) =
        (less(&summary, "persons", revised.persons.len() as u64), less(&summary, "total", revised.resources));
    summary = kept::with(kept::with(summary, "persons", persons), "total", total);
    debug_assert!(before.is_subset(all));
    json!({
        "files": revised.files,
        "named": revised.named,
        "replaced": replaced,
        "removed": revised.persons.len(),
        WITHDRAWN: all,
        SUMMARY: summary,
    })
}

/// Gives the portal the new revision.
pub(in super::super) struct SendDataSetRevised;

impl SendStep for SendDataSetRevised {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let record = Kept::Management.read(context)?.unwrap_or_default();
        let mut message = SendDelivery(PROVIDED).message(context)?;
        message.inputs.push(inputs::unsigned(REVISION, revision_of(&record)));
        for (code, name) in [("persons", "persons"), ("resources", "total")] {
            let count = record.get(SUMMARY).and_then(|summary| summary.get(name)?.as_u64()).unwrap_or_default();
            message.inputs.push(inputs::unsigned(code, count));
        }
        Ok(message)
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        SendDelivery(PROVIDED).delivered(context, result)
    }
}

/// The portal has the new revision, and not the one before any more.
pub(in super::super) struct NoteTaken;

impl ServiceStep for NoteTaken {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let persons = context.variable(PERSONS);
        NoteDone.execute(context)?;
        context.set(PERSONS, persons.unwrap_or_default());
        if let (None, Some(record)) = (failure::code_of(context), Kept::Management.read(context)?) {
            Kept::Management.write(context, &kept::with(record, UNTOLD, false))?;
        }
        Ok(())
    }
}

pub(in super::super) struct ConcludeRevision;

impl ServiceStep for ConcludeRevision {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        conclude(context)
    }
}
