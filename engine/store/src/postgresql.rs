//! PostgreSQL as the store of a site that outgrows one machine: several engines on one database.
//!
//! ```text
//! writer thread ─▶ one connection  ─▶ BEGIN, the lock of all writers, closures, NOTIFY, COMMIT
//! readers       ─▶ some more       ─▶ BEGIN REPEATABLE READ READ ONLY, queries
//! listener      ─▶ one             ─▶ LISTEN: what other engines committed; holds the sign that this engine lives
//! ```
//!
//! Invariants:
//! - **One writer at a time.** Every writing transaction first takes one advisory lock of the database and keeps it until
//!   its commit is durable, so what is right with SQLite's single writer is right here: nobody writes between a check
//!   and the write that depends on it, times of commits follow each other, and there are no deadlocks. Engines take
//!   turns group by group. Row locks and unique keys stay in the SQL; they cost little and hold against anybody who
//!   writes without the lock.
//! - **An answer is true.** If the connection breaks during a commit, the transaction's fate is asked for before anybody
//!   is answered; what cannot be found out is an error that says so.
//! - **Nothing runs twice by itself.** Only what has not begun is tried again: connecting, beginning, the first query of
//!   a snapshot.

mod connection;
mod error;
mod listener;
mod outcome;
mod session;
mod settings;
mod statements;
mod tls;

use connection::{PostgreSqlConnection, Role};
pub(crate) use listener::Listener;
pub use settings::{PostgreSql, SettingError, Tls};

#[cfg(test)]
mod tests;
