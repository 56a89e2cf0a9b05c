//! Work items: what instances have done outside of transactions. Long steps are done by an engine ([`WorkKind::Step`]),
//! external tasks by a worker that fetches them by topic ([`WorkKind::External`]).
//!
//! An item stays until its result is recorded and is removed by the transaction that records it, so a result counts once.
//! While it is locked nobody else gets it; when the lock is over, whoever comes first does it again.

use time::{Duration, OffsetDateTime};

use crate::sql::Row;
use crate::{StoreError, Transaction, limits};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkKind {
    /// An engine of this node.
    Step,
    /// A worker from outside.
    External,
}

/// Work that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWorkItem {
    /// Its id: that of the step which waits for it.
    pub id: String,
    /// The instance that waits for it.
    pub instance: String,
    /// The element of the model.
    pub element: String,
    /// Process id of the BPMN.
    pub process_key: String,
    /// Version tag of the BPMN.
    pub version_tag: String,
    /// Business key of the instance.
    pub business_key: String,
    /// Who does it.
    pub kind: WorkKind,
    /// What it is: an implementation class, or the topic of external work.
    pub topic: String,
    /// External work of higher priority is fetched first.
    pub priority: i64,
    /// Attempts that are left; without a number the first failure says how many.
    pub retries: Option<u32>,
    /// When it is to be done.
    pub due: OffsetDateTime,
    /// What is needed to do it.
    pub input: Vec<u8>,
}

/// Stored work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// Its id: that of the step which waits for it.
    pub id: String,
    /// The instance that waits for it.
    pub instance: String,
    /// The element of the model.
    pub element: String,
    /// Process id of the BPMN.
    pub process_key: String,
    /// Version tag of the BPMN.
    pub version_tag: String,
    /// Business key of the instance.
    pub business_key: String,
    /// Who does it.
    pub kind: WorkKind,
    /// What it is: an implementation class, or the topic of external work.
    pub topic: String,
    /// External work of higher priority is fetched first.
    pub priority: i64,
    /// When it was asked for.
    pub created: OffsetDateTime,
    /// When it is to be done.
    pub due: OffsetDateTime,
    /// How often it was begun.
    pub attempts: u32,
    /// Attempts that are left, if that has been said; with 0 nobody gets it.
    pub retries: Option<u32>,
    /// The engine or worker that is doing it, or was the last to.
    pub locked_by: Option<String>,
    /// Until when.
    pub locked_until: OffsetDateTime,
    /// How far it is, in the words of who does it.
    pub progress: Option<String>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// More about that.
    pub failure_details: Option<String>,
    /// What is needed to do it.
    pub input: Vec<u8>,
}

/// Which external work a worker asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalFetch {
    /// Of this topic.
    pub topic: String,
    /// Of instances with this business key.
    pub business_key: Option<String>,
    /// Of this process.
    pub process_key: Option<String>,
    /// Of this version of a process.
    pub version_tag: Option<String>,
}

/// Which work is listed, by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkItemList {
    /// Only work of this kind.
    pub kind: Option<WorkKind>,
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only of this instance.
    pub instance: Option<String>,
    /// Only what nobody gets any more because no attempts are left (or what somebody may still get).
    pub is_exhausted: Option<bool>,
    /// Continue behind this item.
    pub after: Option<String>,
    /// At most this many.
    pub limit: u32,
}

const COLUMNS: &str = "SELECT id, instance, element, process_key, version_tag, business_key, kind, topic, priority,
    created, due, attempts, retries, locked_by, locked_until, progress, failure, failure_details, input FROM work_item";

// === impl WorkKind ===

impl WorkKind {
    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::External => "external",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "step" => Ok(Self::Step),
            "external" => Ok(Self::External),
            other => Err(StoreError::BadRow(format!("kind of work {other}"))),
        }
    }
}

impl Transaction<'_> {
    /// Stores work.
    pub fn insert_work_item(&mut self, new: &NewWorkItem) -> Result<(), StoreError> {
        let now = self.now();
        let inserted = self.execute(
            "INSERT INTO work_item (id, instance, element, process_key, version_tag, business_key, kind, topic, priority,
                created, due, attempts, retries, locked_by, locked_until, progress, failure, failure_details, input)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12, NULL, 0, NULL, NULL, NULL, ?13)
             ON CONFLICT (id) DO NOTHING",
            &[
                (&new.id).into(),
                (&new.instance).into(),
                (&new.element).into(),
                (&new.process_key).into(),
                (&new.version_tag).into(),
                (&new.business_key).into(),
                new.kind.as_str().into(),
                (&new.topic).into(),
                new.priority.into(),
                now.into(),
                new.due.into(),
                new.retries.into(),
                (&new.input).into(),
            ],
        )?;
        if inserted == 0 {
            return Err(StoreError::Exists { what: "work", id: new.id.clone() });
        }
        self.effects().work = true;
        Ok(())
    }

    /// Claims steps whose time has come for an engine until `now + lock`, the longest due first.
    pub fn claim_steps(
        &mut self,
        owner: &str,
        now: OffsetDateTime,
        lock: Duration,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let skip = self.dialect().skip_locked();
        let items = self.rows(
            &format!(
                "{COLUMNS} WHERE kind = 'step' AND (retries IS NULL OR retries > 0) AND due <= ?1 AND locked_until <= ?1
                 ORDER BY due LIMIT ?2{skip}"
            ),
            &[now.into(), limit.min(limits::ROWS).into()],
            read,
        )?;
        self.lock_all(items, owner, now + lock)
    }

    /// External work that nobody holds, the highest priority first, then the oldest. On a database server it is kept from
    /// others until the end of this transaction.
    pub fn offered_external(
        &mut self,
        fetch: &ExternalFetch,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let skip = self.dialect().skip_locked();
        self.rows(
            &format!(
                "{COLUMNS} WHERE kind = 'external' AND topic = ?2 AND (retries IS NULL OR retries > 0) AND due <= ?1
                    AND locked_until <= ?1 AND (?3 = '' OR business_key = ?3) AND (?4 = '' OR process_key = ?4)
                    AND (?5 = '' OR version_tag = ?5)
                 ORDER BY priority DESC, created, id LIMIT ?6{skip}"
            ),
            &[
                now.into(),
                (&fetch.topic).into(),
                fetch.business_key.as_deref().unwrap_or_default().into(),
                fetch.process_key.as_deref().unwrap_or_default().into(),
                fetch.version_tag.as_deref().unwrap_or_default().into(),
                limit.min(limits::ROWS).into(),
            ],
            read,
        )
    }

    /// Locks work that was offered by this transaction.
    pub fn lock_all(
        &mut self,
        mut items: Vec<WorkItem>,
        owner: &str,
        until: OffsetDateTime,
    ) -> Result<Vec<WorkItem>, StoreError> {
        for item in &mut items {
            self.lock_work_for(&item.id, owner, until)?;
            item.attempts += 1;
            item.locked_by = Some(owner.to_owned());
            item.locked_until = until;
        }
        Ok(items)
    }

    /// Prolongs (or shortens) the lock; false if `owner` has lost it.
    pub fn extend_work_lock(&mut self, id: &str, owner: &str, until: OffsetDateTime) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE work_item SET locked_until = ?3 WHERE id = ?1 AND locked_by = ?2",
            &[id.into(), owner.into(), until.into()],
        )?;
        Ok(changed == 1)
    }

    /// Says how far the work is; false if `owner` has lost it.
    pub fn note_work_progress(&mut self, id: &str, owner: &str, progress: &str) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE work_item SET progress = ?3 WHERE id = ?1 AND locked_by = ?2",
            &[id.into(), owner.into(), progress.into()],
        )?;
        Ok(changed == 1)
    }

    /// Removes work that `owner` has done; false if `owner` has lost it, in which case its result must not be kept.
    pub fn complete_work_item(&mut self, id: &str, owner: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM work_item WHERE id = ?1 AND locked_by = ?2", &[id.into(), owner.into()])? == 1)
    }

    /// Removes work whoever does it (nobody wants it any more); false if there is none.
    pub fn delete_work_item(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM work_item WHERE id = ?1", &[id.into()])? == 1)
    }

    /// Records a failed attempt of `owner`: how many attempts are left, when the next one is due, and why. False if `owner`
    /// has lost the work.
    pub fn fail_work_item(
        &mut self,
        id: &str,
        owner: &str,
        retries: u32,
        due: OffsetDateTime,
        failure: &str,
        details: Option<&str>,
    ) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE work_item SET retries = ?3, due = ?4, failure = ?5, failure_details = ?6,
                locked_by = NULL, locked_until = 0 WHERE id = ?1 AND locked_by = ?2",
            &[id.into(), owner.into(), retries.into(), due.into(), failure.into(), details.into()],
        )?;
        self.effects().work = true;
        Ok(changed == 1)
    }

    /// Locks work for a worker, whoever had it.
    pub fn lock_work_for(&mut self, id: &str, owner: &str, until: OffsetDateTime) -> Result<(), StoreError> {
        self.put(
            "UPDATE work_item SET locked_by = ?2, locked_until = ?3, attempts = attempts + 1 WHERE id = ?1",
            &[id.into(), owner.into(), until.into()],
        )
    }

    /// Says why work waits for an operator.
    pub fn note_work_failure(&mut self, id: &str, failure: &str) -> Result<(), StoreError> {
        self.put("UPDATE work_item SET failure = ?2 WHERE id = ?1", &[id.into(), failure.into()])
    }

    /// Gives up the lock of work, so that anybody may do it; false if there is no such work.
    pub fn unlock_work_item(&mut self, id: &str) -> Result<bool, StoreError> {
        let changed =
            self.execute("UPDATE work_item SET locked_by = NULL, locked_until = 0 WHERE id = ?1", &[id.into()])?;
        self.effects().work = true;
        Ok(changed == 1)
    }

    /// Sets how many attempts are left and has the next one made at `due`; false if there is no such work.
    pub fn set_work_retries(&mut self, id: &str, retries: u32, due: OffsetDateTime) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE work_item SET retries = ?2, due = ?3 WHERE id = ?1",
            &[id.into(), retries.into(), due.into()],
        )?;
        self.effects().work = true;
        Ok(changed == 1)
    }

    /// Sets the priority; false if there is no such work.
    pub fn set_work_priority(&mut self, id: &str, priority: i64) -> Result<bool, StoreError> {
        let changed =
            self.execute("UPDATE work_item SET priority = ?2 WHERE id = ?1", &[id.into(), priority.into()])?;
        Ok(changed == 1)
    }

    /// Gives up every lock of an engine on steps.
    pub(super) fn release_work(&mut self, owner: &str) -> Result<(), StoreError> {
        self.effects().work = true;
        self.put(
            "UPDATE work_item SET locked_by = NULL, locked_until = 0 WHERE locked_by = ?1 AND kind = 'step'",
            &[owner.into()],
        )
    }

    /// When the next step can be claimed: it is due and nobody holds it, or its lock ends.
    pub fn next_step(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.earliest(&[
            "SELECT due FROM work_item WHERE kind = 'step' AND locked_by IS NULL AND (retries IS NULL OR retries > 0)
             ORDER BY due LIMIT 1",
            "SELECT locked_until FROM work_item WHERE kind = 'step' AND locked_by IS NOT NULL
             ORDER BY locked_until LIMIT 1",
        ])
    }

    /// When external work of a topic can next be fetched.
    pub fn next_external(&mut self, topic: &str, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, StoreError> {
        let time = |row: &dyn Row| row.optional_integer(0)?.map(crate::sql::from_millis).transpose();
        let due = self.row(
            "SELECT MIN(due) FROM work_item WHERE kind = 'external' AND topic = ?1 AND locked_until <= ?2
                AND (retries IS NULL OR retries > 0)",
            &[topic.into(), now.into()],
            time,
        )?;
        let freed = self.row(
            "SELECT MIN(locked_until) FROM work_item WHERE kind = 'external' AND topic = ?1 AND locked_until > ?2
                AND (retries IS NULL OR retries > 0)",
            &[topic.into(), now.into()],
            time,
        )?;
        Ok([due, freed].into_iter().flatten().flatten().min())
    }

    /// The work with this id.
    pub fn work_item(&mut self, id: &str) -> Result<Option<WorkItem>, StoreError> {
        self.row(&format!("{COLUMNS} WHERE id = ?1"), &[id.into()], read)
    }

    /// The work with this id, kept from other engines until the end of the transaction.
    pub fn lock_work_item(&mut self, id: &str) -> Result<Option<WorkItem>, StoreError> {
        let lock = self.dialect().for_update();
        self.row(&format!("{COLUMNS} WHERE id = ?1{lock}"), &[id.into()], read)
    }

    /// Work by its id.
    pub fn work_items(&mut self, list: &WorkItemList) -> Result<Vec<WorkItem>, StoreError> {
        let exhausted = match list.is_exhausted {
            None => "",
            Some(true) => " AND retries = 0",
            Some(false) => " AND (retries IS NULL OR retries > 0)",
        };
        self.rows(
            &format!(
                "{COLUMNS} WHERE id > ?1 AND (?2 = '' OR kind = ?2) AND (?3 = '' OR topic = ?3)
                    AND (?4 = '' OR instance = ?4){exhausted} ORDER BY id LIMIT ?5"
            ),
            &[
                list.after.as_deref().unwrap_or_default().into(),
                list.kind.map_or("", WorkKind::as_str).into(),
                list.topic.as_deref().unwrap_or_default().into(),
                list.instance.as_deref().unwrap_or_default().into(),
                list.limit.min(limits::ROWS).into(),
            ],
            read,
        )
    }

    /// The work of an instance, oldest first.
    pub fn work_of(&mut self, instance: &str) -> Result<Vec<WorkItem>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE instance = ?1 ORDER BY created, id LIMIT ?2"),
            &[instance.into(), limits::ROWS.into()],
            read,
        )
    }

    /// How much work there is by kind and topic.
    pub fn count_work_items(&mut self) -> Result<Vec<(WorkKind, String, u64)>, StoreError> {
        self.rows("SELECT kind, topic, COUNT(*) FROM work_item GROUP BY kind, topic ORDER BY kind, topic", &[], |row| {
            Ok((WorkKind::parse(row.text(0)?)?, row.string(1)?, row.unsigned(2)?))
        })
    }
}

fn read(row: &dyn Row) -> Result<WorkItem, StoreError> {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let retries = row.optional_integer(12)?.map(|retries| u32::try_from(retries).unwrap_or(0));
    Ok(WorkItem {
        id: row.string(0)?,
        instance: row.string(1)?,
        element: row.string(2)?,
        process_key: row.string(3)?,
        version_tag: row.string(4)?,
        business_key: row.string(5)?,
        kind: WorkKind::parse(row.text(6)?)?,
        topic: row.string(7)?,
        priority: row.integer(8)?,
        created: row.time(9)?,
        due: row.time(10)?,
        attempts: number(row.unsigned(11)?),
        retries,
        locked_by: row.optional_string(13)?,
        locked_until: row.time(14)?,
        progress: row.optional_string(15)?,
        failure: row.optional_string(16)?,
        failure_details: row.optional_string(17)?,
        input: row.bytes(18)?.to_vec(),
    })
}

#[cfg(test)]
mod tests;
