//! The permit: who the gateway saw, what it permitted, by which rule, policy and snapshot.
//!
//! One header, base64url of JSON. It needs no signature: only the gateway's operating-system user can connect to the
//! socket on which it is accepted, and the gateway builds the request head afresh, so no byte of a client gets here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policies::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::limits;

/// Name of the header that carries the permit.
pub const PERMIT_HEADER: &str = "x-schleuse-permit";

/// A decision of the gateway, as the engine receives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Permit {
    /// Who asks.
    pub identity: Identity,
    /// The interaction that was permitted, by its name in the table of interactions; the engine derives it again.
    pub interaction: String,
    /// Id of the policy rule that permitted it.
    pub rule: String,
    /// Joins the audit records and log lines of both processes.
    pub correlation_id: CorrelationId,
    /// Digest of the policy files by which it was decided.
    pub policy_version: String,
    /// Version of the allow-list snapshot by which it was decided.
    pub snapshot_version: u64,
}

/// A random id of one request (UUID version 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrelationId(uuid::Uuid);

/// Why a permit header is refused.
#[derive(Debug, thiserror::Error)]
pub enum PermitError {
    /// Longer than [`limits::PERMIT_BYTES`].
    #[error("permit of {0} bytes is longer than the limit")]
    TooLong(usize),
    /// Not base64url.
    #[error("permit is not base64url")]
    Encoding(#[from] base64::DecodeError),
    /// Not the JSON of a permit.
    #[error("permit is not readable")]
    Content(#[from] serde_json::Error),
}

// === impl Permit ===

impl Permit {
    /// The header value; an identity that does not fit the limit is an error here and never a truncated permit.
    pub fn encode(&self) -> Result<String, PermitError> {
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?);
        if text.len() > limits::PERMIT_BYTES {
            return Err(PermitError::TooLong(text.len()));
        }
        Ok(text)
    }

    /// Reads the header value.
    pub fn decode(text: &[u8]) -> Result<Self, PermitError> {
        if text.len() > limits::PERMIT_BYTES {
            return Err(PermitError::TooLong(text.len()));
        }
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text)?)?)
    }
}

// === impl CorrelationId ===

impl CorrelationId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// Reads the textual form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
