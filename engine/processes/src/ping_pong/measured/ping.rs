//! The side that pings.

use fhir::Object;
use serde_json::Value;

use super::super::ping::{own_endpoint, target_member};
use super::super::{PING, status_of};
use super::resource::{DOWNLOAD_ERROR, DOWNLOADED, reference, transfer};
use super::transfer::{Outcome, Transfer, errors_in, send_error};
use super::{SIZE, SIZE_VARIABLE, STATUS, TIMEOUT, correlation_key, decimal, integer, of_target, parameter};
use crate::outbox::{DeliveryFailure, FailureKind};
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::task;

const DEFAULT_TIMEOUT: &str = "PT30S";
const ERROR: &str = "errorMessage";
const UPLOADED: &str = "uploaded";
const REMOTE_ERRORS: &str = "remoteErrors";
const SEND_ERROR: &str = "sendError";

/// How long pongs are waited for. What is no duration fails with the timer that has it.
pub(super) struct SetPongTimeout;

impl ServiceStep for SetPongTimeout {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let given = task::string_input(context.start_task()?, PING, TIMEOUT).unwrap_or(DEFAULT_TIMEOUT);
        context.set("pongTimerDuration", given);
        Ok(())
    }
}

/// Starts a ping at the own endpoint with the inputs that say whom and how.
pub(super) struct SendStartPing;

impl SendStep for SendStartPing {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let start = context.start_task()?;
        let text =
            |code: &str| task::string_input(start, PING, code).map(|value| parameter(code).with("valueString", value));
        let size = super::decimal_input(start, SIZE).map(|size| decimal(SIZE, size));
        Ok(Message {
            organization_identifier: target_member(context, "organizationIdentifierValue")?,
            endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
            endpoint_url: target_member(context, "endpointUrl")?,
            correlation_key: None,
            inputs: [text("target-endpoints"), size, text(TIMEOUT)].into_iter().flatten().collect(),
        })
    }
}

fn to_target(
    context: &StepContext<'_, '_>,
    correlation_key: Option<String>,
    inputs: Vec<Object>,
) -> Result<Message, StepError> {
    Ok(Message {
        organization_identifier: target_member(context, "organizationIdentifierValue")?,
        endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
        endpoint_url: target_member(context, "endpointUrl")?,
        correlation_key,
        inputs,
    })
}

pub(super) struct SendPing;

impl SendStep for SendPing {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let mut inputs = vec![parameter("endpoint-identifier").with("valueReference", own_endpoint(context))];
        inputs.extend(reference(context));
        inputs.push(decimal(SIZE, integer(context, SIZE_VARIABLE).unwrap_or(-1)));
        to_target(context, Some(correlation_key(context)?), inputs)
    }

    /// A ping that cannot be sent is a result, not a failure of the process.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(failure) = result {
            context.set_local(STATUS, status_of(failure));
            context.set_local(ERROR, failure.text.as_str());
            let code = send_error(&failure.text, failure.kind == FailureKind::Forbidden);
            context.set(of_target(SEND_ERROR, &correlation_key(context)?), code);
        }
        Ok(())
    }
}

/// Keeps what the pong tells of the other side's download.
pub(super) struct SavePong;

impl ServiceStep for SavePong {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = correlation_key(context)?;
        tracing::info!(organization = target_member(context, "organizationIdentifierValue")?, "pong received");
        if let Some(pong) = context.latest_task() {
            if let Some(uploaded) = Transfer::of(pong) {
                context.set(of_target(UPLOADED, &key), serde_json::to_value(uploaded).unwrap_or_default());
            }
            context.set(of_target(REMOTE_ERRORS, &key), errors_in(pong));
        }
        context.set(of_target(STATUS, &key), "pong-received");
        Ok(())
    }
}

/// Tells the other side how its resource arrived. It is not waited for, so a failure is only told here.
pub(super) struct SendCleanup;

impl SendStep for SendCleanup {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let downloaded = transfer(context, &of_target(DOWNLOADED, &correlation_key(context)?));
        to_target(context, None, downloaded.map(Transfer::inputs).unwrap_or_default())
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(failure) = result {
            let code = send_error(&failure.text, failure.kind == FailureKind::Forbidden);
            context.set(of_target(SEND_ERROR, &correlation_key(context)?), code);
        }
        Ok(())
    }
}

/// An output for every target, in the order of their endpoints.
pub(super) struct StoreResults;

impl ServiceStep for StoreResults {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let targets = context.variable("targets").unwrap_or_default();
        let entries = targets.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
        let member = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut entries: Vec<Value> = entries;
        entries.sort_by_key(|entry| member(entry, "endpointIdentifierValue"));
        for entry in &entries {
            let key = member(entry, "correlationKey");
            let Some(status) = context.string(&of_target(STATUS, &key)) else { continue };
            let outcome = Outcome {
                status,
                organization: member(entry, "organizationIdentifierValue"),
                endpoint: member(entry, "endpointIdentifierValue"),
                from_remote: transfer(context, &of_target(DOWNLOADED, &key)),
                to_remote: transfer(context, &of_target(UPLOADED, &key)),
                errors: errors(context, &key),
                correlation_key: key,
            };
            context.add_output(outcome.output("ping-status"));
        }
        Ok(())
    }
}

fn errors(context: &StepContext<'_, '_>, key: &str) -> Vec<String> {
    let sent = context.string(&of_target(SEND_ERROR, key));
    let downloaded = context.string(&of_target(DOWNLOAD_ERROR, key));
    let downloaded = downloaded.map(|end| format!("remote-binary-download-{end}"));
    let remote = context.variable(&of_target(REMOTE_ERRORS, key));
    let remote = remote.as_ref().and_then(Value::as_array).into_iter().flatten();
    let remote = remote.filter_map(Value::as_str).map(str::to_owned);
    sent.into_iter().chain(downloaded).chain(remote).collect()
}
