//! Batches and transactions as lists of requests.
//!
//! Each entry is brought into canonical form by the same table as a request of its own, so that nothing can be done by a
//! Bundle that could not be asked for (`attack_a13`). A Bundle with one entry that has no canonical form is refused as a
//! whole. A Bundle that is the *resource* of an entry is data to be stored, it is not executed.

use fhir::{Object, ResourceType, Value};

use crate::identifier::ResourceId;
use crate::interaction::{BodyKind, Method};
use crate::request::{CanonicalRequest, RequestError, for_bundle_entry};

/// What a Bundle at the root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Entries stand for themselves.
    Batch,
    /// All entries or none.
    Transaction,
}

/// An entry as a request.
#[derive(Clone, Debug)]
pub struct BundleEntry<'b> {
    /// Its position, from 0.
    pub index: usize,
    /// The request.
    pub request: CanonicalRequest,
    /// The resource that it carries.
    pub resource: Option<&'b Object>,
}

/// Why a Bundle cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It is neither batch nor transaction.
    #[error("bundle is neither batch nor transaction")]
    Kind,
    /// There are more entries than the policy allows.
    #[error("bundle has {entries} entries, more than {most}")]
    TooManyEntries {
        /// How many.
        entries: usize,
        /// How many are allowed.
        most: usize,
    },
    /// An entry has no request, method or url.
    #[error("entry {index} has no request with method and url")]
    NoRequest {
        /// Its position.
        index: usize,
    },
    /// The request of an entry has no canonical form.
    #[error("entry {index}: {source}")]
    Request {
        /// Its position.
        index: usize,
        /// Why.
        source: RequestError,
    },
    /// An entry that writes has no resource, or one that does not write has one.
    #[error("entry {index} has a resource where none belongs, or lacks one")]
    Resource {
        /// Its position.
        index: usize,
    },
    /// The resource is of another type than the url says.
    #[error("entry {index} has a resource of another type than its url")]
    ResourceType {
        /// Its position.
        index: usize,
    },
}

/// What the Bundle is.
pub fn kind(bundle: &Object) -> Result<BundleKind, BundleError> {
    match (bundle.str("resourceType"), bundle.str("type")) {
        (Some("Bundle"), Some("batch")) => Ok(BundleKind::Batch),
        (Some("Bundle"), Some("transaction")) => Ok(BundleKind::Transaction),
        _ => Err(BundleError::Kind),
    }
}

/// The entries as requests.
pub fn entries(bundle: &Object, most: usize) -> Result<Vec<BundleEntry<'_>>, BundleError> {
    let list = bundle.list("entry");
    if list.len() > most {
        return Err(BundleError::TooManyEntries { entries: list.len(), most });
    }
    list.iter().enumerate().map(|(index, entry)| read(index, entry, list)).collect()
}

fn read<'b>(index: usize, entry: &'b Value, all: &[Value]) -> Result<BundleEntry<'b>, BundleError> {
    let request = entry.get("request").ok_or(BundleError::NoRequest { index })?;
    let (Some(method), Some(url)) = (request.str("method"), request.str("url")) else {
        return Err(BundleError::NoRequest { index });
    };
    let request = match url.strip_prefix("urn:uuid:") {
        Some(uuid) => read_within_bundle(method, url, uuid, all).ok_or(RequestError::EntryUrl),
        None => for_bundle_entry(method, url),
    };
    let request = request.map_err(|source| BundleError::Request { index, source })?;
    let resource = match entry.get("resource") {
        Some(resource) => Some(resource.as_object().ok_or(BundleError::Resource { index })?),
        None => None,
    };
    if resource.is_some() != (request.body() == BodyKind::Resource) {
        return Err(BundleError::Resource { index });
    }
    let type_name = request.resource_type().map(ResourceType::as_str);
    if resource.is_some_and(|resource| resource.str("resourceType") != type_name) {
        return Err(BundleError::ResourceType { index });
    }
    Ok(BundleEntry { index, request, resource })
}

/// `GET urn:uuid:...` reads what another entry of the Bundle makes.
fn read_within_bundle(method: &str, url: &str, uuid: &str, all: &[Value]) -> Option<CanonicalRequest> {
    let method: Method = method.parse().ok()?;
    let id: ResourceId = uuid.parse().ok()?;
    let made = all.iter().find(|entry| entry.str("fullUrl") == Some(url))?;
    let resource_type = made.get("resource")?.str("resourceType")?.parse().ok()?;
    CanonicalRequest::read_within_bundle(method, resource_type, id)
}

#[cfg(test)]
mod tests;
