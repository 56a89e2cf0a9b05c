//! The limits of what is read, in one place with their reasons.
//!
//! They protect memory and processor time of gateway and engine against a body that is small to send and dear to read.
//! A caller may narrow them (the gateway does, from its policy); exceeding one is [`crate::ParseError::Hostile`].

/// How large a body may be in every direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole body.
    pub bytes: usize,
    /// Levels of objects in objects (elements with content in XML); JSON may have an array around each.
    pub depth: usize,
    /// Members and array elements (JSON), elements and attributes (XML) of the whole body.
    pub members: usize,
    /// Members of one object.
    pub object_members: usize,
    /// Attributes of one element (XML).
    pub attributes: usize,
    /// Bytes of one string, number or attribute, after unescaping.
    pub string_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A FHIR Binary with more than 20 million base64 characters must pass (`fhir-api.md` 1.9).
            bytes: 64 << 20,
            // The deepest published resources (nested Questionnaire items in a Bundle) stay below 30.
            depth: 64,
            // A Bundle of 2 000 laboratory observations has about 200 000; each costs about 100 bytes of memory.
            members: 1_000_000,
            // The widest R4 type (ElementDefinition with its choices) has fewer than 300 names, doubled by `_name`.
            object_members: 1_000,
            // FHIR elements have three; a narrative has a handful. Looking for duplicates takes the square of it.
            attributes: 64,
            string_bytes: 64 << 20,
        }
    }
}

/// The longest number text: a decimal of 18 significant digits is all that FHIR asks for, longer ones are kept.
pub const NUMBER_BYTES: usize = 256;

/// The longest member name; the longest name in R4 has 45 bytes.
pub const NAME_BYTES: usize = 128;

/// The longest query string that is taken apart (the gateway refuses earlier).
pub const QUERY_BYTES: usize = 64 << 10;

/// The most parameters in one query string.
pub const QUERY_PARAMETERS: usize = 200;

/// The most sort keys in one query.
pub const SORT_KEYS: usize = 16;
