//! Soft delete, conditional delete and `$permanent-delete` (`fhir-api` 1.7, 1.8).

use fhir::ResourceType;
use fhir::outcome::IssueCode;
use http::StatusCode;
use store::{Found, StoreError};

use super::Session;
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Session<'_, '_> {
    /// Marks a resource deleted; one that is deleted stays as it is.
    pub(crate) fn delete(&mut self, resource_type: ResourceType, id: &str) -> Result<Reply, Refusal> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(Refusal::not_a_uuid(resource_type.as_str(), id));
        }
        match self.tx.read(resource_type, id)? {
            Found::Current(old) => {
                self.check_delete(&old.resource, resource_type)?;
                self.tx.delete(resource_type, id)?;
                self.note_changes();
            }
            Found::Deleted { version, .. } => {
                let Some(last) = self.tx.read_version(resource_type, id, version.saturating_sub(1))?.current() else {
                    return Err(Refusal::store("last version of a deleted resource cannot be read"));
                };
                self.check_delete(&last.resource, resource_type)?;
            }
            Found::Missing => {
                self.check_delete_unknown(resource_type)?;
                return Err(Refusal::not_found_with(format!("{resource_type} with id {id} not found")));
            }
        }
        let text = format!("{resource_type} with id {id} marked as deleted");
        Ok(Reply::information(StatusCode::OK, None, IssueCode::Deleted, text))
    }

    /// Deletes the one resource that the criteria match. A request of its own finds only what the caller may read, an
    /// entry of a Bundle finds everything, as in the reference.
    pub(crate) fn conditional_delete(
        &mut self,
        resource_type: ResourceType,
        criteria: &str,
        in_bundle: bool,
    ) -> Result<Reply, Refusal> {
        self.check_delete_unknown(resource_type)?;
        let found = if in_bundle {
            self.match_one(resource_type, criteria)?
        } else {
            self.match_one_readable(resource_type, criteria)?
        };
        match found {
            None => Ok(Reply::empty(StatusCode::NO_CONTENT, None)),
            Some(found) => self.delete(resource_type, &found.id),
        }
    }

    /// Removes every version of a resource that is marked deleted.
    pub(crate) fn delete_permanently(&mut self, resource_type: ResourceType, id: &str) -> Result<Reply, Refusal> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(Refusal::not_a_uuid(resource_type.as_str(), id));
        }
        let last = match self.tx.read(resource_type, id)? {
            Found::Current(stored) => stored,
            Found::Deleted { version, .. } => self
                .tx
                .read_version(resource_type, id, version.saturating_sub(1))?
                .current()
                .ok_or_else(|| Refusal::store("last version of a deleted resource cannot be read"))?,
            Found::Missing => {
                self.check_delete_unknown(resource_type)?;
                return Err(Refusal::not_found_with(format!("{resource_type} with id {id} not found")));
            }
        };
        self.check_permanent_delete(&last.resource, resource_type)?;
        match self.tx.delete_permanently(resource_type, id) {
            Ok(()) => {}
            Err(StoreError::NotDeleted { .. }) => {
                return Err(Refusal::bad_request(format!("{resource_type} with id {id} is not marked deleted")));
            }
            Err(error) => return Err(error.into()),
        }
        self.note_changes();
        let text = format!("{resource_type} with id {id} permanently deleted");
        Ok(Reply::information(StatusCode::OK, None, IssueCode::Deleted, text))
    }
}
