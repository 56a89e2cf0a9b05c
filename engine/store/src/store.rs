//! The handle: opens the database, hands closures to the writer thread or to a snapshot connection.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::sqlite::SqliteFile;
use crate::writer::{Job, Writer};
use crate::{Change, Dialect, IndexContext, Sql, StoreError, Transaction, limits};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Tells the time of transactions.
    pub clock: Clock,
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
}

/// Shared by the handle and the writer thread.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) context: IndexContext,
    pub(crate) changes: broadcast::Sender<Arc<Change>>,
    pub(crate) jobs: watch::Sender<u64>,
    pub(crate) outbox: watch::Sender<u64>,
    pub(crate) commits: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) rolled_back: AtomicU64,
    pub(crate) commit_micros: AtomicU64,
}

/// One connection of a backend. Transactions are begun and ended with SQL text that both databases understand.
pub(crate) trait Connection: Sql + Send {
    /// The connection as the trait that transactions use.
    fn sql(&mut self) -> &mut dyn Sql;

    /// Runs a statement without parameters that controls the transaction.
    fn control(&mut self, sql: &'static str) -> Result<(), StoreError>;

    /// Whether a transaction is open. A database may end one by itself, for example when the disk is full.
    fn in_transaction(&self) -> bool;

    /// Runs several statements, for migrations.
    fn batch(&mut self, sql: &str) -> Result<(), StoreError>;

    /// Runs at the end, for what a backend tidies up.
    fn finish(&mut self) {}
}

struct Readers {
    permits: Semaphore,
    connections: Mutex<Vec<Box<dyn Connection>>>,
    size: u32,
}

// === impl StoreOptions ===

impl Default for StoreOptions {
    fn default() -> Self {
        Self { clock: Arc::new(OffsetDateTime::now_utc), readers: limits::READERS, context: IndexContext::default() }
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
        let directory = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        Self::start(Box::new(writer), readers, Box::new(file), directory.map(Path::to_owned), options)
    }

    fn start(
        mut writer: Box<dyn Connection>,
        readers: Vec<Box<dyn Connection>>,
        guard: Box<dyn Send>,
        directory: Option<PathBuf>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let (changes, _) = broadcast::channel(limits::CHANGES);
        let shared = Arc::new(Shared {
            clock: options.clock,
            context: options.context,
            changes,
            jobs: watch::channel(0).0,
            outbox: watch::channel(0).0,
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
        Ok(Self { inner: Arc::new(Inner { directory, writer, readers, shared }) })
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
        writer.control("BEGIN")?;
        next = Transaction::new(writer.sql(), context, now, true).rebuild_index(rid)?;
        writer.control("COMMIT")?;
    }
    Ok(())
}

// === impl Inner ===

impl Inner {
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
        let now = crate::writer::truncate((self.shared.clock)());
        connection.control("BEGIN").map_err(E::from)?;
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
            && let Err(error) = connection.control("ROLLBACK")
        {
            tracing::warn!(%error, "snapshot could not be ended");
        }
        self.readers.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
