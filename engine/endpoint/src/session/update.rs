//! Update and conditional update (`fhir-api` 1.6).

use fhir::{Resource, ResourceType};
use http::StatusCode;
use store::{Found, StoredResource};

use super::Session;
use super::create::{CreateOptions, Prepared};
use super::search::version_of;
use crate::content;
use crate::prefer::Return;
use crate::refusal::Refusal;
use crate::reply::Reply;

/// How an update is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpdateOptions {
    pub(crate) if_match: Option<u64>,
    pub(crate) returns: Return,
    /// Id that other entries of the Bundle know already, for a conditional update that creates.
    pub(crate) id: Option<String>,
    pub(crate) in_bundle: bool,
}

impl Session<'_, '_> {
    /// Stores the next version of the resource with the id of the path.
    pub(crate) fn update(&mut self, prepared: &Prepared, id: &str, options: &UpdateOptions) -> Result<Reply, Refusal> {
        let resource_type = prepared.resource_type;
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(Refusal::not_a_uuid(resource_type.as_str(), id));
        }
        if prepared.resource.id() != Some(id) {
            return Err(Refusal::bad_request("Path id does not match resource id"));
        }
        let old = match self.tx.read(resource_type, id)? {
            Found::Current(stored) => stored,
            Found::Deleted { version, at } => {
                return Err(Refusal::gone(resource_type.as_str(), id, version, at, &self.shared.base_url));
            }
            Found::Missing => return Err(Refusal::update_as_create()),
        };
        self.replace(prepared, &old, options)
    }

    /// Updates the one resource that the criteria match, or creates it.
    pub(crate) fn conditional_update(
        &mut self,
        prepared: Prepared,
        criteria: &str,
        options: &UpdateOptions,
    ) -> Result<Reply, Refusal> {
        let resource_type = prepared.resource_type;
        // In a Bundle the id is a temporary one, which says nothing about the stored resource.
        let body_id = if options.in_bundle { None } else { prepared.resource.id().map(str::to_owned) };
        let Some(found) = self.match_one(resource_type, criteria)? else {
            if body_id.is_some() {
                return Err(Refusal::update_as_create());
            }
            let create = CreateOptions {
                if_none_exist: None,
                returns: options.returns,
                id: options.id.clone(),
                in_bundle: options.in_bundle,
            };
            return self.create(prepared, &create);
        };
        if let Some(body_id) = body_id.filter(|body_id| *body_id != found.id) {
            return Err(Refusal::bad_request(format!("Id {body_id} does not match db Id {}", found.id)));
        }
        let Some(old) = self.tx.read(resource_type, &found.id)?.current() else {
            return Err(Refusal::store("matched resource cannot be read"));
        };
        self.replace(&prepared, &old, options)
    }

    /// The rules are given the stored resource as the old one, also for a conditional update: comparing the new resource
    /// with itself is the hole of GHSA-448w-h27c-w53m.
    fn replace(
        &mut self,
        prepared: &Prepared,
        old: &StoredResource,
        options: &UpdateOptions,
    ) -> Result<Reply, Refusal> {
        let resource_type = prepared.resource_type;
        self.check_update(&old.resource, &prepared.resource, resource_type)?;
        // A Task may fail whatever it holds, so that a process can always be ended.
        let fails = is_task_with_status(&prepared.resource, "failed");
        if !fails {
            self.validate(prepared)?;
        }
        if let Some(expected) = options.if_match.filter(|expected| *expected != old.version) {
            return Err(Refusal::version_conflict(expected, old.version));
        }
        let mut resource =
            if fails { prepared.resource.clone() } else { self.resolve_logical(prepared.resource.clone())? };
        let snapshot = fhir::snapshot::cut(&mut resource);
        let stored = self.tx.update(resource, &old.id, Some(old.version))?;
        content::keep(self.tx, &stored, &prepared.content)?;
        self.note_changes();
        self.keep_snapshot(&stored, snapshot.as_ref(), options.in_bundle)?;
        if !options.in_bundle {
            self.check_references(&stored.resource, Some(&old.resource))?;
            self.offer_answer(&stored.resource)?;
        }
        let version = version_of(&stored);
        let shown = if options.returns == Return::Representation {
            self.shown_with(&stored, snapshot)?
        } else {
            Resource::new(resource_type.as_str())
        };
        Ok(Reply::written(StatusCode::OK, version, shown, options.returns, &self.shared.base_url))
    }
}

pub(crate) fn is_task_with_status(resource: &Resource, status: &str) -> bool {
    resource.resource_type() == Some(ResourceType::Task) && resource.str("status") == Some(status)
}
