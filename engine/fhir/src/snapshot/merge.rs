//! Lays one ElementDefinition of a differential over the element of the base.

use super::generate::is_kind_of;
use super::node::Node;
use crate::outcome::{IssueCode, Severity};
use crate::{Object, Value};

/// Says what is wrong with the element.
type Report<'r> = dyn FnMut(IssueCode, Severity, String) + 'r;

/// Lays the element over the node.
pub(super) fn merge(node: &mut Node, element: &Object, profile: &str, is_new_slice: bool, report: &mut Report<'_>) {
    if !node.definition.is_empty() {
        check_cardinality(node, element, is_new_slice, report);
        check_types(node, element, report);
    }
    for (name, value) in element.iter() {
        match name {
            "id" | "path" | "sliceName" | "_path" | "_sliceName" | "base" => {}
            "max" if wider_max(node, element).is_some() => {}
            "definition" | "comment" | "requirements" => extend_text(&mut node.definition, name, value),
            "constraint" => {
                for constraint in value.elements() {
                    add_constraint(&mut node.definition, constraint, profile);
                }
            }
            "slicing" => merge_slicing(&mut node.definition, value),
            "alias" | "condition" | "mapping" | "example" | "code" => add_all(&mut node.definition, name, value),
            // One fixed value or pattern takes the place of another.
            _ if name.starts_with("fixed") || name.starts_with("pattern") => {
                let kind = if name.starts_with("fixed") { "fixed" } else { "pattern" };
                let others: Vec<String> = node
                    .definition
                    .iter()
                    .map(|(known, _)| known)
                    .filter(|known| known.starts_with(kind) && *known != name)
                    .map(str::to_owned)
                    .collect();
                for other in others {
                    node.definition.remove(&other);
                }
                node.definition.set(name, value.clone());
            }
            _ => node.definition.set(name, value.clone()),
        }
    }
    complete(node, profile);
}

/// What a snapshot must say and a new element of a specialisation may leave out.
fn complete(node: &mut Node, profile: &str) {
    let definition = &mut node.definition;
    if definition.get("min").is_none() {
        definition.set("min", 0_i64);
    }
    if definition.get("max").is_none() {
        definition.set("max", "*");
    }
    if definition.get("definition").is_none() {
        let text = definition.str("short").unwrap_or(&node.name).to_owned();
        definition.set("definition", text);
    }
    if definition.get("base").is_none() {
        let name = profile.rsplit('/').next().unwrap_or(profile);
        let mut base = Object::new().with("path", format!("{name}.{}", node.name));
        for part in ["min", "max"] {
            if let Some(value) = definition.get(part) {
                base.set(part, value.clone());
            }
        }
        definition.set("base", base);
    }
}

fn check_cardinality(node: &Node, element: &Object, is_new_slice: bool, report: &mut Report<'_>) {
    let number = |object: &Object, name: &str| match object.get(name) {
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    if let (Some(min), Some(base)) = (number(element, "min"), number(&node.definition, "min"))
        && min < base
        && !is_new_slice
    {
        report(IssueCode::Value, Severity::Error, format!("min {min} is less than {base} of the base"));
    }
    let Some((max, base)) = wider_max(node, element) else { return };
    if node.slice.is_some() {
        // The published form of "as often as the element may occur", which the slice cannot exceed anyway.
        report(
            IssueCode::Value,
            Severity::Warning,
            format!("max {max} of the slice is taken as {base} of the element"),
        );
    } else {
        report(IssueCode::Value, Severity::Error, format!("max {max} is more than {base} of the base"));
    }
}

/// The maximum of the element and that of the base, if the element would allow more.
fn wider_max<'e>(node: &'e Node, element: &'e Object) -> Option<(&'e str, &'e str)> {
    let most = |max: &str| if max == "*" { Some(u64::MAX) } else { max.parse().ok() };
    let (max, base) = (element.str("max")?, node.definition.str("max")?);
    (most(max)? > most(base)?).then_some((max, base))
}

fn check_types(node: &Node, element: &Object, report: &mut Report<'_>) {
    let known: Vec<_> = node.definition.list("type").iter().filter_map(|type_| type_.str("code")).collect();
    if known.is_empty() {
        return;
    }
    for code in element.list("type").iter().filter_map(|type_| type_.str("code")) {
        // Ids and the values of primitives may be given by their FHIR type.
        let is_allowed =
            known.iter().any(|base| is_kind_of(code, base) || base.starts_with("http://hl7.org/fhirpath/"));
        if !is_allowed {
            let text = format!("type {code} is none of the base, which has {}", known.join(", "));
            report(IssueCode::Value, Severity::Error, text);
        }
    }
}

/// A text that begins with `...` goes on from that of the base (`ElementDefinition.definition` of R4).
fn extend_text(definition: &mut Object, name: &str, value: &Value) {
    let extended = value.as_str().and_then(|text| text.strip_prefix("...")).map(|more| {
        let base = definition.str(name).unwrap_or_default();
        format!("{base}\n{}", more.trim_start())
    });
    match extended {
        Some(text) => definition.set(name, text),
        None => definition.set(name, value.clone()),
    }
}

fn add_all(definition: &mut Object, name: &str, value: &Value) {
    for one in value.elements() {
        if !definition.list(name).contains(one) {
            definition.push(name, one.clone());
        }
    }
}

/// Adds the constraint, or replaces the one with its key; its source is the profile unless it says another.
pub(super) fn add_constraint(definition: &mut Object, constraint: &Value, profile: &str) {
    let Some(constraint) = constraint.as_object() else { return };
    let mut constraint = constraint.clone();
    if constraint.get("source").is_none() {
        constraint.set("source", profile);
    }
    let mut constraints = definition.list("constraint").to_vec();
    match constraints.iter_mut().find(|known| known.str("key") == constraint.str("key")) {
        Some(known) => *known = Value::Object(constraint),
        None => constraints.push(Value::Object(constraint)),
    }
    definition.set("constraint", constraints);
}

/// A derived profile repeats the slicing of its base, or closes it further; it cannot open it.
fn merge_slicing(definition: &mut Object, slicing: &Value) {
    let Some(slicing) = slicing.as_object() else { return };
    let mut merged = slicing.clone();
    if let Some(known) = definition.get("slicing").and_then(Value::as_object) {
        for (name, value) in known.iter() {
            if merged.get(name).is_none() {
                merged.set(name, value.clone());
            }
        }
        let narrowest = ["closed", "openAtEnd", "open"]
            .into_iter()
            .find(|rules| known.str("rules") == Some(rules) || slicing.str("rules") == Some(rules));
        if let Some(rules) = narrowest {
            merged.set("rules", rules);
        }
    }
    definition.set("slicing", merged);
}
