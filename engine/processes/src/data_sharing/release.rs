//! Release and end of a merged data set: a person decides, the portal gets it sealed, and after the retention nothing is
//! left of it here.

use fhir::Resource;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::delivery::{self, File, Letter, SEALED};
use super::kept::{self, Kept};
use super::merge::{MERGED_FILES, OUTCOMES, SUMMARY};
use super::parties::{self, address_of, entries, organization_of};
use super::site::{delivery_inputs, fill, fill_text, is_answered_with_yes, listed};
use super::{Parts, announcement, failure, inputs, limits};
use crate::feasibility::requester;
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::user_task::UserTaskListener;
use crate::work::WorkContext;

/// Variable with the URL of what is provided.
pub(super) const PROVIDED: &str = "provided";
/// Variable that is there while work has to be done again, because the data set has changed meanwhile.
pub(super) const STALE: &str = "stale";
/// Member of the record: how often the data set was made anew.
pub(super) const REVISION: &str = "revision";
/// Member of the record with the ids of what is sealed to the portal.
pub(super) const PROVIDED_BINARIES: &str = "provided";

/// Outcomes as far as they are known; a site of which nothing is known has not answered.
fn outcomes(context: &StepContext<'_, '_>) -> Vec<(String, String)> {
    let known = context.variable(OUTCOMES).unwrap_or_default();
    let sites = entries(context, "sites");
    let outcomes = sites.iter().map(|site| {
        let site = organization_of(site);
        let code = known.get(site).and_then(Value::as_str).unwrap_or(failure::NO_LINKAGE);
        (site.to_owned(), code.to_owned())
    });
    outcomes.collect()
}

/// Shows what was merged to who decides about it.
pub(super) struct ShowDataSet;

impl UserTaskListener for ShowDataSet {
    fn before_create(&self, context: &mut StepContext<'_, '_>, response: &mut Resource) -> Result<(), StepError> {
        let record = Kept::Management.read(context)?.unwrap_or_default();
        let summary = record.get(SUMMARY).cloned().unwrap_or_default();
        let setup = context.start_task()?;
        fill_text(response, "project", inputs::text(setup, "project").unwrap_or_default());
        fill_text(response, "requester", requester(setup).unwrap_or_default());
        let count = |name: &str| summary.get(name).and_then(Value::as_i64).unwrap_or_default();
        fill(response, "persons", "valueInteger", count("persons"));
        fill(response, "linked", "valueInteger", count("linked"));
        fill_text(response, "resources", &listed(summary.get("resources")));
        let persons = summary.get("sites").cloned().unwrap_or_default();
        let sites = outcomes(context).into_iter().map(|(site, code)| match persons.get(&site) {
            Some(count) => format!("{site}: {code}, {count} persons"),
            None => format!("{site}: {code}"),
        });
        let sites: String = sites.collect::<Vec<_>>().join("; ").chars().take(limits::SHOWN).collect();
        fill_text(response, "sites", &sites);
        let files = record.get(MERGED_FILES).cloned().unwrap_or_default();
        let urls =
            files.as_array().into_iter().flatten().filter_map(|file| file.get("name")?.as_str()?.split('/').next());
        let urls: Vec<String> = urls.map(|id| delivery::url(context, id)).collect();
        let urls: String = urls.join(" ").chars().take(limits::SHOWN).collect();
        fill_text(response, "review", &urls);
        Ok(())
    }
}

pub(super) struct ReadRelease;

impl ServiceStep for ReadRelease {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        if !is_answered_with_yes(context, "release") {
            failure::set(context, failure::NOT_RELEASED, "");
        }
        Ok(())
    }
}

/// Seals the merged files to the portal.
pub(super) struct Seal(pub(super) Parts);

impl WorkStep for Seal {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let record = Kept::Management.read(context)?.unwrap_or_default();
        begin(context, &record);
        Ok(json!({
            "project": inputs::text(context.start_task()?, "project"),
            "run": context.business_key(),
            "portal": context.variable("portal"),
            "files": record.get(MERGED_FILES),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, seal(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        // A failure of work on files that have changed meanwhile is none.
        let Some(record) = current(context)? else { return Ok(()) };
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        if record.is_null() {
            failure::set(context, failure::FAILED, "the merged data set is not there any more");
            return Ok(());
        }
        let record = provide(context, record, &done)?;
        Kept::Management.write(context, &record)
    }
}

/// Variable with the revision that work has begun with.
const BASE: &str = "baseRevision";

pub(super) fn revision_of(record: &Value) -> u64 {
    record.get(REVISION).and_then(Value::as_u64).unwrap_or_default()
}

/// Notes the revision that work begins with.
pub(super) fn begin(context: &mut StepContext<'_, '_>, record: &Value) {
    context.set(BASE, revision_of(record));
}

/// The record, if it is still of the revision that work has begun with; else the work is to be done again.
pub(super) fn current(context: &mut StepContext<'_, '_>) -> Result<Option<Value>, StepError> {
    let Some(record) = Kept::Management.read(context)? else {
        // Deleted meanwhile: there is nothing left to change.
        context.remove(STALE);
        return Ok(Some(Value::Null));
    };
    if context.variable(BASE).and_then(|base| base.as_u64()) == Some(revision_of(&record)) {
        context.remove(STALE);
        return Ok(Some(record));
    }
    tracing::info!("the data set has changed meanwhile; the step is done again");
    context.set(STALE, true);
    Ok(None)
}

/// Makes what was sealed readable for the portal, in the place of what was before.
pub(super) fn provide(context: &mut StepContext<'_, '_>, record: Value, sealed: &Value) -> Result<Value, StepError> {
    let before = kept::texts(&record, PROVIDED_BINARIES);
    kept::delete(context, &before)?;
    let portal = record.get("portal").cloned().unwrap_or_default();
    let ids = delivery::create(context, &delivery::uploads(sealed), SEALED, Some(organization_of(&portal)))?;
    if let Some(manifest) = ids.first() {
        let url = delivery::url(context, manifest);
        context.set(PROVIDED, url);
    }
    let mut all = kept::texts(&record, kept::BINARIES);
    all.retain(|id| !before.contains(id));
    all.extend(ids.iter().cloned());
    Ok(kept::with(kept::with(record, kept::BINARIES, all), PROVIDED_BINARIES, ids))
}

async fn seal(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let portal = input.get("portal").cloned().unwrap_or_default();
    let announced = announcement::fetch(parts, organization_of(&portal), address_of(&portal)).await?;
    let own = &context.node().organization_identifier;
    let letter = Letter::of(input, own, organization_of(&portal), "dataSetProvided");
    let (sender, mut files) = mpsc::channel(limits::PARTS_AHEAD);
    let named = input.get("files").and_then(Value::as_array).cloned().unwrap_or_default();
    let reading = async move {
        for file in &named {
            let read = read_file(context, file).await?;
            sender.send(read).await.map_err(|_| WorkError::retry("nobody takes the files any more"))?;
        }
        Ok(())
    };
    let sealing = delivery::seal(parts, context, &announced, &letter, &mut files);
    let ((), sealed) = tokio::try_join!(reading, sealing)?;
    Ok(json!(sealed))
}

/// A merged file of this node.
pub(super) async fn read_file(context: &WorkContext, file: &Value) -> Result<File, WorkError> {
    let gone = || WorkError::failed("a file of the merged data set is gone");
    let (id, name) = file.get("name").and_then(Value::as_str).and_then(|name| name.split_once('/')).ok_or_else(gone)?;
    let bytes = kept::content(context, id).await?;
    let records = file.get("records").and_then(Value::as_u64).unwrap_or_default();
    Ok(File { name: name.to_owned(), bytes, records })
}

pub(super) struct SendDataSetProvided;

impl SendStep for SendDataSetProvided {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut all = delivery_inputs(context, PROVIDED);
        if failure::code_of(context).is_none() {
            let record = Kept::Management.read(context)?.unwrap_or_default();
            let summary = record.get(SUMMARY).cloned().unwrap_or_default();
            for (code, name) in [("persons", "persons"), ("resources", "total")] {
                all.push(inputs::unsigned(code, summary.get(name).and_then(Value::as_u64).unwrap_or_default()));
            }
            // Whoever has withdrawn can be taken out of the copy as long as it is there.
            let end = context.string("retentionEnd");
            all.extend(end.map(|end| inputs::instant("retention-end", &end)));
        }
        all.extend(outcomes(context).iter().map(|(site, code)| inputs::outcome(site, code)));
        parties::message(context, "portal", None, all)
    }

    /// What cannot be provided is kept no longer than it would have been.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(error) = result {
            tracing::warn!(error = error.text, "the portal could not be told of the data set");
        }
        failure::unless_delivered(context, result);
        Ok(())
    }
}

/// Nothing of the data stays, merged or sealed.
pub(super) struct ConcludeMerge;

impl ServiceStep for ConcludeMerge {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let deleted = delivery::delete_all(context)? + Kept::Management.forget(context)?;
        let mut outputs: Vec<fhir::Object> =
            outcomes(context).iter().map(|(site, code)| inputs::outcome(site, code)).collect();
        if deleted > 0 {
            let now = fhir::date::format_instant(context.now());
            outputs.push(inputs::instant("deleted", &now));
            tracing::info!(files = deleted, "a merged data set was deleted");
        }
        failure::conclude(context, outputs)
    }
}
