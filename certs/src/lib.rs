//! X.509 certificates as hospitals have them: reading, thumbprints, trust stores, rules, and a development authority.
//!
//! Every certificate of the product enters through this crate: files named in `node.toml` ([`pem`]), the leaf that a
//! partner presents in a TLS handshake ([`Certificate::from_der`]), the trust store that verifies it ([`trust`]) and the
//! rules of the security officer about it ([`rules`]). `schleuse cert` prints what [`inspect()`] finds, the demonstration
//! network gets its certificates from [`development`].
//!
//! Invariants: a [`Certificate`] is parsed once and its facts never disagree with its DER; nothing in here panics on
//! bytes from outside; every refusal has a name, the evidence and a remedy. The crate has no clock: the time of the
//! question is an argument, so that a report of yesterday can be made again.

pub mod certificate;
pub mod chain;
pub mod credentials;
pub mod development;
pub mod error;
pub mod fuzz;
pub mod handshake;
pub mod inspect;
pub mod limits;
pub mod name;
pub mod pem;
pub mod request;
pub mod revocation;
pub mod rules;
pub mod signature;
pub mod trust;
pub mod verdict;

mod der;
#[cfg(test)]
mod testing;

pub use certificate::{Certificate, fingerprint, thumbprint};
pub use credentials::{Credentials, matches};
pub use error::{CertError, Problem};
pub use inspect::{Inspection, inspect};
pub use name::Name;
pub use pem::{PrivateKey, read_certificates, read_private_key};
pub use request::{Purpose, RequestError, new_private_key, signing_request};
pub use revocation::{LiveRevocation, Revocation, RevocationList, RevocationMode};
pub use rules::{CertificateRefusal, CertificateRules};
pub use signature::{Signature, SignatureError, SignedPurpose};
pub use trust::{ClientVerifier, TrustStore, client_verifier, server_verifier};
pub use verdict::{ClientTrust, Verdict};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography that every part of the product uses (AWS-LC), independent of what a dependency installs as default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Makes [`provider`] the one that rustls uses where none is named. Called first of all in every program: a dependency
/// links another provider, and rustls must never fall back to it.
pub fn install_provider() {
    // An error means that it was installed before, by this function too.
    let _ = CryptoProvider::install_default((*provider()).clone());
}
