//! The site's side: whom it has sent and may not any more.
//!
//! Consent is judged as for an extraction, so that a doubt is a withdrawal. Who is no longer in the records counts too;
//! records in which nobody of the run is are taken for a mistake.

use std::collections::BTreeSet;
use std::sync::Arc;

use extraction::ConsentPolicy;
use pseudonyms::{Deidentifier, Pseudonyms, Rules};
use serde_json::{Value, json};
use sources::Selection;

use super::super::deliver::SENT;
use super::super::delivery::{self, Letter, NDJSON};
use super::super::encode::seal_rows;
use super::super::kept::{self, Kept};
use super::super::parties::{address_of, failed, organization_of};
use super::super::rows::{self, IdRow};
use super::super::site::{DELIVERY, store_for, text_of};
use super::super::{Parts, announcement, failure, limits, time_limits};
use super::{PERSONS, SETTLED, conclude, with_new_key};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Variable with the id of the list without who has withdrawn.
const REMAINING: &str = "remaining";

pub(in super::super) struct CheckWithdrawal;

impl ServiceStep for CheckWithdrawal {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(record) = Kept::Site.read(context)? else {
            return failed(
                "nothing of this run is kept here: it has not ended, was not sent, or its retention is over",
            );
        };
        let target = with_new_key(context, record.get("ttp").unwrap_or(&Value::Null));
        context.set("target", target);
        let end = context.now() + time::Duration::hours(limits::NOTICE_HOURS);
        time_limits::set(context, "withdrawalEnd", end);
        Ok(())
    }
}

/// Compares who was sent with who permits it now.
pub(in super::super) struct FindWithdrawn(pub(in super::super) Parts);

impl WorkStep for FindWithdrawn {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let record = Kept::Site.read(context)?.unwrap_or_default();
        Ok(json!({
            "project": record.get("project"),
            "run": context.business_key(),
            "target": context.variable("target"),
            "sent": record.get(SENT),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, find(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else {
            context.set(SETTLED, true);
            return Ok(());
        };
        let persons = done.get(PERSONS).and_then(Value::as_u64).unwrap_or_default();
        context.set(PERSONS, persons);
        if persons == 0 {
            context.set(SETTLED, true);
            return Ok(());
        }
        let target = context.variable("target").unwrap_or_default();
        store_for(context, done.get("sealed").unwrap_or(&Value::Null), organization_of(&target), DELIVERY)?;
        let remaining = done.get(REMAINING).map(delivery::uploads).unwrap_or_default();
        delivery::store(context, &remaining, NDJSON, None)?;
        if let Some(remaining) = remaining.first() {
            context.set(REMAINING, remaining.id.clone());
        }
        Ok(())
    }
}

async fn find(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let sent: Vec<IdRow> = kept::rows(context, text_of(input, "sent")).await?;
    let pseudonyms = Pseudonyms::new(&parts.vault.secret()?, text_of(input, "project"));
    let records = Arc::clone(&parts.records);
    let compare = move || compare(records.open()?.as_ref(), &pseudonyms, sent);
    let compared = tokio::task::spawn_blocking(compare).await.map_err(|error| WorkError::retry(error.to_string()))?;
    let (withdrawn, remaining) = compared?;
    if withdrawn.is_empty() {
        return Ok(json!({ PERSONS: 0 }));
    }
    let persons = withdrawn.len();
    let target = input.get("target").cloned().unwrap_or_default();
    let announced = announcement::fetch(parts, organization_of(&target), address_of(&target)).await?;
    let own = &context.node().organization_identifier;
    let letter = Letter::of(input, own, organization_of(&target), "withdrawalNotice");
    let sealed = seal_rows(parts, context, &announced, &letter, "withdrawn", withdrawn).await?;
    let remaining = rows::print_all(&remaining)?;
    let remaining = delivery::upload(context, context.new_id(), remaining.as_bytes()).await?;
    Ok(json!({ PERSONS: persons, "sealed": sealed, REMAINING: [remaining] }))
}

/// Who was sent and does not permit it now, and the others.
fn compare(
    source: &dyn sources::Records,
    pseudonyms: &Pseudonyms,
    sent: Vec<IdRow>,
) -> Result<(Vec<IdRow>, Vec<IdRow>), WorkError> {
    let retry = |error: sources::ReadError| WorkError::retry(error.to_string());
    let (policy, rules) = (ConsentPolicy::default(), Rules::default());
    let deidentifier = Deidentifier::new(&rules, pseudonyms);
    let today = time::OffsetDateTime::now_utc().date();
    let known: BTreeSet<&str> = sent.iter().map(|row| row.id.as_str()).collect();
    let (mut permitted, mut found) = (BTreeSet::new(), 0_u64);
    for person in source.persons().map_err(retry)? {
        let id = deidentifier.transfer_id("Patient", person.as_str());
        if !known.contains(id.as_str()) {
            continue;
        }
        found += 1;
        let consents = source.resources_of(&person, &Selection::of_type("Consent")).map_err(retry)?;
        let consents: Vec<&fhir::Resource> = consents.iter().map(|record| &record.resource).collect();
        if policy.judge(&consents, today).is_ok() {
            permitted.insert(id);
        }
    }
    if found == 0 && !sent.is_empty() {
        return Err(failure::refused(
            failure::RECORDS_NOT_READY,
            "nobody who was sent is in the records: they seem to be others, see `schleuse source stats`",
        ));
    }
    Ok(sent.into_iter().partition(|row| !permitted.contains(&row.id)))
}

/// The site counts them as gone only when they are.
pub(in super::super) struct ConcludeWithdrawal;

impl ServiceStep for ConcludeWithdrawal {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let remaining = context.string(REMAINING).filter(|_| failure::code_of(context).is_none());
        let record = Kept::Site.read(context)?;
        if let (Some(remaining), Some(record)) = (remaining, record) {
            let before = kept::texts(&record, kept::BINARIES);
            kept::delete(context, &before)?;
            delivery::keep(context, &remaining);
            let record = kept::with(kept::with(record, SENT, remaining.clone()), kept::BINARIES, vec![remaining]);
            Kept::Site.write(context, &record)?;
        }
        delivery::delete_all(context)?;
        conclude(context)
    }
}
