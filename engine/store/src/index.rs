//! Writing the search indexes of a resource.
//!
//! The entries come from `fhir::search::extract`, the same table that parses queries; this module only spreads them over
//! the tables by kind. A resource is indexed in its current version alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use fhir::date::Zone;
use fhir::search::{Context, IndexValue, extract_in, parameters};
use fhir::{Resource, ResourceType};
use sha2::{Digest, Sha256};

use crate::read_access::Grant;
use crate::resources::{parse_content, parse_type};
use crate::{StoreError, Transaction, limits, tally};

/// Raised whenever `fhir::search::extract` gives other entries for the same resource than before, or other things are
/// counted, so that stores which were written earlier are indexed anew when they are opened.
const EXTRACTION: u32 = 2;

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
    /// Writes the entries of a current version; gives the subjects by which it is counted besides its type.
    pub(crate) fn insert_index(
        &mut self,
        rid: i64,
        resource_type: ResourceType,
        resource: &Resource,
        last_updated: i64,
    ) -> Result<Vec<String>, StoreError> {
        let entries = extract_in(&self.context().as_context(), resource);
        if entries.len() > limits::INDEX_ENTRIES {
            let (size, limit) = (entries.len(), limits::INDEX_ENTRIES);
            return Err(StoreError::TooLarge { what: "list of searchable values", size, limit });
        }
        let mut subjects = BTreeSet::new();
        for entry in entries {
            let column = column(resource_type, entry.parameter);
            self.insert_entry(rid, &column, &entry.value, last_updated)?;
            if let IndexValue::Token { code, .. } = &entry.value
                && is_counted(resource_type, entry.parameter)
            {
                subjects.insert(tally::of_code(&column, code));
            }
        }
        Ok(subjects.into_iter().collect())
    }

    /// The subjects by which a current version is counted besides its type, as its entries say.
    pub(crate) fn counted_codes(&mut self, rid: i64, resource_type: ResourceType) -> Result<Vec<String>, StoreError> {
        let mut subjects = BTreeSet::new();
        for parameter in parameters(resource_type).iter().filter(|parameter| tally::has_counts(parameter)) {
            let column = column(resource_type, parameter.name);
            let codes = self.rows(
                "SELECT code FROM token_index WHERE rid = ?1 AND parameter = ?2",
                &[rid.into(), column.as_str().into()],
                |row| row.string(0),
            )?;
            subjects.extend(codes.iter().map(|code| tally::of_code(&column, code)));
        }
        Ok(subjects.into_iter().collect())
    }

    fn insert_entry(
        &mut self,
        rid: i64,
        parameter: &str,
        value: &IndexValue,
        last_updated: i64,
    ) -> Result<(), StoreError> {
        match value {
            IndexValue::Token { system, code } => self.put(
                "INSERT INTO token_index (rid, parameter, code, system, last_updated) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
                &[
                    rid.into(),
                    parameter.into(),
                    bounded(code).into(),
                    text(system.as_deref()).into(),
                    last_updated.into(),
                ],
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

    /// Indexes and counts the next resources behind `rid`; returns the last one, `None` at the end, when the index is
    /// recorded as up to date. An interrupted run starts again at the next opening.
    pub(crate) fn rebuild_index(&mut self, rid: i64) -> Result<Option<i64>, StoreError> {
        if rid == 0 {
            self.forget_counts()?;
        }
        let batch = self.rows(
            "SELECT r.rid, r.type, v.content, r.version, r.last_updated FROM resource AS r
             JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version
             WHERE r.rid > ?1 ORDER BY r.rid LIMIT ?2",
            &[rid.into(), BATCH.into()],
            |row| {
                let resource = row.optional_text(2)?.map(parse_content).transpose()?;
                Ok((row.integer(0)?, parse_type(row.text(1)?)?, resource, row.unsigned(3)?, row.integer(4)?))
            },
        )?;
        for (rid, resource_type, resource, version, last_updated) in &batch {
            self.remove_index(*rid)?;
            if let Some(resource) = resource {
                let mut subjects = self.insert_index(*rid, *resource_type, resource, *last_updated)?;
                subjects.push(tally::of_type(*resource_type));
                let readers = Arc::new(self.readers(*rid, *version)?);
                self.note_count(subjects, *last_updated, &readers, 1);
            }
            self.note_versions(*rid, *resource_type, 1)?;
        }
        if let Some((last, ..)) = batch.last() {
            return Ok(Some(*last));
        }
        let made = self.context().fingerprint();
        self.set_setting(SETTING, made.as_bytes())?;
        Ok(None)
    }

    /// Who may see a version.
    pub(crate) fn readers(&mut self, rid: i64, version: u64) -> Result<BTreeSet<Grant>, StoreError> {
        let readers = self.rows(
            "SELECT grantee FROM read_access WHERE rid = ?1 AND version = ?2",
            &[rid.into(), version.into()],
            |row| row.string(0),
        )?;
        Ok(readers.into_iter().map(Grant::from_stored).collect())
    }

    /// Counts every version of a resource.
    pub(crate) fn note_versions(&mut self, rid: i64, resource_type: ResourceType, by: i64) -> Result<(), StoreError> {
        let versions =
            self.rows("SELECT version, last_updated FROM resource_version WHERE rid = ?1", &[rid.into()], |row| {
                Ok((row.unsigned(0)?, row.integer(1)?))
            })?;
        for (version, time) in versions {
            let readers = Arc::new(self.readers(rid, version)?);
            self.note_count([tally::of_history(resource_type)], time, &readers, by);
        }
        Ok(())
    }
}

fn is_counted(resource_type: ResourceType, name: &str) -> bool {
    parameters(resource_type).iter().any(|parameter| parameter.name == name && tally::has_counts(parameter))
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
