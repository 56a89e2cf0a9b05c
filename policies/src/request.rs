//! The request in its one canonical form.
//!
//! [`canonicalize`] reads a raw request target strictly and only once; what cannot be brought into canonical form is
//! refused, never repaired. [`CanonicalRequest::target`] prints the form afresh, and that text, not the client's bytes, is
//! what the gateway forwards: the request that was judged is the request that is acted on. The two are inverse:
//! `canonicalize(target(x)) == x` (property test).
//!
//! A [`CanonicalRequest`] has private fields and no other constructor, so whoever holds one holds a request that is in
//! the table of interactions. Entries of Bundles go through the same table ([`for_bundle_entry`]).

mod percent;

use std::fmt;

use fhir::ResourceType;

use crate::identifier::{ResourceId, VersionId};
use crate::interaction::{self, BodyKind, Criteria, Interaction, Method, Operation, PathForm, Row};
use crate::limits;

/// A request that is in the table of interactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalRequest {
    method: Method,
    path: PathForm,
    interaction: Interaction,
    resource_type: Option<ResourceType>,
    id: Option<ResourceId>,
    version: Option<VersionId>,
    query: Vec<(String, String)>,
}

/// Why a request has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The target is longer than [`limits::TARGET_BYTES`].
    #[error("request target of {bytes} bytes exceeds {} bytes", limits::TARGET_BYTES)]
    TargetTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The target is not in origin form (`/path?query`).
    #[error("request target is not in origin form")]
    NotOriginForm,
    /// The path has bytes that must not be there: control, non-ASCII, backslash, `;`, white space.
    #[error("byte {byte:#04x} is not allowed in a path")]
    PathByte {
        /// The byte.
        byte: u8,
    },
    /// The path hides a byte behind percent-encoding that would change its meaning, or encodes twice.
    #[error("percent-encoded byte in path is not allowed")]
    PathEncoding,
    /// `//`, or a segment `.` or `..`.
    #[error("empty or relative path segment")]
    PathSegment,
    /// The query has a raw byte that a URI must not have.
    #[error("byte {byte:#04x} is not allowed in a query")]
    QueryByte {
        /// The byte.
        byte: u8,
    },
    /// The query has broken percent-encoding, bytes that are not UTF-8, or control characters.
    #[error("query is not percent-encoded text")]
    QueryEncoding,
    /// More than [`limits::QUERY_PARAMETERS`] parameters.
    #[error("query has more than {} parameters", limits::QUERY_PARAMETERS)]
    QueryParameters,
    /// A parameter without a name, or one that stands for another method.
    #[error("query parameter is not allowed")]
    QueryParameter,
    /// A conditional update or delete without criteria.
    #[error("conditional interaction without criteria")]
    CriteriaMissing,
    /// The path lies outside the base path of the node.
    #[error("path lies outside the base path")]
    OutsideBase,
    /// The path is in no row of the table.
    #[error("no such path")]
    NotFound,
    /// The first segment names no resource type of the endpoint.
    #[error("unknown resource type")]
    UnknownType,
    /// The method is known, but not for this path.
    #[error("method not allowed for this path")]
    MethodNotAllowed {
        /// The methods of the path, for the header `Allow`.
        allow: Vec<Method>,
    },
    /// The method is unknown to HTTP, or is in another case.
    #[error("method not implemented")]
    MethodNotImplemented,
    /// The URL of an entry of a Bundle is no relative URL that an entry may have.
    #[error("url of bundle entry is not allowed")]
    EntryUrl,
}

/// Methods that HTTP defines and no path here answers.
const OTHER_METHODS: [&str; 4] = ["PATCH", "OPTIONS", "TRACE", "CONNECT"];

/// Brings a request into canonical form.
///
/// `raw_target` is the target as received; `base_path` is the path of the node's base URL, for example `/fhir` (empty or
/// `/` for none).
pub fn canonicalize(method: &str, raw_target: &str, base_path: &str) -> Result<CanonicalRequest, RequestError> {
    let method = parse_method(method)?;
    if raw_target.len() > limits::TARGET_BYTES {
        return Err(RequestError::TargetTooLong { bytes: raw_target.len() });
    }
    if !raw_target.starts_with('/') {
        return Err(RequestError::NotOriginForm);
    }
    let (raw_path, raw_query) = split_query(raw_target);
    let path = percent::decode_path(raw_path)?;
    let query = raw_query.map_or(Ok(Vec::new()), percent::decode_query)?;
    let relative = strip_base(&path, base_path)?;
    let location = Location::parse(relative)?;
    CanonicalRequest::new(method, location, query)
}

/// Brings an entry of a batch or transaction into canonical form; `url` is `entry.request.url`.
///
/// Only rows with `in_bundle` exist for entries, and only relative URLs: an absolute URL could name another host.
/// `urn:uuid:` URLs are resolved by `crate::bundle`, which knows the other entries.
pub fn for_bundle_entry(method: &str, url: &str) -> Result<CanonicalRequest, RequestError> {
    let method = parse_method(method)?;
    if url.len() > limits::TARGET_BYTES {
        return Err(RequestError::TargetTooLong { bytes: url.len() });
    }
    if url.is_empty() || url.starts_with('/') || url.ends_with('/') {
        return Err(RequestError::EntryUrl);
    }
    let (raw_path, raw_query) = split_query(url);
    if raw_path.contains(':') {
        return Err(RequestError::EntryUrl);
    }
    let path = percent::decode_path(raw_path)?;
    let query = raw_query.map_or(Ok(Vec::new()), percent::decode_entry_query)?;
    let request = CanonicalRequest::new(method, Location::parse(&path)?, query)?;
    if request.row().is_none_or(|row| !row.in_bundle) {
        return Err(RequestError::EntryUrl);
    }
    Ok(request)
}

/// The target that is forwarded for `request`; see [`CanonicalRequest::target`].
#[must_use]
pub fn target(request: &CanonicalRequest, base_path: &str) -> String {
    request.target(base_path)
}

/// Reads criteria that come beside a target, `If-None-Exist` and its kind.
pub(crate) fn read_criteria(raw: &str) -> Result<Vec<(String, String)>, RequestError> {
    percent::decode_entry_query(raw)
}

fn parse_method(method: &str) -> Result<Method, RequestError> {
    method.parse().map_err(|()| {
        if OTHER_METHODS.contains(&method) {
            RequestError::MethodNotAllowed { allow: Method::ALL.to_vec() }
        } else {
            RequestError::MethodNotImplemented
        }
    })
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// The path below the base, without its leading slash.
fn strip_base<'a>(path: &'a str, base_path: &str) -> Result<&'a str, RequestError> {
    let base = base_path.trim_end_matches('/');
    let rest = path.strip_prefix(base).ok_or(RequestError::OutsideBase)?;
    match rest.strip_prefix('/') {
        Some(relative) => Ok(relative),
        None if rest.is_empty() => Ok(""),
        None => Err(RequestError::OutsideBase),
    }
}

/// What a path names.
#[derive(Debug)]
struct Location {
    form: PathForm,
    resource_type: Option<ResourceType>,
    id: Option<ResourceId>,
    version: Option<VersionId>,
}

impl Location {
    fn parse(path: &str) -> Result<Self, RequestError> {
        let segments: Vec<&str> = path.split('/').collect();
        let system = |form| Ok(Self { form, resource_type: None, id: None, version: None });
        match segments.as_slice() {
            [] | [""] => system(PathForm::Root),
            ["metadata"] => system(PathForm::Metadata),
            ["ws"] => system(PathForm::Websocket),
            ["_history"] => system(PathForm::History),
            [name, rest @ ..] => {
                let resource_type = name.parse().map_err(|_| RequestError::UnknownType)?;
                Self::parse_below_type(resource_type, rest)
            }
        }
    }

    fn parse_below_type(resource_type: ResourceType, rest: &[&str]) -> Result<Self, RequestError> {
        let (form, id, version) = match rest {
            [] => (PathForm::Type, None, None),
            ["_history"] => (PathForm::TypeHistory, None, None),
            [name] if name.starts_with('$') => (PathForm::TypeOperation(operation(resource_type, name)?), None, None),
            [id] => (PathForm::Instance, Some(*id), None),
            [id, "_history"] => (PathForm::InstanceHistory, Some(*id), None),
            [id, "_history", version] => (PathForm::Version, Some(*id), Some(*version)),
            // DSF answers this one operation with a trailing slash too.
            [id, name] | [id, name @ "$permanent-delete", ""] if name.starts_with('$') => {
                (PathForm::InstanceOperation(operation(resource_type, name)?), Some(*id), None)
            }
            _ => return Err(RequestError::NotFound),
        };
        let id = id.map(str::parse).transpose().map_err(|_| RequestError::NotFound)?;
        let version = version.map(str::parse).transpose().map_err(|_| RequestError::NotFound)?;
        Ok(Self { form, resource_type: Some(resource_type), id, version })
    }
}

fn operation(resource_type: ResourceType, name: &str) -> Result<Operation, RequestError> {
    let operation: Operation = name.parse().map_err(|()| RequestError::NotFound)?;
    if operation.is_defined_on(resource_type) { Ok(operation) } else { Err(RequestError::NotFound) }
}

// === impl CanonicalRequest ===

impl CanonicalRequest {
    fn new(method: Method, location: Location, query: Vec<(String, String)>) -> Result<Self, RequestError> {
        let Some(row) = interaction::find(method, location.form) else {
            let allow: Vec<Method> = interaction::methods(location.form).collect();
            // A path form without any method (`POST Type/$permanent-delete` on the type) does not exist.
            return Err(if allow.is_empty() {
                RequestError::NotFound
            } else {
                RequestError::MethodNotAllowed { allow }
            });
        };
        if row.criteria == Criteria::Required && query.is_empty() {
            return Err(RequestError::CriteriaMissing);
        }
        Ok(Self {
            method,
            path: location.form,
            interaction: row.interaction,
            resource_type: location.resource_type,
            id: location.id,
            version: location.version,
            query,
        })
    }

    /// A read of a resource that another entry of the same Bundle makes.
    pub(crate) fn read_within_bundle(method: Method, resource_type: ResourceType, id: ResourceId) -> Option<Self> {
        let row = interaction::find(method, PathForm::Instance).filter(|row| row.body == BodyKind::Absent)?;
        (!row.interaction.is_write()).then(|| Self {
            method,
            path: row.path,
            interaction: row.interaction,
            resource_type: Some(resource_type),
            id: Some(id),
            version: None,
            query: Vec::new(),
        })
    }

    /// The row of the table.
    #[must_use]
    pub fn row(&self) -> Option<&'static Row> {
        interaction::find(self.method, self.path)
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The shape of the path.
    #[must_use]
    pub const fn path(&self) -> PathForm {
        self.path
    }

    /// What the request wants to do.
    #[must_use]
    pub const fn interaction(&self) -> Interaction {
        self.interaction
    }

    /// The resource type in the path.
    #[must_use]
    pub const fn resource_type(&self) -> Option<ResourceType> {
        self.resource_type
    }

    /// The id in the path.
    #[must_use]
    pub const fn id(&self) -> Option<&ResourceId> {
        self.id.as_ref()
    }

    /// The version in the path.
    #[must_use]
    pub const fn version(&self) -> Option<VersionId> {
        self.version
    }

    /// The operation in the path.
    #[must_use]
    pub const fn operation(&self) -> Option<Operation> {
        match self.path {
            PathForm::TypeOperation(operation) | PathForm::InstanceOperation(operation) => Some(operation),
            PathForm::Root
            | PathForm::Metadata
            | PathForm::Websocket
            | PathForm::History
            | PathForm::Type
            | PathForm::TypeHistory
            | PathForm::Instance
            | PathForm::InstanceHistory
            | PathForm::Version => None,
        }
    }

    /// Whether criteria choose the resource (conditional update and delete).
    #[must_use]
    pub const fn is_conditional(&self) -> bool {
        matches!(self.interaction, Interaction::ConditionalUpdate | Interaction::ConditionalDelete)
    }

    /// The body that the interaction has.
    #[must_use]
    pub fn body(&self) -> BodyKind {
        self.row().map_or(BodyKind::Absent, |row| row.body)
    }

    /// The parameters of the query, decoded, in their order.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The values of the parameter `name`.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(parameter, _)| parameter == name).map(|(_, value)| value.as_str())
    }

    /// The query, freshly encoded, without `?`; empty if there is none.
    #[must_use]
    pub fn raw_query(&self) -> String {
        percent::encode_query(&self.query)
    }

    /// The path below the base without leading slash, and the query: `Task/1/_history/2`, `Task?status=draft`.
    #[must_use]
    pub fn relative_target(&self) -> String {
        let mut text = String::with_capacity(64);
        self.write_path(&mut text);
        if !self.query.is_empty() {
            text.push('?');
            text.push_str(&self.raw_query());
        }
        text
    }

    /// The target that is forwarded: base path, path and query, built from the parsed parts alone.
    #[must_use]
    pub fn target(&self, base_path: &str) -> String {
        let relative = self.relative_target();
        let base = base_path.trim_end_matches('/');
        if self.path == PathForm::Root && !base.is_empty() {
            return format!("{base}{relative}");
        }
        format!("{base}/{relative}")
    }

    fn write_path(&self, text: &mut String) {
        let name = self.resource_type.map_or("", ResourceType::as_str);
        let id = self.id.as_ref().map_or("", ResourceId::as_str);
        match self.path {
            PathForm::Root => {}
            PathForm::Metadata => text.push_str("metadata"),
            PathForm::Websocket => text.push_str("ws"),
            PathForm::History => text.push_str("_history"),
            PathForm::Type => text.push_str(name),
            PathForm::TypeHistory => text.extend([name, "/_history"]),
            PathForm::TypeOperation(operation) => text.extend([name, "/", operation.as_str()]),
            PathForm::Instance => text.extend([name, "/", id]),
            PathForm::InstanceHistory => text.extend([name, "/", id, "/_history"]),
            PathForm::Version => {
                text.extend([name, "/", id, "/_history/"]);
                text.push_str(&self.version.map_or(0, VersionId::get).to_string());
            }
            PathForm::InstanceOperation(operation) => text.extend([name, "/", id, "/", operation.as_str()]),
        }
    }
}

impl fmt::Display for CanonicalRequest {
    /// Method, path and names of query parameters; values may be personal and are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        self.write_path(&mut path);
        write!(f, "{} /{path}", self.method)?;
        for (index, (name, _)) in self.query.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            write!(f, "{separator}{}", percent::encode(name))?;
        }
        Ok(())
    }
}

// === impl RequestError ===

impl RequestError {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TargetTooLong { .. } => 414,
            Self::NotOriginForm
            | Self::PathByte { .. }
            | Self::PathEncoding
            | Self::PathSegment
            | Self::QueryByte { .. }
            | Self::QueryEncoding
            | Self::QueryParameters
            | Self::QueryParameter
            | Self::CriteriaMissing
            | Self::EntryUrl => 400,
            Self::OutsideBase | Self::NotFound | Self::UnknownType => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::MethodNotImplemented => 501,
        }
    }

    /// The stable code, as it stands in audit records and `docs/errors.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TargetTooLong { .. } => "GW-REQ-001",
            Self::NotOriginForm => "GW-REQ-002",
            Self::PathByte { .. } => "GW-REQ-003",
            Self::PathEncoding => "GW-REQ-004",
            Self::PathSegment => "GW-REQ-005",
            Self::QueryByte { .. } => "GW-REQ-006",
            Self::QueryEncoding => "GW-REQ-007",
            Self::QueryParameters => "GW-REQ-008",
            Self::QueryParameter => "GW-REQ-009",
            Self::CriteriaMissing => "GW-REQ-010",
            Self::OutsideBase => "GW-REQ-011",
            Self::NotFound => "GW-REQ-012",
            Self::UnknownType => "GW-REQ-013",
            Self::MethodNotAllowed { .. } => "GW-REQ-014",
            Self::MethodNotImplemented => "GW-REQ-015",
            Self::EntryUrl => "GW-REQ-016",
        }
    }
}

#[cfg(test)]
mod tests;
