//! The DSF base resources that come with the program: the profiles, terminology, naming systems and subscriptions that
//! every node holds (`fhir-api` 4.5). The engine stores them at its start; the command line validates by them.

use crate::{Format, Limits, ParseError, Resource};

include!(concat!(env!("OUT_DIR"), "/dsf_base.rs"));

/// A shipped file cannot be read, which a test excludes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shipped resource {file}: {source}")]
pub struct BaseResourceError {
    /// Name of the file.
    pub file: &'static str,
    /// Cause.
    #[source]
    pub source: ParseError,
}

/// The files, as `Type/name.xml` and text, in the order in which they can be stored.
#[must_use]
pub const fn files() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// Reads every file.
pub fn resources() -> Result<Vec<Resource>, BaseResourceError> {
    let read = |(file, text): &(&'static str, &str)| {
        crate::parse(Format::Xml, text.as_bytes(), &Limits::default())
            .map_err(|source| BaseResourceError { file, source })
    };
    FILES.iter().map(read).collect()
}
