//! From settings and policy to what decides about client certificates.
//!
//! The gateway and `schleuse cert verify` call these functions, so that a verdict of the command is the verdict of the
//! handshake.

use std::collections::BTreeSet;

use certs::{CertError, CertificateRules, ClientTrust, LiveRevocation, TrustStore};
use policies::Policy;
use policies::policy::{AbsentEku, RevocationMode, Trust};

use crate::Settings;

/// Why the trust in client certificates cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A certificate or list cannot be used.
    #[error("{}", certificate_lines(.0))]
    Files(Vec<CertError>),
    /// No authority of the trust store has a fingerprint that the policy demands.
    #[error("no client authority has a fingerprint of issuer-sha256")]
    NoListedIssuer,
}

/// Which client certificates a handshake accepts.
pub fn client_trust(settings: &Settings, policy: &Policy) -> Result<ClientTrust, TrustError> {
    let store = TrustStore::load(&settings.trust_stores.client).map_err(TrustError::Files)?;
    let issuers = listed_issuers(&store, &policy.trust().issuer_sha256)?;
    let revocation = read_revocation(settings, policy, &store)?.map(LiveRevocation::new);
    Ok(ClientTrust { store, issuers, depth: usize::from(policy.trust().max_depth), revocation })
}

/// The revocation lists of the node; none if the policy does not ask for them.
pub fn read_revocation(
    settings: &Settings,
    policy: &Policy,
    store: &TrustStore,
) -> Result<Option<certs::Revocation>, TrustError> {
    let revocation = &policy.trust().revocation;
    let mode = match revocation.mode {
        RevocationMode::Off => return Ok(None),
        RevocationMode::Soft => certs::RevocationMode::Soft,
        RevocationMode::Hard => certs::RevocationMode::Hard,
    };
    certs::Revocation::load(&settings.revocation.lists, store, mode, revocation.max_age)
        .map(Some)
        .map_err(TrustError::Files)
}

/// The authorities whose fingerprints are listed; none when no list is given.
fn listed_issuers(trust: &TrustStore, fingerprints: &[String]) -> Result<Option<TrustStore>, TrustError> {
    if fingerprints.is_empty() {
        return Ok(None);
    }
    let listed: Vec<_> = trust
        .certificates()
        .filter(|known| fingerprints.iter().any(|print| print == known.sha256()))
        .cloned()
        .collect();
    if listed.is_empty() {
        return Err(TrustError::NoListedIssuer);
    }
    TrustStore::from_certificates(listed, "issuer-sha256").map(Some).map_err(TrustError::Files)
}

/// The officer's conditions on certificates.
#[must_use]
pub fn certificate_rules(trust: &Trust) -> CertificateRules {
    let listed = |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().collect::<BTreeSet<_>>());
    CertificateRules {
        issuer_common_names: listed(&trust.issuer_cn),
        subject_countries: listed(&trust.subject_country),
        missing_country_allowed_for: trust.allow_missing_country_for.iter().cloned().collect(),
        client_auth_required: trust.absent_eku == AbsentEku::Reject,
        minimum_rsa_bits: usize::try_from(trust.keys.min_rsa_leaf).ok(),
        curves: listed(&trust.keys.curves),
        denied_thumbprints: trust.deny_thumbprints.iter().map(ToString::to_string).collect(),
    }
}

fn certificate_lines(errors: &[CertError]) -> String {
    errors.iter().map(|error| format!("{error}\n  remedy: {}", error.remedy())).collect::<Vec<_>>().join("\n")
}
