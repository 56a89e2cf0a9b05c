//! History of a resource, a type or everything (`fhir-api` 1.8).

use fhir::date::{Interval, Zone, from_milliseconds, milliseconds, parse_instant};
use fhir::{Object, Resource, Value};
use http::StatusCode;
use policies::CanonicalRequest;
use store::{HistoryEntry, HistoryQuery, HistoryScope};
use time::OffsetDateTime;

use super::Session;
use super::search::result_bundle;
use crate::limits;
use crate::negotiate::Summary;
use crate::precondition::etag;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Session<'_, '_> {
    /// A page of the history that the path names, oldest entry first.
    pub(crate) fn history(&mut self, request: &CanonicalRequest, summary: Summary) -> Result<Reply, Refusal> {
        let scope = match (request.resource_type(), request.id()) {
            (None, _) => HistoryScope::System,
            (Some(resource_type), None) => HistoryScope::Type(resource_type),
            (Some(resource_type), Some(id)) => HistoryScope::Instance(resource_type, id.as_str().to_owned()),
        };
        let bounds = Bounds::of(request)?;
        let (page, count) = self.page_of(request);
        let count_only = summary == Summary::Count || page == 0 || count == 0;
        let query = HistoryQuery {
            scope,
            from: bounds.low.and_then(from_milliseconds),
            before: bounds.high.and_then(from_milliseconds),
            page: if count_only { 0 } else { page },
            count: if count_only { 0 } else { count },
        };
        let filter = self.shown_filter();
        let found = self.tx.history(&query, &filter)?;
        let links = self.links(request, found.total, query.page, query.count);
        let mut bundle = result_bundle("history", self.tx.now(), found.total, links.into_iter());
        let base_url = &self.shared.base_url;
        let mut entries = Vec::with_capacity(found.entries.len());
        for found in &found.entries {
            let resource = found.resource.as_ref().map(|stored| self.shown(stored)).transpose()?;
            entries.push(entry(found, resource, base_url));
        }
        if !entries.is_empty() {
            bundle.set("entry", entries);
        }
        Ok(Reply::resource(StatusCode::OK, None, bundle))
    }

    /// `_page` and `_count`, by the rules of search.
    fn page_of(&self, request: &CanonicalRequest) -> (u32, u32) {
        let number = |name| request.parameters(name).find_map(|value| value.parse::<i32>().ok());
        let clamp = |value: i32| u32::try_from(value).unwrap_or(0);
        let page = number("_page").map_or(1, clamp);
        let count = number("_count").map_or(self.shared.page_count, clamp);
        if u64::from(page) * u64::from(count) > u64::from(i32::MAX.unsigned_abs()) {
            return (1, self.shared.page_count);
        }
        (page, count.min(limits::PAGE_ENTRIES))
    }

    fn links(&self, request: &CanonicalRequest, total: u64, page: u32, count: u32) -> Vec<(&'static str, String)> {
        let (path, query) = match request.relative_target().split_once('?') {
            Some((path, query)) => (path.to_owned(), query.to_owned()),
            None => (request.relative_target(), String::new()),
        };
        let is_page = |pair: &&str| pair.starts_with("_page=") || pair.starts_with("_count=");
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_page(pair)).collect();
        let url = |tail: String| {
            let separator = if kept.is_empty() { "" } else { "&" };
            format!("{}/{path}?{}{separator}{tail}", self.shared.base_url, kept.join("&"))
        };
        let page_url = |page: u64| url(format!("_count={count}&_page={page}"));
        let (page, size) = (u64::from(page), u64::from(count));
        if page == 0 || size == 0 || (page - 1) * size >= total {
            return vec![("self", url("_count=0".to_owned()))];
        }
        let last = total.div_ceil(size);
        let mut links = vec![("self", page_url(page)), ("first", page_url(1))];
        if page > 1 {
            links.push(("previous", page_url(page - 1)));
        }
        if page < last {
            links.push(("next", page_url(page + 1)));
        }
        links.push(("last", page_url(last)));
        links
    }
}

/// Milliseconds from `low` up to but not including `high`.
#[derive(Debug, Default)]
struct Bounds {
    low: Option<i64>,
    high: Option<i64>,
}

impl Bounds {
    fn of(request: &CanonicalRequest) -> Result<Self, Refusal> {
        let mut bounds = Self::default();
        for value in request.parameters("_since").filter(|value| !value.trim().is_empty()) {
            let since: OffsetDateTime =
                parse_instant(&value.replace(' ', "+")).ok_or_else(|| Refusal::bad_request("_since is no instant"))?;
            bounds.from(milliseconds(since));
        }
        for value in request.parameters("_at").filter(|value| !value.trim().is_empty()) {
            bounds.at(value).ok_or_else(|| Refusal::bad_request("_at is no date"))?;
        }
        Ok(bounds)
    }

    fn at(&mut self, value: &str) -> Option<()> {
        let prefix = value.get(..2).filter(|prefix| prefix.bytes().all(|byte| byte.is_ascii_lowercase()));
        let date = value.get(prefix.map_or(0, str::len)..)?.replace(' ', "+");
        let Interval { low, high } = fhir::date::parse(&date, Zone::default())?.interval;
        match prefix.unwrap_or("eq") {
            "eq" => {
                self.from(low);
                self.before(high);
            }
            "gt" => self.from(high),
            "ge" => self.from(low),
            "lt" => self.before(low),
            "le" => self.before(high),
            _ => return None,
        }
        Some(())
    }

    fn from(&mut self, low: i64) {
        self.low = Some(self.low.map_or(low, |known| known.max(low)));
    }

    fn before(&mut self, high: i64) {
        self.high = Some(self.high.map_or(high, |known| known.min(high)));
    }
}

fn entry(found: &HistoryEntry, resource: Option<Resource>, base_url: &str) -> Value {
    let type_name = found.resource_type.as_str();
    let versioned = format!("{type_name}/{}/_history/{}", found.id, found.version);
    let (method, url, status) = match (&found.resource, found.version) {
        (None, _) => ("DELETE", versioned.clone(), "200 OK"),
        (Some(_), 1) => ("POST", type_name.to_owned(), "201 Created"),
        (Some(_), _) => ("PUT", type_name.to_owned(), "200 OK"),
    };
    let mut entry = Object::new().with("fullUrl", format!("{base_url}/{type_name}/{}", found.id));
    if let Some(resource) = resource {
        entry.set("resource", resource.into_tree());
    }
    entry.set("request", Object::new().with("method", method).with("url", url));
    entry.set(
        "response",
        Object::new()
            .with("status", status)
            .with("location", format!("{base_url}/{versioned}"))
            .with("etag", etag(found.version))
            .with("lastModified", fhir::date::format_instant(found.last_updated)),
    );
    Value::Object(entry)
}
