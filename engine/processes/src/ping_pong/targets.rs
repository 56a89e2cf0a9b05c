//! Whom to ping: the endpoints that the Task's search finds, else all, without the own one and without endpoints of
//! organisations that are not active partners.

use std::collections::BTreeMap;

use fhir::{Resource, ResourceType, Value};
use serde_json::json;
use store::ReadFilter;

use super::PING;
use crate::step::{ServiceStep, StepContext, StepError};
use crate::{limits, task, terms};

/// What the reference searches when the Task names nothing.
const EVERY_ENDPOINT: &str = "Endpoint?status=active&identifier=http://dsf.dev/sid/endpoint-identifier|";
/// Types from which a search may lead to endpoints (DSF `SelectPingTargets`), as far as a node serves them.
const TYPES_WITH_ENDPOINTS: [ResourceType; 5] = [
    ResourceType::Endpoint,
    ResourceType::HealthcareService,
    ResourceType::Location,
    ResourceType::Organization,
    ResourceType::OrganizationAffiliation,
];
/// Resources on one page of the search.
const PAGE: u32 = 200;

pub(super) struct SelectPingTargets;

impl ServiceStep for SelectPingTargets {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let search =
            task::string_input(context.start_task()?, PING, "target-endpoints").unwrap_or(EVERY_ENDPOINT).to_owned();
        let own = context.node().endpoint_identifier.clone();
        let mut targets = BTreeMap::new();
        for endpoint in endpoints(context, &search)? {
            let Some(identifier) = identifier(&endpoint, terms::ENDPOINT_IDENTIFIER) else { continue };
            let Some(address) = endpoint.str("address") else { continue };
            if identifier == own || address == context.node().base_url {
                continue;
            }
            let Some(organization) = partner(context, &endpoint)? else { continue };
            let target = json!({
                "organizationIdentifierValue": organization,
                "endpointIdentifierValue": identifier,
                "endpointUrl": address,
                "correlationKey": context.new_id(),
            });
            targets.insert(identifier.to_owned(), target);
        }
        let entries: Vec<_> = targets.into_values().take(limits::TARGETS).collect();
        tracing::info!(targets = entries.len(), "ping targets selected");
        context.set("targets", json!({ "entries": entries }));
        Ok(())
    }
}

/// Active endpoints that the search finds, as matches or included.
fn endpoints(context: &mut StepContext<'_, '_>, search: &str) -> Result<Vec<Resource>, StepError> {
    let (type_name, parameters) = search.split_once('?').unwrap_or((search, ""));
    let searched = type_name.parse().ok().filter(|searched| TYPES_WITH_ENDPOINTS.contains(searched));
    let Some(searched) = searched else { return Ok(Vec::new()) };
    let mut query = fhir::search::parse_query_in(&context.transaction().context().as_context(), searched, parameters);
    if let Some(errors) = query.diagnostics() {
        return Err(StepError::Failed(format!("input target-endpoints is no usable search: {errors}")));
    }
    query.count = PAGE;
    let mut found = Vec::new();
    for page in 1.. {
        query.page = page;
        let result = context.transaction().search(&query, &ReadFilter::everything())?;
        let is_last = query.offset() + u64::from(PAGE) >= result.total;
        let resources = result.matches.into_iter().chain(result.includes).map(|stored| stored.resource);
        found.extend(resources.filter(|resource| is_active_endpoint(resource)).map(|resource| (*resource).clone()));
        if is_last || found.len() > limits::TARGETS {
            break;
        }
    }
    Ok(found)
}

fn is_active_endpoint(resource: &Resource) -> bool {
    resource.resource_type() == Some(ResourceType::Endpoint) && resource.str("status") == Some("active")
}

/// The identifier of the organisation that manages the endpoint, if it is an active partner.
pub(super) fn partner(context: &mut StepContext<'_, '_>, endpoint: &Resource) -> Result<Option<String>, StepError> {
    let reference = endpoint.get("managingOrganization").and_then(|reference| reference.str("reference"));
    let Some(id) = reference.and_then(|reference| organization_id(reference, &context.node().base_url)) else {
        return Ok(None);
    };
    let organization = context.transaction().read(ResourceType::Organization, &id)?.current();
    let Some(organization) = organization.map(|stored| stored.resource) else { return Ok(None) };
    let is_active = organization.get("active").and_then(Value::as_bool) == Some(true);
    let identifier = identifier(&organization, terms::ORGANIZATION_IDENTIFIER);
    Ok(identifier.filter(|value| is_active && *value != context.node().organization_identifier).map(str::to_owned))
}

/// The id in `Organization/id`, also absolute on this node and with a version.
fn organization_id(reference: &str, base_url: &str) -> Option<String> {
    let relative = reference.strip_prefix(base_url).map_or(reference, |rest| rest.trim_start_matches('/'));
    let id = relative.strip_prefix("Organization/")?;
    Some(id.split_once("/_history/").map_or(id, |(id, _)| id).to_owned())
}

/// The value of the first identifier of this system.
pub(super) fn identifier<'r>(resource: &'r Resource, system: &str) -> Option<&'r str> {
    resource.list("identifier").iter().find(|identifier| identifier.str("system") == Some(system))?.str("value")
}
