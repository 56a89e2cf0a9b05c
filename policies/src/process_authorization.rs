//! Process authorisation: which requester may send which message of a process to which recipient.
//!
//! An `ActivityDefinition` carries one extension per message with the codes of its requesters and recipients
//! (`access-and-edge` 4). [`ProcessDefinition::read`] turns the resource into data that travels in the allow-list
//! snapshot; [`authorize`] decides with it. Gateway and engine call the same function; the engine's decision counts.
//!
//! An entry whose coding lacks the one inner extension that its code needs is ignored, so a typing error can only
//! narrow. Roles are evaluated on active affiliations of active members in active parent organisations.

use fhir::{Object, Value};
use serde::{Deserialize, Serialize};

use crate::allow_list::AllowList;
use crate::identifier::{ORGANIZATION_IDENTIFIER, OrganizationIdentifier, Role};
use crate::identity::Identity;

/// Url of the extension of an `ActivityDefinition`.
pub const EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization";
/// System of the codes of requesters and recipients.
pub const CODE_SYSTEM: &str = "http://dsf.dev/fhir/CodeSystem/process-authorization";

const PRACTITIONER: &str = "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-practitioner";
const ORGANIZATION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-organization";
const ORGANIZATION_PRACTITIONER: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-organization-practitioner";
const PARENT_ROLE: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-parent-organization-role";
const PARENT_ROLE_PRACTITIONER: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-parent-organization-role-practitioner";

/// A process in one version, with the authorisation of its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProcessDefinition {
    /// Canonical URL without version.
    pub url: String,
    /// `major.minor`.
    pub version: String,
    /// Its messages, in the order of the resource.
    pub messages: Vec<MessageAuthorization>,
}

/// Who may send one message, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MessageAuthorization {
    /// Name of the message.
    pub message_name: String,
    /// Profile of the Task, usually with version.
    pub task_profile: String,
    /// Any of these may send it.
    pub requesters: Vec<Party>,
    /// Any of these may receive it; only local codes.
    pub recipients: Vec<Party>,
}

/// A code with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "kebab-case")]
pub enum Party {
    /// The organisation of the node, or its administrators.
    LocalAll,
    /// A person of the node with the role.
    LocalAllPractitioner {
        /// The role of the person.
        practitioner_role: Role,
    },
    /// The organisation of the node, if it is this one.
    LocalOrganization {
        /// The organisation.
        organization: OrganizationIdentifier,
    },
    /// A person with the role, if the organisation of the node is this one.
    LocalOrganizationPractitioner {
        /// The organisation.
        organization: OrganizationIdentifier,
        /// The role of the person.
        practitioner_role: Role,
    },
    /// The organisation of the node, if it has the role in the parent organisation.
    LocalRole {
        /// The parent organisation.
        parent_organization: OrganizationIdentifier,
        /// The role of the member.
        organization_role: Role,
    },
    /// A person with the role, if the organisation of the node has the role in the parent organisation.
    LocalRolePractitioner {
        /// The parent organisation.
        parent_organization: OrganizationIdentifier,
        /// The role of the member.
        organization_role: Role,
        /// The role of the person.
        practitioner_role: Role,
    },
    /// Any other organisation.
    RemoteAll,
    /// This other organisation.
    RemoteOrganization {
        /// The organisation.
        organization: OrganizationIdentifier,
    },
    /// Any other organisation that has the role in the parent organisation.
    RemoteRole {
        /// The parent organisation.
        parent_organization: OrganizationIdentifier,
        /// The role of the member.
        organization_role: Role,
    },
}

/// Why an `ActivityDefinition` defines no process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// Status is not draft, active or retired.
    #[error("status is not draft, active or retired")]
    Status,
    /// No url.
    #[error("url is missing")]
    Url,
    /// No version.
    #[error("version is missing")]
    Version,
    /// No extension is a valid process authorisation.
    #[error("no valid process-authorization extension")]
    NoAuthorization,
    /// Two extensions have the same message name.
    #[error("message name occurs twice")]
    DuplicateMessageName,
}

/// Why a message is not authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// No draft or active `ActivityDefinition` has the canonical.
    #[error("process is not installed")]
    UnknownProcess,
    /// More than one has it.
    #[error("process is installed more than once")]
    AmbiguousProcess,
    /// None of its messages has this name and profile.
    #[error("process has no message with this name and profile")]
    UnknownMessage,
    /// The requester is not authorised.
    #[error("requester is not authorised for the message")]
    Requester,
    /// The local organisation is not authorised to receive.
    #[error("recipient is not authorised for the message")]
    Recipient,
}

/// The message that a Task carries.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Canonical URL of the process.
    pub url: &'a str,
    /// Version of the process.
    pub version: &'a str,
    /// Name of the message.
    pub name: &'a str,
    /// `meta.profile` of the Task.
    pub profiles: &'a [&'a str],
}

/// Finds the entry of a message; the first one counts, as in DSF.
pub fn find<'l>(
    message: &Message<'_>,
    allow_list: &'l AllowList,
) -> Result<&'l MessageAuthorization, AuthorizationError> {
    let mut definitions = allow_list.processes_of(message.url, message.version);
    let definition = definitions.next().ok_or(AuthorizationError::UnknownProcess)?;
    if definitions.next().is_some() {
        return Err(AuthorizationError::AmbiguousProcess);
    }
    definition
        .messages
        .iter()
        .find(|entry| entry.message_name == message.name && entry.accepts_profile(message.profiles))
        .ok_or(AuthorizationError::UnknownMessage)
}

/// Whether the identity may send the message to the local organisation.
pub fn authorize(
    message: &Message<'_>,
    requester: &Identity,
    allow_list: &AllowList,
) -> Result<(), AuthorizationError> {
    let entry = find(message, allow_list)?;
    authorize_recipient_of(entry, allow_list)?;
    if entry.requesters.iter().any(|party| party.admits_requester(requester, allow_list)) {
        Ok(())
    } else {
        Err(AuthorizationError::Requester)
    }
}

/// Whether the local organisation may receive the message; what updates of a running Task need.
pub fn authorize_recipient(message: &Message<'_>, allow_list: &AllowList) -> Result<(), AuthorizationError> {
    authorize_recipient_of(find(message, allow_list)?, allow_list)
}

fn authorize_recipient_of(entry: &MessageAuthorization, allow_list: &AllowList) -> Result<(), AuthorizationError> {
    if entry.recipients.iter().any(|party| party.admits_recipient(allow_list)) {
        Ok(())
    } else {
        Err(AuthorizationError::Recipient)
    }
}

// === impl ProcessDefinition ===

impl ProcessDefinition {
    /// Reads an `ActivityDefinition`.
    pub fn read(definition: &Object) -> Result<Self, DefinitionError> {
        if !matches!(definition.str("status"), Some("draft" | "active" | "retired")) {
            return Err(DefinitionError::Status);
        }
        let text = |name| definition.str(name).filter(|text| !text.trim().is_empty());
        let url = text("url").ok_or(DefinitionError::Url)?;
        let version = text("version").ok_or(DefinitionError::Version)?;
        let messages: Vec<MessageAuthorization> =
            extensions(definition.list("extension"), EXTENSION).filter_map(MessageAuthorization::read).collect();
        if messages.is_empty() {
            return Err(DefinitionError::NoAuthorization);
        }
        let duplicate = |(index, message): (usize, &MessageAuthorization)| {
            messages.iter().take(index).any(|other| other.message_name == message.message_name)
        };
        if messages.iter().enumerate().any(duplicate) {
            return Err(DefinitionError::DuplicateMessageName);
        }
        Ok(Self { url: url.to_owned(), version: version.to_owned(), messages })
    }
}

// === impl MessageAuthorization ===

impl MessageAuthorization {
    fn read(extension: &Value) -> Option<Self> {
        let children = extension.list("extension");
        let message_name = only(extensions(children, "message-name"))?.str("valueString")?;
        let task_profile = only(extensions(children, "task-profile"))?.str("valueCanonical")?;
        let parties = |url| {
            extensions(children, url).filter_map(|child| Party::read(child.get("valueCoding")?)).collect::<Vec<_>>()
        };
        let requesters = parties("requester");
        let mut recipients = parties("recipient");
        recipients.retain(Party::may_be_recipient);
        if message_name.trim().is_empty() || requesters.is_empty() || recipients.is_empty() {
            return None;
        }
        Some(Self {
            message_name: message_name.to_owned(),
            task_profile: task_profile.to_owned(),
            requesters,
            recipients,
        })
    }

    /// Equal literally, or equal after the version of the definition's canonical is cut; a Task that names another
    /// version does not match.
    fn accepts_profile(&self, profiles: &[&str]) -> bool {
        let unversioned = self.task_profile.split_once('|').map_or(self.task_profile.as_str(), |(url, _)| url);
        profiles.iter().any(|profile| *profile == self.task_profile || *profile == unversioned)
    }
}

// === impl Party ===

impl Party {
    /// Reads a coding; `None` if it is no valid entry.
    #[must_use]
    pub fn read(coding: &Value) -> Option<Self> {
        if coding.str("system") != Some(CODE_SYSTEM) {
            return None;
        }
        let inner = |url| only(extensions(coding.list("extension"), url));
        let parent = |url| {
            let children = inner(url)?.list("extension");
            Some((
                organization_in(children, "parent-organization")?,
                coding_in(children, "organization-role")?,
                children,
            ))
        };
        match coding.str("code")? {
            "LOCAL_ALL" => Some(Self::LocalAll),
            "REMOTE_ALL" => Some(Self::RemoteAll),
            "LOCAL_ALL_PRACTITIONER" => {
                Some(Self::LocalAllPractitioner { practitioner_role: role(inner(PRACTITIONER)?.get("valueCoding")?)? })
            }
            "LOCAL_ORGANIZATION" => Some(Self::LocalOrganization { organization: organization(inner(ORGANIZATION)?)? }),
            "REMOTE_ORGANIZATION" => {
                Some(Self::RemoteOrganization { organization: organization(inner(ORGANIZATION)?)? })
            }
            "LOCAL_ORGANIZATION_PRACTITIONER" => {
                let children = inner(ORGANIZATION_PRACTITIONER)?.list("extension");
                Some(Self::LocalOrganizationPractitioner {
                    organization: organization_in(children, "organization")?,
                    practitioner_role: coding_in(children, "practitioner-role")?,
                })
            }
            "LOCAL_ROLE" => {
                let (parent_organization, organization_role, _) = parent(PARENT_ROLE)?;
                Some(Self::LocalRole { parent_organization, organization_role })
            }
            "REMOTE_ROLE" => {
                let (parent_organization, organization_role, _) = parent(PARENT_ROLE)?;
                Some(Self::RemoteRole { parent_organization, organization_role })
            }
            "LOCAL_ROLE_PRACTITIONER" => {
                let (parent_organization, organization_role, children) = parent(PARENT_ROLE_PRACTITIONER)?;
                let practitioner_role = coding_in(children, "practitioner-role")?;
                Some(Self::LocalRolePractitioner { parent_organization, organization_role, practitioner_role })
            }
            _ => None,
        }
    }

    /// Whether the code is legal for a recipient.
    #[must_use]
    pub const fn may_be_recipient(&self) -> bool {
        matches!(self, Self::LocalAll | Self::LocalOrganization { .. } | Self::LocalRole { .. })
    }

    /// The table of `access-and-edge` 4.3. Organisations must be active in the allow-list.
    #[must_use]
    pub fn admits_requester(&self, requester: &Identity, allow_list: &AllowList) -> bool {
        let Some(caller) = requester.organization() else { return false };
        let is_local_list = *caller == *allow_list.local();
        if !allow_list.is_active(caller) || requester.is_local() != is_local_list {
            return false;
        }
        let has_role = |parent, role| allow_list.has_role(caller, requester.endpoint(), parent, role);
        let person = |practitioner_role| match requester {
            Identity::Person(person) => person.is_admin() || person.has_practitioner_role(practitioner_role),
            Identity::Local(_) | Identity::Remote(_) | Identity::Unknown => false,
        };
        let local = requester.is_local_organization_or_admin();
        let remote = matches!(requester, Identity::Remote(_));
        match self {
            Self::LocalAll => local,
            Self::LocalAllPractitioner { practitioner_role } => person(practitioner_role),
            Self::LocalOrganization { organization } => local && organization == caller,
            Self::LocalOrganizationPractitioner { organization, practitioner_role } => {
                organization == caller && person(practitioner_role)
            }
            Self::LocalRole { parent_organization, organization_role } => {
                local && has_role(parent_organization, organization_role)
            }
            Self::LocalRolePractitioner { parent_organization, organization_role, practitioner_role } => {
                person(practitioner_role) && has_role(parent_organization, organization_role)
            }
            Self::RemoteAll => remote,
            Self::RemoteOrganization { organization } => remote && organization == caller,
            Self::RemoteRole { parent_organization, organization_role } => {
                remote && has_role(parent_organization, organization_role)
            }
        }
    }

    /// The same table with the local organisation as subject.
    #[must_use]
    pub fn admits_recipient(&self, allow_list: &AllowList) -> bool {
        let local = allow_list.local();
        allow_list.is_active(local)
            && match self {
                Self::LocalAll => true,
                Self::LocalOrganization { organization } => organization == local,
                Self::LocalRole { parent_organization, organization_role } => {
                    allow_list.has_role(local, allow_list.local_endpoint(), parent_organization, organization_role)
                }
                Self::LocalAllPractitioner { .. }
                | Self::LocalOrganizationPractitioner { .. }
                | Self::LocalRolePractitioner { .. }
                | Self::RemoteAll
                | Self::RemoteOrganization { .. }
                | Self::RemoteRole { .. } => false,
            }
    }
}

/// The extensions with the url.
pub(crate) fn extensions<'a>(list: &'a [Value], url: &str) -> impl Iterator<Item = &'a Value> {
    list.iter().filter(move |extension| extension.str("url") == Some(url))
}

/// The element of an iterator that has exactly one.
pub(crate) fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let item = items.next()?;
    if items.next().is_some() { None } else { Some(item) }
}

/// `valueIdentifier` with the organisation system.
pub(crate) fn organization(extension: &Value) -> Option<OrganizationIdentifier> {
    let identifier = extension.get("valueIdentifier")?;
    if identifier.str("system") != Some(ORGANIZATION_IDENTIFIER) {
        return None;
    }
    identifier.str("value")?.parse().ok()
}

pub(crate) fn organization_in(children: &[Value], url: &str) -> Option<OrganizationIdentifier> {
    organization(only(extensions(children, url))?)
}

pub(crate) fn coding_in(children: &[Value], url: &str) -> Option<Role> {
    role(only(extensions(children, url))?.get("valueCoding")?)
}

/// A coding with system and code.
pub(crate) fn role(coding: &Value) -> Option<Role> {
    Role::new(coding.str("system")?, coding.str("code")?).ok()
}

#[cfg(test)]
mod tests;
