//! Comparison of what is stored beside the resources with the resources themselves, for administrators and tests.
//!
//! Keys, indexes and readers are computed again from the content and compared with the rows; the chain of versions, the
//! pieces of Binaries and their owners are followed. Nothing is changed. Resources are looked at in portions, each on a
//! snapshot of its own, so that a node can be checked while it works.

use std::collections::BTreeSet;

use fhir::search::{IndexValue, extract_in};
use fhir::{Resource, ResourceType};

use crate::index::{bounded, column};
use crate::read_access::{self, Access};
use crate::resources::{parse_content, parse_type};
use crate::{StoreError, Transaction, limits, unique};

/// What a portion of the store showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Resources that were compared.
    pub resources: u64,
    /// Versions that were read.
    pub versions: u64,
    /// What does not fit, for people.
    pub problems: Vec<String>,
    /// Where the next portion begins; `None` at the end.
    pub next: Option<i64>,
}

/// A row of an index table: the table and its columns as text.
type IndexRow = (&'static str, Vec<String>);

/// A resource under comparison.
struct Subject {
    rid: i64,
    resource_type: ResourceType,
    id: String,
    version: u64,
    last_updated: i64,
    deleted: bool,
}

/// A version as it stands.
struct VersionRow {
    version: u64,
    kind: String,
    id: String,
    last_updated: i64,
    deleted: bool,
    content: Option<String>,
}

/// Tables of index rows with a query that gives their columns as text or integers.
const INDEXES: &[(&str, &str, usize)] = &[
    ("token_index", "SELECT parameter, code, system FROM token_index WHERE rid = ?1", 3),
    ("string_index", "SELECT parameter, folded, exact FROM string_index WHERE rid = ?1", 3),
    ("uri_index", "SELECT parameter, value, version FROM uri_index WHERE rid = ?1", 3),
    (
        "reference_index",
        "SELECT parameter, target_id, target_type, url, identifier_value, identifier_system FROM reference_index
         WHERE rid = ?1",
        6,
    ),
];

impl Transaction<'_> {
    /// Compares up to `count` resources behind `after`, the beginning being 0.
    pub fn verify_resources(&mut self, after: i64, count: u32) -> Result<Verified, StoreError> {
        let subjects = self.rows(
            "SELECT rid, type, id, version, last_updated, deleted FROM resource WHERE rid > ?1 ORDER BY rid LIMIT ?2",
            &[after.into(), count.into()],
            |row| {
                Ok(Subject {
                    rid: row.integer(0)?,
                    resource_type: parse_type(row.text(1)?)?,
                    id: row.string(2)?,
                    version: row.unsigned(3)?,
                    last_updated: row.integer(4)?,
                    deleted: row.boolean(5)?,
                })
            },
        )?;
        let next = if subjects.len() < count as usize { None } else { subjects.last().map(|last| last.rid) };
        let mut verified = Verified { resources: subjects.len() as u64, next, ..Verified::default() };
        for subject in &subjects {
            let mut problems = Vec::new();
            verified.versions += self.verify_resource(subject, &mut problems)?;
            let name = format!("{}/{}", subject.resource_type, subject.id);
            verified.problems.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
        }
        Ok(verified)
    }

    /// Compares the content of Binaries with the versions that own it. What is given up and not removed yet is none.
    pub fn verify_contents(&mut self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let lists: [(&str, &'static str); 4] = [
            (
                "content is owned by no version",
                "SELECT u.id FROM upload AS u WHERE u.adopted = 1
                 AND NOT EXISTS (SELECT 1 FROM binary_content AS c WHERE c.upload = u.id)",
            ),
            (
                "content of a version is not marked as owned",
                "SELECT u.id FROM upload AS u JOIN binary_content AS c ON c.upload = u.id WHERE u.adopted = 0",
            ),
            (
                "content is owned by a version that is not there",
                "SELECT c.upload FROM binary_content AS c WHERE NOT EXISTS
                 (SELECT 1 FROM resource_version AS v WHERE v.rid = c.rid AND v.version = c.version)",
            ),
            (
                "pieces belong to no upload",
                "SELECT DISTINCT p.upload FROM upload_chunk AS p
                 WHERE NOT EXISTS (SELECT 1 FROM upload AS u WHERE u.id = p.upload)",
            ),
        ];
        for (problem, sql) in lists {
            let found = self.rows(sql, &[], |row| row.string(0))?;
            verified.problems.extend(found.into_iter().map(|upload| format!("upload {upload}: {problem}")));
        }
        let owned = self
            .rows("SELECT id, size FROM upload WHERE adopted = 1", &[], |row| Ok((row.string(0)?, row.unsigned(1)?)))?;
        for (upload, size) in owned {
            let pieces = self.rows(
                "SELECT position, CAST(LENGTH(data) AS BIGINT) FROM upload_chunk WHERE upload = ?1 ORDER BY position",
                &[upload.as_str().into()],
                |row| Ok((row.unsigned(0)?, row.unsigned(1)?)),
            )?;
            let total: u64 = pieces.iter().map(|(_, length)| length).sum();
            let whole = limits::CHUNK_BYTES as u64;
            let is_gapless = pieces.iter().enumerate().all(|(index, (position, length))| {
                *position == index as u64 && (*length == whole || index + 1 == pieces.len())
            });
            if total != size || !is_gapless {
                verified.problems.push(format!("upload {upload}: {total} bytes in {} pieces of {size}", pieces.len()));
            }
        }
        Ok(verified)
    }

    fn verify_resource(&mut self, subject: &Subject, problems: &mut Vec<String>) -> Result<u64, StoreError> {
        let versions = self.rows(
            "SELECT version, type, id, last_updated, deleted, content FROM resource_version WHERE rid = ?1
             ORDER BY version",
            &[subject.rid.into()],
            |row| {
                Ok(VersionRow {
                    version: row.unsigned(0)?,
                    kind: row.string(1)?,
                    id: row.string(2)?,
                    last_updated: row.integer(3)?,
                    deleted: row.boolean(4)?,
                    content: row.optional_string(5)?,
                })
            },
        )?;
        check_chain(subject, &versions, self.history_forgotten()?, problems);
        let mut current = None;
        for version in &versions {
            let Some(content) = &version.content else { continue };
            match parse_content(content) {
                Ok(resource) => {
                    check_content(subject, version, &resource, problems);
                    self.check_readers(subject, version.version, &resource, problems)?;
                    current = Some(resource);
                }
                Err(error) => problems.push(format!("version {}: {error}", version.version)),
            }
        }
        let current = current.filter(|_| !subject.deleted);
        self.check_keys(subject, current.as_ref(), problems)?;
        self.check_index(subject, current.as_ref(), problems)?;
        Ok(versions.len() as u64)
    }

    fn check_readers(
        &mut self,
        subject: &Subject,
        version: u64,
        resource: &Resource,
        problems: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let base = self.context().base.as_deref();
        // Readers by a context are those of another resource, which has been compared itself.
        let Access::Own(grants) = read_access::access(subject.resource_type, resource, base) else { return Ok(()) };
        let expected: BTreeSet<String> = grants.iter().map(|grant| grant.as_str().to_owned()).collect();
        let stored = self.rows(
            "SELECT grantee FROM read_access WHERE rid = ?1 AND version = ?2",
            &[subject.rid.into(), version.into()],
            |row| row.string(0),
        )?;
        if stored.into_iter().collect::<BTreeSet<_>>() != expected {
            problems.push(format!("version {version}: its readers are not those that its content names"));
        }
        Ok(())
    }

    fn check_keys(
        &mut self,
        subject: &Subject,
        current: Option<&Resource>,
        problems: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let base = self.context().base.as_deref();
        let keys = current.map(|resource| unique::unique_keys(subject.resource_type, resource, base));
        let expected: BTreeSet<(String, String)> = keys
            .unwrap_or_default()
            .into_iter()
            .map(|key| (key.kind.to_owned(), bounded(&key.key).into_owned()))
            .collect();
        let stored = self.rows("SELECT kind, value FROM unique_key WHERE rid = ?1", &[subject.rid.into()], |row| {
            Ok((row.string(0)?, row.string(1)?))
        })?;
        if stored.into_iter().collect::<BTreeSet<_>>() != expected {
            problems.push("its unique keys are not those of its content".to_owned());
        }
        Ok(())
    }

    fn check_index(
        &mut self,
        subject: &Subject,
        current: Option<&Resource>,
        problems: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let context = self.context().as_context();
        let expected: BTreeSet<IndexRow> = match current {
            None => BTreeSet::new(),
            Some(resource) => extract_in(&context, resource)
                .into_iter()
                .map(|entry| index_row(column(subject.resource_type, entry.parameter), entry.value))
                .collect(),
        };
        let mut stored: BTreeSet<IndexRow> = BTreeSet::new();
        for (table, sql, columns) in INDEXES {
            let rows = self.rows(sql, &[subject.rid.into()], |row| {
                (0..*columns).map(|column| row.string(column)).collect::<Result<Vec<_>, _>>()
            })?;
            stored.extend(rows.into_iter().map(|row| (*table, row)));
        }
        let dates =
            self.rows("SELECT parameter, low, high FROM date_index WHERE rid = ?1", &[subject.rid.into()], |row| {
                Ok(vec![row.string(0)?, row.integer(1)?.to_string(), row.integer(2)?.to_string()])
            })?;
        stored.extend(dates.into_iter().map(|row| ("date_index", row)));
        for (table, row) in expected.difference(&stored) {
            problems.push(format!("{table} has no row for {}", row.first().map_or("", String::as_str)));
        }
        for (table, row) in stored.difference(&expected) {
            problems.push(format!("{table} has a wrong row for {}", row.first().map_or("", String::as_str)));
        }
        Ok(())
    }
}

/// Versions count from 1 without a gap; only the last may be a deletion, and the head says what the last is.
fn check_chain(subject: &Subject, versions: &[VersionRow], forgotten: i64, problems: &mut Vec<String>) {
    let mut expected = 1;
    for row in versions {
        // Versions that were replaced before that time may have been removed after their retention.
        if row.version != expected && (row.version < expected || row.last_updated >= forgotten) {
            problems.push(format!("of its versions {} stands where {expected} is due", row.version));
        }
        expected = row.version + 1;
    }
    if expected != subject.version + 1 {
        problems.push(format!("has versions up to {}, but should have them to {}", expected - 1, subject.version));
    }
    for row in versions {
        let is_last = row.version == subject.version;
        if row.kind != subject.resource_type.as_str() || row.id != subject.id {
            problems.push(format!("version {} is of {}/{}", row.version, row.kind, row.id));
        }
        if row.deleted != row.content.is_none() || row.deleted != (is_last && subject.deleted) {
            problems.push(format!("version {} is a deletion or not, against its head or content", row.version));
        }
        if is_last && row.last_updated != subject.last_updated {
            problems.push("the time of its current version is not its own".to_owned());
        }
    }
}

fn check_content(subject: &Subject, row: &VersionRow, resource: &Resource, problems: &mut Vec<String>) {
    let meta = |name: &str| resource.get("meta").and_then(|meta| meta.str(name));
    let time = meta("lastUpdated").and_then(fhir::date::parse_instant).map(fhir::date::milliseconds);
    let is_of_version = resource.type_name() == subject.resource_type.as_str()
        && resource.id() == Some(subject.id.as_str())
        && meta("versionId") == Some(row.version.to_string().as_str())
        && time == Some(row.last_updated);
    if !is_of_version {
        problems.push(format!("version {}: type, id, version or time of the content is another", row.version));
    }
}

/// The row that an index entry makes.
fn index_row(parameter: String, value: IndexValue) -> IndexRow {
    let text = |value: Option<&str>| bounded(value.unwrap_or_default()).into_owned();
    match value {
        IndexValue::Token { system, code } => {
            ("token_index", vec![parameter, text(Some(&code)), text(system.as_deref())])
        }
        IndexValue::String { folded, exact } => {
            ("string_index", vec![parameter, text(Some(&folded)), text(Some(&exact))])
        }
        IndexValue::Uri { uri, version } => ("uri_index", vec![parameter, text(Some(&uri)), text(version.as_deref())]),
        IndexValue::Canonical { text: canonical, .. } => {
            ("uri_index", vec![parameter, text(Some(&canonical)), String::new()])
        }
        IndexValue::Date { low, high } => ("date_index", vec![parameter, low.to_string(), high.to_string()]),
        IndexValue::Reference { type_name, id, url, identifier, .. } => {
            let (system, value) = identifier.unzip();
            let parts = [id, type_name, url, value, system.flatten()];
            let mut row = vec![parameter];
            row.extend(parts.iter().map(|part| text(part.as_deref())));
            ("reference_index", row)
        }
    }
}
