//! The two wire formats, and one entrance to reading and writing them.

use crate::{Limits, ParseError, Resource, json, xml};

/// A wire format of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// FHIR XML.
    Xml,
    /// FHIR JSON.
    Json,
}

impl Format {
    /// The format that a media type names, parameters ignored; `None` for anything but the accepted six and `text/xml`
    /// (`fhir-api.md` 1.3).
    #[must_use]
    pub fn of_media_type(text: &str) -> Option<Self> {
        let name = text.split(';').next().unwrap_or_default().trim();
        let is = |candidates: &[&str]| candidates.iter().any(|candidate| name.eq_ignore_ascii_case(candidate));
        if is(&["application/fhir+json", "application/json+fhir", "application/json"]) {
            Some(Self::Json)
        } else if is(&["application/fhir+xml", "application/xml+fhir", "application/xml", "text/xml"]) {
            Some(Self::Xml)
        } else {
            None
        }
    }

    /// The media type of R4.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Xml => "application/fhir+xml",
            Self::Json => "application/fhir+json",
        }
    }
}

/// Reads one resource; the whole of `bytes` must be it.
pub fn parse(format: Format, bytes: &[u8], limits: &Limits) -> Result<Resource, ParseError> {
    match format {
        Format::Xml => xml::parse(bytes, limits),
        Format::Json => json::parse(bytes, limits),
    }
}

/// Writes a resource.
#[must_use]
pub fn print(format: Format, resource: &Resource, pretty: bool) -> String {
    match format {
        Format::Xml => xml::print(resource, pretty),
        Format::Json => json::print(resource, pretty),
    }
}
