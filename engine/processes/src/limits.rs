//! Bounds of process execution, each with its reason.

use std::time::Duration;

/// Commands that one transaction may run. A process that needs more without a wait state is a loop.
pub const COMMANDS_PER_TRANSACTION: usize = 20_000;

/// Bytes of a business key, correlation key or message name, which partners choose and indexes hold.
pub const KEY_BYTES: usize = 512;

/// Messages that wait for one business key. A receiver that waits later takes one for each of its subscriptions; more
/// than the targets of a large process do not arrive before it waits.
pub const INBOX_PER_KEY: usize = 2_000;

/// How long a message waits for its receiver. The receiver opens its subscription in the transaction that records the
/// delivery of its own message, milliseconds later; a minute covers a restart of the node in between.
pub const INBOX_TIME: time::Duration = time::Duration::seconds(60);

/// Jobs and messages that a worker claims at once.
pub const CLAIM: u32 = 64;

/// Messages that are sent at the same time.
pub const SENDING: usize = 32;

/// How long one attempt to send may last, whatever the messenger does (connect 5 s, answer 60 s).
pub const DELIVERY_TIME: Duration = Duration::from_secs(120);

/// How long a claim holds; longer than the longest attempt to send.
pub const CLAIM_TIME: time::Duration = time::Duration::minutes(5);

/// Attempts to deliver a message while its failure may pass. The reference tries once; a partner whose gateway is being
/// restarted is back within a second.
pub const DELIVERY_ATTEMPTS: u32 = 3;

/// Pauses before the second and third attempt.
pub const DELIVERY_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Attempts to run a job whose transaction fails for a reason that may pass (Camunda: three).
pub const JOB_ATTEMPTS: u32 = 3;

/// Pause before a job is tried again.
pub const JOB_PAUSE: time::Duration = time::Duration::seconds(1);

/// A worker looks at least this often, should a wake-up be lost.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A worker that found something due but could not claim it looks again after this time.
pub const CLAIM_PAUSE: Duration = Duration::from_millis(200);

/// How long an ended instance and its events are kept unless its model says otherwise (`historyTimeToLive`; DSF adds
/// `P30D` where it is missing).
pub const RETENTION: time::Duration = time::Duration::days(30);

/// How often ended instances are looked through.
pub const RETENTION_PAUSE: Duration = Duration::from_secs(3600);

/// Ended instances that one transaction removes with all their events; other writers wait that long.
pub const REMOVED_AT_ONCE: usize = 10;

/// Instances or Tasks that one transaction of a background worker looks at.
pub const BATCH: u32 = 200;

/// Attempts to take over one Task at the start, one second apart, while the database fails.
pub const TAKEOVER_ATTEMPTS: u32 = 60;

/// Characters of an error text that go into a Task.
pub const ERROR_TEXT: usize = 1_000;

/// Targets of one process instance.
pub const TARGETS: usize = 10_000;
