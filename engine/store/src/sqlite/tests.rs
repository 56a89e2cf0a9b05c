//! A query ends when its time is over, and the transaction goes on.

use std::time::Duration;

use super::SqliteConnection;
use crate::connection::{Connection as _, Note};
use crate::sql::Sql as _;
use crate::{IndexContext, StoreError, Transaction};

/// Counts for some seconds.
const LONG: &str =
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 30000000) SELECT COUNT(*) FROM c";

/// Counts for some milliseconds.
const SHORT: &str =
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) SELECT COUNT(*) FROM c";

fn count(connection: &mut dyn crate::Sql, sql: &str) -> Result<i64, StoreError> {
    let mut count = 0;
    connection.query(sql, &[], &mut |row| {
        count = row.integer(0)?;
        Ok(())
    })?;
    Ok(count)
}

#[test]
fn a_query_is_given_up_when_its_time_is_over() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (n INTEGER NOT NULL) STRICT").unwrap();
    let mut connection = SqliteConnection::new(connection, true).unwrap();
    connection.begin_group().unwrap();
    connection.execute("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    let context = IndexContext::default();
    let time = Duration::from_millis(20);
    let mut tx = Transaction::new(&mut connection, &context, time::OffsetDateTime::now_utc(), true);
    let found = tx.within(time, |tx| tx.row(LONG, &[], |row| row.integer(0)));
    assert_eq!(found, Err(StoreError::TooCostly { limit: time }));
    // What comes next has no end any more, and what was written is still there.
    assert_eq!(count(&mut connection, SHORT), Ok(300_000));
    assert_eq!(count(&mut connection, "SELECT COUNT(*) FROM t"), Ok(1));
    connection.commit(&Note::silent()).unwrap();
    assert_eq!(count(&mut connection, "SELECT COUNT(*) FROM t"), Ok(1));
}

#[test]
fn a_search_that_panics_leaves_no_end_behind() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut connection = SqliteConnection::new(connection, true).unwrap();
    connection.begin_group().unwrap();
    let context = IndexContext::default();
    let mut tx = Transaction::new(&mut connection, &context, time::OffsetDateTime::now_utc(), true);
    let search = std::panic::AssertUnwindSafe(|| {
        tx.within(Duration::ZERO, |_| -> Result<(), StoreError> { panic!("in a search") })
    });
    assert!(std::panic::catch_unwind(search).is_err());
    connection.control(crate::sql::Control::Rollback).unwrap();
    connection.begin_group().unwrap();
    assert_eq!(count(&mut connection, SHORT), Ok(300_000));
}
