//! The side that answers.

use super::super::ping::target_member;
use super::super::pong::requester;
use super::super::status_of;
use super::STATUS;
use super::resource::{DOWNLOAD_ERROR, DOWNLOADED, reference, transfer};
use super::transfer::{Outcome, Transfer, error_input, send_error};
use crate::outbox::{DeliveryFailure, FailureKind};
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};

const ERROR: &str = "pongError";
const UPLOADED: &str = "uploaded";

/// Waits longer for the other side where the download took longer.
pub(super) struct EstimateCleanupTimer;

impl ServiceStep for EstimateCleanupTimer {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let took = transfer(context, DOWNLOADED).map_or(0, |transfer| transfer.milliseconds);
        let milliseconds = took.saturating_mul(10).saturating_add(20_000).min(3_600_000);
        // A time and no duration: messages that do not count must not make the wait longer.
        let end = context.now() + time::Duration::milliseconds(milliseconds);
        context.set("cleanupEnd", fhir::date::format_instant(end));
        Ok(())
    }
}

pub(super) struct SendPong;

impl SendStep for SendPong {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut inputs = transfer(context, DOWNLOADED).map(Transfer::inputs).unwrap_or_default();
        inputs.extend(reference(context));
        inputs.extend(download_error(context).map(|code| error_input(&code)));
        Ok(Message {
            organization_identifier: target_member(context, "organizationIdentifierValue")?,
            endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
            endpoint_url: target_member(context, "endpointUrl")?,
            correlation_key: Some(target_member(context, "correlationKey")?),
            inputs,
        })
    }

    /// A pong that cannot be sent is told in the ping Task, after what was offered is removed.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        match result {
            Ok(()) => context.set(STATUS, "pong-send"),
            Err(failure) => {
                context.set(STATUS, status_of(failure));
                context.set(ERROR, send_error(&failure.text, failure.kind == FailureKind::Forbidden));
            }
        }
        Ok(())
    }
}

/// The code of a download that failed, as the side that pings names it.
fn download_error(context: &StepContext<'_, '_>) -> Option<String> {
    context.string(DOWNLOAD_ERROR).map(|end| format!("remote-binary-download-{end}"))
}

/// Keeps what the other side tells of its download. The message has no key of its own, and every target of a ping knows its
/// business key: what is not from who pinged is not listened to, or it would remove what is still to be downloaded.
pub(super) struct StoreUploadSpeed;

impl ServiceStep for StoreUploadSpeed {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let target = target_member(context, "organizationIdentifierValue")?;
        let is_of_others = context.latest_task().and_then(requester) != Some(target.as_str());
        context.set("isOfOthers", is_of_others);
        if is_of_others {
            tracing::warn!(organization = target, "a cleanup that is not from who pinged is ignored");
            return Ok(());
        }
        if let Some(uploaded) = context.latest_task().and_then(Transfer::of) {
            context.set(UPLOADED, serde_json::to_value(uploaded).unwrap_or_default());
        }
        Ok(())
    }
}

pub(super) struct SaveTimeoutError;

impl ServiceStep for SaveTimeoutError {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        tracing::warn!(organization = target_member(context, "organizationIdentifierValue")?, "no cleanup arrived");
        context.set(ERROR, "cleanup-message-timeout");
        Ok(())
    }
}

/// The result in the ping Task.
pub(super) struct StoreResults;

impl ServiceStep for StoreResults {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let outcome = Outcome {
            status: context.string(STATUS).unwrap_or_else(|| "not-reachable".to_owned()),
            organization: target_member(context, "organizationIdentifierValue")?,
            endpoint: target_member(context, "endpointIdentifierValue")?,
            correlation_key: target_member(context, "correlationKey")?,
            from_remote: transfer(context, DOWNLOADED),
            to_remote: transfer(context, UPLOADED),
            errors: download_error(context).into_iter().chain(context.string(ERROR)).collect(),
        };
        context.add_output(outcome.output("pong-status"));
        Ok(())
    }
}
