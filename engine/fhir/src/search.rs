//! Search: one table of parameters that parses queries, makes index entries, and evaluates a query on a resource.
//!
//! ```text
//! raw query --parse_query--> Query { filters: FilterValue.. } --store--> SQL over index rows
//! resource  --extract------> IndexEntry { parameter, IndexValue }  --store--> index rows
//! Query + Resource --matches--> bool        Subscription criteria, and the judge in the store's tests
//! ```
//!
//! The meaning of every [`FilterValue`] on every [`IndexValue`] is defined once, in [`FilterValue::matches`]; SQL has to
//! say the same. What the parameters mean is `fhir-api.md` section 2. An unknown or unreadable parameter never makes a
//! query fail here: it is left out and listed in [`Query::errors`], and the endpoint decides between strict (400) and
//! lenient (a warning beside a wider result).

mod echo;
mod extract;
mod matches;
mod parameters;
mod parse;
mod value;

pub use echo::{Link, Relation};
pub use extract::{IndexEntry, IndexValue, extract, extract_in};
pub use matches::{matches, matches_in};
pub use parameters::{
    IncludeRule, Kind, Modifier, SearchParameter, common_parameters, find, include_rules, parameters, revinclude_rules,
};
pub use parse::{Context, parse_query, parse_query_in};
pub use value::{FilterValue, Prefix, ReferenceFilter, StringComparison, TokenFilter};

use std::fmt;

use crate::ResourceType;

/// A search that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The type that is searched.
    pub resource_type: ResourceType,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// The order of the result; empty is any order that is the same on every page.
    pub sort: Vec<SortKey>,
    /// References to follow from the matches.
    pub include: Vec<Include>,
    /// References to follow to the matches.
    pub revinclude: Vec<Include>,
    /// The page, from 1; 0 asks only for the total.
    pub page: u32,
    /// The matches on a page; 0 asks only for the total.
    pub count: u32,
    /// `_summary`, if it has a value that is known.
    pub summary: Option<Summary>,
    /// `_format` as sent.
    pub format: Option<String>,
    /// Whether `_pretty` is exactly `true`.
    pub pretty: bool,
    /// What was left out.
    pub errors: Vec<QueryError>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The parameter.
    pub parameter: &'static SearchParameter,
    /// The modifier, already applied to `value` except [`Modifier::Not`].
    pub modifier: Option<Modifier>,
    /// What is looked for.
    pub value: FilterValue,
    /// The value as links repeat it: as sent, dates with their prefix.
    pub echo: String,
}

/// One key of `_sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The parameter.
    pub parameter: &'static SearchParameter,
    /// The direction.
    pub direction: Direction,
}

/// A direction of sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first (`-`).
    Descending,
}

/// One `_include` or `_revinclude`: the resources on the other end of `parameter`, a reference parameter of `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// The type that holds the reference.
    pub source: ResourceType,
    /// The parameter of `source`.
    pub parameter: &'static SearchParameter,
    /// The types on the other end that are wanted.
    pub targets: Vec<ResourceType>,
    /// As sent.
    pub text: String,
}

/// `_summary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// Elements marked as summary.
    True,
    /// Narrative, id, meta and mandatory elements.
    Text,
    /// Everything but the narrative.
    Data,
    /// The total alone.
    Count,
    /// Everything.
    False,
}

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The type has no such parameter, or it has no such modifier.
    UnsupportedParameter,
    /// It may not be repeated.
    UnsupportedNumberOfValues,
    /// The value is not one.
    UnparsableValue,
    /// The query is longer than may be: refused also by lenient handling, because dropping conditions only widens it.
    TooLong,
}

/// A parameter that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The name as sent, with modifier.
    pub parameter: String,
    /// What is wrong.
    pub kind: QueryErrorKind,
    /// A text for people.
    pub message: String,
}

// === impl Query ===

impl Query {
    /// Whether only the total is asked for.
    #[must_use]
    pub const fn is_count_only(&self) -> bool {
        self.page == 0 || self.count == 0 || matches!(self.summary, Some(Summary::Count))
    }

    /// The matches before the page.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        (self.page.saturating_sub(1) as u64) * (self.count as u64)
    }

    /// Whether the page lies behind the last match, so that it has no entries.
    #[must_use]
    pub const fn is_past_end(&self, total: u64) -> bool {
        self.is_count_only() || self.offset() >= total
    }

    /// All errors in one text for an OperationOutcome; `None` if there are none.
    #[must_use]
    pub fn diagnostics(&self) -> Option<String> {
        let texts: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Whether even lenient handling refuses the query.
    #[must_use]
    pub fn must_be_refused(&self) -> bool {
        self.errors.iter().any(|error| error.kind == QueryErrorKind::TooLong)
    }
}

// === impl Filter ===

impl Filter {
    /// Whether resources are wanted of which no entry matches.
    #[must_use]
    pub const fn is_negated(&self) -> bool {
        matches!(self.modifier, Some(Modifier::Not))
    }

    /// The name as it stands in a query.
    #[must_use]
    pub fn name(&self) -> String {
        match self.modifier {
            Some(modifier) => format!("{}:{}", self.parameter.name, modifier.as_str()),
            None => self.parameter.name.to_owned(),
        }
    }
}

// === impl Summary ===

impl Summary {
    /// The value as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Text => "text",
            Self::Data => "data",
            Self::Count => "count",
            Self::False => "false",
        }
    }

    /// Reads the value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::True, Self::Text, Self::Data, Self::Count, Self::False]
            .into_iter()
            .find(|summary| summary.as_str() == text)
    }
}

// === impl QueryError ===

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter: {}, error: {}, message: '{}'", self.parameter, self.kind.as_str(), self.message)
    }
}

impl QueryErrorKind {
    /// The name that the reference uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedParameter => "UNSUPPORTED_PARAMETER",
            Self::UnsupportedNumberOfValues => "UNSUPPORTED_NUMBER_OF_VALUES",
            Self::UnparsableValue => "UNPARSABLE_VALUE",
            Self::TooLong => "TOO_LONG",
        }
    }
}

#[cfg(test)]
mod tests;
