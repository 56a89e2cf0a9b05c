//! Record linkage without names: finds which persons of different sites are the same, from keyed Bloom filters.
//!
//! ```text
//! site:   Person ─ normalize ─ tokens ─ Encoder (project key) ─▶ Filter ── to the trusted third party
//! there:  Filters ─ compare (full, or blocked for long lists) ─▶ Pair ─ matching ─▶ clusters: one person each
//! ```
//!
//! Who holds filters never holds the key, and who holds the key never holds the filters of others; without the key a
//! filter can be neither made nor tested for a name. The construction avoids what published attacks on Bloom filters
//! rest on: every field has a key of its own, positions come from a pseudo-random function instead of double hashing,
//! the bits of all fields are shuffled together, and the hardened set folds the filter and flips bits of it.
//!
//! Invariants: the crate does no I/O and knows no clock; equal inputs give equal filters, pairs and clusters in every
//! run and with any number of threads; memory is bounded by the lists that are handed in ([`limits`]).

pub mod blocking;
pub mod compare;
pub mod encode;
pub mod filter;
pub mod limits;
pub mod matching;
pub mod normalize;
pub mod parameters;
pub mod person;

pub use compare::{CompareError, Effort, Pair, compare};
pub use encode::{Encoder, NotLinkable};
pub use filter::{Filter, FilterError, Filters};
pub use matching::{Cluster, Member, clusters, duplicates, one_to_one};
pub use parameters::{ParameterSet, Similarity};
pub use person::{Field, Person};

#[cfg(test)]
mod tests;
