//! Reading a chain while another process writes it, for those who send it on.
//!
//! A [`Follower`] gives complete lines after its [`Mark`], over rotated files too. The mark moves only when the reader says
//! that a record was delivered, and can be kept on disk: whoever starts again with it gets everything that was not
//! confirmed, perhaps once more, and nothing twice that was. The mark knows the hash of its record, so that a chain that
//! was begun anew under the same name, or lost its end with the power, is read from its beginning and not skipped.
//!
//! It verifies nothing: what is sent on is the line as it stands, and the receiver can verify the chain.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::log::rotated_files;

/// What ends a line behind its hash.
const AFTER_HASH: &[u8] = b"\"}\n";
/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;

/// The last record that was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mark {
    /// Its number; 0 before the first.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// Number of the first record of its file.
    first: u64,
    /// Where it ends there.
    end: u64,
}

/// A record with the mark that stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The line without its line feed.
    pub line: String,
    /// For [`Follower::confirm`].
    pub mark: Mark,
    /// Records before it that are not in the files any more.
    pub missing: u64,
}

/// Why a chain cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// A file or its folder cannot be read.
    #[error("audit file {path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is no record.
    #[error("audit file {path} has no record at byte {at}; verify it, then move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

/// Follows one chain.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    mark: Mark,
    open: Option<Open>,
}

/// The file in which the next record stands.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    first: u64,
    at: u64,
    /// Records between the mark and this place that are gone.
    missing: u64,
}

// === impl Mark ===

impl Mark {
    /// Whether the record is one of the chain at `path`, as far as that is there.
    pub(crate) fn is_in(&self, path: &Path) -> Result<bool, FollowError> {
        let place = Follower::new(path.to_owned(), self.clone()).locate()?;
        Ok(self.sequence > 0 && place.is_some_and(|open| open.first <= self.sequence && open.at > 0))
    }
}

// === impl Follower ===

impl Follower {
    /// Follows the log at `path` from behind `mark`; a default mark is the beginning of the oldest file.
    #[must_use]
    pub const fn new(path: PathBuf, mark: Mark) -> Self {
        Self { path, mark, open: None }
    }

    /// The last record that was confirmed.
    #[must_use]
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Records behind the mark, at most `bytes` of them but at least one if there is one. Says the same again until they
    /// are confirmed.
    pub fn next(&mut self, bytes: usize) -> Result<Vec<Followed>, FollowError> {
        // A file may end and the next one begin, once for each call.
        for _ in 0..2 {
            if self.open.is_none() {
                self.open = self.locate()?;
            }
            let Some(open) = &self.open else { return Ok(Vec::new()) };
            let records = open.read(&self.mark, bytes)?;
            if !records.is_empty() || open.is_newest(&self.path) {
                return Ok(records);
            }
            self.open = None;
        }
        Ok(Vec::new())
    }

    /// Notes that a record and all before it were delivered.
    pub fn confirm(&mut self, mark: &Mark) {
        self.mark = mark.clone();
        match &mut self.open {
            Some(open) if open.first == mark.first => (open.at, open.missing) = (mark.end, 0),
            _ => self.open = None,
        }
    }

    /// The place behind the mark.
    fn locate(&self) -> Result<Option<Open>, FollowError> {
        let io = |path: &Path, source| FollowError::Io { path: path.to_owned(), source };
        let mut files: Vec<PathBuf> = match rotated_files(&self.path) {
            Ok(files) => files.into_iter().map(|(_, path)| path).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&self.path, error)),
        };
        files.push(self.path.clone());
        let mut oldest = None;
        // From the newest back to the file that holds the record behind the mark.
        for path in files.into_iter().rev() {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io(&path, error)),
            };
            let Some(first) = first_of(&path, &file)? else { continue };
            let open = Open { path, file, first, at: 0, missing: 0 };
            if first <= self.mark.sequence {
                return open.behind(&self.mark).map(Some);
            }
            if first == self.mark.sequence.saturating_add(1) {
                return Ok(Some(open));
            }
            oldest = Some(open);
        }
        // Who begins gets what is there; who was elsewhere misses what was taken away.
        Ok(oldest.map(|mut open| {
            if self.mark.sequence > 0 {
                open.missing = open.first.saturating_sub(self.mark.sequence).saturating_sub(1);
            }
            open
        }))
    }
}

// === impl Open ===

impl Open {
    /// The place behind a record of this file; the beginning, if the record is not in it any more.
    fn behind(mut self, mark: &Mark) -> Result<Self, FollowError> {
        let sealed = HASH_DIGITS.saturating_add(AFTER_HASH.len());
        let from = mark.end.checked_sub(sealed as u64).filter(|_| mark.first == self.first);
        if let Some(from) = from {
            let mut end = vec![0; sealed];
            let expected = [mark.hash.as_bytes(), AFTER_HASH].concat();
            if self.file.read_exact_at(&mut end, from).is_ok() && end == expected {
                self.at = mark.end;
                return Ok(self);
            }
        }
        let mut reader = BufReader::with_capacity(limits::LINE_BYTES, &self.file);
        let (mut line, mut at) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            let bound = limits::LINE_BYTES as u64 + 1;
            let read = (&mut reader).take(bound).read_until(b'\n', &mut line);
            let read = read.map_err(|source| FollowError::Io { path: self.path.clone(), source })?;
            if !line.ends_with(b"\n") {
                tracing::warn!(path = %self.path.display(), sequence = mark.sequence, "the chain does not hold the record that was delivered last; its file is sent from the beginning");
                return Ok(self);
            }
            at = at.saturating_add(read as u64);
            if hash_of(&line) == Some(mark.hash.as_str()) && sequence_of(&line) == Some(mark.sequence) {
                self.at = at;
                return Ok(self);
            }
        }
    }

    fn read(&self, mark: &Mark, bytes: usize) -> Result<Vec<Followed>, FollowError> {
        // A line may just not fit into what is left.
        let mut buffer = vec![0; bytes.max(limits::LINE_BYTES)];
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, self.at.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FollowError::Io { path: self.path.clone(), source }),
            }
        }
        let content = buffer.get(..filled).unwrap_or_default();
        let damaged = |at| FollowError::Damaged { path: self.path.clone(), at };
        let (mut records, mut at, mut taken) = (Vec::new(), self.at, 0_usize);
        let mut before = if self.at == 0 { self.first.saturating_sub(1) } else { mark.sequence };
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let is_enough = taken.saturating_add(line.len()) > bytes && !records.is_empty();
            if !line.ends_with(b"\n") || is_enough {
                break;
            }
            let sequence = sequence_of(line).ok_or_else(|| damaged(at))?;
            let hash = hash_of(line).ok_or_else(|| damaged(at))?;
            let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
            let text = text.ok_or_else(|| damaged(at))?;
            let skipped = sequence.saturating_sub(before).saturating_sub(1);
            let missing = if records.is_empty() { skipped.max(self.missing) } else { skipped };
            at = at.saturating_add(line.len() as u64);
            taken = taken.saturating_add(line.len());
            before = sequence;
            let mark = Mark { sequence, hash: hash.to_owned(), first: self.first, end: at };
            records.push(Followed { line: text.to_owned(), mark, missing });
        }
        // A line that never ends is no line in writing.
        if records.is_empty() && filled >= limits::LINE_BYTES {
            return Err(damaged(self.at));
        }
        Ok(records)
    }

    /// Whether the writer writes to this file.
    fn is_newest(&self, path: &Path) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata().map(identity), std::fs::metadata(path).map(identity)) {
            (Ok(own), Ok(newest)) => own == newest,
            _ => false,
        }
    }
}

/// Number of the first record of a file; none while it has no complete line.
fn first_of(path: &Path, file: &File) -> Result<Option<u64>, FollowError> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(file).take(limits::LINE_BYTES as u64 + 1);
    reader.read_until(b'\n', &mut line).map_err(|source| FollowError::Io { path: path.to_owned(), source })?;
    if !line.ends_with(b"\n") && line.len() <= limits::LINE_BYTES {
        return Ok(None);
    }
    sequence_of(&line).map(Some).ok_or_else(|| FollowError::Damaged { path: path.to_owned(), at: 0 })
}

fn sequence_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"sequence\":")?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

fn hash_of(line: &[u8]) -> Option<&str> {
    let content = line.strip_suffix(AFTER_HASH)?;
    let hash = content.get(content.len().checked_sub(HASH_DIGITS)?..)?;
    std::str::from_utf8(hash).ok().filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
