//! Bounds of the listener for workers, each with its reason.

use std::time::Duration;

/// Connections at one time: some per worker of a large installation.
pub(super) const CONNECTIONS: usize = 1_024;

/// Requests that wait for tasks at one time.
pub(super) const WAITING: usize = 512;

/// Time for the TLS handshake.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a connection may be silent between requests; longer than the clients' own pauses.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(120);

/// Time for a body.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);

/// Largest request: its variables become part of the state of an instance.
pub(super) const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Largest head of a request.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

/// Shortest bearer token; 32 characters of a generator cannot be guessed.
pub(super) const TOKEN_BYTES: usize = 32;

/// Longest time that a request waits for tasks, whatever it asks for; the client then asks again.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Pause between two looks while tasks are there that the filters leave out.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Tasks that are handed out at once.
pub(super) const TASKS_AT_ONCE: u32 = 1_000;

/// Topics and filters of one request.
pub(super) const TOPICS: usize = 100;

/// Bytes of the name of a worker or topic.
pub(super) const NAME_BYTES: usize = 200;

/// Longest lock, and longest pause before an attempt.
pub(super) const LONGEST_LOCK: time::Duration = time::Duration::days(7);
