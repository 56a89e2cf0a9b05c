//! The trusted third party's side: after the approval, and not before, it looks whose pseudonym it is.

use serde_json::{Map, Value, json};

use super::super::delivery::{self, Letter, SEALED};
use super::super::encode::seal_rows;
use super::super::kept::{self, Kept};
use super::super::link::TABLE;
use super::super::parties::{self, address_of, entries, failed, organization_of};
use super::super::rows::{IdRow, PseudonymRow};
use super::super::site::text_of;
use super::super::withdrawal::{asker, with_new_key};
use super::super::{Parts, announcement, failure, inputs, limits, time_limits};
use super::portal::handed_on;
use super::{PORTAL, PROJECT, terms};
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

pub(in super::super) struct CheckPseudonym;

impl ServiceStep for CheckPseudonym {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let (portal, key) = asker(context)?;
        let (_, end) = terms(context)?;
        let network = parties::Network::of(context, "TTP", &portal, "HRP")?;
        let target = parties::target(network.member(&portal, "HRP")?, key.as_deref());
        context.set("asker", target.clone());
        context.set(PORTAL, target);
        time_limits::set(context, "approvalEnd", end);
        match Kept::ThirdParty.read(context)? {
            None => failure::set(context, failure::NOT_KEPT, "the table of this run is not kept any more"),
            Some(record) if record.get("portal").map(organization_of) != Some(portal.as_str()) => {
                return failed("the data set of this run was asked for by another organisation");
            }
            Some(record) => context.set(PROJECT, record.get("project").cloned().unwrap_or_default()),
        }
        Ok(())
    }
}

/// Looks which sites know the person.
pub(in super::super) struct FindSites(pub(in super::super) Parts);

impl WorkStep for FindSites {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        // Sites have their own time, after the approval here.
        let (_, end) = terms(context)?;
        time_limits::set(context, "sitesEnd", end + time::Duration::days(limits::ANSWER_DAYS));
        let record = Kept::ThirdParty.read(context)?.unwrap_or_default();
        Ok(json!({
            "project": record.get("project"),
            "run": context.business_key(),
            "pseudonym": inputs::text(context.start_task()?, "pseudonym"),
            "table": record.get(TABLE),
            "sites": record.get("sites"),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, find(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let record = Kept::ThirdParty.read(context)?.unwrap_or_default();
        let mut targets = Vec::new();
        for site in record.get("sites").and_then(Value::as_array).into_iter().flatten() {
            let sealed = done.get(organization_of(site)).map(delivery::uploads).unwrap_or_default();
            let Some(manifest) = sealed.first() else { continue };
            delivery::store(context, &sealed, SEALED, Some(organization_of(site)))?;
            let url = delivery::url(context, &manifest.id);
            let target = kept::with(with_new_key(context, site), "delivery", url);
            targets.push(kept::with(target, "sent", true));
        }
        context.set("targets", json!({ "entries": targets }));
        Ok(())
    }
}

async fn find(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    if input.get("table").is_none_or(Value::is_null) {
        return Err(failure::refused(failure::NOT_KEPT, "the table of this run is not kept any more"));
    }
    let table: Vec<PseudonymRow> = kept::rows(context, text_of(input, "table")).await?;
    let own = &context.node().organization_identifier;
    let mut found = Map::new();
    for row in table.into_iter().filter(|row| row.pseudonym == text_of(input, "pseudonym")) {
        let mut sites = input.get("sites").and_then(Value::as_array).into_iter().flatten();
        let Some(site) = sites.find(|site| organization_of(site) == row.site) else { continue };
        let announced = announcement::fetch(parts, &row.site, address_of(site)).await?;
        let letter = Letter::of(input, own, &row.site, "reidentificationOrder");
        let sealed = seal_rows(parts, context, &announced, &letter, "person", vec![IdRow { id: row.id }]).await?;
        found.insert(row.site, sealed);
    }
    if found.is_empty() {
        return Err(failure::refused(failure::UNKNOWN_PERSON, "nobody of this run has the pseudonym"));
    }
    Ok(Value::Object(found))
}

pub(in super::super) struct SendReidentificationOrder;

impl SendStep for SendReidentificationOrder {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let mut all = vec![inputs::url("delivery", text_of(&target, "delivery"))];
        all.extend(handed_on(context)?);
        parties::message(context, "target", parties::key_of(&target).map(str::to_owned), all)
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if result.is_err() {
            let target = context.variable("target").unwrap_or_default();
            context.set(outcome_variable(organization_of(&target)), failure::NOT_REACHED);
            context.set("target", kept::with(target, "sent", false));
        }
        Ok(())
    }
}

fn outcome_variable(site: &str) -> String {
    format!("found:{site}")
}

/// Notes what a site has answered.
pub(in super::super) struct NoteSite;

impl ServiceStep for NoteSite {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let target = context.variable("target").unwrap_or_default();
        let answer = context.latest_task().filter(|_| parties::is_from(context, "target"));
        let code = answer.map_or(Some(failure::FAILED), |answer| inputs::text(answer, "failure"));
        let code = code.map_or(failure::FOUND, failure::known);
        context.set(outcome_variable(organization_of(&target)), code);
        Ok(())
    }
}

/// Notes that a site has not answered.
pub(in super::super) struct NoteNoSite;

impl ServiceStep for NoteNoSite {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let target = context.variable("target").unwrap_or_default();
        context.set(outcome_variable(organization_of(&target)), failure::NO_ANSWER);
        Ok(())
    }
}

fn outcomes(context: &StepContext<'_, '_>) -> Vec<fhir::Object> {
    let sites = entries(context, "targets");
    let outcomes = sites.iter().map(|site| {
        let site = organization_of(site);
        inputs::outcome(site, context.string(&outcome_variable(site)).as_deref().unwrap_or(failure::NO_ANSWER))
    });
    outcomes.collect()
}

pub(in super::super) struct SendReidentificationAnswer;

impl SendStep for SendReidentificationAnswer {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let asker = context.variable("asker").unwrap_or_default();
        let mut all = outcomes(context);
        all.extend(failure::code_of(context).map(|code| inputs::code("failure", &code)));
        parties::message(context, "asker", parties::key_of(&asker).map(str::to_owned), all)
    }

    fn delivered(&self, _: &mut StepContext<'_, '_>, result: &Result<(), DeliveryFailure>) -> Result<(), StepError> {
        if let Err(error) = result {
            tracing::warn!(error = error.text, "the portal could not be told what came of a re-identification");
        }
        Ok(())
    }
}

/// Nothing that was sealed stays.
pub(in super::super) struct ConcludeResolution;

impl ServiceStep for ConcludeResolution {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        delivery::delete_all(context)?;
        let outcomes = outcomes(context);
        match failure::code_of(context) {
            // Somebody here has decided so; nothing went wrong.
            Some(code) if failure::is_decision(&code) => {
                let own = context.node().organization_identifier.clone();
                context.add_output(inputs::outcome(&own, &code));
                Ok(())
            }
            _ => failure::conclude(context, outcomes),
        }
    }
}
