//! The allow-list beside rules, limits and the node's own certificate: E08, E12, E13, E17, W02, W05, W06.

use std::collections::BTreeSet;

use fhir::ResourceType;
use policies::matrix::{self, Caller, Cell, Outlook, Side};
use policies::policy::{AllowListSection, Subject};
use policies::{AllowList, Finding, Identity, Interaction};

use super::{Surroundings, error, warning};

/// Types that partners fetch in the processes that DSF publishes: payloads, and what leads to them.
const FETCHED: [ResourceType; 3] = [ResourceType::Binary, ResourceType::Bundle, ResourceType::DocumentReference];

pub(super) fn findings(around: &Surroundings<'_>) -> Vec<Finding> {
    let mut findings = persons_without_thumbprint(around);
    let Some(list) = around.list else {
        let text = "not checked, because the node has no allow-list yet: E08, E12, E13, E17, W05, W06";
        findings.push(warning(text, "start the node once, and check again"));
        return findings;
    };
    findings.extend(persons_that_are_organizations(around, list));
    findings.extend(room_for_the_list(around, list));
    findings.extend(sources(around.policy.allow_list(), list));
    findings.extend(own_organization(around, list));
    findings.extend(rules_about_nobody(around, list));
    findings.extend(loose_ends(list));
    findings.extend(processes(around, list));
    findings
}

/// W02: to be known by an address alone takes a token, which this version does not accept.
fn persons_without_thumbprint(around: &Surroundings<'_>) -> Vec<Finding> {
    let people = around.policy.identity().people.iter().filter(|person| person.thumbprints.is_empty());
    let finding = |person: &policies::policy::Person| {
        let text = format!("identity.person {}: an e-mail address alone identifies nobody [W02]", person.id);
        warning(text, "add the thumbprint of the person's certificate")
    };
    people.map(finding).collect()
}

/// E08: an organisation's certificate is never a person's.
fn persons_that_are_organizations(around: &Surroundings<'_>, list: &AllowList) -> Vec<Finding> {
    let mut findings = Vec::new();
    for person in &around.policy.identity().people {
        let shared = |thumbprints: &[policies::Thumbprint]| thumbprints.iter().any(|t| person.thumbprints.contains(t));
        if let Some(owner) = list.organizations().iter().find(|organization| shared(&organization.thumbprints)) {
            let (id, owner) = (&person.id, &owner.identifier);
            let text =
                format!("identity.person {id}: the certificate is the organisation's {owner}, which comes first [E08]");
            findings.push(error(text, "give the person a certificate of their own"));
        }
    }
    findings
}

/// E12: the list itself must be able to come in as a Bundle.
fn room_for_the_list(around: &Surroundings<'_>, list: &AllowList) -> Option<Finding> {
    let most = around.policy.limits().body.of(Some(ResourceType::Bundle));
    // What the gateway keeps is the list without what FHIR adds: a Bundle of it is larger in any case.
    let least = serde_json::to_vec(list).map_or(0, |bytes| bytes.len() as u64);
    (most < least).then(|| {
        let text = format!("limits.body.Bundle: {most} bytes, but the allow-list of the node takes {least} [E12]");
        error(text, "allow Bundles of several times that size")
    })
}

/// E13: where lists are taken from is a node of the network, or pinned.
pub(super) fn sources(section: &AllowListSection, list: &AllowList) -> Vec<Finding> {
    if !section.pin_server_sha256.is_empty() {
        return Vec::new();
    }
    let is_active = |endpoint: &&policies::allow_list::Endpoint| {
        endpoint.active && endpoint.organization.as_ref().is_some_and(|organization| list.is_active(organization))
    };
    let endpoints = list.endpoints().iter().filter(is_active);
    let hosts: BTreeSet<&str> = endpoints.filter_map(|known| host(&known.address)).collect();
    let is_unknown = |source: &&String| host(source).is_none_or(|host| !hosts.contains(host));
    let finding = |source: &String| {
        let text =
            format!("allow-list.sources: {source} is no endpoint of an active organisation, and not pinned [E13]");
        error(text, "write pin-server-sha256, or name an endpoint of the network")
    };
    section.sources.iter().filter(is_unknown).map(finding).collect()
}

/// Host and port.
fn host(url: &str) -> Option<&str> {
    url.strip_prefix("https://")?.split('/').next()
}

/// E17: the own organisation as the node has it.
fn own_organization(around: &Surroundings<'_>, list: &AllowList) -> Option<Finding> {
    let own = list.local();
    // Inactive ones too, unlike `AllowList::organization`.
    let Some(organization) = list.organizations().iter().find(|known| known.identifier == *own) else {
        let text = format!("the allow-list does not name the own organisation {own} [E17]");
        return Some(error(text, "start the node again, which stores its own Organization"));
    };
    if !organization.active {
        let text = format!("the own organisation {own} is not active in the allow-list [E17]");
        return Some(error(text, "set `active` in the Organization, or ask whoever keeps the list"));
    }
    let thumbprint = around.client?.thumbprint();
    if organization.thumbprints.iter().any(|known| known.as_str() == thumbprint) {
        return None;
    }
    let text = format!("the allow-list does not have the thumbprint of certificates.client for {own}");
    // It is so whenever the certificate was renewed, until the node takes it. Else partners refuse the node.
    if around.client_is_newer {
        let remedy = "reload the node, which adds it to its own Organization, and tell the network";
        return Some(warning(format!("{text} yet [E17]"), remedy));
    }
    let remedy =
        "put back the certificate that the network knows, or start the node again, which stores its own Organization";
    Some(error(format!("{text} [E17]"), remedy))
}

/// W05: rules about callers who do not exist.
fn rules_about_nobody(around: &Surroundings<'_>, list: &AllowList) -> Vec<Finding> {
    let side = Side { policy: around.policy, allow_list: list };
    let mut callers = Caller::all(side);
    callers.extend(Caller::kinds(side));
    let concerns = |subject: &Subject| callers.iter().any(|caller| subject.matches(&caller.identity, list));
    let rules = around.policy.rules().all().iter();
    rules
        .filter(|rule| !rule.subjects.iter().any(concerns))
        .map(|rule| {
            let text = format!("the rule {} is about nobody whom allow-list or policy know [W05]", rule.id);
            warning(text, "correct the name, or keep the rule for who comes later")
        })
        .collect()
}

/// W05: organisations and memberships that lead nowhere.
fn loose_ends(list: &AllowList) -> Vec<Finding> {
    const REMEDY: &str = "ask whoever keeps the allow-list";
    let mut findings = Vec::new();
    let named = |organization| list.endpoints().iter().any(|known| known.organization.as_ref() == Some(organization));
    for organization in list.organizations() {
        let is_node = organization.active && !organization.thumbprints.is_empty();
        if is_node && organization.endpoints.is_empty() && !named(&organization.identifier) {
            let text = format!("the organisation {} has no endpoint to send to [W05]", organization.identifier);
            findings.push(warning(text, REMEDY));
        }
    }
    for affiliation in list.affiliations().iter().filter(|known| known.active && !list.is_active(&known.parent)) {
        let (member, parent) = (&affiliation.member, &affiliation.parent);
        let text = format!("{member} is a member of {parent}, which is not active, so that nothing follows [W05]");
        findings.push(warning(text, REMEDY));
    }
    findings
}

/// W06: partners who may start an installed process by its authorisation, and whom the rules refuse what it takes.
fn processes(around: &Surroundings<'_>, list: &AllowList) -> Vec<Finding> {
    let side = Side { policy: around.policy, allow_list: list };
    let mut findings = Vec::new();
    for caller in Caller::all(side).iter().filter(|caller| matches!(caller.identity, Identity::Remote(_))) {
        let starts = list.processes().iter().find(|process| {
            let mut requesters = process.messages.iter().flat_map(|message| &message.requesters);
            requesters.any(|party| party.admits_requester(&caller.identity, list))
        });
        let Some(process) = starts else { continue };
        let refused = |(interaction, resource_type)| {
            let cell = Cell { interaction, resource_type: Some(resource_type) };
            (matrix::outlook(side, &caller.identity, cell) == Outlook::Refused).then(|| cell.to_string())
        };
        let reads = FETCHED.into_iter().map(|resource_type| (Interaction::Read, resource_type));
        let needed = std::iter::once((Interaction::Create, ResourceType::Task)).chain(reads);
        let all: Vec<String> = needed.filter_map(refused).collect();
        if !all.is_empty() {
            let (who, url, version, what) = (&caller.name, &process.url, &process.version, all.join(", "));
            let text = format!("{who} may start {url}|{version}, but the rules refuse {what} [W06]");
            findings.push(warning(text, "nothing, if it is meant so; else the process fails at that place"));
        }
    }
    findings
}
