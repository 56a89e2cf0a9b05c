//! What comes in: places of a resource that point somewhere are visited and may be replaced.
//!
//! Two kinds of places exist. [`Place::Reference`] is the member `reference` of the type Reference, stored relative.
//! [`Place::Url`] is the URL of a related artifact or attachment, which the reference stores absolute even if it points
//! into the same server (`fhir-api` 1.5 step 1, 3.2).

use fhir::{Object, Resource, ResourceType, Value};

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `Reference.reference`
    Reference,
    /// `RelatedArtifact.url` or `Attachment.url`
    Url,
}

/// Members that hold attachments or related artifacts in the types of this endpoint.
const WITH_URL: &[&str] = &["relatedArtifact", "attachment", "valueAttachment", "photo", "content", "document"];

/// Shows every place to `replace`; what it returns is put there.
pub(crate) fn rewrite(resource: Resource, replace: &mut dyn FnMut(Place, &str) -> Option<String>) -> Resource {
    // A stored Bundle is a document with references of its own.
    if resource.type_name() == "Bundle" {
        return resource;
    }
    let type_name = resource.type_name().to_owned();
    let mut tree = resource.into_tree();
    visit_object(&mut tree, false, replace);
    Resource::from_tree(tree).unwrap_or_else(|_| Resource::new(&type_name))
}

fn visit_object(object: &mut Object, has_url: bool, replace: &mut dyn FnMut(Place, &str) -> Option<String>) {
    for (name, value) in object.iter_mut() {
        let place = match name {
            "reference" => Some(Place::Reference),
            "url" if has_url => Some(Place::Url),
            _ => None,
        };
        match (place, &mut *value) {
            (Some(place), Value::String(text)) => {
                if let Some(new) = replace(place, text) {
                    *text = new;
                }
            }
            _ => visit_value(value, WITH_URL.contains(&name), replace),
        }
    }
}

// The depth of a tree is bounded where it is parsed.
fn visit_value(value: &mut Value, has_url: bool, replace: &mut dyn FnMut(Place, &str) -> Option<String>) {
    match value {
        Value::Object(object) => visit_object(object, has_url, replace),
        Value::Array(elements) => elements.iter_mut().for_each(|element| visit_value(element, has_url, replace)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Type, id and version of a literal that points into this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Internal {
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    pub(crate) version: Option<u64>,
}

/// Reads `Type/id[/_history/version]`, relative or below the base URL of this server.
pub(crate) fn internal(text: &str, base_url: &str) -> Option<Internal> {
    let relative = match text.strip_prefix(base_url) {
        Some(rest) => rest.strip_prefix('/')?,
        None => text,
    };
    let mut segments = relative.split('/');
    let resource_type = segments.next()?.parse().ok()?;
    let id = segments.next().filter(|id| is_id(id))?.to_owned();
    let version = match (segments.next(), segments.next(), segments.next()) {
        (None, None, None) => None,
        (Some("_history"), Some(version), None) => Some(version.parse().ok()?),
        _ => return None,
    };
    Some(Internal { resource_type, id, version })
}

/// Reads `Type?criteria`.
pub(crate) fn conditional(text: &str) -> Option<(ResourceType, &str)> {
    let (type_name, criteria) = text.split_once('?')?;
    Some((type_name.parse().ok()?, criteria))
}

/// Makes URLs that point into this server absolute.
pub(crate) fn make_urls_absolute(resource: Resource, base_url: &str) -> Resource {
    rewrite(resource, &mut |place, text| {
        let is_relative = place == Place::Url && !text.contains(':') && internal(text, base_url).is_some();
        is_relative.then(|| format!("{base_url}/{text}"))
    })
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Whether no reference of the resource is temporary or conditional, so that [`rewrite`] would leave it as it is.
pub(crate) fn is_self_contained(resource: &Resource) -> bool {
    let mut found = false;
    rewrite(resource.clone(), &mut |_, text| {
        found |= text.starts_with("urn:uuid:") || conditional(text).is_some();
        None
    });
    !found
}

#[cfg(test)]
mod tests;
