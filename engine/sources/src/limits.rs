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

/// Criteria times codes of a definition up to which it is looked for what implies what; a few seconds.
pub const COMPARED_CODES: usize = 20_000_000;

/// Bytes of a file with code trees; the public ones have 60 MB together.
pub const TREE_BYTES: u64 = 512 * 1024 * 1024;

/// Entries of a code tree.
pub const TREE_CODES: usize = 2_000_000;

/// Resources that a server may give for one criterion. A hospital with more names a code tree, so that the server selects.
pub const SERVER_RESOURCES: usize = 5_000_000;

/// Resources of one page of a server's answer.
pub const SERVER_PAGE: usize = 1_000;

/// Pages of one search: enough for all resources though a server gives fewer than asked for on a page.
pub const SERVER_PAGES: usize = 100_000;

/// Codes or ids that one search names.
pub const SEARCH_VALUES: usize = 100;

/// References above which a search by them costs more than reading the type.
pub const SEARCH_REFERENCES: usize = 2_000;

/// The whole evaluation of one question on one server, all its requests together.
pub const SERVER_TIME: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// Bytes of the file of a secret.
pub const SECRET_BYTES: u64 = 16 * 1024;

/// Bytes of a CQL library; a portal's has some kilobytes.
pub const CQL_BYTES: usize = 1024 * 1024;

/// How long an access token counts whose server does not say.
pub const TOKEN_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// Access tokens are renewed so long before they end, so that a request does not arrive too late.
pub const TOKEN_MARGIN: std::time::Duration = std::time::Duration::from_secs(30);
