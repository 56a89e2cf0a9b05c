//! What a connection of a backend can do beside running statements: begin and end transactions.

use fhir::ResourceType;
use time::OffsetDateTime;

use crate::{Sql, StoreError, limits};

/// One connection of a backend.
pub(crate) trait Connection: Sql + Send {
    /// The connection as the trait that transactions use.
    fn sql(&mut self) -> &mut dyn Sql;

    /// Begins a writing transaction beside which nobody else writes, for the schema and the index.
    fn begin_alone(&mut self) -> Result<(), StoreError>;

    /// Begins the transaction of a group of closures, beside which nobody else writes. What an earlier group left open is
    /// undone. Nothing of the group has run yet, so a backend waits here for a database that is just being restarted.
    fn begin_group(&mut self) -> Result<Begun, StoreError>;

    /// Begins a transaction that reads one consistent snapshot.
    fn begin_read(&mut self) -> Result<(), StoreError>;

    /// Makes the transaction durable and tells other engines on the same database. An error means that nothing of it was
    /// kept, except [`StoreError::CommitUnknown`].
    fn commit(&mut self, note: &Note) -> Result<(), StoreError>;

    /// Whether a transaction is open. A database may end one by itself, for example when the disk is full.
    fn in_transaction(&self) -> bool;

    /// Runs several statements, for migrations.
    fn batch(&mut self, sql: &str) -> Result<(), StoreError>;

    /// Closures that a group may have.
    fn group_size(&self) -> usize {
        limits::GROUP_SIZE
    }

    /// Runs at the end, for what a backend tidies up.
    fn finish(&mut self) {}
}

/// What the database knows at the begin of a group and this engine may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The clock of the database, which several engines share.
    pub(crate) clock: Option<OffsetDateTime>,
    /// The newest time of a version.
    pub(crate) last_time: Option<OffsetDateTime>,
    /// Types of resources that other engines have changed since the last group of this one.
    pub(crate) changed_elsewhere: Vec<ResourceType>,
}

/// What a group tells other engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The time of the group.
    pub(crate) time: OffsetDateTime,
    /// It wrote versions or deleted resources.
    pub(crate) changes: bool,
    /// A job was added or became due earlier.
    pub(crate) jobs: bool,
    /// A message waits to be sent.
    pub(crate) outbox: bool,
    /// Work was added or became due earlier.
    pub(crate) work: bool,
}

// === impl Note ===

impl Note {
    /// Of a transaction that changes nothing others wait for.
    pub(crate) const fn silent() -> Self {
        Self { time: OffsetDateTime::UNIX_EPOCH, changes: false, jobs: false, outbox: false, work: false }
    }

    pub(crate) const fn is_silent(&self) -> bool {
        !(self.changes || self.jobs || self.outbox || self.work)
    }
}
