//! The distributor's side: the Bundle.
//!
//! It is made of what is stored: every active organisation with its endpoints and affiliations, as conditional updates, with
//! references between its own entries. The names of the entries come of the ids, so that a list that has not changed gives
//! the same Bundle, and publishing it again makes no new version.

use std::collections::{BTreeMap, BTreeSet};

use fhir::{Object, Resource, ResourceType, Value};
use sha2::{Digest as _, Sha256};
use store::ReadFilter;

use super::{ALLOW_LIST, ALLOW_LIST_CODE};
use crate::step::{ServiceStep, StepContext, StepError};
use crate::{limits, task, terms};

/// Resources on one page of a search.
const PAGE: u32 = 200;

/// `Type/id` and the resource, in the order of the Bundle.
type Known = BTreeMap<String, Resource>;

pub(super) struct UpdateAllowList;

impl ServiceStep for UpdateAllowList {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let bundle = bundle(context)?;
        let (id, version) = store(context, bundle)?;
        let url = format!("{}/Bundle/{id}/_history/{version}", context.node().base_url);
        tracing::info!(url, "the allow-list was published");
        let reference = Object::new().with("reference", url).with("type", "Bundle");
        context.add_output(task::parameter(ALLOW_LIST, ALLOW_LIST_CODE).with("valueReference", reference));
        Ok(())
    }
}

/// Stores it unless the stored one says the same; id and version.
fn store(context: &mut StepContext<'_, '_>, bundle: Resource) -> Result<(String, u64), StepError> {
    let encoded: String = ALLOW_LIST.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = fhir::search::parse_query(ResourceType::Bundle, &format!("identifier={encoded}%7C{ALLOW_LIST_CODE}"));
    let found = context.transaction().search(&query, &ReadFilter::everything())?;
    match found.matches.as_slice() {
        [] => {
            let id = context.new_id();
            let created = context.transaction().create(bundle, &id)?;
            Ok((created.id, created.version))
        }
        [known] if known.resource.get("entry") == bundle.get("entry") => Ok((known.id.clone(), known.version)),
        [known] => {
            let updated = context.transaction().update(bundle, &known.id, Some(known.version))?;
            Ok((updated.id, updated.version))
        }
        _ => Err(StepError::Failed("several Bundles have the identifier of the allow-list; delete them".to_owned())),
    }
}

fn bundle(context: &mut StepContext<'_, '_>) -> Result<Resource, StepError> {
    let base_url = context.node().base_url.clone();
    let organizations = all(context, ResourceType::Organization, "active=true", |organization| {
        identifier(organization, terms::ORGANIZATION_IDENTIFIER).is_some()
    })?;
    let managed = |endpoint: &Resource| {
        let organization = target(endpoint.get("managingOrganization"), &base_url);
        identifier(endpoint, terms::ENDPOINT_IDENTIFIER).is_some()
            && organization.is_some_and(|organization| organizations.contains_key(&organization))
    };
    let endpoints = all(context, ResourceType::Endpoint, "", managed)?;
    let complete =
        |affiliation: &Resource| affiliation_query(affiliation, &organizations, &endpoints, &base_url).is_some();
    let affiliations = all(context, ResourceType::OrganizationAffiliation, "active=true", complete)?;
    let names: BTreeSet<&String> = organizations.keys().chain(endpoints.keys()).chain(affiliations.keys()).collect();
    if names.len() > limits::LIST_ENTRIES {
        let text = format!("the allow-list has {} resources, more than {}", names.len(), limits::LIST_ENTRIES);
        return Err(StepError::Failed(text));
    }
    let mut entries = Vec::new();
    let mut add = |name: &str, resource: &Resource, query: String| {
        let request = Object::new().with("method", "PUT").with("url", query);
        let resource = portable(resource, &names, &base_url);
        let entry = Object::new().with("fullUrl", urn(name)).with("resource", resource).with("request", request);
        entries.push(Value::from(entry));
    };
    for (name, organization) in &organizations {
        add(name, organization, by_identifier("Organization", organization, terms::ORGANIZATION_IDENTIFIER));
    }
    for (name, endpoint) in &endpoints {
        add(name, endpoint, by_identifier("Endpoint", endpoint, terms::ENDPOINT_IDENTIFIER));
    }
    for (name, affiliation) in &affiliations {
        let query = affiliation_query(affiliation, &organizations, &endpoints, &base_url).unwrap_or_default();
        add(name, affiliation, query);
    }
    let everybody = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/read-access-tag").with("code", "ALL");
    let mut bundle = Resource::new("Bundle");
    bundle.set("meta", Object::new().with("tag", vec![everybody.into()]));
    bundle.set("identifier", Object::new().with("system", ALLOW_LIST).with("value", ALLOW_LIST_CODE));
    bundle.set("type", "transaction");
    bundle.set("entry", entries);
    Ok(bundle)
}

/// Every stored resource that fits.
fn all(
    context: &mut StepContext<'_, '_>,
    resource_type: ResourceType,
    query: &str,
    fits: impl Fn(&Resource) -> bool,
) -> Result<Known, StepError> {
    let mut query = fhir::search::parse_query(resource_type, query);
    query.count = PAGE;
    let mut known = Known::new();
    for page in 1.. {
        query.page = page;
        let found = context.transaction().search(&query, &ReadFilter::everything())?;
        let is_last = query.offset() + u64::from(PAGE) >= found.total;
        for stored in found.matches.into_iter().filter(|stored| fits(&stored.resource)) {
            known.insert(format!("{resource_type}/{}", stored.id), (*stored.resource).clone());
        }
        if is_last || known.len() > limits::LIST_ENTRIES {
            break;
        }
    }
    Ok(known)
}

fn identifier<'r>(resource: &'r Resource, system: &str) -> Option<&'r str> {
    resource.list("identifier").iter().find(|identifier| identifier.str("system") == Some(system))?.str("value")
}

/// `Type/id` of what a literal reference leads to in this store.
fn target(reference: Option<&Value>, base_url: &str) -> Option<String> {
    let literal = reference?.str("reference")?;
    local(literal, base_url).map(str::to_owned)
}

fn local<'l>(literal: &'l str, base_url: &str) -> Option<&'l str> {
    let relative = match literal.strip_prefix(base_url) {
        Some(rest) => rest.strip_prefix('/')?,
        None => literal,
    };
    Some(relative.split_once("/_history/").map_or(relative, |(relative, _)| relative))
}

fn by_identifier(kind: &str, resource: &Resource, system: &str) -> String {
    format!("{kind}?identifier={system}|{}", identifier(resource, system).unwrap_or_default())
}

/// The criteria by which DSF finds an affiliation; none unless parent, member and endpoint are part of the list.
fn affiliation_query(
    affiliation: &Resource,
    organizations: &Known,
    endpoints: &Known,
    base_url: &str,
) -> Option<String> {
    let organization = |name: &str| {
        let organization = organizations.get(&target(affiliation.get(name), base_url)?)?;
        identifier(organization, terms::ORGANIZATION_IDENTIFIER)
    };
    let [endpoint] = affiliation.list("endpoint") else { return None };
    let endpoint = identifier(endpoints.get(&target(Some(endpoint), base_url)?)?, terms::ENDPOINT_IDENTIFIER)?;
    let (parent, member) = (organization("organization")?, organization("participatingOrganization")?);
    let (organizations, endpoints) = (terms::ORGANIZATION_IDENTIFIER, terms::ENDPOINT_IDENTIFIER);
    Some(format!(
        "OrganizationAffiliation?primary-organization:identifier={organizations}|{parent}&participating-organization:identifier={organizations}|{member}&endpoint:identifier={endpoints}|{endpoint}"
    ))
}

/// The resource without what only this store knows: id, version, and references to anything that is not in the list.
fn portable(resource: &Resource, names: &BTreeSet<&String>, base_url: &str) -> Value {
    let mut copy = resource.clone();
    copy.remove("id");
    if let Some(mut meta) = copy.get("meta").and_then(Value::as_object).cloned() {
        meta.remove("versionId");
        meta.remove("lastUpdated");
        copy.set("meta", meta);
    }
    let renamed = |reference: &Value| -> Option<Value> {
        let name = target(Some(reference), base_url).filter(|name| names.contains(name))?;
        let mut reference = reference.as_object()?.clone();
        reference.set("reference", urn(&name));
        Some(reference.into())
    };
    for member in ["managingOrganization", "organization", "participatingOrganization", "partOf"] {
        let Some(reference) = copy.get(member).cloned() else { continue };
        match renamed(&reference) {
            Some(renamed) => copy.set(member, renamed),
            None => drop(copy.remove(member)),
        }
    }
    let endpoints: Vec<Value> = copy.list("endpoint").iter().filter_map(renamed).collect();
    copy.remove("endpoint");
    if !endpoints.is_empty() {
        copy.set("endpoint", endpoints);
    }
    copy.into_tree().into()
}

/// The name of an entry within the Bundle.
fn urn(name: &str) -> String {
    let mut bytes = [0; 16];
    for (byte, digit) in bytes.iter_mut().zip(Sha256::digest(name.as_bytes())) {
        *byte = digit;
    }
    format!("urn:uuid:{}", uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
