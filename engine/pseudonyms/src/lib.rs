//! Pseudonyms: resources leave a hospital without what says who somebody is.
//!
//! ```text
//! source resource ─ Deidentifier (project rules, site key, shift of the person) ─▶ resource with transfer ids
//! at the data management site: transfer id ─ rename ─▶ project pseudonym, which the trusted third party chose
//! ```
//!
//! What stays is listed, everything else goes: elements that the definitions of R4 do not know, types that may hold free
//! text or contact data, extensions and code systems that are not on the project's list. A resource whose meaning would
//! change by leaving something out is refused as a whole.
//!
//! Invariants: the crate does no I/O and knows no clock; the same key, rules and resource give the same result, so work
//! that is done again after a crash gives the same pseudonyms; errors and counts name places in the definitions, never
//! content.

pub mod date_shift;
pub mod deidentify;
pub mod limits;
pub mod pseudonym;
pub mod rename;
pub mod rules;
pub mod table;

pub use date_shift::{DateShift, ShiftMode};
pub use deidentify::{Deidentified, Deidentifier, Dropped, Refused};
pub use pseudonym::{Pseudonym, Pseudonyms};
pub use rename::{RenameError, rename};
pub use rules::Rules;
pub use table::{PseudonymTable, Reserved, TableError, TablePseudonyms};

#[cfg(test)]
mod tests;
