//! Keys of a segment's dictionary: what an entry is about, as one string that sorts by kind, element, codes.
//!
//! The last part of a code entry is the code, so that everything below a code of a classification is one range.

use sha2::{Digest as _, Sha256};

/// Separates the parts; no FHIR string has it.
const SEPARATOR: char = '\u{1f}';

/// Stands for the code system of elements of type `code`, whose system follows from the element.
pub(crate) const BOUND: &str = "=";

/// Identity of a resource, `Type/id`, in 16 bytes.
pub(crate) type ResourceKey = [u8; 16];

fn join(parts: &[&str]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.push(SEPARATOR);
        }
        key.push_str(part);
    }
    key
}

/// Every row of a type.
pub(crate) fn of_type(resource_type: &str) -> String {
    join(&["A", resource_type])
}

/// Rows by code.
pub(crate) fn code(element: &str, system: &str, code: &str) -> String {
    join(&["C", element, system, code])
}

/// What the keys of all codes of an element begin with.
pub(crate) fn codes_of(element: &str) -> String {
    join(&["C", element, ""])
}

/// Rows by code beside another code.
pub(crate) fn code_of(element: &str, group: (&str, &str), system: &str, code: &str) -> String {
    join(&["G", element, group.0, group.1, system, code])
}

/// Quantities.
pub(crate) fn quantity(element: &str, unit: &str) -> String {
    join(&["Q", element, unit])
}

/// Quantities beside a code.
pub(crate) fn quantity_of(element: &str, group: (&str, &str), unit: &str) -> String {
    join(&["V", element, unit, group.0, group.1])
}

/// Intervals of days.
pub(crate) fn days(element: &str) -> String {
    join(&["D", element])
}

/// References.
pub(crate) fn reference(element: &str) -> String {
    join(&["R", element])
}

/// Kind, element and further parts of any key.
pub(crate) fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split(SEPARATOR)
}

/// Parts of a code entry, as [`code`] makes them.
pub(crate) fn parts_of_code(key: &str) -> Option<(&str, &str, &str)> {
    let mut parts = key.split(SEPARATOR);
    let found = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (found.0 == "C" && parts.next().is_none()).then_some((found.1, found.2, found.3))
}

/// The type of an entry that [`of_type`] made.
pub(crate) fn type_of(key: &str) -> Option<&str> {
    key.strip_prefix('A')?.strip_prefix(SEPARATOR)
}

/// Identity of a resource.
pub(crate) fn resource(reference: &str) -> ResourceKey {
    let digest = Sha256::digest(reference.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(digest.split_at(16).0);
    key
}
