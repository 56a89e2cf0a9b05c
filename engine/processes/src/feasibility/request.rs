//! The portal's side: asking.

use std::collections::{BTreeMap, BTreeSet};

use fhir::{Object, ResourceType};
use serde_json::json;

use super::members::members;
use super::{FEASIBILITY, MEASURE_REFERENCE, Rules, id_at, reference_input, result};
use crate::outbox::DeliveryFailure;
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::{limits, task};

/// A request that is older when its process begins is not carried out: whoever asked has stopped waiting.
const REQUEST_TIME: time::Duration = time::Duration::minutes(5);

/// Reads member `name` of the variable `target`.
pub(super) fn target(context: &StepContext<'_, '_>, name: &str) -> Result<String, StepError> {
    let target = context.variable("target");
    let member = target.as_ref().and_then(|target| target.get(name)?.as_str());
    member.map(str::to_owned).ok_or_else(|| StepError::Failed(format!("variable target has no {name}")))
}

fn failed<T>(reason: &str) -> Result<T, StepError> {
    Err(StepError::Failed(reason.to_owned()))
}

/// Every data integration centre of the one parent organisation in which this node has the role HRP.
pub(super) struct SelectRequestTargets(pub(super) Rules);

impl ServiceStep for SelectRequestTargets {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        check_age(context)?;
        let request = context.start_task()?;
        let base_url = context.node().base_url.clone();
        let reference = reference_input(request, MEASURE_REFERENCE).unwrap_or_default();
        let absolute =
            if reference.starts_with("Measure/") { format!("{base_url}/{reference}") } else { reference.to_owned() };
        let Some(measure) = id_at(&absolute, &base_url, "Measure") else {
            return failed("the request refers to no Measure of this node");
        };
        let measure = format!("{base_url}/Measure/{measure}");
        let own = context.node().organization_identifier.clone();
        let members = members(context)?;
        let is_own_portal = |member: &&super::members::Member| member.organization == own && member.role == "HRP";
        let parents: BTreeSet<&str> =
            members.iter().filter(is_own_portal).map(|member| member.parent.as_str()).collect();
        let mut parents = parents.into_iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return failed("this organisation has the role HRP in no parent organisation, or in several");
        };
        let sites = members
            .iter()
            .filter(|member| member.parent == parent && member.role == "DIC" && member.organization != own);
        let targets: BTreeMap<&str, serde_json::Value> = sites
            .map(|site| {
                let target = json!({
                    "organizationIdentifierValue": site.organization,
                    "endpointIdentifierValue": site.endpoint,
                    "endpointUrl": site.address,
                    "correlationKey": context.new_id(),
                });
                (site.endpoint.as_str(), target)
            })
            .take(limits::TARGETS)
            .collect();
        let entries: Vec<_> = targets.into_values().collect();
        // One site's count can be learned from the others' when they are few.
        if entries.len() < self.0.minimum_sites {
            let (found, least) = (entries.len(), self.0.minimum_sites);
            return Err(StepError::Failed(format!(
                "{found} sites could be asked, fewer than the {least} of [feasibility]"
            )));
        }
        tracing::info!(targets = entries.len(), "a feasibility request is sent");
        context.set("measure-id", measure);
        context.set("answer-time", format!("PT{}S", self.0.answer_time.as_secs()));
        context.set("targets", json!({ "entries": entries }));
        Ok(())
    }
}

/// The first version of the Task says when it was asked.
fn check_age(context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
    let id = context.start_task()?.id().unwrap_or_default().to_owned();
    let first = context.transaction().read_version(ResourceType::Task, &id, 1)?.current();
    let asked = first.as_ref().and_then(|first| first.resource.get("meta")?.str("lastUpdated"));
    let Some(asked) = asked.and_then(fhir::date::parse_instant) else { return Ok(()) };
    if context.now() - asked > REQUEST_TIME {
        return failed("stale task: it was requested more than five minutes ago");
    }
    Ok(())
}

pub(super) struct SendDicRequest;

impl SendStep for SendDicRequest {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        let measure = context.string("measure-id").unwrap_or_default();
        let reference = Object::new().with("reference", measure).with("type", "Measure");
        Ok(Message {
            organization_identifier: target(context, "organizationIdentifierValue")?,
            endpoint_identifier: target(context, "endpointIdentifierValue")?,
            endpoint_url: target(context, "endpointUrl")?,
            correlation_key: Some(target(context, "correlationKey")?),
            inputs: vec![task::parameter(FEASIBILITY, MEASURE_REFERENCE).with("valueReference", reference)],
        })
    }

    /// A site that cannot be asked is an outcome, not a failure of the request.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        if let Err(failure) = result {
            let site = target(context, "organizationIdentifierValue")?;
            tracing::warn!(site, error = failure.text, "a feasibility request was not sent");
            context.set_local("sendError", true);
            context.add_output(result::outcome("not-sent", &site, Some(&failure.text), None));
        }
        Ok(())
    }
}
