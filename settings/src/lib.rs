//! Reading of TOML files that people edit: every finding at once, each with file, line, key, text and remedy.
//!
//! `node.toml` and the policy files go through this one reader. It walks the parsed document and takes each key once
//! ([`Section::string`], [`Section::duration`], ...); what was not taken when a section is [`Section::finish`]ed is an
//! unknown key and an error, with the nearest known name as remedy. The caller builds its typed value and may use it only
//! if [`Reader::has_errors`] says no: a file in doubt is refused as a whole.

mod finding;
mod reader;
mod unit;

pub use finding::{Finding, Severity};
pub use reader::{Document, Item, Reader, Section};
pub use unit::{parse_duration, parse_size};
