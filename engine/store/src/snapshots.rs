//! Snapshots of StructureDefinitions, beside the resources (`docs/decisions/012`).
//!
//! Each belongs to the current version of its resource: the next version brings its own or has none, and a deletion takes
//! it away.

use fhir::ResourceType::StructureDefinition;
use fhir::Value;

use crate::{StoreError, Transaction, limits};

impl Transaction<'_> {
    /// Keeps the snapshot of the current version of the StructureDefinition.
    pub fn set_snapshot(&mut self, id: &str, snapshot: &Value) -> Result<(), StoreError> {
        let content = fhir::json::print_value(snapshot, false);
        if content.len() > limits::RESOURCE_BYTES {
            return Err(StoreError::TooLarge { what: "snapshot", size: content.len(), limit: limits::RESOURCE_BYTES });
        }
        self.execute(
            "INSERT INTO structure_definition_snapshot (rid, version, content)
             SELECT rid, version, ?3 FROM resource WHERE type = ?1 AND id = ?2 AND deleted = 0
             ON CONFLICT (rid) DO UPDATE SET version = excluded.version, content = excluded.content",
            &[StructureDefinition.as_str().into(), id.into(), content.as_str().into()],
        )?;
        Ok(())
    }

    /// The snapshot of this version of the StructureDefinition; none if it is not the current one or has none.
    pub fn snapshot(&mut self, id: &str, version: u64) -> Result<Option<Value>, StoreError> {
        let content = self.row(
            "SELECT s.content FROM resource AS r JOIN structure_definition_snapshot AS s ON s.rid = r.rid
             WHERE r.type = ?1 AND r.id = ?2 AND s.version = ?3",
            &[StructureDefinition.as_str().into(), id.into(), version.into()],
            |row| row.string(0),
        )?;
        let Some(content) = content else { return Ok(None) };
        let parsed = fhir::json::parse_value(content.as_bytes(), &limits::stored_content());
        parsed.map(Some).map_err(|error| StoreError::BadRow(format!("snapshot: {error}")))
    }

    /// Takes the snapshot away.
    pub(crate) fn remove_snapshot(&mut self, rid: i64) -> Result<(), StoreError> {
        self.execute("DELETE FROM structure_definition_snapshot WHERE rid = ?1", &[rid.into()])?;
        Ok(())
    }
}
