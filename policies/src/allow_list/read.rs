//! From resources to entries of the list.
//!
//! Two passes: first ids are mapped to identifiers, then references are resolved with them. A resource that breaks the
//! rules of its type (`access-and-edge` 3.1: exactly one identifier, well-formed thumbprints) yields no entry, and an
//! affiliation whose references lead nowhere yields none either.

use std::collections::HashMap;

use fhir::{Resource, ResourceType, Value};

use super::{Affiliation, Contents, Endpoint, Organization};
use crate::identifier::{
    ENDPOINT_IDENTIFIER, EndpointIdentifier, ORGANIZATION_IDENTIFIER, OrganizationIdentifier, ResourceId, Role,
    Thumbprint,
};
use crate::process_authorization::{ProcessDefinition, extensions, only, role};
use crate::resource_rules::THUMBPRINT_EXTENSION;

struct Names<'r> {
    base_url: &'r str,
    organizations: HashMap<&'r str, OrganizationIdentifier>,
    endpoints: HashMap<&'r str, EndpointIdentifier>,
}

pub(super) fn read<'r>(
    resources: impl IntoIterator<Item = &'r Resource>,
    local: OrganizationIdentifier,
    base_url: &str,
) -> Contents {
    let mut kept: Vec<(ResourceType, &Resource)> = Vec::new();
    let mut names = Names { base_url, organizations: HashMap::new(), endpoints: HashMap::new() };
    let mut processes = Vec::new();
    for resource in resources {
        let (Some(resource_type), Some(id)) = (resource.resource_type(), resource.id()) else { continue };
        match resource_type {
            ResourceType::Organization => {
                if let Some(identifier) =
                    identifier(resource, ORGANIZATION_IDENTIFIER).and_then(|text| text.parse().ok())
                {
                    names.organizations.insert(id, identifier);
                }
            }
            ResourceType::Endpoint => {
                if let Some(identifier) = identifier(resource, ENDPOINT_IDENTIFIER).and_then(|text| text.parse().ok()) {
                    names.endpoints.insert(id, identifier);
                }
            }
            ResourceType::OrganizationAffiliation => {}
            ResourceType::ActivityDefinition => {
                let usable = matches!(resource.str("status"), Some("draft" | "active"));
                processes.extend(ProcessDefinition::read(resource.tree()).ok().filter(|_| usable));
                continue;
            }
            _ => continue,
        }
        kept.push((resource_type, resource));
    }
    let mut contents = Contents {
        local,
        base_url: base_url.to_owned(),
        organizations: Vec::new(),
        endpoints: Vec::new(),
        affiliations: Vec::new(),
        processes,
    };
    for (resource_type, resource) in kept {
        match resource_type {
            ResourceType::Organization => contents.organizations.extend(names.organization(resource)),
            ResourceType::Endpoint => contents.endpoints.extend(names.endpoint(resource)),
            _ => contents.affiliations.extend(names.affiliation(resource)),
        }
    }
    contents
}

impl Names<'_> {
    fn organization(&self, resource: &Resource) -> Option<Organization> {
        let id = resource.id()?;
        Some(Organization {
            id: id.parse().ok()?,
            identifier: self.organizations.get(id)?.clone(),
            name: resource.str("name").map(str::to_owned),
            active: is_active(resource),
            thumbprints: thumbprints(resource)?,
            endpoints: resource.list("endpoint").iter().filter_map(|entry| self.endpoint_of(entry)).collect(),
        })
    }

    fn endpoint(&self, resource: &Resource) -> Option<Endpoint> {
        let id = resource.id()?;
        Some(Endpoint {
            id: id.parse().ok()?,
            identifier: self.endpoints.get(id)?.clone(),
            name: resource.str("name").map(str::to_owned),
            address: resource.str("address")?.to_owned(),
            active: resource.str("status") == Some("active"),
            organization: resource.get("managingOrganization").and_then(|reference| self.organization_of(reference)),
            thumbprints: thumbprints(resource)?,
        })
    }

    fn affiliation(&self, resource: &Resource) -> Option<Affiliation> {
        let id: ResourceId = resource.id()?.parse().ok()?;
        let endpoint = only(resource.list("endpoint").iter())?;
        let roles: Vec<Role> =
            resource.list("code").iter().flat_map(|code| code.list("coding")).filter_map(role).collect();
        Some(Affiliation {
            id,
            parent: self.organization_of(resource.get("organization")?)?,
            member: self.organization_of(resource.get("participatingOrganization")?)?,
            endpoint: self.endpoint_of(endpoint),
            roles,
            active: is_active(resource),
        })
    }

    fn organization_of(&self, reference: &Value) -> Option<OrganizationIdentifier> {
        match reference.str("reference") {
            Some(literal) => self.organizations.get(id_of_reference(literal, "Organization", self.base_url)?).cloned(),
            None => logical(reference, ORGANIZATION_IDENTIFIER)?.parse().ok(),
        }
    }

    fn endpoint_of(&self, reference: &Value) -> Option<EndpointIdentifier> {
        match reference.str("reference") {
            Some(literal) => self.endpoints.get(id_of_reference(literal, "Endpoint", self.base_url)?).cloned(),
            None => logical(reference, ENDPOINT_IDENTIFIER)?.parse().ok(),
        }
    }
}

fn logical<'r>(reference: &'r Value, system: &str) -> Option<&'r str> {
    let identifier = reference.get("identifier")?;
    if identifier.str("system") == Some(system) { identifier.str("value") } else { None }
}

/// The id in `Type/id`, `Type/id/_history/v` or the same below the own base URL.
pub(super) fn id_of_reference<'r>(reference: &'r str, type_name: &str, base_url: &str) -> Option<&'r str> {
    let relative = match reference.strip_prefix(base_url) {
        Some(below) if !base_url.is_empty() => below.strip_prefix('/')?,
        _ => reference,
    };
    let mut segments = relative.split('/');
    if segments.next() != Some(type_name) {
        return None;
    }
    let id = segments.next().filter(|id| !id.is_empty())?;
    match (segments.next(), segments.next(), segments.next()) {
        (None, ..) | (Some("_history"), Some(_), None) => Some(id),
        _ => None,
    }
}

fn identifier<'r>(resource: &'r Resource, system: &str) -> Option<&'r str> {
    only(resource.list("identifier").iter().filter(|identifier| identifier.str("system") == Some(system)))?.str("value")
}

fn is_active(resource: &Resource) -> bool {
    resource.get("active").and_then(Value::as_bool) == Some(true)
}

/// Every thumbprint of the resource; `None` if one of them is malformed.
fn thumbprints(resource: &Resource) -> Option<Vec<Thumbprint>> {
    extensions(resource.list("extension"), THUMBPRINT_EXTENSION)
        .map(|extension| extension.str("valueString")?.parse().ok())
        .collect()
}
