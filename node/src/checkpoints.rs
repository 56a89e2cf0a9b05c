//! The keys of audit checkpoints: each process signs with the certificate that it shows to others, the gateway as server, the
//! engine as client. So nobody needs another key, and who verifies has the certificates already.

use audit::checkpoint::{Judge, Signer};
use certs::{CertError, Certificate, Credentials, Signature, SignedPurpose};

use crate::settings::KeyPair;

/// Signs with the certificate and key in these files, as they are at that moment: a renewal needs nothing.
#[derive(Clone, Debug)]
pub struct ProcessKey {
    pair: KeyPair,
}

/// Certificates whose checkpoints count.
#[derive(Clone, Debug, Default)]
pub struct KnownCertificates {
    certificates: Vec<Certificate>,
}

// === impl ProcessKey ===

impl ProcessKey {
    /// The key of these files.
    #[must_use]
    pub const fn new(pair: KeyPair) -> Self {
        Self { pair }
    }
}

impl Signer for ProcessKey {
    fn sign(&self, content: &str) -> Result<(String, String), String> {
        let KeyPair { certificate, private_key } = &self.pair;
        let credentials = Credentials::load(certificate, private_key).map_err(|error| error.to_string())?;
        let signature = Signature::sign(credentials.key(), SignedPurpose::AuditCheckpoint, content.as_bytes());
        let signature = signature.map_err(|error| error.to_string())?;
        Ok((credentials.certificate().sha256().to_owned(), signature.to_string()))
    }
}

// === impl KnownCertificates ===

impl KnownCertificates {
    /// Adds the certificates of a file.
    pub fn add(&mut self, file: &std::path::Path) -> Result<(), CertError> {
        let bytes = certs::pem::read_file(file)?;
        self.certificates.extend(certs::read_certificates(&bytes, &file.display().to_string())?);
        Ok(())
    }
}

impl Judge for KnownCertificates {
    fn holds(&self, certificate: &str, content: &str, signature: &str) -> Option<bool> {
        let known = self.certificates.iter().find(|known| known.sha256() == certificate)?;
        let holds =
            |signature: Signature| signature.verify(known, SignedPurpose::AuditCheckpoint, content.as_bytes()).is_ok();
        Some(signature.parse().is_ok_and(holds))
    }
}
