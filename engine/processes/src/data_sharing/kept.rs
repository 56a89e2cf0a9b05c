//! What a node keeps of a run after its own part has ended, until the retention is over: for withdrawals and
//! re-identifications, which come later and are instances of their own.
//!
//! A record is a small value of the store and names the Binaries that belong to it; both go together. What stands where:
//!
//! | node | record | Binaries |
//! |---|---|---|
//! | portal | partners, revision | its copy of the data set |
//! | site | partners | transfer ids of who was sent |
//! | trusted third party | partners | the table: site, transfer id, pseudonym |
//! | data management site | partners, files, revision | merged and sealed files |

use fhir::ResourceType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rows;
use crate::step::{StepContext, StepError, WorkError};
use crate::work::WorkContext;

/// Whose record it is; a node may have several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Portal,
    Site,
    ThirdParty,
    Management,
}

// === impl Kept ===

impl Kept {
    fn setting(self, context: &StepContext<'_, '_>) -> String {
        let of = match self {
            Self::Portal => "portal",
            Self::Site => "site",
            Self::ThirdParty => "third-party",
            Self::Management => "management",
        };
        format!("data-sharing/{of}/{}", context.business_key().unwrap_or_default())
    }

    /// The record of the run of this instance.
    pub(super) fn read(self, context: &mut StepContext<'_, '_>) -> Result<Option<Value>, StepError> {
        let setting = self.setting(context);
        let Some(stored) = context.transaction().setting(&setting)? else { return Ok(None) };
        let record = serde_json::from_slice(&stored);
        record.map(Some).map_err(|error| StepError::Failed(format!("the record of the run cannot be read: {error}")))
    }

    /// Writes it.
    pub(super) fn write(self, context: &mut StepContext<'_, '_>, record: &Value) -> Result<(), StepError> {
        let setting = self.setting(context);
        Ok(context.transaction().set_setting(&setting, record.to_string().as_bytes())?)
    }

    /// Removes the record and its Binaries; gives how many these were.
    pub(super) fn forget(self, context: &mut StepContext<'_, '_>) -> Result<usize, StepError> {
        let Some(record) = self.read(context)? else { return Ok(0) };
        let deleted = delete(context, &texts(&record, BINARIES))?;
        let setting = self.setting(context);
        context.transaction().delete_setting(&setting)?;
        Ok(deleted)
    }
}

/// Member with the ids of Binaries.
pub(super) const BINARIES: &str = "binaries";

/// A list of texts in a record.
pub(super) fn texts(record: &Value, name: &str) -> Vec<String> {
    let texts = record.get(name).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The record with another member.
pub(super) fn with(mut record: Value, name: &str, value: impl Into<Value>) -> Value {
    if let Some(members) = record.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
    record
}

/// Removes Binaries of this node with all versions; gives how many there were.
pub(super) fn delete(context: &mut StepContext<'_, '_>, ids: &[String]) -> Result<usize, StepError> {
    let mut deleted = 0;
    for id in ids {
        // An administrator may have been faster.
        let stored = context.transaction().read(ResourceType::Binary, id)?.current();
        if stored.is_some() {
            context.transaction().delete(ResourceType::Binary, id)?;
            context.transaction().delete_permanently(ResourceType::Binary, id)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// The content of a Binary of this node.
pub(super) async fn content(context: &WorkContext, id: &str) -> Result<Vec<u8>, WorkError> {
    let gone = || WorkError::failed("a file that belongs to the run is gone");
    let mut content = context.read_content(id).await?.ok_or_else(gone)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = content.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The rows in a Binary of this node.
pub(super) async fn rows<R: for<'de> Deserialize<'de>>(context: &WorkContext, id: &str) -> Result<Vec<R>, WorkError> {
    let text = String::from_utf8(content(context, id).await?);
    let text = text.map_err(|_| WorkError::failed("a file that belongs to the run is no text"))?;
    rows::read(&text)
}

/// A record in which nothing but partners stands.
pub(super) fn record(project: &str, partners: &[(&str, Value)]) -> Value {
    let mut record = json!({ "project": project });
    if let Some(members) = record.as_object_mut() {
        members.extend(partners.iter().map(|(name, target)| ((*name).to_owned(), target.clone())));
    }
    record
}
