//! What a database must do for the store: run SQL text with bound values.
//!
//! The rest of the crate is written against this trait in the SQL that SQLite and PostgreSQL share (`RETURNING`,
//! `ON CONFLICT`, `EXISTS`, row values in `ORDER BY`, no functions beyond `COUNT`, `MIN`, `MAX`, `COALESCE`).
//! Placeholders are `?1`, `?2`, …; a backend with other placeholders translates them ([`translate_placeholders`]).
//! The few places where the databases differ ask [`Sql::dialect`] for a fixed fragment.
//!
//! A database server is a round trip away, so statements whose result nobody looks at are [`Sql::put`]: a backend may keep
//! them and send them together with the next statement that is waited for. [`Sql::settle`] waits for them.

use std::borrow::Cow;
use std::time::Duration;

use crate::StoreError;

/// The database behind a transaction.
pub trait Sql {
    /// Which of the shared fragments differ.
    fn dialect(&self) -> Dialect;

    /// Runs a statement and returns the number of rows that it changed.
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, StoreError>;

    /// Runs a statement whose number of rows nobody asks for. It may run later, in order, at the latest in
    /// [`Self::settle`]; its error is then that of the statement before which it ran.
    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), StoreError> {
        self.execute(sql, params).map(drop)
    }

    /// Sets, releases or goes back to a savepoint, or ends the transaction without keeping it.
    fn control(&mut self, control: Control) -> Result<(), StoreError>;

    /// Waits until everything that was put has run.
    fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// From now on queries are given up with [`StoreError::TooCostly`] when this time is over; `None` lets them run as long
    /// as they need. A server has its own bound for every statement.
    fn give(&mut self, _time: Option<Duration>) {}

    /// Runs a query and hands over every row.
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        row: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

/// A row of a result. Columns count from zero.
pub trait Row {
    /// The integer of a column, `None` for NULL.
    fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError>;

    /// The text of a column, `None` for NULL.
    fn optional_text(&self, column: usize) -> Result<Option<&str>, StoreError>;

    /// The bytes of a column, `None` for NULL.
    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError>;
}

/// A bound value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// A 64-bit integer; truth values are 0 and 1, times are milliseconds since 1970.
    Integer(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

/// Statements that steer a transaction. A savepoint is one of the two that the store uses: of a closure of a group, and
/// of a part of a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Sets a savepoint.
    Save(Savepoint),
    /// Keeps what was done since the savepoint.
    Release(Savepoint),
    /// Undoes what was done since the savepoint, which stays.
    Undo(Savepoint),
    /// Ends the transaction and undoes everything.
    Rollback,
}

/// Names of savepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Savepoint {
    /// Of a closure.
    Work,
    /// Of a part of a closure; several may be set within each other.
    Attempt,
}

/// The databases that the store knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite: one writer, so rows need no locks.
    Sqlite,
    /// PostgreSQL: several engines write at the same time.
    PostgreSql,
}

// === impl Control ===

impl Control {
    /// The statement.
    #[must_use]
    pub const fn as_sql(self) -> &'static str {
        match self {
            Self::Save(Savepoint::Work) => "SAVEPOINT work",
            Self::Save(Savepoint::Attempt) => "SAVEPOINT attempt",
            Self::Release(Savepoint::Work) => "RELEASE SAVEPOINT work",
            Self::Release(Savepoint::Attempt) => "RELEASE SAVEPOINT attempt",
            Self::Undo(Savepoint::Work) => "ROLLBACK TO SAVEPOINT work",
            Self::Undo(Savepoint::Attempt) => "ROLLBACK TO SAVEPOINT attempt",
            Self::Rollback => "ROLLBACK",
        }
    }
}

// === impl Dialect ===

impl Dialect {
    /// Added to a `SELECT` whose rows are changed later in the transaction.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::PostgreSql => " FOR UPDATE",
        }
    }

    /// Added to the `SELECT` that picks work which no other engine has picked.
    #[must_use]
    pub const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::PostgreSql => " FOR UPDATE SKIP LOCKED",
        }
    }
}

// === impl Row ===

impl dyn Row + '_ {
    /// The integer of a column that is never NULL.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.optional_integer(column)?.ok_or_else(|| unexpected_null(column))
    }

    /// The non-negative integer of a column that is never NULL.
    pub fn unsigned(&self, column: usize) -> Result<u64, StoreError> {
        let value = self.integer(column)?;
        u64::try_from(value).map_err(|_| StoreError::BadRow(format!("column {column} is negative: {value}")))
    }

    /// The truth value of a column.
    pub fn boolean(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    /// The text of a column that is never NULL.
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.optional_text(column)?.ok_or_else(|| unexpected_null(column))
    }

    /// The text of a column, owned.
    pub fn string(&self, column: usize) -> Result<String, StoreError> {
        self.text(column).map(str::to_owned)
    }

    /// The text of a column, owned, `None` for NULL.
    pub fn optional_string(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.optional_text(column)?.map(str::to_owned))
    }

    /// The bytes of a column that is never NULL.
    pub fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.optional_bytes(column)?.ok_or_else(|| unexpected_null(column))
    }

    /// The time of a column.
    pub fn time(&self, column: usize) -> Result<time::OffsetDateTime, StoreError> {
        from_millis(self.integer(column)?)
    }

    /// The time of a column, `None` for NULL.
    pub fn optional_time(&self, column: usize) -> Result<Option<time::OffsetDateTime>, StoreError> {
        self.optional_integer(column)?.map(from_millis).transpose()
    }
}

fn unexpected_null(column: usize) -> StoreError {
    StoreError::BadRow(format!("column {column} is null"))
}

/// Milliseconds since 1970, the form in which every time is stored.
#[must_use]
pub fn to_millis(time: time::OffsetDateTime) -> i64 {
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    // The range of OffsetDateTime (years -9999 to 9999) in milliseconds fits by far.
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// The time of stored milliseconds.
pub fn from_millis(millis: i64) -> Result<time::OffsetDateTime, StoreError> {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|_| StoreError::BadRow(format!("time {millis} out of range")))
}

// === impl Param ===

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Param<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Param<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<u64> for Param<'_> {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<time::OffsetDateTime> for Param<'_> {
    fn from(time: time::OffsetDateTime) -> Self {
        Self::Integer(to_millis(time))
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Rewrites `?1` as `$1` outside of string literals, for PostgreSQL.
#[must_use]
pub fn translate_placeholders(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut quoted = false;
    for character in sql.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                out.push(character);
            }
            '?' if !quoted => out.push('$'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
