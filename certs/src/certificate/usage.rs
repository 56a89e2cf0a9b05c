//! What a key is and what its certificate permits: kind and size, key usage, extended key usage.

use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage as KeyUsageFlags;
use x509_parser::prelude::FromDer;

use crate::limits;

/// Kind and size of a public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum KeyType {
    /// RSA with the length of the modulus.
    Rsa { bits: usize },
    /// An elliptic curve, by its NIST or Brainpool name, or the OID of others.
    Ec { curve: String, bits: usize },
    /// Ed25519.
    Ed25519,
    /// Anything else, by OID.
    Other { oid: String },
}

/// One bit of the key usage extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUsage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
    KeyCertSign,
    CrlSign,
    EncipherOnly,
    DecipherOnly,
}

/// One purpose of the extended key usage extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtendedKeyUsage {
    Any,
    ServerAuth,
    ClientAuth,
    CodeSigning,
    EmailProtection,
    TimeStamping,
    OcspSigning,
    /// By OID.
    Other(String),
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits} bit"),
            Self::Ec { curve, .. } => write!(f, "EC {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other { oid } => write!(f, "unknown key type {oid}"),
        }
    }
}

impl std::fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DigitalSignature => "digitalSignature",
            Self::NonRepudiation => "nonRepudiation",
            Self::KeyEncipherment => "keyEncipherment",
            Self::DataEncipherment => "dataEncipherment",
            Self::KeyAgreement => "keyAgreement",
            Self::KeyCertSign => "keyCertSign",
            Self::CrlSign => "cRLSign",
            Self::EncipherOnly => "encipherOnly",
            Self::DecipherOnly => "decipherOnly",
        })
    }
}

impl std::fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "anyExtendedKeyUsage",
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
            Self::CodeSigning => "codeSigning",
            Self::EmailProtection => "emailProtection",
            Self::TimeStamping => "timeStamping",
            Self::OcspSigning => "OCSPSigning",
            Self::Other(oid) => oid,
        })
    }
}

// === reading ===

pub(super) fn usage_bits(flags: &KeyUsageFlags) -> Vec<KeyUsage> {
    [
        (flags.digital_signature(), KeyUsage::DigitalSignature),
        (flags.non_repudiation(), KeyUsage::NonRepudiation),
        (flags.key_encipherment(), KeyUsage::KeyEncipherment),
        (flags.data_encipherment(), KeyUsage::DataEncipherment),
        (flags.key_agreement(), KeyUsage::KeyAgreement),
        (flags.key_cert_sign(), KeyUsage::KeyCertSign),
        (flags.crl_sign(), KeyUsage::CrlSign),
        (flags.encipher_only(), KeyUsage::EncipherOnly),
        (flags.decipher_only(), KeyUsage::DecipherOnly),
    ]
    .into_iter()
    .filter_map(|(set, usage)| set.then_some(usage))
    .collect()
}

pub(super) fn purposes(found: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<ExtendedKeyUsage> {
    let known = [
        (found.any, ExtendedKeyUsage::Any),
        (found.server_auth, ExtendedKeyUsage::ServerAuth),
        (found.client_auth, ExtendedKeyUsage::ClientAuth),
        (found.code_signing, ExtendedKeyUsage::CodeSigning),
        (found.email_protection, ExtendedKeyUsage::EmailProtection),
        (found.time_stamping, ExtendedKeyUsage::TimeStamping),
        (found.ocsp_signing, ExtendedKeyUsage::OcspSigning),
    ];
    let others = found.other.iter().take(limits::NAMES).map(|oid| ExtendedKeyUsage::Other(oid.to_id_string()));
    known.into_iter().filter_map(|(set, purpose)| set.then_some(purpose)).chain(others).collect()
}

pub(super) fn key_type(parsed: &X509Certificate<'_>) -> KeyType {
    let info = parsed.public_key();
    let oid = info.algorithm.algorithm.to_id_string();
    match oid.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
            rsa_bits(info).map_or(KeyType::Other { oid }, |bits| KeyType::Rsa { bits })
        }
        "1.2.840.10045.2.1" => {
            let curve =
                info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
            curve.map_or(KeyType::Other { oid }, |curve| named_curve(&curve))
        }
        "1.3.101.112" => KeyType::Ed25519,
        _ => KeyType::Other { oid },
    }
}

/// The length of the modulus without leading zero bits, as OpenSSL counts.
fn rsa_bits(info: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<usize> {
    let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(&info.subject_public_key.data).ok()?;
    let first = key.modulus.iter().position(|byte| *byte != 0)?;
    let digits = key.modulus.get(first..)?;
    let leading = digits.first()?.leading_zeros() as usize;
    Some(digits.len() * 8 - leading)
}

fn named_curve(oid: &str) -> KeyType {
    let (curve, bits) = match oid {
        "1.2.840.10045.3.1.7" => ("P-256", 256),
        "1.3.132.0.34" => ("P-384", 384),
        "1.3.132.0.35" => ("P-521", 521),
        "1.3.132.0.10" => ("secp256k1", 256),
        "1.3.36.3.3.2.8.1.1.7" => ("brainpoolP256r1", 256),
        "1.3.36.3.3.2.8.1.1.11" => ("brainpoolP384r1", 384),
        "1.3.36.3.3.2.8.1.1.13" => ("brainpoolP512r1", 512),
        other => (other, 0),
    };
    KeyType::Ec { curve: curve.to_owned(), bits }
}
