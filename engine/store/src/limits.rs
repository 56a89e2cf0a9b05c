//! Every bound of the store, with its reason.

use std::time::Duration;

/// Closures that wait for the writer. More means that the disk cannot follow; senders then wait, which slows clients
/// down instead of filling memory.
pub const WRITE_QUEUE: usize = 1024;

/// Closures that share one commit. Bounds what one failing commit takes along and how long the first one waits.
pub const GROUP_SIZE: usize = 256;

/// Time that a group may collect before it is committed, so that one slow closure does not delay the others by much.
pub const GROUP_TIME: Duration = Duration::from_millis(20);

/// Bytes and statements that are noted to write them again if a closure of the group fails; a group that writes more sets
/// savepoints. Small writes have some twenty statements of 300 bytes.
pub const REDO_BYTES: usize = 2 << 20;
/// See [`REDO_BYTES`].
pub const REDO_STATEMENTS: usize = 16 * 1024;

/// How long a search or a page of the history may take. Totals are exact, so conditions that each match much are counted
/// row by row: two of them in a million Tasks take two seconds.
pub const SEARCH: Duration = Duration::from_secs(10);

/// The same for the search of a conditional interaction, which everybody waits for who writes.
pub const SEARCH_OF_WRITER: Duration = Duration::from_secs(2);

/// Steps of SQLite's virtual machine between two looks at the clock: below a millisecond.
pub const STEPS_PER_LOOK: i32 = 10_000;

/// Connections for snapshot reads. Reads are short and processor bound.
pub const READERS: usize = 8;

/// Counters by which is told whether a resource may have changed. With many more than there are resources in one commit,
/// a commit makes few others look changed.
pub const FRESHNESS_SLOTS: u64 = 16 * 1024;

/// Prepared statements kept per connection; the crate has fewer than this many fixed texts plus common searches.
pub const STATEMENTS: usize = 256;

/// Closures that share one commit on PostgreSQL. Each has a savepoint, some have several; with more than 64 of them in one
/// transaction every reader of the server looks them up on disk.
pub const GROUP_SIZE_POSTGRESQL: usize = 32;

/// How long a transaction that has not begun waits for a database server that is just being restarted.
pub const RECONNECT: Duration = Duration::from_secs(10);

/// Pause between two attempts to connect.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How long the outcome of a commit during which the connection broke is asked for.
pub const RESOLVE: Duration = Duration::from_secs(20);

/// Time to connect to a database server, TLS and password included.
pub const CONNECT: Duration = Duration::from_secs(5);

/// How long one statement may run on the server.
pub const STATEMENT: Duration = Duration::from_secs(60);

/// How long a statement waits for a lock: for the groups of all other engines, each of which takes milliseconds.
pub const LOCK: Duration = Duration::from_secs(30);

/// How long a transaction may do nothing before the server ends it. An engine that hangs or was cut off must not keep the
/// others from writing for longer.
pub const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// How long sent bytes may stay unacknowledged before a connection counts as broken.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// How often an engine looks whether others that claimed work are gone.
pub const PRESENCE: Duration = Duration::from_secs(2);

/// Statements that are put off before they are sent, whether or not anybody waits.
pub const PUT_OFF: usize = 256;

/// Changes that a slow subscriber may lag behind before it is told that it missed some.
pub const CHANGES: usize = 4096;

/// Time to wait for a lock of the database file (taken by a backup tool, for example).
pub const BUSY: Duration = Duration::from_secs(10);

/// Time to wait for the lock file of a database that another engine is just giving up.
pub const LOCK_WAIT: Duration = Duration::from_millis(1500);

/// Bytes of a value kept in a search index or unique key; longer values are cut and completed by their digest. B-tree
/// rows of PostgreSQL hold less than 2704 bytes.
pub const INDEXED_BYTES: usize = 512;

/// Index entries of one resource. An Organization of the field has about ten; a Task that lists thousands of
/// identifiers must not write a row for each.
pub const INDEX_ENTRIES: usize = 2048;

/// Read-access rows of one version.
pub const GRANTS: usize = 1024;

/// Matches on one page of a search or history; a client that asks for more gets this many.
pub const PAGE: u32 = 1000;

/// Included resources of one page.
pub const INCLUDES: usize = 5000;

/// Bytes of all resources of one page with what is included, in their stored form. In memory they take several times as
/// much, and several readers may ask at one time. A page of one resource may be larger, up to [`RESOURCE_BYTES`].
pub const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a resource in its stored form.
pub const RESOURCE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of one chunk of Binary content.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// Chunks of given-up uploads that one transaction removes, so that the writer is free again after some milliseconds:
/// removed content is overwritten, which costs as much as writing it did.
pub const SWEPT_CHUNKS: u64 = 4;

/// How long the log waits for readers before it is erased; writers wait meanwhile. The keeper tries again.
pub const ERASE_WAIT: Duration = Duration::from_millis(200);

/// Pages that one transaction gives back to the file system, for the same reason.
pub const SHRUNK_PAGES: u32 = 2048;

/// Free bytes that the file of a database keeps for what is written next.
pub const KEPT_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Free bytes of the disk that Binary content must leave to everything else, or this part of a small disk. A database
/// that has filled its disk cannot even be told to remove something.
pub const RESERVED_DISK_BYTES: u64 = 256 * 1024 * 1024;

/// A disk keeps at least one byte of this many free of content.
pub const RESERVED_DISK_PART: u64 = 20;

/// Rows that one list call of the process side returns at most.
pub const ROWS: u32 = 10_000;

/// Bytes of the serialized state of a process instance.
pub const INSTANCE_BYTES: usize = 64 * 1024 * 1024;

/// The limits under which stored content is read back: what came in was bounded by the limits of requests, and a later,
/// stricter configuration must not make it unreadable.
pub(crate) const fn stored_content() -> fhir::Limits {
    fhir::Limits {
        bytes: RESOURCE_BYTES * 2,
        depth: 256,
        members: 64 << 20,
        object_members: 1 << 20,
        attributes: 1 << 20,
        string_bytes: RESOURCE_BYTES * 2,
    }
}
