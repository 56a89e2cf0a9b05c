//! FHIR R4 resources as ordered trees: the form that the gateway judges, the engine stores and both print.
//!
//! A resource is kept as the tree of its JSON representation ([`Value`]), with member order and the text of numbers
//! preserved, so that nothing is lost between what a partner sent and what another partner reads. XML is read into and
//! written from the same tree. The crate does no I/O and knows no clock: gateway and engine call the same functions on
//! the same bytes, which is what makes "the request that was judged is the request that is acted on" hold.
//!
//! | module | what it does |
//! |---|---|
//! | [`value`], [`resource`], [`resource_type`] | the tree |
//! | [`json`], [`xml`], [`mod@format`], [`limits`], [`error`] | reading, strict and bounded, and printing |
//! | [`definitions`] | what R4 says about every type: the compact tables that drive XML, references, validation |
//! | [`mod@reference`], [`canonical`], [`date`] | the parts of resources that have a meaning of their own |
//! | [`base`] | the DSF base resources that come with the program |
//! | [`search`] | parameters, queries, index entries, evaluation |
//! | [`snapshot`] | what a profile says in full, from its differential |
//! | [`validate`] | profiles |
//! | [`binary`] | Binaries whose content does not fit into memory |
//! | [`outcome`] | what a client is told |
//! | [`questionnaire`] | items and answers of user tasks |

pub mod base;
pub mod binary;
pub mod canonical;
pub mod date;
pub mod definitions;
mod element_path;
pub mod error;
pub mod format;
pub mod json;
pub mod limits;
pub mod outcome;
pub mod questionnaire;
pub mod reference;
pub mod resource;
pub mod resource_type;
pub mod search;
pub mod snapshot;
pub mod validate;
pub mod value;
pub mod xml;

#[cfg(test)]
mod samples;
mod text;

pub use canonical::Canonical;
pub use error::ParseError;
pub use format::{Format, parse, print};
pub use limits::Limits;
pub use resource::Resource;
pub use resource_type::ResourceType;
pub use value::{Number, Object, Value};
