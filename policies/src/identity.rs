//! Who sends a request.
//!
//! An identity is made from the thumbprint of the verified client certificate, the allow-list and the policy
//! (`AllowList::identify`), on every request, and travels to the engine inside the permit. There is no
//! anonymous identity: who is not known is [`Identity::Unknown`], and unknown identities may do nothing.

use fhir::ResourceType;
use serde::{Deserialize, Serialize};

use crate::identifier::{EndpointIdentifier, OrganizationIdentifier, PractitionerIdentifier, Role, RuleId, Thumbprint};
use crate::interaction::DsfOperation;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Identity {
    /// The organisation that runs this node.
    Local(OrganizationIdentity),
    /// Another organisation of the allow-list.
    Remote(OrganizationIdentity),
    /// A person of the organisation that runs this node.
    Person(PersonIdentity),
    /// Nobody that the allow-list or the policy knows.
    Unknown,
}

/// An organisation with the certificate that it used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OrganizationIdentity {
    /// Its identifier.
    pub identifier: OrganizationIdentifier,
    /// The endpoint that the certificate belongs to, if that is known; narrows roles to that endpoint.
    pub endpoint: Option<EndpointIdentifier>,
    /// The certificate.
    pub thumbprint: Thumbprint,
}

/// A person; persons always belong to the organisation that runs this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PersonIdentity {
    /// The organisation that runs this node.
    pub organization: OrganizationIdentifier,
    /// The endpoint of this node.
    pub endpoint: Option<EndpointIdentifier>,
    /// The identifier of the person.
    pub identifier: PractitionerIdentifier,
    /// The certificate.
    pub thumbprint: Thumbprint,
    /// What the person may do at all.
    pub dsf_roles: Vec<DsfRole>,
    /// The roles that process authorisations ask for.
    pub practitioner_roles: Vec<Role>,
    /// The `[[identity.person]]` tables that made this identity.
    pub granted_by: Vec<RuleId>,
}

/// An operation on some types, or on all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DsfRole {
    /// The operation.
    pub operation: DsfOperation,
    /// Names of types; empty means every type.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "type_names")]
    pub types: Vec<ResourceType>,
}

/// Types travel as their names; an unknown name is an error.
mod type_names {
    use fhir::ResourceType;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(types: &[ResourceType], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(types.iter().map(|resource_type| resource_type.as_str()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ResourceType>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| name.parse().map_err(de::Error::custom)).collect()
    }
}

// === impl Identity ===

impl Identity {
    /// Whether this is the organisation of this node or one of its persons.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Person(_))
    }

    /// The organisation, also of a person.
    #[must_use]
    pub const fn organization(&self) -> Option<&OrganizationIdentifier> {
        match self {
            Self::Local(organization) | Self::Remote(organization) => Some(&organization.identifier),
            Self::Person(person) => Some(&person.organization),
            Self::Unknown => None,
        }
    }

    /// The endpoint that narrows roles.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointIdentifier> {
        match self {
            Self::Local(organization) | Self::Remote(organization) => organization.endpoint.as_ref(),
            Self::Person(person) => person.endpoint.as_ref(),
            Self::Unknown => None,
        }
    }

    /// The certificate.
    #[must_use]
    pub const fn thumbprint(&self) -> Option<&Thumbprint> {
        match self {
            Self::Local(organization) | Self::Remote(organization) => Some(&organization.thumbprint),
            Self::Person(person) => Some(&person.thumbprint),
            Self::Unknown => None,
        }
    }

    /// Whether this is the local organisation or a person with the practitioner role `DSF_ADMIN` (the code counts, as
    /// in DSF).
    #[must_use]
    pub fn is_local_organization_or_admin(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Person(person) => person.is_admin(),
            Self::Remote(_) | Self::Unknown => false,
        }
    }

    /// The name as DSF logs it: the organisation, for persons `organisation/person`; `unknown` otherwise.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Local(organization) | Self::Remote(organization) => organization.identifier.to_string(),
            Self::Person(person) => format!("{}/{}", person.organization, person.identifier),
            Self::Unknown => "unknown".to_owned(),
        }
    }

    /// The kind as it stands in metrics and as `subject` of rules.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Local(_) => "local-organization",
            Self::Remote(_) => "remote-organization",
            Self::Person(_) => "person",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the identity's DSF roles grant the operation on the type; `None` asks for any type (DSF
    /// `FhirServerRoleImpl`). This is the ceiling that no rule can lift.
    #[must_use]
    pub fn has_dsf_role(&self, operation: DsfOperation, resource_type: Option<ResourceType>) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(_) => match operation {
                DsfOperation::Create => resource_type.is_none_or(|resource_type| resource_type == ResourceType::Task),
                DsfOperation::Read | DsfOperation::Search | DsfOperation::History => true,
                DsfOperation::Update
                | DsfOperation::Delete
                | DsfOperation::PermanentDelete
                | DsfOperation::Websocket => false,
            },
            Self::Person(person) => person.dsf_roles.iter().any(|role| role.grants(operation, resource_type)),
            Self::Unknown => false,
        }
    }
}

// === impl PersonIdentity ===

impl PersonIdentity {
    /// Whether the person has the practitioner role `DSF_ADMIN`.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.practitioner_roles.iter().any(|role| role.code() == "DSF_ADMIN")
    }

    /// Whether the person has the practitioner role.
    #[must_use]
    pub fn has_practitioner_role(&self, role: &Role) -> bool {
        self.practitioner_roles.contains(role)
    }
}

// === impl DsfRole ===

impl DsfRole {
    /// Whether the role grants the operation on the type, or on any type.
    #[must_use]
    pub fn grants(&self, operation: DsfOperation, resource_type: Option<ResourceType>) -> bool {
        self.operation == operation
            && resource_type.is_none_or(|resource_type| self.types.is_empty() || self.types.contains(&resource_type))
    }
}
