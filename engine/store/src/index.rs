//! Writing the search indexes of a resource.
//!
//! The entries come from `fhir::search::extract`, the same table that parses queries; this module only spreads them over
//! the tables by kind. A resource is indexed in its current version alone.

use std::borrow::Cow;
use std::fmt::Write as _;

use fhir::date::Zone;
use fhir::search::{Context, IndexValue, extract_in};
use fhir::{Resource, ResourceType};
use sha2::{Digest, Sha256};

use crate::resources::{parse_content, parse_type};
use crate::{StoreError, Transaction, limits};

/// Raised whenever `fhir::search::extract` gives other entries for the same resource than before, so that stores which
/// were written earlier are indexed anew when they are opened.
const EXTRACTION: u32 = 1;

/// The setting that says how the index was made.
const SETTING: &str = "index";

/// Resources indexed anew in one transaction.
const BATCH: u32 = 500;

/// What index entries depend on beside the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexContext {
    /// The zone of times that name none; queries must be read with the same.
    pub zone: Zone,
    /// The node's base URL without trailing slash: absolute references below it are literal ones.
    pub base: Option<String>,
}

const TABLES: &[&str] = &[
    "DELETE FROM token_index WHERE rid = ?1",
    "DELETE FROM string_index WHERE rid = ?1",
    "DELETE FROM uri_index WHERE rid = ?1",
    "DELETE FROM date_index WHERE rid = ?1",
    "DELETE FROM reference_index WHERE rid = ?1",
];

impl IndexContext {
    /// The context for `fhir::search`.
    #[must_use]
    pub fn as_context(&self) -> Context<'_> {
        Context { zone: self.zone, base: self.base.as_deref(), ..Context::default() }
    }

    fn fingerprint(&self) -> String {
        format!("{EXTRACTION} {:?} {}", self.zone, self.base.as_deref().unwrap_or_default())
    }
}

impl Transaction<'_> {
    pub(crate) fn insert_index(
        &mut self,
        rid: i64,
        resource_type: ResourceType,
        resource: &Resource,
    ) -> Result<(), StoreError> {
        let entries = extract_in(&self.context().as_context(), resource);
        if entries.len() > limits::INDEX_ENTRIES {
            let (size, limit) = (entries.len(), limits::INDEX_ENTRIES);
            return Err(StoreError::TooLarge { what: "list of searchable values", size, limit });
        }
        for entry in entries {
            self.insert_entry(rid, &column(resource_type, entry.parameter), &entry.value)?;
        }
        Ok(())
    }

    fn insert_entry(&mut self, rid: i64, parameter: &str, value: &IndexValue) -> Result<(), StoreError> {
        match value {
            IndexValue::Token { system, code } => self.put(
                "INSERT INTO token_index (rid, parameter, code, system) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                &[rid.into(), parameter.into(), bounded(code).into(), text(system.as_deref()).into()],
            ),
            IndexValue::String { folded, exact } => self.put(
                "INSERT INTO string_index (rid, parameter, folded, exact) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
                &[rid.into(), parameter.into(), bounded(folded).into(), bounded(exact).into()],
            ),
            IndexValue::Uri { uri, version } => self.put(
                "INSERT INTO uri_index (rid, parameter, value, version) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                &[rid.into(), parameter.into(), bounded(uri).into(), text(version.as_deref()).into()],
            ),
            IndexValue::Canonical { text, .. } => self.put(
                "INSERT INTO uri_index (rid, parameter, value, version) VALUES (?1, ?2, ?3, '') ON CONFLICT DO NOTHING",
                &[rid.into(), parameter.into(), bounded(text).into()],
            ),
            IndexValue::Date { low, high } => self.put(
                "INSERT INTO date_index (rid, parameter, low, high) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                &[rid.into(), parameter.into(), (*low).into(), (*high).into()],
            ),
            IndexValue::Reference { type_name, id, url, identifier, .. } => {
                let (system, value) = match identifier {
                    Some((system, value)) => (system.as_deref(), Some(value.as_str())),
                    None => (None, None),
                };
                self.put(
                    "INSERT INTO reference_index (rid, parameter, target_id, target_type, url, identifier_value,
                        identifier_system) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                    &[
                        rid.into(),
                        parameter.into(),
                        text(id.as_deref()).into(),
                        text(type_name.as_deref()).into(),
                        text(url.as_deref()).into(),
                        text(value).into(),
                        text(system).into(),
                    ],
                )
            }
        }?;
        Ok(())
    }

    pub(crate) fn remove_index(&mut self, rid: i64) -> Result<(), StoreError> {
        for sql in TABLES {
            self.put(sql, &[rid.into()])?;
        }
        Ok(())
    }

    /// Whether the index was made in another way than it is made now.
    pub(crate) fn is_index_outdated(&mut self) -> Result<bool, StoreError> {
        let made = self.setting(SETTING)?;
        Ok(made.as_deref() != Some(self.context().fingerprint().as_bytes()))
    }

    /// Indexes the next resources behind `rid`; returns the last one, `None` at the end, when the index is recorded as
    /// up to date. An interrupted run starts again at the next opening.
    pub(crate) fn rebuild_index(&mut self, rid: i64) -> Result<Option<i64>, StoreError> {
        let batch = self.rows(
            "SELECT r.rid, r.type, v.content FROM resource AS r
             JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version
             WHERE r.rid > ?1 AND r.deleted = 0 ORDER BY r.rid LIMIT ?2",
            &[rid.into(), BATCH.into()],
            |row| Ok((row.integer(0)?, parse_type(row.text(1)?)?, parse_content(row.text(2)?)?)),
        )?;
        for (rid, resource_type, resource) in &batch {
            self.remove_index(*rid)?;
            self.insert_index(*rid, *resource_type, resource)?;
        }
        if let Some((last, ..)) = batch.last() {
            return Ok(Some(*last));
        }
        let made = self.context().fingerprint();
        self.set_setting(SETTING, made.as_bytes())?;
        Ok(None)
    }
}

/// The name of a parameter in the index tables.
pub(crate) fn column(resource_type: ResourceType, parameter: &str) -> String {
    format!("{resource_type}.{parameter}")
}

/// An optional text as it stands in an index, where an absent one is empty.
fn text(value: Option<&str>) -> Cow<'_, str> {
    bounded(value.unwrap_or_default())
}

/// A value as it stands in an index: itself, or its beginning and its digest if it is long. Equal values give equal
/// texts and different values different ones; a search by prefix finds long values by up to the bytes that are kept.
pub(crate) fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= limits::INDEXED_BYTES {
        return Cow::Borrowed(value);
    }
    let kept = value.get(..value.floor_char_boundary(limits::INDEXED_BYTES)).unwrap_or_default();
    let mut text = format!("{kept}#");
    for byte in Sha256::digest(value.as_bytes()) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests;
