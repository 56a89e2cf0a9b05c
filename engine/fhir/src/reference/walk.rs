//! Walks a tree along the tables and stops at everything that refers to something else.

use super::Reference;
use crate::definitions::{Child, TypeDefinition, TypeKind, definitions};
use crate::{Canonical, Object, Resource, Value};

/// What kind of element holds the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A `Reference`.
    Reference,
    /// A `canonical`.
    Canonical,
    /// `Attachment.url`.
    Attachment,
    /// `RelatedArtifact.url`.
    RelatedArtifact,
}

/// A reference and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundReference {
    /// The element that holds it, `Task.input[0].valueReference`.
    pub path: String,
    /// What kind of element that is.
    pub place: Place,
    /// What it points to.
    pub reference: Reference,
    /// The resource types that the element allows; empty is any.
    pub targets: &'static [&'static str],
}

/// Every reference of the resource, in tree order.
#[must_use]
pub fn collect(resource: &Resource) -> Vec<FoundReference> {
    let mut found = Vec::new();
    if let Some(definition) = definitions().resource(resource.type_name()) {
        let mut path = resource.type_name().to_owned();
        collect_object(resource.tree(), definition, &mut path, &mut found);
    }
    found
}

/// Calls `change` with path and element for every `Reference` of the resource.
pub fn for_each_reference_mut(resource: &mut Resource, change: &mut dyn FnMut(&str, &mut Object)) {
    let Some(definition) = definitions().resource(resource.type_name()) else { return };
    let mut path = resource.type_name().to_owned();
    let names: Vec<String> = resource.tree().iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        if let Some(value) = resource.get_mut(&name) {
            change_member(&name, value, definition, &mut path, change);
        }
    }
}

fn collect_object(
    object: &Object,
    definition: &'static TypeDefinition,
    path: &mut String,
    found: &mut Vec<FoundReference>,
) {
    let mut add = |path: &str, place, reference, targets| {
        found.push(FoundReference { path: path.to_owned(), place, reference, targets });
    };
    match definition.name {
        "Attachment" | "RelatedArtifact" => {
            if let Some(url) = object.str("url") {
                let place = if definition.name == "Attachment" { Place::Attachment } else { Place::RelatedArtifact };
                add(path, place, Reference::parse_literal(url), &[]);
            }
        }
        _ => {}
    }
    for (name, value) in object.iter() {
        let Some((child, is_extra)) = child_of(definition, name) else { continue };
        let length = path.len();
        path.push('.');
        path.push_str(name);
        if is_extra {
            each(value, path, &mut |value, path| {
                if let (Value::Object(object), Some(element)) = (value, definitions().type_("Element")) {
                    collect_object(object, element, path, found);
                }
            });
        } else {
            each(value, path, &mut |value, path| collect_value(value, child, path, found));
        }
        path.truncate(length);
    }
}

fn collect_value(value: &Value, child: Child, path: &mut String, found: &mut Vec<FoundReference>) {
    match (value, child.definition.name) {
        (Value::String(text), "canonical") => {
            if let Some(canonical) = Canonical::parse(text) {
                found.push(FoundReference {
                    path: path.clone(),
                    place: Place::Canonical,
                    reference: Reference::Canonical(canonical),
                    targets: &child.reference.targets,
                });
            }
        }
        (Value::Object(object), name) if child.definition.kind != TypeKind::Resource => {
            if name == "Reference" {
                found.push(FoundReference {
                    path: path.clone(),
                    place: Place::Reference,
                    reference: Reference::parse(object),
                    targets: &child.reference.targets,
                });
            }
            collect_object(object, child.definition, path, found);
        }
        _ => {}
    }
}

fn change_object(
    object: &mut Object,
    definition: &'static TypeDefinition,
    path: &mut String,
    change: &mut dyn FnMut(&str, &mut Object),
) {
    if definition.name == "Reference" {
        change(path, object);
    }
    for (name, value) in object.iter_mut() {
        change_member(name, value, definition, path, change);
    }
}

fn change_member(
    name: &str,
    value: &mut Value,
    definition: &'static TypeDefinition,
    path: &mut String,
    change: &mut dyn FnMut(&str, &mut Object),
) {
    let Some((child, is_extra)) = child_of(definition, name) else { return };
    let definition = if is_extra { definitions().type_("Element") } else { Some(child.definition) };
    let Some(definition) = definition.filter(|definition| definition.kind != TypeKind::Resource) else { return };
    let length = path.len();
    path.push('.');
    path.push_str(name);
    match value {
        Value::Object(object) => change_object(object, definition, path, change),
        Value::Array(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                if let Value::Object(object) = element {
                    let length = path.len();
                    path.push_str(&format!("[{index}]"));
                    change_object(object, definition, path, change);
                    path.truncate(length);
                }
            }
        }
        _ => {}
    }
    path.truncate(length);
}

/// The element that the member is, and whether the member holds the extensions of a primitive (`_name`).
fn child_of(definition: &'static TypeDefinition, name: &str) -> Option<(Child, bool)> {
    match name.strip_prefix('_') {
        Some(plain) => definition.child(plain).map(|child| (child, true)),
        None => definition.child(name).map(|child| (child, false)),
    }
}

fn each(value: &Value, path: &mut String, visit: &mut dyn FnMut(&Value, &mut String)) {
    let Value::Array(elements) = value else { return visit(value, path) };
    for (index, element) in elements.iter().enumerate() {
        let length = path.len();
        path.push_str(&format!("[{index}]"));
        visit(element, path);
        path.truncate(length);
    }
}
