//! The floor: the same bytes put into SQLite by bare `INSERT`s with the same durability, without any FHIR.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{During as _, Outcome};

/// Rows per second with so many rows in each commit.
pub(super) fn rate(folder: &Path, content: &str, rows: usize, time: Duration) -> Outcome<f64> {
    let path = folder.join(format!("bare-{rows}.db"));
    let connection = Connection::open(&path).during("opening a database")?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096;
             CREATE TABLE bare (id TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT;",
        )
        .during("preparing a database")?;
    let mut insert =
        connection.prepare("INSERT INTO bare (id, content) VALUES (?1, ?2)").during("preparing a statement")?;
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < time {
        connection.execute_batch("BEGIN IMMEDIATE").during("inserting")?;
        for _ in 0..rows {
            insert.execute((store::new_id(), content)).during("inserting")?;
            count += 1;
        }
        connection.execute_batch("COMMIT").during("inserting")?;
    }
    Ok((count as f64) / started.elapsed().as_secs_f64())
}
