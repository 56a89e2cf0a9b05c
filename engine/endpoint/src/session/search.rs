//! Search, and the searches inside conditional interactions (`fhir-api` 2, 1.7).

use fhir::outcome::{IssueCode, OperationOutcome};
use fhir::search::{Context, Query, parse_query_in};
use fhir::{Object, Resource, ResourceType, Value};
use policies::policy::UnknownParameters;
use store::{ReadFilter, StoredResource};

use super::Session;
use crate::limits;
use crate::negotiate::Summary;
use crate::refusal::{Refusal, warning};
use crate::reply::Version;

/// A page that was found.
pub(crate) struct Found {
    query: Query,
    total: u64,
    matches: Vec<StoredResource>,
    includes: Vec<StoredResource>,
    /// What of the query was left out, as a text for people.
    left_out: Option<String>,
}

/// Members of a query that say how an answer is written and not what is found.
const STANDARD: &[&str] = &["_sort", "_include", "_revinclude", "_page", "_count", "_format", "_pretty", "_summary"];

impl Session<'_, '_> {
    /// A page of what the caller may read.
    pub(crate) fn search(
        &mut self,
        resource_type: ResourceType,
        raw_query: &str,
        strict: bool,
    ) -> Result<Found, Refusal> {
        let strict = strict || self.caller.policy.search().unknown_parameters == UnknownParameters::Reject;
        let mut query = self.parse_query(resource_type, raw_query);
        let left_out = query.diagnostics();
        if let Some(diagnostics) = left_out.as_ref().filter(|_| strict || query.must_be_refused()) {
            return Err(Refusal::bad_request(diagnostics.as_str()));
        }
        query.count = query.count.min(limits::PAGE_ENTRIES);
        // Rows need the right to read beside the right to search (`fhir-api` 6.3).
        let may_read = self.identity.has_dsf_role(policies::DsfOperation::Read, Some(resource_type));
        let filter = if may_read { self.shown_filter() } else { ReadFilter::nothing() };
        let result = self.tx.search(&query, &filter)?;
        Ok(Found { query, total: result.total, matches: result.matches, includes: result.includes, left_out })
    }

    /// Reads a query as the index was made: with the same zone and base URL.
    fn parse_query(&self, resource_type: ResourceType, raw_query: &str) -> Query {
        let context = Context { default_count: self.shared.page_count, ..self.tx.context().as_context() };
        parse_query_in(&context, resource_type, raw_query)
    }

    /// The one resource that criteria match, whoever may read it.
    pub(crate) fn match_one(
        &mut self,
        resource_type: ResourceType,
        criteria: &str,
    ) -> Result<Option<Version>, Refusal> {
        self.match_filtered(resource_type, criteria, &ReadFilter::everything())
    }

    /// The one resource that criteria match among those that the caller may read.
    pub(crate) fn match_one_readable(
        &mut self,
        resource_type: ResourceType,
        criteria: &str,
    ) -> Result<Option<Version>, Refusal> {
        let filter = self.filter().clone();
        self.match_filtered(resource_type, criteria, &filter)
    }

    /// As the reference for local identities, which may write what they find; others learn nothing of what they may not
    /// read.
    pub(crate) fn match_for_caller(
        &mut self,
        resource_type: ResourceType,
        criteria: &str,
    ) -> Result<Option<Version>, Refusal> {
        if self.identity.is_local() {
            self.match_one(resource_type, criteria)
        } else {
            self.match_one_readable(resource_type, criteria)
        }
    }

    fn match_filtered(
        &mut self,
        resource_type: ResourceType,
        criteria: &str,
        filter: &ReadFilter,
    ) -> Result<Option<Version>, Refusal> {
        if !self.caller.is_internal {
            policies::judge_criteria(&self.caller.policy, criteria)
                .map_err(|denial| Refusal::bad_request(denial.text))?;
        }
        let is_condition = |pair: &&str| !STANDARD.contains(&pair.split(['=', ':']).next().unwrap_or_default());
        let conditions: Vec<&str> = criteria.split('&').filter(|pair| !pair.is_empty()).filter(is_condition).collect();
        let query = self.parse_query(resource_type, &conditions.join("&"));
        if let Some(diagnostics) = query.diagnostics() {
            return Err(Refusal::bad_request(diagnostics));
        }
        // Without a condition every resource of the type would match.
        if query.filters.is_empty() {
            return Err(Refusal::bad_request("Condition without search parameters"));
        }
        let ids = self.tx.search_ids(&query, filter, 2)?;
        match ids.as_slice() {
            [] => Ok(None),
            [id] => match self.tx.current_version(resource_type, id)? {
                Some((version, last_updated)) => {
                    Ok(Some(Version { resource_type, id: id.clone(), version, last_updated }))
                }
                None => Err(Refusal::store("matched resource has no current version")),
            },
            _ => Err(Refusal::multiple_matches(resource_type.as_str())),
        }
    }
}

pub(crate) fn version_of(stored: &StoredResource) -> Version {
    Version {
        resource_type: stored.resource_type,
        id: stored.id.clone(),
        version: stored.version,
        last_updated: stored.last_updated,
    }
}

impl Found {
    /// The warning about what was left out.
    pub(crate) fn outcome(&self) -> Option<Resource> {
        let left_out = self.left_out.as_ref()?;
        OperationOutcome::of([warning(IssueCode::Processing, left_out.as_str())]).map(OperationOutcome::into_resource)
    }

    /// The same page without the warning, as Bundles show it.
    pub(crate) fn without_outcome(mut self) -> Self {
        self.left_out = None;
        self
    }

    /// The only match; the page if it has not exactly one entry.
    pub(crate) fn into_single(mut self) -> Result<StoredResource, Box<Self>> {
        if self.matches.len() != 1 || !self.includes.is_empty() {
            return Err(Box::new(self));
        }
        self.matches.pop().ok_or_else(|| Box::new(self))
    }

    /// The searchset.
    pub(crate) fn into_bundle(self, session: &mut Session<'_, '_>, summary: Summary) -> Result<Resource, Refusal> {
        let base_url = &session.shared.base_url;
        let url = |query: &str| {
            let separator = if query.is_empty() { "" } else { "?" };
            format!("{base_url}/{}{separator}{query}", self.query.resource_type)
        };
        let links = self.query.links(self.total).into_iter().map(|link| (link.relation.as_str(), url(&link.query)));
        let mut bundle = result_bundle("searchset", session.tx.now(), self.total, links);
        let mut entries = Vec::new();
        if summary != Summary::Count && !self.query.is_count_only() {
            let matches = self.matches.iter().map(|found| (found, "match"));
            for (found, mode) in matches.chain(self.includes.iter().map(|found| (found, "include"))) {
                entries.push(entry(found, session.shown(found)?, mode, base_url));
            }
        }
        if let Some(outcome) = self.outcome() {
            let search = Object::new().with("mode", "outcome");
            entries.push(Value::Object(Object::new().with("resource", outcome.into_tree()).with("search", search)));
        }
        if !entries.is_empty() {
            bundle.set("entry", entries);
        }
        Ok(bundle)
    }
}

fn entry(found: &StoredResource, resource: Resource, mode: &str, base_url: &str) -> Value {
    Value::Object(
        Object::new()
            .with("fullUrl", format!("{base_url}/{}/{}", found.resource_type, found.id))
            .with("resource", resource.into_tree())
            .with("search", Object::new().with("mode", mode)),
    )
}

/// The head of a searchset or history.
pub(crate) fn result_bundle(
    kind: &str,
    now: time::OffsetDateTime,
    total: u64,
    links: impl Iterator<Item = (&'static str, String)>,
) -> Resource {
    let mut bundle = Resource::new("Bundle");
    bundle.set("id", uuid::Uuid::new_v4().to_string());
    bundle.set("meta", Object::new().with("lastUpdated", fhir::date::format_instant(now)));
    bundle.set("type", kind);
    bundle.set("timestamp", fhir::date::format_instant(now));
    bundle.set("total", i64::try_from(total).unwrap_or(i64::MAX));
    let links: Vec<Value> =
        links.map(|(relation, url)| Value::Object(Object::new().with("relation", relation).with("url", url))).collect();
    bundle.set("link", links);
    bundle
}
