//! Bounds of sealing, each with its reason.

/// Bytes of plaintext in one chunk: the pieces in which the store keeps Binaries, and what a reader holds in memory.
pub const CHUNK: usize = 1 << 20;

/// Bytes that encryption adds to a chunk (the tag of AES-GCM).
pub const TAG: usize = 16;

/// Chunks of one payload, 1 TiB; far below what one key of AES-GCM may encrypt.
pub const CHUNKS: u64 = 1 << 20;

/// Private keys of a node: the one in use and those of which sealed payloads may still come.
pub const KEYS: usize = 16;

/// Bytes of a signed manifest with its certificate.
pub const MANIFEST: usize = 1 << 20;

/// Parts of a manifest.
pub const PARTS: usize = 10_000;

/// Characters of a text in a manifest or a binding.
pub const TEXT: usize = 512;
