//! Keys of projects, and what linkage, pseudonyms and date shifts derive from them: HMAC-SHA256 as pseudo-random
//! function, with a label for every purpose, so that no two uses of a key ever compute the same thing.
//!
//! Invariants: a key is never printed, and is overwritten when it is dropped; parts of an input are length-prefixed, so
//! that different lists of parts never give the same input.

use std::fmt;

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroize as _;

/// A secret of 32 bytes.
#[derive(Clone)]
pub struct Key([u8; Self::LENGTH]);

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Other than 32 bytes.
    #[error("a key has {} bytes, not {found}", Key::LENGTH)]
    Length {
        /// Bytes that were there.
        found: usize,
    },
    /// All bytes equal, as of a file that was never filled.
    #[error("the key is empty: all of its bytes are equal")]
    Empty,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A function that nobody can compute without the key.
pub struct Keyed(hmac::Key);

/// Endless pseudo-random numbers.
pub struct Stream<'k> {
    keyed: &'k Keyed,
    label: Vec<u8>,
    block: u32,
    buffered: [u8; Key::LENGTH],
    used: usize,
}

// === impl Key ===

impl Key {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// A fresh key.
    pub fn random() -> Result<Self, KeyError> {
        let mut key = [0; Self::LENGTH];
        rand::fill(&mut key).map_err(|_| KeyError::Random)?;
        Ok(Self(key))
    }

    /// Takes 32 bytes that came from [`Key::random`].
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = <[u8; Self::LENGTH]>::try_from(bytes).map_err(|_| KeyError::Length { found: bytes.len() })?;
        if bytes.windows(2).all(|two| matches!(two, [first, second] if first == second)) {
            return Err(KeyError::Empty);
        }
        Ok(Self(key))
    }

    /// What partners name to each other to see that they hold the same key; says nothing about it.
    #[must_use]
    pub fn id(&self) -> String {
        let tag = self.derive(&[b"key id"]).tag(&[]);
        tag.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes, for storing or sealing them.
    #[must_use]
    pub const fn secret_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The function of a purpose.
    #[must_use]
    pub fn derive(&self, purpose: &[&[u8]]) -> Keyed {
        let mut derived = Keyed(hmac::Key::new(hmac::HMAC_SHA256, &self.0)).tag(purpose);
        let keyed = Keyed(hmac::Key::new(hmac::HMAC_SHA256, &derived));
        derived.zeroize();
        keyed
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

// === impl Keyed ===

impl Keyed {
    /// The value of the function.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }

    /// Numbers that follow from key and label.
    #[must_use]
    pub fn stream(&self, label: &[u8]) -> Stream<'_> {
        Stream { keyed: self, label: label.to_vec(), block: 0, buffered: [0; Key::LENGTH], used: Key::LENGTH }
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(..)")
    }
}

// === impl Stream ===

impl Stream<'_> {
    fn next_u32(&mut self) -> u32 {
        if self.used == self.buffered.len() {
            self.buffered = self.keyed.tag(&[&self.label, &self.block.to_be_bytes()]);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        let bytes = self.buffered.get(self.used..self.used + 4).and_then(|bytes| bytes.try_into().ok());
        self.used += 4;
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    /// A number below `bound`. Its bias is at most `bound` / 2^32, without meaning for the small bounds that it is used
    /// with.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.next_u32()) * bound as u64) >> 32) as usize
    }

    /// A random order of `0..length` (Fisher and Yates).
    #[must_use]
    pub fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            let other = self.below(last + 1);
            order.swap(last, other);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, KeyError};

    fn key(seed: u8) -> Key {
        let bytes: Vec<u8> = (0..32).map(|place: u8| place.wrapping_add(seed)).collect();
        Key::new(&bytes).unwrap()
    }

    #[test]
    fn a_key_has_32_bytes_that_differ_and_shows_only_its_id() {
        assert_eq!(Key::new(&[1; 31]).unwrap_err(), KeyError::Length { found: 31 });
        assert_eq!(Key::new(&[0; 32]).unwrap_err(), KeyError::Empty);
        assert_eq!(key(1).id(), key(1).id());
        assert_ne!(key(1).id(), key(2).id());
        assert_eq!(format!("{:?} {:?}", key(1), key(1).derive(&[])), "Key(..) Keyed(..)");
        assert_ne!(Key::random().unwrap().id(), Key::random().unwrap().id());
    }

    #[test]
    fn purposes_and_parts_do_not_mix() {
        let key = key(1);
        assert_ne!(key.derive(&[b"a", b"b"]).tag(&[]), key.derive(&[b"ab"]).tag(&[]));
        assert_ne!(key.derive(&[b"a"]).tag(&[b"x", b"y"]), key.derive(&[b"a"]).tag(&[b"xy"]));
        assert_eq!(key.derive(&[b"a"]).tag(&[b"x"]), key.derive(&[b"a"]).tag(&[b"x"]));
    }

    #[test]
    fn a_permutation_has_every_place_once_and_numbers_stay_below_their_bound() {
        let keyed = key(3).derive(&[b"order"]);
        let mut order = keyed.stream(b"").permutation(500);
        assert_ne!(order, (0..500).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..500).collect::<Vec<_>>());
        let mut stream = keyed.stream(b"other");
        let mut seen = [0; 10];
        (0..2_000).for_each(|_| seen[stream.below(10)] += 1);
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
    }
}
