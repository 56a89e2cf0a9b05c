//! Evaluates a query on one resource, without a store: for Subscription criteria, and as the judge of the store's SQL.

use super::extract::{IndexValue, entries_of};
use super::parse::Context;
use super::value::FilterValue;
use super::{Filter, Query};
use crate::Resource;
use crate::date::{self, Interval};

/// Whether the resource is a match in the default context; see [`matches_in`].
#[must_use]
pub fn matches(query: &Query, resource: &Resource) -> bool {
    matches_in(&Context::default(), query, resource)
}

/// Whether the resource is of the query's type and all filters hold. Paging, sorting and includes play no part, nor do the
/// errors of the query: who must not widen looks at them first.
#[must_use]
pub fn matches_in(context: &Context<'_>, query: &Query, resource: &Resource) -> bool {
    resource.resource_type() == Some(query.resource_type)
        && query.filters.iter().all(|filter| holds(context, filter, resource))
}

fn holds(context: &Context<'_>, filter: &Filter, resource: &Resource) -> bool {
    if let FilterValue::Id(id) = &filter.value {
        return resource.id() == Some(id.as_str());
    }
    if filter.parameter.name == "_lastUpdated" {
        return last_updated(context, resource)
            .is_some_and(|Interval { low, high }| filter.value.matches(&IndexValue::Date { low, high }));
    }
    let mut entries = Vec::new();
    entries_of(context, resource, filter.parameter, &mut entries);
    entries.iter().any(|entry| filter.value.matches(&entry.value)) != filter.is_negated()
}

fn last_updated(context: &Context<'_>, resource: &Resource) -> Option<Interval> {
    Some(date::parse(resource.get("meta")?.str("lastUpdated")?, context.zone)?.interval)
}
