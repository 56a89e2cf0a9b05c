//! The bounds of this crate, each with its reason.
//!
//! They hold whatever a policy says: a policy can ask for less, never for more.

/// Longest request target in bytes. Apache httpd in DSF's configuration accepts 8190 bytes per line; a longer target is
/// answered with 414 (`edge_t35`).
pub const TARGET_BYTES: usize = 8190;

/// Most parameters in one query. DSF's own clients send fewer than ten; 256 keeps the work per request small.
pub const QUERY_PARAMETERS: usize = 256;

/// Longest text of an identifier (organisation, endpoint, practitioner) in bytes.
pub const IDENTIFIER_BYTES: usize = 512;

/// Longest id of a resource in characters (FHIR R4 section 2.24.0.1, type `id`).
pub const RESOURCE_ID_CHARACTERS: usize = 64;

/// Most entries of a Bundle that are judged, if the policy says nothing (`[limits.query] bundle-entries`).
pub const BUNDLE_ENTRIES: usize = 2000;

/// Most `[[rule]]` tables. Rules are numbered with 16 bits; hospitals write tens.
pub const RULES: usize = 4096;

/// Largest body that is judged, and so held in memory, in bytes; content of a Binary streams through and may be larger.
pub const JUDGED_BODY_BYTES: u64 = 64 << 20;

/// Longest policy file in bytes; a policy is written by hand.
pub const POLICY_FILE_BYTES: usize = 1024 * 1024;

/// Most findings that are collected before reading stops; nobody reads more at once.
pub const FINDINGS: usize = 500;

/// Most characters of a foreign text that stand in a message.
pub const QUOTED_CHARACTERS: usize = 120;
