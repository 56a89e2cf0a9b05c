//! Fuzz targets as plain functions: any bytes in, no panic, and what is accepted is stable.
//!
//! The corpus in `fuzz/corpus` is replayed, mutated by a fixed generator, in the tests of this crate; `cargo fuzz` can
//! call the same functions.

use crate::policy::Policy;
use crate::request::{canonicalize, for_bundle_entry};

/// Method, target and base path come from the lines of the input. What has a canonical form keeps it.
///
/// # Panics
/// If an accepted request does not survive being printed and read again, which is the finding.
pub fn request_target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let method = lines.next().unwrap_or_default();
    let target = lines.next().unwrap_or_default();
    let base = lines.next().unwrap_or("/fhir");
    if let Ok(request) = canonicalize(method, target, "/fhir") {
        let printed = request.target("/fhir");
        if printed.len() <= crate::limits::TARGET_BYTES {
            assert_eq!(canonicalize(method, &printed, "/fhir"), Ok(request), "{target:?} is not stable");
        }
    }
    let _ = canonicalize(method, target, base);
    let _ = for_bundle_entry(method, target);
}

/// The input is a policy file.
pub fn policy_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Policy::load(&[("fuzz.toml", &*text)]);
}

#[cfg(test)]
mod tests;
