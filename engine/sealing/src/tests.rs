//! Tests of sealing, opening and manifests.

mod manifests;
mod payloads;
mod vectors;

use crate::{Binding, Keyring, OpenError, Opener, PrivateKey, Sealer};

pub(super) const BINDING: Binding<'static> = Binding {
    sender: "dic-1.example",
    recipient: "dms.example",
    project: "project-1",
    purpose: "submitDataSet",
    run: "5f2c1a4e-0000-4000-8000-000000000001",
};

pub(super) fn key(seed: u8) -> PrivateKey {
    let bytes: Vec<u8> = (0..32).map(|place: u8| place.wrapping_mul(11).wrapping_add(seed)).collect();
    PrivateKey::new(&bytes).unwrap()
}

pub(super) fn ring(seed: u8) -> Keyring {
    Keyring::new(vec![key(seed)]).unwrap()
}

pub(super) fn seal(plaintext: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(Vec::new(), &key(1).public(), &BINDING).unwrap();
    sealer.write(plaintext).unwrap();
    sealer.finish().unwrap()
}

/// All of it, or the error; what came before an error is thrown away as callers must.
pub(super) fn open(sealed: &[u8], keys: &Keyring, binding: &Binding<'_>) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(sealed, keys, binding)?;
    let mut plaintext = Vec::new();
    while let Some(chunk) = opener.next_chunk()? {
        plaintext.extend(chunk);
    }
    Ok(plaintext)
}
