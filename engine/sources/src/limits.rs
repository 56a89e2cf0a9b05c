//! Bounds of sources, each with its reason.

/// Bytes of one line of an NDJSON file. Attachments make lines long; a longer one is a file without line ends.
pub const LINE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a JSON file that holds a Bundle or one resource; it is read as a whole.
pub const JSON_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of input that one segment of the index covers, give or take a resource. The memory that indexing needs is a
/// small multiple of it.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Resources of one segment.
pub const SEGMENT_ROWS: usize = 250_000;

/// Bytes of a dictionary key: element, code systems and codes. Real ones stay below 400.
pub const KEY_BYTES: usize = 2_048;

/// Index entries that one resource makes. A resource with more is not clinical data.
pub const ENTRIES_PER_RESOURCE: usize = 20_000;

/// Bytes of a resource id (FHIR: 64; some servers use more).
pub const ID_BYTES: usize = 256;

/// Depth of folders below the source's folder.
pub const FOLDER_DEPTH: usize = 8;

/// Files of a source.
pub const FILES: usize = 2_000_000;

/// Problems that are told before the rest is only counted.
pub const PROBLEMS: usize = 20;

/// Bytes of dictionaries that are kept in memory.
pub const DICTIONARY_CACHE: u64 = 128 * 1024 * 1024;

/// Bytes of a cohort definition.
pub const DEFINITION_BYTES: usize = 4 * 1024 * 1024;

/// Criteria of a cohort definition, those of references included.
pub const CRITERIA: usize = 1_000;

/// Codes of one criterion after all lists.
pub const CODES_PER_CRITERION: usize = 20_000;

/// Bytes of a file with code trees; the public ones have 60 MB together.
pub const TREE_BYTES: u64 = 512 * 1024 * 1024;

/// Entries of a code tree.
pub const TREE_CODES: usize = 2_000_000;
