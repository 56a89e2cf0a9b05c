//! What can go wrong at a site, as codes that are told to partners. They say nothing about persons; the words to them stay
//! in the log and in the Task of the node where it happened.
//!
//! Work never fails its instance while somebody waits to be told: [`settle`] turns what would into a result, and
//! [`take`] keeps it in the variable that the gateways of the models look at.

use fhir::Object;
use serde_json::{Value, json};

use super::{inputs, limits};
use crate::outbox::DeliveryFailure;
use crate::step::{ServiceStep, StepContext, StepError, WorkError};
use crate::task;
use crate::work::WorkContext;

/// Variable with the code.
pub(super) const FAILURE: &str = "failure";
/// Variable with the words.
const FAILURE_TEXT: &str = "failureText";

pub(super) const DECLINED: &str = "declined";
pub(super) const NO_APPROVAL: &str = "no-approval";
pub(super) const COHORT_TOO_SMALL: &str = "cohort-too-small";
pub(super) const DEFINITION_REFUSED: &str = "definition-refused";
pub(super) const RECORDS_NOT_READY: &str = "records-not-ready";
pub(super) const FILTERS_REFUSED: &str = "filters-refused";
pub(super) const NO_FILTERS: &str = "no-filters";
pub(super) const NO_LINKAGE: &str = "no-linkage";
pub(super) const NO_DATA_SET: &str = "no-data-set";
pub(super) const DATA_SET_REFUSED: &str = "data-set-refused";
pub(super) const NO_RECEIPT: &str = "no-receipt";
pub(super) const NO_SITES: &str = "no-sites";
pub(super) const NOT_RELEASED: &str = "not-released";
pub(super) const NOT_REACHED: &str = "not-reached";
pub(super) const NO_ANSWER: &str = "no-answer";
pub(super) const NOT_KEPT: &str = "not-kept";
pub(super) const UNKNOWN_PERSON: &str = "unknown-person";
pub(super) const FAILED: &str = "failed";

/// Outcomes of sites that are no failure.
pub(super) const LINKED: &str = "linked";
pub(super) const MERGED: &str = "merged";
pub(super) const FOUND: &str = "found";

const CODES: [&str; 21] = [
    DECLINED,
    NO_APPROVAL,
    COHORT_TOO_SMALL,
    DEFINITION_REFUSED,
    RECORDS_NOT_READY,
    FILTERS_REFUSED,
    NO_FILTERS,
    NO_LINKAGE,
    NO_DATA_SET,
    DATA_SET_REFUSED,
    NO_RECEIPT,
    NO_SITES,
    NOT_RELEASED,
    NOT_REACHED,
    NO_ANSWER,
    NOT_KEPT,
    UNKNOWN_PERSON,
    FAILED,
    LINKED,
    MERGED,
    FOUND,
];

/// A code as a partner sent it; what is not known here is the general one.
pub(super) fn known(code: &str) -> &'static str {
    CODES.into_iter().find(|known| *known == code).unwrap_or(FAILED)
}

/// Whether a site does not take part because somebody decided so, not because something went wrong.
pub(super) fn is_decision(code: &str) -> bool {
    [DECLINED, NO_APPROVAL, COHORT_TOO_SMALL].contains(&code)
}

/// Work that fails with a code.
pub(super) fn refused(code: &str, text: impl Into<String>) -> WorkError {
    WorkError::Bpmn { code: code.to_owned(), message: Some(text.into()) }
}

/// A result that [`take`] understands. What may pass is tried again as long as the model's retry cycle lasts.
pub(super) fn settle(context: &WorkContext, code: &str, result: Result<Value, WorkError>) -> Result<Value, WorkError> {
    let (code, text) = match result {
        Ok(value) => return Ok(json!({ "done": value })),
        Err(error @ WorkError::Retry { .. }) if context.attempt() < limits::ATTEMPTS => return Err(error),
        Err(WorkError::Bpmn { code, message }) => (code, message.unwrap_or_default()),
        Err(WorkError::Retry { message } | WorkError::Failed { message }) => (code.to_owned(), message),
    };
    tracing::warn!(work = context.work_id(), code, text, "a step of data sharing failed");
    Ok(json!({ "failure": code, "text": text }))
}

/// What work has done; if it failed, the variables say so and there is nothing to take.
pub(super) fn take(context: &mut StepContext<'_, '_>, output: &Value) -> Option<Value> {
    if let Some(code) = output.get("failure").and_then(Value::as_str) {
        let text = output.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        set(context, code, &text);
    }
    output.get("done").cloned()
}

/// Notes a failure; the first one counts.
pub(super) fn set(context: &mut StepContext<'_, '_>, code: &str, text: &str) {
    if code_of(context).is_none() {
        context.set(FAILURE, known(code));
        context.set(FAILURE_TEXT, text);
    }
}

/// Notes that a partner was not reached, if that is what came of a message.
pub(super) fn unless_delivered(context: &mut StepContext<'_, '_>, result: &Result<(), DeliveryFailure>) {
    if let Err(error) = result {
        set(context, NOT_REACHED, &error.text);
    }
}

/// The code of what went wrong, if something did.
pub(super) fn code_of(context: &StepContext<'_, '_>) -> Option<String> {
    context.string(FAILURE)
}

/// Adds what came of the run to the start Task, and if something went wrong ends it as failed, with code and words. The
/// instance itself has done all that it had to.
pub(super) fn conclude(context: &mut StepContext<'_, '_>, outputs: Vec<Object>) -> Result<(), StepError> {
    let Some(code) = code_of(context) else {
        outputs.into_iter().for_each(|output| context.add_output(output));
        return Ok(());
    };
    let text = context.string(FAILURE_TEXT).filter(|text| !text.is_empty());
    let text = text.map_or_else(|| code.clone(), |text| format!("{code}: {text}"));
    let id = context.start_task()?.id().unwrap_or_default().to_owned();
    if let Some(mut start) = task::read(context.transaction(), &id)? {
        start.set("status", "failed");
        // A failed Task takes no outputs afterwards.
        outputs.into_iter().for_each(|output| start.push("output", output));
        start.push("output", inputs::code(FAILURE, &code));
        start.push("output", task::error_output(&text));
        task::write(context.transaction(), start)?;
    }
    tracing::warn!(code, "a data-sharing process ends without success");
    Ok(())
}

/// Notes one failure, where a wait has ended without the message that was waited for.
pub(super) struct Note(pub(super) &'static str);

impl ServiceStep for Note {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        set(context, self.0, "");
        Ok(())
    }
}
