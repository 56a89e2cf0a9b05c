//! Who asks, and may they: per request, by what is in force now.
//!
//! A connection proves only that its client holds the key of a certificate that was valid in a handshake. Everything else
//! can change while it lives, so every request asks again: the dates of the certificate, the trust store (when it changed,
//! or the session was resumed without the verifier), the officer's rules and the allow-list. What is expensive is kept as
//! a [`Caller`] under the generation of policy and allow-list, so nothing outlives a push: by the connection, which asks
//! again and again, and in a cache for further connections of the same client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use fhir::Resource;
use link::{PermitError, PermitTemplate, Snapshot};
use moka::sync::Cache;
use policies::{CanonicalRequest, Context, Decision, Denial, Identity, Origin, Thumbprint};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use crate::expiry;
use crate::limits::IDENTITY_CACHE;
use crate::listen::{Connection, Peer};
use crate::rate::{Bucket, Shares};
use crate::reload::{Active, Basis};

/// Finds out who is at the other end of a connection.
#[derive(Debug)]
pub struct Identities {
    known: Cache<(u64, Thumbprint), Known>,
    shares: Shares,
}

/// A known client, and what follows from that for each of its requests.
#[derive(Debug)]
pub struct Caller {
    /// Who it is; never [`Identity::Unknown`].
    pub identity: Identity,
    /// The name in records and limits.
    pub name: String,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) permit: Result<PermitTemplate, PermitError>,
}

#[derive(Clone, Debug)]
enum Known {
    Caller(Arc<Caller>),
    Nobody,
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
    body_bytes: Option<u64>,
) -> Option<Decision> {
    let snapshot = basis.snapshot.as_ref()?;
    let context = Context { body_bytes, ..context(connection) };
    Some(policies::decide(&basis.policy, snapshot.allow_list(), identity, request, body, &context))
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
    let origin = Origin::Address(connection.peer.address);
    Context { now: OffsetDateTime::now_utc(), origin, body_bytes: None }
}

// === impl Identities ===

impl Default for Identities {
    fn default() -> Self {
        Self { known: Cache::new(IDENTITY_CACHE), shares: Shares::default() }
    }
}

impl Identities {
    /// The client of a connection.
    pub fn identify(
        &self,
        active: &Active,
        basis: &Basis,
        snapshot: &Snapshot,
        connection: &Connection,
        now: OffsetDateTime,
    ) -> Result<Arc<Caller>, Stranger> {
        let peer = &connection.peer;
        verify(active, connection, now)?;
        if let Some(caller) = connection.caller(basis.generation) {
            return Ok(caller);
        }
        let key = (basis.generation, peer.thumbprint.clone());
        let known = match self.known.get(&key) {
            Some(known) => known,
            None => {
                let known = self.derive(basis, snapshot, peer);
                if let Known::Caller(caller) = &known {
                    expiry::report_client(basis.policy.trust(), &peer.certificate, &caller.name, now);
                }
                self.known.insert(key, known.clone());
                known
            }
        };
        match known {
            Known::Caller(caller) => {
                connection.keep_caller(basis.generation, &caller);
                Ok(caller)
            }
            Known::Nobody => Err(Stranger::Unknown),
            Known::Refused(code) => Err(Stranger::Rules(code)),
        }
    }

    fn derive(&self, basis: &Basis, snapshot: &Snapshot, peer: &Peer) -> Known {
        match derive(basis, snapshot, peer) {
            Ok(identity) => {
                let name = identity.name();
                let bucket = self.shares.of(&name, basis.limits.rate.burst, Instant::now());
                let permit = PermitTemplate::new(&identity, basis.policy.version(), snapshot.version());
                Known::Caller(Arc::new(Caller { identity, name, bucket, permit }))
            }
            Err(Stranger::Rules(code)) => Known::Refused(code),
            Err(Stranger::Dates | Stranger::Untrusted | Stranger::Unknown) => Known::Nobody,
        }
    }
}

/// The identity of the client of a connection, asked without memory: for what is rare.
pub fn identify_anew(
    active: &Active,
    basis: &Basis,
    snapshot: &Snapshot,
    connection: &Connection,
    now: OffsetDateTime,
) -> Result<Identity, Stranger> {
    verify(active, connection, now)?;
    derive(basis, snapshot, &connection.peer)
}

fn derive(basis: &Basis, snapshot: &Snapshot, peer: &Peer) -> Result<Identity, Stranger> {
    if basis.blocked.contains(&peer.thumbprint) {
        return Err(Stranger::Rules(certs::CertificateRefusal::Blocked.code()));
    }
    basis.rules.check(&peer.certificate).map_err(|refusal| Stranger::Rules(refusal.code()))?;
    let email = peer.certificate.emails().first().map(String::as_str);
    match snapshot.allow_list().identify(&peer.thumbprint, email, &basis.policy) {
        Identity::Unknown => Err(Stranger::Unknown),
        known => Ok(known),
    }
}

/// What the handshake proved, as of now: dates, and trust.
fn verify(active: &Active, connection: &Connection, now: OffsetDateTime) -> Result<(), Stranger> {
    if !connection.peer.certificate.is_valid_at(now) {
        return Err(Stranger::Dates);
    }
    verify_trust(active, connection, now)
}

/// Runs the verifier again if it was another one, or none, that let the client in, unless it did so a moment ago.
fn verify_trust(active: &Active, connection: &Connection, now: OffsetDateTime) -> Result<(), Stranger> {
    let tls = active.tls();
    if connection.trust_generation.load(Ordering::Acquire) == tls.generation {
        return Ok(());
    }
    let peer = &connection.peer;
    if !tls.was_verified(&peer.thumbprint) {
        let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| Stranger::Dates)?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        tls.verifier
            .verify_client_cert(peer.certificate.der(), &peer.intermediates, now)
            .map_err(|_| Stranger::Untrusted)?;
        tls.note_verified(&peer.thumbprint);
    }
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
