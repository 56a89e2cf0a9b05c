//! Retention: closed files whose records are older than a period go, and the chain stays verifiable from the first kept one.
//!
//! A look goes in three steps. A [`Cut`] is written into the chain, a record signed with the key of the process that says
//! which files and records go, by which rule, and the number and hash of the last of them. When it is on disk the files
//! are removed, the oldest first. Killed in between, the next look finds them again and writes another cut; `verify`
//! accepts both, because a cut covers what is still there.
//!
//! Nothing goes that a receiver of the log has not taken, that is younger than the period, or that is no whole chain: the
//! files that would go are verified first, and their end must be what the next file names as its beginning. The newest
//! closed file always stays, so that the chain and the numbers of its files go on from it. What is removed without a cut
//! is still found by [`verify_signed`](crate::checkpoint::verify_signed).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::chain;
use crate::checkpoint::Signer;
use crate::follow::{FollowError, Mark};
use crate::log::{rotated_files, sync_folder};
use crate::verify::{VerifyError, verify_files};
use crate::{Log, LogError, Position, limits};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(3600);
/// The share of the period after which a file is closed though it is not full: what goes is then at most so much older.
const SHARE: u32 = 10;
/// Name of the event.
const EVENT: &str = "cut";

/// Whoever gets a copy of the log.
pub trait Receivers: Send + Sync {
    /// The last record of a chain that each of them has taken, a default mark for one that has taken none. The error says why
    /// that is not known; nothing is removed then.
    fn taken(&self, chain: &str) -> Result<Vec<Mark>, String>;
}

/// What a process needs to remove records of its chain.
#[derive(Clone)]
pub struct Retention {
    /// The name of the chain, as it is signed.
    pub chain: &'static str,
    /// How long records are kept.
    pub kept: Duration,
    /// The key of the process.
    pub signer: Arc<dyn Signer>,
    /// Who must have taken a record before it goes.
    pub receivers: Arc<dyn Receivers>,
}

/// The record: what is removed from the front of a chain, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cut {
    event: String,
    /// Number of the first record that goes.
    pub first_sequence: u64,
    /// Number of the last one.
    pub last_sequence: u64,
    /// Hash of the last one: what the first kept record names as the one before it.
    pub hash: String,
    /// Time of the first record that goes.
    pub first_time: String,
    /// Time of the last one.
    pub last_time: String,
    /// Number of the first file that goes.
    pub first_file: u32,
    /// Number of the last one.
    pub last_file: u32,
    /// The setting that demands it.
    pub rule: String,
    /// Its value in days.
    pub kept_days: u64,
    /// Records that were gone before, without a cut, ever since the chain began.
    pub removed_otherwise: u64,
    /// SHA-256 of the certificate.
    pub certificate: String,
    /// The signature.
    pub signature: String,
}

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The cut cannot be written, or the log not be closed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What would go is no whole chain.
    #[error("nothing is removed from a chain that is not whole: {0}")]
    Chain(#[from] VerifyError),
    /// A record or its time cannot be read.
    #[error("audit file {path} {problem}; verify it, then move it away")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A file cannot be read or removed.
    #[error("audit file {path} cannot be {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not known what was taken.
    #[error("it is not known what the receivers of the audit log have taken: {0}")]
    Receivers(String),
    /// The record that a receiver has taken last cannot be looked for.
    #[error(transparent)]
    Mark(#[from] FollowError),
}

/// What is to go: the cut that says so and the files.
#[derive(Debug)]
struct Planned {
    cut: Cut,
    files: Vec<PathBuf>,
}

/// First and last record of a closed file.
struct Ends {
    first: u64,
    previous: String,
    last: u64,
    last_time: OffsetDateTime,
}

// === impl Retention ===

impl Retention {
    /// Looks for as long as the process lives. What cannot be removed stays and is reported; the next look tries again.
    pub async fn keep(self, log: Arc<Log>) {
        loop {
            match self.look(&log, OffsetDateTime::now_utc()).await {
                Ok(None) => {}
                Ok(Some(cut)) => {
                    let (first, last) = (cut.first_sequence, cut.last_sequence);
                    tracing::info!(chain = self.chain, first, last, "audit records were removed after their time");
                }
                Err(error) => tracing::error!(%error, chain = self.chain, "old audit records were not removed"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One look; the cut, if something was removed.
    pub async fn look(&self, log: &Arc<Log>, now: OffsetDateTime) -> Result<Option<Cut>, RetentionError> {
        let (of, to) = (self.clone(), Arc::clone(log));
        let Some((position, planned)) = blocking(move || of.announce(&to, now)).await? else { return Ok(None) };
        // Before the first file goes: a chain that begins later without a cut looks like one that somebody shortened.
        log.durable(position).await?;
        let to = Arc::clone(log);
        blocking(move || planned.remove(to.path()).map(|()| Some(planned.cut))).await
    }

    /// Closes a file that has been written to for long, and writes the cut if something is to go.
    fn announce(&self, log: &Log, now: OffsetDateTime) -> Result<Option<(Position, Planned)>, RetentionError> {
        if let Some(begun) = first_time(log.path())?
            && now - begun > self.kept / SHARE
        {
            log.close_file()?;
        }
        let Some(planned) = self.plan(log.path(), now)? else { return Ok(None) };
        let position = log.append(now, &planned.cut)?;
        Ok(Some((position, planned)))
    }

    fn plan(&self, path: &Path, now: OffsetDateTime) -> Result<Option<Planned>, RetentionError> {
        let io = |source| RetentionError::Io { path: path.to_owned(), action: "listed", source };
        let mut closed = rotated_files(path).map_err(io)?;
        // The chain goes on from this one, whatever happens to the file in use.
        let Some((_, newest)) = closed.pop() else { return Ok(None) };
        let mut old: Vec<(u32, PathBuf, Ends)> = Vec::new();
        let mut next = newest;
        for (number, file) in closed {
            let ends = Ends::of(&file)?;
            if now - ends.last_time <= self.kept {
                next = file;
                break;
            }
            old.push((number, file, ends));
        }
        let taken = self.receivers.taken(self.chain).map_err(RetentionError::Receivers)?;
        while let Some((_, file, ends)) = old.last() {
            if taken_by_all(&taken, path, ends.last)? {
                break;
            }
            next.clone_from(file);
            old.pop();
        }
        let (Some((first_file, _, first)), Some((last_file, last_path, last))) = (old.first(), old.last()) else {
            return Ok(None);
        };
        let files: Vec<PathBuf> = old.iter().map(|(_, file, _)| file.clone()).collect();
        let report = verify_files(&files)?;
        if Ends::of(&next)?.previous != report.last_hash {
            return Err(RetentionError::File {
                path: last_path.clone(),
                problem: "is not what the next file goes on from",
            });
        }
        let mut cut = Cut {
            event: EVENT.to_owned(),
            first_sequence: first.first,
            last_sequence: last.last,
            hash: report.last_hash,
            first_time: report.first_time,
            last_time: report.last_time,
            first_file: *first_file,
            last_file: *last_file,
            rule: "retention.audit".to_owned(),
            kept_days: self.kept.as_secs() / 86_400,
            removed_otherwise: removed_otherwise(path, first.first)?,
            certificate: String::new(),
            signature: String::new(),
        };
        let failed = |error| LogError::Record(format!("the cut cannot be signed: {error}").into());
        (cut.certificate, cut.signature) = self.signer.sign(&cut.content(self.chain)).map_err(failed)?;
        Ok(Some(Planned { cut, files }))
    }
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retention").field("chain", &self.chain).field("kept", &self.kept).finish_non_exhaustive()
    }
}

// === impl Cut ===

impl Cut {
    /// What is signed.
    pub(crate) fn content(&self, chain: &str) -> String {
        format!(
            "removed from chain: {chain}\nrecords: {} to {}\nhash: {}\ntimes: {} to {}\nfiles: {} to {}\nrule: {} = {}d\nremoved otherwise: {}\n",
            self.first_sequence,
            self.last_sequence,
            self.hash,
            self.first_time,
            self.last_time,
            self.first_file,
            self.last_file,
            self.rule,
            self.kept_days,
            self.removed_otherwise
        )
    }

    /// The cut in a line.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            record: Cut,
        }
        const MARK: &[u8] = b"\"record\":{\"event\":\"cut\"";
        // Most lines are something else; they are not parsed twice.
        line.windows(MARK.len()).any(|window| window == MARK).then_some(())?;
        let line: Line = serde_json::from_slice(line).ok()?;
        (line.record.event == EVENT).then_some(line.record)
    }
}

// === impl Planned ===

impl Planned {
    fn remove(&self, log: &Path) -> Result<(), RetentionError> {
        for path in &self.files {
            let io = |source| RetentionError::Io { path: path.clone(), action: "removed", source };
            std::fs::remove_file(path).map_err(io)?;
        }
        let io = |source| RetentionError::Io { path: log.to_owned(), action: "synced", source };
        sync_folder(log).map_err(io)
    }
}

// === impl Ends ===

impl Ends {
    fn of(path: &Path) -> Result<Self, RetentionError> {
        let problem = |problem| RetentionError::File { path: path.to_owned(), problem };
        let file = open(path)?;
        let mut line = Vec::new();
        let io = |source| RetentionError::Io { path: path.to_owned(), action: "read", source };
        let mut reader = BufReader::new(&file).take(limits::LINE_BYTES as u64);
        reader.read_until(b'\n', &mut line).map_err(io)?;
        let (first, _) = chain::open(&line).map_err(|_| problem("does not begin with a record"))?;
        let last = crate::log::last_line(path, &file)?.ok_or_else(|| problem("does not end with a record"))?;
        let last_time =
            OffsetDateTime::parse(&last.time, &Rfc3339).map_err(|_| problem("has a record without time"))?;
        Ok(Self { first: first.sequence, previous: first.previous, last: last.sequence, last_time })
    }
}

// === Files ===

fn open(path: &Path) -> Result<File, RetentionError> {
    File::open(path).map_err(|source| RetentionError::Io { path: path.to_owned(), action: "opened", source })
}

/// Time of the first record of the file in use; none while there is no complete one.
fn first_time(path: &Path) -> Result<Option<OffsetDateTime>, RetentionError> {
    let file = open(path)?;
    let mut line = Vec::new();
    let io = |source| RetentionError::Io { path: path.to_owned(), action: "read", source };
    BufReader::new(file).take(limits::LINE_BYTES as u64).read_until(b'\n', &mut line).map_err(io)?;
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    let time = chain::open(&line).ok().and_then(|(line, _)| OffsetDateTime::parse(&line.time, &Rfc3339).ok());
    let problem = || RetentionError::File { path: path.to_owned(), problem: "does not begin with a record" };
    time.map(Some).ok_or_else(problem)
}

fn taken_by_all(taken: &[Mark], path: &Path, last: u64) -> Result<bool, RetentionError> {
    for mark in taken {
        // A mark of another chain of the same name says nothing about this one.
        if mark.sequence < last || !mark.is_in(path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Records before this one that no cut covers, ever since the chain began.
fn removed_otherwise(path: &Path, first: u64) -> Result<u64, RetentionError> {
    let gone = first.saturating_sub(1);
    if gone == 0 {
        return Ok(0);
    }
    let io = |source| RetentionError::Io { path: path.to_owned(), action: "listed", source };
    let mut files: Vec<PathBuf> = rotated_files(path).map_err(io)?.into_iter().map(|(_, file)| file).collect();
    files.push(path.to_owned());
    // The newest cut covers all that were before it.
    for file in files.into_iter().rev() {
        let io = |source| RetentionError::Io { path: file.clone(), action: "read", source };
        let mut reader = BufReader::with_capacity(limits::LINE_BYTES, open(&file)?);
        let (mut line, mut newest) = (Vec::new(), None);
        loop {
            line.clear();
            let bound = limits::LINE_BYTES as u64 + 1;
            if (&mut reader).take(bound).read_until(b'\n', &mut line).map_err(io)? == 0 {
                break;
            }
            newest = Cut::read(&line).or(newest);
        }
        if let Some(cut) = newest {
            return Ok(cut.removed_otherwise.saturating_add(gone.saturating_sub(cut.last_sequence)));
        }
    }
    Ok(gone)
}

/// Work with files, away from the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RetentionError> + Send + 'static,
) -> Result<T, RetentionError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests;
