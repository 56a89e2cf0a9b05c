//! The one database of a node: FHIR resources with all their versions, process instances, jobs, outbox and inbox.
//!
//! Everything that must not drift apart is written in one transaction (`architecture.md` section 3): a Task, the process
//! instance that it starts, the timers of that instance and the messages that it sends. [`Store::write`] runs a closure
//! in such a transaction and answers when it is on disk; [`Store::read`] runs one on a consistent snapshot.
//!
//! ```text
//! endpoint, processes ── closure ──▶ Store::write ─▶ writer thread ─▶ SAVEPOINT per closure ─▶ one COMMIT ─▶ answers
//!                     └─ closure ──▶ Store::read  ─▶ pool of snapshot connections
//! ```
//!
//! Invariants:
//! - A change is answered only after it is durable, and announced ([`Store::subscribe`]) only after that.
//! - What decides who may see a version ([`read_access`]), which keys must be unique ([`unique`]) and what is found by a
//!   search is computed here from the resource itself, so no writer can forget it.
//! - Times of transactions never go back, and a later commit never carries a time that an earlier commit used, so a
//!   client that catches up with `_lastUpdated=gt…` misses nothing.
//! - All SQL is text fixed in this crate with bound values; nothing from outside becomes SQL text.
//!
//! The trait [`Sql`] is all that a database backend implements; every query here is written once for SQLite and
//! PostgreSQL.

pub mod binary;
pub mod change;
mod connection;
mod disk;
pub mod error;
mod freshness;
pub mod history;
mod id;
mod index;
pub mod limits;
mod migrations;
mod page;
mod postgresql;
pub mod processes;
pub mod read_access;
pub mod resources;
pub mod search;
mod snapshots;
pub mod sql;
mod sqlite;
mod statement;
mod store;
mod tally;
mod transaction;
pub mod unique;
mod verify;
mod writer;

pub use change::{Change, ChangeKind};
pub use error::StoreError;
pub use freshness::Stamp;
pub use history::{HistoryEntry, HistoryPage, HistoryQuery, HistoryScope};
pub use id::new_id;
pub use index::IndexContext;
pub use postgresql::{PostgreSql, SettingError, Tls};
pub use read_access::{Grant, ReadFilter};
pub use resources::{Deletion, Found, StoredResource};
pub use search::SearchResult;
pub use sql::{Dialect, Param, Row, Sql};
pub use store::{Clock, Statistics, Store, StoreOptions};
pub use transaction::Transaction;
pub use unique::UniqueKey;
pub use verify::Verified;

#[cfg(test)]
mod tests;
