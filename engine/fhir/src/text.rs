//! Which characters a resource can hold.

/// Whether FHIR strings may hold the character: XML 1.0 characters, which leaves out control characters except tab,
/// line feed and carriage return.
#[must_use]
pub(crate) const fn is_fhir_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}
