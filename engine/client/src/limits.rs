//! Bounds of outgoing calls, each with its reason.

use std::time::Duration;

/// The largest answer that is kept in memory. The largest Bundle of an allow-list is below 10 MiB.
pub const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The largest error answer that is read for its OperationOutcome.
pub const ERROR_BYTES: usize = 64 * 1024;

/// Characters of an OperationOutcome that go into an error text, a Task output and a log line.
pub const OUTCOME_CHARACTERS: usize = 1000;

/// The whole time of one answer, so that a partner who sends a byte a minute does not hold a slot for ever.
pub const ANSWER_TIME: Duration = Duration::from_secs(15 * 60);

/// Header fields of an answer. DSF sends about fifteen.
pub const ANSWER_HEADERS: usize = 100;

/// The head of a proxy's answer to CONNECT.
pub const PROXY_HEAD_BYTES: usize = 16 * 1024;

/// Addresses of one name that are tried. More only costs time.
pub const ADDRESSES: usize = 8;

/// The head start of one address before the next is tried beside it (RFC 8305 section 5).
pub const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How long an idle connection is kept. Firewalls of hospitals forget connections after some minutes.
pub const IDLE_TIME: Duration = Duration::from_secs(60);

/// Idle connections per partner.
pub const IDLE_CONNECTIONS: usize = 8;

/// Pages of one search that are followed.
pub const SEARCH_PAGES: usize = 1000;

/// The wait before a repetition that DSF's client uses when nothing else is said.
pub const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The longest wait that a partner can ask for with `Retry-After`.
pub const RETRY_DELAY_MAXIMUM: Duration = Duration::from_secs(15 * 60);

/// A password file. Anything longer is not a password.
pub const PASSWORD_BYTES: u64 = 4096;

/// A base URL.
pub const URL_BYTES: usize = 2048;

/// How often an HTTP/2 connection with an open request is asked whether it lives, and how long the answer may take. A
/// connection that a firewall forgot would otherwise be handed to every further call. Both together, with two attempts on
/// new connections after them (5 s each), stay below the 20 s that a ping waits: a site that vanished is reported in time.
pub const PING_INTERVAL: Duration = Duration::from_secs(4);

/// See [`PING_INTERVAL`].
pub const PING_TIMEOUT: Duration = Duration::from_secs(4);
