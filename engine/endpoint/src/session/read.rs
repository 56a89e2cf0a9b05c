//! Read, vread and their HEAD forms (`fhir-api` 1.7, 1.8).
//!
//! The right to read is judged for the version that is asked for, and before anything is told about it: a deleted
//! resource answers 410 only to those who could read its last version (the reference tells everybody).

use fhir::ResourceType;
use http::StatusCode;
use store::Found;

use super::Session;
use super::search::version_of;
use crate::answers::Keep;
use crate::limits;
use crate::precondition::{Preconditions, Verdict};
use crate::refusal::{Code, Refusal};
use crate::reply::Reply;

impl Session<'_, '_> {
    /// Reads the current state, or the version that is named.
    pub(crate) fn read(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: Option<u64>,
        preconditions: &Preconditions,
    ) -> Result<Reply, Refusal> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(Refusal::not_a_uuid(resource_type.as_str(), id));
        }
        let found = match version {
            None => self.tx.read(resource_type, id)?,
            Some(version) => self.tx.read_version(resource_type, id, version)?,
        };
        self.show(resource_type, id, found, preconditions, None)
    }

    /// Reads as [`Self::read`]; `None` if the resource is larger than [`limits::SMALL_BYTES`], without having parsed it.
    /// With `keep`, which was noted before, the answer can be kept.
    pub(crate) fn read_small(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: Option<u64>,
        preconditions: &Preconditions,
        keep: Option<Keep>,
    ) -> Result<Option<Reply>, Refusal> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(Refusal::not_a_uuid(resource_type.as_str(), id));
        }
        match self.tx.read_small(resource_type, id, version, limits::SMALL_BYTES)? {
            Some(found) => self.show(resource_type, id, found, preconditions, keep).map(Some),
            None => Ok(None),
        }
    }

    fn show(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        found: Found,
        preconditions: &Preconditions,
        keep: Option<Keep>,
    ) -> Result<Reply, Refusal> {
        let stored = match found {
            Found::Missing => return Err(Refusal::not_found()),
            Found::Deleted { version, at } => {
                if !self.may_read(resource_type, id, version)? {
                    return Err(Refusal::forbidden("read", "deleted resource was not readable"));
                }
                return Err(Refusal::gone(resource_type.as_str(), id, version, at, &self.shared.base_url));
            }
            Found::Current(stored) => stored,
        };
        if !self.may_read(resource_type, id, stored.version)? {
            return Err(Refusal::forbidden("read", "no read access to the version"));
        }
        let version = version_of(&stored);
        match preconditions.judge(version.version, version.last_updated) {
            Verdict::Proceed => {
                let keep = match keep {
                    Some(keep) => {
                        let grants = self.tx.grants(resource_type, id, version.version)?;
                        Some(Box::new(keep.of(version.version, version.last_updated, grants)))
                    }
                    None => None,
                };
                let resource = self.shown_alone(stored)?;
                Ok(Reply { keep, ..Reply::resource(StatusCode::OK, Some(version), resource) })
            }
            Verdict::NotModified => Ok(Reply::empty(StatusCode::NOT_MODIFIED, Some(version))),
            Verdict::Failed => Err(Refusal::empty(StatusCode::PRECONDITION_FAILED, Code::Precondition)),
        }
    }
}
