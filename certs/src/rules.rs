//! What the security officer demands of a client certificate beyond a valid chain (`[trust]` of the policy).
//!
//! The default is DSF's Apache rule: the common name of the issuer is on a list and the country of the subject too. It is
//! judged after the handshake, so that a refusal is an answer with an audit record and not a bare TLS alert. Names are
//! compared whole. Where Apache looks at the first of several values, every value must be listed: a certificate with two
//! countries satisfies nobody by accident.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::certificate::{Certificate, KeyType};

/// Conditions on a certificate. An empty `CertificateRules` permits every certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRules {
    /// Common names of issuing CAs; `None` accepts every issuer of the trust store.
    pub issuer_common_names: Option<BTreeSet<String>>,
    /// Countries (`C`) of the subject; `None` accepts all, and none.
    pub subject_countries: Option<BTreeSet<String>>,
    /// Issuers whose certificates may lack a country, such as S/MIME CAs.
    pub missing_country_allowed_for: BTreeSet<String>,
    /// Whether the extended key usage must name clientAuth; else it may also be absent.
    pub client_auth_required: bool,
    /// The smallest RSA modulus.
    pub minimum_rsa_bits: Option<usize>,
    /// Curves by name (`P-256`); `None` accepts all that TLS can verify.
    pub curves: Option<BTreeSet<String>>,
    /// Thumbprints that are refused whatever else is true: the emergency block.
    pub denied_thumbprints: BTreeSet<String>,
}

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    #[error("the certificate is blocked by its thumbprint")]
    Blocked,
    #[error("the certificate is not valid before {not_before}")]
    NotYetValid { not_before: OffsetDateTime },
    #[error("the certificate expired on {not_after}")]
    Expired { not_after: OffsetDateTime },
    #[error("the issuer has no common name: {issuer}")]
    IssuerWithoutCommonName { issuer: String },
    #[error("the issuer is not on the list: {issuer}")]
    IssuerNotListed { issuer: String },
    #[error("the subject names no country: {subject}")]
    CountryMissing { subject: String },
    #[error("the country of the subject is not on the list: {country}")]
    CountryNotListed { country: String },
    #[error("the extended key usage does not name clientAuth")]
    ClientAuthMissing,
    #[error("the RSA key has {bits} bit, at least {minimum} are demanded")]
    KeyTooSmall { bits: usize, minimum: usize },
    #[error("the key is of a kind that is not on the list: {key}")]
    KeyNotListed { key: String },
}

impl CertificateRules {
    /// Judges the certificate; its chain has been verified by TLS before.
    pub fn check(&self, certificate: &Certificate) -> Result<(), CertificateRefusal> {
        if self.denied_thumbprints.contains(certificate.thumbprint()) {
            return Err(CertificateRefusal::Blocked);
        }
        self.check_issuer(certificate)?;
        self.check_country(certificate)?;
        let absent_is_fine = !self.client_auth_required && certificate.extended_key_usage().is_none();
        if !absent_is_fine && !certificate.names_client_auth() {
            return Err(CertificateRefusal::ClientAuthMissing);
        }
        self.check_key(certificate.key())
    }

    /// Judges it and its validity at `now`: a resumed session is never asked for its certificate again.
    pub fn check_at(&self, certificate: &Certificate, now: OffsetDateTime) -> Result<(), CertificateRefusal> {
        if certificate.is_valid_at(now) {
            return self.check(certificate);
        }
        Err(if now < certificate.not_before() {
            CertificateRefusal::NotYetValid { not_before: certificate.not_before() }
        } else {
            CertificateRefusal::Expired { not_after: certificate.not_after() }
        })
    }

    fn check_issuer(&self, certificate: &Certificate) -> Result<(), CertificateRefusal> {
        let Some(listed) = &self.issuer_common_names else { return Ok(()) };
        let issuer = certificate.issuer();
        if issuer.common_name().is_none() {
            return Err(CertificateRefusal::IssuerWithoutCommonName { issuer: issuer.to_string() });
        }
        if issuer.values("CN").all(|name| listed.contains(name)) {
            return Ok(());
        }
        Err(CertificateRefusal::IssuerNotListed { issuer: issuer.to_string() })
    }

    fn check_country(&self, certificate: &Certificate) -> Result<(), CertificateRefusal> {
        let Some(listed) = &self.subject_countries else { return Ok(()) };
        let countries: Vec<&str> = certificate.subject().values("C").collect();
        if countries.is_empty() {
            let excused = certificate
                .issuer()
                .common_name()
                .is_some_and(|issuer| self.missing_country_allowed_for.contains(issuer));
            let subject = certificate.subject().to_string();
            return if excused { Ok(()) } else { Err(CertificateRefusal::CountryMissing { subject }) };
        }
        match countries.iter().find(|country| !listed.contains(**country)) {
            Some(country) => Err(CertificateRefusal::CountryNotListed { country: (*country).to_owned() }),
            None => Ok(()),
        }
    }

    fn check_key(&self, key: &KeyType) -> Result<(), CertificateRefusal> {
        match key {
            KeyType::Rsa { bits } => match self.minimum_rsa_bits {
                Some(minimum) if *bits < minimum => Err(CertificateRefusal::KeyTooSmall { bits: *bits, minimum }),
                _ => Ok(()),
            },
            KeyType::Ec { curve, .. } => match &self.curves {
                Some(listed) if !listed.contains(curve) => {
                    Err(CertificateRefusal::KeyNotListed { key: key.to_string() })
                }
                _ => Ok(()),
            },
            KeyType::Ed25519 | KeyType::Other { .. } => match &self.curves {
                Some(_) => Err(CertificateRefusal::KeyNotListed { key: key.to_string() }),
                None => Ok(()),
            },
        }
    }
}

impl CertificateRefusal {
    /// The stable word for audit records and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Blocked => "certificate-blocked",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::Expired { .. } => "certificate-expired",
            Self::IssuerWithoutCommonName { .. } => "issuer-without-common-name",
            Self::IssuerNotListed { .. } => "issuer-not-listed",
            Self::CountryMissing { .. } => "country-missing",
            Self::CountryNotListed { .. } => "country-not-listed",
            Self::ClientAuthMissing => "client-auth-missing",
            Self::KeyTooSmall { .. } => "key-too-small",
            Self::KeyNotListed { .. } => "key-not-listed",
        }
    }
}

#[cfg(test)]
mod tests;
