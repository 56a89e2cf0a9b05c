//! Profiles: the default profile of each type, and validation (`fhir-api` 4.3, 4.4).

use fhir::{Object, Resource, ResourceType, Value};

use crate::conformance::View;
use crate::refusal::Refusal;
use crate::terms;

/// Canonical of the DSF base profile of a type. Task has none: a Task must name the profile of its process.
pub(crate) fn default_profile(resource_type: ResourceType) -> Option<String> {
    (resource_type != ResourceType::Task).then(|| format!("{}{}", terms::PROFILE_BASE, kebab(resource_type.as_str())))
}

fn kebab(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (index, character) in name.chars().enumerate() {
        if character.is_ascii_uppercase() && index > 0 {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

/// Puts the default profile first in `meta.profile` unless the resource names it.
pub(crate) fn add_default(mut resource: Resource, resource_type: ResourceType) -> Resource {
    let Some(default) = default_profile(resource_type) else { return resource };
    let is_named = resource.profiles().any(|profile| {
        let url = profile.split('|').next().unwrap_or_default();
        url == default
            || (resource_type == ResourceType::Organization
                && url == format!("{}organization-parent", terms::PROFILE_BASE))
    });
    if is_named {
        return resource;
    }
    if resource.get("meta").and_then(Value::as_object).is_none() {
        resource.set("meta", Object::new());
    }
    if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
        let mut profiles = vec![Value::from(default)];
        profiles.extend(meta.list("profile").iter().cloned());
        meta.set("profile", profiles);
    }
    resource
}

/// Refuses a resource that breaks R4 or a profile that it names; warnings alone do not.
pub(crate) fn validate(resource: &Resource, profiles: &View) -> Result<(), Refusal> {
    let started = std::time::Instant::now();
    let issues = fhir::validate::validate(resource, profiles.registry());
    metrics::histogram!("schleuse_endpoint_validation_seconds").record(started.elapsed().as_secs_f64());
    if fhir::validate::has_errors(&issues) { Err(Refusal::profile(issues)) } else { Ok(()) }
}
