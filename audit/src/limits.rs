//! Bounds of the audit log.

/// Size at which a file is closed and the next one begun. About 100 000 records: small enough to read with ordinary
/// tools and to ship as one piece.
pub const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Longest line. The gateway's records are under 2 KiB; the rest is room for the engine's reasons.
pub const LINE_BYTES: usize = 64 * 1024;

/// Longest chain of rotated files that a verification follows.
pub const FILES: u32 = 999_999;
