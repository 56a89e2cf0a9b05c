//! The process that starts a ping again and again, until it is stopped.

use fhir::Object;
use serde_json::json;

use super::PING;
use super::ping::target_member;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::task;

/// Interval when the Task names none (DSF: PT24H).
const DEFAULT_INTERVAL: &str = "PT24H";

pub(super) struct SetTargetAndConfigureTimer;

impl ServiceStep for SetTargetAndConfigureTimer {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let interval = task::string_input(context.start_task()?, PING, "timer-interval").unwrap_or(DEFAULT_INTERVAL);
        context.set("timerInterval", interval);
        let node = context.node();
        let target = json!({
            "organizationIdentifierValue": node.organization_identifier,
            "endpointIdentifierValue": node.endpoint_identifier,
            "endpointUrl": node.base_url,
        });
        context.set("target", target);
        Ok(())
    }
}

/// Starts a ping by a Task to the own endpoint, with the inputs that choose its targets.
pub(super) struct SendStartPing;

impl SendStep for SendStartPing {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let search = task::string_input(context.start_task()?, PING, "target-endpoints");
        let inputs: Vec<Object> =
            search.map(|search| task::string_parameter(PING, "target-endpoints", search)).into_iter().collect();
        Ok(Message {
            organization_identifier: target_member(context, "organizationIdentifierValue")?,
            endpoint_identifier: target_member(context, "endpointIdentifierValue")?,
            endpoint_url: target_member(context, "endpointUrl")?,
            correlation_key: None,
            inputs,
        })
    }
}
