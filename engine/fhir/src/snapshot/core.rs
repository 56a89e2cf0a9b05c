//! The elements of R4 types as a snapshot has them, from the tables.

use super::node::Node;
use crate::definitions::{ElementDefinition, TypeDefinition, TypeKind, TypeReference, definitions, texts};
use crate::{Object, Value};

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const SYSTEM_TYPE: &str = "http://hl7.org/fhirpath/System.";

/// The tree of a type; its backbone elements are walked into, its data types are not.
pub(super) fn tree(type_name: &str) -> Option<Node> {
    let definition = definitions().type_(type_name)?;
    let mut root = Object::new();
    say(&mut root, definition.name);
    cardinality(&mut root, definition.name, 0, None);
    constrain(&mut root, ancestry(definition).into_iter().map(|type_| (type_, type_)));
    root.set("isModifier", false);
    let mut children = children(definition);
    if definition.kind == TypeKind::Primitive {
        children.push(value_of(definition));
    }
    Some(Node::new(definition.name.to_owned(), root, Some(children)))
}

/// The element that `contentReference` names: `#Bundle.link`.
pub(super) fn referenced(reference: &str) -> Option<Node> {
    let path = reference.rsplit('#').next()?;
    let mut steps = path.split('.');
    let mut node = tree(steps.next()?)?;
    for step in steps {
        node = node.children?.into_iter().find(|child| child.name == step)?;
    }
    Some(node)
}

/// The type and everything that it specialises, the most general first.
fn ancestry(definition: &'static TypeDefinition) -> Vec<&'static str> {
    let mut names = vec![definition.name];
    let mut current = definition;
    while let Some(base) = current.base.and_then(|base| definitions().type_(base)) {
        names.push(base.name);
        current = base;
    }
    names.reverse();
    names
}

fn children(definition: &'static TypeDefinition) -> Vec<Node> {
    let own = |element: &'static ElementDefinition, position: usize| child(definition, element, position);
    definition.elements().iter().enumerate().map(|(position, element)| own(element, position)).collect()
}

/// The type that defines the element at the position: inherited ones come first.
fn owner(definition: &'static TypeDefinition, position: usize) -> &'static str {
    let mut owner = definition;
    while let Some(base) = owner.base.and_then(|base| definitions().type_(base)) {
        if position >= base.elements().len() {
            break;
        }
        owner = base;
    }
    owner.name
}

fn child(definition: &'static TypeDefinition, element: &'static ElementDefinition, position: usize) -> Node {
    let name = if element.is_choice { format!("{}[x]", element.name) } else { element.name.to_owned() };
    let owner = owner(definition, position);
    let path = format!("{owner}.{name}");
    let content = element.types.first().and_then(|type_| definitions().type_(type_.code));
    let backbone = content.filter(|type_| type_.kind == TypeKind::Backbone);
    let is_extension = element.types.first().is_some_and(|type_| type_.code == "Extension");

    let mut member = Object::new();
    if element.is_xml_attribute {
        member.push("representation", "xmlAttr");
    }
    if name == "extension" && matches!(definition.kind, TypeKind::Complex | TypeKind::Primitive) {
        member.set(
            "slicing",
            slicing("value", "url").with("description", "Extensions are always sliced by (at least) url"),
        );
    }
    say(&mut member, &path);
    cardinality(&mut member, &path, element.min, element.max);
    match backbone {
        Some(other) if other.name != path => member.set("contentReference", format!("#{}", other.name)),
        Some(own) => member.push("type", type_of(own.base.unwrap_or("BackboneElement"))),
        None => member.set("type", types(&path, element)),
    }
    let has_constraints = !element.is_xml_attribute
        && path != "Resource.id"
        && content.is_none_or(|type_| type_.kind != TypeKind::Resource);
    let general: &[(&str, &str)] = match (has_constraints, is_extension) {
        (false, _) => &[],
        (true, false) => &[("Element", "Element")],
        (true, true) => &[("Element", "Element"), ("Extension", "Extension")],
    };
    let source = path.split('.').next().unwrap_or_default();
    constrain(&mut member, general.iter().copied().chain([(path.as_str(), source)]));
    member.set("isModifier", element.is_modifier);
    if let Some(reason) = texts(&path).and_then(|texts| texts.modifier_reason) {
        member.set("isModifierReason", reason);
    }
    member.set("isSummary", element.is_summary);
    if let Some(binding) = &element.binding {
        let strength = match binding.strength {
            crate::definitions::BindingStrength::Required => "required",
            crate::definitions::BindingStrength::Extensible => "extensible",
            crate::definitions::BindingStrength::Preferred => "preferred",
            crate::definitions::BindingStrength::Example => "example",
        };
        member.set("binding", Object::new().with("strength", strength).with("valueSet", binding.value_set.as_str()));
    }
    let inner = backbone.filter(|own| own.name == path).map(children);
    Node::new(name, member, inner)
}

/// `value` of a primitive, which only XML writes as an element of its own kind.
fn value_of(definition: &'static TypeDefinition) -> Node {
    let path = format!("{}.value", definition.name);
    let mut member = Object::new();
    member.push("representation", "xmlAttr");
    let text = format!("Primitive value for {}", definition.name);
    member.set("short", text.as_str());
    member.set("definition", text);
    cardinality(&mut member, &path, 0, Some(1));
    member.push("type", system_type(definition));
    member.set("isModifier", false);
    member.set("isSummary", false);
    Node::new("value".to_owned(), member, None)
}

fn say(definition: &mut Object, path: &str) {
    // The few elements that the list of texts leaves out say at least what they are called.
    let (short, text) = texts(path).map_or((path, path), |texts| (texts.short, texts.definition));
    definition.set("short", if short.is_empty() { text } else { short });
    definition.set("definition", if text.is_empty() { path } else { text });
}

fn cardinality(definition: &mut Object, path: &str, min: u32, max: Option<u32>) {
    let max = max.map_or_else(|| "*".to_owned(), |max| max.to_string());
    definition.set("min", i64::from(min));
    definition.set("max", max.as_str());
    definition.set("base", Object::new().with("path", path).with("min", i64::from(min)).with("max", max));
}

/// Adds the invariants that the tables have at the paths, each with the type that is their source.
fn constrain<'p>(definition: &mut Object, paths: impl Iterator<Item = (&'p str, &'p str)>) {
    for (path, source) in paths {
        for invariant in definitions().invariants(path) {
            if definition.list("constraint").iter().any(|known| known.str("key") == Some(invariant.key)) {
                continue;
            }
            let constraint = Object::new()
                .with("key", invariant.key)
                .with("severity", if invariant.is_error { "error" } else { "warning" })
                .with("human", invariant.human)
                .with("expression", invariant.expression)
                .with("source", format!("{CORE}{source}"));
            definition.push("constraint", constraint);
        }
    }
}

fn types(path: &str, element: &ElementDefinition) -> Vec<Value> {
    if path == "Resource.id" || element.is_xml_attribute {
        let written =
            element.types.first().map_or("string", |type_| if type_.code == "id" { "string" } else { type_.code });
        return vec![Value::Object(fhir_system_type("String", written))];
    }
    let profile = texts(path).and_then(|texts| texts.profile);
    element.types.iter().map(|type_| Value::Object(typed(type_, profile))).collect()
}

fn typed(reference: &TypeReference, profile: Option<&str>) -> Object {
    let mut type_ = type_of(reference.code);
    if let Some(profile) = profile.filter(|_| reference.code == "Quantity") {
        type_.push("profile", format!("{CORE}{profile}"));
    }
    for target in &reference.targets {
        type_.push("targetProfile", format!("{CORE}{target}"));
    }
    type_
}

/// The canonical of a type of R4.
pub(super) fn canonical(code: &str) -> String {
    format!("{CORE}{code}")
}

pub(super) fn type_of(code: &str) -> Object {
    Object::new().with("code", code)
}

/// The FHIRPath type of the text, with the FHIR type that it is written as.
fn fhir_system_type(system: &str, written: &str) -> Object {
    let url = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
    let extension = Object::new().with("url", url).with("valueUrl", written);
    Object::new().with("extension", vec![Value::Object(extension)]).with("code", format!("{SYSTEM_TYPE}{system}"))
}

fn system_type(definition: &'static TypeDefinition) -> Object {
    let system = match definition.name {
        "boolean" => "Boolean",
        "integer" | "unsignedInt" | "positiveInt" => "Integer",
        "decimal" => "Decimal",
        "date" => "Date",
        "dateTime" | "instant" => "DateTime",
        "time" => "Time",
        _ => "String",
    };
    let mut type_ = fhir_system_type(system, definition.name);
    if let Some(regex) = definition.regex {
        let regex = Object::new().with("url", format!("{CORE}regex")).with("valueString", regex);
        type_.push("extension", regex);
    }
    type_
}

/// Slicing by one discriminator, open for others.
pub(super) fn slicing(kind: &str, path: &str) -> Object {
    let discriminator = Object::new().with("type", kind).with("path", path);
    Object::new().with("discriminator", vec![Value::Object(discriminator)]).with("ordered", false).with("rules", "open")
}
