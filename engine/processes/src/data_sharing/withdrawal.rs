//! A consent that is withdrawn after data were shared: from the site, over the trusted third party and the data management
//! site, to the portal. One process with a start for each:
//!
//! ```text
//! site ─ transfer ids ─▶ trusted third party ─ pseudonyms ─▶ data management site ─ new revision ─▶ portal
//!   ◀──────── done ─────────────┘      ◀──────── done ───────────────┘
//! ```
//!
//! Invariants: nobody learns more than the run has told before; the persons leave the merged data of all sites, with
//! everything that is there of them; the third party forgets them after the data are gone, and the site counts them as
//! gone after that. Whatever fails on the way leaves the state before it, so that telling again is the remedy.

pub(super) mod management;
pub(super) mod portal;
pub(super) mod site;
pub(super) mod third_party;

use serde_json::Value;

use super::{failure, inputs, parties};
use crate::feasibility::requester;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::{outbox::DeliveryFailure, task, terms};

/// Variable that is there when nobody needs to be told any more.
const SETTLED: &str = "settled";
/// Variable and input with how many persons.
const PERSONS: &str = "persons";

/// Who has started the instance, and the correlation key of the answer.
pub(super) fn asker(context: &StepContext<'_, '_>) -> Result<(String, Option<String>), StepError> {
    let start = context.start_task()?;
    let key = task::message_input(start, terms::CORRELATION_KEY).map(str::to_owned);
    Ok((requester(start).unwrap_or_default().to_owned(), key))
}

/// A partner of a record with a correlation key of this instance, under which the answer comes.
pub(super) fn with_new_key(context: &StepContext<'_, '_>, partner: &Value) -> Value {
    super::kept::with(partner.clone(), "correlationKey", context.new_id())
}

/// Notes the answer of who was told: gone, or why not.
pub(super) struct NoteDone;

impl ServiceStep for NoteDone {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        match context.latest_task().filter(|_| parties::is_from(context, "target")).cloned() {
            None => failure::set(context, failure::FAILED, "the answer is not from who was told"),
            Some(answer) => match inputs::text(&answer, "failure") {
                Some(code) => failure::set(context, code, "the persons are not taken out of the data set"),
                None => {
                    if let Some(persons) = inputs::count(&answer, PERSONS) {
                        context.set(PERSONS, persons);
                    }
                }
            },
        }
        Ok(())
    }
}

/// Tells who has told this node.
pub(super) struct SendDone;

impl SendStep for SendDone {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let asker = context.variable("asker").unwrap_or_default();
        let key = parties::key_of(&asker).map(str::to_owned);
        let answer = match failure::code_of(context) {
            Some(code) => inputs::code("failure", &code),
            None => inputs::unsigned(PERSONS, context.variable(PERSONS).and_then(|n| n.as_u64()).unwrap_or_default()),
        };
        parties::message(context, "asker", key, vec![answer])
    }

    /// Who is not told gives up by itself and tells again; then nothing is left to do here.
    fn delivered(&self, _: &mut StepContext<'_, '_>, result: &Result<(), DeliveryFailure>) -> Result<(), StepError> {
        if let Err(error) = result {
            tracing::warn!(error = error.text, "a partner could not be told that persons have left the data set");
        }
        Ok(())
    }
}

/// Sends a delivery to the partner in the variable `target`; a failure is one of the withdrawal.
pub(super) struct SendDelivery(pub(super) &'static str);

impl SendStep for SendDelivery {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let key = parties::key_of(&target).map(str::to_owned);
        parties::message(context, "target", key, super::site::delivery_inputs(context, self.0))
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

/// Ends a part with the number of persons, or the failure.
pub(super) fn conclude(context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
    let persons = context.variable(PERSONS).and_then(|persons| persons.as_u64()).unwrap_or_default();
    let outputs = match failure::code_of(context) {
        None => vec![inputs::unsigned(PERSONS, persons)],
        Some(_) => Vec::new(),
    };
    failure::conclude(context, outputs)
}
