//! Extraction: which resources of which persons a project may have.
//!
//! ```text
//! Consents of a person ─ consent::Permission ─┬─ no gate today ─▶ the person is left out, with the reason for the statistics
//!                                             └─ windows ─▶ which resources, by their dates
//! CRTDL ─ crtdl::Definition ─▶ attribute groups: which resources, which elements, what must be there
//! source ─ extract::Extraction ─▶ the selected resources of one person after the other, and counts for who approves
//! ```
//!
//! Invariants: no Consent, an unreadable one, or one that does not hold today means no data; a resource without a date that
//! can be compared is left out; what a definition asks and nobody understands is an error. The crate does no I/O but
//! through its source, and knows no clock.

pub mod consent;
pub mod crtdl;
pub mod extract;
pub mod limits;

pub use consent::{ConsentPolicy, Excluded, Permission, Statistics};
pub use crtdl::{CrtdlError, Definition};
pub use extract::{ExtractError, Extraction, Report};

#[cfg(test)]
mod tests;
