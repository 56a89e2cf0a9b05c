//! From an identity to what the store lets it see.

use fhir::ResourceType;
use policies::{AllowList, DsfOperation, Identity, OrganizationIdentifier};
use store::ReadFilter;
use store::read_access::Membership;

/// What the identity may read, by its organisation, its memberships and its roles.
pub(crate) fn read_filter(identity: &Identity, allow_list: &AllowList) -> ReadFilter {
    let Some(organization) = identity.organization().filter(|organization| allow_list.is_active(organization)) else {
        return ReadFilter::nothing();
    };
    let memberships = memberships(organization, allow_list);
    match identity {
        Identity::Local(_) => ReadFilter::local_organization(organization.as_str(), &memberships),
        Identity::Remote(_) => ReadFilter::remote_organization(organization.as_str(), &memberships),
        Identity::Person(person) => {
            let roles: Vec<(String, String)> = person
                .practitioner_roles
                .iter()
                .map(|role| (role.system().to_owned(), role.code().to_owned()))
                .collect();
            let filter = ReadFilter::practitioner(
                organization.as_str(),
                &memberships,
                person.identifier.as_str(),
                &roles,
                person.is_admin(),
            );
            let may_read =
                |resource_type: &ResourceType| identity.has_dsf_role(DsfOperation::Read, Some(*resource_type));
            filter.restricted_to(ResourceType::ALL.iter().copied().filter(may_read))
        }
        Identity::Unknown => ReadFilter::nothing(),
    }
}

/// What of it may stand in an answer: no resource that the rules of the policy do not let the identity read, whatever leads
/// to it. Criteria of conditional requests are compared with [`read_filter`] alone, so that nothing is stored twice.
pub(crate) fn shown_filter(
    filter: &ReadFilter,
    identity: &Identity,
    allow_list: &AllowList,
    policy: &policies::Policy,
    context: &policies::Context,
) -> ReadFilter {
    match policies::shown_types(policy, allow_list, identity, context) {
        None => filter.clone(),
        Some(types) => filter.clone().restricted_to(types),
    }
}

fn memberships(organization: &OrganizationIdentifier, allow_list: &AllowList) -> Vec<Membership> {
    allow_list
        .roles_of(organization)
        .map(|(parent, role)| Membership {
            parent: parent.as_str().to_owned(),
            role_system: role.system().to_owned(),
            role: role.code().to_owned(),
        })
        .collect()
}

/// Who the certificate of a permit's identity belongs to by this allow-list: a permit outlives neither the organisation
/// nor the person that it was given to.
pub(crate) fn identify_again(
    identity: &Identity,
    allow_list: &AllowList,
    policy: &policies::Policy,
) -> Option<Identity> {
    let thumbprint = identity.thumbprint()?;
    let email = match identity {
        Identity::Person(person) => Some(person.identifier.as_str()),
        Identity::Local(_) | Identity::Remote(_) | Identity::Unknown => None,
    };
    let found = allow_list.identify(thumbprint, email, policy);
    (found.kind() == identity.kind() && found.name() == identity.name()).then_some(found)
}
