//! Rules of QuestionnaireResponses, the user tasks of processes (`fhir-api` 6.6).

use fhir::{Object, Resource, Value};
use policies::Identity;

const AUTHORIZATION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization";
const USER_TASK_ID: &str = "user-task-id";
const BUSINESS_KEY: &str = "business-key";

/// Whether the identity may create the resource.
pub(super) fn check_create(new: &Resource, identity: &Identity) -> Result<(), &'static str> {
    if !identity.is_local_organization_or_admin() {
        return Err("only the local organization or an administrator may do this");
    }
    if new.str("status") != Some("in-progress") {
        return Err("status is not in-progress");
    }
    if new.str("questionnaire").is_none_or(str::is_empty) {
        return Err("questionnaire is missing");
    }
    match answer(new, USER_TASK_ID) {
        Some(id) if !id.trim().is_empty() => Ok(()),
        _ => Err("item user-task-id is missing, repeated or blank"),
    }
}

/// Whether the identity may replace the stored resource.
pub(super) fn check_update(old: &Resource, new: &Resource, identity: &Identity) -> Result<(), &'static str> {
    match (old.str("status"), new.str("status")) {
        (Some("in-progress"), Some("completed")) => check_completion(old, new, identity),
        (Some("in-progress"), Some("stopped")) | (Some("completed"), Some("amended")) => {
            if !identity.is_local_organization_or_admin() {
                return Err("only the local organization or an administrator may do this");
            }
            if same_but_status(old, new) { Ok(()) } else { Err("only the status may change") }
        }
        _ => Err("transition of status is not allowed"),
    }
}

fn check_completion(old: &Resource, new: &Resource, identity: &Identity) -> Result<(), &'static str> {
    if !may_answer(old, identity) {
        return Err("identity is not authorized by the stored resource");
    }
    if !is_author(new, identity) || new.str("authored").is_none() {
        return Err("author is not the caller or authored is missing");
    }
    let same_item = |link_id| answer(old, link_id) == answer(new, link_id);
    if !same_item(USER_TASK_ID) || !same_item(BUSINESS_KEY) {
        return Err("user-task-id or business-key changed");
    }
    if old.str("questionnaire") != new.str("questionnaire") {
        return Err("questionnaire changed");
    }
    let authorizations = |resource: &Resource| authorizations(resource).cloned().collect::<Vec<_>>();
    if authorizations(old) == authorizations(new) { Ok(()) } else { Err("authorization changed") }
}

fn may_answer(old: &Resource, identity: &Identity) -> bool {
    let person = match identity {
        _ if identity.is_local_organization_or_admin() => return true,
        Identity::Person(person) => person,
        Identity::Local(_) | Identity::Remote(_) | Identity::Unknown => return false,
    };
    let mut is_restricted = false;
    for part in authorizations(old).flat_map(|extension| extension.list("extension")) {
        is_restricted = true;
        let is_person = part.get("valueIdentifier").is_some_and(|identifier| {
            identifier.str("system") == Some("http://dsf.dev/sid/practitioner-identifier")
                && identifier.str("value") == Some(person.identifier.as_str())
        });
        let has_role = part.get("valueCoding").is_some_and(|coding| {
            person
                .practitioner_roles
                .iter()
                .any(|role| coding.str("system") == Some(role.system()) && coding.str("code") == Some(role.code()))
        });
        match part.str("url") {
            Some("practitioner") if is_person => return true,
            Some("practitioner-role") if has_role => return true,
            _ => {}
        }
    }
    // An extension without usable parts restricts to nobody.
    !is_restricted && authorizations(old).next().is_none()
}

fn authorizations(resource: &Resource) -> impl Iterator<Item = &Value> {
    resource.list("extension").iter().filter(|extension| extension.str("url") == Some(AUTHORIZATION))
}

fn is_author(new: &Resource, identity: &Identity) -> bool {
    let Some(identifier) = new.get("author").and_then(|author| author.get("identifier")) else { return false };
    let (system, value) = match identity {
        Identity::Local(organization) => (crate::terms::ORGANIZATION_IDENTIFIER, organization.identifier.as_str()),
        Identity::Person(person) => ("http://dsf.dev/sid/practitioner-identifier", person.identifier.as_str()),
        Identity::Remote(_) | Identity::Unknown => return false,
    };
    identifier.str("system") == Some(system) && identifier.str("value") == Some(value)
}

/// The string answer of the only item with this link id.
fn answer<'r>(resource: &'r Resource, link_id: &str) -> Option<&'r str> {
    let mut items = resource.list("item").iter().filter(|item| item.str("linkId") == Some(link_id));
    let item = items.next()?;
    match (items.next(), item.list("answer")) {
        (None, [answer]) => answer.str("valueString"),
        _ => None,
    }
}

/// Equal but for the status, what the server sets, and literals that the server hides.
fn same_but_status(old: &Resource, new: &Resource) -> bool {
    let comparable = |resource: &Resource| -> Object {
        let mut resource = crate::references::clean(resource.clone());
        resource.remove("status");
        resource.remove("id");
        let mut tree = resource.into_tree();
        if let Some(meta) = tree.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        tree
    };
    let (old, new) = (comparable(old), comparable(new));
    old.len() == new.len() && old.iter().all(|(name, value)| new.get(name) == Some(value))
}

#[cfg(test)]
mod tests;
