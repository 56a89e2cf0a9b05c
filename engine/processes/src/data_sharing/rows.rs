//! Lines of the files that travel between sites, trusted third party and data management site.

use serde::{Deserialize, Serialize};

use crate::step::WorkError;

/// A person of a site for the trusted third party: a temporary id and a filter, if enough is known for one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterRow {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<String>,
}

/// By how many days the dates of a person move.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShiftRow {
    pub(super) id: String,
    pub(super) days: i32,
}

/// The pseudonym of a person of a site.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PseudonymRow {
    pub(super) site: String,
    pub(super) id: String,
    pub(super) pseudonym: String,
}

/// A person of a site by the transfer id: who was sent, who has withdrawn, who is to be found.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdRow {
    pub(super) id: String,
}

/// A person of the data set: whose data must go.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonRow {
    pub(super) pseudonym: String,
}

/// Several lines as text.
pub(super) fn print_all<'r, R: Serialize + 'r>(rows: impl IntoIterator<Item = &'r R>) -> Result<String, WorkError> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&print(row).map_err(WorkError::failed)?);
        text.push('\n');
    }
    Ok(text)
}

/// A line as text.
pub(super) fn print(row: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(row).map_err(|error| error.to_string())
}

/// Reads lines; the first that is none is told by its number, never by its content.
pub(super) fn read<R: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<R>, WorkError> {
    let read = text.lines().enumerate().map(|(place, line)| {
        serde_json::from_str(line).map_err(|_| WorkError::failed(format!("line {} cannot be read", place + 1)))
    });
    read.collect()
}
