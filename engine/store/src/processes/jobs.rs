//! Jobs: timers, asynchronous continuations, retries. A due job is claimed by one engine for a time; if that engine
//! dies, the job is due again when the time is over.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::sql::Row;
use crate::{StoreError, Transaction, limits};

/// A job that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its id, chosen by the caller so that a timer can be cancelled.
    pub id: String,
    /// The instance it belongs to.
    pub instance: Option<String>,
    /// What is to be done.
    pub kind: String,
    /// Whether it must not run beside another exclusive job of its instance.
    pub exclusive: bool,
    /// When it is to be done.
    pub due: OffsetDateTime,
    /// Attempts that are left; with 0 nobody claims it.
    pub retries: u32,
    /// What is needed to do it.
    pub payload: Vec<u8>,
}

/// A stored job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The instance it belongs to.
    pub instance: Option<String>,
    /// What is to be done.
    pub kind: String,
    /// Whether it must not run beside another exclusive job of its instance.
    pub exclusive: bool,
    /// When it is to be done.
    pub due: OffsetDateTime,
    /// Attempts that are left.
    pub retries: u32,
    /// The engine that works on it.
    pub locked_by: Option<String>,
    /// Until when.
    pub locked_until: OffsetDateTime,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// What is needed to do it.
    pub payload: Vec<u8>,
}

const COLUMNS: &str =
    "SELECT id, instance, kind, exclusive, due, retries, locked_by, locked_until, failure, payload FROM job";

impl Transaction<'_> {
    /// Stores a job.
    pub fn insert_job(&mut self, new: &NewJob) -> Result<(), StoreError> {
        let inserted = self.execute(
            "INSERT INTO job (id, instance, kind, exclusive, due, retries, locked_by, locked_until, failure, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, 0, NULL, ?7) ON CONFLICT (id) DO NOTHING",
            &[
                (&new.id).into(),
                new.instance.as_deref().into(),
                (&new.kind).into(),
                new.exclusive.into(),
                new.due.into(),
                new.retries.into(),
                (&new.payload).into(),
            ],
        )?;
        if inserted == 0 {
            return Err(StoreError::Exists { what: "job", id: new.id.clone() });
        }
        self.effects().jobs = true;
        Ok(())
    }

    /// Claims due jobs for `owner` until `now + lock`, the longest due first. Of the exclusive jobs of one instance only
    /// one is claimed at a time.
    pub fn claim_jobs(
        &mut self,
        owner: &str,
        now: OffsetDateTime,
        lock: Duration,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let skip = self.dialect().skip_locked();
        let candidates = self.rows(
            &format!(
                "{COLUMNS} WHERE retries > 0 AND due <= ?1 AND locked_until <= ?1
                    AND (exclusive = 0 OR instance IS NULL OR NOT EXISTS (SELECT 1 FROM job AS other
                        WHERE other.instance = job.instance AND other.exclusive = 1 AND other.locked_until > ?1))
                 ORDER BY due LIMIT ?2{skip}"
            ),
            &[now.into(), limit.min(limits::ROWS).into()],
            read,
        )?;
        let until = now + lock;
        let mut busy = BTreeSet::new();
        let mut claimed = Vec::with_capacity(candidates.len());
        for mut job in candidates {
            if job.exclusive
                && let Some(instance) = &job.instance
                && !busy.insert(instance.clone())
            {
                continue;
            }
            self.put(
                "UPDATE job SET locked_by = ?2, locked_until = ?3 WHERE id = ?1",
                &[(&job.id).into(), owner.into(), until.into()],
            )?;
            job.locked_by = Some(owner.to_owned());
            job.locked_until = until;
            claimed.push(job);
        }
        Ok(claimed)
    }

    /// Prolongs the lock of a claimed job; false if `owner` has lost it.
    pub fn extend_job_lock(&mut self, id: &str, owner: &str, until: OffsetDateTime) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE job SET locked_until = ?3 WHERE id = ?1 AND locked_by = ?2",
            &[id.into(), owner.into(), until.into()],
        )?;
        Ok(changed == 1)
    }

    /// Removes a job that `owner` has done; false if `owner` has lost it, in which case its result must not be kept.
    pub fn complete_job(&mut self, id: &str, owner: &str) -> Result<bool, StoreError> {
        let removed = self.execute("DELETE FROM job WHERE id = ?1 AND locked_by = ?2", &[id.into(), owner.into()])?;
        if removed == 1 {
            // Another exclusive job of the instance may be waiting for this one.
            self.effects().jobs = true;
        }
        Ok(removed == 1)
    }

    /// Removes a job whoever holds it (a cancelled timer); false if there is none.
    pub fn delete_job(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM job WHERE id = ?1", &[id.into()])? == 1)
    }

    /// Sets when and how often a job is tried again and gives up its lock.
    pub fn reschedule_job(
        &mut self,
        id: &str,
        due: OffsetDateTime,
        retries: u32,
        failure: Option<&str>,
    ) -> Result<(), StoreError> {
        let changed = self.execute(
            "UPDATE job SET due = ?2, retries = ?3, failure = ?4, locked_by = NULL, locked_until = 0 WHERE id = ?1",
            &[id.into(), due.into(), retries.into(), failure.into()],
        )?;
        if changed == 0 {
            return Err(StoreError::NoRecord { what: "job", id: id.to_owned() });
        }
        self.effects().jobs = true;
        Ok(())
    }

    /// Gives up every lock on jobs, messages and work of `owner`: at its start, an engine that alone has its name takes over
    /// what it held when it was killed.
    pub fn release_locks(&mut self, owner: &str) -> Result<(), StoreError> {
        self.put("UPDATE job SET locked_by = NULL, locked_until = 0 WHERE locked_by = ?1", &[owner.into()])?;
        self.put("UPDATE outbox SET locked_by = NULL, locked_until = 0 WHERE locked_by = ?1", &[owner.into()])?;
        self.release_work(owner)?;
        self.effects().jobs = true;
        self.effects().outbox = true;
        Ok(())
    }

    /// When the next job can be claimed: it is due and nobody holds it, or its lock ends.
    pub fn next_job(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.earliest(&[
            "SELECT due FROM job WHERE retries > 0 AND locked_by IS NULL ORDER BY due LIMIT 1",
            "SELECT locked_until FROM job WHERE locked_by IS NOT NULL ORDER BY locked_until LIMIT 1",
        ])
    }

    /// The earliest of the times that the queries find.
    pub(super) fn earliest(&mut self, queries: &[&str]) -> Result<Option<OffsetDateTime>, StoreError> {
        let mut earliest: Option<OffsetDateTime> = None;
        for query in queries {
            if let Some(time) = self.row(query, &[], |row| row.time(0))? {
                earliest = Some(earliest.map_or(time, |known| known.min(time)));
            }
        }
        Ok(earliest)
    }

    /// The job.
    pub fn job(&mut self, id: &str) -> Result<Option<Job>, StoreError> {
        self.row(&format!("{COLUMNS} WHERE id = ?1"), &[id.into()], read)
    }

    /// The jobs of an instance by due time.
    pub fn jobs_of(&mut self, instance: &str) -> Result<Vec<Job>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE instance = ?1 ORDER BY due, id LIMIT ?2"),
            &[instance.into(), limits::ROWS.into()],
            read,
        )
    }
}

fn read(row: &dyn Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.string(0)?,
        instance: row.optional_string(1)?,
        kind: row.string(2)?,
        exclusive: row.boolean(3)?,
        due: row.time(4)?,
        retries: u32::try_from(row.unsigned(5)?).unwrap_or(u32::MAX),
        locked_by: row.optional_string(6)?,
        locked_until: row.time(7)?,
        failure: row.optional_string(8)?,
        payload: row.bytes(9)?.to_vec(),
    })
}
