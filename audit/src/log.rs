//! Writing: append under a lock, sync in a thread that serves all who wait.
//!
//! The lock is held for serialising, hashing and one `write`; never across an await. The sync thread takes the newest
//! position, runs `fdatasync` once and releases everybody whose record came before.
//!
//! A record that cannot be written is an error, so that the caller refuses the request instead of serving it unrecorded. A
//! full disk can be emptied: each further call tries again, and the first that succeeds writes before its own record how
//! many were refused. An error of a sync or of a change of files lasts, because what is on disk is not known any more.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::chain::{self, GENESIS, Hash};
use crate::limits;

/// What failed when a line could not be written: the one error that need not last.
const WRITTEN: &str = "written";

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size at which the next file is begun.
    pub file_bytes: u64,
}

/// Place of a record in the chain: its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why a record is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The file or its folder cannot be used.
    #[error("audit log {path} cannot be {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The last line of an existing file is complete but not a record of this chain.
    #[error("audit log {path} ends with a line that is no record of the chain; verify it, then move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the log.
    #[error("audit log {path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The record cannot be written as JSON or is too long.
    #[error("audit record is not writable: {0}")]
    Record(Arc<str>),
    /// The sync thread is gone.
    #[error("audit log is closed")]
    Closed,
}

/// One chain, open for writing.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    durable: watch::Receiver<Durable>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How far the disk has got.
#[derive(Clone, Debug)]
struct Durable {
    sequence: u64,
    error: Option<LogError>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    options: Options,
    state: Mutex<State>,
    wanted: Condvar,
}

#[derive(Debug)]
struct State {
    file: Arc<File>,
    bytes: u64,
    next: u64,
    previous: Hash,
    line: Vec<u8>,
    failed: Option<LogError>,
    /// Records refused since the disk would take no more; `failed` is then not final.
    refused: u64,
    /// Newest record that somebody waits for.
    wanted: u64,
    /// The last checkpoint.
    checkpoint: u64,
    closing: bool,
}

// === impl Log ===

impl Log {
    /// Opens the log at `path`, or begins it. A line cut by a crash (no line feed at the end) was never confirmed to
    /// anybody: it is removed and its removal recorded.
    pub fn open(path: &Path, options: Options) -> Result<Self, LogError> {
        let io = |action| move |source| io_error(path, action, source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io("created"))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path)
            .map_err(io("opened"))?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => LogError::InUse { path: path.to_owned() },
            std::fs::TryLockError::Error(source) => io_error(path, "locked", source),
        })?;
        let end = End::find(path, &file)?;
        if end.torn > 0 {
            file.set_len(end.bytes).map_err(io("repaired"))?;
        }
        let (next, previous) = match end.last {
            Some((line, hash)) => (line.sequence.saturating_add(1), hash),
            None => last_of_rotated(path)?,
        };
        sync_folder(path).map_err(io("synced"))?;
        let state = State {
            file: Arc::new(file),
            bytes: end.bytes,
            next,
            previous,
            line: Vec::with_capacity(2048),
            failed: None,
            refused: 0,
            wanted: 0,
            checkpoint: 0,
            closing: false,
        };
        let shared =
            Arc::new(Shared { path: path.to_owned(), options, state: Mutex::new(state), wanted: Condvar::new() });
        let (sender, durable) = watch::channel(Durable { sequence: next.saturating_sub(1), error: None });
        let thread = std::thread::Builder::new()
            .name("audit-sync".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.sync_loop(&sender)
            })
            .map_err(io("synced"))?;
        let log = Self { shared, durable, thread: Some(thread) };
        if end.torn > 0 {
            #[derive(Serialize)]
            struct Repaired {
                event: &'static str,
                removed_bytes: u64,
            }
            log.append(OffsetDateTime::now_utc(), &Repaired { event: "repaired", removed_bytes: end.torn })?;
        }
        Ok(log)
    }

    /// Adds a record. When this returns it is in the file; [`Log::durable`] tells when it is on disk.
    pub fn append(&self, now: OffsetDateTime, record: &impl Serialize) -> Result<Position, LogError> {
        let mut state = self.shared.lock();
        let state = &mut *state;
        if let Err(error) = self.shared.resume(state, now) {
            if state.refused > 0 {
                state.refused = state.refused.saturating_add(1);
            }
            return Err(error);
        }
        self.shared.append(state, now, record)
    }

    /// Waits until the record at `position`, and with it all before, is on disk.
    pub async fn durable(&self, position: Position) -> Result<(), LogError> {
        self.shared.request(position.0);
        let mut durable = self.durable.clone();
        let reached = durable
            .wait_for(|durable| durable.sequence >= position.0 || durable.error.is_some())
            .await
            .map_err(|_| LogError::Closed)?;
        match &reached.error {
            Some(error) if reached.sequence < position.0 => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The file in use.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Closes the file in use before it is full, and begins the next one; one without a record stays.
    pub(crate) fn close_file(&self) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        self.shared.resume(&mut state, OffsetDateTime::now_utc())?;
        if state.bytes == 0 {
            return Ok(());
        }
        self.shared.rotate(&mut state).inspect_err(|error| state.failed = Some(error.clone()))
    }

    /// Position of the newest record, 0 when there is none.
    #[must_use]
    pub fn newest(&self) -> Position {
        Position(self.shared.lock().next.saturating_sub(1))
    }

    /// Number and hash of the newest record.
    pub(crate) fn head(&self) -> (u64, Hash) {
        let state = self.shared.lock();
        (state.next.saturating_sub(1), state.previous)
    }

    pub(crate) fn is_checkpoint(&self, sequence: u64) -> bool {
        self.shared.lock().checkpoint == sequence
    }

    pub(crate) fn note_checkpoint(&self, position: Position) {
        self.shared.lock().checkpoint = position.0;
    }

    /// The error because of which nothing is recorded now; tries again if it need not last.
    #[must_use]
    pub fn failure(&self) -> Option<LogError> {
        let mut state = self.shared.lock();
        self.shared.resume(&mut state, OffsetDateTime::now_utc()).err()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wanted.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves the state between two lines at worst, which `write_all_at` repairs.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, state: &mut State, now: OffsetDateTime, record: &impl Serialize) -> Result<Position, LogError> {
        state.line.clear();
        let hash = chain::seal(&mut state.line, state.next, now, state.previous, record)
            .map_err(|error| LogError::Record(error.to_string().into()))?;
        if state.line.len() > limits::LINE_BYTES {
            return Err(LogError::Record(format!("{} bytes", state.line.len()).into()));
        }
        let added = state.line.len() as u64;
        if state.bytes > 0
            && state.bytes.saturating_add(added) > self.options.file_bytes
            && let Err(error) = self.rotate(state)
        {
            state.failed = Some(error.clone());
            return Err(error);
        }
        if let Err(source) = state.file.write_all_at(&state.line, state.bytes) {
            // Half a line may stand there now: it is cut off here, or written over, or repaired by the next start.
            let _ = state.file.set_len(state.bytes);
            let error = io_error(&self.path, WRITTEN, source);
            state.refused = 1;
            state.failed = Some(error.clone());
            return Err(error);
        }
        let position = Position(state.next);
        state.bytes = state.bytes.saturating_add(added);
        state.next = state.next.saturating_add(1);
        state.previous = hash;
        Ok(position)
    }

    /// After records were refused for want of room: says so in the chain, or keeps refusing.
    fn resume(&self, state: &mut State, now: OffsetDateTime) -> Result<(), LogError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Resumed {
            event: &'static str,
            refused_records: u64,
        }
        let Some(error) = &state.failed else { return Ok(()) };
        if state.refused == 0 {
            return Err(error.clone());
        }
        let refused_records = state.refused;
        if let Err(error) = self.append(state, now, &Resumed { event: "resumed", refused_records }) {
            // The attempt itself is no record that somebody asked for; what went wrong otherwise lasts.
            let is_full = matches!(error, LogError::Io { action: WRITTEN, .. });
            state.refused = if is_full { refused_records } else { 0 };
            return Err(error);
        }
        (state.failed, state.refused) = (None, 0);
        Ok(())
    }

    fn request(&self, sequence: u64) {
        let mut state = self.lock();
        if state.wanted < sequence {
            state.wanted = sequence;
            self.wanted.notify_one();
        }
    }

    /// Closes the full file under its number and begins the next one.
    fn rotate(&self, state: &mut State) -> Result<(), LogError> {
        let io = |action| move |source| io_error(&self.path, action, source);
        let number = rotated_files(&self.path).map_err(io("listed"))?.last().map_or(1, |last| last.0.saturating_add(1));
        let target = rotated_name(&self.path, number);
        // The full file must be on disk before the chain goes on in another one.
        state.file.sync_data().map_err(io("synced"))?;
        std::fs::rename(&self.path, &target).map_err(io("rotated"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&self.path)
            .map_err(io("opened"))?;
        file.try_lock().map_err(|_| LogError::InUse { path: self.path.clone() })?;
        sync_folder(&self.path).map_err(io("synced"))?;
        state.file = Arc::new(file);
        state.bytes = 0;
        Ok(())
    }

    fn sync_loop(&self, durable: &watch::Sender<Durable>) {
        let mut synced = durable.borrow().sequence;
        loop {
            let (file, newest, closing) = {
                let mut state = self.lock();
                while state.wanted <= synced && !state.closing {
                    state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // `rotate` syncs what it closes, so the current file is all that is left to sync.
                (Arc::clone(&state.file), state.next.saturating_sub(1), state.closing)
            };
            if newest > synced {
                let started = Instant::now();
                match file.sync_data() {
                    Ok(()) => {
                        synced = newest;
                        tracing::trace!(newest, micros = started.elapsed().as_micros(), "audit log synced");
                        durable.send_modify(|durable| durable.sequence = newest);
                    }
                    Err(source) => {
                        let error = io_error(&self.path, "synced", source);
                        let mut state = self.lock();
                        (state.failed, state.refused) = (Some(error.clone()), 0);
                        drop(state);
                        durable.send_modify(|durable| durable.error = Some(error));
                        return;
                    }
                }
            }
            if closing {
                return;
            }
        }
    }
}

// === Files ===

/// Where an existing file ends.
struct End {
    bytes: u64,
    torn: u64,
    last: Option<(chain::Line, Hash)>,
}

impl End {
    fn find(path: &Path, file: &File) -> Result<Self, LogError> {
        let io = |action| move |source| io_error(path, action, source);
        let length = file.metadata().map_err(io("read"))?.len();
        let window = length.min(2 * limits::LINE_BYTES as u64);
        let mut tail = Vec::new();
        let mut reader = file;
        reader.seek(SeekFrom::Start(length - window)).map_err(io("read"))?;
        reader.take(window).read_to_end(&mut tail).map_err(io("read"))?;
        let complete = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = (tail.len() - complete) as u64;
        if torn > limits::LINE_BYTES as u64 {
            return Err(LogError::Damaged { path: path.to_owned() });
        }
        tail.truncate(complete);
        let last = match tail.split_inclusive(|byte| *byte == b'\n').next_back() {
            None => None,
            Some(line) => Some(chain::open(line).map_err(|_| LogError::Damaged { path: path.to_owned() })?),
        };
        Ok(Self { bytes: length - torn, torn, last })
    }
}

fn last_of_rotated(path: &Path) -> Result<(u64, Hash), LogError> {
    let files = rotated_files(path).map_err(|source| io_error(path, "listed", source))?;
    let Some((_, newest)) = files.last() else {
        return Ok((1, GENESIS));
    };
    let file = File::open(newest).map_err(|source| io_error(newest, "opened", source))?;
    match End::find(newest, &file)? {
        End { last: Some((line, hash)), torn: 0, .. } => Ok((line.sequence.saturating_add(1), hash)),
        _ => Err(LogError::Damaged { path: newest.clone() }),
    }
}

/// The last line of a closed file; none if it does not end with a whole one.
pub(crate) fn last_line(path: &Path, file: &File) -> Result<Option<chain::Line>, LogError> {
    let end = End::find(path, file)?;
    Ok(end.last.filter(|_| end.torn == 0).map(|(line, _)| line))
}

/// The rotated files of a log, oldest first: `gateway.log` becomes `gateway.000001.log` and so on.
pub(crate) fn rotated_files(path: &Path) -> std::io::Result<Vec<(u32, PathBuf)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let candidate = entry?.path();
        if let Some(number) = rotated_number(path, &candidate) {
            files.push((number, candidate));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn rotated_number(path: &Path, candidate: &Path) -> Option<u32> {
    let stem = path.file_stem()?.to_str()?;
    let number = candidate.file_stem()?.to_str()?.strip_prefix(stem)?.strip_prefix('.')?;
    let numeric = number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit());
    (numeric && candidate.extension() == path.extension()).then(|| number.parse().ok())?
}

fn rotated_name(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut name = format!("{stem}.{number:06}");
    if let Some(extension) = path.extension() {
        name.push('.');
        name.push_str(&extension.to_string_lossy());
    }
    path.with_file_name(name)
}

pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, action: &'static str, source: std::io::Error) -> LogError {
    LogError::Io { path: path.to_owned(), action, source: Arc::new(source) }
}

impl Default for Options {
    fn default() -> Self {
        Self { file_bytes: limits::FILE_BYTES }
    }
}

#[cfg(test)]
mod tests;
