//! The inbox: messages (Tasks `in-progress`) that no instance waits for yet. A reply may overtake the commit that makes
//! its receiver wait (`process-engine.md` 0.3); it is kept for a while instead of being failed at once.

use time::OffsetDateTime;

use crate::sql::Row;
use crate::{StoreError, Transaction, limits};

/// A message that is to be buffered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBufferedMessage {
    /// The id of its Task.
    pub task_id: String,
    /// Process id that it is meant for.
    pub process_key: String,
    /// Version tag that it is meant for.
    pub version_tag: String,
    /// Message name.
    pub message_name: String,
    /// Business key.
    pub business_key: String,
    /// Correlation key.
    pub correlation_key: Option<String>,
    /// When it is given up.
    pub expires: OffsetDateTime,
}

/// A buffered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferedMessage {
    /// The id of its Task.
    pub task_id: String,
    /// Process id that it is meant for.
    pub process_key: String,
    /// Version tag that it is meant for.
    pub version_tag: String,
    /// Message name.
    pub message_name: String,
    /// Business key.
    pub business_key: String,
    /// Correlation key.
    pub correlation_key: Option<String>,
    /// When it was buffered.
    pub received: OffsetDateTime,
    /// When it is given up.
    pub expires: OffsetDateTime,
}

const COLUMNS: &str = "SELECT task_id, process_key, version_tag, message_name, business_key, correlation_key, received,
    expires FROM inbox";

impl Transaction<'_> {
    /// Buffers a message.
    pub fn insert_inbox(&mut self, new: &NewBufferedMessage) -> Result<(), StoreError> {
        let now = self.now();
        let inserted = self.execute(
            "INSERT INTO inbox (task_id, process_key, version_tag, message_name, business_key, correlation_key,
                received, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (task_id) DO NOTHING",
            &[
                (&new.task_id).into(),
                (&new.process_key).into(),
                (&new.version_tag).into(),
                (&new.message_name).into(),
                (&new.business_key).into(),
                new.correlation_key.as_deref().into(),
                now.into(),
                new.expires.into(),
            ],
        )?;
        if inserted == 0 {
            return Err(StoreError::Exists { what: "buffered message", id: new.task_id.clone() });
        }
        // Expiry is watched by the same clock as jobs.
        self.effects().jobs = true;
        Ok(())
    }

    /// The messages buffered for a business key, oldest first.
    pub fn inbox_of(&mut self, business_key: &str) -> Result<Vec<BufferedMessage>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE business_key = ?1 ORDER BY received, task_id LIMIT ?2"),
            &[business_key.into(), limits::ROWS.into()],
            read,
        )
    }

    /// The messages whose time is over, the longest over first.
    pub fn expired_inbox(&mut self, now: OffsetDateTime, limit: u32) -> Result<Vec<BufferedMessage>, StoreError> {
        self.rows(
            &format!("{COLUMNS} WHERE expires <= ?1 ORDER BY expires LIMIT ?2"),
            &[now.into(), limit.min(limits::ROWS).into()],
            read,
        )
    }

    /// Takes a message out; false if it is gone, in which case another transaction has handled it.
    pub fn delete_inbox(&mut self, task_id: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM inbox WHERE task_id = ?1", &[task_id.into()])? == 1)
    }

    /// When the next buffered message expires.
    pub fn next_inbox_expiry(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.earliest(&["SELECT expires FROM inbox ORDER BY expires LIMIT 1"])
    }
}

fn read(row: &dyn Row) -> Result<BufferedMessage, StoreError> {
    Ok(BufferedMessage {
        task_id: row.string(0)?,
        process_key: row.string(1)?,
        version_tag: row.string(2)?,
        message_name: row.string(3)?,
        business_key: row.string(4)?,
        correlation_key: row.optional_string(5)?,
        received: row.time(6)?,
        expires: row.time(7)?,
    })
}
