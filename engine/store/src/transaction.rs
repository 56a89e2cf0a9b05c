//! A transaction: the only way to the data.
//!
//! The methods live beside what they are about: resources in [`crate::resources`], searches in [`crate::search`],
//! history in [`crate::history`], Binary content in [`crate::binary`], the process side in [`crate::processes`].

use std::time::Duration;

use time::OffsetDateTime;

use crate::sql::{Control, Param, Row, Savepoint, Sql};
use crate::{Change, IndexContext, StoreError, limits, tally};

/// A unit of work. Inside [`crate::Store::write`] it may read and write; inside [`crate::Store::read`] it reads one
/// consistent snapshot.
pub struct Transaction<'a> {
    sql: &'a mut dyn Sql,
    context: &'a IndexContext,
    now: OffsetDateTime,
    writable: bool,
    effects: Effects,
}

/// What must happen once the transaction is durable.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) changes: Vec<Change>,
    /// Counts that change.
    pub(crate) tally: Vec<tally::Entry>,
    /// A job was added or became due earlier.
    pub(crate) jobs: bool,
    /// A message waits to be sent.
    pub(crate) outbox: bool,
    /// Work was added or became due earlier.
    pub(crate) work: bool,
    /// What the transaction wants done.
    pub(crate) after: Vec<After>,
}

/// Something to be done after a commit; dropped if there is none.
pub(crate) struct After(Box<dyn FnOnce() + Send>);

impl After {
    pub(crate) fn run(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("After")
    }
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(sql: &'a mut dyn Sql, context: &'a IndexContext, now: OffsetDateTime, writable: bool) -> Self {
        Self { sql, context, now, writable, effects: Effects::default() }
    }

    pub(crate) fn into_effects(self) -> Effects {
        self.effects
    }

    pub(crate) const fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// The time of this transaction, in milliseconds precision: `meta.lastUpdated` of what it writes.
    #[must_use]
    pub const fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// The changes to resources made so far, in their order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.effects.changes
    }

    /// Has `work` called once this transaction is durable. It must not block. If the transaction is undone, or the part of it
    /// that asked, `work` is dropped. If the database cannot say whether it was carried out, `work` is called too, so it
    /// must look for itself.
    pub fn after_commit(&mut self, work: impl FnOnce() + Send + 'static) {
        self.effects.after.push(After(Box::new(work)));
    }

    /// What queries must be read with: `fhir::search::parse_query_in(&tx.context().as_context(), …)`.
    #[must_use]
    pub const fn context(&self) -> &'a IndexContext {
        self.context
    }

    /// Runs `work` as a part that can fail alone: its error undoes what it did, and the transaction can go on.
    pub fn attempt<R, E>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, E>) -> Result<R, E>
    where
        E: From<StoreError>,
    {
        let effects = &self.effects;
        let before = (effects.changes.len(), effects.after.len(), effects.tally.len());
        let wakes = (effects.jobs, effects.outbox, effects.work);
        self.control(Control::Save(Savepoint::Attempt))?;
        let result = work(self).and_then(|result| Ok(self.sql.settle().map(|()| result)?));
        if result.is_err() {
            self.control(Control::Undo(Savepoint::Attempt))?;
            self.effects.changes.truncate(before.0);
            (self.effects.jobs, self.effects.outbox, self.effects.work) = wakes;
            self.effects.after.truncate(before.1);
            self.effects.tally.truncate(before.2);
        }
        self.control(Control::Release(Savepoint::Attempt))?;
        result
    }

    fn control(&mut self, control: Control) -> Result<(), StoreError> {
        if self.writable { self.sql.control(control) } else { Err(StoreError::ReadOnly) }
    }

    /// Whether this is a snapshot of committed data, for which the counts hold.
    pub(crate) const fn is_snapshot(&self) -> bool {
        !self.writable
    }

    /// Runs a search within its time.
    pub(crate) fn bounded<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let time = if self.writable { limits::SEARCH_OF_WRITER } else { limits::SEARCH };
        self.within(time, work)
    }

    pub(crate) fn within<R>(
        &mut self,
        time: Duration,
        work: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.sql.give(Some(time));
        let result = work(self);
        self.sql.give(None);
        result
    }

    pub(crate) fn dialect(&self) -> crate::Dialect {
        self.sql.dialect()
    }

    pub(crate) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, StoreError> {
        if self.writable { self.sql.execute(sql, params) } else { Err(StoreError::ReadOnly) }
    }

    /// A statement that changes data and whose number of rows nobody asks for (see [`Sql::put`]).
    pub(crate) fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), StoreError> {
        if self.writable { self.sql.put(sql, params) } else { Err(StoreError::ReadOnly) }
    }

    /// All rows, mapped.
    pub(crate) fn rows<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut map: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.sql.query(sql, params, &mut |row| {
            all.push(map(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first row, mapped.
    pub(crate) fn row<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut map: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut first = None;
        self.sql.query(sql, params, &mut |row| {
            if first.is_none() {
                first = Some(map(row)?);
            }
            Ok(())
        })?;
        Ok(first)
    }

    /// A statement that changes data and returns rows (`… RETURNING …`).
    pub(crate) fn returning<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        map: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        if self.writable { self.rows(sql, params, map) } else { Err(StoreError::ReadOnly) }
    }
}
