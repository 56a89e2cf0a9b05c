//! References between resources: what they say, where they stand, and changing them in place.
//!
//! [`collect`] finds them by the tables of R4, so references in extensions, in `Task.input` and in backbone elements of any
//! depth are found without a list per type. Resources inside a resource (`contained`, Bundle entries) are not entered:
//! they are judged on their own.

use std::fmt;

use crate::{Canonical, Object, Resource, ResourceType, Value};

mod walk;

pub use walk::{FoundReference, Place, collect, for_each_reference_mut};

/// What a reference points to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `Type/id` or `Type/id/_history/version`.
    Literal(Literal),
    /// An absolute `http(s)` URL.
    Absolute(String),
    /// `urn:uuid:…`, the `fullUrl` of an entry of the same Bundle.
    Temporary(String),
    /// `Type?query`, to be resolved when the Bundle is processed.
    Conditional {
        /// The type to search.
        type_name: String,
        /// The query without `?`.
        query: String,
    },
    /// `#id`, a contained resource.
    Contained(String),
    /// A type and an identifier, no literal reference.
    Logical(Logical),
    /// A canonical reference.
    Canonical(Canonical),
    /// Anything else.
    Unknown(String),
}

/// A relative literal reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal {
    /// The type as written; not necessarily one that the endpoint serves.
    pub type_name: String,
    /// The logical id.
    pub id: String,
    /// The version, if one is named.
    pub version: Option<String>,
}

/// A reference by business identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Logical {
    /// `Reference.type`.
    pub type_name: String,
    /// `Reference.identifier.system`.
    pub system: String,
    /// `Reference.identifier.value`.
    pub value: String,
}

// === impl Reference ===

impl Reference {
    /// Reads a `Reference` element: its literal if it has one, otherwise its identifier.
    #[must_use]
    pub fn parse(element: &Object) -> Self {
        if let Some(literal) = element.str("reference") {
            return Self::parse_literal(literal);
        }
        let identifier = element.get("identifier");
        let part = |name| identifier.and_then(|identifier| identifier.str(name)).filter(|text| !text.is_empty());
        match (element.str("type"), part("system"), part("value")) {
            (Some(type_name), Some(system), Some(value)) => Self::Logical(Logical {
                type_name: type_name.to_owned(),
                system: system.to_owned(),
                value: value.to_owned(),
            }),
            _ => Self::Unknown(String::new()),
        }
    }

    /// Reads the text of `Reference.reference`.
    #[must_use]
    pub fn parse_literal(text: &str) -> Self {
        if let Some(id) = text.strip_prefix('#') {
            return Self::Contained(id.to_owned());
        }
        if starts_with_ignoring_case(text, "urn:uuid:") {
            return Self::Temporary(text.to_owned());
        }
        if is_http_url(text) {
            return Self::Absolute(text.to_owned());
        }
        if let Some((type_name, query)) = text.split_once('?') {
            return if is_type_name(type_name) {
                Self::Conditional { type_name: type_name.to_owned(), query: query.to_owned() }
            } else {
                Self::Unknown(text.to_owned())
            };
        }
        Literal::parse(text).map_or_else(|| Self::Unknown(text.to_owned()), Self::Literal)
    }

    /// Turns an absolute URL under `base` (no trailing slash) into the literal that it is here.
    #[must_use]
    pub fn relative_to(self, base: &str) -> Self {
        match &self {
            Self::Absolute(url) => url
                .strip_prefix(base)
                .and_then(|rest| rest.strip_prefix('/'))
                .map_or_else(|| self.clone(), Self::parse_literal),
            _ => self,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Absolute(text) | Self::Temporary(text) | Self::Unknown(text) => f.write_str(text),
            Self::Conditional { type_name, query } => write!(f, "{type_name}?{query}"),
            Self::Contained(id) => write!(f, "#{id}"),
            Self::Logical(Logical { type_name, system, value }) => write!(f, "{type_name} {system}|{value}"),
            Self::Canonical(canonical) => canonical.fmt(f),
        }
    }
}

// === impl Literal ===

impl Literal {
    /// A reference to the current version.
    #[must_use]
    pub fn new(resource_type: ResourceType, id: impl Into<String>) -> Self {
        Self { type_name: resource_type.as_str().to_owned(), id: id.into(), version: None }
    }

    /// Reads `Type/id[/_history/version]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut segments = text.split('/');
        let (type_name, id) = (segments.next()?, segments.next()?);
        let version = match (segments.next(), segments.next(), segments.next()) {
            (None, None, None) => None,
            (Some("_history"), Some(version), None) if is_id(version) => Some(version.to_owned()),
            _ => return None,
        };
        (is_type_name(type_name) && is_id(id)).then(|| Self {
            type_name: type_name.to_owned(),
            id: id.to_owned(),
            version,
        })
    }

    /// The type, if the endpoint serves it.
    #[must_use]
    pub fn resource_type(&self) -> Option<ResourceType> {
        self.type_name.parse().ok()
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.type_name, self.id)?;
        match &self.version {
            Some(version) => write!(f, "/_history/{version}"),
            None => Ok(()),
        }
    }
}

/// Removes the literal of every reference that also has an identifier, as every response does (`fhir-api.md` 4.1).
pub fn hide_resolved_literals(resource: &mut Resource) {
    for_each_reference_mut(resource, &mut |_, element| {
        if element.get("identifier").is_some_and(|identifier| !matches!(identifier, Value::Null)) {
            element.remove("reference");
        }
    });
}

/// Whether the text is a FHIR id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn is_type_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_http_url(text: &str) -> bool {
    starts_with_ignoring_case(text, "http://") || starts_with_ignoring_case(text, "https://")
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests;
