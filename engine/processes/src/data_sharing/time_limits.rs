//! Deadlines and durations of a run.

use bpmn::timer::IsoDuration;
use time::OffsetDateTime;

use super::limits;
use crate::step::{StepContext, StepError};

/// The time this duration after another, within what a run may take.
pub(super) fn after(start: OffsetDateTime, what: &str, duration: &str) -> Result<OffsetDateTime, StepError> {
    let wrong = |reason: String| StepError::Failed(format!("{what} is {duration:?}: {reason}"));
    let parsed = IsoDuration::parse(duration).map_err(|error| wrong(error.to_string()))?;
    let end = parsed.after(start).map_err(|error| wrong(error.to_string()))?;
    match end - start {
        length if length.is_positive() && length.whole_days() <= limits::LONGEST_DAYS => Ok(end),
        _ => Err(wrong(format!("it must be more than nothing and at most {} days", limits::LONGEST_DAYS))),
    }
}

/// A deadline that a partner set.
pub(super) fn deadline(context: &StepContext<'_, '_>, text: &str) -> Result<OffsetDateTime, StepError> {
    let deadline = fhir::date::parse_instant(text);
    let deadline = deadline.filter(|deadline| (*deadline - context.now()).whole_days() <= limits::LONGEST_DAYS);
    deadline.ok_or_else(|| StepError::Failed("the deadline is no instant, or too far away".to_owned()))
}

/// Sets a variable that a timer of a model reads.
pub(super) fn set(context: &mut StepContext<'_, '_>, variable: &str, time: OffsetDateTime) {
    context.set(variable, fhir::date::format_instant(time));
}
