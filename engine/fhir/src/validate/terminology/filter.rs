//! Filters of value sets, on code systems that are stored completely.
//!
//! The hierarchy is that of nested concepts, and of the property `parent` where a code system uses it. A code belongs to
//! the selection if every filter takes it.

use std::collections::{HashMap, HashSet};

use crate::{Resource, Value};

/// A concept with the codes directly above it.
struct Concept<'r> {
    concept: &'r Value,
    parents: Vec<&'r str>,
}

/// The codes that all filters take; the filter that cannot be applied otherwise.
pub(super) fn select(code_system: &Resource, filters: &[Value]) -> Result<HashSet<String>, String> {
    let concepts = &concepts(code_system);
    let mut selected: HashSet<&str> = concepts.keys().copied().collect();
    for filter in filters {
        let wanted = filter.str("value").unwrap_or_default();
        let (property, operation) = (filter.str("property").unwrap_or_default(), filter.str("op").unwrap_or_default());
        let is_code = matches!(property, "concept" | "code");
        let takes: Box<dyn Fn(&str) -> bool> = match operation {
            "is-a" if is_code => Box::new(|code| is_below(concepts, code, wanted) || code == wanted),
            "descendent-of" if is_code => Box::new(|code| is_below(concepts, code, wanted)),
            "is-not-a" if is_code => Box::new(|code| !is_below(concepts, code, wanted) && code != wanted),
            "generalizes" if is_code => Box::new(|code| is_below(concepts, wanted, code) || code == wanted),
            "=" if is_code => Box::new(|code| code == wanted),
            "in" if is_code => Box::new(|code| wanted.split(',').any(|one| one.trim() == code)),
            "not-in" if is_code => Box::new(|code| !wanted.split(',').any(|one| one.trim() == code)),
            "=" if property == "parent" => {
                Box::new(|code| concepts.get(code).is_some_and(|concept| concept.parents.contains(&wanted)))
            }
            "=" | "exists" if !is_defined(code_system, concepts, property) => {
                return Err(format!("property {property}, which the code system does not have"));
            }
            "=" => Box::new(|code| values(concepts, code, property).any(|value| value == wanted)),
            "exists" => {
                let exists = wanted == "true";
                Box::new(move |code| values(concepts, code, property).next().is_some() == exists)
            }
            _ => return Err(format!("filter {property} {operation} {wanted}")),
        };
        selected.retain(|code| takes(code));
    }
    Ok(selected.into_iter().map(str::to_owned).collect())
}

/// Whether the code system says anything about the property; what it does not know cannot select its codes.
fn is_defined(code_system: &Resource, concepts: &HashMap<&str, Concept<'_>>, property: &str) -> bool {
    let is_it = |known: &Value| known.str("code") == Some(property);
    code_system.list("property").iter().any(is_it)
        || concepts.values().any(|concept| concept.concept.list("property").iter().any(is_it))
}

fn concepts(code_system: &Resource) -> HashMap<&str, Concept<'_>> {
    let mut found: HashMap<&str, Concept<'_>> = HashMap::new();
    let mut waiting: Vec<(&Value, Option<&str>)> =
        code_system.list("concept").iter().map(|concept| (concept, None)).collect();
    while let Some((concept, parent)) = waiting.pop() {
        let Some(code) = concept.str("code") else { continue };
        waiting.extend(concept.list("concept").iter().map(|child| (child, Some(code))));
        let named = concept.list("property").iter().filter(|property| property.str("code") == Some("parent"));
        let parents = parent.into_iter().chain(named.filter_map(|property| property.str("valueCode")));
        found.entry(code).or_insert_with(|| Concept { concept, parents: Vec::new() }).parents.extend(parents);
    }
    found
}

/// Whether the code stands somewhere below the other. Circles of `parent` end where they began.
fn is_below(concepts: &HashMap<&str, Concept<'_>>, code: &str, other: &str) -> bool {
    let mut seen = HashSet::new();
    let mut waiting: Vec<&str> = concepts.get(code).map_or_else(Vec::new, |concept| concept.parents.clone());
    while let Some(parent) = waiting.pop() {
        if parent == other {
            return true;
        }
        if seen.insert(parent) {
            waiting.extend(concepts.get(parent).into_iter().flat_map(|concept| &concept.parents));
        }
    }
    false
}

/// The values of a property of the concept, as texts.
fn values<'c>(
    concepts: &'c HashMap<&str, Concept<'_>>,
    code: &str,
    property: &'c str,
) -> impl Iterator<Item = String> + use<'c> {
    let properties = concepts.get(code).map_or(&[][..], |concept| concept.concept.list("property"));
    properties.iter().filter(move |known| known.str("code") == Some(property)).filter_map(|known| {
        let (_, value) = known.as_object()?.iter().find(|(name, _)| name.starts_with("value"))?;
        Some(match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Object(coding) => coding.str("code")?.to_owned(),
            Value::Null | Value::Array(_) => return None,
        })
    })
}
