//! Entries of the response Bundle (`fhir-api` 3.3).

use fhir::{Object, Resource, Value};
use http::StatusCode;

use crate::precondition::etag;
use crate::refusal::Refusal;
use crate::reply::{Content, Reply};

/// What an entry shows beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The resource and its address.
    Resource,
    /// The address of the resource only: HEAD.
    Address,
    /// Neither: an `ifNoneExist` that found a resource, a delete.
    Status,
    /// A searchset, which has no address.
    Searchset,
}

/// The entry of an interaction that was carried out.
pub(crate) fn done(reply: Reply, shown: Shown, base_url: &str) -> Object {
    let mut entry = Object::new();
    let mut response = Object::new().with("status", status_line(reply.status));
    if let Some(version) = &reply.version {
        let type_name = version.resource_type.as_str();
        if matches!(shown, Shown::Resource | Shown::Address) && reply.status.is_success() {
            entry.set("fullUrl", format!("{base_url}/{type_name}/{}", version.id));
        }
        response.set("location", version.location(base_url));
        response.set("etag", etag(version.version));
        response.set("lastModified", fhir::date::format_instant(version.last_updated));
    }
    if shown == Shown::Searchset {
        entry.set("fullUrl", format!("urn:uuid:{}", uuid::Uuid::new_v4()));
    }
    match reply.content {
        Content::Resource(resource) if resource.type_name() == "OperationOutcome" => {
            if shown != Shown::Status || reply.version.is_none() {
                response.set("outcome", resource.into_tree());
            }
        }
        Content::Resource(resource) if matches!(shown, Shown::Resource | Shown::Searchset) => {
            entry.set("resource", resource.into_tree());
        }
        Content::Resource(_) | Content::Raw { .. } | Content::Empty => {}
    }
    if let Some(outcome) = reply.outcome {
        response.set("outcome", outcome.into_tree());
    }
    entry.set("response", response);
    entry
}

/// The entry of an interaction that was refused.
pub(crate) fn refused(refusal: &Refusal) -> Object {
    let mut response = Object::new().with("status", status_line(refusal.status));
    if let Some(outcome) = refusal.outcome() {
        response.set("outcome", outcome.into_tree());
    }
    Object::new().with("response", response)
}

/// The Bundle of all entries.
pub(crate) fn bundle(response_type: &str, entries: Vec<Object>) -> Resource {
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", response_type);
    if !entries.is_empty() {
        bundle.set("entry", entries.into_iter().map(Value::Object).collect::<Vec<_>>());
    }
    bundle
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}
