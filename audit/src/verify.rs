//! Reading a chain again, over all its files, and naming the first thing that is wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::chain::{self, GENESIS, LineError};
use crate::limits;
use crate::log::rotated_files;

/// A chain that holds together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Files read, rotated ones included.
    pub files: usize,
    /// Records read.
    pub records: u64,
    /// Number of the first record; greater than 1 when older files were moved away.
    pub first_sequence: u64,
    /// Number of the last record.
    pub last_sequence: u64,
    /// Time of the first record.
    pub first_time: String,
    /// Time of the last record.
    pub last_time: String,
    /// Hash of the last record, to compare with a copy kept elsewhere.
    pub last_hash: String,
    /// Bytes of an unfinished line at the end of the newest file: a record being written, or cut by a crash.
    pub unfinished_bytes: u64,
    /// What the first record names as the one before it.
    #[serde(skip)]
    pub(crate) first_previous: String,
    /// The hashes of the last records of files, by their number: a cut is about one of them.
    #[serde(skip)]
    pub(crate) ends: BTreeMap<u64, String>,
}

/// The first thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("audit file {path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A rotated file between two others is missing.
    #[error("audit file number {missing:06} is missing before {path}")]
    Missing {
        /// The file after the gap.
        path: PathBuf,
        /// Number that is missing.
        missing: u32,
    },
    /// A line is not part of the chain.
    #[error("audit file {path}, line {line}: {source}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: LineError,
    },
    /// The chain does not begin where its cut says.
    #[error("the chain of {path} does not begin as it says: {text}")]
    Front {
        /// The file in use.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

// === impl Report ===

impl Report {
    fn new(files: usize) -> Self {
        Self {
            files,
            records: 0,
            first_sequence: 0,
            last_sequence: 0,
            first_time: String::new(),
            last_time: String::new(),
            last_hash: GENESIS.to_string(),
            unfinished_bytes: 0,
            first_previous: GENESIS.to_string(),
            ends: BTreeMap::new(),
        }
    }
}

/// Looks at a record that is part of the chain: its number, its hash and its line. The error is what is wrong with it.
pub(crate) type Look<'l> = dyn FnMut(u64, &str, &[u8]) -> Result<(), String> + 'l;

/// Verifies the chain of the log at `path` with the rotated files beside it.
pub fn verify(path: &Path) -> Result<Report, VerifyError> {
    verify_with(path, &mut |_, _, _| Ok(()))
}

/// The same, with a look at every record.
pub(crate) fn verify_with(path: &Path, look: &mut Look<'_>) -> Result<Report, VerifyError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::Io { path, source }
    };
    let mut files = Vec::new();
    let mut expected_number = None;
    for (number, file) in rotated_files(path).map_err(io(path))? {
        match expected_number {
            Some(expected) if expected != number => return Err(VerifyError::Missing { path: file, missing: expected }),
            _ => expected_number = Some(number.saturating_add(1)),
        }
        files.push(file);
    }
    files.push(path.to_owned());

    let mut report = Report::new(files.len());
    let newest = files.len().saturating_sub(1);
    for (index, file) in files.iter().enumerate() {
        verify_file(file, index == newest, &mut report, look)?;
    }
    Ok(report)
}

/// Verifies closed files that follow each other.
pub(crate) fn verify_files(files: &[PathBuf]) -> Result<Report, VerifyError> {
    let mut report = Report::new(files.len());
    for file in files {
        verify_file(file, false, &mut report, &mut |_, _, _| Ok(()))?;
    }
    Ok(report)
}

fn verify_file(path: &Path, newest: bool, report: &mut Report, look: &mut Look<'_>) -> Result<(), VerifyError> {
    let io = |source| VerifyError::Io { path: path.to_owned(), source };
    let mut reader = BufReader::with_capacity(limits::LINE_BYTES, File::open(path).map_err(io)?);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = (&mut reader).take(limits::LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).map_err(io)?;
        if read == 0 {
            report.ends.insert(report.last_sequence, report.last_hash.clone());
            return Ok(());
        }
        number += 1;
        let broken = |source| VerifyError::Broken { path: path.to_owned(), line: number, source };
        if line.last() != Some(&b'\n') {
            let at_end = reader.fill_buf().map_err(io)?.is_empty();
            if newest && at_end {
                report.unfinished_bytes = read as u64;
                return Ok(());
            }
            return Err(broken(LineError::Form));
        }
        follow(&line, report).map_err(broken)?;
        look(report.last_sequence, &report.last_hash, &line).map_err(|text| broken(LineError::Content(text)))?;
    }
}

/// Takes one line into the report if it follows what was read before.
fn follow(line: &[u8], report: &mut Report) -> Result<(), LineError> {
    let (content, hash) = chain::open(line)?;
    if report.records == 0 {
        // Older files may have been archived: the chain then begins later, and says so in the report.
        if content.sequence == 1 && content.previous != report.last_hash {
            return Err(LineError::Previous);
        }
        report.first_sequence = content.sequence;
        report.first_time.clone_from(&content.time);
        report.first_previous.clone_from(&content.previous);
    } else {
        if content.previous != report.last_hash {
            return Err(LineError::Previous);
        }
        let expected = report.last_sequence.saturating_add(1);
        if content.sequence != expected {
            return Err(LineError::Sequence { expected, found: content.sequence });
        }
    }
    report.records += 1;
    report.last_sequence = content.sequence;
    report.last_time = content.time;
    report.last_hash = hash.to_string();
    Ok(())
}
