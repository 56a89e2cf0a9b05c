//! Bounds of everything that comes from a disk, a credential or another program.

use std::time::Duration;

/// Longest file of the configuration: a policy or a chain of certificates is a few kilobytes, an initial Bundle of a
/// consortium some hundreds.
pub(crate) const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Most files of one folder of the configuration.
pub(crate) const FILES: usize = 64;
/// Smallest data disk: the database of a small node and its audit records need this much.
pub(crate) const DATA_DISK_BYTES: u64 = 512 * 1024 * 1024;
/// How much of a disk must be zero at its beginning and end before it is called blank: tables of partitions, and the
/// headers of file systems, encryption and volume managers.
pub(crate) const BLANK_BYTES: u64 = 4 * 1024 * 1024;
/// Begin of an encrypted disk in which its keys are described (LUKS2: two areas of 16 KiB, at most 4 MiB each).
pub(crate) const HEADER_BYTES: u64 = 8 * 1024 * 1024;
/// Longest time that devices may take to appear.
pub(crate) const DEVICES: Duration = Duration::from_secs(20);
/// Longest run of a program that this one starts. Making a file system on a slow disk takes longest.
pub(crate) const PROGRAM: Duration = Duration::from_secs(180);
/// Longest text of a problem, and of what a program says; the console is a screen.
pub(crate) const TEXT_BYTES: usize = 4096;
/// How many lines of what a program said before it ended are shown.
pub(crate) const LAST_WORDS: usize = 12;
/// How often the console looks.
pub(crate) const CONSOLE_PERIOD: Duration = Duration::from_secs(3);
/// Longest answer of the node's readiness.
pub(crate) const READY_BYTES: u64 = 64 * 1024;
/// Longest time for that answer.
pub(crate) const READY: Duration = Duration::from_secs(3);
/// Longest manifest or signature of an update: both are a few lines.
pub(crate) const MANIFEST_BYTES: u64 = 16 * 1024;
/// Longest file of a system: the disk has room for two of this size beside what else is on it.
pub(crate) const SYSTEM_BYTES: u64 = 112 * 1024 * 1024;
/// What is copied at a time.
pub(crate) const COPY_BYTES: usize = 1024 * 1024;
/// Time that an updated system has to become ready: starting, and taking stored data over to its own form.
pub(crate) const TRIAL_TIME: Duration = Duration::from_secs(15 * 60);
/// How long it must then stay ready before it is kept.
pub(crate) const TRIAL_READY: Duration = Duration::from_secs(15);
/// How long it may be that the node was not started: `provision` has ended before the trial begins.
pub(crate) const TRIAL_OFF: Duration = Duration::from_secs(10);
