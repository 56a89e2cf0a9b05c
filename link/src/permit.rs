//! The permit: who the gateway saw, what it permitted, by which rule, policy and snapshot.
//!
//! One header with two parts, `client.request`, each base64url of JSON. The first is the same for all requests of a client
//! until policy or allow-list change, so both ends keep what they made of it: the same bytes are the same client. It needs
//! no signature: only the gateway's operating-system user can connect to the socket on which it is accepted, and the
//! gateway builds the request head afresh, so no byte of a client gets here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policies::Identity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

use crate::limits;

/// Name of the header that carries the permit.
pub const PERMIT_HEADER: &str = "x-schleuse-permit";

/// Stands between the two parts; not a character of base64url.
const SEPARATOR: u8 = b'.';

/// A decision of the gateway, as the engine receives it.
#[derive(Clone, Debug, PartialEq)]
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

/// The part of a permit that names the client, and by what it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PermittedClient {
    /// As [`Permit::identity`].
    pub identity: Identity,
    /// As [`Permit::policy_version`].
    pub policy_version: String,
    /// As [`Permit::snapshot_version`].
    pub snapshot_version: u64,
}

/// The part of a permit that is about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PermittedRequest {
    /// As [`Permit::interaction`].
    pub interaction: String,
    /// As [`Permit::rule`].
    pub rule: String,
    /// As [`Permit::correlation_id`].
    pub correlation_id: CorrelationId,
    /// As [`Permit::address`].
    pub address: IpAddr,
}

/// A permit whose parts were told apart and not yet read.
#[derive(Clone, Copy, Debug)]
pub struct PermitParts<'p> {
    /// For [`PermittedClient::decode`].
    pub client: &'p [u8],
    /// For [`PermittedRequest::decode`].
    pub request: &'p [u8],
}

/// The part of a permit that is the same for all requests of a client, written once.
#[derive(Clone, Debug)]
pub struct PermitTemplate {
    /// With the separator.
    client: String,
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
    /// Not of two parts.
    #[error("permit does not have two parts")]
    Parts,
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
        let template = PermitTemplate::new(&self.identity, &self.policy_version, self.snapshot_version)?;
        template.encode(&self.interaction, &self.rule, self.correlation_id, self.address)
    }

    /// Reads the header value.
    pub fn decode(text: &[u8]) -> Result<Self, PermitError> {
        let parts = PermitParts::of(text)?;
        let PermittedClient { identity, policy_version, snapshot_version } = PermittedClient::decode(parts.client)?;
        let PermittedRequest { interaction, rule, correlation_id, address } = PermittedRequest::decode(parts.request)?;
        Ok(Self { identity, interaction, rule, correlation_id, policy_version, snapshot_version, address })
    }
}

// === impl PermitParts ===

impl<'p> PermitParts<'p> {
    /// Tells the parts of a header value apart.
    pub fn of(text: &'p [u8]) -> Result<Self, PermitError> {
        if text.len() > limits::PERMIT_BYTES {
            return Err(PermitError::TooLong(text.len()));
        }
        let mut parts = text.split(|byte| *byte == SEPARATOR);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(client), Some(request), None) => Ok(Self { client, request }),
            _ => Err(PermitError::Parts),
        }
    }
}

// === impl PermittedClient ===

impl PermittedClient {
    /// Reads the first part.
    pub fn decode(part: &[u8]) -> Result<Self, PermitError> {
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    }
}

// === impl PermittedRequest ===

impl PermittedRequest {
    /// Reads the second part.
    pub fn decode(part: &[u8]) -> Result<Self, PermitError> {
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
    }
}

// === impl PermitTemplate ===

impl PermitTemplate {
    /// Writes what does not depend on the request.
    pub fn new(identity: &Identity, policy_version: &str, snapshot_version: u64) -> Result<Self, PermitError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Client<'a> {
            identity: &'a Identity,
            policy_version: &'a str,
            snapshot_version: u64,
        }
        let json = serde_json::to_vec(&Client { identity, policy_version, snapshot_version })?;
        let mut client = URL_SAFE_NO_PAD.encode(json);
        client.push(char::from(SEPARATOR));
        Ok(Self { client })
    }

    /// The header value of the permit of one request.
    pub fn encode(
        &self,
        interaction: &str,
        rule: &str,
        correlation_id: CorrelationId,
        address: IpAddr,
    ) -> Result<String, PermitError> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Request<'a> {
            interaction: &'a str,
            rule: &'a str,
            correlation_id: CorrelationId,
            address: IpAddr,
        }
        let mut json = Vec::with_capacity(192);
        serde_json::to_writer(&mut json, &Request { interaction, rule, correlation_id, address })?;
        let mut text = String::with_capacity(self.client.len() + json.len() * 4 / 3 + 4);
        text.push_str(&self.client);
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
        for damaged in ["", ".", "e30", "e30.e30", "e30.e30.e30"] {
            assert!(Permit::decode(damaged.as_bytes()).is_err(), "{damaged}");
        }
        assert!(PermitTemplate::new(&Identity::Unknown, &"x".repeat(limits::PERMIT_BYTES), 7).is_ok_and(|template| {
            template.encode("read", "rule", CorrelationId::random(), [0, 0, 0, 0].into()).is_err()
        }));
    }
}
