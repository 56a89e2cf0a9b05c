//! The allow-list: who takes part, with which certificates, in which roles, and which processes they may use.
//!
//! The engine builds it from its stored resources with [`AllowList::from_resources`] and pushes it to the gateway as part
//! of the snapshot; both sides identify senders and authorise messages with the same value. What is doubtful is not
//! trusted: a thumbprint that two active organisations claim identifies nobody, and neither does an organisation
//! identifier that two resources claim. Inactive entries stay in the list for display and give no rights.

mod read;

use std::collections::HashMap;

use fhir::{Resource, Value};
use serde::{Deserialize, Serialize};

use crate::identifier::{
    EndpointIdentifier, ORGANIZATION_IDENTIFIER, OrganizationIdentifier, PractitionerIdentifier, ResourceId, Role,
    Thumbprint,
};
use crate::identity::{Identity, OrganizationIdentity, PersonIdentity};
use crate::policy::Policy;
use crate::process_authorization::ProcessDefinition;

/// An organisation of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Organization {
    /// Id of the resource.
    pub id: ResourceId,
    /// Its identifier.
    pub identifier: OrganizationIdentifier,
    /// Its name for display.
    pub name: Option<String>,
    /// Whether it takes part.
    pub active: bool,
    /// Its certificates; none for a parent organisation.
    pub thumbprints: Vec<Thumbprint>,
    /// Identifiers of the endpoints that it refers to.
    pub endpoints: Vec<EndpointIdentifier>,
}

/// An endpoint of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Endpoint {
    /// Id of the resource.
    pub id: ResourceId,
    /// Its identifier.
    pub identifier: EndpointIdentifier,
    /// Its name for display.
    pub name: Option<String>,
    /// Base URL of the node.
    pub address: String,
    /// Whether its status is active.
    pub active: bool,
    /// The organisation that manages it.
    pub organization: Option<OrganizationIdentifier>,
    /// Certificates that belong to this endpoint.
    pub thumbprints: Vec<Thumbprint>,
}

/// A membership: member has roles in a parent organisation, reachable at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Affiliation {
    /// Id of the resource.
    pub id: ResourceId,
    /// The parent organisation.
    pub parent: OrganizationIdentifier,
    /// The member.
    pub member: OrganizationIdentifier,
    /// The endpoint.
    pub endpoint: Option<EndpointIdentifier>,
    /// The roles.
    pub roles: Vec<Role>,
    /// Whether it is in force.
    pub active: bool,
}

/// The allow-list of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Contents", into = "Contents")]
pub struct AllowList {
    contents: Contents,
    index: Index,
}

/// What is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Contents {
    local: OrganizationIdentifier,
    base_url: String,
    organizations: Vec<Organization>,
    endpoints: Vec<Endpoint>,
    affiliations: Vec<Affiliation>,
    processes: Vec<ProcessDefinition>,
}

/// Where things are; made anew whenever contents come in.
#[derive(Clone, Debug, Default)]
struct Index {
    /// Active organisations by thumbprint; `None` if several claim it.
    thumbprints: HashMap<Thumbprint, Option<usize>>,
    /// Active organisations by identifier; `None` if several claim it.
    identifiers: HashMap<OrganizationIdentifier, Option<usize>>,
    /// Organisations by the id of their resource.
    ids: HashMap<String, usize>,
    /// Active affiliations by member.
    affiliations: HashMap<OrganizationIdentifier, Vec<usize>>,
    /// Active endpoints by the organisation that manages them.
    endpoints: HashMap<OrganizationIdentifier, Vec<usize>>,
    /// Processes by url.
    processes: HashMap<String, Vec<usize>>,
    /// The endpoint of this node.
    local_endpoint: Option<usize>,
}

// === impl AllowList ===

impl AllowList {
    /// Builds the list from the current, non-deleted resources of the store; resources of other types and resources
    /// that break the rules of their type are left out.
    #[must_use]
    pub fn from_resources<'r>(
        resources: impl IntoIterator<Item = &'r Resource>,
        local: OrganizationIdentifier,
        base_url: &str,
    ) -> Self {
        read::read(resources, local, base_url.trim_end_matches('/')).into()
    }

    /// The same members with the processes of another list.
    #[must_use]
    pub(crate) fn with_processes_of(self, other: &Self) -> Self {
        let mut contents = self.contents;
        contents.processes.clone_from(&other.contents.processes);
        contents.into()
    }

    /// The organisation that presents the certificate, whatever a policy says about it.
    pub(crate) fn identify_organization_of(&self, thumbprint: &Thumbprint) -> Option<Identity> {
        let index = (*self.index.thumbprints.get(thumbprint)?)?;
        Some(self.identify_organization(index, thumbprint)).filter(|identity| *identity != Identity::Unknown)
    }

    /// A list without entries: nobody is known.
    #[must_use]
    pub fn empty(local: OrganizationIdentifier, base_url: &str) -> Self {
        Self::from_resources([], local, base_url)
    }

    /// Who presents the certificate.
    ///
    /// `email` is the first e-mail address of the certificate, which names a person and which `email` entries of the
    /// policy match (DSF `IdentityProviderImpl`: subject first, then subject alternative names).
    #[must_use]
    pub fn identify(&self, thumbprint: &Thumbprint, email: Option<&str>, policy: &Policy) -> Identity {
        if policy.trust().deny_thumbprints.contains(thumbprint) {
            return Identity::Unknown;
        }
        match self.index.thumbprints.get(thumbprint) {
            Some(Some(index)) => self.identify_organization(*index, thumbprint),
            Some(None) => Identity::Unknown,
            None => self.identify_person(thumbprint, email, policy),
        }
    }

    fn identify_organization(&self, index: usize, thumbprint: &Thumbprint) -> Identity {
        let Some(organization) = self.contents.organizations.get(index) else { return Identity::Unknown };
        if !self.is_active(&organization.identifier) {
            return Identity::Unknown;
        }
        let identifier = organization.identifier.clone();
        let thumbprint = thumbprint.clone();
        if identifier == self.contents.local {
            let endpoint = self.local_endpoint().cloned();
            return Identity::Local(OrganizationIdentity { identifier, endpoint, thumbprint });
        }
        let endpoint = self.endpoint_of(organization, &thumbprint).cloned();
        Identity::Remote(OrganizationIdentity { identifier, endpoint, thumbprint })
    }

    /// The active endpoint of the organisation that carries the thumbprint, else its only endpoint, else none.
    fn endpoint_of<'a>(
        &'a self,
        organization: &'a Organization,
        thumbprint: &Thumbprint,
    ) -> Option<&'a EndpointIdentifier> {
        let own = self.index.endpoints.get(&organization.identifier).map_or(&[][..], Vec::as_slice);
        let own = own.iter().filter_map(|position| self.contents.endpoints.get(*position));
        let mut carrying = own.filter(|endpoint| endpoint.thumbprints.contains(thumbprint));
        match (carrying.next(), carrying.next(), organization.endpoints.as_slice()) {
            (Some(endpoint), None, _) => Some(&endpoint.identifier),
            (None, _, [only]) => Some(only),
            _ => None,
        }
    }

    fn identify_person(&self, thumbprint: &Thumbprint, email: Option<&str>, policy: &Policy) -> Identity {
        if !self.is_active(&self.contents.local) {
            return Identity::Unknown;
        }
        // As in DSF the thumbprint must be listed somewhere; only then do entries count that match by e-mail alone.
        let people = &policy.identity().people;
        if !people.iter().any(|person| person.thumbprints.contains(thumbprint)) {
            return Identity::Unknown;
        }
        let mut identity = PersonIdentity {
            organization: self.contents.local.clone(),
            endpoint: self.local_endpoint().cloned(),
            identifier: match practitioner_identifier(thumbprint, email) {
                Some(identifier) => identifier,
                None => return Identity::Unknown,
            },
            thumbprint: thumbprint.clone(),
            dsf_roles: Vec::new(),
            practitioner_roles: Vec::new(),
            granted_by: Vec::new(),
        };
        for person in people.iter().filter(|person| person.matches(thumbprint, email)) {
            identity.dsf_roles.extend(person.dsf_roles.iter().cloned());
            identity.practitioner_roles.extend(person.practitioner_roles.iter().cloned());
            identity.granted_by.push(person.id.clone());
        }
        Identity::Person(identity)
    }

    /// The organisation that runs the node.
    #[must_use]
    pub const fn local(&self) -> &OrganizationIdentifier {
        &self.contents.local
    }

    /// The base URL of the node, without trailing slash.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.contents.base_url
    }

    /// The endpoint of the node: the active one whose address is the base URL.
    #[must_use]
    pub fn local_endpoint(&self) -> Option<&EndpointIdentifier> {
        self.contents.endpoints.get(self.index.local_endpoint?).map(|endpoint| &endpoint.identifier)
    }

    /// Every organisation.
    #[must_use]
    pub fn organizations(&self) -> &[Organization] {
        &self.contents.organizations
    }

    /// Every endpoint.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.contents.endpoints
    }

    /// Every affiliation.
    #[must_use]
    pub fn affiliations(&self) -> &[Affiliation] {
        &self.contents.affiliations
    }

    /// Every draft or active process definition.
    #[must_use]
    pub fn processes(&self) -> &[ProcessDefinition] {
        &self.contents.processes
    }

    /// The process definitions with the url and version; more than one is ambiguous.
    pub fn processes_of<'a, 'v>(
        &'a self,
        url: &str,
        version: &'v str,
    ) -> impl Iterator<Item = &'a ProcessDefinition> + use<'a, 'v> {
        let positions = self.index.processes.get(url).map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|position| self.contents.processes.get(*position))
            .filter(move |definition| definition.version == version)
    }

    /// The active organisation with the identifier, if exactly one resource has it.
    #[must_use]
    pub fn organization(&self, identifier: &OrganizationIdentifier) -> Option<&Organization> {
        self.contents.organizations.get((*self.index.identifiers.get(identifier)?)?)
    }

    /// Whether the organisation takes part.
    #[must_use]
    pub fn is_active(&self, identifier: &OrganizationIdentifier) -> bool {
        self.organization(identifier).is_some()
    }

    /// Whether the member has the role in the parent organisation; with an endpoint only affiliations of that endpoint
    /// count. Member, parent and affiliation must be active.
    #[must_use]
    pub fn has_role(
        &self,
        member: &OrganizationIdentifier,
        endpoint: Option<&EndpointIdentifier>,
        parent: &OrganizationIdentifier,
        role: &Role,
    ) -> bool {
        self.is_active(member)
            && self.is_active(parent)
            && self.affiliations_of(member).any(|affiliation| {
                affiliation.parent == *parent
                    && affiliation.roles.contains(role)
                    && endpoint.is_none_or(|endpoint| affiliation.endpoint.as_ref() == Some(endpoint))
            })
    }

    /// The roles of the member, with the parent organisations that are active.
    pub fn roles_of<'a>(
        &'a self,
        member: &OrganizationIdentifier,
    ) -> impl Iterator<Item = (&'a OrganizationIdentifier, &'a Role)> {
        self.affiliations_of(member)
            .filter(|affiliation| self.is_active(&affiliation.parent) && self.is_active(&affiliation.member))
            .flat_map(|affiliation| affiliation.roles.iter().map(|role| (&affiliation.parent, role)))
    }

    fn affiliations_of(&self, member: &OrganizationIdentifier) -> impl Iterator<Item = &Affiliation> {
        let positions = self.index.affiliations.get(member).map_or(&[][..], Vec::as_slice);
        positions.iter().filter_map(|position| self.contents.affiliations.get(*position))
    }

    /// The organisation that a `Reference` names: by literal reference to a resource of this node, by identifier, or by
    /// both if they agree. References that cannot be resolved name nobody.
    #[must_use]
    pub fn resolve_organization(&self, reference: &Value) -> Option<OrganizationIdentifier> {
        if reference.str("type").is_some_and(|name| name != "Organization") {
            return None;
        }
        let logical = match reference.get("identifier") {
            Some(identifier) if identifier.str("system") == Some(ORGANIZATION_IDENTIFIER) => {
                Some(identifier.str("value")?.parse().ok()?)
            }
            Some(_) => return None,
            None => None,
        };
        let literal = match reference.str("reference") {
            Some(literal) => Some(self.resolve_literal(literal)?.identifier.clone()),
            None => None,
        };
        match (logical, literal) {
            (Some(logical), Some(literal)) if logical != literal => None,
            (logical, literal) => logical.or(literal),
        }
    }

    fn resolve_literal(&self, reference: &str) -> Option<&Organization> {
        let id = read::id_of_reference(reference, "Organization", &self.contents.base_url)?;
        self.contents.organizations.get(*self.index.ids.get(id)?)
    }
}

impl PartialEq for AllowList {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

impl Eq for AllowList {}

impl From<AllowList> for Contents {
    fn from(list: AllowList) -> Self {
        list.contents
    }
}

impl From<Contents> for AllowList {
    fn from(contents: Contents) -> Self {
        let index = Index::of(&contents);
        Self { contents, index }
    }
}

// === impl Index ===

impl Index {
    fn of(contents: &Contents) -> Self {
        let mut index = Self::default();
        for (position, organization) in contents.organizations.iter().enumerate() {
            index.ids.entry(organization.id.as_str().to_owned()).or_insert(position);
            if !organization.active {
                continue;
            }
            claim(&mut index.identifiers, &organization.identifier, position);
            for thumbprint in &organization.thumbprints {
                claim(&mut index.thumbprints, thumbprint, position);
            }
        }
        for (position, affiliation) in contents.affiliations.iter().enumerate().filter(|(_, entry)| entry.active) {
            index.affiliations.entry(affiliation.member.clone()).or_default().push(position);
        }
        for (position, endpoint) in contents.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.active) {
            if let Some(organization) = &endpoint.organization {
                index.endpoints.entry(organization.clone()).or_default().push(position);
            }
        }
        for (position, process) in contents.processes.iter().enumerate() {
            index.processes.entry(process.url.clone()).or_default().push(position);
        }
        let is_local = |endpoint: &Endpoint| endpoint.active && endpoint.address == contents.base_url;
        let mut local = contents.endpoints.iter().enumerate().filter(|(_, endpoint)| is_local(endpoint));
        index.local_endpoint = match (local.next(), local.next()) {
            (Some((position, _)), None) => Some(position),
            _ => None,
        };
        index
    }
}

/// The first claim counts until another one makes it void for good. An organisation that lists its own thumbprint
/// twice does not contradict itself.
fn claim<K: Clone + Eq + std::hash::Hash>(claims: &mut HashMap<K, Option<usize>>, key: &K, position: usize) {
    claims
        .entry(key.clone())
        .and_modify(|holder| *holder = holder.filter(|holder| *holder == position))
        .or_insert(Some(position));
}

/// The identifier of the person with a certificate: its e-mail address, else a name made from its thumbprint.
#[must_use]
pub fn practitioner_identifier(thumbprint: &Thumbprint, email: Option<&str>) -> Option<PractitionerIdentifier> {
    match email {
        Some(email) => email.parse().ok(),
        None => format!("{thumbprint}@certificate.invalid").parse().ok(),
    }
}

#[cfg(test)]
mod tests;
