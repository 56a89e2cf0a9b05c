//! `schleuse fhir convert` and `schleuse fhir validate`: the reader, printer and validator of the node on files.

mod convert;
mod sources;
mod validate;

pub(super) use convert::run as convert;
pub(super) use validate::run as validate;
