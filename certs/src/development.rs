//! A certificate authority for development, demonstration and tests.
//!
//! Makes the four kinds of certificates that a consortium has: servers, organisations, persons, and the CAs above them,
//! in the shapes that the public CAs of DSF networks issue (subject with C, O, CN and e-mail, extended key usage, key
//! usage fitting the kind of key). For real networks the certificates come from a real CA; nothing here checks a
//! request, and private keys are made beside the certificates.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, RsaKeySize, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::certificate::{Certificate, NotACertificate};
use crate::error::CertError;
use crate::pem;

/// Kind of key to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// Small and fast; the default.
    #[default]
    EcdsaP256,
    /// The smallest size that nodes accept and that many certificates in use have; for tests and measurements.
    Rsa2048,
    /// The size that BSI TR-02102-1 demands of RSA. Takes some 100 ms to make.
    Rsa3072,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
}

/// What the certificate of a person is for.
const PERSON: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::EmailProtection];

/// A CA with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// CAs above this one, without the root.
    above: Vec<Certificate>,
    private_key_pem: String,
}

/// A certificate with its key, made by an [`Authority`].
pub struct Issued {
    certificate: Certificate,
    above: Vec<Certificate>,
    private_key_pem: String,
}

/// Who a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `C`; DSF accepts `DE` only, unless configured otherwise.
    pub country: Option<String>,
    /// `O`.
    pub organization: Option<String>,
    /// `CN`.
    pub common_name: Option<String>,
    /// `emailAddress` and subject alternative name.
    pub email: Option<String>,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// Key generation or signing failed, or a name cannot be encoded.
    #[error("cannot make the certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// What was made cannot be read back.
    #[error("the new certificate cannot be read: {0}")]
    Unreadable(#[from] NotACertificate),
    /// An existing authority could not be read.
    #[error(transparent)]
    File(#[from] CertError),
    /// Certificate and key of an existing authority do not belong together.
    #[error("{0} and its private key do not belong together")]
    Mismatch(String),
}

// === impl Validity ===

impl Validity {
    /// From one hour before `now`, so that clocks that go slow accept it, for `days` days.
    #[must_use]
    pub fn days(now: OffsetDateTime, days: i64) -> Self {
        Self { not_before: now - Duration::hours(1), not_after: now + Duration::days(days) }
    }
}

// === impl Subject ===

impl Subject {
    /// `C=DE` with organisation and common name.
    #[must_use]
    pub fn german(organization: &str, common_name: &str) -> Self {
        Self {
            country: Some("DE".to_owned()),
            organization: Some(organization.to_owned()),
            common_name: Some(common_name.to_owned()),
            email: None,
        }
    }

    #[must_use]
    pub fn with_email(mut self, email: &str) -> Self {
        self.email = Some(email.to_owned());
        self
    }

    fn distinguished_name(&self) -> Result<DistinguishedName, rcgen::Error> {
        let mut name = DistinguishedName::new();
        if let Some(country) = &self.country {
            name.push(DnType::CountryName, DnValue::PrintableString(country.as_str().try_into()?));
        }
        if let Some(organization) = &self.organization {
            name.push(DnType::OrganizationName, organization.as_str());
        }
        if let Some(common_name) = &self.common_name {
            name.push(DnType::CommonName, common_name.as_str());
        }
        if let Some(email) = &self.email {
            let kind = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
            name.push(kind, DnValue::Ia5String(email.as_str().try_into()?));
        }
        Ok(name)
    }
}

// === impl Authority ===

impl Authority {
    /// A root that signs itself.
    pub fn root(subject: &Subject, key: KeyType, validity: Validity) -> Result<Self, DevelopmentError> {
        let key = generate(key)?;
        let params = authority_params(subject, validity, BasicConstraints::Unconstrained)?;
        let certificate = Certificate::from_der(params.self_signed(&key)?.der())?;
        let private_key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, above: Vec::new(), private_key_pem })
    }

    /// An issuing CA below this one; it can sign no further CA.
    pub fn issuing(&self, subject: &Subject, key: KeyType, validity: Validity) -> Result<Self, DevelopmentError> {
        let key = generate(key)?;
        let mut params = authority_params(subject, validity, BasicConstraints::Constrained(0))?;
        params.use_authority_key_identifier_extension = true;
        let certificate = Certificate::from_der(params.signed_by(&key, &self.issuer)?.der())?;
        let private_key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, above: self.chain_without_root(), private_key_pem })
    }

    /// An authority that was stored earlier with [`Self::chain_pem`] and [`Self::private_key_pem`].
    pub fn from_pem(chain_pem: &str, private_key_pem: &str, file_name: &str) -> Result<Self, DevelopmentError> {
        let mut certificates = pem::read_certificates(chain_pem.as_bytes(), file_name)?;
        let key = pem::read_private_key(private_key_pem.as_bytes(), file_name)?;
        let certificate = certificates.remove(0);
        if !crate::matches(&certificate, &key) {
            return Err(DevelopmentError::Mismatch(file_name.to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(certificate.der(), KeyPair::from_pem(private_key_pem)?)?;
        certificates.retain(|above| !above.is_self_issued());
        Ok(Self { issuer, certificate, above: certificates, private_key_pem: private_key_pem.to_owned() })
    }

    /// A TLS server for `hosts` (names and IP addresses), `localhost` and the loopback addresses.
    pub fn issue_server(
        &self,
        subject: &Subject,
        hosts: &[&str],
        key: KeyType,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        let mut names = vec![SanType::DnsName("localhost".try_into()?)];
        names.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
        names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
        for host in hosts {
            let name = match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*host).try_into()?),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        self.issue(subject, names, &[ExtendedKeyUsagePurpose::ServerAuth], key, validity)
    }

    /// The client certificate of an organisation, the identity of a DSF node.
    pub fn issue_organization(
        &self,
        subject: &Subject,
        hosts: &[&str],
        key: KeyType,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        let mut names = Vec::new();
        for host in hosts {
            names.push(SanType::DnsName((*host).try_into()?));
        }
        self.issue(subject, names, &[ExtendedKeyUsagePurpose::ClientAuth], key, validity)
    }

    /// The client certificate of a person, as S/MIME CAs issue them.
    pub fn issue_person(
        &self,
        subject: &Subject,
        key: KeyType,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        self.issue(subject, Vec::new(), PERSON, key, validity)
    }

    /// Another certificate of a person over the key of an earlier one, as authorities that renew without a new key do.
    pub fn renew_person(
        &self,
        subject: &Subject,
        earlier: &Issued,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        self.certify(subject, Vec::new(), PERSON, &KeyPair::from_pem(earlier.private_key_pem())?, validity)
    }

    fn issue(
        &self,
        subject: &Subject,
        names: Vec<SanType>,
        purposes: &[ExtendedKeyUsagePurpose],
        key_type: KeyType,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        self.certify(subject, names, purposes, &generate(key_type)?, validity)
    }

    fn certify(
        &self,
        subject: &Subject,
        mut names: Vec<SanType>,
        purposes: &[ExtendedKeyUsagePurpose],
        key: &KeyPair,
        validity: Validity,
    ) -> Result<Issued, DevelopmentError> {
        if let Some(email) = &subject.email {
            names.push(SanType::Rfc822Name(email.as_str().try_into()?));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = subject.distinguished_name()?;
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = purposes.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // TLS 1.2 key transport is RSA only; CAs do not set the bit for elliptic curves.
        if key.is_compatible(&rcgen::PKCS_RSA_SHA256) {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        let certificate = Certificate::from_der(params.signed_by(key, &self.issuer)?.der())?;
        Ok(Issued { certificate, above: self.chain_without_root(), private_key_pem: key.serialize_pem() })
    }

    /// A revocation list that names the certificates, in PEM. Each list that an authority makes has the number `number`.
    pub fn revocation_list(
        &self,
        revoked: &[&Certificate],
        number: u64,
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> Result<String, DevelopmentError> {
        let mut entries = Vec::new();
        for certificate in revoked {
            entries.push(rcgen::RevokedCertParams {
                serial_number: crate::revocation::serial_bytes(certificate).into(),
                revocation_time: this_update,
                reason_code: Some(rcgen::RevocationReason::KeyCompromise),
                invalidity_date: None,
            });
        }
        let list = rcgen::CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: entries,
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(pem::encode("X509 CRL", list.signed_by(&self.issuer)?.der()))
    }

    fn chain_without_root(&self) -> Vec<Certificate> {
        let own = Some(&self.certificate).filter(|own| !own.is_self_issued());
        own.into_iter().chain(&self.above).cloned().collect()
    }

    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA certificate alone: what goes into a trust store.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// The CA certificate and the CAs above it, without the root unless it is the root.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        std::iter::once(&self.certificate).chain(&self.above).map(Certificate::to_pem).collect()
    }

    /// The private key in PKCS #8 PEM. Write it with mode 0600.
    #[must_use]
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }
}

// === impl Issued ===

impl Issued {
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificate alone.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// The certificate and its issuing CAs without the root: what a server or client is configured with.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        std::iter::once(&self.certificate).chain(&self.above).map(Certificate::to_pem).collect()
    }

    /// The private key in PKCS #8 PEM. Write it with mode 0600.
    #[must_use]
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn generate(key: KeyType) -> Result<KeyPair, rcgen::Error> {
    match key {
        KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
    }
}

fn authority_params(
    subject: &Subject,
    validity: Validity,
    constraints: BasicConstraints,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.distinguished_name()?;
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

#[cfg(test)]
mod tests;
