//! The trusted third party's side: whose pseudonyms these are, and forgetting them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::delivery::{self, Letter, NDJSON};
use super::super::encode::seal_rows;
use super::super::kept::{self, Kept};
use super::super::link::TABLE;
use super::super::parties::{self, Network, address_of, organization_of};
use super::super::release::STALE;
use super::super::rows::{self, IdRow, PersonRow, PseudonymRow};
use super::super::site::{DELIVERY, store_for, text_of};
use super::super::{Parts, announcement, failure, limits, time_limits};
use super::{PERSONS, SETTLED, asker, conclude, with_new_key};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Variable with the pseudonyms of who is to be forgotten.
const WITHDRAWN: &str = "withdrawn";

pub(in super::super) struct CheckNotice;

impl ServiceStep for CheckNotice {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let (site, key) = asker(context)?;
        let network = Network::of(context, "TTP", &site, "DIC")?;
        context.set("asker", parties::target(network.member(&site, "DIC")?, key.as_deref()));
        match Kept::ThirdParty.read(context)? {
            None => failure::set(context, failure::NOT_KEPT, "the table of this run is not kept any more"),
            Some(record) => {
                let target = with_new_key(context, record.get("dms").unwrap_or(&Value::Null));
                context.set("target", target);
            }
        }
        let end = context.now() + time::Duration::hours(limits::ORDER_HOURS);
        time_limits::set(context, "withdrawalEnd", end);
        Ok(())
    }
}

/// Finds the pseudonyms of who has withdrawn.
pub(in super::super) struct FindPseudonyms(pub(in super::super) Parts);

impl WorkStep for FindPseudonyms {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        if failure::code_of(context).is_some() {
            return Ok(Value::Null);
        }
        let record = Kept::ThirdParty.read(context)?.unwrap_or_default();
        Ok(json!({
            "project": record.get("project"),
            "run": context.business_key(),
            "asker": context.variable("asker"),
            "target": context.variable("target"),
            "delivery": super::inputs::text(context.start_task()?, "delivery"),
            "table": record.get(TABLE),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            failure::settle(&context, failure::FAILED, find(&self.0, input, &context).await)
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let done = failure::take(context, &output).unwrap_or_default();
        let withdrawn = kept::texts(&done, WITHDRAWN);
        if withdrawn.is_empty() {
            context.set(SETTLED, true);
            return Ok(());
        }
        context.set(WITHDRAWN, withdrawn);
        let target = context.variable("target").unwrap_or_default();
        store_for(context, done.get("sealed").unwrap_or(&Value::Null), organization_of(&target), DELIVERY)
    }
}

async fn find(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let own = context.node().organization_identifier.clone();
    let (asker, target) =
        (input.get("asker").cloned().unwrap_or_default(), input.get("target").cloned().unwrap_or_default());
    let letter = |sender: &str, recipient: &str, purpose: &str| Letter::of(input, sender, recipient, purpose);
    let from_site = letter(organization_of(&asker), &own, "withdrawalNotice");
    let notice = delivery::open(parts, address_of(&asker), text_of(input, "delivery"), from_site).await?;
    let told: Vec<IdRow> = notice.all_rows().await?;
    let told: BTreeSet<String> = told.into_iter().map(|row| row.id).collect();
    let table: Vec<PseudonymRow> = kept::rows(context, text_of(input, "table")).await?;
    // Only a site itself can speak for its persons.
    let of_site = table.into_iter().filter(|row| row.site == organization_of(&asker) && told.contains(&row.id));
    let withdrawn: BTreeSet<String> = of_site.map(|row| row.pseudonym).collect();
    if withdrawn.is_empty() {
        return Ok(json!({}));
    }
    let announced = announcement::fetch(parts, organization_of(&target), address_of(&target)).await?;
    let to_dms = letter(&own, organization_of(&target), "withdrawalOrder");
    let rows = withdrawn.iter().map(|pseudonym| PersonRow { pseudonym: pseudonym.clone() }).collect();
    let sealed = seal_rows(parts, context, &announced, &to_dms, "persons", rows).await?;
    Ok(json!({ WITHDRAWN: withdrawn, "sealed": sealed }))
}

/// Takes the persons out of the table, after their data are gone.
pub(in super::super) struct ForgetPersons;

impl WorkStep for ForgetPersons {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        let withdrawn = context.variable(WITHDRAWN).filter(|_| failure::code_of(context).is_none());
        let record = Kept::ThirdParty.read(context)?;
        let (Some(withdrawn), Some(record)) = (withdrawn, record) else { return Ok(Value::Null) };
        context.set("base", record.get(TABLE).cloned().unwrap_or_default());
        Ok(json!({ WITHDRAWN: withdrawn, TABLE: record.get(TABLE) }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move {
            if input.is_null() {
                return Ok(json!({}));
            }
            let withdrawn: BTreeSet<String> = kept::texts(input, WITHDRAWN).into_iter().collect();
            let mut table: Vec<PseudonymRow> = kept::rows(&context, text_of(input, TABLE)).await?;
            table.retain(|row| !withdrawn.contains(&row.pseudonym));
            let table = rows::print_all(&table)?;
            let table = delivery::upload(&context, context.new_id(), table.as_bytes()).await?;
            Ok(json!({ TABLE: [table] }))
        })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        context.remove(STALE);
        let table = output.get(TABLE).map(delivery::uploads).unwrap_or_default();
        let Some(record) = Kept::ThirdParty.read(context)?.filter(|_| !table.is_empty()) else { return Ok(()) };
        if record.get(TABLE) != context.variable("base").as_ref() {
            // Another withdrawal has made a new table meanwhile; this one must not bring its persons back.
            context.set(STALE, true);
            return Ok(());
        }
        kept::delete(context, &kept::texts(&record, kept::BINARIES))?;
        let ids = delivery::create(context, &table, NDJSON, None)?;
        let id = ids.first().cloned().unwrap_or_default();
        Kept::ThirdParty.write(context, &kept::with(kept::with(record, TABLE, id), kept::BINARIES, ids))?;
        context.remove(WITHDRAWN);
        tracing::info!("persons were forgotten after a withdrawal");
        Ok(())
    }
}

/// Nothing that was sealed stays.
pub(in super::super) struct ConcludeNotice;

impl ServiceStep for ConcludeNotice {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        delivery::delete_all(context)?;
        if context.variable(PERSONS).is_none() {
            context.set(PERSONS, 0);
        }
        conclude(context)
    }
}
