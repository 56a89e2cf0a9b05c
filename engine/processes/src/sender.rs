//! Building blocks that the manifest of a package binds classes to (`step = "send"`): what DSF's base classes do where a
//! plug-in leaves them as they are, so that no worker is needed to send a message or to wait for its answer.

use bpmn::{ListenerCall, ListenerError, StepKind, VariableWrite};
use serde_json::{Value, json};

use crate::outbox::DeliveryFailure;
use crate::plugin::Implementations;
use crate::step::{Listener, Message, SendStep, StepContext, StepError};
use crate::task;
use crate::user_task::DefaultListener;

/// Has the building block of this name implement the class; `None` if there is no such block.
pub(crate) fn bind(all: Implementations, class: &'static str, name: &str, api: u8) -> Option<Implementations> {
    match name {
        "send" => Some(all.with_send(class, Send { keeps_going: if api == 1 { Tasks::Kept } else { Tasks::Failed } })),
        "correlation-key" => Some(all.with_listener(class, SetCorrelationKey)),
        "user-task" => Some(all.with_user_task(class, DefaultListener)),
        _ => None,
    }
}

/// Sets the local variable `correlationKey`, by which an answer finds its branch, to that of the target.
pub(crate) struct SetCorrelationKey;

impl Listener for SetCorrelationKey {
    fn call(&self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        let target = call.variables.get("target");
        let key = target.and_then(|target| target.get("correlationKey")?.as_str());
        let key = key.ok_or_else(|| ListenerError::Failed("variable target has no correlationKey".to_owned()))?;
        Ok(vec![VariableWrite::set_local("correlationKey", key)])
    }
}

/// What becomes of the Tasks when one of several targets cannot be reached and the process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tasks {
    /// They get an error output and stay in progress (API version 1).
    Kept,
    /// They fail at once (API version 2).
    Failed,
}

/// Sends the message that the fields of the element describe to the variable `target` (`process-engine.md` 3.1, 3.5).
struct Send {
    keeps_going: Tasks,
}

impl SendStep for Send {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let target = context.variable("target").unwrap_or_default();
        let member = |name: &str| {
            let value = target.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| StepError::Failed(format!("variable target has no {name}")))
        };
        Ok(Message {
            organization_identifier: member("organizationIdentifierValue")?,
            endpoint_identifier: member("endpointIdentifierValue")?,
            endpoint_url: member("endpointUrl")?,
            correlation_key: member("correlationKey").ok(),
            inputs: Vec::new(),
        })
    }

    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        let Err(failure) = result else { return Ok(()) };
        let failed = context.send_failed(failure);
        let targets = context.variable("targets").unwrap_or_default();
        let entries = targets.get("entries").and_then(Value::as_array).filter(|entries| !entries.is_empty());
        let (StepKind::SendTask, Some(entries)) = (context.kind(), entries) else { return Err(failed) };
        let target = context.variable("target").unwrap_or_default();
        let left: Vec<&Value> = entries.iter().filter(|entry| **entry != target).collect();
        context.set("targets", json!({ "entries": left }));
        let reason = failed.to_string();
        match self.keeps_going {
            Tasks::Kept => context.add_output(task::error_output(&reason)),
            Tasks::Failed => context.fail_tasks(reason),
        }
        Ok(())
    }
}
