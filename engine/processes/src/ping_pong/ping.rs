//! The side that pings.

use fhir::Object;
use serde_json::Value;

use super::{PING, PingResult, result_output, status_of};
use crate::outbox::DeliveryFailure;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::{task, terms};

/// Variables of one branch.
const STATUS: &str = "statusCode";
const ERROR: &str = "errorMessage";
const SENT: &str = "pingSent";

/// Reads member `name` of the variable `target`.
pub(super) fn target_member(context: &StepContext<'_, '_>, name: &str) -> Result<String, StepError> {
    let target = context.variable("target");
    let member = target.as_ref().and_then(|target| target.get(name)?.as_str());
    member.map(str::to_owned).ok_or_else(|| StepError::Failed(format!("variable target has no {name}")))
}

/// Names of the result variables, which must differ between the branches because they live in the instance.
fn of_target(name: &str, correlation_key: &str) -> String {
    format!("{name}_{correlation_key}")
}

/// Reference to the endpoint of this node, by its identifier.
pub(super) fn own_endpoint(context: &StepContext<'_, '_>) -> Object {
    let own = Object::new()
        .with("system", terms::ENDPOINT_IDENTIFIER)
        .with("value", context.node().endpoint_identifier.as_str());
    Object::new().with("type", "Endpoint").with("identifier", own)
}

/// Gives the event-based gateway of a branch the correlation key of its target.
pub(super) struct SendPing;

impl SendStep for SendPing {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        Ok(Message {
            organization_identifier: target_member(context, "organizationIdentifierValue")?,
            endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
            endpoint_url: target_member(context, "endpointUrl")?,
            correlation_key: Some(target_member(context, "correlationKey")?),
            inputs: vec![task::parameter(PING, "endpoint-identifier").with("valueReference", own_endpoint(context))],
        })
    }

    /// A ping that cannot be sent is a result, not a failure of the process.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        match result {
            Ok(()) => context.set_local(SENT, milliseconds(context.requested())),
            Err(failure) => {
                context.set_local(STATUS, status_of(failure));
                context.set_local(ERROR, failure.text.as_str());
            }
        }
        Ok(())
    }
}

pub(super) struct LogSendError;

impl ServiceStep for LogSendError {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = target_member(context, "correlationKey")?;
        let organization = target_member(context, "organizationIdentifierValue")?;
        let (status, error) = (context.string(STATUS).unwrap_or_default(), context.string(ERROR).unwrap_or_default());
        tracing::warn!(organization, status, error, "ping was not sent");
        context.set(of_target(STATUS, &key), status);
        context.set(of_target(ERROR, &key), error);
        Ok(())
    }
}

pub(super) struct LogPong;

impl ServiceStep for LogPong {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = target_member(context, "correlationKey")?;
        tracing::info!(organization = target_member(context, "organizationIdentifierValue")?, "pong received");
        // When the pong was taken over, which may be before its receiver waited for it.
        let received = context.latest_task().and_then(|pong| pong.get("meta")?.str("lastUpdated"));
        let received =
            received.and_then(fhir::date::parse_instant).map_or_else(|| milliseconds(context.now()), milliseconds);
        if let Some(sent) = context.variable(SENT).as_ref().and_then(Value::as_i64) {
            context.set(of_target("roundTrip", &key), (received - sent).max(0));
        }
        context.set(of_target(STATUS, &key), "pong-received");
        Ok(())
    }
}

pub(super) struct LogNoResponse;

impl ServiceStep for LogNoResponse {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = target_member(context, "correlationKey")?;
        tracing::warn!(organization = target_member(context, "organizationIdentifierValue")?, "pong missing");
        context.set(of_target(STATUS, &key), "pong-missing");
        Ok(())
    }
}

pub(super) struct SaveResults;

impl ServiceStep for SaveResults {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let targets = context.variable("targets").unwrap_or_default();
        let mut entries: Vec<&Value> = targets.get("entries").and_then(Value::as_array).into_iter().flatten().collect();
        let member = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        entries.sort_by_key(|entry| member(entry, "endpointIdentifierValue"));
        for entry in entries {
            let key = member(entry, "correlationKey");
            let Some(status) = context.string(&of_target(STATUS, &key)) else { continue };
            let error = context.string(&of_target(ERROR, &key));
            let round_trip = context.variable(&of_target("roundTrip", &key)).as_ref().and_then(Value::as_i64);
            context.add_output(result_output(
                "ping-status",
                &PingResult {
                    status: &status,
                    organization_identifier: &member(entry, "organizationIdentifierValue"),
                    endpoint_identifier: &member(entry, "endpointIdentifierValue"),
                    correlation_key: &key,
                    error: error.as_deref(),
                    round_trip_milliseconds: round_trip,
                },
            ));
        }
        Ok(())
    }
}

fn milliseconds(time: time::OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
