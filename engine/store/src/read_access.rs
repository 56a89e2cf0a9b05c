//! Who may see a version: computed from the resource when it is written, compared in SQL when it is read.
//!
//! Each version carries a set of [`Grant`]s, each identity a set of grants that it holds ([`ReadFilter`]); a version is
//! visible if the sets meet. A grant names an organisation or a role by its identifier, not by rows of the allow-list, so
//! a change of the allow-list needs no recomputation: the next request brings another filter.
//!
//! | resource | grants |
//! |---|---|
//! | Task | its recipient, its requester, while draft the persons of the recipient |
//! | QuestionnaireResponse | the administration, the persons and roles of its authorization extension |
//! | Binary with `securityContext` | those of the resource that it points to: of its current version while it exists, or of the version that the reference names |
//! | any other | its read-access tags |
//!
//! What cannot be read as a grant grants nothing.

use std::collections::BTreeSet;

use fhir::reference::{Literal, Reference};
use fhir::{Resource, ResourceType, Value};

use crate::index::bounded;

/// The system of read-access tags.
pub const READ_ACCESS_TAG: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
/// The system of organisation identifiers.
pub const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
/// The system of practitioner identifiers.
pub const PRACTITIONER_IDENTIFIER: &str = "http://dsf.dev/sid/practitioner-identifier";

const READ_ACCESS_ORGANIZATION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization";
const READ_ACCESS_ROLE: &str = "http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role";
const QUESTIONNAIRE_AUTHORIZATION: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization";

/// Separates the parts of a grant; parts that contain it make no grant, so two grants are never confused.
const SEPARATOR: char = '\u{1f}';

/// A reason to see a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant(String);

/// The membership of an organisation that a `ROLE` tag names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Identifier of the active parent organisation.
    pub parent: String,
    /// Code system of the role.
    pub role_system: String,
    /// Code of the role.
    pub role: String,
}

/// What an identity may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFilter {
    /// `None` sees every version.
    grants: Option<BTreeSet<Grant>>,
    /// `None` sees every type.
    types: Option<Vec<ResourceType>>,
}

/// The grants of a resource, or the resource whose grants it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Own(BTreeSet<Grant>),
    /// Type and id of the `securityContext` of a Binary, and the version if the reference names one.
    As {
        resource_type: String,
        id: String,
        version: Option<u64>,
    },
}

// === impl Grant ===

impl Grant {
    /// Every identity.
    #[must_use]
    pub fn all() -> Self {
        Self("ALL".to_owned())
    }

    /// Local identities.
    #[must_use]
    pub fn local() -> Self {
        Self("LOCAL".to_owned())
    }

    /// The organisation with this identifier.
    #[must_use]
    pub fn organization(identifier: &str) -> Option<Self> {
        Self::of("ORGANIZATION", &[identifier])
    }

    /// Members of the parent in the role.
    #[must_use]
    pub fn role(membership: &Membership) -> Option<Self> {
        Self::of("ROLE", &[&membership.parent, &membership.role_system, &membership.role])
    }

    fn of(kind: &str, parts: &[&str]) -> Option<Self> {
        let mut text = kind.to_owned();
        for part in parts {
            if part.is_empty() || part.contains(SEPARATOR) {
                return None;
            }
            text.push(SEPARATOR);
            text.push_str(&bounded(part));
        }
        Some(Self(text))
    }

    /// The recipient of a Task.
    fn recipient(organization: &str) -> Option<Self> {
        Self::of("TASK-RECIPIENT", &[organization])
    }

    /// The requester of a Task.
    fn requester(organization: &str) -> Option<Self> {
        Self::of("TASK-REQUESTER", &[organization])
    }

    /// The person who requested a Task.
    fn requester_person(identifier: &str) -> Option<Self> {
        Self::of("TASK-REQUESTER-PRACTITIONER", &[identifier])
    }

    /// The persons of the recipient of a draft Task.
    fn draft_recipient(organization: &str) -> Option<Self> {
        Self::of("TASK-DRAFT-RECIPIENT", &[organization])
    }

    /// Local organisation and administrators, for user tasks.
    fn administration() -> Self {
        Self("ANSWER-ADMINISTRATION".to_owned())
    }

    /// Any person, for user tasks without restriction.
    fn any_person() -> Self {
        Self("ANSWER-ANY".to_owned())
    }

    /// A person, for user tasks.
    fn person(identifier: &str) -> Option<Self> {
        Self::of("ANSWER-PRACTITIONER", &[identifier])
    }

    /// Persons in a role, for user tasks.
    fn person_role(system: &str, code: &str) -> Option<Self> {
        Self::of("ANSWER-ROLE", &[system, code])
    }

    /// The text that is stored and compared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

// === impl ReadFilter ===

impl ReadFilter {
    /// Sees everything: the engine itself, conditional interactions that the specification exempts.
    #[must_use]
    pub const fn everything() -> Self {
        Self { grants: None, types: None }
    }

    /// Sees nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { grants: Some(BTreeSet::new()), types: None }
    }

    /// The node's own organisation.
    #[must_use]
    pub fn local_organization(identifier: &str, memberships: &[Membership]) -> Self {
        let mut grants = Self::organization_grants(identifier, memberships);
        grants.extend([Grant::local(), Grant::administration()]);
        grants.extend(Grant::recipient(identifier));
        Self { grants: Some(grants), types: None }
    }

    /// The organisation of a partner, active and with its active memberships.
    #[must_use]
    pub fn remote_organization(identifier: &str, memberships: &[Membership]) -> Self {
        let mut grants = Self::organization_grants(identifier, memberships);
        grants.extend(Grant::requester(identifier));
        Self { grants: Some(grants), types: None }
    }

    /// A person of the node's own organisation; `roles` are practitioner roles as system and code.
    #[must_use]
    pub fn practitioner(
        organization: &str,
        memberships: &[Membership],
        practitioner: &str,
        roles: &[(String, String)],
        is_administrator: bool,
    ) -> Self {
        let mut grants = Self::organization_grants(organization, memberships);
        grants.extend([Grant::local(), Grant::any_person()]);
        grants.extend(Grant::requester_person(practitioner));
        grants.extend(Grant::draft_recipient(organization));
        grants.extend(Grant::person(practitioner));
        grants.extend(roles.iter().filter_map(|(system, code)| Grant::person_role(system, code)));
        if is_administrator {
            grants.insert(Grant::administration());
            grants.extend(Grant::recipient(organization));
        }
        Self { grants: Some(grants), types: None }
    }

    /// The same filter, which sees nothing of types that are not listed (rights of a role by type).
    #[must_use]
    pub fn restricted_to(self, types: impl IntoIterator<Item = ResourceType>) -> Self {
        let mut types: Vec<_> = types.into_iter().collect();
        if let Some(before) = &self.types {
            types.retain(|wanted| before.contains(wanted));
        }
        Self { types: Some(types), ..self }
    }

    /// Whether resources of the type can be seen at all.
    #[must_use]
    pub fn includes_type(&self, resource_type: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&resource_type))
    }

    /// The types that can be seen; `None` for all.
    #[must_use]
    pub fn types(&self) -> Option<&[ResourceType]> {
        self.types.as_deref()
    }

    /// The grants that versions of the type can have, so that a search compares no others; `None` sees all.
    pub(crate) fn grants_for(&self, resource_type: ResourceType) -> Option<Vec<&Grant>> {
        let prefix = match resource_type {
            ResourceType::Task => Some("TASK-"),
            ResourceType::QuestionnaireResponse => Some("ANSWER-"),
            // A Binary has the grants of its context, whatever that is.
            ResourceType::Binary => Some(""),
            _ => None,
        };
        let fits = |grant: &&Grant| match prefix {
            Some(prefix) => grant.0.starts_with(prefix),
            None => !grant.0.starts_with("TASK-") && !grant.0.starts_with("ANSWER-"),
        };
        Some(self.grants.as_ref()?.iter().filter(fits).collect())
    }

    /// The grants; `None` sees all.
    #[must_use]
    pub const fn grants(&self) -> Option<&BTreeSet<Grant>> {
        self.grants.as_ref()
    }

    fn organization_grants(identifier: &str, memberships: &[Membership]) -> BTreeSet<Grant> {
        let mut grants = BTreeSet::from([Grant::all()]);
        grants.extend(Grant::organization(identifier));
        grants.extend(memberships.iter().filter_map(Grant::role));
        grants
    }
}

// === grants of a resource ===

/// What decides who sees this version.
pub(crate) fn access(resource_type: ResourceType, resource: &Resource, base: Option<&str>) -> Access {
    let grants = match resource_type {
        ResourceType::Task => task_grants(resource),
        ResourceType::QuestionnaireResponse => answer_grants(resource),
        _ => tag_grants(resource),
    };
    if resource_type == ResourceType::Binary
        && grants.is_empty()
        && let Some(context) = security_context(resource, base)
    {
        return context;
    }
    Access::Own(grants)
}

fn tag_grants(resource: &Resource) -> BTreeSet<Grant> {
    let tags = resource.get("meta").map_or(&[][..], |meta| meta.list("tag"));
    let mut grants = BTreeSet::new();
    for tag in tags.iter().filter(|tag| tag.str("system") == Some(READ_ACCESS_TAG)) {
        grants.extend(match tag.str("code") {
            Some("ALL") => Some(Grant::all()),
            Some("LOCAL") => Some(Grant::local()),
            Some("ORGANIZATION") => extension(tag, READ_ACCESS_ORGANIZATION)
                .and_then(|found| found.get("valueIdentifier"))
                .and_then(|identifier| identifier_value(identifier, ORGANIZATION_IDENTIFIER))
                .and_then(Grant::organization),
            Some("ROLE") => extension(tag, READ_ACCESS_ROLE).and_then(role_grant),
            _ => None,
        });
    }
    grants
}

fn role_grant(found: &Value) -> Option<Grant> {
    let parent = extension(found, "parent-organization")?.get("valueIdentifier")?;
    let role = extension(found, "organization-role")?.get("valueCoding")?;
    Grant::role(&Membership {
        parent: identifier_value(parent, ORGANIZATION_IDENTIFIER)?.to_owned(),
        role_system: role.str("system")?.to_owned(),
        role: role.str("code")?.to_owned(),
    })
}

fn task_grants(task: &Resource) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::new();
    if let Some(requester) = task.get("requester").and_then(|requester| requester.get("identifier")) {
        grants.extend(identifier_value(requester, ORGANIZATION_IDENTIFIER).and_then(Grant::requester));
        grants.extend(identifier_value(requester, PRACTITIONER_IDENTIFIER).and_then(Grant::requester_person));
    }
    let recipients = task.get("restriction").map_or(&[][..], |restriction| restriction.list("recipient"));
    for recipient in recipients.iter().filter_map(|recipient| recipient.get("identifier")) {
        let Some(organization) = identifier_value(recipient, ORGANIZATION_IDENTIFIER) else { continue };
        grants.extend(Grant::recipient(organization));
        if task.str("status") == Some("draft") {
            grants.extend(Grant::draft_recipient(organization));
        }
    }
    grants
}

fn answer_grants(response: &Resource) -> BTreeSet<Grant> {
    let mut grants = BTreeSet::from([Grant::administration()]);
    let mut restricted = false;
    for found in response.list("extension").iter().filter(|found| found.str("url") == Some(QUESTIONNAIRE_AUTHORIZATION))
    {
        restricted = true;
        for part in found.list("extension") {
            grants.extend(match part.str("url") {
                Some("practitioner") => part
                    .get("valueIdentifier")
                    .and_then(|identifier| identifier_value(identifier, PRACTITIONER_IDENTIFIER))
                    .and_then(Grant::person),
                Some("practitioner-role") => {
                    part.get("valueCoding").and_then(|role| Grant::person_role(role.str("system")?, role.str("code")?))
                }
                _ => None,
            });
        }
    }
    if !restricted {
        grants.insert(Grant::any_person());
    }
    grants
}

fn security_context(binary: &Resource, base: Option<&str>) -> Option<Access> {
    let literal = local_literal(binary.get("securityContext")?.str("reference")?, base)?;
    // A version that is no number is none of ours and must not be taken for the current one.
    let version = literal.version.map(|version| version.parse()).transpose().ok()?;
    Some(Access::As { resource_type: literal.type_name, id: literal.id, version })
}

/// Type and id of a reference to a resource of this node, its version ignored.
pub(crate) fn local_reference(reference: &str, base: Option<&str>) -> Option<(String, String)> {
    local_literal(reference, base).map(|literal| (literal.type_name, literal.id))
}

fn local_literal(reference: &str, base: Option<&str>) -> Option<Literal> {
    let reference = Reference::parse_literal(reference);
    let reference = match base {
        Some(base) => reference.relative_to(base),
        None => reference,
    };
    match reference {
        Reference::Literal(literal) if literal.resource_type().is_some() => Some(literal),
        _ => None,
    }
}

fn extension<'a>(value: &'a Value, url: &str) -> Option<&'a Value> {
    value.list("extension").iter().find(|extension| extension.str("url") == Some(url))
}

fn identifier_value<'a>(identifier: &'a Value, system: &str) -> Option<&'a str> {
    (identifier.str("system") == Some(system)).then(|| identifier.str("value")).flatten()
}

#[cfg(test)]
mod tests;
