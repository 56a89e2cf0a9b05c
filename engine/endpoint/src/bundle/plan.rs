//! From a posted Bundle to a list of commands: the entry rules of `fhir-api` 3.1.
//!
//! Every entry goes through the same table of interactions as a request of its own, so an entry can ask for nothing that
//! a request could not. What is wrong with the Bundle as a whole refuses it; what is wrong with one entry is kept in the
//! plan, so that a batch answers it in its place and a transaction fails with it.

use std::sync::Arc;

use fhir::{Object, Resource, ResourceType, Value};
use policies::interaction::Interaction;
use policies::request::CanonicalRequest;
use time::OffsetDateTime;

use crate::conformance::{self, Conformance};
use crate::limits;
use crate::precondition::{Preconditions, parse_etag};
use crate::references::rewrite::is_self_contained;
use crate::refusal::Refusal;
use crate::session::Prepared;

/// How the entries belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each for itself.
    Batch,
    /// All or none.
    Transaction,
}

/// What was posted.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// In the order of the Bundle.
    pub(crate) entries: Vec<Result<Entry, Refusal>>,
}

/// One entry that obeys the rules.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `urn:uuid:…` of an entry that others may refer to.
    pub(crate) temporary_id: Option<String>,
    /// The entry as a request; for a read of a `urn:uuid:` it is known only when that is resolved.
    pub(crate) request: Option<CanonicalRequest>,
    pub(crate) command: Command,
    /// The resource, if it was made ready and validated before the transaction.
    pub(crate) early: Option<Box<Prepared>>,
}

/// What an entry wants.
#[derive(Debug)]
pub(crate) enum Command {
    Create { resource: Resource, if_none_exist: Option<String> },
    Update { resource: Resource, if_match: Option<u64> },
    ConditionalUpdate { resource: Resource, if_match: Option<u64> },
    Delete,
    ConditionalDelete,
    Read { preconditions: Preconditions, head: bool },
    Search,
    ReadTemporary { temporary_id: String, head: bool },
}

impl Kind {
    /// `Bundle.type` of the response.
    pub(crate) const fn response_type(self) -> &'static str {
        match self {
            Self::Batch => "batch-response",
            Self::Transaction => "transaction-response",
        }
    }
}

impl Command {
    /// Order of execution in a transaction: deletes, creates, updates, reads.
    pub(crate) const fn class(&self) -> u8 {
        match self {
            Self::Delete | Self::ConditionalDelete => 0,
            Self::Create { .. } => 1,
            Self::Update { .. } | Self::ConditionalUpdate { .. } => 2,
            Self::Read { .. } | Self::Search | Self::ReadTemporary { .. } => 3,
        }
    }
}

impl Command {
    /// The resource that is sent, and whether it is to replace another.
    pub(crate) const fn resource(&self) -> Option<(&Resource, bool)> {
        match self {
            Self::Create { resource, .. } => Some((resource, false)),
            Self::Update { resource, .. } | Self::ConditionalUpdate { resource, .. } => Some((resource, true)),
            Self::Delete | Self::ConditionalDelete | Self::Read { .. } | Self::Search | Self::ReadTemporary { .. } => {
                None
            }
        }
    }

    /// Whether nothing is written.
    pub(crate) const fn is_read(&self) -> bool {
        self.class() == 3
    }
}

impl Plan {
    /// Takes a Bundle apart.
    pub(crate) fn of(mut bundle: Resource, base_url: &str) -> Result<Self, Refusal> {
        if bundle.type_name() != "Bundle" {
            return Err(Refusal::forbidden("bundle", "body is no Bundle"));
        }
        let kind = match bundle.str("type") {
            Some("batch") => Kind::Batch,
            Some("transaction") => Kind::Transaction,
            _ => return Err(Refusal::forbidden("bundle", "type is neither batch nor transaction")),
        };
        let entries = match bundle.remove("entry") {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(bad_bundle("entry is no list")),
        };
        if entries.len() > limits::BUNDLE_ENTRIES {
            return Err(bad_bundle(&format!("more than {} entries", limits::BUNDLE_ENTRIES)));
        }
        let mut temporary_ids = std::collections::HashSet::new();
        let mut planned = Vec::with_capacity(entries.len());
        for entry in entries {
            let entry = plan_entry(entry, base_url)?;
            if let Ok(Entry { temporary_id: Some(id), .. }) = &entry
                && !temporary_ids.insert(id.clone())
            {
                return Err(bad_bundle("fullUrl occurs twice"));
            }
            planned.push(entry);
        }
        Ok(Self { kind, entries: planned })
    }
}

impl Plan {
    /// Validates what can be validated before the transaction, so that the writer does not wait for it: resources that
    /// refer to no other entry, in Bundles that bring no profiles.
    pub(crate) fn validate_early(&mut self, conformance: &Arc<Conformance>, base_url: &str) {
        let brings_profiles = |entry: &Entry| {
            let resource_type = entry.command.resource().and_then(|(resource, _)| resource.resource_type());
            resource_type.is_some_and(|kind| conformance::TYPES.contains(&kind))
        };
        if self.entries.iter().flatten().any(brings_profiles) {
            return;
        }
        for entry in self.entries.iter_mut().flatten() {
            let Some((resource, _)) = entry.command.resource() else { continue };
            if is_self_contained(resource)
                && let Some(mut prepared) = Prepared::new(resource.clone(), base_url)
            {
                prepared.validate_early(conformance);
                entry.early = Some(Box::new(prepared));
            }
        }
    }
}

fn bad_bundle(reason: &str) -> Refusal {
    Refusal::bad_request(format!("Bad bundle request - {reason}"))
}

/// Outer error: the Bundle is refused; inner error: the entry is.
fn plan_entry(entry: Value, base_url: &str) -> Result<Result<Entry, Refusal>, Refusal> {
    let Value::Object(mut entry) = entry else { return Err(bad_bundle("entry is no object")) };
    let resource = match entry.remove("resource") {
        None => None,
        Some(Value::Object(tree)) => Some(Resource::from_tree(tree).map_err(|_| bad_bundle("resource without type"))?),
        Some(_) => return Err(bad_bundle("resource is no object")),
    };
    let full_url = entry.str("fullUrl").map(str::to_owned);
    let Some(Value::Object(request)) = entry.remove("request") else {
        return Err(bad_bundle("entry without request"));
    };
    let Some(method) = request.str("method") else { return Err(bad_bundle("entry without method")) };
    let url = request.str("url").unwrap_or_default();
    match (method, resource.is_some()) {
        ("GET" | "HEAD" | "DELETE", true) => return Err(bad_bundle("GET, HEAD or DELETE with resource")),
        ("POST" | "PUT", false) => return Err(bad_bundle("POST or PUT without resource")),
        ("GET" | "HEAD" | "DELETE", false) | ("POST" | "PUT", true) => {}
        _ => return Err(bad_bundle("method is not supported")),
    }
    Ok(plan_command(method, url, full_url.as_deref(), resource, base_url, &request))
}

fn plan_command(
    method: &str,
    url: &str,
    full_url: Option<&str>,
    resource: Option<Resource>,
    base_url: &str,
    details: &Object,
) -> Result<Entry, Refusal> {
    if method != "POST" && method != "PUT" && url.starts_with("urn:uuid:") {
        if method == "DELETE" {
            return Err(Refusal::bad_request("DELETE of a temporary id"));
        }
        let command = Command::ReadTemporary { temporary_id: url.to_owned(), head: method == "HEAD" };
        return Ok(Entry { temporary_id: None, request: None, command, early: None });
    }
    let request = policies::request::for_bundle_entry(method, url)
        .map_err(|error| Refusal::bad_request("request.url is not supported in a Bundle").because(error.to_string()))?;
    let temporary_id = full_url.filter(|url| url.starts_with("urn:uuid:")).map(str::to_owned);
    let resource = match resource {
        Some(resource) if Some(resource.type_name()) != request.resource_type().map(ResourceType::as_str) => {
            return Err(Refusal::bad_request("request.url does not name the type of the resource"));
        }
        resource => resource,
    };
    let command = match (request.interaction(), resource) {
        (Interaction::Create, Some(resource)) => {
            check_temporary_id(temporary_id.as_deref(), &resource)?;
            Command::Create { resource, if_none_exist: details.str("ifNoneExist").map(str::to_owned) }
        }
        (Interaction::ConditionalUpdate, Some(resource)) => {
            check_temporary_id(temporary_id.as_deref(), &resource)?;
            Command::ConditionalUpdate { resource, if_match: details.str("ifMatch").and_then(parse_etag) }
        }
        (Interaction::Update, Some(resource)) => {
            let id = request.id().map(|id| id.as_str()).unwrap_or_default();
            let type_name = resource.type_name();
            if full_url != Some(format!("{base_url}/{type_name}/{id}").as_str()) {
                return Err(Refusal::bad_request("fullUrl of a PUT by id must be the absolute URL of the resource"));
            }
            if resource.id() != Some(id) {
                return Err(Refusal::bad_request("id of the resource does not match request.url"));
            }
            Command::Update { resource, if_match: details.str("ifMatch").and_then(parse_etag) }
        }
        (Interaction::Delete, None) => Command::Delete,
        (Interaction::ConditionalDelete, None) => Command::ConditionalDelete,
        (Interaction::Read | Interaction::Vread | Interaction::Head, None) => {
            let since = details.str("ifModifiedSince").and_then(parse_instant);
            let preconditions = Preconditions::of_entry(details.str("ifNoneMatch"), since);
            Command::Read { preconditions, head: request.interaction() == Interaction::Head }
        }
        (Interaction::Search, None) => {
            if request.query().is_empty() {
                return Err(Refusal::bad_request("search of all resources of a type in a Bundle"));
            }
            Command::Search
        }
        _ => return Err(Refusal::bad_request("request is not supported in a Bundle")),
    };
    Ok(Entry { temporary_id, request: Some(request), command, early: None })
}

/// Entries without an id of their own must have a temporary one, and only that.
fn check_temporary_id(temporary_id: Option<&str>, resource: &Resource) -> Result<(), Refusal> {
    let Some(temporary_id) = temporary_id else {
        return Err(Refusal::bad_request("fullUrl of an entry that creates must start with urn:uuid:"));
    };
    match resource.id() {
        None => Ok(()),
        Some(id) if id == temporary_id || Some(id) == temporary_id.strip_prefix("urn:uuid:") => Ok(()),
        Some(_) => Err(Refusal::bad_request("id of the resource does not match fullUrl")),
    }
}

fn parse_instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

#[cfg(test)]
mod tests;
