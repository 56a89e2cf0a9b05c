//! Going back to a savepoint that was never set.
//!
//! Each closure of a group can be undone alone. A savepoint of SQLite makes that possible by copying every page before
//! its first change, and a small write touches some twenty pages: a fifth of its work would be for the case that it
//! fails. So at first no savepoint is set: what is written is noted as well, and to go back the transaction is undone as a
//! whole, begun anew, and what came before the mark is written again from the notes. Nothing else writes meanwhile, so
//! each statement must come to what it came to before; if one does not, the group cannot be kept.
//!
//! Invariants: notes are complete up to every mark without a savepoint. After the first going back, and when the notes
//! would become long, savepoints are set for the rest of the transaction, so failing closures cannot make a group
//! repeat itself again and again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};

use super::translate;
use crate::sql::{Control, Param, Savepoint};
use crate::{StoreError, limits};

/// Notes of the transaction that is open.
#[derive(Debug, Default)]
pub(super) struct Redo {
    /// SQL texts and values, one behind the other.
    bytes: Vec<u8>,
    values: Vec<Noted>,
    statements: Vec<Statement>,
    /// Closures and attempts that have begun and not ended.
    marks: Vec<Mark>,
    /// Something was written that is not noted.
    is_incomplete: bool,
    /// Savepoints are set from here on.
    is_careful: bool,
    /// Going back has failed: what the transaction holds is unknown.
    is_broken: bool,
}

/// What a statement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Rows that it changed.
    Changed(usize),
    /// A digest of the rows that it returned.
    Returned(u64),
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    name: Savepoint,
    /// Statements, values and bytes noted before.
    statements: usize,
    values: usize,
    bytes: usize,
    has_savepoint: bool,
}

#[derive(Clone, Debug)]
struct Statement {
    sql: Range<usize>,
    values: Range<usize>,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Noted {
    Null,
    Integer(i64),
    Text(Range<usize>),
    Bytes(Range<usize>),
}

/// A noted value as SQLite takes it.
struct Bound<'n>(ValueRef<'n>);

// === impl Redo ===

impl Redo {
    /// A transaction has begun or ended.
    pub(super) fn reset(&mut self) {
        self.forget();
        self.marks.clear();
        (self.is_incomplete, self.is_careful, self.is_broken) = (false, false, false);
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.values.clear();
        self.statements.clear();
    }

    /// Notes what was written.
    pub(super) fn note(&mut self, sql: &str, params: &[Param<'_>], outcome: Outcome) {
        match self.marks.first() {
            Some(mark) if mark.has_savepoint => return,
            Some(_) if !self.is_incomplete => {}
            _ => return self.note_other(),
        }
        let length: usize = sql.len() + params.iter().map(length_of).sum::<usize>();
        if self.bytes.len() + length > limits::REDO_BYTES || self.statements.len() >= limits::REDO_STATEMENTS {
            return self.note_other();
        }
        let sql = self.keep(sql.as_bytes());
        let first = self.values.len();
        for param in params {
            let noted = match param {
                Param::Null => Noted::Null,
                Param::Integer(value) => Noted::Integer(*value),
                Param::Text(text) => Noted::Text(self.keep(text.as_bytes())),
                Param::Bytes(bytes) => Noted::Bytes(self.keep(bytes)),
            };
            self.values.push(noted);
        }
        self.statements.push(Statement { sql, values: first..self.values.len(), outcome });
    }

    /// Whether what the transaction holds may be kept.
    pub(super) const fn may_commit(&self) -> bool {
        !self.is_broken
    }

    /// Something was written that is not noted.
    pub(super) fn note_other(&mut self) {
        self.is_incomplete = true;
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Sets, releases or goes back to a savepoint.
    pub(super) fn control(&mut self, connection: &Connection, control: Control) -> Result<(), StoreError> {
        if self.is_broken && control != Control::Rollback {
            return Err(StoreError::RolledBack("what a failed part had written could not be undone".to_owned()));
        }
        match control {
            Control::Save(name) => {
                let has_savepoint = self.is_careful || self.is_incomplete;
                if has_savepoint {
                    run(connection, control)?;
                }
                self.marks.push(self.here(name, has_savepoint));
                Ok(())
            }
            Control::Release(name) => self.release(connection, name),
            Control::Undo(name) => {
                let place = self.newest(name)?;
                let mark = *self.marks.get(place).ok_or_else(no_mark)?;
                // Attempts within it that were left by a panic are undone with it, as the database does with savepoints.
                let inner = self.marks.split_off(place + 1);
                if mark.has_savepoint {
                    run(connection, control)?;
                    self.truncate(mark);
                    return Ok(());
                }
                let is_untouched = self.statements.len() == mark.statements && !self.is_incomplete;
                if is_untouched && inner.iter().all(|mark| !mark.has_savepoint) {
                    return Ok(());
                }
                self.truncate(mark);
                self.is_broken = true;
                self.go_back(connection)?;
                (self.is_broken, self.is_incomplete, self.is_careful) = (false, false, true);
                Ok(())
            }
            Control::Rollback => {
                self.reset();
                run(connection, control)
            }
        }
    }

    fn release(&mut self, connection: &Connection, name: Savepoint) -> Result<(), StoreError> {
        let place = self.newest(name)?;
        let mark = *self.marks.get(place).ok_or_else(no_mark)?;
        self.marks.truncate(place);
        if mark.has_savepoint {
            run(connection, Control::Release(name))?;
        }
        if self.marks.is_empty() && (self.is_careful || self.is_incomplete) {
            // Nobody goes back behind this point any more: what follows sets savepoints.
            self.is_careful = true;
            self.forget();
        }
        Ok(())
    }

    /// The place of the innermost mark of the name.
    fn newest(&self, name: Savepoint) -> Result<usize, StoreError> {
        self.marks.iter().rposition(|mark| mark.name == name).ok_or_else(no_mark)
    }

    const fn here(&self, name: Savepoint, has_savepoint: bool) -> Mark {
        let (statements, values, bytes) = (self.statements.len(), self.values.len(), self.bytes.len());
        Mark { name, statements, values, bytes, has_savepoint }
    }

    fn truncate(&mut self, mark: Mark) {
        self.statements.truncate(mark.statements);
        self.values.truncate(mark.values);
        self.bytes.truncate(mark.bytes);
    }

    /// Undoes the transaction and writes again what is noted.
    fn go_back(&self, connection: &Connection) -> Result<(), StoreError> {
        run(connection, Control::Rollback)?;
        begin(connection)?;
        for statement in &self.statements {
            self.repeat(connection, statement)?;
        }
        Ok(())
    }

    fn repeat(&self, connection: &Connection, statement: &Statement) -> Result<(), StoreError> {
        let lost = || StoreError::Database("a note of what was written cannot be read".to_owned());
        let sql = std::str::from_utf8(self.bytes.get(statement.sql.clone()).ok_or_else(lost)?).map_err(|_| lost())?;
        let mut prepared = connection.prepare_cached(sql).map_err(|error| translate(&error))?;
        let values = self.values.get(statement.values.clone()).ok_or_else(lost)?;
        for (index, value) in values.iter().enumerate() {
            let kept = |range: &Range<usize>| self.bytes.get(range.clone()).ok_or_else(lost);
            let value = Bound(match value {
                Noted::Null => ValueRef::Null,
                Noted::Integer(value) => ValueRef::Integer(*value),
                Noted::Text(range) => ValueRef::Text(kept(range)?),
                Noted::Bytes(range) => ValueRef::Blob(kept(range)?),
            });
            prepared.raw_bind_parameter(index + 1, value).map_err(|error| translate(&error))?;
        }
        let outcome = match statement.outcome {
            Outcome::Changed(_) => Outcome::Changed(prepared.raw_execute().map_err(|error| translate(&error))?),
            Outcome::Returned(_) => returned(&mut prepared)?,
        };
        if outcome == statement.outcome {
            Ok(())
        } else {
            Err(StoreError::Database("a statement came to something else when it was repeated".to_owned()))
        }
    }
}

/// Begins a transaction beside which nobody else writes.
pub(super) fn begin(connection: &Connection) -> Result<(), StoreError> {
    run_text(connection, "BEGIN IMMEDIATE")
}

/// Runs a statement that has no values.
pub(super) fn run_text(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(|error| translate(&error))?;
    statement.raw_execute().map(drop).map_err(|error| translate(&error))
}

fn run(connection: &Connection, control: Control) -> Result<(), StoreError> {
    run_text(connection, control.as_sql())
}

fn returned(prepared: &mut CachedStatement<'_>) -> Result<Outcome, StoreError> {
    let mut digest = DefaultHasher::new();
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next().map_err(|error| translate(&error))? {
        add_row(&mut digest, row)?;
    }
    Ok(Outcome::Returned(digest.finish()))
}

/// Adds a returned row to the digest of its statement.
pub(super) fn add_row(digest: &mut DefaultHasher, row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
    let columns = row.as_ref().column_count();
    columns.hash(digest);
    for column in 0..columns {
        match row.get_ref(column).map_err(|error| translate(&error))? {
            ValueRef::Null => 0_u8.hash(digest),
            ValueRef::Integer(value) => (1_u8, value).hash(digest),
            ValueRef::Real(value) => (2_u8, value.to_bits()).hash(digest),
            ValueRef::Text(text) => (3_u8, text).hash(digest),
            ValueRef::Blob(bytes) => (4_u8, bytes).hash(digest),
        }
    }
    Ok(())
}

fn length_of(param: &Param<'_>) -> usize {
    match param {
        Param::Null | Param::Integer(_) => 0,
        Param::Text(text) => text.len(),
        Param::Bytes(bytes) => bytes.len(),
    }
}

fn no_mark() -> StoreError {
    StoreError::Database("no savepoint was set".to_owned())
}

// === impl Bound ===

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

#[cfg(test)]
mod tests;
