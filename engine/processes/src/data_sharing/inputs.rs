//! Inputs and outputs of the Tasks.

use fhir::{Object, Resource, Value};

use super::{BASE, SYSTEM};
use crate::{task, terms};

const CORRELATION_KEY: &str = "correlation-key";
const OUTCOME_SITE: &str = "outcome-site";

/// A string, URL, code, instant or base64 of an input.
pub(super) fn text<'t>(task: &'t Resource, code: &str) -> Option<&'t str> {
    let input = task::input(task, SYSTEM, code)?;
    let names = ["valueString", "valueUrl", "valueCode", "valueInstant", "valueBase64Binary"];
    names.into_iter().find_map(|name| input.str(name)).filter(|text| !text.is_empty())
}

/// A count of an input.
pub(super) fn count(task: &Resource, code: &str) -> Option<u64> {
    match task::input(task, SYSTEM, code)?.get("valueUnsignedInt")? {
        Value::Number(number) => u64::try_from(number.as_i64()?).ok(),
        _ => None,
    }
}

/// The organisation of an input.
pub(super) fn organization<'t>(task: &'t Resource, code: &str) -> Option<&'t str> {
    organization_of(task::input(task, SYSTEM, code)?.get("valueIdentifier")?)
}

fn organization_of(identifier: &Value) -> Option<&str> {
    if identifier.str("system") == Some(terms::ORGANIZATION_IDENTIFIER) { identifier.str("value") } else { None }
}

/// Organisations of the inputs `site`, each with its correlation key, if it has one.
pub(super) fn sites(task: &Resource) -> Vec<(String, String)> {
    let inputs = of_code(task, "site").filter_map(|input| {
        let organization = organization_of(input.get("valueIdentifier")?)?;
        let key = extension(input, CORRELATION_KEY).and_then(|found| found.str("valueString")).unwrap_or_default();
        Some((organization.to_owned(), key.to_owned()))
    });
    inputs.collect()
}

/// Outcomes of the inputs, by organisation.
pub(super) fn outcomes(task: &Resource) -> Vec<(String, String)> {
    let inputs = of_code(task, "outcome").filter_map(|input| {
        let site = organization_of(extension(input, OUTCOME_SITE)?.get("valueIdentifier")?)?;
        Some((site.to_owned(), input.str("valueCode")?.to_owned()))
    });
    inputs.collect()
}

fn of_code<'t>(task: &'t Resource, code: &'t str) -> impl Iterator<Item = &'t Value> {
    task.list("input").iter().filter(move |input| {
        let codings = input.get("type").map_or(&[][..], |kind| kind.list("coding"));
        codings.iter().any(|coding| coding.str("system") == Some(SYSTEM) && coding.str("code") == Some(code))
    })
}

fn extension<'v>(input: &'v Value, name: &str) -> Option<&'v Value> {
    let url = extension_url(name);
    input.list("extension").iter().find(|extension| extension.str("url") == Some(url.as_str()))
}

fn extension_url(name: &str) -> String {
    format!("{BASE}/fhir/StructureDefinition/{name}")
}

pub(super) fn string(code: &str, value: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueString", value)
}

pub(super) fn url(code: &str, value: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueUrl", value)
}

pub(super) fn code(code: &str, value: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueCode", value)
}

pub(super) fn instant(code: &str, value: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueInstant", value)
}

pub(super) fn base64(code: &str, value: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueBase64Binary", value)
}

pub(super) fn unsigned(code: &str, value: u64) -> Object {
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    task::parameter(SYSTEM, code).with("valueUnsignedInt", i64::from(value))
}

pub(super) fn organization_input(code: &str, organization: &str) -> Object {
    task::parameter(SYSTEM, code).with("valueIdentifier", identifier(organization))
}

pub(super) fn site(organization: &str, key: &str) -> Object {
    let key = Object::new().with("url", extension_url(CORRELATION_KEY)).with("valueString", key);
    with_extension(key, organization_input("site", organization))
}

pub(super) fn outcome(site: &str, outcome: &str) -> Object {
    let site = Object::new().with("url", extension_url(OUTCOME_SITE)).with("valueIdentifier", identifier(site));
    with_extension(site, code("outcome", outcome))
}

fn identifier(organization: &str) -> Object {
    Object::new().with("system", terms::ORGANIZATION_IDENTIFIER).with("value", organization)
}

fn with_extension(extension: Object, parameter: Object) -> Object {
    let mut whole = Object::new().with("extension", vec![extension.into()]);
    for (name, value) in parameter.into_members() {
        whole.set(&name, value);
    }
    whole
}
