//! What the refresher tells about the sinks of the audit log: one small file each in `refresh/`.
//!
//! The refresher writes them, the gateway decides by them whether a sink is dead, `schleuse status` and `doctor` show them.
//! A state that is missing, damaged or not renewed is that of a sink that takes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::Mark;
use audit::retention::Receivers;
use policies::policy::AuditSink;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::Directory;

/// Largest state; a real one has 1 KiB.
const STATE_BYTES: u64 = 64 * 1024;
/// Longest time between two signs of life of the refresher.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How it stands with one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SinkState {
    /// The sink, as the policy names it.
    pub sink: String,
    /// The last record of each chain that it has taken.
    pub delivered: BTreeMap<String, Mark>,
    /// Records that it has taken, repeated ones included.
    pub records: u64,
    /// Records that were removed from the files before it could take them.
    pub missing: u64,
    /// Since when records have been waiting without that it took any; none while nothing waits.
    #[serde(with = "time::serde::rfc3339::option")]
    pub waiting_since: Option<OffsetDateTime>,
    /// When it took records last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success: Option<OffsetDateTime>,
    /// Why it takes none.
    pub last_error: Option<String>,
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkStateError {
    /// The refresher has not written it.
    #[error("the refresher has told nothing about it yet")]
    Missing,
    /// It cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What the sinks of the policy in force have taken, for the retention of the audit log.
pub struct TakenBySinks<S> {
    directory: Directory,
    sinks: S,
}

// === impl TakenBySinks ===

impl<S: Fn() -> Vec<AuditSink> + Send + Sync> TakenBySinks<S> {
    /// `sinks` gives those of the policy in force.
    pub const fn new(directory: Directory, sinks: S) -> Self {
        Self { directory, sinks }
    }
}

impl<S: Fn() -> Vec<AuditSink> + Send + Sync> Receivers for TakenBySinks<S> {
    fn taken(&self, chain: &str) -> Result<Vec<Mark>, String> {
        let taken = |sink: &AuditSink| match SinkState::read(&SinkState::path(&self.directory, sink)) {
            Ok(state) => Ok(state.delivered.get(chain).cloned().unwrap_or_default()),
            Err(SinkStateError::Missing) => Ok(Mark::default()),
            Err(error) => Err(format!("{sink}: {error}")),
        };
        (self.sinks)().iter().map(taken).collect()
    }
}

// === impl SinkState ===

impl SinkState {
    /// Where the state of a sink stands.
    #[must_use]
    pub fn path(directory: &Directory, sink: &AuditSink) -> PathBuf {
        let digest = Sha256::digest(sink.to_string().as_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        directory.refresh().join(format!("sink-{name}.json"))
    }

    /// Reads a state.
    pub fn read(path: &Path) -> Result<Self, SinkStateError> {
        use std::io::Read as _;
        let unreadable = |error: &dyn std::fmt::Display| SinkStateError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SinkStateError::Missing),
            Err(error) => return Err(unreadable(&error)),
        };
        let mut text = String::new();
        file.take(STATE_BYTES).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
        serde_json::from_str(&text).map_err(|error| unreadable(&error))
    }

    /// Whether records have waited longer than that.
    #[must_use]
    pub fn is_stuck(&self, patience: Duration, now: OffsetDateTime) -> bool {
        self.waiting_since.is_some_and(|since| now - since > patience)
    }
}

/// How often the refresher shows that it lives, where a sink has that long until it counts as dead.
#[must_use]
pub fn heartbeat(patience: Duration) -> Duration {
    HEARTBEAT.min(patience / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let sink = AuditSink::parse("tls-syslog://siem.example:6514").unwrap();
        let path = SinkState::path(&Directory::new(folder.path()), &sink);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(matches!(SinkState::read(&path), Err(SinkStateError::Missing)));
        let since = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let state = SinkState {
            sink: sink.to_string(),
            delivered: BTreeMap::from([("gateway".to_owned(), Mark::default())]),
            waiting_since: Some(since),
            ..SinkState::default()
        };
        let text = serde_json::to_string(&state).unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(SinkState::read(&path).unwrap(), state);
        for cut in [0, 1, text.len() / 2, text.len() - 1] {
            std::fs::write(&path, &text.as_bytes()[..cut]).unwrap();
            assert!(matches!(SinkState::read(&path), Err(SinkStateError::Unreadable { .. })), "{cut}");
        }
        let patience = Duration::from_secs(60);
        assert!(!state.is_stuck(patience, since + patience));
        assert!(state.is_stuck(patience, since + patience + Duration::from_millis(1)));
        assert!(!SinkState::default().is_stuck(patience, since));
    }
}
