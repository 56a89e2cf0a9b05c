//! Bounds of what crosses the process border.

/// Longest permit header. An identity with dozens of roles takes 2 KiB; the gateway's own header budget is 32 KiB.
pub const PERMIT_BYTES: usize = 16 * 1024;

/// Largest frame: 20 000 organisations with endpoints and two thumbprints each are about 20 MiB of JSON.
pub const FRAME_BYTES: usize = 64 * 1024 * 1024;
