//! Bounds on what this crate reads, each with its reason.

/// The largest certificate or key file that is read. The complete bundle of a Linux distribution is 220 KiB.
pub const FILE_BYTES: usize = 4 * 1024 * 1024;

/// The largest single certificate. Certificates of the public CAs are 1 to 4 KiB; post-quantum keys stay below 32 KiB.
pub const CERTIFICATE_BYTES: usize = 64 * 1024;

/// Blocks in one file: above the number of roots that any public trust programme has.
pub const BLOCKS: usize = 1000;

/// Files in one trust directory.
pub const TRUST_FILES: usize = 1000;

/// Certificates that a client may send. DSF allows three CA certificates above the leaf; a few more are harmless
/// (some send the root, or two cross-signed paths), hundreds only cost signature checks.
pub const PRESENTED_CERTIFICATES: usize = 10;

/// CA certificates between a leaf and its trust anchor in a chain report.
pub const CHAIN_DEPTH: usize = 8;

/// Names of one kind (subject attributes, alternative names) that are kept of one certificate.
pub const NAMES: usize = 256;

/// Days before the end of validity from which an inspection warns.
pub const EXPIRY_NOTICE_DAYS: i64 = 60;

/// The largest file with a revocation list. The largest lists of public CAs have some 10 MiB.
pub const LIST_BYTES: usize = 32 * 1024 * 1024;

/// Entries of one revocation list; one entry has at least 30 bytes.
pub const LIST_ENTRIES: usize = 1_000_000;
