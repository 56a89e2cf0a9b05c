//! `schleuse backup DIR FILE` and `schleuse restore FILE DIR`: a whole node to and from one file, while it runs.
//!
//! The file is a tar archive: settings, policies, certificates, trust, lists, audit chains and data. Databases are copied by
//! SQLite itself as one state of one moment; an audit chain up to its last whole line. The last entry names every file with
//! its SHA-256: an archive without it was not finished, and one that does not fit it is refused. Restoring writes beside
//! the node's place, verifies everything, and only then moves it there. Keys are in the file: it is made for its owner
//! alone, and must be kept like a key.

mod restore;
mod save;

use serde::{Deserialize, Serialize};

pub(super) use restore::run as restore;
pub(super) use save::run as backup;

/// The entry that names the others.
const MANIFEST: &str = "schleuse-backup.json";
/// What this program writes and reads.
const FORMAT: u32 = 1;
/// Largest manifest; a node has some thousands of files.
const MANIFEST_BYTES: u64 = 64 << 20;
/// Folders and files of a node that are saved; sockets and logs are not.
const SAVED: [&str; 12] = [
    "node.toml",
    "policies",
    "signed-policies",
    "certificates",
    "trust",
    "syslog",
    "crl",
    "blocks",
    "gateway",
    "refresh",
    "audit",
    "data",
];

/// What is in an archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// Version of the program that wrote it.
    version: String,
    organization_identifier: String,
    #[serde(with = "time::serde::rfc3339")]
    created: time::OffsetDateTime,
    files: Vec<Saved>,
}

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Saved {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Why a node was not saved or not restored.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error(transparent)]
    Local(#[from] crate::local::LocalError),
    #[error("{path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} cannot be copied as a database: {source}; is it whole? `schleuse check --deep` says")]
    Database {
        path: String,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{0} exists already; choose another name, so that no backup is overwritten")]
    Exists(String),
    #[error(
        "the database {0} lies outside the node's folder data/; move it there, or save it by yourself and stop the node for it"
    )]
    Elsewhere(String),
    #[error("an audit chain began a new file meanwhile; save again")]
    Changed,
    #[error("{0} holds a node, or a part of one, already; move it away first, so that nothing is overwritten")]
    Node(String),
    #[error("the archive cannot be used: {0}; take another backup, this one was damaged or not finished")]
    Damaged(String),
    #[error(
        "the archive is of format {0}, which this version does not read; restore it with the version that wrote it"
    )]
    Format(u32),
}

impl BackupError {
    fn file(path: impl AsRef<std::path::Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::File { path, source }
    }
}

/// A reader or writer that counts and hashes what passes.
struct Hashing<T> {
    inner: T,
    bytes: u64,
    hash: sha2::Sha256,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        use sha2::Digest as _;
        Self { inner, bytes: 0, hash: sha2::Sha256::new() }
    }

    fn saved(self, path: &str) -> Saved {
        use sha2::Digest as _;
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Saved { path: path.to_owned(), bytes: self.bytes, sha256 }
    }
}

impl<T: std::io::Read> std::io::Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use sha2::Digest as _;
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}
