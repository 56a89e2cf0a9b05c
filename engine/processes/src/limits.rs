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

/// Jobs that run at the same time; twice what is claimed at once, so that the writer has some while others are claimed. What
/// else wants to write waits behind so many at most.
pub const JOBS_RUNNING: usize = 2 * CLAIM as usize;

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

/// Long steps that are worked on at the same time. Each waits for the network most of the time; their results share the
/// writer with everything else.
pub const WORKING: usize = 16;

/// How long a claim of work holds unless it is renewed. What another engine takes over after a crash waits this long.
pub const WORK_LEASE: time::Duration = time::Duration::seconds(60);

/// How often a claim is renewed: twice may fail before it is lost.
pub const WORK_RENEWAL: Duration = Duration::from_secs(20);

/// Attempts at work whose model has no retry cycle.
pub const WORK_ATTEMPTS: u32 = 6;

/// Seconds before each further attempt without a retry cycle; the last repeats. A partner or server that is restarted is
/// back after the first, a short outage is over after the last.
pub const WORK_PAUSES: [u64; 5] = [2, 10, 30, 120, 600];

/// How often the same work may be begun. Work that takes its engine down with it each time ends here.
pub const WORK_STARTS: u32 = 100;

/// How long work that nobody wants any more, or whose engine stops, may go on before it is cut off.
pub const WORK_GRACE: Duration = Duration::from_secs(5);

/// Bytes of the input or result of work, as JSON. What is larger belongs into a Binary.
pub const WORK_BYTES: usize = 4 * 1024 * 1024;

/// Attempts to record a result while the database fails, a second apart; then the work is done again.
pub const RECORD_ATTEMPTS: u32 = 30;

/// Characters of what work says about its progress.
pub const PROGRESS_TEXT: usize = 500;

/// Bytes of content that work buffers before it stores them.
pub const CONTENT_CHUNK: usize = store::limits::CHUNK_BYTES;

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

/// Replaced versions of resources that one transaction looks at.
pub const REMOVED_VERSIONS: u32 = 100;

/// Characters of the details of an external task's failure (stack traces).
pub const ERROR_DETAILS: usize = 32 * 1024;

/// Bytes of the states of the instances whose external tasks one request is handed, from which on it gets no more: the
/// variables of each are copied into the answer.
pub const FETCHED_BYTES: u64 = 16 * 1024 * 1024;

/// Packages in the folder of plug-ins.
pub const PACKAGES: usize = 200;

/// Files of a package. The largest known jar has a thousand, most of them classes.
pub const PLUGIN_FILES: usize = 20_000;

/// Folders within each other in a package.
pub const PLUGIN_DEPTH: usize = 16;

/// Bytes of one file of a package.
pub const PLUGIN_FILE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of all files of a package, and of a jar.
pub const PLUGIN_BYTES: usize = 128 * 1024 * 1024;

/// Bytes of an answer to a user task, which becomes a variable of its instance.
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Events of a log that are read at once.
pub const LOG_PAGE: u32 = 1_000;

/// Instances or Tasks that one transaction of a background worker looks at.
pub const BATCH: u32 = 200;

/// Attempts to take over one Task at the start, one second apart, while the database fails.
pub const TAKEOVER_ATTEMPTS: u32 = 60;

/// Characters of an error text that go into a Task.
pub const ERROR_TEXT: usize = 1_000;

/// Resources of a published allow-list: the entries that receivers take in one Bundle.
pub const LIST_ENTRIES: usize = 2_000;

/// Targets of one process instance.
pub const TARGETS: usize = 10_000;
