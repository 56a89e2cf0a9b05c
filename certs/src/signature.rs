//! Detached signatures made with the key of a certificate: officers sign policies and changes of the allow-list, the
//! processes sign checkpoints of their audit logs.
//!
//! What is signed begins with a word for its purpose, so that a signature over one kind of thing is never one over another,
//! nor one that TLS asks for. A signature names its scheme; verification takes that scheme with the key of the certificate
//! and nothing else. The text form is read strictly: no two texts are the same signature.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;

use crate::certificate::Certificate;
use crate::chain::public_key;
use crate::pem::PrivateKey;

/// Begins everything that is signed.
const DOMAIN: &str = "schleuse signature 1";
/// Longest signature: RSA with 16384 bit.
const SIGNATURE_BYTES: usize = 2048;

/// Schemes by preference, with the names that files use.
const SCHEMES: [(SignatureScheme, &str); 7] = [
    (SignatureScheme::ED25519, "ed25519"),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ecdsa-p256-sha256"),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ecdsa-p384-sha384"),
    (SignatureScheme::ECDSA_NISTP521_SHA512, "ecdsa-p521-sha512"),
    (SignatureScheme::RSA_PSS_SHA256, "rsa-pss-sha256"),
    (SignatureScheme::RSA_PSS_SHA384, "rsa-pss-sha384"),
    (SignatureScheme::RSA_PSS_SHA512, "rsa-pss-sha512"),
];

/// What a signature is about. Signatures of one purpose do not verify for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedPurpose {
    /// A policy tree and its number.
    Policy,
    /// A change of the allow-list.
    AllowListChange,
    /// A checkpoint of an audit log.
    AuditCheckpoint,
    /// The manifest of a newer system for an appliance.
    ApplianceUpdate,
}

/// A signature and its scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    scheme: SignatureScheme,
    bytes: Vec<u8>,
}

/// Why there is no signature, or why it does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key cannot sign with a known scheme.
    #[error("the key cannot sign: {0}")]
    Key(String),
    /// Not the text of a signature.
    #[error("is not written as SCHEME:BASE64 with a known scheme")]
    Form,
    /// The scheme does not fit the key of the certificate.
    #[error("its scheme does not fit the key of the certificate")]
    Scheme,
    /// The signature is not of this content by this key.
    #[error("does not match what it is said to sign")]
    Wrong,
}

// === impl SignedPurpose ===

impl SignedPurpose {
    const fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::AllowListChange => "allow-list change",
            Self::AuditCheckpoint => "audit checkpoint",
            Self::ApplianceUpdate => "appliance update",
        }
    }

    fn framed(self, content: &[u8]) -> Vec<u8> {
        let mut framed = format!("{DOMAIN}\n{}\n", self.word()).into_bytes();
        framed.extend_from_slice(content);
        framed
    }
}

// === impl Signature ===

impl Signature {
    /// Signs `content` with a private key.
    pub fn sign(key: &PrivateKey, purpose: SignedPurpose, content: &[u8]) -> Result<Self, SignatureError> {
        let unusable = |error: rustls::Error| SignatureError::Key(error.to_string());
        let key = crate::provider().key_provider.load_private_key(key.der()).map_err(unusable)?;
        let signer = SCHEMES
            .iter()
            .find_map(|(scheme, _)| key.choose_scheme(&[*scheme]))
            .ok_or_else(|| SignatureError::Key("no scheme that verification knows".to_owned()))?;
        let bytes = signer.sign(&purpose.framed(content)).map_err(unusable)?;
        Ok(Self { scheme: signer.scheme(), bytes })
    }

    /// Verifies it with the key of a certificate. Whether the certificate is valid or trusted is asked elsewhere.
    pub fn verify(
        &self,
        certificate: &Certificate,
        purpose: SignedPurpose,
        content: &[u8],
    ) -> Result<(), SignatureError> {
        let (key_algorithm, key) = public_key(certificate.public_key_info()).ok_or(SignatureError::Scheme)?;
        let provider = crate::provider();
        let known = provider.signature_verification_algorithms.mapping;
        let algorithms =
            known.iter().filter(|(scheme, _)| *scheme == self.scheme).flat_map(|(_, algorithms)| *algorithms);
        let message = purpose.framed(content);
        let mut result = Err(SignatureError::Scheme);
        for algorithm in algorithms.filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key_algorithm) {
            if algorithm.verify_signature(key, &message, &self.bytes).is_ok() {
                return Ok(());
            }
            result = Err(SignatureError::Wrong);
        }
        result
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SCHEMES.iter().find(|(scheme, _)| *scheme == self.scheme).map_or("unknown", |(_, name)| name);
        write!(f, "{name}:{}", STANDARD.encode(&self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (name, encoded) = text.split_once(':').ok_or(SignatureError::Form)?;
        let scheme = SCHEMES.iter().find(|(_, known)| *known == name).ok_or(SignatureError::Form)?.0;
        if encoded.len() > SIGNATURE_BYTES * 2 {
            return Err(SignatureError::Form);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| SignatureError::Form)?;
        Ok(Self { scheme, bytes })
    }
}

#[cfg(test)]
mod tests;
