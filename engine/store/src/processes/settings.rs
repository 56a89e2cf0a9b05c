//! Small values of the node, and counters on which limits are decided in the transaction that uses them up.

use time::OffsetDateTime;

use crate::{StoreError, Transaction};

/// The answer of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The use counts; this many were counted in the period, this one included.
    Within(u64),
    /// The limit had been reached; nothing was counted.
    Exceeded(u64),
}

impl Transaction<'_> {
    /// The value of a setting.
    pub fn setting(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.row("SELECT value FROM setting WHERE name = ?1", &[name.into()], |row| Ok(row.bytes(0)?.to_vec()))
    }

    /// Sets a setting.
    pub fn set_setting(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.put(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            &[name.into(), value.into()],
        )?;
        Ok(())
    }

    /// Removes a setting.
    pub fn delete_setting(&mut self, name: &str) -> Result<(), StoreError> {
        self.put("DELETE FROM setting WHERE name = ?1", &[name.into()])?;
        Ok(())
    }

    /// Counts one use in the period that starts at `period_start`, unless `limit` uses were counted already.
    pub fn count_within(
        &mut self,
        name: &str,
        period_start: OffsetDateTime,
        limit: u64,
    ) -> Result<Counted, StoreError> {
        if limit == 0 {
            return Ok(Counted::Exceeded(self.counted(name, period_start)?));
        }
        let counted = self.returning(
            "INSERT INTO counter (name, period_start, count) VALUES (?1, ?2, 1)
             ON CONFLICT (name, period_start) DO UPDATE SET count = counter.count + 1 WHERE counter.count < ?3
             RETURNING count",
            &[name.into(), period_start.into(), limit.into()],
            |row| row.unsigned(0),
        )?;
        match counted.first() {
            Some(count) => Ok(Counted::Within(*count)),
            None => Ok(Counted::Exceeded(self.counted(name, period_start)?)),
        }
    }

    /// How often the counter was used in the period.
    pub fn counted(&mut self, name: &str, period_start: OffsetDateTime) -> Result<u64, StoreError> {
        let count = self.row(
            "SELECT count FROM counter WHERE name = ?1 AND period_start = ?2",
            &[name.into(), period_start.into()],
            |row| row.unsigned(0),
        )?;
        Ok(count.unwrap_or(0))
    }

    /// Removes counters of periods that started before.
    pub fn delete_counters_before(&mut self, period_start: OffsetDateTime) -> Result<usize, StoreError> {
        self.execute("DELETE FROM counter WHERE period_start < ?1", &[period_start.into()])
    }
}
