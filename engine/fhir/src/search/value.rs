//! What a filter looks for, how it is read from a query, and what it means on an index entry.

use super::extract::IndexValue;
use super::parameters::{Kind, Modifier, SearchParameter};
use super::parse::Context;
use crate::ResourceType;
use crate::date::{self, Interval, Precision};
use crate::definitions::{BindingStrength, definitions};
use crate::reference::{Literal, Reference, is_id};

/// What a filter looks for. [`FilterValue::matches`] says which index entries it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterValue {
    /// The resource with this id (a UUID in lower case).
    Id(String),
    /// A code, identifier or boolean.
    Token(TokenFilter),
    /// A text.
    String {
        /// As sent.
        text: String,
        /// Lower case, for [`StringComparison::StartsWith`] and [`StringComparison::Contains`].
        folded: String,
        /// How it is compared.
        comparison: StringComparison,
    },
    /// A URI.
    Uri {
        /// The URI, of a canonical URL without version.
        uri: String,
        /// The version that the resource must have.
        version: Option<String>,
        /// Whether `uri` is a beginning.
        below: bool,
    },
    /// A date.
    Date {
        /// The comparison.
        prefix: Prefix,
        /// The instants that the value may mean.
        interval: Interval,
    },
    /// A reference.
    Reference(ReferenceFilter),
    /// A beginning of a canonical reference as written, `url|version`.
    Canonical(String),
}

/// A code in a system, or parts of that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenFilter {
    /// `code`: in any system or none.
    Code(String),
    /// `system|code`
    Coding {
        /// The system.
        system: String,
        /// The code.
        code: String,
    },
    /// `|code`: without system.
    WithoutSystem(String),
    /// `system|`: any code of the system.
    System(String),
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StringComparison {
    /// The folded text starts with the folded value.
    StartsWith,
    /// The texts are the same.
    Exact,
    /// The folded text contains the folded value.
    Contains,
}

/// A comparison of dates: of the interval `v` in the resource with the interval `q` in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// `v` lies within `q`: `v.low >= q.low && v.high <= q.high`
    Eq,
    /// Not `Eq`.
    Ne,
    /// `v` reaches beyond `q`: `v.high > q.high`
    Gt,
    /// `v` begins before `q`: `v.low < q.low`
    Lt,
    /// `Gt` or `Eq`.
    Ge,
    /// `Lt` or `Eq`.
    Le,
}

/// The target of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceFilter {
    /// `id`: any target type of the parameter with this id.
    Id(String),
    /// `Type/id`
    Literal(Literal),
    /// An absolute URL.
    Url(String),
    /// `:identifier`: the identifier of the reference, or of the resource that it points to. The second half needs the
    /// target, so only a store can answer it; [`super::matches()`] looks at the first.
    Identifier(TokenFilter),
}

/// A value that is none, with a text for people.
pub(super) struct Unparsable(pub(super) String);

// === impl FilterValue ===

impl FilterValue {
    /// Reads a value; also gives the text by which links repeat it.
    pub(super) fn parse(
        context: &Context<'_>,
        resource_type: ResourceType,
        parameter: &SearchParameter,
        modifier: Option<Modifier>,
        text: &str,
    ) -> Result<(Self, String), Unparsable> {
        let as_sent = |value| Ok((value, text.to_owned()));
        match parameter.kind {
            Kind::Id if is_uuid(text) => as_sent(Self::Id(text.to_ascii_lowercase())),
            Kind::Id => Err(Unparsable(format!("'{text}' is not a UUID"))),
            Kind::Code => as_sent(Self::Token(parse_code(resource_type, parameter, text)?)),
            Kind::Concept | Kind::Identifier => as_sent(Self::Token(TokenFilter::parse(text)?)),
            Kind::Boolean if matches!(text, "true" | "false") => {
                as_sent(Self::Token(TokenFilter::Code(text.to_owned())))
            }
            Kind::Boolean => Err(Unparsable(format!("'{text}' is neither true nor false"))),
            Kind::String => {
                let comparison = match modifier {
                    Some(Modifier::Exact) => StringComparison::Exact,
                    Some(Modifier::Contains) => StringComparison::Contains,
                    _ => StringComparison::StartsWith,
                };
                as_sent(Self::String { text: text.to_owned(), folded: fold(text), comparison })
            }
            Kind::Uri => {
                as_sent(Self::Uri { uri: text.to_owned(), version: None, below: modifier == Some(Modifier::Below) })
            }
            Kind::CanonicalUrl => {
                let (uri, version) = match text.split_once('|') {
                    Some((uri, version)) => (uri, Some(version.to_owned()).filter(|version| !version.is_empty())),
                    None => (text, None),
                };
                as_sent(Self::Uri { uri: uri.to_owned(), version, below: modifier == Some(Modifier::Below) })
            }
            Kind::Date => parse_date(context, text),
            Kind::Reference if modifier == Some(Modifier::Identifier) => {
                as_sent(Self::Reference(ReferenceFilter::Identifier(TokenFilter::parse(text)?)))
            }
            Kind::Reference => as_sent(Self::Reference(ReferenceFilter::parse(context, parameter, text)?)),
            Kind::Canonical
                if matches!(Reference::parse_literal(text), Reference::Absolute(_)) || text.starts_with("urn:") =>
            {
                as_sent(Self::Canonical(text.to_owned()))
            }
            Kind::Canonical => Err(Unparsable(format!("'{text}' is not an absolute URL"))),
        }
    }

    /// Whether the entry is one that the filter means; negation is the caller's.
    #[must_use]
    pub fn matches(&self, entry: &IndexValue) -> bool {
        match (self, entry) {
            (Self::Token(filter), IndexValue::Token { system, code }) => filter.matches(system.as_deref(), code),
            (Self::String { text, folded, comparison }, IndexValue::String { folded: entry_folded, exact }) => {
                match comparison {
                    StringComparison::StartsWith => entry_folded.starts_with(folded.as_str()),
                    StringComparison::Exact => exact == text,
                    StringComparison::Contains => entry_folded.contains(folded.as_str()),
                }
            }
            (Self::Uri { uri, version, below }, IndexValue::Uri { uri: entry_uri, version: entry_version }) => {
                let same = if *below { entry_uri.starts_with(uri.as_str()) } else { entry_uri == uri };
                same && (version.is_none() || version == entry_version)
            }
            (Self::Date { prefix, interval }, IndexValue::Date { low, high }) => {
                prefix.holds(Interval { low: *low, high: *high }, *interval)
            }
            (Self::Reference(filter), entry @ IndexValue::Reference { .. }) => filter.matches(entry),
            (Self::Canonical(start), IndexValue::Canonical { text, .. }) => text.starts_with(start.as_str()),
            _ => false,
        }
    }
}

fn parse_code(resource_type: ResourceType, parameter: &SearchParameter, text: &str) -> Result<TokenFilter, Unparsable> {
    if text.contains('|') {
        return Err(Unparsable(format!("'{text}' has a system, only a code is supported")));
    }
    if is_outside_required_codes(resource_type, parameter, text) {
        return Err(Unparsable(format!("'{text}' is not a code of {}", parameter.name)));
    }
    Ok(TokenFilter::Code(text.to_owned()))
}

/// Whether the element has a required binding to enumerated codes, and this is none of them.
fn is_outside_required_codes(resource_type: ResourceType, parameter: &SearchParameter, code: &str) -> bool {
    let codes = parameter.paths.first().and_then(|path| {
        let mut definition = definitions().type_(resource_type.as_str())?;
        let mut binding = None;
        for segment in path.split('.') {
            let child = definition.child(segment)?;
            definition = child.definition;
            binding = child.element.binding.as_ref();
        }
        let binding = binding.filter(|binding| binding.strength == BindingStrength::Required)?;
        definitions().codes(&binding.value_set)
    });
    codes.is_some_and(|codes| !codes.contains(code))
}

fn parse_date(context: &Context<'_>, text: &str) -> Result<(FilterValue, String), Unparsable> {
    let (prefix, rest) = Prefix::split(text);
    // A plus that was not percent-encoded arrives as a blank.
    let rest = rest.replace(' ', "+");
    let parsed = date::parse(&rest, context.zone).ok_or_else(|| Unparsable(format!("'{text}' is not a date")))?;
    if parsed.precision < Precision::Day && prefix != Prefix::Eq {
        return Err(Unparsable(format!("'{text}': a year or month can only be compared with eq")));
    }
    Ok((FilterValue::Date { prefix, interval: parsed.interval }, format!("{}{rest}", prefix.as_str())))
}

// === impl TokenFilter ===

impl TokenFilter {
    /// Reads `code`, `system|code`, `|code` or `system|`.
    fn parse(text: &str) -> Result<Self, Unparsable> {
        match text.split_once('|') {
            None => Ok(Self::Code(text.to_owned())),
            Some(("", "")) => Err(Unparsable("neither system nor code".to_owned())),
            Some(("", code)) => Ok(Self::WithoutSystem(code.to_owned())),
            Some((system, "")) => Ok(Self::System(system.to_owned())),
            Some((system, code)) => Ok(Self::Coding { system: system.to_owned(), code: code.to_owned() }),
        }
    }

    /// Whether system and code are meant.
    #[must_use]
    pub fn matches(&self, system: Option<&str>, code: &str) -> bool {
        match self {
            Self::Code(wanted) => wanted == code,
            Self::Coding { system: wanted_system, code: wanted } => system == Some(wanted_system) && wanted == code,
            Self::WithoutSystem(wanted) => system.is_none() && wanted == code,
            Self::System(wanted) => system == Some(wanted),
        }
    }
}

// === impl Prefix ===

impl Prefix {
    const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Gt, Self::Lt, Self::Ge, Self::Le];

    /// The prefix as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Lt => "lt",
            Self::Ge => "ge",
            Self::Le => "le",
        }
    }

    fn split(text: &str) -> (Self, &str) {
        Self::ALL
            .into_iter()
            .find_map(|prefix| text.strip_prefix(prefix.as_str()).map(|rest| (prefix, rest)))
            .unwrap_or((Self::Eq, text))
    }

    /// Whether the comparison holds between the interval in the resource and the one in the query.
    #[must_use]
    pub const fn holds(self, value: Interval, query: Interval) -> bool {
        match self {
            Self::Eq => value.is_within(query),
            Self::Ne => !value.is_within(query),
            Self::Gt => value.high > query.high,
            Self::Lt => value.low < query.low,
            Self::Ge => value.high > query.high || value.is_within(query),
            Self::Le => value.low < query.low || value.is_within(query),
        }
    }
}

// === impl ReferenceFilter ===

impl ReferenceFilter {
    fn parse(context: &Context<'_>, parameter: &SearchParameter, text: &str) -> Result<Self, Unparsable> {
        if is_id(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        let reference = Reference::parse_literal(text);
        let reference = match context.base {
            Some(base) => reference.relative_to(base),
            None => reference,
        };
        match reference {
            Reference::Absolute(url) => Ok(Self::Url(url)),
            Reference::Literal(literal) if literal.version.is_none() => {
                match literal.resource_type().filter(|type_| parameter.targets.contains(type_)) {
                    Some(_) => Ok(Self::Literal(literal)),
                    None => Err(Unparsable(format!("{} does not refer to {}", parameter.name, literal.type_name))),
                }
            }
            _ => Err(Unparsable(format!("'{text}' is neither id, Type/id nor absolute URL"))),
        }
    }

    fn matches(&self, entry: &IndexValue) -> bool {
        let IndexValue::Reference { type_name, id, url, identifier, .. } = entry else { return false };
        match self {
            Self::Id(wanted) => id.as_deref() == Some(wanted),
            Self::Literal(wanted) => {
                id.as_deref() == Some(&wanted.id) && type_name.as_deref() == Some(&wanted.type_name)
            }
            Self::Url(wanted) => url.as_deref() == Some(wanted),
            Self::Identifier(wanted) => {
                identifier.as_ref().is_some_and(|(system, value)| wanted.matches(system.as_deref(), value))
            }
        }
    }
}

/// How texts are made equal for comparison without regard to case.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// `8-4-4-4-12` hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut groups = text.split('-');
    lengths.iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == *length && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }) && groups.next().is_none()
}
