//! Read access: who may read a resource, by the tags in its `meta`.
//!
//! Every type but Task and QuestionnaireResponse carries tags (`access-and-edge` 4.5). A valid set is either `ALL` alone,
//! or `LOCAL` once with any number of `ORGANIZATION` and `ROLE`. Tags belong to a version: an older version keeps the
//! tags that it had. The same facts come in two forms: [`may_read`] judges one resource, [`Reader`] holds what a store
//! needs to judge rows of stored tags in a query.

use std::collections::BTreeSet;

use fhir::{Object, Value};
use serde::{Deserialize, Serialize};

use crate::allow_list::AllowList;
use crate::identifier::{OrganizationIdentifier, Role};
use crate::identity::Identity;
use crate::process_authorization::{coding_in, extensions, only, organization, organization_in};

/// System of the tags.
pub const TAG_SYSTEM: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
/// System of the roles of organisations.
pub const ORGANIZATION_ROLE: &str = "http://dsf.dev/fhir/CodeSystem/organization-role";

const ORGANIZATION_EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization";
const PARENT_ROLE_EXTENSION: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role";

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "kebab-case")]
pub enum ReadAccess {
    /// Everybody who is known.
    All,
    /// The organisation of the node and its persons.
    Local,
    /// This organisation.
    Organization {
        /// The organisation.
        organization: OrganizationIdentifier,
    },
    /// Every organisation that has the role in the parent organisation.
    Role {
        /// The parent organisation.
        parent_organization: OrganizationIdentifier,
        /// The role.
        organization_role: Role,
    },
}

/// Why tags cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// There is no read-access tag.
    #[error("no read-access tag")]
    Missing,
    /// `ALL` is not alone, or `LOCAL` does not occur exactly once.
    #[error("read-access tags are neither ALL alone nor LOCAL once with ORGANIZATION and ROLE tags")]
    Combination,
    /// The code is none of the four.
    #[error("unknown read-access tag")]
    UnknownCode,
    /// The tag lacks the one extension that its code needs, or it is malformed.
    #[error("malformed read-access tag {0}")]
    Malformed(&'static str),
    /// The allow-list does not know the organisation.
    #[error("read-access tag names unknown organization {0}")]
    UnknownOrganization(OrganizationIdentifier),
    /// No stored code system has the role.
    #[error("read-access tag names unknown role {0}")]
    UnknownRole(Role),
}

/// What an identity can read, as data for a query over stored tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Whether tags `ALL` match: the identity is known.
    pub all: bool,
    /// Whether tags `LOCAL` match.
    pub local: bool,
    /// The organisation whose `ORGANIZATION` tags match.
    pub organization: Option<OrganizationIdentifier>,
    /// Parents and roles whose `ROLE` tags match.
    pub roles: BTreeSet<(OrganizationIdentifier, Role)>,
}

/// The tags of a resource, if they are a valid set.
pub fn tags(resource: &Object) -> Result<Vec<ReadAccess>, TagError> {
    let meta = resource.get("meta").map_or(&[][..], |meta| meta.list("tag"));
    let tags: Vec<ReadAccess> = meta
        .iter()
        .filter(|tag| tag.str("system") == Some(TAG_SYSTEM))
        .map(ReadAccess::read)
        .collect::<Result<_, _>>()?;
    if tags.is_empty() {
        return Err(TagError::Missing);
    }
    let all = tags.iter().filter(|tag| **tag == ReadAccess::All).count();
    let local = tags.iter().filter(|tag| **tag == ReadAccess::Local).count();
    match (all, local, tags.len()) {
        (1, 0, 1) | (0, 1, _) => Ok(tags),
        _ => Err(TagError::Combination),
    }
}

/// Whether the tags of a resource can be stored: a valid set whose organisations and roles exist.
///
/// `role_exists` asks the stored code systems.
pub fn check(
    resource: &Object,
    allow_list: &AllowList,
    role_exists: impl Fn(&Role) -> bool,
) -> Result<Vec<ReadAccess>, TagError> {
    let tags = tags(resource)?;
    let known = |identifier: &OrganizationIdentifier| {
        allow_list.organizations().iter().any(|organization| organization.identifier == *identifier)
    };
    for tag in &tags {
        match tag {
            ReadAccess::All | ReadAccess::Local => {}
            ReadAccess::Organization { organization } if known(organization) => {}
            ReadAccess::Organization { organization } => {
                return Err(TagError::UnknownOrganization(organization.clone()));
            }
            ReadAccess::Role { parent_organization, .. } if !known(parent_organization) => {
                return Err(TagError::UnknownOrganization(parent_organization.clone()));
            }
            ReadAccess::Role { organization_role, .. } if !role_exists(organization_role) => {
                return Err(TagError::UnknownRole(organization_role.clone()));
            }
            ReadAccess::Role { .. } => {}
        }
    }
    Ok(tags)
}

/// Whether the identity may read a resource with these tags. The DSF role READ is judged elsewhere.
#[must_use]
pub fn may_read(tags: &[ReadAccess], identity: &Identity, allow_list: &AllowList) -> bool {
    Reader::of(identity, allow_list).may_read(tags)
}

// === impl ReadAccess ===

impl ReadAccess {
    fn read(tag: &Value) -> Result<Self, TagError> {
        let inner = |url| only(extensions(tag.list("extension"), url));
        match tag.str("code") {
            Some("ALL") => Ok(Self::All),
            Some("LOCAL") => Ok(Self::Local),
            Some("ORGANIZATION") => inner(ORGANIZATION_EXTENSION)
                .and_then(organization)
                .map(|organization| Self::Organization { organization })
                .ok_or(TagError::Malformed("ORGANIZATION")),
            Some("ROLE") => {
                let read = || {
                    let children = inner(PARENT_ROLE_EXTENSION)?.list("extension");
                    let parent_organization = organization_in(children, "parent-organization")?;
                    let organization_role = coding_in(children, "organization-role")?;
                    Some(Self::Role { parent_organization, organization_role })
                };
                read().ok_or(TagError::Malformed("ROLE"))
            }
            _ => Err(TagError::UnknownCode),
        }
    }
}

// === impl Reader ===

impl Reader {
    /// What the identity can read now; nothing for unknown identities and for organisations that are not active.
    #[must_use]
    pub fn of(identity: &Identity, allow_list: &AllowList) -> Self {
        let Some(organization) = identity.organization().filter(|organization| allow_list.is_active(organization))
        else {
            return Self::default();
        };
        let roles = allow_list.roles_of(organization).map(|(parent, role)| (parent.clone(), role.clone())).collect();
        Self { all: true, local: identity.is_local(), organization: Some(organization.clone()), roles }
    }

    /// Whether one of the tags matches.
    #[must_use]
    pub fn may_read(&self, tags: &[ReadAccess]) -> bool {
        tags.iter().any(|tag| match tag {
            ReadAccess::All => self.all,
            ReadAccess::Local => self.local,
            ReadAccess::Organization { organization } => self.organization.as_ref() == Some(organization),
            ReadAccess::Role { parent_organization, organization_role } => {
                self.roles.iter().any(|(parent, role)| parent == parent_organization && role == organization_role)
            }
        })
    }
}

#[cfg(test)]
mod tests;
