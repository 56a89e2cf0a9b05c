//! What a store has to index of a resource, so that every filter can be answered.

use super::parameters::{Kind, SearchParameter, common_parameters, parameters};
use super::parse::Context;
use super::value::fold;
use crate::date;
use crate::reference::Reference;
use crate::{Canonical, Object, Resource, Value};

/// One value of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The name of the parameter.
    pub parameter: &'static str,
    /// The value.
    pub value: IndexValue,
}

/// A value as filters compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexValue {
    /// A code, identifier or boolean (`true`, `false`).
    Token {
        /// The system, if there is one.
        system: Option<String>,
        /// The code or the identifier's value; empty if there is only a system.
        code: String,
    },
    /// A text.
    String {
        /// In lower case.
        folded: String,
        /// As it stands.
        exact: String,
    },
    /// A URI.
    Uri {
        /// As it stands (an entry of `meta.profile` with its `|version`).
        uri: String,
        /// Of `url` the `version` of the resource.
        version: Option<String>,
    },
    /// The instants from `low` up to but not including `high`, in milliseconds since 1970.
    Date {
        /// The first instant.
        low: i64,
        /// Behind the last instant.
        high: i64,
    },
    /// A reference; at least one of `id`, `url` and `identifier` is there.
    Reference {
        /// The type of a literal reference, otherwise `Reference.type`.
        type_name: Option<String>,
        /// The id of a literal reference.
        id: Option<String>,
        /// The version that a literal reference names.
        version: Option<String>,
        /// An absolute reference to another server.
        url: Option<String>,
        /// System and value of `Reference.identifier`.
        identifier: Option<(Option<String>, String)>,
    },
    /// A canonical reference.
    Canonical {
        /// As it stands, `url|version`; filters compare its beginning.
        text: String,
        /// The URL, for includes.
        url: String,
        /// The version, for includes.
        version: Option<String>,
    },
}

/// The entries of a resource in the default context; see [`extract_in`].
#[must_use]
pub fn extract(resource: &Resource) -> Vec<IndexEntry> {
    extract_in(&Context::default(), resource)
}

/// The entries of a resource for every parameter of its type but `_id` and `_lastUpdated`, which a store keeps beside the
/// resource. A value that is not of its type gives no entry.
#[must_use]
pub fn extract_in(context: &Context<'_>, resource: &Resource) -> Vec<IndexEntry> {
    let Some(resource_type) = resource.resource_type() else { return Vec::new() };
    let mut entries = Vec::new();
    for parameter in common_parameters().iter().chain(parameters(resource_type)) {
        if !matches!(parameter.name, "_id" | "_lastUpdated") {
            entries_of(context, resource, parameter, &mut entries);
        }
    }
    entries
}

/// Adds the entries of one parameter.
pub(super) fn entries_of(
    context: &Context<'_>,
    resource: &Resource,
    parameter: &SearchParameter,
    entries: &mut Vec<IndexEntry>,
) {
    let name = parameter.name;
    for path in parameter.paths {
        for_each_at(resource.tree(), path, &mut |value| {
            values(context, resource, parameter.kind, value, &mut |value| {
                entries.push(IndexEntry { parameter: name, value });
            });
        });
    }
}

fn values(context: &Context<'_>, resource: &Resource, kind: Kind, value: &Value, add: &mut dyn FnMut(IndexValue)) {
    match (kind, value) {
        (Kind::Code, Value::String(code)) => add(IndexValue::Token { system: None, code: code.clone() }),
        (Kind::Boolean, Value::Bool(flag)) => add(IndexValue::Token { system: None, code: flag.to_string() }),
        (Kind::Concept, concept) => {
            for coding in concept.list("coding") {
                token(coding, "code", add);
            }
        }
        (Kind::Identifier, identifier) => token(identifier, "value", add),
        (Kind::String, Value::String(text)) => {
            add(IndexValue::String { folded: fold(text), exact: text.clone() });
        }
        (Kind::Uri, Value::String(uri)) => add(IndexValue::Uri { uri: uri.clone(), version: None }),
        (Kind::CanonicalUrl, Value::String(uri)) => {
            add(IndexValue::Uri { uri: uri.clone(), version: resource.str("version").map(str::to_owned) });
        }
        (Kind::Date, Value::String(text)) => {
            if let Some(parsed) = date::parse(text, context.zone) {
                add(IndexValue::Date { low: parsed.interval.low, high: parsed.interval.high });
            }
        }
        (Kind::Reference, Value::Object(element)) => {
            if let Some(entry) = reference(context, element) {
                add(entry);
            }
        }
        (Kind::Canonical, Value::String(text)) => {
            if let Some(Canonical { url, version }) = Canonical::parse(text) {
                add(IndexValue::Canonical { text: text.clone(), url, version });
            }
        }
        _ => {}
    }
}

fn token(element: &Value, code: &str, add: &mut dyn FnMut(IndexValue)) {
    let (system, code) = (element.str("system"), element.str(code));
    if system.is_some() || code.is_some() {
        add(IndexValue::Token { system: system.map(str::to_owned), code: code.unwrap_or_default().to_owned() });
    }
}

fn reference(context: &Context<'_>, element: &Object) -> Option<IndexValue> {
    let identifier = element.get("identifier").and_then(|identifier| {
        let value = identifier.str("value")?.to_owned();
        Some((identifier.str("system").map(str::to_owned), value))
    });
    let literal = element.str("reference").map(Reference::parse_literal);
    let literal = match (literal, context.base) {
        (Some(literal), Some(base)) => Some(literal.relative_to(base)),
        (literal, _) => literal,
    };
    let named_type = || element.str("type").map(str::to_owned);
    match literal {
        Some(Reference::Literal(literal)) => Some(IndexValue::Reference {
            type_name: Some(literal.type_name),
            id: Some(literal.id),
            version: literal.version,
            url: None,
            identifier,
        }),
        Some(Reference::Absolute(url)) => {
            Some(IndexValue::Reference { type_name: named_type(), id: None, version: None, url: Some(url), identifier })
        }
        _ => identifier.map(|identifier| IndexValue::Reference {
            type_name: named_type(),
            id: None,
            version: None,
            url: None,
            identifier: Some(identifier),
        }),
    }
}

/// Calls `visit` with every value at the dotted path; arrays are entered.
fn for_each_at(object: &Object, path: &str, visit: &mut dyn FnMut(&Value)) {
    let (segment, rest) = path.split_once('.').map_or((path, None), |(segment, rest)| (segment, Some(rest)));
    let (name, condition) = match segment.strip_suffix(')').and_then(|segment| segment.split_once('(')) {
        Some((name, condition)) => (name, condition.split_once('=')),
        None => (segment, None),
    };
    let Some(value) = object.get(name) else { return };
    let elements = match value {
        Value::Array(elements) => elements.as_slice(),
        value => std::slice::from_ref(value),
    };
    for element in elements {
        if condition.is_some_and(|(member, wanted)| element.str(member) != Some(wanted)) {
            continue;
        }
        match (rest, element) {
            (None, element) => visit(element),
            (Some(rest), Value::Object(object)) => for_each_at(object, rest, visit),
            (Some(_), _) => {}
        }
    }
}
