//! The allow-list of the demonstration network, as a consortium distributes it: one transaction Bundle with every
//! organisation, its endpoint and its role, sent to each node by its own organisation. Shapes: DSF profiles
//! `organization`, `organization-parent`, `endpoint` and `organization-affiliation` 2.0.0.

use fhir::{Object, Resource, Value};

use super::network::{Network, PARENT, Site};

const PROFILES: &str = "http://dsf.dev/fhir/StructureDefinition";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";

/// A member as the allow-list names it.
pub(crate) struct Member {
    pub(crate) organization_identifier: String,
    pub(crate) endpoint_identifier: String,
    pub(crate) base_url: String,
    pub(crate) role: String,
    pub(crate) thumbprint: String,
}

impl Member {
    pub(crate) fn of(site: &Site, thumbprint: String) -> Self {
        Self {
            organization_identifier: site.organization_identifier(),
            endpoint_identifier: site.endpoint_identifier(),
            base_url: site.base_url(),
            role: site.role.clone(),
            thumbprint,
        }
    }
}

/// The members of a network in its order.
pub(crate) fn members(network: &Network, thumbprints: &[String]) -> Vec<Member> {
    network.sites.iter().zip(thumbprints).map(|(site, thumbprint)| Member::of(site, thumbprint.clone())).collect()
}

/// The transaction Bundle.
pub(crate) fn bundle(members: &[Member]) -> Resource {
    let parent = urn();
    let mut entries =
        vec![entry(&parent, parent_organization(), &by_identifier("Organization", ORGANIZATION_IDENTIFIER, PARENT))];
    for member in members {
        let (organization, endpoint) = (urn(), urn());
        let organization_query =
            by_identifier("Organization", ORGANIZATION_IDENTIFIER, &member.organization_identifier);
        let endpoint_query = by_identifier("Endpoint", ENDPOINT_IDENTIFIER, &member.endpoint_identifier);
        let affiliation_query = format!(
            "OrganizationAffiliation?primary-organization:identifier={ORGANIZATION_IDENTIFIER}|{PARENT}&participating-organization:identifier={ORGANIZATION_IDENTIFIER}|{}",
            member.organization_identifier
        );
        entries.push(entry(&organization, member_organization(member, &endpoint), &organization_query));
        entries.push(entry(&endpoint, member_endpoint(member, &organization), &endpoint_query));
        entries.push(entry(&urn(), affiliation(member, &parent, &organization, &endpoint), &affiliation_query));
    }
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", "transaction");
    bundle.set("entry", entries);
    bundle
}

fn entry(full_url: &str, resource: Resource, query: &str) -> Value {
    let request = Object::new().with("method", "PUT").with("url", query);
    Object::new().with("fullUrl", full_url).with("resource", resource.into_tree()).with("request", request).into()
}

fn parent_organization() -> Resource {
    let mut organization = tagged("Organization", "organization-parent");
    organization.push("identifier", identifier(ORGANIZATION_IDENTIFIER, PARENT));
    organization.set("active", true);
    organization.set("name", "Demonstration consortium");
    organization
}

fn member_organization(member: &Member, endpoint: &str) -> Resource {
    let mut organization = tagged("Organization", "organization");
    let thumbprint = Object::new()
        .with("url", "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint")
        .with("valueString", member.thumbprint.as_str());
    organization.push("extension", thumbprint);
    organization.push("identifier", identifier(ORGANIZATION_IDENTIFIER, &member.organization_identifier));
    organization.set("active", true);
    organization.set("name", member.organization_identifier.as_str());
    organization.push("endpoint", reference("Endpoint", endpoint));
    organization
}

fn member_endpoint(member: &Member, organization: &str) -> Resource {
    let mut endpoint = tagged("Endpoint", "endpoint");
    endpoint.push("identifier", identifier(ENDPOINT_IDENTIFIER, &member.endpoint_identifier));
    endpoint.set("status", "active");
    endpoint.set(
        "connectionType",
        coding("http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "hl7-fhir-rest"),
    );
    endpoint.set("name", member.endpoint_identifier.as_str());
    endpoint.set("managingOrganization", reference("Organization", organization));
    endpoint.push(
        "payloadType",
        Object::new().with("coding", vec![coding("http://hl7.org/fhir/resource-types", "Task").into()]),
    );
    endpoint.push("payloadMimeType", "application/fhir+json");
    endpoint.push("payloadMimeType", "application/fhir+xml");
    endpoint.set("address", member.base_url.as_str());
    endpoint
}

fn affiliation(member: &Member, parent: &str, organization: &str, endpoint: &str) -> Resource {
    let mut affiliation = tagged("OrganizationAffiliation", "organization-affiliation");
    affiliation.set("active", true);
    affiliation.set("organization", reference("Organization", parent));
    affiliation.set("participatingOrganization", reference("Organization", organization));
    let role = coding("http://dsf.dev/fhir/CodeSystem/organization-role", &member.role);
    affiliation.push("code", Object::new().with("coding", vec![role.into()]));
    affiliation.push("endpoint", reference("Endpoint", endpoint));
    affiliation
}

/// A resource with its DSF profile that everybody in the consortium may read.
fn tagged(resource_type: &str, profile: &str) -> Resource {
    let mut resource = Resource::new(resource_type);
    let tag = coding("http://dsf.dev/fhir/CodeSystem/read-access-tag", "ALL");
    let meta =
        Object::new().with("profile", vec![Value::from(format!("{PROFILES}/{profile}"))]).with("tag", vec![tag.into()]);
    resource.set("meta", meta);
    resource
}

fn identifier(system: &str, value: &str) -> Object {
    Object::new().with("system", system).with("value", value)
}

fn coding(system: &str, code: &str) -> Object {
    Object::new().with("system", system).with("code", code)
}

fn reference(resource_type: &str, target: &str) -> Object {
    Object::new().with("reference", target).with("type", resource_type)
}

fn by_identifier(resource_type: &str, system: &str, value: &str) -> String {
    format!("{resource_type}?identifier={system}|{value}")
}

fn urn() -> String {
    format!("urn:uuid:{}", uuid::Uuid::new_v4())
}
