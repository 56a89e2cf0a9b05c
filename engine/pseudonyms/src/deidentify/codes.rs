//! Codes, quantities and profiles: what is published stays, what a hospital writes for itself goes.

use fhir::definitions::{BindingStrength, ElementDefinition, definitions};
use fhir::{Object, Value};

use crate::limits;
use crate::rules::Rules;

/// Code system of units.
const UCUM: &str = "http://unitsofmeasure.org";

/// A coding of a listed code system, without the text beside it.
pub(super) fn coding(rules: &Rules, coding: &Object) -> Option<Object> {
    let system = coding.str("system").filter(|system| rules.has_namespace(system))?;
    let code = coding.str("code").filter(|code| is_code(code))?;
    let mut kept = Object::new().with("system", system);
    if let Some(version) = coding.str("version").filter(|version| is_version(version)) {
        kept.set("version", version);
    }
    Some(kept.with("code", code))
}

/// Number, comparator and unit. A number whose unit is not known says nothing and goes with it.
pub(super) fn quantity(rules: &Rules, quantity: &Object) -> Option<Object> {
    let mut kept = Object::new();
    if let Some(value) = quantity.get("value") {
        kept.set("value", matches!(value, Value::Number(_)).then(|| value.clone())?);
    }
    match quantity.str("comparator") {
        Some(comparator) if ["<", "<=", ">=", ">"].contains(&comparator) => kept.set("comparator", comparator),
        Some(_) => return None,
        None if quantity.get("comparator").is_some() => return None,
        None => {}
    }
    match (quantity.get("system"), quantity.get("code"), quantity.get("unit")) {
        (Some(Value::String(system)), Some(Value::String(code)), _) => {
            let is_known = if system == UCUM { is_ucum(code) } else { rules.has_namespace(system) && is_code(code) };
            kept = is_known.then(|| kept.with("system", system.as_str()).with("code", code.as_str()))?;
        }
        (None, None, Some(Value::String(unit))) => {
            kept = rules.has_unit(unit).then(|| kept.with("unit", unit.as_str()))?
        }
        (None, None, None) => {}
        _ => return None,
    }
    Some(kept)
}

/// Profiles; who stored the resource when and with which tags goes.
pub(super) fn meta(rules: &Rules, meta: &Object) -> Option<Object> {
    let profiles =
        meta.list("profile").iter().filter(|profile| profile.as_str().is_some_and(|url| rules.has_namespace(url)));
    let profiles: Vec<Value> = profiles.cloned().collect();
    (!profiles.is_empty()).then(|| Object::new().with("profile", profiles))
}

/// Whether a code is one of a value set that R4 requires and enumerates.
pub(super) fn is_bound(element: &ElementDefinition, code: &str) -> bool {
    let binding = element.binding.as_ref().filter(|binding| binding.strength == BindingStrength::Required);
    let codes = binding.and_then(|binding| definitions().codes(&binding.value_set));
    codes.is_some_and(|codes| codes.contains(code))
}

/// `hh:mm:ss`, with a fraction or not.
pub(super) fn is_time_of_day(text: &str) -> bool {
    text.len() <= 18
        && text.split(':').count() == 3
        && text.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte))
}

/// The name of a part of an extension: a word, not a sentence.
pub(super) fn is_part_name(name: &str) -> bool {
    (1..=48).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

/// Whether a code says why a value is missing.
pub(super) fn is_absence(code: &str) -> bool {
    [
        "unknown",
        "asked-unknown",
        "temp-unknown",
        "not-asked",
        "asked-declined",
        "masked",
        "not-applicable",
        "unsupported",
        "as-text",
        "error",
        "not-a-number",
        "negative-infinity",
        "positive-infinity",
        "not-performed",
        "not-permitted",
    ]
    .contains(&code)
}

/// A code as terminologies have them: no white space, so no sentence.
fn is_code(code: &str) -> bool {
    (1..=limits::CODE_CHARACTERS).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_ucum(code: &str) -> bool {
    (1..=32).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%/.*^()[]{}_+-'\"#".contains(&byte))
}

/// `2024`, `2.77`, or a release of SNOMED CT.
fn is_version(version: &str) -> bool {
    let release = version.strip_prefix("http://snomed.info/sct/").unwrap_or(version).replace("/version/", ".");
    (1..=40).contains(&release.len()) && release.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
