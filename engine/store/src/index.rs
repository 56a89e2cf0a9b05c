//! Writing the search indexes of a resource.
//!
//! The entries come from `fhir::search::extract`, the same table that parses queries; this module only spreads them over
//! the tables by kind. A resource is indexed in its current version alone.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{StoreError, Transaction, limits};

const TABLES: &[&str] = &[
    "DELETE FROM token_index WHERE rid = ?1",
    "DELETE FROM string_index WHERE rid = ?1",
    "DELETE FROM uri_index WHERE rid = ?1",
    "DELETE FROM date_index WHERE rid = ?1",
    "DELETE FROM reference_index WHERE rid = ?1",
];

impl Transaction<'_> {
    pub(crate) fn remove_index(&mut self, rid: i64) -> Result<(), StoreError> {
        for sql in TABLES {
            self.execute(sql, &[rid.into()])?;
        }
        Ok(())
    }
}

/// A value as it stands in an index: itself, or its beginning and its digest if it is long. Equal values give equal
/// texts and different values different ones; a search by prefix finds long values by up to the bytes that are kept.
pub(crate) fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= limits::INDEXED_BYTES {
        return Cow::Borrowed(value);
    }
    let kept = value.get(..value.floor_char_boundary(limits::INDEXED_BYTES)).unwrap_or_default();
    let mut text = format!("{kept}#");
    for byte in Sha256::digest(value.as_bytes()) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests;
