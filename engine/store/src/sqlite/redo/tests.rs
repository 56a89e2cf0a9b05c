//! The same random closures with and without savepoints of SQLite must leave the same rows.

use proptest::prelude::*;

use super::super::SqliteConnection;
use crate::connection::{Connection as _, Note};
use crate::sql::{Control, Param, Savepoint, Sql as _};
use crate::{StoreError, limits};

/// A step of a closure.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Update(u8, u8),
    Delete(u8),
    /// Inserts and uses the row number that comes back.
    Returning(u8),
    /// A statement that fails and is overlooked.
    Fails,
    /// Writes so much that it is not noted any more.
    Large,
    /// The closure panics: nobody ends the parts that it is in.
    Panic,
    /// A part that may fail alone.
    Attempt(Vec<Self>, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        4 => any::<u8>().prop_map(Step::Insert),
        2 => any::<(u8, u8)>().prop_map(|(from, to)| Step::Update(from % 16, to)),
        1 => any::<u8>().prop_map(|value| Step::Delete(value % 16)),
        2 => any::<u8>().prop_map(Step::Returning),
        1 => Just(Step::Fails),
        1 => Just(Step::Large),
        1 => Just(Step::Panic),
    ];
    let step = leaf.prop_recursive(3, 24, 6, |inner| {
        (prop::collection::vec(inner, 0..6), any::<bool>()).prop_map(|(steps, fails)| Step::Attempt(steps, fails))
    });
    prop::collection::vec(step, 0..8)
}

fn open() -> SqliteConnection {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t (n INTEGER PRIMARY KEY, value INTEGER NOT NULL CHECK (value >= 0)) STRICT;
             CREATE TABLE log (n INTEGER NOT NULL, text TEXT NOT NULL) STRICT;",
        )
        .unwrap();
    SqliteConnection::new(connection, true).unwrap()
}

/// True if the closure went to its end.
fn play(connection: &mut SqliteConnection, steps: &[Step]) -> bool {
    for step in steps {
        match step {
            Step::Insert(value) => {
                connection.execute("INSERT INTO t (value) VALUES (?1)", &[i64::from(*value).into()]).unwrap();
            }
            Step::Update(from, to) => {
                let params = [i64::from(*from).into(), i64::from(*to).into()];
                connection.execute("UPDATE t SET value = ?2 WHERE n = ?1", &params).unwrap();
            }
            Step::Delete(number) => {
                connection.execute("DELETE FROM t WHERE n = ?1", &[i64::from(*number).into()]).unwrap();
            }
            Step::Returning(value) => {
                let mut number = 0;
                let insert = "INSERT INTO t (value) VALUES (?1) RETURNING n";
                let mut keep = |row: &dyn crate::Row| {
                    number = row.integer(0)?;
                    Ok(())
                };
                connection.query(insert, &[i64::from(*value).into()], &mut keep).unwrap();
                let params: [Param<'_>; 2] = [number.into(), "kept".into()];
                connection.execute("INSERT INTO log (n, text) VALUES (?1, ?2)", &params).unwrap();
            }
            Step::Fails => {
                connection.execute("INSERT INTO t (value) VALUES (-1)", &[]).unwrap_err();
            }
            Step::Large => {
                let text = "x".repeat(limits::REDO_BYTES / 3);
                connection.execute("INSERT INTO log (n, text) VALUES (0, ?1)", &[(&text).into()]).unwrap();
            }
            Step::Attempt(steps, fails) => {
                connection.control(Control::Save(Savepoint::Attempt)).unwrap();
                if !play(connection, steps) {
                    return false;
                }
                if *fails {
                    connection.control(Control::Undo(Savepoint::Attempt)).unwrap();
                }
                connection.control(Control::Release(Savepoint::Attempt)).unwrap();
            }
            Step::Panic => return false,
        }
    }
    true
}

/// Runs a group of closures; `true` stands for one that fails at its end.
fn run(group: &[(Vec<Step>, bool)], is_careful: bool) -> Vec<(i64, i64, String)> {
    let mut connection = open();
    connection.begin_group().unwrap();
    connection.redo.is_careful = is_careful;
    for (steps, fails) in group {
        connection.control(Control::Save(Savepoint::Work)).unwrap();
        let ended = play(&mut connection, steps);
        if *fails || !ended {
            connection.control(Control::Undo(Savepoint::Work)).unwrap();
        }
        connection.control(Control::Release(Savepoint::Work)).unwrap();
        assert!(connection.redo.marks.is_empty(), "a mark outlives its closure");
    }
    connection.commit(&Note::silent()).unwrap();
    let mut rows = Vec::new();
    let all =
        "SELECT n, value, '' FROM t UNION ALL SELECT n, length(text), substr(text, 1, 4) FROM log ORDER BY 1, 2, 3";
    let mut keep = |row: &dyn crate::Row| {
        rows.push((row.integer(0)?, row.integer(1)?, row.string(2)?));
        Ok(())
    };
    connection.query(all, &[], &mut keep).unwrap();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn going_back_is_what_a_savepoint_would_do(group in prop::collection::vec((steps(), any::<bool>()), 1..8)) {
        prop_assert_eq!(run(&group, false), run(&group, true));
    }
}

#[test]
fn the_first_going_back_repeats_and_what_follows_sets_savepoints() {
    let mut connection = open();
    connection.begin_group().unwrap();
    for number in 0..3 {
        connection.control(Control::Save(Savepoint::Work)).unwrap();
        assert_eq!(connection.redo.is_careful, number > 1);
        play(&mut connection, &[Step::Insert(number), Step::Returning(number)]);
        if number > 0 {
            connection.control(Control::Undo(Savepoint::Work)).unwrap();
        }
        connection.control(Control::Release(Savepoint::Work)).unwrap();
    }
    assert!(connection.redo.statements.is_empty(), "nobody goes back that far any more");
    connection.commit(&Note::silent()).unwrap();
}

#[test]
fn a_repetition_that_comes_to_something_else_ends_the_group() {
    let mut connection = open();
    connection.begin_group().unwrap();
    connection.control(Control::Save(Savepoint::Work)).unwrap();
    play(&mut connection, &[Step::Returning(7)]);
    connection.control(Control::Release(Savepoint::Work)).unwrap();
    connection.control(Control::Save(Savepoint::Work)).unwrap();
    play(&mut connection, &[Step::Insert(8)]);
    connection.redo.statements[0].outcome = super::Outcome::Returned(0);
    connection.control(Control::Undo(Savepoint::Work)).unwrap_err();
    connection.control(Control::Release(Savepoint::Work)).unwrap_err();
    let refused = connection.commit(&Note::silent());
    assert!(matches!(refused, Err(StoreError::RolledBack(_))), "{refused:?}");
    connection.begin_group().unwrap();
    connection.commit(&Note::silent()).unwrap();
}

#[test]
fn nothing_is_written_outside_a_transaction() {
    let mut connection = open();
    let refused = connection.execute("INSERT INTO t (value) VALUES (1)", &[]);
    assert!(matches!(refused, Err(StoreError::RolledBack(_))), "{refused:?}");
    connection.control(Control::Save(Savepoint::Work)).unwrap_err();
}
