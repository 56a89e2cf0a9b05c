//! What became of a transaction whose commit was not answered.
//!
//! A server that is restarted, or a network that breaks, may take the answer of a commit along: the transaction may be
//! durable or not. Telling the caller the wrong thing would lose an accepted Task or refuse one that runs. So the server is
//! asked. First the lock of the writers is taken: whoever has it knows that the old session has ended its transaction.
//! Then the server knows the id of the transaction as committed or aborted. The id means another transaction on a server
//! with another history (a standby that was promoted), so the history is compared.

use std::thread;
use std::time::Instant;

use super::PostgreSqlConnection;
use crate::connection::Connection as _;
use crate::sql::{Control, Sql as _};
use crate::{StoreError, limits};

/// The history that a primary writes.
pub(super) const TIMELINE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN '' ELSE
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

const STATUS: &str = "SELECT COALESCE(pg_xact_status(?1::xid8), '')";

/// Asks until there is an answer or no more time. `Ok` if the transaction was committed.
pub(super) fn find(
    connection: &mut PostgreSqlConnection,
    transaction: &str,
    cause: &StoreError,
) -> Result<(), StoreError> {
    let before = connection.timeline.clone();
    let started = Instant::now();
    loop {
        match ask(connection, transaction, before.as_deref()) {
            Ok(Fate::Committed) => {
                tracing::info!(transaction, "the connection broke during a commit, which was carried out");
                return Ok(());
            }
            Ok(Fate::Aborted) => return Err(StoreError::RolledBack(cause.to_string())),
            Ok(Fate::Unknown) => return Err(StoreError::CommitUnknown(cause.to_string())),
            Err(error) if started.elapsed() > limits::RESOLVE => {
                tracing::error!(transaction, %error, "the outcome of a commit could not be found out");
                return Err(StoreError::CommitUnknown(cause.to_string()));
            }
            Err(_) => {
                connection.disconnect();
                thread::sleep(limits::RECONNECT_PAUSE);
            }
        }
    }
}

enum Fate {
    Committed,
    Aborted,
    Unknown,
}

fn ask(connection: &mut PostgreSqlConnection, transaction: &str, before: Option<&str>) -> Result<Fate, StoreError> {
    connection.begin_alone()?;
    let now = connection.session.as_ref().map(|session| session.timeline.clone());
    if now.as_deref() != before || before.is_none_or(str::is_empty) {
        connection.control(Control::Rollback)?;
        return Ok(Fate::Unknown);
    }
    let mut fate = Fate::Unknown;
    connection.query(STATUS, &[transaction.into()], &mut |row| {
        fate = match row.text(0)? {
            "committed" => Fate::Committed,
            "aborted" => Fate::Aborted,
            _ => Fate::Unknown,
        };
        Ok(())
    })?;
    connection.control(Control::Rollback)?;
    Ok(fate)
}
