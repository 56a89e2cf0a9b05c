//! Conditions on resources beyond their tags: what must be in them, what must not change (`fhir-api` 4.2, 6.3).
//!
//! These are the conditions that a resource can be judged by alone. Uniqueness over the store is the store's matter;
//! [`unique_keys`] says under which keys it has to be kept.

use fhir::{Object, ResourceType, Value};

use crate::identifier::{ENDPOINT_IDENTIFIER, ORGANIZATION_IDENTIFIER, TASK_IDENTIFIER, Thumbprint};
use crate::process_authorization::{ProcessDefinition, extensions};

/// Url of the extension that carries the thumbprint of a certificate.
pub const THUMBPRINT_EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint";

/// Why a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// An element is missing or malformed.
    #[error("{0} is missing or not as required")]
    Element(&'static str),
    /// An element must stay as it is.
    #[error("{0} must not change")]
    Changed(&'static str),
}

/// Whether a resource of the type can be created or stored as a new version.
pub fn check(resource_type: ResourceType, resource: &Object) -> Result<(), ResourceError> {
    let need = |condition: bool, element| if condition { Ok(()) } else { Err(ResourceError::Element(element)) };
    let text = |name| resource.str(name).is_some_and(|text| !text.trim().is_empty());
    let publication = || matches!(resource.str("status"), Some("draft" | "active" | "retired"));
    let reference = |name| resource.get(name).is_some_and(is_reference);
    match resource_type {
        ResourceType::ActivityDefinition => ProcessDefinition::read(resource)
            .map(drop)
            .map_err(|_| ResourceError::Element("status, url, version or process-authorization")),
        ResourceType::CodeSystem | ResourceType::ValueSet => {
            need(publication(), "status")?;
            need(text("url"), "url")?;
            need(text("version"), "version")
        }
        ResourceType::StructureDefinition => {
            need(publication(), "status")?;
            need(text("url"), "url")?;
            need(text("version"), "version")?;
            need(text("baseDefinition"), "baseDefinition")
        }
        ResourceType::NamingSystem => {
            need(publication(), "status")?;
            need(text("name"), "name")?;
            need(!has_duplicates(unique_ids(resource)), "uniqueId")
        }
        ResourceType::Organization => {
            need(identifiers(resource, ORGANIZATION_IDENTIFIER).count() == 1, "identifier")?;
            need(thumbprints(resource).is_some(), "extension-certificate-thumbprint")
        }
        ResourceType::Endpoint => {
            need(identifiers(resource, ENDPOINT_IDENTIFIER).count() == 1, "identifier")?;
            need(resource.str("address").is_some_and(is_address), "address")?;
            need(thumbprints(resource).is_some(), "extension-certificate-thumbprint")
        }
        ResourceType::OrganizationAffiliation => {
            need(reference("organization"), "organization")?;
            need(reference("participatingOrganization"), "participatingOrganization")?;
            need(matches!(resource.list("endpoint"), [endpoint] if is_reference(endpoint)), "endpoint")?;
            let coded = resource.list("code").iter().any(|code| !code.list("coding").is_empty());
            need(coded, "code")
        }
        ResourceType::PractitionerRole => {
            need(reference("organization"), "organization")?;
            need(reference("practitioner"), "practitioner")
        }
        ResourceType::Subscription => {
            let channel = resource.get("channel").ok_or(ResourceError::Element("channel"))?;
            need(channel.str("type") == Some("websocket"), "channel.type")?;
            let payload = channel.str("payload");
            let known = ["application/fhir+json", "application/fhir+xml"];
            need(payload.is_none_or(|payload| known.contains(&payload)), "channel.payload")?;
            need(text("criteria"), "criteria")
        }
        _ => Ok(()),
    }
}

/// Whether a stored resource can be replaced by another one.
pub fn check_update(resource_type: ResourceType, old: &Object, new: &Object) -> Result<(), ResourceError> {
    check(resource_type, new)?;
    let same = |equal: bool, element| if equal { Ok(()) } else { Err(ResourceError::Changed(element)) };
    let same_text = |name| same(old.str(name) == new.str(name), name);
    let same_target = |name| same(old.get(name).map(target) == new.get(name).map(target), name);
    let same_identifier = |system| same(identifiers(old, system).eq(identifiers(new, system)), "identifier");
    match resource_type {
        ResourceType::ActivityDefinition
        | ResourceType::CodeSystem
        | ResourceType::StructureDefinition
        | ResourceType::ValueSet => {
            same_text("url")?;
            same_text("version")
        }
        ResourceType::NamingSystem => same_text("name"),
        ResourceType::Organization => same_identifier(ORGANIZATION_IDENTIFIER),
        ResourceType::Endpoint => {
            same_text("address")?;
            same_identifier(ENDPOINT_IDENTIFIER)
        }
        ResourceType::OrganizationAffiliation => {
            same_target("organization")?;
            same_target("participatingOrganization")?;
            let endpoint = |resource: &Object| resource.list("endpoint").first().map(target);
            same(endpoint(old) == endpoint(new), "endpoint")
        }
        ResourceType::Subscription => {
            same_text("criteria")?;
            let channel = |name| {
                let of = |resource: &Object| resource.get("channel").and_then(|c| c.str(name).map(str::to_owned));
                of(old) == of(new)
            };
            same(channel("type"), "channel.type")?;
            same(channel("payload"), "channel.payload")
        }
        _ => Ok(()),
    }
}

/// A key that at most one current, non-deleted resource of the type may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UniqueKey {
    /// What is unique.
    pub kind: &'static str,
    /// Its value.
    pub value: String,
}

/// The keys that must stay unique in the store (`fhir-api` 4.2).
#[must_use]
pub fn unique_keys(resource_type: ResourceType, resource: &Object) -> Vec<UniqueKey> {
    let key = |kind, value: String| UniqueKey { kind, value };
    let text = |name| resource.str(name).unwrap_or_default();
    match resource_type {
        ResourceType::ActivityDefinition
        | ResourceType::CodeSystem
        | ResourceType::StructureDefinition
        | ResourceType::ValueSet => vec![key("url-version", format!("{}|{}", text("url"), text("version")))],
        ResourceType::Endpoint => {
            let own = identifiers(resource, ENDPOINT_IDENTIFIER).map(|value| key("identifier", value.to_owned()));
            own.chain([key("address", text("address").to_owned())]).collect()
        }
        ResourceType::NamingSystem => {
            let ids = unique_ids(resource).map(|value| key("unique-id", value.to_owned()));
            ids.chain([key("name", text("name").to_owned())]).collect()
        }
        ResourceType::Organization => {
            let own = identifiers(resource, ORGANIZATION_IDENTIFIER).map(|value| key("identifier", value.to_owned()));
            let certificates = thumbprints(resource).unwrap_or_default();
            own.chain(certificates.into_iter().map(|thumbprint| key("thumbprint", thumbprint.into()))).collect()
        }
        ResourceType::OrganizationAffiliation => affiliation_keys(resource),
        ResourceType::Subscription => {
            let channel = |name| resource.get("channel").and_then(|channel| channel.str(name)).unwrap_or_default();
            vec![key("subscription", format!("{}\n{}\n{}", channel("type"), channel("payload"), text("criteria")))]
        }
        ResourceType::Task if resource.str("status") == Some("draft") => {
            identifiers(resource, TASK_IDENTIFIER).map(|value| key("task-identifier", value.to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

fn affiliation_keys(resource: &Object) -> Vec<UniqueKey> {
    let name = |name| resource.get(name).map(target).unwrap_or_default();
    let pair = format!("{}\n{}", name("organization"), name("participatingOrganization"));
    let endpoint = resource.list("endpoint").first().map(target).unwrap_or_default();
    let codings = resource.list("code").iter().flat_map(|code| code.list("coding"));
    let role = |coding: &Value| {
        let part = |name| coding.str(name).unwrap_or_default();
        UniqueKey { kind: "member-role", value: format!("{pair}\n{}|{}", part("system"), part("code")) }
    };
    let mut keys: Vec<UniqueKey> = codings.map(role).collect();
    keys.push(UniqueKey { kind: "member-endpoint", value: format!("{pair}\n{endpoint}") });
    keys.sort();
    keys.dedup();
    keys
}

fn identifiers<'a>(resource: &'a Object, system: &'a str) -> impl Iterator<Item = &'a str> {
    let own = resource.list("identifier").iter().filter(move |identifier| identifier.str("system") == Some(system));
    own.map(|identifier| identifier.str("value").unwrap_or_default())
}

/// Every thumbprint; `None` if one is malformed.
fn thumbprints(resource: &Object) -> Option<Vec<Thumbprint>> {
    extensions(resource.list("extension"), THUMBPRINT_EXTENSION)
        .map(|extension| extension.str("valueString")?.parse().ok())
        .collect()
}

fn unique_ids(resource: &Object) -> impl Iterator<Item = &str> {
    resource.list("uniqueId").iter().filter(|id| id.str("type") == Some("uri")).filter_map(|id| id.str("value"))
}

fn has_duplicates<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    values.into_iter().any(|value| !seen.insert(value))
}

/// A reference that names something: literally or by identifier.
fn is_reference(reference: &Value) -> bool {
    let identifier = reference.get("identifier");
    reference.str("reference").is_some_and(|literal| !literal.is_empty())
        || identifier.is_some_and(|identifier| identifier.str("system").is_some() && identifier.str("value").is_some())
}

/// What a reference names: the identifier if it has one (the literal beside it is the server's), else the literal
/// without version.
fn target(reference: &Value) -> String {
    if let Some((system, value)) =
        reference.get("identifier").and_then(|identifier| Some((identifier.str("system")?, identifier.str("value")?)))
    {
        return format!("{system}|{value}");
    }
    let literal = reference.str("reference").unwrap_or_default();
    literal.split_once("/_history/").map_or(literal, |(unversioned, _)| unversioned).to_owned()
}

/// `https://[0-9a-zA-Z.-]+(:port)?[-\w/]*`, the port being a port.
fn is_address(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("https://") else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && port.is_none_or(is_port)
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/'))
}

#[cfg(test)]
mod tests;
