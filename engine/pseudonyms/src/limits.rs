//! Bounds of pseudonymisation, each with its reason.

/// Random pseudonyms that are tried before a table counts as full. With 80 bits even a table of a billion persons never
/// needs a second.
pub const ATTEMPTS: usize = 8;

/// Characters of a code. The longest in use (post-coordinated SNOMED CT) stay below; longer text is no code.
pub const CODE_CHARACTERS: usize = 128;

/// Characters of a canonical or of the URL of a code system.
pub const URL_CHARACTERS: usize = 256;

/// Weeks of the smallest shift. Less would leave a date that is known to the month in its month.
pub const LEAST_WEEKS: i32 = 4;

/// Weeks of the largest shift: half a year keeps seasons and ages about right.
pub const MOST_WEEKS: i32 = 26;
