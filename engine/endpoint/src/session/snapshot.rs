//! `$snapshot`, and what becomes of snapshots when a StructureDefinition is stored (`fhir-api` 1.10).
//!
//! The stored resource has none. What a client sends with it, or what is made from its differential, is kept apart for
//! `$snapshot` and change events; one that cannot be made yet, because a base is not there, is made when it is asked for.
//!
//! Whoever may read a StructureDefinition may have its snapshot, nobody else. A definition that a caller sends may build on
//! stored ones, which would come back in its snapshot: the caller must be allowed to read each of them.

use std::cell::RefCell;
use std::sync::Arc;

use fhir::snapshot::{cut, generate, put};
use fhir::validate::{ProfileRegistry, ProfileSource};
use fhir::{Resource, ResourceType, Value};
use http::StatusCode;
use policies::{CanonicalRequest, DsfOperation};
use store::{StoreError, StoredResource};

use super::Session;
use crate::precondition::Preconditions;
use crate::references::clean;
use crate::refusal::Refusal;
use crate::reply::{Content, Reply};

/// Whose snapshot is asked for.
enum Wanted {
    Instance(String),
    Url(String),
    Sent(Box<Resource>),
}

impl Session<'_, '_> {
    /// Answers `$snapshot` in all its forms.
    pub(crate) fn snapshot(&mut self, request: &CanonicalRequest, body: Option<&Resource>) -> Result<Reply, Refusal> {
        match wanted(request, body)? {
            Wanted::Instance(id) => {
                let mut reply = self.read(ResourceType::StructureDefinition, &id, None, &Preconditions::default())?;
                let Content::Resource(definition) = reply.content else { return Err(Refusal::not_found()) };
                reply.content = Content::Resource(Box::new(self.with_snapshot(*definition)?));
                Ok(reply)
            }
            Wanted::Url(canonical) => {
                let found = self.definition(&canonical).ok_or_else(|| {
                    Refusal::not_found_with(format!("StructureDefinition with url {canonical} not found"))
                })?;
                self.check_readable(&found, "read")?;
                let definition = self.with_snapshot(clean(found.as_ref().clone()))?;
                Ok(Reply::resource(StatusCode::OK, None, definition))
            }
            Wanted::Sent(definition) => {
                self.need_role()?;
                let used = Recording { source: self.profiles.registry(), used: RefCell::default() };
                let made = generate(&definition, &used);
                for definition in used.used.into_inner() {
                    self.check_readable(&definition, "snapshot")?;
                }
                let made = made.map_err(|issues| Refusal::snapshot(StatusCode::INTERNAL_SERVER_ERROR, issues))?;
                Ok(Reply::resource(StatusCode::OK, None, made.definition))
            }
        }
    }

    /// The StructureDefinition with the snapshot that is kept for its version, or else with one made now.
    fn with_snapshot(&mut self, mut definition: Resource) -> Result<Resource, Refusal> {
        let kept = match (definition.id(), definition.version_id()) {
            (Some(id), Some(version)) => self.tx.snapshot(id, version)?,
            _ => None,
        };
        match kept {
            Some(snapshot) => {
                put(&mut definition, snapshot);
                Ok(definition)
            }
            None => generate(&definition, self.profiles.registry())
                .map(|made| made.definition)
                .map_err(|issues| Refusal::snapshot(StatusCode::INTERNAL_SERVER_ERROR, issues)),
        }
    }

    /// The stored definition that the canonical means.
    fn definition(&self, canonical: &str) -> Option<Arc<Resource>> {
        let wanted = fhir::Canonical::parse(canonical)?;
        self.profiles.registry().structure_definition(&wanted.url, wanted.version.as_deref())
    }

    fn check_readable(&mut self, definition: &Resource, operation: &'static str) -> Result<(), Refusal> {
        // What is stored has an id and a version; anything else is not for others.
        let is_readable = match (definition.id(), definition.version_id()) {
            (Some(id), Some(version)) => self.may_read(ResourceType::StructureDefinition, id, version)?,
            _ => false,
        };
        if is_readable { Ok(()) } else { Err(Refusal::forbidden(operation, "no read access to a StructureDefinition")) }
    }

    fn need_role(&self) -> Result<(), Refusal> {
        let kind = Some(ResourceType::StructureDefinition);
        if self.caller.is_internal || self.identity.has_dsf_role(DsfOperation::Read, kind) {
            Ok(())
        } else {
            Err(Refusal::forbidden("snapshot", "identity has no such role for the type"))
        }
    }

    /// A stored resource as its writer sees it: with a snapshot only if one was sent.
    pub(super) fn shown_with(&mut self, stored: &StoredResource, sent: Option<Value>) -> Result<Resource, Refusal> {
        let mut shown = self.shown(stored)?;
        if let Some(snapshot) = sent {
            put(&mut shown, snapshot);
        }
        Ok(shown)
    }

    /// Keeps the snapshot of a StructureDefinition that was just stored: the one that was sent, or one made now. A Bundle
    /// that brings a definition from which none can be made is refused; a single request is not, its base may follow.
    pub(super) fn keep_snapshot(
        &mut self,
        stored: &StoredResource,
        sent: Option<&Value>,
        in_bundle: bool,
    ) -> Result<(), Refusal> {
        if stored.resource_type != ResourceType::StructureDefinition {
            return Ok(());
        }
        if let Some(sent) = sent {
            return Ok(self.tx.set_snapshot(&stored.id, sent)?);
        }
        if self.caller.is_shipped {
            return Ok(());
        }
        match generate(&stored.resource, self.profiles.registry()) {
            Ok(mut made) => {
                if let Some(snapshot) = cut(&mut made.definition) {
                    self.tx.set_snapshot(&stored.id, &snapshot)?;
                }
                Ok(())
            }
            Err(issues) if in_bundle => Err(Refusal::snapshot(StatusCode::BAD_REQUEST, issues)),
            Err(issues) => {
                let url = stored.resource.str("url").unwrap_or_default();
                let reason = issues.first().map_or("", |issue| issue.diagnostics.as_str());
                tracing::warn!(id = %stored.id, url, reason, "no snapshot can be made of a StructureDefinition yet");
                Ok(())
            }
        }
    }
}

/// The resource as change events show it: a StructureDefinition with its snapshot, if there can be one.
pub(crate) fn for_event(
    tx: &mut store::Transaction<'_>,
    mut resource: Resource,
    source: &ProfileRegistry,
) -> Result<Resource, StoreError> {
    let kept = match (resource.id(), resource.version_id()) {
        (Some(id), Some(version)) => tx.snapshot(id, version)?,
        _ => None,
    };
    match kept {
        Some(snapshot) => put(&mut resource, snapshot),
        None => {
            if let Ok(made) = generate(&resource, source) {
                resource = made.definition;
            }
        }
    }
    Ok(resource)
}

fn wanted(request: &CanonicalRequest, body: Option<&Resource>) -> Result<Wanted, Refusal> {
    if let Some(id) = request.id() {
        return Ok(Wanted::Instance(id.as_str().to_owned()));
    }
    match body {
        None => {
            let mut urls = request.query().iter().filter(|(name, _)| name == "url").map(|(_, value)| value);
            match (urls.next().filter(|url| !url.is_empty()), urls.next()) {
                (Some(url), None) => Ok(Wanted::Url(url.clone())),
                _ => Err(Refusal::bad_request("Parameter url must be given exactly once")),
            }
        }
        Some(parameters) => sent(parameters),
    }
}

/// Exactly one of the parameters `url` (uri or string) and `resource` (StructureDefinition with differential).
fn sent(parameters: &Resource) -> Result<Wanted, Refusal> {
    let wrong = || {
        Refusal::bad_request(
            "Parameters must have exactly one of url (uri or string) and resource (StructureDefinition with differential)",
        )
    };
    let [parameter] = parameters.list("parameter") else { return Err(wrong()) };
    match parameter.str("name") {
        Some("url") => {
            let url =
                ["valueUri", "valueUrl", "valueCanonical", "valueString"].iter().find_map(|name| parameter.str(name));
            url.filter(|url| !url.is_empty()).map(|url| Wanted::Url(url.to_owned())).ok_or_else(wrong)
        }
        Some("resource") => {
            let tree = parameter.get("resource").and_then(Value::as_object).cloned().ok_or_else(wrong)?;
            let definition = Resource::from_tree(tree).map_err(|_| wrong())?;
            let has_differential = definition.get("differential").is_some();
            if definition.resource_type() == Some(ResourceType::StructureDefinition) && has_differential {
                Ok(Wanted::Sent(Box::new(definition)))
            } else {
                Err(wrong())
            }
        }
        _ => Err(wrong()),
    }
}

/// Notes which stored definitions go into a snapshot.
struct Recording<'s> {
    source: &'s ProfileRegistry,
    used: RefCell<Vec<Arc<Resource>>>,
}

impl ProfileSource for Recording<'_> {
    fn structure_definition(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        let found = self.source.structure_definition(url, version)?;
        self.used.borrow_mut().push(Arc::clone(&found));
        Some(found)
    }

    fn value_set(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        self.source.value_set(url, version)
    }

    fn code_system(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        self.source.code_system(url, version)
    }
}
