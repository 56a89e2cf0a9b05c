//! The allow-list as the engine publishes it.
//!
//! Versions grow by one with each published change and are stored by the engine, so that a gateway can tell an older
//! snapshot from a newer one across restarts of either side. The digest covers the content: a copy kept on disk that was
//! altered or cut is refused.

use policies::AllowList;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One version of the allow-list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Snapshot {
    version: u64,
    digest: String,
    allow_list: AllowList,
}

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the JSON of a snapshot.
    #[error("snapshot is not readable")]
    Content(#[from] serde_json::Error),
    /// The digest does not belong to the content.
    #[error("snapshot does not match its digest")]
    Digest,
}

impl Snapshot {
    /// Seals an allow-list under a version.
    pub fn new(version: u64, allow_list: AllowList) -> Result<Self, SnapshotError> {
        Ok(Self { version, digest: digest(version, &allow_list)?, allow_list })
    }

    /// Reads JSON and checks the digest.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SnapshotError> {
        serde_json::from_slice::<Self>(bytes)?.verified()
    }

    /// The JSON form that [`Snapshot::from_json`] reads.
    pub fn to_json(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Checks the digest of a snapshot that came in a larger message.
    pub fn verified(self) -> Result<Self, SnapshotError> {
        if digest(self.version, &self.allow_list)? == self.digest { Ok(self) } else { Err(SnapshotError::Digest) }
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of version and content, lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The allow-list.
    #[must_use]
    pub const fn allow_list(&self) -> &AllowList {
        &self.allow_list
    }
}

fn digest(version: u64, allow_list: &AllowList) -> Result<String, serde_json::Error> {
    let mut hash = Sha256::new();
    hash.update(version.to_be_bytes());
    hash.update(serde_json::to_vec(allow_list)?);
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
