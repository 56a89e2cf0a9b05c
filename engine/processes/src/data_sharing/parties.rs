//! Who takes part: organisations of one network by their roles, as the allow-list of this node has them, and what each of
//! several sites has sent.

use bpmn::{ListenerCall, ListenerError, VariableWrite};
use serde_json::{Value, json};

use super::{failure, inputs};
use crate::feasibility::{Member, members, requester};
use crate::step::{Listener, Message, ServiceStep, StepContext, StepError};
use fhir::Object;

/// A network, seen from this node.
pub(super) struct Network {
    members: Vec<Member>,
    parent: String,
}

pub(super) fn failed<T>(reason: impl Into<String>) -> Result<T, StepError> {
    Err(StepError::Failed(reason.into()))
}

// === impl Network ===

impl Network {
    /// The one network in which this organisation has the first role and `other` the second.
    pub(super) fn of(
        context: &mut StepContext<'_, '_>,
        own_role: &str,
        other: &str,
        other_role: &str,
    ) -> Result<Self, StepError> {
        let own = context.node().organization_identifier.clone();
        let members = members(context)?;
        let has = |parent: &str, organization: &str, role: &str| {
            let mut all = members.iter();
            all.any(|one| one.parent == parent && one.organization == organization && one.role == role)
        };
        let parents = members.iter().map(|member| &member.parent);
        let mut common: Vec<&String> =
            parents.filter(|parent| has(parent, &own, own_role) && has(parent, other, other_role)).collect();
        common.sort_unstable();
        common.dedup();
        match common.as_slice() {
            [parent] => {
                let parent = (*parent).clone();
                Ok(Self { members, parent })
            }
            [] => failed(format!(
                "there is no network in which this organisation has the role {own_role} and {other} the role {other_role}"
            )),
            _ => failed(format!("this organisation and {other} have their roles in several networks")),
        }
    }

    /// The organisation in this role.
    pub(super) fn member(&self, organization: &str, role: &str) -> Result<&Member, StepError> {
        let mut all = self.members.iter();
        let found = all.find(|one| one.parent == self.parent && one.role == role && one.organization == organization);
        found.ok_or_else(|| StepError::Failed(format!("{organization} has not the role {role} in this network")))
    }

    /// Everybody in this role.
    pub(super) fn of_role<'n>(&'n self, role: &'n str) -> impl Iterator<Item = &'n Member> {
        self.members.iter().filter(move |member| member.parent == self.parent && member.role == role)
    }
}

/// The variable of a partner.
pub(super) fn target(member: &Member, correlation_key: Option<&str>) -> Value {
    json!({
        "organizationIdentifierValue": member.organization,
        "endpointIdentifierValue": member.endpoint,
        "endpointUrl": member.address,
        "correlationKey": correlation_key,
    })
}

/// Members of a target.
pub(super) fn organization_of(target: &Value) -> &str {
    target.get("organizationIdentifierValue").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn address_of(target: &Value) -> &str {
    target.get("endpointUrl").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn key_of(target: &Value) -> Option<&str> {
    target.get("correlationKey").and_then(Value::as_str).filter(|key| !key.is_empty())
}

/// The entries of a collection variable.
pub(super) fn entries(context: &StepContext<'_, '_>, variable: &str) -> Vec<Value> {
    let collection = context.variable(variable).unwrap_or_default();
    collection.get("entries").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A message to the partner in a variable.
pub(super) fn message(
    context: &StepContext<'_, '_>,
    variable: &str,
    correlation_key: Option<String>,
    inputs: Vec<Object>,
) -> Result<Message, StepError> {
    let target = context.variable(variable).unwrap_or_default();
    let member = |name: &str| {
        let text = target.get(name).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| StepError::Failed(format!("variable {variable} has no {name}")))
    };
    Ok(Message {
        organization_identifier: member("organizationIdentifierValue")?,
        endpoint_identifier: member("endpointIdentifierValue")?,
        endpoint_url: member("endpointUrl")?,
        correlation_key,
        inputs,
    })
}

/// The latest Task, if the partner in the variable sent it.
pub(super) fn is_from(context: &StepContext<'_, '_>, variable: &str) -> bool {
    let partner = context.variable(variable).unwrap_or_default();
    context.latest_task().and_then(requester) == Some(organization_of(&partner))
}

/// Gives the event-based gateway of a branch the correlation key of its site.
pub(super) struct SetCorrelationKey;

impl Listener for SetCorrelationKey {
    fn call(&self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        let key = call.variables.get("target").and_then(key_of);
        let key = key.ok_or_else(|| ListenerError::Failed("variable target has no correlationKey".to_owned()))?;
        Ok(vec![VariableWrite::set_local("correlationKey", key)])
    }
}

/// The variable in which it stands what a site has sent.
fn submission_variable(site: &str) -> String {
    format!("submission:{site}")
}

/// What a site has sent: the URL of a delivery, or a failure.
pub(super) fn submission(context: &StepContext<'_, '_>, site: &str) -> Result<String, String> {
    let submission = context.variable(&submission_variable(site)).unwrap_or_default();
    let member = |name: &str| submission.get(name).and_then(Value::as_str).map(str::to_owned);
    member("delivery").ok_or_else(|| member("failure").unwrap_or_else(|| failure::FAILED.to_owned()))
}

/// Notes what a site of several has sent.
pub(super) struct NoteSubmission;

impl ServiceStep for NoteSubmission {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let target = context.variable("target").unwrap_or_default();
        let site = organization_of(&target).to_owned();
        let sent = context.latest_task().filter(|_| is_from(context, "target"));
        let submission = match sent.map(|task| (inputs::text(task, "delivery"), inputs::text(task, "failure"))) {
            Some((Some(delivery), None)) => json!({ "delivery": delivery }),
            Some((_, Some(code))) => json!({ "failure": failure::known(code) }),
            Some((None, None)) | None => json!({ "failure": failure::FAILED }),
        };
        tracing::info!(site, "a site has answered in a data-sharing process");
        context.set(submission_variable(&site), submission);
        Ok(())
    }
}

/// Notes that a site has sent nothing in time.
pub(super) struct NoteNoSubmission(pub(super) &'static str);

impl ServiceStep for NoteNoSubmission {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let target = context.variable("target").unwrap_or_default();
        let site = organization_of(&target).to_owned();
        tracing::warn!(site, code = self.0, "a site has not answered in time in a data-sharing process");
        context.set(submission_variable(&site), json!({ "failure": self.0 }));
        Ok(())
    }
}
