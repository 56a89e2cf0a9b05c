//! Tests of pseudonyms, shifts and what leaves a site.

mod elements;
mod nothing_is_left;
mod pseudonyms;
mod shifts;

use fhir::{Format, Limits, Resource};
use secrets::Key;

use crate::{DateShift, Deidentified, Deidentifier, Pseudonyms, Refused, Rules};

pub(super) fn key(seed: u8) -> Key {
    let bytes: Vec<u8> = (0..32).map(|place: u8| place.wrapping_mul(7).wrapping_add(seed)).collect();
    Key::new(&bytes).unwrap()
}

pub(super) fn names(seed: u8) -> Pseudonyms {
    Pseudonyms::new(&key(seed), "project-1")
}

pub(super) fn shift() -> DateShift {
    DateShift::from_days(-70).unwrap()
}

pub(super) fn resource(json: &str) -> Resource {
    fhir::parse(Format::Json, json.as_bytes(), &Limits::default()).unwrap()
}

pub(super) fn deidentify(json: &str) -> Result<Deidentified, Refused> {
    Deidentifier::new(&Rules::default(), &names(1)).deidentify(&resource(json), shift())
}

/// The result as JSON text.
pub(super) fn shared(json: &str) -> String {
    fhir::json::print(&deidentify(json).unwrap().resource, false)
}
