//! Sealing: what only the organisation that it is for can read, and what only the organisation that it is from can have
//! said.
//!
//! A payload is sealed above TLS, so that no gateway, store or backup between two organisations holds it in the clear.
//! Encryption is HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, from rustls and
//! aws-lc-rs. The stream is cut into chunks, so that memory does not grow with the payload; order, end and addressees are
//! authenticated. HPKE says nothing about the sender: that is what the signed [`manifest`] is for, which names every
//! payload by its hash. The formats are in `docs/sealed-payloads.md`.
//!
//! Invariants: all failures of decryption are one error with one text, whatever their cause; nothing of a chunk is handed
//! out before its tag was checked, and [`open`] reports success only after the last chunk; keys are never printed.

pub mod keys;
pub mod limits;
pub mod manifest;
pub mod open;
pub mod seal;

pub use keys::{Keyring, PrivateKey, PublicKey};
pub use manifest::{Manifest, ManifestError, Part, Revision, SignedManifest, Signer};
pub use open::{OpenError, Opener};
pub use seal::{Binding, SealError, Sealer};

#[cfg(test)]
mod tests;
