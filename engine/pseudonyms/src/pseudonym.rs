//! Deterministic pseudonyms: 80 bits of a keyed function in Crockford's base 32, and a check character.
//!
//! The check character is a sum over GF(32) with another weight for every place, so that one wrong character and any two
//! exchanged characters are noticed. All pseudonyms have the same length and are FHIR ids.

use std::fmt;
use std::str::FromStr;

use secrets::{Key, KeyError, Keyed};

/// Digits in the order of their values.
const ALPHABET: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters before the check character.
const CHARACTERS: usize = 16;

/// A pseudonym in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(String);

/// Text that is no pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePseudonymError {
    /// Other than 17 characters of the alphabet.
    #[error("a pseudonym has 17 letters and digits without I, L, O and U")]
    Form,
    /// The check character is another.
    #[error("the check character of the pseudonym is wrong: it was mistyped")]
    Check,
}

/// Makes the pseudonyms of one project at one place.
pub struct Pseudonyms {
    keyed: Keyed,
}

// === impl Pseudonym ===

impl Pseudonym {
    /// The pseudonym of ten bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let number = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let values = (0..CHARACTERS).rev().map(|place| (number >> (5 * place)) as u8 & 31);
        let values: Vec<u8> = values.collect();
        let all = values.iter().copied().chain([check(&values)]);
        Self(all.filter_map(|value| ALPHABET.get(usize::from(value))).map(|byte| char::from(*byte)).collect())
    }

    /// A pseudonym that follows from nothing.
    pub fn random() -> Result<Self, KeyError> {
        let random = Key::random()?;
        let mut bytes = [0; 10];
        bytes.iter_mut().zip(random.secret_bytes()).for_each(|(byte, value)| *byte = *value);
        Ok(Self::from_bytes(bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pseudonym {
    type Err = ParsePseudonymError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = |byte: u8| ALPHABET.iter().position(|known| *known == byte).map(|value| value as u8);
        let values: Option<Vec<u8>> = text.bytes().map(value).collect();
        match values.as_deref() {
            Some([start @ .., last]) if start.len() == CHARACTERS => {
                if check(start) == *last {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParsePseudonymError::Check)
                }
            }
            _ => Err(ParsePseudonymError::Form),
        }
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sum of the values, each times a power of 2 in GF(32) (x^5 + x^2 + 1, in which 2 generates all 31 others).
fn check(values: &[u8]) -> u8 {
    values.iter().fold(0, |sum, value| {
        let shifted = (sum ^ value) << 1;
        if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
    })
}

// === impl Pseudonyms ===

impl Pseudonyms {
    /// Pseudonyms of a project; two places with different keys never give the same one for a person.
    #[must_use]
    pub fn new(key: &Key, project: &str) -> Self {
        Self { keyed: key.derive(&[b"pseudonym", project.as_bytes()]) }
    }

    /// The pseudonym of an original in a domain (a resource type, the system of an identifier).
    #[must_use]
    pub fn of(&self, domain: &str, original: &str) -> Pseudonym {
        let tag = self.keyed.tag(&[domain.as_bytes(), original.as_bytes()]);
        let mut bytes = [0; 10];
        bytes.iter_mut().zip(tag).for_each(|(byte, value)| *byte = value);
        Pseudonym::from_bytes(bytes)
    }
}
