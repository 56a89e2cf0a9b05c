//! Merges the element definitions of one StructureDefinition into the tree of constraints.

use super::ProfileError;
use crate::element_path::Place;
use crate::validate::fhirpath::Expression;
use crate::validate::limits;
use crate::validate::profile::{
    Constraints, Discriminator, DiscriminatorKind, Invariant, Problem, ProfileLink, RequiredBinding, Rules, Slicing,
    Target, TypeConstraint,
};
use crate::{Object, Resource, Value};

/// Facets of ElementDefinition that limit values and that are not applied; a profile with one says so where it occurs.
const UNSUPPORTED: [&str; 3] = ["minValue", "maxValue", "contentReference"];

/// Merges the differential; a definition that has only a snapshot is merged from that, without the invariants of R4.
pub(super) fn merge(root: &mut Constraints, definition: &Resource) -> Result<(), ProfileError> {
    let profile = definition.str("url").unwrap_or_default();
    let elements = match definition.get("differential") {
        Some(differential) => differential.list("element"),
        None => definition.get("snapshot").map_or(&[][..], |snapshot| snapshot.list("element")),
    };
    if elements.len() > limits::ELEMENTS {
        return Err(ProfileError::TooLarge { profile: profile.to_owned(), limit: limits::ELEMENTS });
    }
    let mut place = Place::default();
    for element in elements.iter().filter_map(Value::as_object) {
        let malformed = |fault| ProfileError::Malformed {
            profile: profile.to_owned(),
            element: element.str("id").or_else(|| element.str("path")).unwrap_or("an element").to_owned(),
            fault,
        };
        let steps = place.steps(element).ok_or_else(|| malformed("has no path"))?;
        if steps.len() > limits::DEPTH {
            return Err(malformed("has too long a path"));
        }
        let mut constraints = &mut *root;
        for step in &steps {
            if !step.name.is_empty() {
                constraints = constraints.child_mut(&step.name);
            }
            if let Some(slice) = &step.slice {
                constraints = constraints.slice_mut(slice);
            }
        }
        apply(constraints, element).map_err(malformed)?;
    }
    Ok(())
}

fn apply(constraints: &mut Constraints, element: &Object) -> Result<(), &'static str> {
    if let Some(min) = element.get("min") {
        let min = integer(min).and_then(|min| u32::try_from(min).ok()).ok_or("min is no number")?;
        constraints.min = constraints.min.max(min);
    }
    match element.str("max") {
        None | Some("*") => {}
        Some(max) => {
            let max = max.parse().map_err(|_| "max is no number")?;
            constraints.max = Some(constraints.max.map_or(max, |known| known.min(max)));
        }
    }
    let types = element.list("type");
    if !types.is_empty() {
        constraints.types = types.iter().filter_map(type_constraint).collect();
    }
    for (name, value) in element.iter() {
        if name.starts_with("fixed") {
            constraints.fixed = Some(value.clone());
        } else if name.starts_with("pattern") {
            constraints.pattern = Some(value.clone());
        } else if UNSUPPORTED.iter().any(|facet| name.starts_with(facet)) {
            constraints.problems.push(Problem::warning(format!("{name} of the profile is not checked")));
        }
    }
    if let Some(length) = element.get("maxLength") {
        let length = integer(length).and_then(|length| usize::try_from(length).ok()).ok_or("maxLength is no number")?;
        constraints.max_length = Some(constraints.max_length.map_or(length, |known| known.min(length)));
    }
    if let Some(binding) = element.get("binding").filter(|binding| binding.str("strength") == Some("required"))
        && let Some(value_set) = binding.str("valueSet")
    {
        constraints.binding = Some(RequiredBinding { value_set: value_set.to_owned(), codes: None });
    }
    for constraint in element.list("constraint") {
        add_invariant(constraints, constraint);
    }
    if let Some(slicing) = element.get("slicing") {
        constraints.slicing = Some(merged_slicing(constraints.slicing.take(), slicing)?);
    }
    Ok(())
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

fn type_constraint(type_: &Value) -> Option<TypeConstraint> {
    let code = type_.str("code")?;
    // Snapshots type ids and primitive values by FHIRPath system types, which limit nothing.
    if code.starts_with("http://hl7.org/fhirpath/") {
        return None;
    }
    let link = |canonical: &str| ProfileLink { canonical: canonical.to_owned(), profile: None, reason: None };
    let target = |canonical: &str| Target { canonical: canonical.to_owned(), type_name: None };
    Some(TypeConstraint {
        code: code.to_owned(),
        profiles: type_.list("profile").iter().filter_map(Value::as_str).map(link).collect(),
        targets: type_.list("targetProfile").iter().filter_map(Value::as_str).map(target).collect(),
    })
}

fn add_invariant(constraints: &mut Constraints, constraint: &Value) {
    // Snapshots repeat the invariants of R4, which the base check evaluates from the tables.
    if constraint.str("source").is_some_and(|source| super::core_type(source).is_some()) {
        return;
    }
    let key = constraint.str("key").unwrap_or_default();
    let expression = match constraint.str("expression") {
        Some(text) => Expression::compile(text).map_err(|error| error.to_string()),
        None => Err("it has no expression".to_owned()),
    };
    constraints.invariants.retain(|known| known.key != key);
    constraints.invariants.push(Invariant {
        key: key.to_owned(),
        is_error: constraint.str("severity") != Some("warning"),
        human: constraint.str("human").unwrap_or_default().to_owned(),
        expression,
    });
}

fn merged_slicing(known: Option<Slicing>, slicing: &Value) -> Result<Slicing, &'static str> {
    let rules = match slicing.str("rules") {
        Some("closed") => Rules::Closed,
        Some("openAtEnd") => Rules::OpenAtEnd,
        Some("open") => Rules::Open,
        _ => return Err("slicing has no rules"),
    };
    let mut discriminators: Vec<_> = slicing.list("discriminator").iter().filter_map(discriminator).collect();
    let mut rules = rules;
    if let Some(known) = known {
        // A derived profile repeats the slicing of its base, or may close it further.
        if discriminators.is_empty() {
            discriminators = known.discriminators;
        }
        rules = match (known.rules, rules) {
            (Rules::Closed, _) | (_, Rules::Closed) => Rules::Closed,
            (Rules::OpenAtEnd, _) | (_, Rules::OpenAtEnd) => Rules::OpenAtEnd,
            _ => Rules::Open,
        };
    }
    let is_ordered = slicing.get("ordered").and_then(Value::as_bool) == Some(true);
    Ok(Slicing { discriminators, rules, is_ordered })
}

fn discriminator(discriminator: &Value) -> Option<Discriminator> {
    let path = discriminator.str("path")?;
    let kind = match discriminator.str("type") {
        Some("value" | "pattern") => DiscriminatorKind::Value,
        Some("exists") => DiscriminatorKind::Exists,
        Some("type") => DiscriminatorKind::Type,
        _ => DiscriminatorKind::Unsupported,
    };
    let expression = Expression::compile(path).map_err(|error| error.to_string());
    Some(Discriminator { kind, path: path.to_owned(), expression })
}
