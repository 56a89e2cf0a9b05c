//! Create and conditional create (`fhir-api` 1.5, 1.7).

use std::sync::Arc;

use fhir::outcome::IssueCode;
use fhir::{Resource, ResourceType};
use http::StatusCode;

use super::Session;
use super::search::version_of;
use crate::conformance::{Conformance, View};
use crate::content;
use crate::content::upload::Brought;
use crate::prefer::Return;
use crate::profile;
use crate::references::rewrite::make_urls_absolute;
use crate::refusal::Refusal;
use crate::reply::Reply;

/// A resource from outside, made ready for a write: URLs absolute, default profile set, perhaps validated already.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) resource: Resource,
    pub(crate) resource_type: ResourceType,
    /// What a Binary has in place of `data`.
    pub(crate) content: Brought,
    validated: Option<(Arc<Conformance>, Option<Refusal>)>,
}

/// How a create is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateOptions {
    /// Criteria of `If-None-Exist`.
    pub(crate) if_none_exist: Option<String>,
    pub(crate) returns: Return,
    /// Id that other entries of the Bundle know already.
    pub(crate) id: Option<String>,
    /// Whether it is an entry of a Bundle, which looks at `ifNoneExist` before anything else.
    pub(crate) in_bundle: bool,
}

impl Prepared {
    /// Makes a resource ready; `None` if the endpoint does not serve its type.
    pub(crate) fn new(resource: Resource, base_url: &str) -> Option<Self> {
        let resource_type = resource.resource_type()?;
        let mut resource = profile::add_default(make_urls_absolute(resource, base_url), resource_type);
        let content = match resource_type {
            ResourceType::Binary => content::take_inline(&mut resource),
            _ => Brought::Nothing,
        };
        Some(Self { resource, resource_type, content, validated: None })
    }

    /// What an early validation has found.
    pub(crate) fn early_refusal(&self) -> Option<&Refusal> {
        self.validated.as_ref().and_then(|(_, refusal)| refusal.as_ref())
    }

    /// Validates before the transaction, so that the writer does not wait for it. The result counts only if the
    /// transaction sees the same profiles.
    pub(crate) fn validate_early(&mut self, conformance: &Arc<Conformance>) {
        let view = View::new(Arc::clone(conformance));
        let result = self.validate_as(&self.resource, &view).err();
        self.validated = Some((Arc::clone(conformance), result));
    }

    /// The result by the profiles of the transaction.
    pub(crate) fn validate(&self, profiles: &View) -> Result<(), Refusal> {
        match &self.validated {
            Some((conformance, result)) if profiles.is_exactly(conformance) => match result {
                Some(refusal) => Err(refusal.clone()),
                None => Ok(()),
            },
            _ => self.validate_as(&self.resource, profiles),
        }
    }

    /// Validates a form of the resource; for its content, which is base64 by then, something short stands.
    fn validate_as(&self, resource: &Resource, profiles: &View) -> Result<(), Refusal> {
        if self.content.is_nothing() {
            return profile::validate(resource, profiles);
        }
        let mut resource = resource.clone();
        resource.set("data", "AAAA");
        profile::validate(&resource, profiles)
    }
}

impl Session<'_, '_> {
    /// Stores version 1 of a resource, unless a conditional create finds that it exists.
    pub(crate) fn create(&mut self, mut prepared: Prepared, options: &CreateOptions) -> Result<Reply, Refusal> {
        if options.in_bundle {
            if let Some(existing) = self.existing(prepared.resource_type, options)? {
                return Ok(existing);
            }
            self.validate(&prepared)?;
            self.check_create(&prepared.resource, prepared.resource_type)?;
        } else {
            self.check_create(&prepared.resource, prepared.resource_type)?;
            self.check_unused_keys(&prepared.resource, prepared.resource_type)?;
            self.validate(&prepared)?;
            if let Some(existing) = self.existing(prepared.resource_type, options)? {
                return Ok(existing);
            }
        }
        self.count()?;
        let id = match &options.id {
            Some(id) => id.clone(),
            None => store::new_id(),
        };
        let snapshot = fhir::snapshot::cut(&mut prepared.resource);
        let (resource, resolved) = self.resolve(prepared.resource)?;
        let stored = self.tx.create(resource, &id)?;
        content::keep(self.tx, &stored, &prepared.content)?;
        self.note_changes();
        self.keep_snapshot(&stored, snapshot.as_ref(), options.in_bundle)?;
        // A Bundle checks references and offers Tasks when all its entries are stored.
        if !options.in_bundle {
            self.check_references_besides(&stored.resource, None, &resolved)?;
            self.offer_task(&stored.resource)?;
        }
        let version = version_of(&stored);
        let shown = if options.returns == Return::Representation {
            self.shown_with(&stored, snapshot)?
        } else {
            Resource::new(prepared.resource_type.as_str())
        };
        Ok(Reply::written(StatusCode::CREATED, version, shown, options.returns, &self.shared.base_url))
    }

    /// Validates a resource as it was sent; if that fails, as it will be stored, with logical references resolved. Some
    /// profiles want the literal that a client may leave out (and never gets to see), others forbid to send one.
    pub(super) fn validate(&mut self, prepared: &Prepared) -> Result<(), Refusal> {
        let Err(refusal) = prepared.validate(&self.profiles) else { return Ok(()) };
        let resolved = self.resolve_logical(prepared.resource.clone())?;
        if resolved == prepared.resource || prepared.validate_as(&resolved, &self.profiles).is_err() {
            return Err(refusal);
        }
        Ok(())
    }

    /// The answer if the criteria of `If-None-Exist` match one resource.
    fn existing(&mut self, resource_type: ResourceType, options: &CreateOptions) -> Result<Option<Reply>, Refusal> {
        let Some(criteria) = &options.if_none_exist else { return Ok(None) };
        let criteria = criteria.trim();
        if criteria.is_empty() {
            return Err(Refusal::bad_request("If-None-Exist is blank"));
        }
        let criteria = match criteria.split_once('?') {
            Some(("", criteria)) => criteria,
            Some((path, criteria)) if !path.contains(['=', '&']) => {
                return Err(Refusal::bad_request("If-None-Exist must not have a path")
                    .because(format!("{} criteria behind a path", criteria.len())));
            }
            _ => criteria,
        };
        match self.match_for_caller(resource_type, criteria)? {
            None => Ok(None),
            Some(found) => {
                let text = format!("{resource_type} resource exists at {}", found.location(&self.shared.base_url));
                let mut reply = Reply::information(StatusCode::OK, Some(found), IssueCode::Duplicate, text);
                reply.located = true;
                reply.header(http::header::VARY, "Cookie");
                Ok(Some(reply))
            }
        }
    }
}
