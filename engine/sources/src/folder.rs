//! A folder of NDJSON and Bundle files, indexed in column files that are read by position.
//!
//! ```text
//! scan ─▶ files ─▶ build ─▶ extract ─▶ segment::Builder ─▶ segments ─▶ join ─▶ generation ─▶ manifest.json
//!                                                                                   Index::open ─▶ evaluate, records
//! ```
//!
//! A *segment* covers a bounded part of the input: rows (one a resource, ordered by person), and for every code,
//! quantity, date and reference of an element the rows that have it. Segments know nothing of each other and stay as
//! long as their files do. The *generation* joins them: numbers of persons over all segments, and the rows that a later
//! copy of the same resource replaces. `manifest.json` names both and is replaced atomically, so a crash leaves the index
//! before. NDJSON is read in place; Bundles are copied line by line, with references between their entries resolved.
//!
//! The index holds data of patients: its folder and files are for the owner alone.

mod build;
mod bundle;
mod evaluate;
pub(crate) mod extract;
mod index;
mod join;
pub(crate) mod key;
mod manifest;
pub(crate) mod reading;
mod scan;
mod segment;
mod set;
mod source;
mod statistics;

pub use build::{Built, Progress, State, build, state};
pub use index::Index;
pub use scan::{Scan, scan};
pub use set::PersonSet;
pub use source::FolderSource;
pub use statistics::{CodeCount, Statistics, TypeCount};

#[cfg(test)]
pub(crate) mod tests;
