//! One kind of failure: what was being done, and what went wrong. A benchmark that fails is read by a person.

use std::fmt::Display;

/// Why a benchmark ended early.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

pub(crate) type Outcome<T> = Result<T, Failure>;

/// Adds what was being done.
pub(crate) trait During<T> {
    fn during(self, what: impl Into<String>) -> Outcome<T>;
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{}: {error}", what.into())))
    }
}

impl<T> During<T> for Option<T> {
    fn during(self, what: impl Into<String>) -> Outcome<T> {
        self.ok_or_else(|| Failure(format!("{}: nothing there", what.into())))
    }
}
