//! A segment: the column file of a part of the input.
//!
//! Arrays of little-endian numbers, one after the other; a table at the end says where each begins. Everything is read
//! by position, so that a query touches the dictionary, the entries that it asks for, and one column of persons.

mod layout;
mod read;
mod write;

pub(crate) use layout::{NOBODY, Section, key_at, u32_at};
pub(crate) use read::{ColumnFile, Dictionaries, Dictionary, Location, Segment};
pub(crate) use write::{Builder, ColumnWriter, Place};
