//! Entry points for fuzzing: plain functions over bytes, replayed over a corpus in the tests and mutated by `cargo fuzz`.
//!
//! None may panic, loop or use more than a small multiple of the input's memory, whatever the bytes are.

use time::OffsetDateTime;

/// Everything that is read from a file an administrator names.
pub fn file(bytes: &[u8]) {
    let _ = crate::read_private_key(bytes, "fuzz");
    if let Ok(certificates) = crate::read_certificates(bytes, "fuzz") {
        let _ = crate::TrustStore::from_certificates(certificates, "fuzz");
    }
    let _ = crate::RevocationList::read(bytes, "fuzz", None);
    if let Ok(inspections) = crate::inspect(bytes, "fuzz", OffsetDateTime::UNIX_EPOCH) {
        for inspection in inspections {
            let _ = inspection.text();
        }
    }
}

/// What a partner shows in a handshake.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = crate::Certificate::from_der(bytes) {
        let _ = crate::CertificateRules::default().check(&certificate);
        let _ = certificate.is_self_signed();
    }
}

#[cfg(test)]
mod tests;
