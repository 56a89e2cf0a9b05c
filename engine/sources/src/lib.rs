//! Data sources of a data integration centre: who matches a cohort definition, and the records of these persons.
//!
//! ```text
//! folder of NDJSON and Bundles ─▶ folder::build ─▶ segments (column files) ─▶ folder::Index ─┬▶ Source: a count
//!                                                                               ▲            └▶ Records: extraction
//! cohort definition (CCDL) ─▶ ccdl::Definition ─▶ mapping::Mapping ─▶ plan::Plan ──┤
//!                                                      server::FhirServer (search) ◀┘   server::{CqlServer, FlareServer}
//! ```
//!
//! Invariants:
//! - A count is exact here; obfuscation is the business of the process that publishes it.
//! - What a definition asks and the mapping does not know is an error, never a zero.
//! - A folder that cannot be read in full has no index: a count of a part would look like a count of the whole. The
//!   index that was there stays in force.
//! - Memory is bounded by one segment of the index, whatever the size of the folder.

mod canonical;
pub mod ccdl;
pub mod configured;
pub mod date;
pub mod error;
pub mod folder;
mod json;
pub mod limits;
pub mod mapping;
pub mod plan;
pub mod privacy;
pub mod records;
pub mod server;
pub mod source;

pub use error::{IndexError, QueryError, ReadError, SourceError};
pub use records::{PersonId, Record, Records, Selection};
pub use source::{Cql, Language, Question, Source, count_all};
