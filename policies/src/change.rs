//! What a Bundle would change in the allow-list: the list after it, and who gains and loses what.
//!
//! [`apply`] plays a transaction of `PUT` and `DELETE` on Organization, Endpoint and OrganizationAffiliation on an
//! allow-list, as the store would, without the store: `schleuse allow-list diff` runs on files. Nothing else may stand in
//! such a Bundle, an entry whose resource is not what its `request.url` names is refused, and the own organisation is
//! never part of it: a list that comes from elsewhere must not hand over the node.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fhir::{Object, Resource, ResourceType, Value};
use serde::Serialize;

use crate::allow_list::{AllowList, Organization};
use crate::bundle::{self, BundleKind};
use crate::identifier::{ENDPOINT_IDENTIFIER, ORGANIZATION_IDENTIFIER, OrganizationIdentifier};
use crate::interaction::Method;
use crate::policy::Delta;
use crate::resource_rules::THUMBPRINT_EXTENSION;

/// Why a Bundle is no change of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not a transaction or batch with readable entries.
    #[error("the Bundle cannot be applied: {0}")]
    Bundle(String),
    /// An entry does something else.
    #[error(
        "entry {index}: {what} is no change of an allow-list; PUT and DELETE of Organization, Endpoint and OrganizationAffiliation are"
    )]
    Entry {
        /// Which one, from 0.
        index: usize,
        /// What it does.
        what: String,
    },
    /// The identifier in the resource is not the one in `request.url`.
    #[error("entry {index}: request.url names {url}, the resource is {resource}")]
    Mismatch {
        /// Which one, from 0.
        index: usize,
        /// Identifier in the URL.
        url: String,
        /// Identifier in the resource.
        resource: String,
    },
    /// An entry changes the own organisation or endpoint.
    #[error("entry {index} changes the own {what}, which a list from elsewhere must not do")]
    OwnOrganization {
        /// Which one, from 0.
        index: usize,
        /// `Organization`, `Endpoint` or `OrganizationAffiliation`.
        what: ResourceType,
    },
    /// An entry gives the own certificate to somebody, or somebody's certificate twice.
    #[error("the certificate {thumbprint} would belong to {first} and {second}; nobody who shows it would be let in")]
    Duplicate {
        /// First digits.
        thumbprint: String,
        /// One holder.
        first: String,
        /// The other.
        second: String,
    },
}

/// What changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Organisations that take part from now on.
    pub added: Vec<String>,
    /// Organisations that take part no longer.
    pub removed: Vec<String>,
    /// Organisations that stay and change.
    pub changed: Vec<OrganizationChange>,
    /// Messages that somebody may send from now on, or no longer.
    pub messages: Vec<MessageChange>,
}

/// What changes about an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OrganizationChange {
    /// Which.
    pub organization: String,
    /// New certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates_added: Vec<String>,
    /// Certificates that are no longer hers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates_removed: Vec<String>,
    /// New roles, `parent/role`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles_added: Vec<String>,
    /// Roles that are no longer hers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles_removed: Vec<String>,
    /// New addresses of endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses_added: Vec<String>,
    /// Addresses that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses_removed: Vec<String>,
}

/// A message that an organisation may send to this node from now on, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MessageChange {
    /// Who.
    pub organization: String,
    /// `url|version`
    pub process: String,
    /// Message name.
    pub message: String,
    /// Whether it is gained.
    pub gained: bool,
}

/// What a resource is called in the list, whatever its id is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Organization(String),
    Endpoint(String),
    Affiliation { parent: String, member: String, endpoint: String },
}

// === impl Difference ===

impl Difference {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Organisations whose running processes may be affected.
    pub fn affected(&self) -> impl Iterator<Item = &str> {
        let changed = self.changed.iter().map(|change| change.organization.as_str());
        self.removed.iter().map(String::as_str).chain(changed)
    }

    /// In what the change is larger than the policy permits without a second look.
    #[must_use]
    pub fn exceeds(&self, most: &Delta) -> Vec<String> {
        let thumbprints = self
            .changed
            .iter()
            .filter(|change| !change.certificates_added.is_empty() || !change.certificates_removed.is_empty())
            .count();
        let counts = [
            ("organizations-added", self.added.len(), most.organizations_added),
            ("organizations-removed", self.removed.len(), most.organizations_removed),
            ("thumbprints-changed", thumbprints, most.thumbprints_changed),
        ];
        let larger = counts.into_iter().filter(|(_, found, most)| *found > *most as usize);
        larger.map(|(name, found, most)| format!("{name}: {found}, more than {most}")).collect()
    }
}

/// What a Bundle may say of the own organisation's roles, which stand in its affiliations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRoles {
    /// What is known already.
    Kept,
    /// Others, as whoever keeps the list gives them.
    Given,
}

/// The allow-list after the Bundle.
pub fn apply(list: &AllowList, bundle: &Resource) -> Result<AllowList, ChangeError> {
    apply_as(list, bundle, OwnRoles::Kept)
}

/// The allow-list after the Bundle of whoever may, or may not, give this organisation its roles.
pub fn apply_as(list: &AllowList, bundle: &Resource, own_roles: OwnRoles) -> Result<AllowList, ChangeError> {
    let tree = bundle.tree();
    let unusable = |error: &dyn std::fmt::Display| ChangeError::Bundle(error.to_string());
    let (BundleKind::Batch | BundleKind::Transaction) = bundle::kind(tree).map_err(|error| unusable(&error))?;
    let entries = bundle::entries(tree, crate::limits::BUNDLE_ENTRIES).map_err(|error| unusable(&error))?;
    let mut resources = resources_of(list);
    // Ids of what the Bundle itself brings, by its temporary names.
    let mut temporary: HashMap<String, Key> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let full_url = tree.list("entry").get(index).and_then(|entry| entry.str("fullUrl"));
        if let (Some(full_url), Some(resource)) = (full_url, entry.resource)
            && let Some(key) = simple_key(resource)
        {
            temporary.insert(full_url.to_owned(), key);
        }
    }
    let mut changed_keys = Vec::new();
    for entry in &entries {
        let index = entry.index;
        let what = || format!("{} {}", entry.request.method(), entry.request.relative_target());
        let resource_type = entry.request.resource_type();
        let known = matches!(
            resource_type,
            Some(ResourceType::Organization | ResourceType::Endpoint | ResourceType::OrganizationAffiliation)
        );
        let key = match (entry.request.method(), entry.resource, known) {
            (Method::Put, Some(resource), true) => {
                let key =
                    key_of(resource, &temporary, list).ok_or_else(|| ChangeError::Entry { index, what: what() })?;
                check_url(index, entry.request.query(), &key)?;
                let rewritten = rewrite(resource, &key, &temporary);
                resources.insert(key.clone(), rewritten);
                key
            }
            (Method::Delete, None, true) => {
                let key = find(&resources, resource_type, &entry.request)
                    .ok_or_else(|| ChangeError::Entry { index, what: what() })?;
                resources.remove(&key);
                key
            }
            _ => return Err(ChangeError::Entry { index, what: what() }),
        };
        changed_keys.push((index, key));
    }
    let all: Vec<Resource> = resources.into_values().collect();
    let next = AllowList::from_resources(&all, list.local().clone(), list.base_url()).with_processes_of(list);
    check_own(list, &next, &changed_keys, own_roles)?;
    check_duplicates(&next)?;
    Ok(next)
}

/// Who gains and loses what between two lists.
#[must_use]
pub fn difference(before: &AllowList, after: &AllowList) -> Difference {
    let active = |list: &AllowList| -> BTreeMap<OrganizationIdentifier, Organization> {
        let all = list.organizations().iter().filter(|organization| list.is_active(&organization.identifier));
        all.map(|organization| (organization.identifier.clone(), organization.clone())).collect()
    };
    let (old, new) = (active(before), active(after));
    let mut difference = Difference {
        added: new.keys().filter(|key| !old.contains_key(*key)).map(ToString::to_string).collect(),
        removed: old.keys().filter(|key| !new.contains_key(*key)).map(ToString::to_string).collect(),
        changed: Vec::new(),
        messages: messages(before, after),
    };
    for (identifier, organization) in &old {
        let Some(later) = new.get(identifier) else { continue };
        let certificates = |organization: &Organization| -> BTreeSet<String> {
            organization.thumbprints.iter().map(ToString::to_string).collect()
        };
        let roles = |list: &AllowList| -> BTreeSet<String> {
            list.roles_of(identifier).map(|(parent, role)| format!("{parent}/{}", role.code())).collect()
        };
        let (certificates_added, certificates_removed) = both(&certificates(organization), &certificates(later));
        let (roles_added, roles_removed) = both(&roles(before), &roles(after));
        let (addresses_added, addresses_removed) = both(&addresses(before, identifier), &addresses(after, identifier));
        let change = OrganizationChange {
            organization: identifier.to_string(),
            certificates_added,
            certificates_removed,
            roles_added,
            roles_removed,
            addresses_added,
            addresses_removed,
        };
        let same = OrganizationChange {
            organization: identifier.to_string(),
            certificates_added: Vec::new(),
            certificates_removed: Vec::new(),
            roles_added: Vec::new(),
            roles_removed: Vec::new(),
            addresses_added: Vec::new(),
            addresses_removed: Vec::new(),
        };
        if change != same {
            difference.changed.push(change);
        }
    }
    difference
}

/// What is new, and what is gone.
fn both(old: &BTreeSet<String>, new: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    (new.difference(old).cloned().collect(), old.difference(new).cloned().collect())
}

fn addresses(list: &AllowList, organization: &OrganizationIdentifier) -> BTreeSet<String> {
    let own = |endpoint: &&crate::allow_list::Endpoint| {
        endpoint.active && endpoint.organization.as_ref() == Some(organization)
    };
    list.endpoints().iter().filter(own).map(|endpoint| endpoint.address.clone()).collect()
}

/// Every message with everybody who may send it.
fn senders(list: &AllowList) -> BTreeSet<(String, String, String)> {
    let policy_free = |thumbprint| list.identify_organization_of(thumbprint);
    let mut all = BTreeSet::new();
    for organization in list.organizations().iter().filter(|organization| list.is_active(&organization.identifier)) {
        for identity in organization.thumbprints.iter().filter_map(policy_free) {
            for process in list.processes() {
                for message in &process.messages {
                    if message.requesters.iter().any(|party| party.admits_requester(&identity, list))
                        && message.recipients.iter().any(|party| party.admits_recipient(list))
                    {
                        let process = format!("{}|{}", process.url, process.version);
                        all.insert((organization.identifier.to_string(), process, message.message_name.clone()));
                    }
                }
            }
        }
    }
    all
}

fn messages(before: &AllowList, after: &AllowList) -> Vec<MessageChange> {
    let (old, new) = (senders(before), senders(after));
    let change = |(organization, process, message): &(String, String, String), gained| MessageChange {
        organization: organization.clone(),
        process: process.clone(),
        message: message.clone(),
        gained,
    };
    let gained = new.difference(&old).map(|entry| change(entry, true));
    let lost = old.difference(&new).map(|entry| change(entry, false));
    let mut all: Vec<MessageChange> = gained.chain(lost).collect();
    all.sort();
    all
}

// === the list as resources ===

/// The id of a resource in the played store.
fn id_of(key: &Key) -> String {
    let text = match key {
        Key::Organization(identifier) => format!("o {identifier}"),
        Key::Endpoint(identifier) => format!("e {identifier}"),
        Key::Affiliation { parent, member, endpoint } => format!("a {parent} {member} {endpoint}"),
    };
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn type_of(key: &Key) -> ResourceType {
    match key {
        Key::Organization(_) => ResourceType::Organization,
        Key::Endpoint(_) => ResourceType::Endpoint,
        Key::Affiliation { .. } => ResourceType::OrganizationAffiliation,
    }
}

fn resources_of(list: &AllowList) -> BTreeMap<Key, Resource> {
    let reference = |key: &Key| Object::new().with("reference", format!("{}/{}", type_of(key), id_of(key)));
    let organization_key = |identifier: &OrganizationIdentifier| Key::Organization(identifier.to_string());
    let mut all = BTreeMap::new();
    for organization in list.organizations() {
        let key = organization_key(&organization.identifier);
        let mut resource = Resource::new("Organization");
        resource.set("id", id_of(&key));
        resource.push("identifier", identifier(ORGANIZATION_IDENTIFIER, organization.identifier.as_str()));
        resource.set("active", organization.active);
        for thumbprint in &organization.thumbprints {
            resource.push("extension", extension(thumbprint.as_str()));
        }
        for endpoint in &organization.endpoints {
            resource.push("endpoint", reference(&Key::Endpoint(endpoint.to_string())));
        }
        all.insert(key, resource);
    }
    for endpoint in list.endpoints() {
        let key = Key::Endpoint(endpoint.identifier.to_string());
        let mut resource = Resource::new("Endpoint");
        resource.set("id", id_of(&key));
        resource.push("identifier", identifier(ENDPOINT_IDENTIFIER, endpoint.identifier.as_str()));
        resource.set("status", if endpoint.active { "active" } else { "off" });
        resource.set("address", endpoint.address.as_str());
        if let Some(organization) = &endpoint.organization {
            resource.set("managingOrganization", reference(&organization_key(organization)));
        }
        for thumbprint in &endpoint.thumbprints {
            resource.push("extension", extension(thumbprint.as_str()));
        }
        all.insert(key, resource);
    }
    for affiliation in list.affiliations() {
        let Some(endpoint) = &affiliation.endpoint else { continue };
        let key = Key::Affiliation {
            parent: affiliation.parent.to_string(),
            member: affiliation.member.to_string(),
            endpoint: endpoint.to_string(),
        };
        let mut resource = Resource::new("OrganizationAffiliation");
        resource.set("id", id_of(&key));
        resource.set("active", affiliation.active);
        resource.set("organization", reference(&organization_key(&affiliation.parent)));
        resource.set("participatingOrganization", reference(&organization_key(&affiliation.member)));
        resource.push("endpoint", reference(&Key::Endpoint(endpoint.to_string())));
        for role in &affiliation.roles {
            let coding = Object::new().with("system", role.system()).with("code", role.code());
            resource.push("code", Object::new().with("coding", vec![Value::from(coding)]));
        }
        all.insert(key, resource);
    }
    all
}

fn identifier(system: &str, value: &str) -> Object {
    Object::new().with("system", system).with("value", value)
}

fn extension(thumbprint: &str) -> Object {
    Object::new().with("url", THUMBPRINT_EXTENSION).with("valueString", thumbprint)
}

/// The key of an Organization or Endpoint, which name themselves.
fn simple_key(resource: &Object) -> Option<Key> {
    let of = |system: &str| {
        let mut found = resource.list("identifier").iter().filter(|known| known.str("system") == Some(system));
        let value = found.next()?.str("value")?;
        found.next().is_none().then(|| value.to_owned())
    };
    match resource.str("resourceType")? {
        "Organization" => of(ORGANIZATION_IDENTIFIER).map(Key::Organization),
        "Endpoint" => of(ENDPOINT_IDENTIFIER).map(Key::Endpoint),
        _ => None,
    }
}

fn key_of(resource: &Object, temporary: &HashMap<String, Key>, list: &AllowList) -> Option<Key> {
    if let Some(key) = simple_key(resource) {
        return Some(key);
    }
    if resource.str("resourceType") != Some("OrganizationAffiliation") {
        return None;
    }
    let organization = |name: &str| match target(resource.get(name)?, temporary, list)? {
        Key::Organization(identifier) => Some(identifier),
        _ => None,
    };
    let [endpoint] = resource.list("endpoint") else { return None };
    let Key::Endpoint(endpoint) = target(endpoint, temporary, list)? else { return None };
    Some(Key::Affiliation {
        parent: organization("organization")?,
        member: organization("participatingOrganization")?,
        endpoint,
    })
}

/// What a reference leads to: an entry of the Bundle, an identifier, or a resource of the node.
fn target(reference: &Value, temporary: &HashMap<String, Key>, list: &AllowList) -> Option<Key> {
    if let Some(literal) = reference.str("reference") {
        if let Some(key) = temporary.get(literal) {
            return Some(key.clone());
        }
        let (kind, id) = literal.rsplit_once('/')?;
        return match kind {
            "Organization" => list
                .organizations()
                .iter()
                .find(|known| known.id.as_str() == id)
                .map(|known| Key::Organization(known.identifier.to_string())),
            "Endpoint" => list
                .endpoints()
                .iter()
                .find(|known| known.id.as_str() == id)
                .map(|known| Key::Endpoint(known.identifier.to_string())),
            _ => None,
        };
    }
    let identifier = reference.get("identifier")?;
    let value = identifier.str("value")?.to_owned();
    match identifier.str("system")? {
        ORGANIZATION_IDENTIFIER => Some(Key::Organization(value)),
        ENDPOINT_IDENTIFIER => Some(Key::Endpoint(value)),
        _ => None,
    }
}

/// The resource with ids and references of the played store.
fn rewrite(resource: &Object, key: &Key, temporary: &HashMap<String, Key>) -> Resource {
    let mut copy = Resource::new(type_of(key).as_str());
    for (name, value) in resource.iter().filter(|(name, _)| !matches!(*name, "resourceType" | "id")) {
        copy.set(name, with_references(value, temporary));
    }
    copy.set("id", id_of(key));
    copy
}

fn with_references(value: &Value, temporary: &HashMap<String, Key>) -> Value {
    if let Some(object) = value.as_object() {
        let mut copy = Object::new();
        for (name, value) in object.iter() {
            let literal = value.as_str().filter(|_| name == "reference").and_then(|literal| temporary.get(literal));
            copy = match literal {
                Some(key) => copy.with(name, format!("{}/{}", type_of(key), id_of(key))),
                None => copy.with(name, with_references(value, temporary)),
            };
        }
        return copy.into();
    }
    match value {
        Value::Array(list) => list.iter().map(|value| with_references(value, temporary)).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// Criteria of a conditional update must name the resource that comes with it.
fn check_url(index: usize, query: &[(String, String)], key: &Key) -> Result<(), ChangeError> {
    let mismatch = |url: &str, resource: &str| {
        Err(ChangeError::Mismatch { index, url: url.to_owned(), resource: resource.to_owned() })
    };
    for (name, value) in query {
        let wanted = value.split_once('|').map_or(value.as_str(), |(_, value)| value);
        let is = match (key, name.as_str()) {
            (Key::Organization(identifier) | Key::Endpoint(identifier), "identifier") => identifier,
            (Key::Affiliation { parent, .. }, "primary-organization:identifier") => parent,
            (Key::Affiliation { member, .. }, "participating-organization:identifier") => member,
            (Key::Affiliation { endpoint, .. }, "endpoint:identifier") => endpoint,
            _ => return mismatch(name, "found by other parameters"),
        };
        if wanted != is {
            return mismatch(wanted, is);
        }
    }
    Ok(())
}

/// The one resource that a `DELETE` names, by identifiers.
fn find(
    resources: &BTreeMap<Key, Resource>,
    resource_type: Option<ResourceType>,
    request: &crate::CanonicalRequest,
) -> Option<Key> {
    if request.query().is_empty() {
        return None;
    }
    let fits = |key: &&Key| Some(type_of(key)) == resource_type && check_url(0, request.query(), key).is_ok();
    let mut found = resources.keys().filter(fits);
    let first = found.next()?;
    found.next().is_none().then(|| first.clone())
}

// === protection ===

/// The own organisation, its endpoint and, unless they are given, its affiliations stay as they are.
fn check_own(
    before: &AllowList,
    after: &AllowList,
    changed: &[(usize, Key)],
    own_roles: OwnRoles,
) -> Result<(), ChangeError> {
    let local = before.local().as_str();
    let endpoint = before.local_endpoint().map(crate::identifier::EndpointIdentifier::as_str);
    let (old, new) = (resources_of(before), resources_of(after));
    for (index, key) in changed {
        let own = match key {
            Key::Organization(identifier) => identifier == local,
            Key::Endpoint(identifier) => Some(identifier.as_str()) == endpoint,
            Key::Affiliation { member, .. } => member == local && own_roles == OwnRoles::Kept,
        };
        // Lists name every member, this node too; what they say about it must be what is known already.
        if own && old.get(key) != new.get(key) {
            return Err(ChangeError::OwnOrganization { index: *index, what: type_of(key) });
        }
    }
    Ok(())
}

fn check_duplicates(list: &AllowList) -> Result<(), ChangeError> {
    let mut holders: HashMap<&str, &OrganizationIdentifier> = HashMap::new();
    for organization in list.organizations().iter().filter(|organization| organization.active) {
        for thumbprint in &organization.thumbprints {
            if let Some(first) = holders.insert(thumbprint.as_str(), &organization.identifier)
                && *first != organization.identifier
            {
                return Err(ChangeError::Duplicate {
                    thumbprint: thumbprint.short().to_owned(),
                    first: first.to_string(),
                    second: organization.identifier.to_string(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
