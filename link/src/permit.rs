//! The permit: who the gateway saw, what it permitted, by which rule, policy and snapshot.
//!
//! One header, base64url of JSON. It needs no signature: only the gateway's operating-system user can connect to the
//! socket on which it is accepted, and the gateway builds the request head afresh, so no byte of a client gets here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policies::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

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
    /// Where the request comes from: rules about networks also say what of the store an answer may show.
    pub address: IpAddr,
}

/// The part of a permit that is the same for all requests of a client until policy or allow-list change, written once.
#[derive(Clone, Debug)]
pub struct PermitTemplate {
    /// Base64 of a number of bytes that divides by three, so that more can be appended.
    start: String,
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

// === impl PermitTemplate ===

impl PermitTemplate {
    /// Writes what does not depend on the request.
    pub fn new(identity: &Identity, policy_version: &str, snapshot_version: u64) -> Result<Self, PermitError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Start<'a> {
            identity: &'a Identity,
            policy_version: &'a str,
            snapshot_version: u64,
        }
        let mut json = serde_json::to_vec(&Start { identity, policy_version, snapshot_version })?;
        // The members of the request follow; white space is allowed between members.
        if json.last() == Some(&b'}') {
            json.pop();
        }
        while json.len() % 3 != 0 {
            json.push(b' ');
        }
        Ok(Self { start: URL_SAFE_NO_PAD.encode(json) })
    }

    /// The header value of the permit of one request, as [`Permit::encode`] writes it but for the order of members.
    pub fn encode(
        &self,
        interaction: &str,
        rule: &str,
        correlation_id: CorrelationId,
        address: IpAddr,
    ) -> Result<String, PermitError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Rest<'a> {
            interaction: &'a str,
            rule: &'a str,
            correlation_id: CorrelationId,
            address: IpAddr,
        }
        let mut json = Vec::with_capacity(192);
        serde_json::to_writer(&mut json, &Rest { interaction, rule, correlation_id, address })?;
        if let Some(first) = json.first_mut() {
            *first = b',';
        }
        let mut text = String::with_capacity(self.start.len() + json.len() * 4 / 3 + 4);
        text.push_str(&self.start);
        URL_SAFE_NO_PAD.encode_string(&json, &mut text);
        if text.len() > limits::PERMIT_BYTES {
            return Err(PermitError::TooLong(text.len()));
        }
        Ok(text)
    }
}

// === impl CorrelationId ===

impl CorrelationId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }

    /// An id of random bytes that the caller has at hand.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_from_a_template_reads_as_the_permit() {
        for name in ["a.example", "ab.example", "abc.example", "abcd.example"] {
            let identity = serde_json::json!({
                "kind": "remote",
                "identifier": name,
                "endpoint": null,
                "thumbprint": "ab".repeat(64),
            });
            let permit = Permit {
                identity: serde_json::from_value(identity).unwrap(),
                interaction: "read".to_owned(),
                rule: "remote-read".to_owned(),
                correlation_id: CorrelationId::random(),
                policy_version: "0123".to_owned(),
                snapshot_version: 7,
                address: "2001:db8::7".parse().unwrap(),
            };
            let template = PermitTemplate::new(&permit.identity, &permit.policy_version, 7).unwrap();
            let text =
                template.encode(&permit.interaction, &permit.rule, permit.correlation_id, permit.address).unwrap();
            assert_eq!(Permit::decode(text.as_bytes()).unwrap(), permit);
            assert_eq!(Permit::decode(permit.encode().unwrap().as_bytes()).unwrap(), permit);
        }
        assert!(PermitTemplate::new(&Identity::Unknown, &"x".repeat(limits::PERMIT_BYTES), 7).is_ok_and(|template| {
            template.encode("read", "rule", CorrelationId::random(), [0, 0, 0, 0].into()).is_err()
        }));
    }
}
