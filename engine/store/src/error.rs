//! What can go wrong in the store, each with the evidence and, where a person can act, the remedy.

use fhir::ResourceType;

/// An error of the store. Cloneable, because one failing commit fails every closure of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another current resource holds a key that must be unique.
    #[error("duplicate {kind}: {key} belongs to {resource_type}/{id}")]
    Duplicate {
        /// The rule, for example `canonical` or `certificate-thumbprint`.
        kind: &'static str,
        /// The value.
        key: String,
        /// Type of the resource that holds it.
        resource_type: String,
        /// Id of the resource that holds it.
        id: String,
    },
    /// The resource does not exist.
    #[error("{resource_type}/{id} does not exist")]
    Missing {
        /// Its type.
        resource_type: ResourceType,
        /// Its id.
        id: String,
    },
    /// The resource is deleted.
    #[error("{resource_type}/{id} is deleted since version {version}")]
    Deleted {
        /// Its type.
        resource_type: ResourceType,
        /// Its id.
        id: String,
        /// The version that the deletion made.
        version: u64,
    },
    /// A permanent delete of a resource that is not deleted.
    #[error("{resource_type}/{id} is not marked deleted")]
    NotDeleted {
        /// Its type.
        resource_type: ResourceType,
        /// Its id.
        id: String,
    },
    /// The resource is at another version than the caller expected.
    #[error("{resource_type}/{id} is at version {actual}, expected {expected}")]
    VersionConflict {
        /// Its type.
        resource_type: ResourceType,
        /// Its id.
        id: String,
        /// The version that the caller named.
        expected: u64,
        /// The version that is stored.
        actual: u64,
    },
    /// A record of the process side changed since it was read; the command must be run again on the new state.
    #[error("{what} {id} changed meanwhile")]
    RevisionConflict {
        /// The kind of record.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// An id or key of the process side is taken.
    #[error("{what} {id} exists already")]
    Exists {
        /// The kind of record.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A record of the process side does not exist.
    #[error("{what} {id} does not exist")]
    NoRecord {
        /// The kind of record.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A value is larger than the store takes.
    #[error("{what} has {size} of at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The resources of a page are larger than the store reads at one time.
    #[error("the page has more than {limit} bytes; ask for fewer entries")]
    PageTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The resource has no type that the store serves.
    #[error("resource type {0} is not served")]
    UnservedType(String),
    /// A search asks for what the type does not have; the query was not checked by `fhir::search`.
    #[error("search cannot be run: {0}")]
    Unsearchable(String),
    /// A write was tried in a read-only transaction.
    #[error("write in a read-only transaction")]
    ReadOnly,
    /// Another process uses the database file.
    #[error(
        "the store {path} is in use by another process; stop the other engine or give this node a directory of its own"
    )]
    InUse {
        /// The database file.
        path: String,
    },
    /// The file cannot be opened or created.
    #[error(
        "the store {path} cannot be opened: {cause}; check that the directory exists and that the engine's user owns it"
    )]
    CannotOpen {
        /// The database file.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// The file is something else.
    #[error("{path} is not a store of this product; name another file in [store], or move this one away")]
    Foreign {
        /// The database file.
        path: String,
    },
    /// The database was written by a newer version.
    #[error(
        "the store has schema version {found}, this program knows up to {known}; start the newer program again or restore a backup that was made before the update"
    )]
    TooNew {
        /// The version of the schema.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The disk is full.
    #[error("the disk of the store is full: {0}; free space on it, the engine goes on by itself")]
    DiskFull(String),
    /// The database is damaged.
    #[error("the store is damaged: {0}; stop the engine, keep the file for analysis and restore the last backup")]
    Corrupted(String),
    /// The database is locked for longer than the store waits.
    #[error("the store is locked by another program: {0}; end the program that holds it open")]
    Locked(String),
    /// The disk or network of the database fails.
    #[error("the store cannot be read or written: {0}; check the disk and its mount")]
    Io(String),
    /// The database server cannot be used as it is configured.
    #[error("{cause}; {remedy}")]
    Setup {
        /// What is wrong.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// The database server does not answer.
    #[error("the database cannot be reached: {0}; check that PostgreSQL runs, the engine goes on by itself")]
    Unavailable(String),
    /// The connection was lost during the commit, and the database could not be asked afterwards.
    #[error("whether the transaction was carried out could not be found out: {0}; what it was to do may be done again")]
    CommitUnknown(String),
    /// The database took longer than the store waits.
    #[error("the database took too long: {0}; it is overloaded or another program holds its locks")]
    TooSlow(String),
    /// A search takes longer than is given to one.
    #[error("the search takes longer than {} s; it needs a condition that matches less", limit.as_secs())]
    TooCostly {
        /// What is given to one.
        limit: std::time::Duration,
    },
    /// The group was rolled back, because the database ended its transaction.
    #[error("the transaction was rolled back by the database: {0}")]
    RolledBack(String),
    /// Any other error of the database: a defect of this crate.
    #[error("database error: {0}")]
    Database(String),
    /// A row does not hold what this crate writes.
    #[error("stored data cannot be read: {0}")]
    BadRow(String),
    /// The closure panicked; its changes are undone.
    #[error("the transaction was given up after a panic: {0}")]
    Panicked(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same transaction may succeed when it is run again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RevisionConflict { .. }
                | Self::Locked(_)
                | Self::RolledBack(_)
                | Self::DiskFull(_)
                | Self::Unavailable(_)
                | Self::CommitUnknown(_)
                | Self::TooSlow(_)
        )
    }
}
