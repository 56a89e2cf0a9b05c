//! Who asks, and may they: per request, by what is in force now.
//!
//! A connection proves only that its client holds the key of a certificate that was valid in a handshake. Everything else
//! can change while it lives, so every request asks again: the dates of the certificate, the trust store (when it changed,
//! or the session was resumed without the verifier), the officer's rules and the allow-list. What is expensive is kept in
//! a cache whose key holds the generation of policy and allow-list, so nothing outlives a push.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fhir::Resource;
use link::Snapshot;
use moka::sync::Cache;
use policies::{CanonicalRequest, Context, Decision, Denial, Identity, Origin, Thumbprint};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use crate::expiry;
use crate::limits::IDENTITY_CACHE;
use crate::listen::{Connection, Peer};
use crate::reload::{Active, Basis};

/// Finds the identity of a connection.
#[derive(Debug)]
pub struct Identities {
    known: Cache<(u64, Thumbprint), Known>,
}

#[derive(Clone, Debug)]
enum Known {
    Identity(Arc<Identity>),
    Refused(&'static str),
}

/// Why a request is not answered, before anything of it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// The certificate is not valid now.
    #[error("certificate has expired or is not valid yet")]
    Dates,
    /// Trust changed and no longer covers the chain.
    #[error("certificate is not trusted any more")]
    Untrusted,
    /// A rule of the officer refuses the certificate.
    #[error("certificate is refused: {0}")]
    Rules(&'static str),
    /// Nobody of the allow-list.
    #[error("thumbprint is on no allow-list")]
    Unknown,
}

/// The decision of the policy on a request; none without an allow-list, which nobody
/// who was identified can meet.
pub fn decide(
    basis: &Basis,
    identity: &Identity,
    request: &CanonicalRequest,
    body: Option<&Resource>,
    connection: &Connection,
) -> Option<Decision> {
    let snapshot = basis.snapshot.as_ref()?;
    Some(policies::decide(&basis.policy, snapshot.allow_list(), identity, request, body, &context(connection)))
}

/// What the head alone decides, so that a body which would be refused anyway is never read.
pub fn deny_by_head(
    basis: &Basis,
    identity: &Identity,
    request: &CanonicalRequest,
    connection: &Connection,
) -> Option<Denial> {
    let snapshot = basis.snapshot.as_ref()?;
    policies::deny_by_head(&basis.policy, snapshot.allow_list(), identity, request, &context(connection))
}

fn context(connection: &Connection) -> Context {
    Context { now: OffsetDateTime::now_utc(), origin: Origin::Address(connection.peer.address) }
}

// === impl Identities ===

impl Default for Identities {
    fn default() -> Self {
        Self { known: Cache::new(IDENTITY_CACHE) }
    }
}

impl Identities {
    /// The identity of the client, which is never [`Identity::Unknown`].
    pub fn identify(
        &self,
        active: &Active,
        basis: &Basis,
        snapshot: &Snapshot,
        connection: &Connection,
        now: OffsetDateTime,
    ) -> Result<Arc<Identity>, Stranger> {
        let peer = &connection.peer;
        if !peer.certificate.is_valid_at(now) {
            return Err(Stranger::Dates);
        }
        verify_trust(active, connection, now)?;
        let key = (basis.generation, peer.thumbprint.clone());
        let known = match self.known.get(&key) {
            Some(known) => known,
            None => {
                let known = derive(basis, snapshot, peer);
                if let Known::Identity(identity) = &known
                    && **identity != Identity::Unknown
                {
                    expiry::report_client(basis.policy.trust(), &peer.certificate, &identity.name(), now);
                }
                self.known.insert(key, known.clone());
                known
            }
        };
        match known {
            Known::Identity(identity) if *identity != Identity::Unknown => Ok(identity),
            Known::Identity(_) => Err(Stranger::Unknown),
            Known::Refused(code) => Err(Stranger::Rules(code)),
        }
    }
}

fn derive(basis: &Basis, snapshot: &Snapshot, peer: &Peer) -> Known {
    if let Err(refusal) = basis.rules.check(&peer.certificate) {
        return Known::Refused(refusal.code());
    }
    let email = peer.certificate.emails().first().map(String::as_str);
    Known::Identity(Arc::new(snapshot.allow_list().identify(&peer.thumbprint, email, &basis.policy)))
}

/// Runs the verifier again if it was another one, or none, that let the client in.
fn verify_trust(active: &Active, connection: &Connection, now: OffsetDateTime) -> Result<(), Stranger> {
    let tls = active.tls();
    if connection.trust_generation.load(Ordering::Acquire) == tls.generation {
        return Ok(());
    }
    let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| Stranger::Dates)?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let peer = &connection.peer;
    tls.verifier
        .verify_client_cert(peer.certificate.der(), &peer.intermediates, now)
        .map_err(|_| Stranger::Untrusted)?;
    connection.trust_generation.store(tls.generation, Ordering::Release);
    Ok(())
}

// === impl Stranger ===

impl Stranger {
    /// The stable code in audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Dates => "GW-IDENT-001",
            Self::Untrusted => "GW-IDENT-002",
            Self::Unknown => "GW-IDENT-003",
            Self::Rules(_) => "GW-IDENT-005",
        }
    }
}
