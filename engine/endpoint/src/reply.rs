//! Answers: what an interaction produced, before it is printed in the negotiated format.
//!
//! The standard headers of `fhir-api` 1.4 are set here and nowhere else. A [`Reply`] still holds the resource as a
//! tree, so that the same interaction serves a single request and an entry of a Bundle.

use axum::body::Body;
use bytes::Bytes;
use fhir::definitions::{ElementDefinition, definitions};
use fhir::outcome::IssueCode;
use fhir::{Object, Resource, ResourceType, Value};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION,
    VARY,
};
use http::{Response, StatusCode};
use time::OffsetDateTime;

use crate::answers::Keep;
use crate::content::Contents;
use crate::content::download::Piece;
use crate::http_date;
use crate::negotiate::{Negotiated, Summary};
use crate::precondition::etag;
use crate::prefer::Return;
use crate::refusal::{Refusal, information};

/// Headers that an answer has at most, with those that are added on its way out: the map is made once for all of them.
const HEADERS: usize = 12;

/// The body of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// None.
    Empty,
    /// A resource, printed in the negotiated format.
    Resource(Box<Resource>),
    /// Raw content of a Binary.
    Raw { content_type: String, content: RawContent },
}

/// Content of a Binary, or a part of it.
#[derive(Clone, Debug)]
pub(crate) enum RawContent {
    /// In memory.
    Here(Bytes),
    /// In the store.
    Stored { content: store::binary::Content, first: u64, length: u64 },
}

/// An answer whose body is not there yet.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) pieces: Vec<Piece>,
}

/// Which version of which resource an answer is about.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) last_updated: OffsetDateTime,
}

/// What an interaction produced.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) version: Option<Version>,
    /// Whether `Location` is sent: writes only.
    pub(crate) located: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
    /// What it is to be kept with, if it can be given again.
    pub(crate) keep: Option<Box<Keep>>,
    /// Warnings that a Bundle entry shows beside its resource.
    pub(crate) outcome: Option<Box<Resource>>,
}

// === impl Version ===

impl Version {
    /// `base/Type/id/_history/version`
    pub(crate) fn location(&self, base_url: &str) -> String {
        format!("{base_url}/{}/{}/_history/{}", self.resource_type, self.id, self.version)
    }
}

// === impl RawContent ===

impl RawContent {
    pub(crate) const fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Stored { length, .. } => *length,
        }
    }

    /// From `first` to `last`, both within the content.
    pub(crate) fn part(self, first: u64, last: u64) -> Self {
        let length = last.saturating_sub(first).saturating_add(1);
        match self {
            Self::Here(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Self::Here(bytes.slice(index(first)..index(first.saturating_add(length))))
            }
            Self::Stored { content, first: before, .. } => Self::Stored { content, first: before + first, length },
        }
    }

    fn into_piece(self) -> Piece {
        match self {
            Self::Here(bytes) => Piece::Text(bytes),
            Self::Stored { content, first, length } => Piece::Raw { content, first, length },
        }
    }
}

// === impl Reply ===

impl Reply {
    pub(crate) fn resource(status: StatusCode, version: Option<Version>, resource: Resource) -> Self {
        let content = Content::Resource(Box::new(resource));
        Self { status, version, located: false, headers: Vec::new(), content, keep: None, outcome: None }
    }

    pub(crate) const fn empty(status: StatusCode, version: Option<Version>) -> Self {
        Self {
            status,
            version,
            located: false,
            headers: Vec::new(),
            content: Content::Empty,
            keep: None,
            outcome: None,
        }
    }

    pub(crate) fn information(status: StatusCode, version: Option<Version>, code: IssueCode, text: String) -> Self {
        Self::resource(status, version, information(code, text))
    }

    /// The answer to a write, with the body that the client prefers.
    pub(crate) fn written(
        status: StatusCode,
        version: Version,
        resource: Resource,
        returns: Return,
        base_url: &str,
    ) -> Self {
        let verb = if status == StatusCode::CREATED { "created" } else { "updated" };
        let content = match returns {
            Return::Representation => Content::Resource(Box::new(resource)),
            Return::Minimal => Content::Empty,
            Return::OperationOutcome => {
                let text = format!("{} {verb} at location {}", version.resource_type, version.location(base_url));
                Content::Resource(Box::new(information(IssueCode::Informational, text)))
            }
        };
        Self { status, version: Some(version), located: true, headers: Vec::new(), content, keep: None, outcome: None }
    }

    pub(crate) fn header(&mut self, name: HeaderName, value: &str) {
        // Values are built from ids, digits and media types; one that is no header value is left out, never altered.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
    }

    /// Prints the answer; `contents` are what its stand-ins stand for.
    pub(crate) fn print(self, how: &Negotiated, base_url: &str, contents: &Contents) -> Printed {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        if let Some(version) = &self.version {
            insert(&mut headers, ETAG, &etag(version.version));
            insert(&mut headers, LAST_MODIFIED, &http_date::format(version.last_updated));
            if self.located {
                insert(&mut headers, LOCATION, &version.location(base_url));
            }
        }
        // Nothing that is told to one caller may be kept for another. What everybody may know has no such headers in the
        // reference either (`fhir-api` 1.12).
        let is_public =
            matches!(&self.content, Content::Resource(resource) if resource.type_name() == "CapabilityStatement");
        if !is_public {
            headers.insert(VARY, HeaderValue::from_static("Accept"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache, no-transform"));
        }
        let pieces = match self.content {
            Content::Empty => Vec::new(),
            Content::Resource(resource) => {
                insert(&mut headers, CONTENT_TYPE, &format!("{};charset=UTF-8", how.media_type));
                contents.pieces(print(how, *resource))
            }
            Content::Raw { content_type, content } => {
                insert(&mut headers, CONTENT_TYPE, &content_type);
                vec![content.into_piece()]
            }
        };
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        Printed { status: self.status, headers, pieces }
    }
}

// === impl Printed ===

impl Printed {
    /// Whether a body has to be read from the store.
    pub(crate) fn has_content(&self) -> bool {
        self.pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// The response; `body` makes the body of more than one text. A HEAD has the length of the body that it leaves out.
    pub(crate) fn into_response(self, head: bool, body: impl FnOnce(Vec<Piece>) -> Body) -> Response<Body> {
        let Self { status, mut headers, mut pieces } = self;
        let length: u64 = pieces.iter().map(Piece::length).sum();
        let without_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !without_body && (head || length > 0) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let body = match (pieces.len(), pieces.pop()) {
            _ if head || without_body => Body::empty(),
            (_, None) => Body::empty(),
            (1, Some(Piece::Text(text))) => Body::from(text),
            (_, Some(last)) => {
                pieces.push(last);
                body(pieces)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Prints a refusal; without a negotiated format its OperationOutcome is left out.
pub(crate) fn refuse(refusal: &Refusal, how: Option<&Negotiated>, head: bool) -> Response<Bytes> {
    let mut headers = HeaderMap::new();
    let body = match (refusal.outcome(), how) {
        (Some(outcome), Some(how)) => {
            insert(&mut headers, CONTENT_TYPE, &format!("{};charset=UTF-8", how.media_type));
            Bytes::from(fhir::print(how.format, &outcome, how.pretty))
        }
        _ => Bytes::new(),
    };
    for (name, value) in &refusal.headers {
        headers.insert(name.clone(), value.clone());
    }
    respond(refusal.status, headers, body, head)
}

fn respond(status: StatusCode, mut headers: HeaderMap, body: Bytes, head: bool) -> Response<Bytes> {
    let without_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !without_body && (head || !body.is_empty()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let body = if head || without_body { Bytes::new() } else { body };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn print(how: &Negotiated, resource: Resource) -> String {
    let resource = summarize(how.summary, resource);
    fhir::print(how.format, &resource, how.pretty)
}

/// Applies `_summary` to a resource, or to every resource of a searchset or history Bundle.
fn summarize(summary: Summary, mut resource: Resource) -> Resource {
    if matches!(summary, Summary::False | Summary::Count) || resource.type_name() == "OperationOutcome" {
        return resource;
    }
    let is_result = resource.type_name() == "Bundle" && matches!(resource.str("type"), Some("searchset" | "history"));
    if !is_result {
        let mut tree = resource.into_tree();
        summarize_tree(summary, &mut tree);
        return Resource::from_tree(tree).unwrap_or_else(|_| Resource::new("Basic"));
    }
    if let Some(Value::Array(entries)) = resource.get_mut("entry") {
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            let tree = entry.get_mut("resource").and_then(Value::as_object_mut);
            if let Some(tree) = tree.filter(|tree| tree.str("resourceType") != Some("OperationOutcome")) {
                summarize_tree(summary, tree);
            }
        }
    }
    resource
}

fn summarize_tree(summary: Summary, tree: &mut Object) {
    match summary {
        Summary::Data => {
            tree.remove("text");
        }
        Summary::Text => keep(tree, |name, type_name| {
            name == "text" || element(type_name, name).is_some_and(|element| element.min > 0)
        }),
        Summary::True => {
            keep(tree, |name, type_name| element(type_name, name).is_some_and(|element| element.is_summary));
        }
        Summary::False | Summary::Count => return,
    }
    tag_subsetted(tree);
}

fn keep(tree: &mut Object, wanted: impl Fn(&str, &str) -> bool) {
    let type_name = tree.str("resourceType").unwrap_or_default().to_owned();
    let names: Vec<String> = tree.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let element = name.strip_prefix('_').unwrap_or(&name);
        if !matches!(element, "resourceType" | "id" | "meta") && !wanted(element, &type_name) {
            tree.remove(&name);
        }
    }
}

fn element(type_name: &str, name: &str) -> Option<&'static ElementDefinition> {
    definitions().resource(type_name)?.child(name).map(|child| child.element)
}

/// FHIR R4 section 3.1.1.5.9: a trimmed resource says so, so that nobody writes it back.
fn tag_subsetted(tree: &mut Object) {
    let tag = Object::new()
        .with("system", "http://terminology.hl7.org/CodeSystem/v3-ObservationValue")
        .with("code", "SUBSETTED");
    if tree.get("meta").is_none() {
        tree.set("meta", Object::new());
    }
    if let Some(meta) = tree.get_mut("meta").and_then(Value::as_object_mut) {
        meta.push("tag", tag);
    }
}
