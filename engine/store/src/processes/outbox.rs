//! The outbox: Tasks that are sent to partners after the transaction that queued them. A message stays until its
//! delivery is recorded, so it may be sent twice but is never lost; the receiver recognises it by its id.

use time::{Duration, OffsetDateTime};

use crate::sql::Row;
use crate::{Param, StoreError, Transaction, limits};

/// A message that is to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOutboxMessage {
    /// Its id, which becomes the identifier of the sent Task.
    pub id: String,
    /// The instance that sends it.
    pub instance: Option<String>,
    /// The step of the instance that waits for the delivery.
    pub step: String,
    /// Base URL of the receiving endpoint.
    pub target_url: String,
    /// Identifier of the receiving organisation.
    pub target_organization: String,
    /// What is sent.
    pub body: Vec<u8>,
    /// When it is to be sent.
    pub next_attempt: OffsetDateTime,
}

/// A queued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its id.
    pub id: String,
    /// The instance that sends it.
    pub instance: Option<String>,
    /// The step of the instance that waits for the delivery.
    pub step: String,
    /// Base URL of the receiving endpoint.
    pub target_url: String,
    /// Identifier of the receiving organisation.
    pub target_organization: String,
    /// What is sent.
    pub body: Vec<u8>,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it is to be sent.
    pub next_attempt: OffsetDateTime,
    /// The engine that is sending it.
    pub locked_by: Option<String>,
    /// Until when.
    pub locked_until: OffsetDateTime,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When it was queued.
    pub created: OffsetDateTime,
}

const COLUMNS: &str = "SELECT id, instance, step, target_url, target_organization, body, attempts, next_attempt,
    locked_by, locked_until, failure, created FROM outbox";

impl Transaction<'_> {
    /// Queues a message.
    pub fn insert_outbox(&mut self, new: &NewOutboxMessage) -> Result<(), StoreError> {
        self.insert_outbox_row(new, None)?;
        self.effects().outbox = true;
        Ok(())
    }

    /// Queues a message that `owner` sends at once after the commit, claimed for it from the beginning: a claim of its own
    /// would be one more flush on the way of every message.
    pub fn insert_claimed_outbox(
        &mut self,
        new: &NewOutboxMessage,
        owner: &str,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        self.insert_outbox_row(new, Some((owner, until)))
    }

    fn insert_outbox_row(
        &mut self,
        new: &NewOutboxMessage,
        claim: Option<(&str, OffsetDateTime)>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let inserted = self.execute(
            "INSERT INTO outbox (id, instance, step, target_url, target_organization, body, attempts, next_attempt,
                locked_by, locked_until, failure, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, NULL, ?10) ON CONFLICT (id) DO NOTHING",
            &[
                (&new.id).into(),
                new.instance.as_deref().into(),
                (&new.step).into(),
                (&new.target_url).into(),
                (&new.target_organization).into(),
                (&new.body).into(),
                new.next_attempt.into(),
                claim.map(|(owner, _)| owner).into(),
                claim.map_or(Param::Integer(0), |(_, until)| until.into()),
                now.into(),
            ],
        )?;
        match inserted {
            0 => Err(StoreError::Exists { what: "message to send", id: new.id.clone() }),
            _ => Ok(()),
        }
    }

    /// Claims messages whose time has come for `owner` until `now + lock`, the longest waiting first.
    pub fn claim_outbox(
        &mut self,
        owner: &str,
        now: OffsetDateTime,
        lock: Duration,
        limit: u32,
    ) -> Result<Vec<OutboxMessage>, StoreError> {
        let skip = self.dialect().skip_locked();
        let mut messages = self.rows(
            &format!("{COLUMNS} WHERE next_attempt <= ?1 AND locked_until <= ?1 ORDER BY next_attempt LIMIT ?2{skip}"),
            &[now.into(), limit.min(limits::ROWS).into()],
            read,
        )?;
        let until = now + lock;
        for message in &mut messages {
            self.put(
                "UPDATE outbox SET locked_by = ?2, locked_until = ?3 WHERE id = ?1",
                &[(&message.id).into(), owner.into(), until.into()],
            )?;
            message.locked_by = Some(owner.to_owned());
            message.locked_until = until;
        }
        Ok(messages)
    }

    /// Removes a delivered or given-up message; false if `owner` has lost it, in which case another engine has recorded
    /// or will record its delivery.
    pub fn complete_outbox(&mut self, id: &str, owner: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM outbox WHERE id = ?1 AND locked_by = ?2", &[id.into(), owner.into()])? == 1)
    }

    /// Removes a message whoever holds it; false if there is none.
    pub fn delete_outbox(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM outbox WHERE id = ?1", &[id.into()])? == 1)
    }

    /// Records a failed attempt and when the next one is due.
    pub fn reschedule_outbox(
        &mut self,
        id: &str,
        next_attempt: OffsetDateTime,
        failure: &str,
    ) -> Result<(), StoreError> {
        let changed = self.execute(
            "UPDATE outbox SET attempts = attempts + 1, next_attempt = ?2, failure = ?3, locked_by = NULL,
                locked_until = 0 WHERE id = ?1",
            &[id.into(), next_attempt.into(), failure.into()],
        )?;
        if changed == 0 {
            return Err(StoreError::NoRecord { what: "message to send", id: id.to_owned() });
        }
        self.effects().outbox = true;
        Ok(())
    }

    /// The message.
    pub fn outbox_message(&mut self, id: &str) -> Result<Option<OutboxMessage>, StoreError> {
        self.row(&format!("{COLUMNS} WHERE id = ?1"), &[id.into()], read)
    }

    /// The messages of an instance, oldest first.
    pub fn outbox_of(&mut self, instance: &str) -> Result<Vec<OutboxMessage>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE instance = ?1 ORDER BY created, id LIMIT ?2"),
            &[instance.into(), limits::ROWS.into()],
            read,
        )
    }

    /// When the next message can be claimed.
    pub fn next_outbox(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.earliest(&[
            "SELECT next_attempt FROM outbox WHERE locked_by IS NULL ORDER BY next_attempt LIMIT 1",
            "SELECT locked_until FROM outbox WHERE locked_by IS NOT NULL ORDER BY locked_until LIMIT 1",
        ])
    }

    /// How many messages wait.
    pub fn count_outbox(&mut self) -> Result<u64, StoreError> {
        Ok(self.row("SELECT COUNT(*) FROM outbox", &[], |row| row.unsigned(0))?.unwrap_or(0))
    }
}

fn read(row: &dyn Row) -> Result<OutboxMessage, StoreError> {
    Ok(OutboxMessage {
        id: row.string(0)?,
        instance: row.optional_string(1)?,
        step: row.string(2)?,
        target_url: row.string(3)?,
        target_organization: row.string(4)?,
        body: row.bytes(5)?.to_vec(),
        attempts: u32::try_from(row.unsigned(6)?).unwrap_or(u32::MAX),
        next_attempt: row.time(7)?,
        locked_by: row.optional_string(8)?,
        locked_until: row.time(9)?,
        failure: row.optional_string(10)?,
        created: row.time(11)?,
    })
}
