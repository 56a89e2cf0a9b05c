//! The schema, in numbered steps for each database.
//!
//! Every step has the same number, name, tables and columns in both folders; only types and storage hints differ. The
//! table `schema_step` records what has been applied; a program refuses a schema that has steps it does not know.

use crate::connection::{Connection, Note};
use crate::sql::{Control, Dialect};
use crate::{StoreError, sql};

/// A step of the schema.
pub(crate) struct Step {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) sqlite: &'static str,
    pub(crate) postgresql: &'static str,
}

macro_rules! step {
    ($number:literal, $name:literal, $file:literal) => {
        Step {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file)),
            postgresql: include_str!(concat!("../migrations/postgresql/", $file)),
        }
    };
}

/// All steps, in order.
pub(crate) const STEPS: &[Step] = &[
    step!(1, "initial", "0001_initial.sql"),
    step!(2, "binary-streams", "0002_binary_streams.sql"),
    step!(3, "tally", "0003_tally.sql"),
    step!(4, "snapshots", "0004_snapshots.sql"),
    step!(5, "work-items", "0005_work_items.sql"),
    step!(6, "event-lines", "0006_event_lines.sql"),
];

const RECORD: &str =
    "CREATE TABLE IF NOT EXISTS schema_step (number BIGINT PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)";

/// Brings the schema up to date, in one transaction.
pub(crate) fn migrate(connection: &mut dyn Connection) -> Result<(), StoreError> {
    connection.begin_alone()?;
    let result = apply(connection);
    match result {
        Ok(()) => connection.commit(&Note::silent()),
        Err(error) => {
            if connection.in_transaction() {
                connection.control(Control::Rollback)?;
            }
            Err(error)
        }
    }
}

fn apply(connection: &mut dyn Connection) -> Result<(), StoreError> {
    connection.sql().execute(RECORD, &[])?;
    let mut found = 0;
    connection.sql().query("SELECT COALESCE(MAX(number), 0) FROM schema_step", &[], &mut |row| {
        found = row.unsigned(0)?;
        Ok(())
    })?;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    let known = STEPS.last().map_or(0, |step| step.number);
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in STEPS.iter().filter(|step| step.number > found) {
        let text = match connection.sql().dialect() {
            Dialect::Sqlite => step.sqlite,
            Dialect::PostgreSql => step.postgresql,
        };
        connection.batch(text)?;
        let applied = sql::to_millis(time::OffsetDateTime::now_utc());
        connection.sql().execute(
            "INSERT INTO schema_step (number, name, applied) VALUES (?1, ?2, ?3)",
            &[step.number.into(), step.name.into(), applied.into()],
        )?;
        tracing::info!(step = step.number, name = step.name, "schema of the store changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
