//! A certificate with its issuing CAs and its private key: what a node shows as server and as client.
//!
//! Files of hospitals hold the certificates in any order and often with the root. [`Credentials::new`] finds the one that
//! belongs to the key, orders the rest by issuer and drops the root, which no peer needs.

use std::path::Path;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::Certificate;
use crate::error::{CertError, Problem};
use crate::pem::{self, PrivateKey};

/// A private key and the chain that it is shown with: the own certificate first, then its issuing CAs.
#[derive(Debug)]
pub struct Credentials {
    own: Certificate,
    issuers: Vec<Certificate>,
    key: PrivateKey,
}

/// Whether the certificate is for the public half of the key.
#[must_use]
pub fn matches(certificate: &Certificate, key: &PrivateKey) -> bool {
    certificate.public_key_info() == key.public_key_info()
}

impl Credentials {
    /// Reads both files; they may be the same file.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, CertError> {
        let certificate_name = certificate_file.display().to_string();
        let key_name = key_file.display().to_string();
        let certificates = pem::read_certificates(&pem::read_file(certificate_file)?, &certificate_name)?;
        let key = pem::read_private_key(&pem::read_key_file(key_file)?, &key_name)?;
        Self::new(certificates, key, &certificate_name, &key_name)
    }

    /// Puts certificates and key together; the names are for the error.
    pub fn new(
        certificates: Vec<Certificate>,
        key: PrivateKey,
        certificate_file: &str,
        key_file: &str,
    ) -> Result<Self, CertError> {
        let Some(position) = certificates.iter().position(|certificate| matches(certificate, &key)) else {
            let problem = certificates.first().map_or_else(
                || Problem::NoCertificate { found: "nothing".to_owned() },
                |first| Problem::KeyMismatch { key_file: key_file.to_owned(), subject: first.subject().to_string() },
            );
            return Err(CertError::new(certificate_file, problem));
        };
        let mut rest = certificates;
        let own = rest.swap_remove(position);
        let issuers = crate::chain::order(&own, rest);
        Ok(Self { own, issuers, key })
    }

    /// The own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.own
    }

    /// The private key, for signatures.
    #[must_use]
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The own certificate and its issuing CAs, without a root.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.own).chain(&self.issuers)
    }

    /// The chain for rustls.
    #[must_use]
    pub fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        self.chain().map(|certificate| certificate.der().clone()).collect()
    }

    /// The key for rustls.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        self.key.der()
    }

    /// Chain and key for a rustls resolver (`ResolvesServerCert`, `ResolvesClientCert`).
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let key = crate::provider().key_provider.load_private_key(self.key.der())?;
        Ok(Arc::new(CertifiedKey::new(self.chain_der(), key)))
    }
}
