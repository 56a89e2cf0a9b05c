//! Process instances and the log of their events.

use time::OffsetDateTime;

use crate::sql::Row;
use crate::{StoreError, Transaction, limits};

/// How far an instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// It runs or waits.
    Running,
    /// It waits for an operator.
    Incident,
    /// It reached its end.
    Completed,
    /// It was ended by an error.
    Failed,
    /// It was ended by an operator.
    Cancelled,
}

/// An instance that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInstance {
    /// Its id.
    pub id: String,
    /// Process id of the BPMN.
    pub process_key: String,
    /// Version tag of the BPMN.
    pub version_tag: String,
    /// Digest of the definition that it runs.
    pub definition_digest: String,
    /// Its business key.
    pub business_key: String,
    /// A second key under which messages find it.
    pub alternative_business_key: Option<String>,
    /// Its state.
    pub state: InstanceState,
    /// Its serialized state.
    pub data: Vec<u8>,
}

/// What changes of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceUpdate {
    /// A second key under which messages find it.
    pub alternative_business_key: Option<String>,
    /// Its state.
    pub state: InstanceState,
    /// Its serialized state.
    pub data: Vec<u8>,
}

/// A stored instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Process id of the BPMN.
    pub process_key: String,
    /// Version tag of the BPMN.
    pub version_tag: String,
    /// Digest of the definition that it runs.
    pub definition_digest: String,
    /// Its business key.
    pub business_key: String,
    /// A second key under which messages find it.
    pub alternative_business_key: Option<String>,
    /// Its state.
    pub state: InstanceState,
    /// Its serialized state.
    pub data: Vec<u8>,
    /// Counts the updates; an update names the one that it read.
    pub revision: u64,
    /// When it was started.
    pub created: OffsetDateTime,
    /// When it last changed.
    pub updated: OffsetDateTime,
}

/// An entry of the log of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceEvent {
    /// Its place, from 0.
    pub position: u64,
    /// When it was written.
    pub time: OffsetDateTime,
    /// The serialized event.
    pub data: Vec<u8>,
}

/// An instance that has ended, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedInstance {
    /// Its id.
    pub id: String,
    /// Digest of the definition that it ran.
    pub definition_digest: String,
    /// When it was started.
    pub created: OffsetDateTime,
    /// When it ended.
    pub ended: OffsetDateTime,
}

/// Which instances are listed, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceList {
    /// Only instances that have ended (or have not).
    pub ended: Option<bool>,
    /// Only instances of this process.
    pub process_key: Option<String>,
    /// Continue behind this instance: its start and id.
    pub after: Option<(OffsetDateTime, String)>,
    /// At most this many.
    pub limit: u32,
}

/// Entries of a log in one row, and the bytes from which on a row gets no more: what is read to find one stays small.
const LOG_LINES: usize = 256;
const LOG_BYTES: usize = 32 * 1024;

/// Rows of a log that are read at once.
const LOG_ROWS: u32 = 16;

const COLUMNS: &str = "SELECT id, process_key, version_tag, definition_digest, business_key,
    alternative_business_key, state, data, revision, created, updated FROM instance";

// === impl InstanceState ===

impl InstanceState {
    /// Every state.
    pub const ALL: &'static [Self] = &[Self::Running, Self::Incident, Self::Completed, Self::Failed, Self::Cancelled];

    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Incident => "incident",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the instance is over.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.iter().find(|state| state.as_str() == text);
        found.copied().ok_or_else(|| StoreError::BadRow(format!("instance state {text}")))
    }
}

impl Transaction<'_> {
    /// Stores a new instance with revision 1. Its id is new: one that is there already fails the transaction.
    pub fn insert_instance(&mut self, new: &NewInstance) -> Result<(), StoreError> {
        check_size(&new.data)?;
        let now = self.now();
        self.put(
            "INSERT INTO instance (id, process_key, version_tag, definition_digest, business_key,
                alternative_business_key, state, ended, data, revision, created, updated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?10)",
            &[
                (&new.id).into(),
                (&new.process_key).into(),
                (&new.version_tag).into(),
                (&new.definition_digest).into(),
                (&new.business_key).into(),
                new.alternative_business_key.as_deref().into(),
                new.state.as_str().into(),
                new.state.has_ended().into(),
                (&new.data).into(),
                now.into(),
            ],
        )
    }

    /// Replaces the state of the instance that was read at `revision`; returns the new revision.
    pub fn update_instance(&mut self, id: &str, revision: u64, update: &InstanceUpdate) -> Result<u64, StoreError> {
        check_size(&update.data)?;
        let now = self.now();
        let updated = self.execute(
            "UPDATE instance SET alternative_business_key = ?3, state = ?4, ended = ?5, data = ?6,
                revision = revision + 1, updated = ?7 WHERE id = ?1 AND revision = ?2",
            &[
                id.into(),
                revision.into(),
                update.alternative_business_key.as_deref().into(),
                update.state.as_str().into(),
                update.state.has_ended().into(),
                (&update.data).into(),
                now.into(),
            ],
        )?;
        match updated {
            0 if self.instance(id)?.is_none() => Err(StoreError::NoRecord { what: "instance", id: id.to_owned() }),
            0 => Err(StoreError::RevisionConflict { what: "instance", id: id.to_owned() }),
            _ => Ok(revision + 1),
        }
    }

    /// The instance.
    pub fn instance(&mut self, id: &str) -> Result<Option<Instance>, StoreError> {
        self.row(&format!("{COLUMNS} WHERE id = ?1"), &[id.into()], read)
    }

    /// Bytes of the state of the instance; 0 if it is not there.
    pub fn instance_size(&mut self, id: &str) -> Result<u64, StoreError> {
        let size =
            self.row("SELECT CAST(LENGTH(data) AS BIGINT) FROM instance WHERE id = ?1", &[id.into()], |row| {
                row.unsigned(0)
            })?;
        Ok(size.unwrap_or(0))
    }

    /// The instance, kept from other engines until the end of the transaction.
    pub fn lock_instance(&mut self, id: &str) -> Result<Option<Instance>, StoreError> {
        let lock = self.dialect().for_update();
        self.row(&format!("{COLUMNS} WHERE id = ?1{lock}"), &[id.into()], read)
    }

    /// The instances that have not ended and hold the key as business key or alternative business key, oldest first.
    pub fn instances_by_business_key(&mut self, key: &str) -> Result<Vec<Instance>, StoreError> {
        self.rows(
            &format!(
                "{COLUMNS} WHERE id IN (SELECT id FROM instance WHERE business_key = ?1 AND ended = 0
                    UNION SELECT id FROM instance WHERE alternative_business_key = ?1 AND ended = 0)
                 ORDER BY created, id LIMIT ?2"
            ),
            &[key.into(), limits::ROWS.into()],
            read,
        )
    }

    /// Instances, oldest first.
    pub fn instances(&mut self, list: &InstanceList) -> Result<Vec<Instance>, StoreError> {
        let (after, after_id) = match &list.after {
            Some((time, id)) => (crate::sql::to_millis(*time), id.as_str()),
            None => (i64::MIN, ""),
        };
        let (low, high) = match list.ended {
            Some(ended) => (i64::from(ended), i64::from(ended)),
            None => (0, 1),
        };
        self.rows(
            &format!(
                "{COLUMNS} WHERE ended >= ?1 AND ended <= ?2 AND (?3 = '' OR process_key = ?3)
                    AND (created > ?4 OR (created = ?4 AND id > ?5)) ORDER BY created, id LIMIT ?6"
            ),
            &[
                low.into(),
                high.into(),
                list.process_key.as_deref().unwrap_or_default().into(),
                after.into(),
                after_id.into(),
                list.limit.min(limits::ROWS).into(),
            ],
            read,
        )
    }

    /// Instances that ended before a time, by their start, continuing behind the start and id of one.
    pub fn ended_instances(
        &mut self,
        before: OffsetDateTime,
        after: Option<(OffsetDateTime, &str)>,
        limit: u32,
    ) -> Result<Vec<EndedInstance>, StoreError> {
        let (after, after_id) = after.map_or((i64::MIN, ""), |(time, id)| (crate::sql::to_millis(time), id));
        self.rows(
            "SELECT id, definition_digest, created, updated FROM instance
             WHERE ended = 1 AND created < ?1 AND updated < ?1 AND (created > ?2 OR (created = ?2 AND id > ?3))
             ORDER BY created, id LIMIT ?4",
            &[before.into(), after.into(), after_id.into(), limit.min(limits::ROWS).into()],
            |row| {
                Ok(EndedInstance {
                    id: row.string(0)?,
                    definition_digest: row.string(1)?,
                    created: row.time(2)?,
                    ended: row.time(3)?,
                })
            },
        )
    }

    /// How many instances there are by process, version tag and state.
    pub fn count_instances(&mut self) -> Result<Vec<(String, String, InstanceState, u64)>, StoreError> {
        self.rows(
            "SELECT process_key, version_tag, state, COUNT(*) FROM instance
             GROUP BY process_key, version_tag, state ORDER BY process_key, version_tag, state",
            &[],
            |row| Ok((row.string(0)?, row.string(1)?, InstanceState::parse(row.text(2)?)?, row.unsigned(3)?)),
        )
    }

    /// The same of those that have not ended; what it costs does not grow with those that have.
    pub fn count_running_instances(&mut self) -> Result<Vec<(String, String, InstanceState, u64)>, StoreError> {
        self.rows(
            "SELECT process_key, version_tag, state, COUNT(*) FROM instance WHERE ended = 0
             GROUP BY process_key, version_tag, state ORDER BY process_key, version_tag, state",
            &[],
            |row| Ok((row.string(0)?, row.string(1)?, InstanceState::parse(row.text(2)?)?, row.unsigned(3)?)),
        )
    }

    /// Removes the instance with its events, jobs, work and subscriptions. Messages of it that wait to be sent stay.
    pub fn delete_instance(&mut self, id: &str) -> Result<bool, StoreError> {
        for sql in [
            "DELETE FROM instance_event WHERE instance = ?1",
            "DELETE FROM message_subscription WHERE instance = ?1",
            "DELETE FROM signal_subscription WHERE instance = ?1",
            "DELETE FROM job WHERE instance = ?1",
            "DELETE FROM work_item WHERE instance = ?1",
        ] {
            self.put(sql, &[id.into()])?;
        }
        Ok(self.execute("DELETE FROM instance WHERE id = ?1", &[id.into()])? == 1)
    }

    /// Appends to the log of the instance; returns the place of the first new entry. An entry is one line of text.
    pub fn append_instance_events(&mut self, instance: &str, events: &[Vec<u8>]) -> Result<u64, StoreError> {
        let next = self.row(
            "SELECT COALESCE(MAX(position), -1) + 1 FROM instance_event WHERE instance = ?1",
            &[instance.into()],
            |row| row.unsigned(0),
        )?;
        let first = next.unwrap_or(0);
        self.insert_events(instance, first, events)?;
        Ok(first)
    }

    /// Writes the beginning of the log of an instance that this transaction has stored.
    pub fn begin_instance_events(&mut self, instance: &str, events: &[Vec<u8>]) -> Result<(), StoreError> {
        self.insert_events(instance, 0, events)
    }

    /// A row holds several entries, one a line, and the place of the last of them: what a transaction appends costs a row
    /// or a few, not one for each entry.
    fn insert_events(&mut self, instance: &str, first: u64, events: &[Vec<u8>]) -> Result<(), StoreError> {
        let now = self.now();
        let (mut rows, mut lines): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
        for (position, event) in (first..).zip(events) {
            if event.is_empty() || event.contains(&b'\n') {
                return Err(StoreError::BadRow("an entry of a log is not one line".to_owned()));
            }
            match rows.last_mut().filter(|(_, data)| lines < LOG_LINES && data.len() < LOG_BYTES) {
                Some((last, data)) => {
                    *last = position;
                    data.push(b'\n');
                    data.extend_from_slice(event);
                    lines += 1;
                }
                None => {
                    rows.push((position, event.clone()));
                    lines = 1;
                }
            }
        }
        for (last, data) in rows {
            self.put(
                "INSERT INTO instance_event (instance, position, time, data) VALUES (?1, ?2, ?3, ?4)",
                &[instance.into(), last.into(), now.into(), (&data).into()],
            )?;
        }
        Ok(())
    }

    /// The log of the instance from a place on.
    pub fn instance_events(&mut self, instance: &str, from: u64, limit: u32) -> Result<Vec<InstanceEvent>, StoreError> {
        let limit = usize::try_from(limit.min(limits::ROWS)).unwrap_or(usize::MAX);
        let (mut found, mut from) = (Vec::new(), from);
        while found.len() < limit {
            let rows = self.rows(
                "SELECT position, time, data FROM instance_event WHERE instance = ?1 AND position >= ?2
                 ORDER BY position LIMIT ?3",
                &[instance.into(), from.into(), LOG_ROWS.into()],
                |row| Ok((row.unsigned(0)?, row.time(1)?, row.bytes(2)?.to_vec())),
            )?;
            let Some((end, ..)) = rows.last() else { break };
            let next = end + 1;
            for (last, time, data) in rows {
                let entries = data.split(|byte| *byte == b'\n').collect::<Vec<_>>();
                // A row that claims more entries than there are places before it contradicts itself.
                let first = (last + 1)
                    .checked_sub(entries.len() as u64)
                    .ok_or_else(|| StoreError::BadRow(format!("the log of instance {instance} at {last}")))?;
                let wanted = (first..).zip(entries).filter(|(position, _)| *position >= from);
                found.extend(wanted.map(|(position, data)| InstanceEvent { position, time, data: data.to_vec() }));
            }
            from = next;
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn check_size(data: &[u8]) -> Result<(), StoreError> {
    if data.len() > limits::INSTANCE_BYTES {
        return Err(StoreError::TooLarge { what: "instance state", size: data.len(), limit: limits::INSTANCE_BYTES });
    }
    Ok(())
}

fn read(row: &dyn Row) -> Result<Instance, StoreError> {
    Ok(Instance {
        id: row.string(0)?,
        process_key: row.string(1)?,
        version_tag: row.string(2)?,
        definition_digest: row.string(3)?,
        business_key: row.string(4)?,
        alternative_business_key: row.optional_string(5)?,
        state: InstanceState::parse(row.text(6)?)?,
        data: row.bytes(7)?.to_vec(),
        revision: row.unsigned(8)?,
        created: row.time(9)?,
        updated: row.time(10)?,
    })
}
