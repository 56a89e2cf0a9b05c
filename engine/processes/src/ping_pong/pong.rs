//! The side that answers.

use fhir::{Resource, ResourceType};
use serde_json::json;
use store::ReadFilter;

use super::ping::target_member;
use super::{PING, PingResult, result_output, status_of, targets};
use crate::outbox::DeliveryFailure;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::{task, terms};

/// The error for which the process has a boundary event: the Task completes without a pong.
const NOT_ALLOWED: &str = "target_not_allowed";

pub(super) struct LogPing;

impl ServiceStep for LogPing {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let organization = requester(context.start_task()?).unwrap_or_default();
        tracing::info!(organization, "ping received");
        Ok(())
    }
}

pub(super) struct SelectPongTarget;

impl ServiceStep for SelectPongTarget {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let ping = context.start_task()?;
        let organization = requester(ping).ok_or_else(|| not_allowed("the ping names no requester"))?.to_owned();
        let endpoint = endpoint_identifier(ping).ok_or_else(|| not_allowed("the ping names no endpoint"))?.to_owned();
        let correlation_key = task::message_input(ping, terms::CORRELATION_KEY).map(str::to_owned);
        let address = address(context, &organization, &endpoint)?;
        let target = json!({
            "organizationIdentifierValue": organization,
            "endpointIdentifierValue": endpoint,
            "endpointUrl": address,
            "correlationKey": correlation_key,
        });
        context.set("target", target);
        Ok(())
    }
}

/// The address of the one active endpoint with this identifier, if it belongs to the organisation that asks.
fn address(context: &mut StepContext<'_, '_>, organization: &str, identifier: &str) -> Result<String, StepError> {
    // The value stands alone behind its parameter, whatever characters it has.
    let encoded: String = identifier.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let search = format!("status=active&identifier={}%7C{encoded}", terms::ENDPOINT_IDENTIFIER);
    let query =
        fhir::search::parse_query_in(&context.transaction().context().as_context(), ResourceType::Endpoint, &search);
    let found = context.transaction().search(&query, &ReadFilter::everything())?;
    let [endpoint] = found.matches.as_slice() else {
        return Err(not_allowed("the endpoint of the ping is not on the allow-list, or more than once"));
    };
    // The local organisation may ping itself; everybody else must be an active partner.
    let own = &context.node().organization_identifier;
    let manager = if organization == own { Some(own.clone()) } else { targets::partner(context, &endpoint.resource)? };
    if manager.as_deref() != Some(organization) {
        return Err(not_allowed("the endpoint of the ping does not belong to the requester"));
    }
    endpoint.resource.str("address").map(str::to_owned).ok_or_else(|| not_allowed("the endpoint has no address"))
}

fn not_allowed(reason: &str) -> StepError {
    tracing::warn!(reason, "pong is not sent");
    StepError::Bpmn { code: NOT_ALLOWED.to_owned(), message: Some(reason.to_owned()) }
}

pub(super) fn requester(task: &Resource) -> Option<&str> {
    task.get("requester")?.get("identifier")?.str("value")
}

fn endpoint_identifier(ping: &Resource) -> Option<&str> {
    let identifier = task::input(ping, PING, "endpoint-identifier")?.get("valueReference")?.get("identifier")?;
    identifier.str("value").filter(|_| identifier.str("system") == Some(terms::ENDPOINT_IDENTIFIER))
}

pub(super) struct SendPong;

impl SendStep for SendPong {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        Ok(Message {
            organization_identifier: target_member(context, "organizationIdentifierValue")?,
            endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
            endpoint_url: target_member(context, "endpointUrl")?,
            correlation_key: Some(target_member(context, "correlationKey")?),
            inputs: Vec::new(),
        })
    }

    /// What came of the pong is recorded in the ping Task, which fails if the pong could not be sent.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        let output = result_output(
            "pong-status",
            &PingResult {
                status: result.as_ref().err().map_or("pong-send", status_of),
                organization_identifier: &target_member(context, "organizationIdentifierValue")?,
                endpoint_identifier: &target_member(context, "endpointIdentifierValue")?,
                correlation_key: &target_member(context, "correlationKey")?,
                error: result.as_ref().err().map(|failure| failure.text.as_str()),
                round_trip_milliseconds: None,
            },
        );
        context.add_output(output);
        match result {
            Ok(()) => Ok(()),
            Err(failure) => Err(context.send_failed(failure)),
        }
    }
}
