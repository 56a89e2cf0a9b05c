//! Keys that only one current resource may hold (`fhir-api.md` section 4.2).
//!
//! They are computed from the resource at every write and kept in a table whose primary key is the key itself, so two
//! writers that store the same key at the same time cannot both succeed, on any database.

use std::collections::BTreeSet;

use fhir::{Resource, ResourceType, Value};

use crate::read_access::{ORGANIZATION_IDENTIFIER, local_reference};

const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";
const TASK_IDENTIFIER: &str = "http://dsf.dev/sid/task-identifier";
const CERTIFICATE_THUMBPRINT: &str = "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint";

/// A key with the rule that makes it unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueKey {
    /// The rule.
    pub kind: &'static str,
    /// The value.
    pub key: String,
}

/// The keys that the resource must hold alone; `base` is the node's base URL.
#[must_use]
pub fn unique_keys(resource_type: ResourceType, resource: &Resource, base: Option<&str>) -> Vec<UniqueKey> {
    let mut keys = BTreeSet::new();
    match resource_type {
        ResourceType::ActivityDefinition => canonical(resource, "activity-definition", &mut keys),
        ResourceType::CodeSystem => canonical(resource, "code-system", &mut keys),
        ResourceType::StructureDefinition => canonical(resource, "structure-definition", &mut keys),
        ResourceType::ValueSet => canonical(resource, "value-set", &mut keys),
        ResourceType::Endpoint => endpoint(resource, &mut keys),
        ResourceType::NamingSystem => naming_system(resource, &mut keys),
        ResourceType::Organization => organization(resource, &mut keys),
        ResourceType::OrganizationAffiliation => affiliation(resource, base, &mut keys),
        ResourceType::Subscription => subscription(resource, &mut keys),
        ResourceType::Task if resource.str("status") == Some("draft") => {
            identifiers(resource, TASK_IDENTIFIER, "draft-task-identifier", &mut keys);
        }
        _ => {}
    }
    keys.into_iter().collect()
}

fn add(keys: &mut BTreeSet<UniqueKey>, kind: &'static str, parts: &[&str]) {
    // Parts are joined with their lengths, so that no two lists of parts give the same key.
    let key = match parts {
        [single] => (*single).to_owned(),
        several => several.iter().map(|part| format!("{}:{part}", part.len())).collect::<Vec<_>>().join("|"),
    };
    keys.insert(UniqueKey { kind, key });
}

fn canonical(resource: &Resource, kind: &'static str, keys: &mut BTreeSet<UniqueKey>) {
    if let Some(url) = resource.str("url") {
        add(keys, kind, &[url, resource.str("version").unwrap_or_default()]);
    }
}

fn identifiers(resource: &Resource, system: &str, kind: &'static str, keys: &mut BTreeSet<UniqueKey>) {
    for identifier in resource.list("identifier") {
        if identifier.str("system") == Some(system)
            && let Some(value) = identifier.str("value")
        {
            add(keys, kind, &[value]);
        }
    }
}

fn endpoint(resource: &Resource, keys: &mut BTreeSet<UniqueKey>) {
    identifiers(resource, ENDPOINT_IDENTIFIER, "endpoint-identifier", keys);
    if let Some(address) = resource.str("address") {
        add(keys, "endpoint-address", &[address]);
    }
}

fn naming_system(resource: &Resource, keys: &mut BTreeSet<UniqueKey>) {
    if let Some(name) = resource.str("name") {
        add(keys, "naming-system-name", &[name]);
    }
    for id in resource.list("uniqueId") {
        if let Some(value) = id.str("value") {
            add(keys, "naming-system-unique-id", &[value]);
        }
    }
}

fn organization(resource: &Resource, keys: &mut BTreeSet<UniqueKey>) {
    identifiers(resource, ORGANIZATION_IDENTIFIER, "organization-identifier", keys);
    for extension in resource.list("extension") {
        if extension.str("url") == Some(CERTIFICATE_THUMBPRINT)
            && let Some(thumbprint) = extension.str("valueString")
        {
            add(keys, "certificate-thumbprint", &[&thumbprint.to_ascii_lowercase()]);
        }
    }
}

/// A pair of organisations has one affiliation per endpoint, and each role once.
fn affiliation(resource: &Resource, base: Option<&str>, keys: &mut BTreeSet<UniqueKey>) {
    let target = |reference: &Value| reference.str("reference").map(|text| target_of(text, base));
    let member = |name: &str| resource.get(name).and_then(target);
    let (Some(parent), Some(participant)) = (member("organization"), member("participatingOrganization")) else {
        return;
    };
    for endpoint in resource.list("endpoint").iter().filter_map(target) {
        add(keys, "affiliation-endpoint", &[&parent, &participant, &endpoint]);
    }
    for coding in resource.list("code").iter().flat_map(|code| code.list("coding")) {
        if let Some(code) = coding.str("code") {
            add(keys, "affiliation-role", &[&parent, &participant, coding.str("system").unwrap_or_default(), code]);
        }
    }
}

fn subscription(resource: &Resource, keys: &mut BTreeSet<UniqueKey>) {
    let channel =
        |name: &str| resource.get("channel").and_then(|channel: &Value| channel.str(name)).unwrap_or_default();
    if let Some(criteria) = resource.str("criteria") {
        add(keys, "subscription", &[criteria, channel("type"), channel("payload")]);
    }
}

/// The target of a reference in the one form that is compared: relative and without version if it is of this node.
fn target_of(reference: &str, base: Option<&str>) -> String {
    match local_reference(reference, base) {
        Some((resource_type, id)) => format!("{resource_type}/{id}"),
        None => reference.to_owned(),
    }
}

#[cfg(test)]
mod tests;
