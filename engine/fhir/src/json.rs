//! FHIR JSON: a strict, bounded reader and a printer for the tree.
//!
//! The reader takes RFC 8259 and nothing more: no byte order mark, no comments, no `NaN`, no lone surrogates, no
//! duplicate members, no text after the value. Characters that XML 1.0 cannot carry are refused too, because FHIR
//! forbids them in strings and every resource must be printable in both formats. Numbers keep their text.

mod print;
mod read;

use crate::{Limits, Object, ParseError, Resource, Value};

/// Reads any JSON value.
pub fn parse_value(bytes: &[u8], limits: &Limits) -> Result<Value, ParseError> {
    read::value(bytes, limits)
}

/// Reads a resource: an object with `resourceType`.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Resource, ParseError> {
    match read::value(bytes, limits)? {
        Value::Object(tree) => {
            Resource::from_tree(tree).map_err(|error| ParseError::structure(error.to_string(), bytes, 0))
        }
        _ => Err(ParseError::structure("a resource is an object", bytes, 0)),
    }
}

/// Writes any value.
#[must_use]
pub fn print_value(value: &Value, pretty: bool) -> String {
    let mut out = String::new();
    print::value(&mut out, value, pretty);
    out
}

/// Writes a resource.
#[must_use]
pub fn print(resource: &Resource, pretty: bool) -> String {
    print_object(resource.tree(), pretty)
}

/// Writes an object.
#[must_use]
pub fn print_object(object: &Object, pretty: bool) -> String {
    let mut out = String::with_capacity(1024);
    print::object(&mut out, object, pretty);
    out
}

#[cfg(test)]
mod tests;
