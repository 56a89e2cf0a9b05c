//! Keys of a node for what is sealed to it: X25519, named by the SHA-256 of the public key.

use std::fmt;

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin};
use rustls::crypto::hpke::{Hpke, HpkePrivateKey, HpkePublicKey};
use sha2::{Digest as _, Sha256};

use crate::limits;

/// The suite of every payload.
pub(crate) fn suite() -> &'static dyn Hpke {
    rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256
}

/// What others seal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; Self::LENGTH]);

/// What opens; overwritten when it is dropped.
pub struct PrivateKey {
    secret: HpkePrivateKey,
    public: PublicKey,
}

/// The private keys of a node, the newest first. Older ones stay until nothing sealed with them can arrive any more.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<PrivateKey>,
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Other than 32 bytes.
    #[error("the key has {found} bytes, not {}", PublicKey::LENGTH)]
    Length {
        /// Bytes that were there.
        found: usize,
    },
    /// Not a key of X25519.
    #[error("the key is not a private key of X25519")]
    Unusable,
    /// More than [`limits::KEYS`].
    #[error("a node keeps at most {} keys; remove those that nothing is sealed with any more", limits::KEYS)]
    TooMany,
}

// === impl PublicKey ===

impl PublicKey {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// Takes the bytes of RFC 7748.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError::Length { found: bytes.len() })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The name of the key: SHA-256 of its bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    pub(crate) fn to_hpke(self) -> HpkePublicKey {
        HpkePublicKey(self.0.to_vec())
    }
}

// === impl PrivateKey ===

impl PrivateKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, KeyError> {
        let unusable = |_| KeyError::Unusable;
        let key = agreement::PrivateKey::generate(&agreement::X25519).map_err(unusable)?;
        let seed: Curve25519SeedBin<'static> = key.as_be_bytes().map_err(unusable)?;
        Self::new(seed.as_ref())
    }

    /// Takes the bytes that were kept.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != PublicKey::LENGTH {
            return Err(KeyError::Length { found: bytes.len() });
        }
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, bytes).map_err(|_| KeyError::Unusable)?;
        let public = key.compute_public_key().map_err(|_| KeyError::Unusable)?;
        Ok(Self { secret: HpkePrivateKey::from(bytes.to_vec()), public: PublicKey::new(public.as_ref())? })
    }

    /// The public key to it.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The bytes, for keeping them in a file.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8] {
        self.secret.secret_bytes()
    }

    pub(crate) const fn to_hpke(&self) -> &HpkePrivateKey {
        &self.secret
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

// === impl Keyring ===

impl Keyring {
    /// The keys, newest first.
    pub fn new(keys: Vec<PrivateKey>) -> Result<Self, KeyError> {
        if keys.len() > limits::KEYS {
            return Err(KeyError::TooMany);
        }
        Ok(Self { keys })
    }

    /// The key that others are to use now.
    #[must_use]
    pub fn current(&self) -> Option<PublicKey> {
        self.keys.first().map(PrivateKey::public)
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| key.public.id() == id)
    }
}
