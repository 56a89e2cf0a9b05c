//! Signed manifests: which parts a delivery has, with their hashes, said by an organisation with the key of its
//! certificate.
//!
//! What is signed are the bytes of the manifest as they are sent; nothing is written anew before checking. A signature
//! proves possession of the key of the certificate that comes with it; that the certificate belongs to the organisation
//! which the manifest names is for the caller to look up in the allow-list, by the thumbprint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use crate::limits;

/// What a signature is made over before the manifest, so that it can be none of TLS or of anything else.
const CONTEXT: &[u8] = b"schleuse signed manifest 1\0";

/// Schemes in the order of preference, with their names and how they are checked.
const SCHEMES: [(SignatureScheme, &str, &dyn SignatureVerificationAlgorithm); 6] = [
    (SignatureScheme::ED25519, "ed25519", webpki::aws_lc_rs::ED25519),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ecdsa-p256-sha256", webpki::aws_lc_rs::ECDSA_P256_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ecdsa-p384-sha384", webpki::aws_lc_rs::ECDSA_P384_SHA384),
    (SignatureScheme::RSA_PSS_SHA256, "rsa-pss-sha256", webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
    (SignatureScheme::RSA_PSS_SHA384, "rsa-pss-sha384", webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA384_LEGACY_KEY),
    (SignatureScheme::RSA_PSS_SHA512, "rsa-pss-sha512", webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA512_LEGACY_KEY),
];

/// What a delivery consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Identifier of the organisation that delivers.
    pub sender: String,
    /// Identifier of the organisation that receives.
    pub recipient: String,
    /// Identifier of the project.
    pub project: String,
    /// Business key of the process.
    pub run: String,
    /// When, as a FHIR instant.
    pub created: String,
    /// Which version of a data set it is, if it was made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The parts in their order.
    pub parts: Vec<Part>,
}

/// A data set that was made anew because persons have withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Revision {
    /// 1 for the first one after the data set as it was released.
    pub number: u64,
    /// Persons who were taken out of it so far.
    pub withdrawn: u64,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Part {
    /// Name, such as `Observation.ndjson`.
    pub name: String,
    /// Bytes before sealing.
    pub bytes: u64,
    /// Resources or rows.
    pub records: u64,
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub sha256: String,
}

/// The sent form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SignedManifest {
    manifest: String,
    scheme: String,
    signature: String,
    certificate: String,
}

/// A manifest whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What was signed.
    pub manifest: Manifest,
    /// DER of the certificate whose key signed it.
    pub certificate: Vec<u8>,
}

/// Signs with the key of a certificate.
pub struct Signer {
    key: Arc<dyn rustls::sign::SigningKey>,
    certificate: Vec<u8>,
}

/// Why a manifest is not signed or not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The private key is of no kind that signs.
    #[error("the private key cannot be used for signing: {0}")]
    Key(String),
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate")]
    OtherKey,
    /// Larger than [`limits::MANIFEST`] or with more than [`limits::PARTS`] parts.
    #[error("the manifest is too large")]
    TooLarge,
    /// It is none.
    #[error("this is no signed manifest")]
    Format,
    /// The signature does not hold.
    #[error("the signature of the manifest does not hold")]
    Signature,
}

// === impl Part ===

impl Part {
    /// The part with these bytes.
    #[must_use]
    pub fn of(name: &str, content: &[u8], records: u64) -> Self {
        Self::hashed(name, content.len() as u64, records, Sha256::digest(content).into())
    }

    /// The part whose hash was computed while it was written.
    #[must_use]
    pub fn hashed(name: &str, bytes: u64, records: u64, hash: [u8; 32]) -> Self {
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), bytes, records, sha256 }
    }

    fn is_plausible(&self) -> bool {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        self.name.len() <= limits::TEXT && self.sha256.len() == 64 && self.sha256.bytes().all(is_digit)
    }
}

// === impl Signer ===

impl Signer {
    /// Takes the private key of the certificate.
    pub fn new(private_key: &PrivateKeyDer<'_>, certificate: &CertificateDer<'_>) -> Result<Self, ManifestError> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(private_key);
        let key = key.map_err(|error| ManifestError::Key(error.to_string()))?;
        let signer = Self { key, certificate: certificate.to_vec() };
        // A key that does not fit would be noticed by the partner only.
        let probe = signer.signature(b"probe")?;
        verify(&signer.certificate, &probe.0, b"probe", &probe.1).map_err(|_| ManifestError::OtherKey)?;
        Ok(signer)
    }

    /// Signs.
    pub fn sign(&self, manifest: &Manifest) -> Result<SignedManifest, ManifestError> {
        if !manifest.is_plausible() {
            return Err(ManifestError::TooLarge);
        }
        let bytes = serde_json::to_vec(manifest).map_err(|_| ManifestError::Format)?;
        let (scheme, signature) = self.signature(&bytes)?;
        Ok(SignedManifest {
            manifest: STANDARD.encode(&bytes),
            scheme,
            signature: STANDARD.encode(signature),
            certificate: STANDARD.encode(&self.certificate),
        })
    }

    fn signature(&self, bytes: &[u8]) -> Result<(String, Vec<u8>), ManifestError> {
        let offered: Vec<SignatureScheme> = SCHEMES.iter().map(|(scheme, ..)| *scheme).collect();
        let none = || ManifestError::Key("no known scheme fits it".to_owned());
        let signer = self.key.choose_scheme(&offered).ok_or_else(none)?;
        let name = SCHEMES.iter().find(|(scheme, ..)| *scheme == signer.scheme()).ok_or_else(none)?.1;
        let signature = signer.sign(&message(bytes)).map_err(|error| ManifestError::Key(error.to_string()))?;
        Ok((name.to_owned(), signature))
    }
}

// === impl Manifest ===

impl Manifest {
    fn is_plausible(&self) -> bool {
        let texts = [&self.sender, &self.recipient, &self.project, &self.run, &self.created];
        self.parts.len() <= limits::PARTS
            && texts.iter().all(|text| text.len() <= limits::TEXT)
            && self.parts.iter().all(Part::is_plausible)
    }
}

// === impl SignedManifest ===

impl SignedManifest {
    /// The sent form as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        serde_json::to_vec(self).map_err(|_| ManifestError::Format)
    }

    /// Reads the sent form and checks the signature.
    pub fn verify(json: &[u8]) -> Result<Verified, ManifestError> {
        if json.len() > limits::MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let signed: Self = serde_json::from_slice(json).map_err(|_| ManifestError::Format)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| ManifestError::Format);
        let (bytes, certificate) = (decode(&signed.manifest)?, decode(&signed.certificate)?);
        verify(&certificate, &signed.scheme, &bytes, &decode(&signed.signature)?)?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| ManifestError::Format)?;
        if !manifest.is_plausible() {
            return Err(ManifestError::TooLarge);
        }
        Ok(Verified { manifest, certificate })
    }
}

fn message(bytes: &[u8]) -> Vec<u8> {
    [CONTEXT, bytes].concat()
}

fn verify(certificate: &[u8], scheme: &str, bytes: &[u8], signature: &[u8]) -> Result<(), ManifestError> {
    let (_, _, algorithm) = SCHEMES.iter().find(|(_, name, _)| *name == scheme).ok_or(ManifestError::Format)?;
    let certificate = CertificateDer::from(certificate);
    let certificate = webpki::EndEntityCert::try_from(&certificate).map_err(|_| ManifestError::Format)?;
    certificate.verify_signature(*algorithm, &message(bytes), signature).map_err(|_| ManifestError::Signature)
}
