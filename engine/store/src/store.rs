//! The handle: opens the database, hands closures to the writer thread or to a snapshot connection.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fhir::ResourceType;
use time::{Duration, OffsetDateTime};
use tokio::sync::{Semaphore, broadcast, watch};

use crate::connection::{Connection, Note};
use crate::freshness::{Freshness, Stamp};
use crate::postgresql::{Listener, PostgreSql};
use crate::sql::Control;
use crate::sqlite::SqliteFile;
use crate::writer::{Job, Writer};
use crate::{Change, Dialect, IndexContext, StoreError, Transaction, limits};

/// Name under which the only engine of a SQLite file claims work.
const SQLITE_OWNER: &str = "engine";

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Tells the time of transactions. By default the clock of this machine, on a database server that of the server:
    /// several engines then have one.
    pub clock: Option<Clock>,
    /// Connections for reading.
    pub readers: usize,
    /// What the search index depends on.
    pub context: IndexContext,
}

/// The store of a node. Clones share one database.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Commits, each with one flush to disk.
    pub commits: u64,
    /// Closures that were part of a commit.
    pub committed: u64,
    /// Closures that failed and were rolled back.
    pub rolled_back: u64,
    /// Microseconds spent in the commits.
    pub commit_micros: u64,
}

struct Inner {
    /// Where the database file is, if it is one.
    directory: Option<PathBuf>,
    writer: Writer,
    readers: Readers,
    shared: Arc<Shared>,
    owner: String,
    listener: Option<Listener>,
}

/// Shared by the handle and the writer thread.
pub(crate) struct Shared {
    clock: Option<Clock>,
    /// Milliseconds by which the clock of the database is ahead of that of this machine.
    ahead: AtomicI64,
    /// Told before a transaction about changes of other engines.
    observers: Mutex<Vec<Observer>>,
    pub(crate) context: IndexContext,
    pub(crate) freshness: Freshness,
    pub(crate) changes: broadcast::Sender<Arc<Change>>,
    pub(crate) jobs: watch::Sender<u64>,
    pub(crate) outbox: watch::Sender<u64>,
    pub(crate) work: watch::Sender<u64>,
    pub(crate) commits: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) rolled_back: AtomicU64,
    pub(crate) commit_micros: AtomicU64,
}

struct Readers {
    permits: Semaphore,
    connections: Mutex<Vec<Box<dyn Connection>>>,
    size: u32,
}

/// What a backend is made of when it is open.
pub(crate) struct Opened {
    pub(crate) writer: Box<dyn Connection>,
    pub(crate) readers: Vec<Box<dyn Connection>>,
    /// Keeps others away from the database, or nothing; dropped last.
    pub(crate) guard: Box<dyn Send>,
    /// Name under which this engine claims work.
    pub(crate) owner: String,
    /// Where the database file is, if it is one.
    pub(crate) directory: Option<PathBuf>,
}

/// Hears of a type of which another engine has changed resources.
pub(crate) type Observer = Box<dyn Fn(ResourceType) + Send + Sync>;

// === impl StoreOptions ===

impl Default for StoreOptions {
    fn default() -> Self {
        Self { clock: None, readers: limits::READERS, context: IndexContext::default() }
    }
}

// === impl Store ===

impl Store {
    /// Opens the SQLite file, creating it if it is missing, and brings its schema up to date.
    pub async fn open_sqlite(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let path: PathBuf = path.as_ref().to_owned();
        tokio::task::spawn_blocking(move || Self::open_sqlite_blocking(&path, options))
            .await
            .map_err(|error| StoreError::Panicked(error.to_string()))?
    }

    /// [`Store::open_sqlite`] for callers without a runtime.
    pub fn open_sqlite_blocking(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let file = SqliteFile::open(path)?;
        let mut writer = file.writer()?;
        crate::migrations::migrate(&mut writer)?;
        let mut readers: Vec<Box<dyn Connection>> = Vec::new();
        for _ in 0..options.readers.max(1) {
            readers.push(Box::new(file.reader()?));
        }
        let owner = SQLITE_OWNER.to_owned();
        let directory = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let directory = directory.map(Path::to_owned);
        let opened = Opened { writer: Box::new(writer), readers, guard: Box::new(file), owner, directory };
        Self::start(opened, options).map(|(store, _)| store)
    }

    /// Opens the database of a PostgreSQL server, brings its schema up to date, and listens to what other engines on it
    /// write.
    pub async fn open_postgresql(database: PostgreSql, options: StoreOptions) -> Result<Self, StoreError> {
        tokio::task::spawn_blocking(move || Self::open_postgresql_blocking(&database, options))
            .await
            .map_err(|error| StoreError::Panicked(error.to_string()))?
    }

    fn open_postgresql_blocking(database: &PostgreSql, options: StoreOptions) -> Result<Self, StoreError> {
        let database = Arc::new(database.open()?);
        let mut writer = database.writer();
        crate::migrations::migrate(&mut writer)?;
        let readers: Vec<Box<dyn Connection>> =
            (0..options.readers.max(1)).map(|_| Box::new(database.reader()) as Box<dyn Connection>).collect();
        let owner = database.owner().to_owned();
        let opened = Opened { writer: Box::new(writer), readers, guard: Box::new(()), owner, directory: None };
        let (mut store, last_time) = Self::start(opened, options)?;
        let (shared, back_door) = (Arc::clone(&store.inner.shared), store.inner.writer.back_door());
        let listener = Listener::start(database, shared, back_door, last_time)?;
        if let Some(inner) = Arc::get_mut(&mut store.inner) {
            inner.listener = Some(listener);
        }
        Ok(store)
    }

    fn start(opened: Opened, options: StoreOptions) -> Result<(Self, Option<OffsetDateTime>), StoreError> {
        let Opened { mut writer, readers, guard, owner, directory } = opened;
        let (changes, _) = broadcast::channel(limits::CHANGES);
        let shared = Arc::new(Shared {
            clock: options.clock,
            ahead: AtomicI64::new(0),
            observers: Mutex::default(),
            context: options.context,
            freshness: Freshness::default(),
            changes,
            jobs: watch::channel(0).0,
            outbox: watch::channel(0).0,
            work: watch::channel(0).0,
            commits: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            rolled_back: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
        });
        let last_time = crate::resources::last_time(writer.sql())?;
        update_index(&mut *writer, &shared.context)?;
        let size = u32::try_from(readers.len()).unwrap_or(u32::MAX);
        let readers = Readers { permits: Semaphore::new(readers.len()), connections: Mutex::new(readers), size };
        let writer = Writer::start(writer, guard, Arc::clone(&shared), last_time)?;
        Ok((Self { inner: Arc::new(Inner { directory, writer, readers, shared, owner, listener: None }) }, last_time))
    }

    /// Whether other engines may work on the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.listener.is_some()
    }

    /// Name under which this engine claims jobs and messages. The only engine of a file has always the same, so that it
    /// takes over at once what it held when it was killed; each of several engines has a new one at every start.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.inner.owner
    }

    /// Has `observer` told the types of which other engines have changed resources, before the next transaction of this
    /// one begins. Later, as all changes, they are also announced to [`Self::subscribe`].
    pub fn observe_others(&self, observer: impl Fn(ResourceType) + Send + Sync + 'static) {
        self.inner.shared.observers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(observer));
    }

    /// Runs `work` in a transaction and answers when it is durable. If `work` fails, nothing of it is kept.
    ///
    /// Closures run one after the other on the writer thread and several share a commit, so they must not block on
    /// anything but the database.
    pub async fn write<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = Job::new(work);
        self.inner.writer.submit(job).await.map_err(E::from)?;
        answer.await.unwrap_or_else(|_| Err(E::from(StoreError::Closed)))
    }

    /// Runs `work` on a consistent snapshot of what is committed. Writing in it is an error.
    pub async fn read<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        // A closed semaphore is a closed store.
        let Ok(_permit) = self.inner.readers.permits.acquire().await else {
            return Err(E::from(StoreError::Closed));
        };
        tokio::task::spawn_blocking(move || inner.read_blocking(work))
            .await
            .unwrap_or_else(|error| Err(E::from(StoreError::Panicked(error.to_string()))))
    }

    /// As [`Store::read`], for a few look-ups by key. In a database file they run where they are asked for: they take
    /// less time than another thread takes to begin.
    pub async fn look<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.inner.directory.is_none() {
            return self.read(work).await;
        }
        let Ok(_permit) = self.inner.readers.permits.acquire().await else {
            return Err(E::from(StoreError::Closed));
        };
        self.inner.read_blocking(work)
    }

    /// What tells later whether a resource is still as a snapshot shows it that begins after this call. `None` if it
    /// cannot be told: a commit is under way, or several engines write to the database.
    #[must_use]
    pub fn stamp(&self, resource_type: ResourceType, id: &str) -> Option<Stamp> {
        self.inner.directory.as_ref()?;
        self.inner.shared.freshness.stamp(resource_type, id)
    }

    /// Whether a snapshot that begins now shows the resource as it was when the stamp was taken. Of a Binary this says
    /// nothing about its readers, who change with its security context.
    #[must_use]
    pub fn is_fresh(&self, stamp: Stamp) -> bool {
        self.inner.shared.freshness.is_fresh(stamp)
    }

    /// The time by which a transaction that begins now would read.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.inner.shared.now()
    }

    /// Folds the log into the file as far as no reader needs it, so that the file ends where its data ends: what
    /// [`Transaction::shrink`] gives back is still in the file until then. A busy store does it by itself.
    pub async fn fold_log(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let Ok(_permit) = self.inner.readers.permits.acquire().await else { return Err(StoreError::Closed) };
        tokio::task::spawn_blocking(move || inner.fold_log())
            .await
            .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())))
    }

    /// Empties the log of a file after folding it in: removed rows are overwritten in the file, and their last copies are in
    /// the log. False if somebody still reads what is in it. A database server keeps its log by its own rules.
    pub async fn erase_log(&self) -> Result<bool, StoreError> {
        let inner = Arc::clone(&self.inner);
        let Ok(_permit) = self.inner.readers.permits.acquire().await else { return Err(StoreError::Closed) };
        tokio::task::spawn_blocking(move || inner.erase_log())
            .await
            .unwrap_or_else(|error| Err(StoreError::Panicked(error.to_string())))
    }

    /// Refuses if the disk has no room for more Binary content. A database server keeps watch over its own disk.
    pub fn check_room_for_content(&self) -> Result<(), StoreError> {
        self.inner.directory.as_deref().map_or(Ok(()), crate::disk::check_room)
    }

    /// Every durable change of a resource from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.inner.shared.changes.subscribe()
    }

    /// Changes whenever a job was committed that may be due earlier than those before.
    #[must_use]
    pub fn watch_jobs(&self) -> watch::Receiver<u64> {
        self.inner.shared.jobs.subscribe()
    }

    /// Changes whenever a message to send was committed.
    #[must_use]
    pub fn watch_outbox(&self) -> watch::Receiver<u64> {
        self.inner.shared.outbox.subscribe()
    }

    /// Changes whenever work was committed that may be due earlier than that before.
    #[must_use]
    pub fn watch_work(&self) -> watch::Receiver<u64> {
        self.inner.shared.work.subscribe()
    }

    /// Counts since the store was opened.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let shared = &self.inner.shared;
        Statistics {
            commits: shared.commits.load(Ordering::Relaxed),
            committed: shared.committed.load(Ordering::Relaxed),
            rolled_back: shared.rolled_back.load(Ordering::Relaxed),
            commit_micros: shared.commit_micros.load(Ordering::Relaxed),
        }
    }

    /// Reads and compares everything that the database can check about itself; slow on a large store.
    pub async fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.read(|tx| match tx.dialect() {
            Dialect::Sqlite => {
                let lines = tx.rows("PRAGMA integrity_check", &[], |row| row.string(0))?;
                Ok(if lines == ["ok"] { Vec::new() } else { lines })
            }
            Dialect::PostgreSql => Ok(Vec::new()),
        })
        .await
    }

    /// Finishes what is queued, closes every connection and gives up the file. Later calls answer
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        let readers = &self.inner.readers;
        // Waits for running reads; the writer is closed last, so that it can fold the log into the file.
        if let Ok(permits) = readers.permits.acquire_many(readers.size).await {
            permits.forget();
            readers.permits.close();
        }
        readers.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.inner.writer.close().await;
        if let Some(listener) = &self.inner.listener {
            listener.close().await;
        }
    }
}

/// Indexes every resource anew if the index was made by another version or for another base URL.
fn update_index(writer: &mut dyn Connection, context: &IndexContext) -> Result<(), StoreError> {
    let now = OffsetDateTime::UNIX_EPOCH;
    if !Transaction::new(writer.sql(), context, now, false).is_index_outdated()? {
        return Ok(());
    }
    tracing::info!("the search index is made anew");
    let mut next = Some(0);
    while let Some(rid) = next {
        writer.begin_alone()?;
        let mut transaction = Transaction::new(writer.sql(), context, now, true);
        next = transaction.rebuild_index(rid)?;
        let noted = std::mem::take(&mut transaction.effects().tally);
        transaction.write_counts(noted)?;
        writer.commit(&Note::silent())?;
    }
    Ok(())
}

// === impl Shared ===

impl Shared {
    /// The time, for transactions that only read.
    pub(crate) fn now(&self) -> OffsetDateTime {
        truncate(match &self.clock {
            Some(clock) => clock(),
            None => OffsetDateTime::now_utc() + Duration::milliseconds(self.ahead.load(Ordering::Relaxed)),
        })
    }

    /// The time, for a transaction to which the database told its own.
    pub(crate) fn clock_of(&self, database: Option<OffsetDateTime>) -> OffsetDateTime {
        match (&self.clock, database) {
            (None, Some(time)) => {
                let ahead = (time - OffsetDateTime::now_utc()).whole_milliseconds();
                self.ahead.store(i64::try_from(ahead).unwrap_or(0), Ordering::Relaxed);
                truncate(time)
            }
            _ => self.now(),
        }
    }

    pub(crate) fn changed_elsewhere(&self, types: &[ResourceType]) {
        if types.is_empty() {
            return;
        }
        let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        for resource_type in types {
            observers.iter().for_each(|observer| observer(*resource_type));
        }
    }

    /// Wakes the workers that wait for jobs, messages or work.
    pub(crate) fn wake(&self, jobs: bool, outbox: bool, work: bool) {
        for (wanted, watched) in [(jobs, &self.jobs), (outbox, &self.outbox), (work, &self.work)] {
            if wanted {
                watched.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// Cuts a time to the milliseconds that are stored.
fn truncate(time: OffsetDateTime) -> OffsetDateTime {
    let utc = time.to_offset(time::UtcOffset::UTC);
    utc.replace_millisecond(utc.millisecond()).unwrap_or(utc)
}

// === impl Inner ===

impl Inner {
    fn erase_log(&self) -> Result<bool, StoreError> {
        let connection = self.readers.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lease = Lease { readers: &self.readers, connection };
        let connection = lease.connection.as_mut().ok_or(StoreError::Closed)?;
        if connection.dialect() != Dialect::Sqlite {
            return Ok(true);
        }
        let wait = |time: std::time::Duration| format!("PRAGMA busy_timeout = {}", time.as_millis());
        connection.batch(&wait(limits::ERASE_WAIT))?;
        let mut is_busy = true;
        let erased = connection.sql().query("PRAGMA wal_checkpoint(TRUNCATE)", &[], &mut |row| {
            is_busy = row.boolean(0)?;
            Ok(())
        });
        connection.batch(&wait(limits::BUSY))?;
        match erased {
            Ok(()) => Ok(!is_busy),
            Err(StoreError::Locked(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fold_log(&self) -> Result<(), StoreError> {
        let connection = self.readers.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lease = Lease { readers: &self.readers, connection };
        match lease.connection.as_mut() {
            Some(connection) if connection.dialect() == Dialect::Sqlite => {
                connection.batch("PRAGMA wal_checkpoint(PASSIVE)")
            }
            Some(_) => Ok(()),
            None => Err(StoreError::Closed),
        }
    }

    fn read_blocking<R, E>(&self, work: impl FnOnce(&mut Transaction<'_>) -> Result<R, E>) -> Result<R, E>
    where
        E: From<StoreError>,
    {
        let connection = self.readers.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(connection) = connection else {
            return Err(E::from(StoreError::Closed));
        };
        // Given back on every way out, a panic of `work` included.
        let mut lease = Lease { readers: &self.readers, connection: Some(connection) };
        let Some(connection) = lease.connection.as_mut() else {
            return Err(E::from(StoreError::Closed));
        };
        let now = self.shared.now();
        connection.begin_read().map_err(E::from)?;
        let mut transaction = Transaction::new(connection.sql(), &self.shared.context, now, false);
        work(&mut transaction)
    }
}

struct Lease<'a> {
    readers: &'a Readers,
    connection: Option<Box<dyn Connection>>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.in_transaction()
            && let Err(error) = connection.control(Control::Rollback)
        {
            tracing::warn!(%error, "snapshot could not be ended");
        }
        self.readers.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
