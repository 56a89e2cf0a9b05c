//! Resources and their versions.
//!
//! A resource has a row with its current version and a row for each version. A deletion is a version of its own, without
//! content. With every version its readers are written, with the current one its unique keys and search indexes; a
//! deleted resource has neither keys nor indexes. The stored form is compact FHIR JSON, which loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use fhir::{Resource, ResourceType};
use time::OffsetDateTime;

use crate::index::bounded;
use crate::read_access::{self, Access, Grant, ReadFilter};
use crate::sql::{Row, Sql, to_millis};
use crate::{Change, ChangeKind, Param, StoreError, Transaction, limits, tally, unique};

/// A version of a resource that has content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResource {
    /// The type.
    pub resource_type: ResourceType,
    /// The id.
    pub id: String,
    /// The version, counted from 1.
    pub version: u64,
    /// `meta.lastUpdated`.
    pub last_updated: OffsetDateTime,
    /// The content, with `id`, `meta.versionId` and `meta.lastUpdated` set.
    pub resource: Arc<Resource>,
}

/// What is stored under an id or a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A version with content.
    Current(StoredResource),
    /// The resource is deleted, or the version is the deletion.
    Deleted {
        /// The version that the deletion made.
        version: u64,
        /// When it was deleted.
        at: OffsetDateTime,
    },
    /// There is none.
    Missing,
}

/// The outcome of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It was marked deleted with this version.
    Marked(u64),
    /// It had been deleted before, with this version.
    Already(u64),
}

/// The row of a resource.
#[derive(Clone, Copy, Debug)]
struct Head {
    rid: i64,
    version: u64,
    deleted: bool,
    last_updated: i64,
}

// === impl Found ===

impl Found {
    /// The version with content, if it is one.
    #[must_use]
    pub fn current(self) -> Option<StoredResource> {
        match self {
            Self::Current(stored) => Some(stored),
            Self::Deleted { .. } | Self::Missing => None,
        }
    }
}

// === impl Transaction: writing ===

impl Transaction<'_> {
    /// Stores version 1 of a new resource under the id.
    pub fn create(&mut self, resource: Resource, id: &str) -> Result<StoredResource, StoreError> {
        let resource_type = served_type(&resource)?;
        let now = self.now();
        let created = self.returning(
            "INSERT INTO resource (type, id, version, last_updated, deleted) VALUES (?1, ?2, 1, ?3, 0)
             ON CONFLICT (type, id) DO NOTHING RETURNING rid",
            &[resource_type.as_str().into(), id.into(), now.into()],
            |row| row.integer(0),
        )?;
        let Some(rid) = created.first().copied() else {
            return Err(StoreError::Exists { what: resource_type.as_str(), id: id.to_owned() });
        };
        let head = Head { rid, version: 1, deleted: false, last_updated: to_millis(now) };
        self.store_version(head, resource_type, id, resource, ChangeKind::Created)
    }

    /// Stores the next version of a resource. With `expected` the current version must be that one.
    pub fn update(
        &mut self,
        resource: Resource,
        id: &str,
        expected: Option<u64>,
    ) -> Result<StoredResource, StoreError> {
        let resource_type = served_type(&resource)?;
        let head = self.head_for_update(resource_type, id)?;
        if head.deleted {
            return Err(StoreError::Deleted { resource_type, id: id.to_owned(), version: head.version });
        }
        if let Some(expected) = expected
            && expected != head.version
        {
            return Err(StoreError::VersionConflict {
                resource_type,
                id: id.to_owned(),
                expected,
                actual: head.version,
            });
        }
        let now = self.now();
        let next = Head { version: head.version + 1, last_updated: to_millis(now), ..head };
        self.note_current(head, resource_type, -1)?;
        self.put(
            "UPDATE resource SET version = ?2, last_updated = ?3 WHERE rid = ?1",
            &[head.rid.into(), next.version.into(), now.into()],
        )?;
        self.remove_keys(head.rid)?;
        self.remove_index(head.rid)?;
        if resource_type == ResourceType::StructureDefinition {
            self.remove_snapshot(head.rid)?;
        }
        self.store_version(next, resource_type, id, resource, ChangeKind::Updated)
    }

    /// Marks a resource deleted, as a version of its own. Its versions stay readable.
    pub fn delete(&mut self, resource_type: ResourceType, id: &str) -> Result<Deletion, StoreError> {
        let head = self.head_for_update(resource_type, id)?;
        if head.deleted {
            return Ok(Deletion::Already(head.version));
        }
        let (now, version) = (self.now(), head.version + 1);
        self.note_current(head, resource_type, -1)?;
        self.put(
            "UPDATE resource SET version = ?2, last_updated = ?3, deleted = 1 WHERE rid = ?1",
            &[head.rid.into(), version.into(), now.into()],
        )?;
        let deletion = Head { rid: head.rid, version, deleted: true, last_updated: to_millis(now) };
        self.insert_version(deletion, resource_type, id, None)?;
        let readers = Arc::new(self.readers(head.rid, head.version)?);
        self.note_count([tally::of_history(resource_type)], to_millis(now), &readers, 1);
        // Who could see the last version may see that it was deleted.
        self.put(
            "INSERT INTO read_access (rid, version, grantee, last_updated)
             SELECT rid, ?2, grantee, ?4 FROM read_access WHERE rid = ?1 AND version = ?3",
            &[head.rid.into(), version.into(), head.version.into(), now.into()],
        )?;
        self.remove_keys(head.rid)?;
        self.remove_index(head.rid)?;
        if resource_type == ResourceType::StructureDefinition {
            self.remove_snapshot(head.rid)?;
        }
        self.put(
            "INSERT INTO security_context (rid, version, target_type, target_id, target_version)
             SELECT rid, ?2, target_type, target_id, target_version FROM security_context
             WHERE rid = ?1 AND version = ?3",
            &[head.rid.into(), version.into(), head.version.into()],
        )?;
        // What is gone has no readers, so neither has what was open to them.
        self.follow_security_context(resource_type, id, Some(version), &BTreeSet::new())?;
        self.announce(resource_type, id, version, ChangeKind::Deleted, None);
        Ok(Deletion::Marked(version))
    }

    /// Removes every version of a resource that is marked deleted; its Binary content is given up and removed by
    /// [`Transaction::sweep_uploads`].
    pub fn delete_permanently(&mut self, resource_type: ResourceType, id: &str) -> Result<(), StoreError> {
        let head = self.head_for_update(resource_type, id)?;
        if !head.deleted {
            return Err(StoreError::NotDeleted { resource_type, id: id.to_owned() });
        }
        self.release_contents(head.rid)?;
        self.note_versions(head.rid, resource_type, -1)?;
        self.follow_security_context(resource_type, id, None, &BTreeSet::new())?;
        for sql in [
            "DELETE FROM read_access WHERE rid = ?1",
            "DELETE FROM security_context WHERE rid = ?1",
            "DELETE FROM resource_version WHERE rid = ?1",
            "DELETE FROM resource WHERE rid = ?1",
        ] {
            self.put(sql, &[head.rid.into()])?;
        }
        self.announce(resource_type, id, head.version, ChangeKind::PermanentlyDeleted, None);
        Ok(())
    }

    fn store_version(
        &mut self,
        head: Head,
        resource_type: ResourceType,
        id: &str,
        mut resource: Resource,
        kind: ChangeKind,
    ) -> Result<StoredResource, StoreError> {
        let now = self.now();
        resource.set_version(id, head.version, &fhir::date::format_instant(now));
        let content = fhir::json::print(&resource, false);
        if content.len() > limits::RESOURCE_BYTES {
            return Err(StoreError::TooLarge { what: "resource", size: content.len(), limit: limits::RESOURCE_BYTES });
        }
        self.insert_version(head, resource_type, id, Some(&content))?;
        self.insert_keys(head.rid, resource_type, &resource)?;
        let mut subjects = self.insert_index(head.rid, resource_type, &resource, head.last_updated)?;
        let readers = Arc::new(self.grant_access(head, resource_type, id, &resource)?);
        subjects.extend([tally::of_type(resource_type), tally::of_history(resource_type)]);
        self.note_count(subjects, head.last_updated, &readers, 1);
        let resource = Arc::new(resource);
        self.announce(resource_type, id, head.version, kind, Some(Arc::clone(&resource)));
        Ok(StoredResource { resource_type, id: id.to_owned(), version: head.version, last_updated: now, resource })
    }

    fn insert_version(
        &mut self,
        head: Head,
        resource_type: ResourceType,
        id: &str,
        content: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.put(
            "INSERT INTO resource_version (rid, version, type, id, last_updated, deleted, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            &[
                head.rid.into(),
                head.version.into(),
                resource_type.as_str().into(),
                id.into(),
                now.into(),
                head.deleted.into(),
                content.into(),
            ],
        )?;
        Ok(())
    }

    fn insert_keys(&mut self, rid: i64, resource_type: ResourceType, resource: &Resource) -> Result<(), StoreError> {
        for key in unique::unique_keys(resource_type, resource, self.context().base.as_deref()) {
            let value = bounded(&key.key);
            let params: [Param<'_>; 3] = [key.kind.into(), value.as_ref().into(), rid.into()];
            let inserted = self.execute(
                "INSERT INTO unique_key (kind, value, rid) VALUES (?1, ?2, ?3) ON CONFLICT (kind, value) DO NOTHING",
                &params,
            )?;
            if inserted == 0 {
                let holder = self.row(
                    "SELECT r.type, r.id FROM unique_key AS k JOIN resource AS r ON r.rid = k.rid
                     WHERE k.kind = ?1 AND k.value = ?2",
                    &params[..2],
                    |row| Ok((row.string(0)?, row.string(1)?)),
                )?;
                let (resource_type, id) = holder.unwrap_or_default();
                return Err(StoreError::Duplicate { kind: key.kind, key: key.key, resource_type, id });
            }
        }
        Ok(())
    }

    fn remove_keys(&mut self, rid: i64) -> Result<(), StoreError> {
        self.put("DELETE FROM unique_key WHERE rid = ?1", &[rid.into()])?;
        Ok(())
    }

    fn announce(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: u64,
        kind: ChangeKind,
        resource: Option<Arc<Resource>>,
    ) {
        let change = Change { resource_type, id: id.to_owned(), version, kind, resource };
        self.effects().changes.push(change);
    }
}

// === impl Transaction: who may see what ===

impl Transaction<'_> {
    fn grant_access(
        &mut self,
        head: Head,
        resource_type: ResourceType,
        id: &str,
        resource: &Resource,
    ) -> Result<BTreeSet<Grant>, StoreError> {
        let grants = match read_access::access(resource_type, resource, self.context().base.as_deref()) {
            Access::Own(grants) => grants,
            Access::As { resource_type, id, version } => {
                self.put(
                    "INSERT INTO security_context (rid, version, target_type, target_id, target_version)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    &[
                        head.rid.into(),
                        head.version.into(),
                        resource_type.as_str().into(),
                        id.as_str().into(),
                        version.into(),
                    ],
                )?;
                self.context_grants(&resource_type, &id, version)?
            }
        };
        self.insert_grants(head.rid, head.version, head.last_updated, &grants)?;
        self.follow_security_context(resource_type, id, Some(head.version), &grants)?;
        Ok(grants)
    }

    /// Counts a current version once more or once less.
    fn note_current(&mut self, head: Head, resource_type: ResourceType, by: i64) -> Result<(), StoreError> {
        let readers = Arc::new(self.readers(head.rid, head.version)?);
        let mut subjects = self.counted_codes(head.rid, resource_type)?;
        subjects.push(tally::of_type(resource_type));
        self.note_count(subjects, head.last_updated, &readers, by);
        Ok(())
    }

    /// Gives the versions of Binaries whose `securityContext` is this resource its readers, old versions too: they must
    /// not stay open to whom the context is closed. Those that name a version follow that one alone; without a version
    /// all of them follow.
    fn follow_security_context(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: Option<u64>,
        grants: &BTreeSet<Grant>,
    ) -> Result<(), StoreError> {
        let found = self.rows(
            "SELECT s.rid, s.version, s.target_version, v.last_updated, r.version, r.deleted FROM security_context AS s
             JOIN resource AS r ON r.rid = s.rid
             JOIN resource_version AS v ON v.rid = s.rid AND v.version = s.version
             WHERE s.target_type = ?1 AND s.target_id = ?2",
            &[resource_type.as_str().into(), id.into()],
            |row| {
                let is_current = row.unsigned(1)? == row.unsigned(4)? && !row.boolean(5)?;
                Ok((row.integer(0)?, row.unsigned(1)?, row.optional_integer(2)?, row.integer(3)?, is_current))
            },
        )?;
        let follows =
            |named: Option<i64>| named.is_none() || version.is_none() || named.map(i64::cast_unsigned) == version;
        for (rid, version, _, time, is_current) in found.into_iter().filter(|(_, _, named, ..)| follows(*named)) {
            let before = self.readers(rid, version)?;
            if before == *grants {
                continue;
            }
            let mut subjects = vec![tally::of_history(ResourceType::Binary)];
            if is_current {
                subjects.push(tally::of_type(ResourceType::Binary));
                subjects.extend(self.counted_codes(rid, ResourceType::Binary)?);
            }
            self.note_count(subjects.clone(), time, &Arc::new(before), -1);
            self.note_count(subjects, time, &Arc::new(grants.clone()), 1);
            self.put("DELETE FROM read_access WHERE rid = ?1 AND version = ?2", &[rid.into(), version.into()])?;
            self.insert_grants(rid, version, time, grants)?;
        }
        Ok(())
    }

    fn insert_grants(&mut self, rid: i64, version: u64, time: i64, grants: &BTreeSet<Grant>) -> Result<(), StoreError> {
        if grants.len() > limits::GRANTS {
            return Err(StoreError::TooLarge { what: "list of readers", size: grants.len(), limit: limits::GRANTS });
        }
        for grant in grants {
            self.put(
                "INSERT INTO read_access (rid, version, grantee, last_updated) VALUES (?1, ?2, ?3, ?4)",
                &[rid.into(), version.into(), grant.as_str().into(), time.into()],
            )?;
        }
        Ok(())
    }

    /// The readers of a context: of the version that is named, or of the current one of what is not deleted. The row is
    /// kept from other writers, so that none changes it between this look and the commit.
    fn context_grants(
        &mut self,
        resource_type: &str,
        id: &str,
        version: Option<u64>,
    ) -> Result<BTreeSet<Grant>, StoreError> {
        let lock = self.dialect().for_update();
        let head = self.row(
            &format!("SELECT rid, version, deleted FROM resource WHERE type = ?1 AND id = ?2{lock}"),
            &[resource_type.into(), id.into()],
            |row| Ok((row.integer(0)?, row.unsigned(1)?, row.boolean(2)?)),
        )?;
        let Some((rid, current, _)) = head.filter(|(_, _, deleted)| version.is_some() || !deleted) else {
            return Ok(BTreeSet::new());
        };
        let grants = self.rows(
            "SELECT grantee FROM read_access WHERE rid = ?1 AND version = ?2",
            &[rid.into(), version.unwrap_or(current).into()],
            |row| row.string(0),
        )?;
        Ok(grants.into_iter().map(Grant::from_stored).collect())
    }

    /// Whether the filter lets the version be seen. A version that does not exist cannot.
    pub fn is_readable(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: u64,
        filter: &ReadFilter,
    ) -> Result<bool, StoreError> {
        if !filter.includes_type(resource_type) {
            return Ok(false);
        }
        let Some(held) = filter.grants() else {
            return Ok(true);
        };
        Ok(self.grants(resource_type, id, version)?.iter().any(|grant| held.contains(grant)))
    }

    /// The grants of a version.
    pub fn grants(&mut self, resource_type: ResourceType, id: &str, version: u64) -> Result<Vec<Grant>, StoreError> {
        self.rows(
            "SELECT a.grantee FROM resource AS r JOIN read_access AS a ON a.rid = r.rid
             WHERE r.type = ?1 AND r.id = ?2 AND a.version = ?3",
            &[resource_type.as_str().into(), id.into(), version.into()],
            |row| row.string(0).map(Grant::from_stored),
        )
    }
}

// === impl Transaction: reading ===

const CURRENT: &str = "SELECT v.version, v.last_updated, v.content FROM resource AS r
     JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version WHERE r.type = ?1 AND r.id = ?2";

const VERSION: &str = "SELECT v.version, v.last_updated, v.content FROM resource AS r
     JOIN resource_version AS v ON v.rid = r.rid WHERE r.type = ?1 AND r.id = ?2 AND v.version = ?3";

impl Transaction<'_> {
    /// The current state of a resource.
    pub fn read(&mut self, resource_type: ResourceType, id: &str) -> Result<Found, StoreError> {
        let found =
            self.row(CURRENT, &[resource_type.as_str().into(), id.into()], |row| found(row, resource_type, id))?;
        Ok(found.unwrap_or(Found::Missing))
    }

    /// One version of a resource.
    pub fn read_version(&mut self, resource_type: ResourceType, id: &str, version: u64) -> Result<Found, StoreError> {
        let found = self.row(VERSION, &[resource_type.as_str().into(), id.into(), version.into()], |row| {
            found(row, resource_type, id)
        })?;
        Ok(found.unwrap_or(Found::Missing))
    }

    /// As [`Self::read`] or [`Self::read_version`]; `None` if the content is longer than `bytes`, without parsing it.
    pub fn read_small(
        &mut self,
        resource_type: ResourceType,
        id: &str,
        version: Option<u64>,
        bytes: usize,
    ) -> Result<Option<Found>, StoreError> {
        let small = |row: &dyn Row| match row.optional_text(2)? {
            Some(content) if content.len() > bytes => Ok(None),
            _ => found(row, resource_type, id).map(Some),
        };
        let key: [Param<'_>; 3] = [resource_type.as_str().into(), id.into(), version.into()];
        let found = match version {
            None => self.row(CURRENT, key.get(..2).unwrap_or_default(), small)?,
            Some(_) => self.row(VERSION, &key, small)?,
        };
        Ok(found.unwrap_or(Some(Found::Missing)))
    }

    /// The version and time of the current state, without its content: enough for `If-None-Match` and reference checks.
    pub fn current_version(
        &mut self,
        resource_type: ResourceType,
        id: &str,
    ) -> Result<Option<(u64, OffsetDateTime)>, StoreError> {
        self.row(
            "SELECT version, last_updated FROM resource WHERE type = ?1 AND id = ?2 AND deleted = 0",
            &[resource_type.as_str().into(), id.into()],
            |row| Ok((row.unsigned(0)?, row.time(1)?)),
        )
    }

    /// Every current resource of the type, oldest change first, for what is built from all of them (allow-list,
    /// profiles, subscriptions).
    pub fn all(&mut self, resource_type: ResourceType) -> Result<Vec<StoredResource>, StoreError> {
        self.rows(
            "SELECT v.version, v.last_updated, v.content, r.id FROM resource AS r
             JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version
             WHERE r.type = ?1 AND r.deleted = 0 ORDER BY r.last_updated, r.id",
            &[resource_type.as_str().into()],
            |row| stored(row, resource_type, row.text(3)?),
        )
    }

    /// Id and version of every current resource of the type, in the order of [`Self::all`]: enough to see what has
    /// changed since they were read.
    pub fn versions(&mut self, resource_type: ResourceType) -> Result<Vec<(String, u64)>, StoreError> {
        self.rows(
            "SELECT r.id, r.version FROM resource AS r WHERE r.type = ?1 AND r.deleted = 0 ORDER BY r.last_updated, r.id",
            &[resource_type.as_str().into()],
            |row| Ok((row.string(0)?, row.unsigned(1)?)),
        )
    }

    /// The resource that holds a unique key.
    pub fn holder(&mut self, kind: &str, key: &str) -> Result<Option<(ResourceType, String)>, StoreError> {
        let value = bounded(key);
        self.row(
            "SELECT r.type, r.id FROM unique_key AS k JOIN resource AS r ON r.rid = k.rid
             WHERE k.kind = ?1 AND k.value = ?2",
            &[kind.into(), value.as_ref().into()],
            |row| Ok((parse_type(row.text(0)?)?, row.string(1)?)),
        )
    }

    /// How many current resources there are of each type.
    pub fn count_resources(&mut self) -> Result<Vec<(ResourceType, u64)>, StoreError> {
        self.rows("SELECT type, COUNT(*) FROM resource WHERE deleted = 0 GROUP BY type ORDER BY type", &[], |row| {
            Ok((parse_type(row.text(0)?)?, row.unsigned(1)?))
        })
    }

    /// The row of an existing resource, kept from other writers until the end of the transaction.
    fn head_for_update(&mut self, resource_type: ResourceType, id: &str) -> Result<Head, StoreError> {
        let lock = self.dialect().for_update();
        let head = self.row(
            &format!("SELECT rid, version, deleted, last_updated FROM resource WHERE type = ?1 AND id = ?2{lock}"),
            &[resource_type.as_str().into(), id.into()],
            |row| {
                let (rid, version) = (row.integer(0)?, row.unsigned(1)?);
                Ok(Head { rid, version, deleted: row.boolean(2)?, last_updated: row.integer(3)? })
            },
        )?;
        head.ok_or_else(|| StoreError::Missing { resource_type, id: id.to_owned() })
    }

    pub(crate) fn rid(&mut self, resource_type: ResourceType, id: &str) -> Result<Option<i64>, StoreError> {
        self.row(
            "SELECT rid FROM resource WHERE type = ?1 AND id = ?2",
            &[resource_type.as_str().into(), id.into()],
            |row| row.integer(0),
        )
    }
}

/// The time of the newest version, from which the time of transactions goes on.
pub(crate) fn last_time(sql: &mut dyn Sql) -> Result<Option<OffsetDateTime>, StoreError> {
    let mut last = None;
    sql.query("SELECT MAX(last_updated) FROM resource_version", &[], &mut |row| {
        last = row.optional_time(0)?;
        Ok(())
    })?;
    Ok(last)
}

/// Reads `version, last_updated, content, …`; a version without content is a deletion.
fn found(row: &dyn Row, resource_type: ResourceType, id: &str) -> Result<Found, StoreError> {
    if row.optional_text(2)?.is_none() {
        return Ok(Found::Deleted { version: row.unsigned(0)?, at: row.time(1)? });
    }
    Ok(Found::Current(stored(row, resource_type, id)?))
}

/// Reads `version, last_updated, content, …`.
pub(crate) fn stored(row: &dyn Row, resource_type: ResourceType, id: &str) -> Result<StoredResource, StoreError> {
    Ok(StoredResource {
        resource_type,
        id: id.to_owned(),
        version: row.unsigned(0)?,
        last_updated: row.time(1)?,
        resource: Arc::new(parse_content(row.text(2)?)?),
    })
}

/// Reads the stored form. Its size was bounded when it came in, so the limits of requests do not apply.
pub(crate) fn parse_content(content: &str) -> Result<Resource, StoreError> {
    fhir::json::parse(content.as_bytes(), &limits::stored_content())
        .map_err(|error| StoreError::BadRow(format!("content: {error}")))
}

pub(crate) fn parse_type(text: &str) -> Result<ResourceType, StoreError> {
    text.parse().map_err(|_| StoreError::BadRow(format!("resource type {text}")))
}

fn served_type(resource: &Resource) -> Result<ResourceType, StoreError> {
    resource.resource_type().ok_or_else(|| StoreError::UnservedType(resource.type_name().to_owned()))
}
