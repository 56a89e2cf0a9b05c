//! The portal's side: it asks, and learns which sites have found the person.

use pseudonyms::Pseudonym;
use serde_json::Value;

use super::super::kept::Kept;
use super::super::parties::{self, failed};
use super::super::{failure, inputs, limits, time_limits};
use super::terms;
use crate::outbox::DeliveryFailure;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};

pub(in super::super) struct CheckReidentification;

impl ServiceStep for CheckReidentification {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(record) = Kept::Portal.read(context)? else {
            return failed("this node has not asked for the data set of this run");
        };
        let (_, end) = terms(context)?;
        let pseudonym = inputs::text(context.start_task()?, "pseudonym").unwrap_or_default();
        if let Err(error) = pseudonym.parse::<Pseudonym>() {
            return failed(error.to_string());
        }
        let target = super::super::withdrawal::with_new_key(context, record.get("ttp").unwrap_or(&Value::Null));
        context.set("target", target);
        // Two approvals one after the other, each of this time.
        let twice = end + (end - context.now()) + time::Duration::days(2 * limits::ANSWER_DAYS);
        time_limits::set(context, "answerEnd", twice);
        Ok(())
    }
}

/// Inputs that go on from one to the next.
pub(super) fn handed_on(context: &StepContext<'_, '_>) -> Result<Vec<fhir::Object>, StepError> {
    let start = context.start_task()?;
    let texts = ["reason", "approval-time"].into_iter();
    Ok(texts.filter_map(|name| inputs::text(start, name).map(|text| inputs::string(name, text))).collect())
}

pub(in super::super) struct SendReidentificationRequest;

impl SendStep for SendReidentificationRequest {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let pseudonym = inputs::text(context.start_task()?, "pseudonym").unwrap_or_default();
        let mut all = vec![inputs::string("pseudonym", pseudonym)];
        all.extend(handed_on(context)?);
        parties::message(context, "target", parties::key_of(&target).map(str::to_owned), all)
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        failure::unless_delivered(context, result);
        Ok(())
    }
}

pub(in super::super) struct NoteAnswer;

impl ServiceStep for NoteAnswer {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let Some(answer) = context.latest_task().filter(|_| parties::is_from(context, "target")).cloned() else {
            failure::set(context, failure::FAILED, "the answer is not from the trusted third party");
            return Ok(());
        };
        let outcomes = inputs::outcomes(&answer);
        for (site, code) in &outcomes {
            context.add_output(inputs::outcome(site, failure::known(code)));
        }
        let is_found = outcomes.iter().any(|(_, code)| code == failure::FOUND);
        match inputs::text(&answer, "failure") {
            Some(code) => failure::set(context, code, "the trusted third party has not opened its table"),
            None if !is_found => failure::set(context, failure::DECLINED, "no site has found the person"),
            None => {}
        }
        Ok(())
    }
}

pub(in super::super) struct ConcludeReidentification;

impl ServiceStep for ConcludeReidentification {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        failure::conclude(context, Vec::new())
    }
}
