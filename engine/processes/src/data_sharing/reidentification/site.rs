//! The site's side: after the approval, and not before, it opens what the trusted third party has sent and looks in its
//! records who that is. The answer stays at this node, for some days.

use std::sync::Arc;

use pseudonyms::{Deidentifier, Pseudonyms, Rules};
use serde_json::{Value, json};

use super::super::delivery::{self, Letter};
use super::super::kept::Kept;
use super::super::parties::{self, Network, address_of, failed, organization_of};
use super::super::rows::IdRow;
use super::super::site::text_of;
use super::super::withdrawal::asker;
use super::super::{Parts, failure, inputs, limits, time_limits};
use super::{PORTAL, PROJECT, terms};
use crate::outbox::DeliveryFailure;
use crate::step::{BoxFuture, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::WorkContext;

/// Raw bytes: as JSON it could be taken for a resource.
const ANSWER_TYPE: &str = delivery::SEALED;

pub(in super::super) struct CheckReidentificationOrder;

impl ServiceStep for CheckReidentificationOrder {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let (ttp, key) = asker(context)?;
        let (_, end) = terms(context)?;
        let network = Network::of(context, "DIC", &ttp, "TTP")?;
        context.set("asker", parties::target(network.member(&ttp, "TTP")?, key.as_deref()));
        time_limits::set(context, "approvalEnd", end);
        match Kept::Site.read(context)? {
            None => failure::set(context, failure::NOT_KEPT, "nothing of this run is kept here any more"),
            Some(record) if record.get("ttp").map(organization_of) != Some(ttp.as_str()) => {
                return failed("the persons of this run were linked by another organisation");
            }
            Some(record) => {
                context.set(PROJECT, record.get("project").cloned().unwrap_or_default());
                context.set(PORTAL, record.get("portal").cloned().unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// Looks who it is.
pub(in super::super) struct FindPatient(pub(in super::super) Parts);

impl WorkStep for FindPatient {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        Ok(json!({
            "project": context.string(PROJECT),
            "run": context.business_key(),
            "asker": context.variable("asker"),
            "delivery": inputs::text(context.start_task()?, "delivery"),
        }))
    }

    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { failure::settle(&context, failure::FAILED, find(&self.0, input, &context).await) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        let Some(done) = failure::take(context, &output) else { return Ok(()) };
        let found = delivery::uploads(&done);
        delivery::store(context, &found, ANSWER_TYPE, None)?;
        if let Some(found) = found.first() {
            let url = delivery::url(context, &found.id);
            context.add_output(inputs::url("patient", &url));
        }
        let end = context.now() + time::Duration::days(limits::IDENTITY_DAYS);
        time_limits::set(context, "identityEnd", end);
        tracing::info!("a person was re-identified after two approvals");
        Ok(())
    }
}

async fn find(parts: &Parts, input: &Value, context: &WorkContext) -> Result<Value, WorkError> {
    let ttp = input.get("asker").cloned().unwrap_or_default();
    let own = &context.node().organization_identifier;
    let letter = Letter::of(input, organization_of(&ttp), own, "reidentificationOrder");
    let order = delivery::open(parts, address_of(&ttp), text_of(input, "delivery"), letter).await?;
    let wanted: Vec<IdRow> = order.all_rows().await?;
    let [IdRow { id: wanted }] = wanted.as_slice() else {
        return Err(WorkError::failed("a re-identification is of one person"));
    };
    let pseudonyms = Pseudonyms::new(&parts.vault.secret()?, text_of(input, "project"));
    let (records, wanted) = (Arc::clone(&parts.records), wanted.clone());
    let look = move || {
        let rules = Rules::default();
        let deidentifier = Deidentifier::new(&rules, &pseudonyms);
        let persons = records.open()?.persons().map_err(|error| WorkError::retry(error.to_string()))?;
        let mut persons = persons.into_iter();
        Ok::<_, WorkError>(persons.find(|person| deidentifier.transfer_id("Patient", person.as_str()) == wanted))
    };
    let found = tokio::task::spawn_blocking(look).await.map_err(|error| WorkError::retry(error.to_string()))??;
    let unknown = || failure::refused(failure::UNKNOWN_PERSON, "the person is not in the records any more");
    let found = json!({ "patient": format!("Patient/{}", found.ok_or_else(unknown)?.as_str()) }).to_string();
    Ok(json!([delivery::upload(context, context.new_id(), found.as_bytes()).await?]))
}

/// Tells the trusted third party that somebody was found, or why not.
pub(in super::super) struct SendSiteAnswer;

impl SendStep for SendSiteAnswer {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let asker = context.variable("asker").unwrap_or_default();
        let failed = failure::code_of(context).map(|code| inputs::code("failure", &code));
        parties::message(context, "asker", parties::key_of(&asker).map(str::to_owned), failed.into_iter().collect())
    }

    /// What was found is for this site, whether or not the others learn of it.
    fn delivered(&self, _: &mut StepContext<'_, '_>, result: &Result<(), DeliveryFailure>) -> Result<(), StepError> {
        if let Err(error) = result {
            tracing::warn!(error = error.text, "the trusted third party could not be told of a re-identification");
        }
        Ok(())
    }
}

/// Who it was is deleted.
pub(in super::super) struct ConcludeIdentity;

impl ServiceStep for ConcludeIdentity {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        delivery::delete_all(context)?;
        match failure::code_of(context) {
            Some(code) if failure::is_decision(&code) => {
                let own = context.node().organization_identifier.clone();
                context.add_output(inputs::outcome(&own, &code));
                Ok(())
            }
            _ => failure::conclude(context, Vec::new()),
        }
    }
}
