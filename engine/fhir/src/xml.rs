//! FHIR XML: a strict, bounded reader into the tree, and a printer, both driven by [`crate::definitions`].
//!
//! XML does not say which elements repeat, which are numbers and which are primitive; the table does. The reader accepts
//! elements out of schema order (as the reference does) and puts them into schema order, the printer always prints in
//! schema order, so reading what was printed gives the same tree. Declarations of foreign namespaces and
//! `xsi:schemaLocation` are accepted and dropped, comments too. Document types, entities beyond XML's five, processing
//! instructions and encodings other than UTF-8 are hostile.

mod cursor;
mod escape;
mod narrative;
mod print;
mod read;
mod slots;

pub use narrative::is_well_formed as is_well_formed_narrative;

use crate::{Limits, ParseError, Resource};

/// The namespace of every FHIR element.
pub const FHIR_NAMESPACE: &str = "http://hl7.org/fhir";
/// The namespace of narratives.
pub const XHTML_NAMESPACE: &str = "http://www.w3.org/1999/xhtml";
const SCHEMA_INSTANCE_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Reads a resource.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Resource, ParseError> {
    read::resource(bytes, limits)
}

/// Writes a resource, without XML declaration as the reference does.
#[must_use]
pub fn print(resource: &Resource, pretty: bool) -> String {
    print::resource(resource, pretty)
}

#[cfg(test)]
mod tests;
