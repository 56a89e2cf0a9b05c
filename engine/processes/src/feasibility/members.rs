//! Who belongs to which parent organisation in which role, from the allow-list that this node has.

use fhir::{Resource, ResourceType, Value};
use store::ReadFilter;

use crate::step::{StepContext, StepError};
use crate::{limits, terms};

const ROLES: &str = "http://dsf.dev/fhir/CodeSystem/organization-role";
/// Resources on one page of the search.
const PAGE: u32 = 200;

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Id of the parent organisation.
    pub(crate) parent: String,
    pub(crate) organization: String,
    pub(crate) role: String,
    pub(crate) endpoint: String,
    pub(crate) address: String,
}

/// Every active membership of an active organisation that has an active endpoint.
pub(crate) fn members(context: &mut StepContext<'_, '_>) -> Result<Vec<Member>, StepError> {
    let mut query = fhir::search::parse_query(ResourceType::OrganizationAffiliation, "active=true");
    query.count = PAGE;
    let mut members = Vec::new();
    for page in 1.. {
        query.page = page;
        let found = context.transaction().search(&query, &ReadFilter::everything())?;
        let is_last = query.offset() + u64::from(PAGE) >= found.total;
        for affiliation in found.matches {
            if let Some(member) = member(context, &affiliation.resource)? {
                members.extend(member);
            }
        }
        if is_last || members.len() > limits::TARGETS {
            break;
        }
    }
    Ok(members)
}

/// The memberships of an affiliation, one for each role.
fn member(context: &mut StepContext<'_, '_>, affiliation: &Resource) -> Result<Option<Vec<Member>>, StepError> {
    let base_url = context.node().base_url.clone();
    let id = |value: Option<&Value>, kind: &str| {
        let reference = value?.str("reference")?;
        let relative = reference.strip_prefix(&base_url).map_or(reference, |rest| rest.trim_start_matches('/'));
        let id = relative.strip_prefix(kind)?.strip_prefix('/')?;
        Some(id.split_once("/_history/").map_or(id, |(id, _)| id).to_owned())
    };
    let parent = id(affiliation.get("organization"), "Organization");
    let organization = id(affiliation.get("participatingOrganization"), "Organization");
    let endpoint = id(affiliation.list("endpoint").first(), "Endpoint");
    let (Some(parent), Some(organization), Some(endpoint)) = (parent, organization, endpoint) else { return Ok(None) };
    let organization = context.transaction().read(ResourceType::Organization, &organization)?.current();
    let endpoint = context.transaction().read(ResourceType::Endpoint, &endpoint)?.current();
    let (Some(organization), Some(endpoint)) = (organization, endpoint) else { return Ok(None) };
    let is_active = organization.resource.get("active").and_then(Value::as_bool) == Some(true)
        && endpoint.resource.str("status") == Some("active");
    let identifiers = (
        identifier(&organization.resource, terms::ORGANIZATION_IDENTIFIER),
        identifier(&endpoint.resource, terms::ENDPOINT_IDENTIFIER),
        endpoint.resource.str("address"),
    );
    let (Some(organization), Some(endpoint), Some(address)) = identifiers else { return Ok(None) };
    if !is_active {
        return Ok(None);
    }
    let codings = affiliation.list("code").iter().flat_map(|code| code.list("coding"));
    let roles = codings.filter(|coding| coding.str("system") == Some(ROLES)).filter_map(|coding| coding.str("code"));
    let member = |role: &str| Member {
        parent: parent.clone(),
        organization: organization.to_owned(),
        role: role.to_owned(),
        endpoint: endpoint.to_owned(),
        address: address.to_owned(),
    };
    Ok(Some(roles.map(member).collect()))
}

fn identifier<'r>(resource: &'r Resource, system: &str) -> Option<&'r str> {
    resource.list("identifier").iter().find(|identifier| identifier.str("system") == Some(system))?.str("value")
}
