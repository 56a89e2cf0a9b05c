//! Which characters a resource can hold.

/// Whether FHIR strings may hold the character: XML 1.0 characters, which leaves out control characters except tab,
/// line feed and carriage return.
#[must_use]
pub(crate) const fn is_fhir_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// The bytes as UTF-8 text, or where they stop to be. UTF-16 and UTF-32 of plain ASCII are UTF-8 with NULs; neither form of
/// FHIR begins with one.
pub(crate) fn utf_8(bytes: &[u8]) -> Result<&str, usize> {
    match bytes.iter().take(4).position(|byte| *byte == 0) {
        Some(offset) => Err(offset),
        None => std::str::from_utf8(bytes).map_err(|error| error.valid_up_to()),
    }
}
