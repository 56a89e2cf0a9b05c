//! Bounds of extraction, each with its reason.

/// Consents of one person. Broad consent is given a few times in a life; more are a mistake of the source.
pub const CONSENTS: usize = 200;

/// Provisions of one Consent, on all levels.
pub const PROVISIONS: usize = 2_000;

/// Levels of provisions in provisions (the profile has two).
pub const PROVISION_DEPTH: usize = 8;

/// Bytes of an extraction definition.
pub const DEFINITION: usize = 4 << 20;

/// Attribute groups of a definition.
pub const GROUPS: usize = 500;

/// Attributes of a group.
pub const ATTRIBUTES: usize = 1_000;

/// Codes of a filter; value sets come expanded.
pub const CODES: usize = 100_000;

/// Characters of a text in a definition.
pub const TEXT: usize = 1_000;
