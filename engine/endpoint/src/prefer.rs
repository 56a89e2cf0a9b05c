//! The header `Prefer` (RFC 7240, FHIR R4 section 3.1.0.2).
//!
//! The reference compares the first header value as a whole, so that a client cannot ask for `return` and `handling`
//! together (`fhir-api` 1.4, a quirk). Here every preference of every value counts; the first of a name wins.

use http::header::HeaderMap;

/// What a client prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// What a write is answered with.
    pub(crate) returns: Return,
    /// Search parameters that cannot be used are an error instead of a warning.
    pub(crate) strict: bool,
}

/// `return=`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Return {
    /// The stored resource.
    #[default]
    Representation,
    /// Headers only.
    Minimal,
    /// An OperationOutcome that names the location.
    OperationOutcome,
}

impl Prefer {
    /// Reads all `Prefer` headers; what is not known is ignored.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut returns = None;
        let mut handling = None;
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split([',', ';'])).map(str::trim) {
            let Some((name, value)) = preference.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match (name.trim(), value) {
                ("return", "representation") => returns = returns.or(Some(Return::Representation)),
                ("return", "minimal") => returns = returns.or(Some(Return::Minimal)),
                ("return", "OperationOutcome") => returns = returns.or(Some(Return::OperationOutcome)),
                ("handling", "strict") => handling = handling.or(Some(true)),
                ("handling", "lenient") => handling = handling.or(Some(false)),
                _ => {}
            }
        }
        Self { returns: returns.unwrap_or_default(), strict: handling.unwrap_or(false) }
    }
}

#[cfg(test)]
mod tests;
