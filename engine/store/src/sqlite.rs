//! SQLite as the store of one machine.
//!
//! The file is taken with an exclusive lock of its own (`<file>.lock`), because SQLite's locks would let two engines
//! write in turns while each believes that it alone runs the processes. WAL with `synchronous=FULL` makes every commit
//! durable with one flush and lets readers see a snapshot while the writer goes on.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ErrorCode, OpenFlags, ToSql};

use crate::connection::{Begun, Connection, Note};
use crate::sql::{Control, Dialect, Param, Row, Sql};
use crate::{StoreError, limits};

mod redo;

use redo::{Outcome, Redo};

/// "SLSE", in the header of the file, tells our files from those of other programs.
const APPLICATION_ID: i64 = 0x534C_5345;

/// Pages in the log before they are folded into the file: 16 MiB, so that this happens rarely within a commit.
const CHECKPOINT_PAGES: i64 = 4096;

/// KiB of pages that the writer keeps. What a Task and its instance touch lies in some twenty trees; with less, busy stores read
/// the same pages again and again, from the file that the system has in memory; with more, the memory of the node grows.
const WRITER_CACHE: u32 = 8_000;

/// A database file that this process owns.
pub(crate) struct SqliteFile {
    path: PathBuf,
    _lock: File,
}

/// A connection to it.
pub(crate) struct SqliteConnection {
    connection: rusqlite::Connection,
    writes: bool,
    redo: Redo,
    time: Arc<Time>,
    given: Duration,
}

/// Until when queries may run, as the handler of their progress asks it.
#[derive(Debug)]
struct Time {
    begin: Instant,
    /// Microseconds since `begin`; 0 is no end.
    end: AtomicU64,
}

struct SqliteRow<'a, 'stmt>(&'a rusqlite::Row<'stmt>);

// === impl SqliteFile ===

impl SqliteFile {
    /// Takes the file, creating it readable for its owner alone.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = take_lock(path)?;
        create_private(path).map_err(|error| cannot_open(path, &error))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The connection of the writer thread.
    pub(crate) fn writer(&self) -> Result<SqliteConnection, StoreError> {
        let connection = self.connect()?;
        self.check_identity(&connection)?;
        // The first must come before anything is written to a new file; in an older one it changes nothing, and space of
        // removed content is used again instead of being given back. The last overwrites what is removed with zeros: data
        // of patients must be gone when their time is over, not only out of sight.
        let setup = format!(
            "PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
             PRAGMA journal_size_limit = 67108864;
             PRAGMA cache_size = -{WRITER_CACHE};
             PRAGMA secure_delete = ON;"
        );
        connection.execute_batch(&setup).map_err(|error| self.explain(&error))?;
        SqliteConnection::new(connection, true)
    }

    /// A connection that cannot write.
    pub(crate) fn reader(&self) -> Result<SqliteConnection, StoreError> {
        let connection = self.connect()?;
        connection
            .execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -1024;")
            .map_err(|error| self.explain(&error))?;
        SqliteConnection::new(connection, false)
    }

    fn connect(&self) -> Result<rusqlite::Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            rusqlite::Connection::open_with_flags(&self.path, flags).map_err(|error| self.explain(&error))?;
        connection.set_prepared_statement_cache_capacity(limits::STATEMENTS);
        connection.busy_timeout(limits::BUSY).map_err(|error| self.explain(&error))?;
        connection
            .execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")
            .map_err(|error| self.explain(&error))?;
        Ok(connection)
    }

    fn check_identity(&self, connection: &rusqlite::Connection) -> Result<(), StoreError> {
        let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let application = read("PRAGMA application_id").map_err(|error| self.explain(&error))?;
        let tables = read("SELECT COUNT(*) FROM sqlite_master").map_err(|error| self.explain(&error))?;
        if application == APPLICATION_ID || (application == 0 && tables == 0) {
            Ok(())
        } else {
            Err(StoreError::Foreign { path: self.path.display().to_string() })
        }
    }

    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreError::Foreign { path: self.path.display().to_string() },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                cannot_open(&self.path, error)
            }
            _ => translate(error),
        }
    }
}

fn cannot_open(path: &Path, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::CannotOpen { path: path.display().to_string(), cause: cause.to_string() }
}

/// Takes `<file>.lock`. Waits a moment, so that an engine that is just ending does not fail its successor.
fn take_lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .map_err(|error| cannot_open(path, &error))?;
    let deadline = Instant::now() + limits::LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.display().to_string() }),
            Err(TryLockError::Error(error)) => return Err(cannot_open(path, &error)),
        }
    }
}

/// SQLite gives its log files the permissions of the database file.
fn create_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

// === impl SqliteConnection ===

impl SqliteConnection {
    fn new(connection: rusqlite::Connection, writes: bool) -> Result<Self, StoreError> {
        let time = Arc::new(Time { begin: Instant::now(), end: AtomicU64::new(0) });
        let asked = Arc::clone(&time);
        connection
            .progress_handler(limits::STEPS_PER_LOOK, Some(move || asked.is_over()))
            .map_err(|error| translate(&error))?;
        Ok(Self { connection, writes, redo: Redo::default(), time, given: Duration::ZERO })
    }

    /// A query that was given up says what it was given.
    fn explain(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::TooCostly { .. } => StoreError::TooCostly { limit: self.given },
            other => other,
        }
    }

    fn prepare(&self, sql: &str, params: &[Param<'_>]) -> Result<CachedStatement<'_>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| translate(&error))?;
        for (index, param) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, param).map_err(|error| translate(&error))?;
        }
        Ok(statement)
    }

    /// The database ends a transaction by itself when the disk is full or failing. What its closure writes after that must
    /// not become a transaction of its own.
    fn check_writable(&self, statement: &CachedStatement<'_>) -> Result<(), StoreError> {
        let may = !self.writes || statement.readonly() || self.in_transaction();
        if may { Ok(()) } else { Err(no_transaction()) }
    }
}

impl Sql for SqliteConnection {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, StoreError> {
        let mut statement = self.prepare(sql, params)?;
        self.check_writable(&statement)?;
        let changed = statement.raw_execute().map_err(|error| translate(&error))?;
        drop(statement);
        self.redo.note(sql, params, Outcome::Changed(changed));
        Ok(changed)
    }

    fn control(&mut self, control: Control) -> Result<(), StoreError> {
        if !self.in_transaction() {
            return Err(no_transaction());
        }
        self.redo.control(&self.connection, control)
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        row: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare(sql, params)?;
        let writes = !statement.readonly();
        self.check_writable(&statement)?;
        let mut returned = DefaultHasher::new();
        let mut rows = statement.raw_query();
        let mut read = || -> Result<(), StoreError> {
            while let Some(next) = rows.next().map_err(|error| translate(&error))? {
                if writes {
                    redo::add_row(&mut returned, next)?;
                }
                row(&SqliteRow(next))?;
            }
            Ok(())
        };
        let result = read();
        drop(rows);
        drop(statement);
        match &result {
            Ok(()) if writes => self.redo.note(sql, params, Outcome::Returned(returned.finish())),
            // It may have changed some of its rows.
            Err(_) if writes => self.redo.note_other(),
            _ => {}
        }
        result.map_err(|error| self.explain(error))
    }

    fn give(&mut self, time: Option<Duration>) {
        self.given = time.unwrap_or_default();
        self.time.set(time);
    }
}

impl Connection for SqliteConnection {
    fn sql(&mut self) -> &mut dyn Sql {
        self
    }

    fn begin_alone(&mut self) -> Result<(), StoreError> {
        self.redo.reset();
        // A search that panicked has left its end.
        self.give(None);
        redo::begin(&self.connection)
    }

    fn begin_group(&mut self) -> Result<Begun, StoreError> {
        if self.in_transaction() {
            self.control(Control::Rollback)?;
        }
        // The only writer: what it did last is all that there is.
        self.begin_alone().map(|()| Begun::default())
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.give(None);
        redo::run_text(&self.connection, "BEGIN")
    }

    fn commit(&mut self, _note: &Note) -> Result<(), StoreError> {
        let result = if self.redo.may_commit() {
            redo::run_text(&self.connection, "COMMIT")
        } else {
            Err(StoreError::RolledBack("what a failed part had written could not be undone".to_owned()))
        };
        if result.is_err() && self.in_transaction() {
            // The commit failed and left the transaction open: its error is the one that counts.
            let _ = self.control(Control::Rollback);
        }
        result
    }

    fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.redo.note_other();
        self.connection.execute_batch(sql).map_err(|error| translate(&error))
    }

    fn finish(&mut self) {
        if self.writes
            && let Err(error) = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);")
        {
            tracing::warn!(%error, "the log of the store could not be folded into its file; the next start does it");
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Integer(value) => ValueRef::Integer(*value),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

// === impl Time ===

impl Time {
    fn set(&self, time: Option<Duration>) {
        let end = time.map_or(0, |time| micros(self.begin.elapsed().saturating_add(time)).max(1));
        self.end.store(end, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        match self.end.load(Ordering::Relaxed) {
            0 => false,
            end => micros(self.begin.elapsed()) >= end,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

// === impl SqliteRow ===

impl SqliteRow<'_, '_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>, StoreError> {
        self.0.get_ref(column).map_err(|error| translate(&error))
    }
}

impl Row for SqliteRow<'_, '_> {
    fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        let value = self.value(column)?;
        value.as_i64_or_null().map_err(|error| StoreError::BadRow(format!("column {column}: {error}")))
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        let value = self.value(column)?;
        value.as_str_or_null().map_err(|error| StoreError::BadRow(format!("column {column}: {error}")))
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        let value = self.value(column)?;
        value.as_blob_or_null().map_err(|error| StoreError::BadRow(format!("column {column}: {error}")))
    }
}

fn no_transaction() -> StoreError {
    StoreError::RolledBack("the database has ended the transaction: the disk is full or failing".to_owned())
}

fn translate(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::TooCostly { limit: Duration::ZERO },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupted(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked(text),
        Some(
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied,
        ) => StoreError::Io(text),
        _ => StoreError::Database(text),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod watched;
