//! Filters: one, and a list of them in one piece of memory.
//!
//! The wire form is base64 (RFC 4648, standard alphabet, padded) of the bits in little-endian order, bit 0 first. What
//! comes from another site is checked for length and for a plausible number of bits before anything is compared: a
//! filter with every bit set would resemble everybody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
use crate::parameters::{ParameterSet, Similarity};

/// A filter of one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    words: Vec<u64>,
}

/// Filters of one list, all of one parameter set.
pub struct Filters {
    parameters: &'static ParameterSet,
    words: Vec<u64>,
    ones: Vec<u32>,
}

/// A filter that cannot have been made by an encoder of the parameter set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No base64.
    #[error("the filter is not base64")]
    Base64,
    /// Not the length of the parameter set.
    #[error("the filter has {found} bytes, those of {parameters} have {expected}")]
    Length {
        /// Bytes that were there.
        found: usize,
        /// Bytes of the set.
        expected: usize,
        /// Name of the set.
        parameters: &'static str,
    },
    /// So few or so many bits that it would resemble nobody or everybody.
    #[error("the filter has {ones} of {bits} bits, which no person gives")]
    Implausible {
        /// Bits that are set.
        ones: u32,
        /// All bits.
        bits: usize,
    },
    /// More records than [`limits::RECORDS`].
    #[error("the list has more than {} records", limits::RECORDS)]
    TooMany,
}

// === impl Filter ===

impl Filter {
    pub(crate) const fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    /// The words, bit 0 lowest.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Bits that are set.
    #[must_use]
    pub fn ones(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Similarity to another filter; filters of different lengths have nothing in common.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> Similarity {
        if self.words.len() != other.words.len() {
            return Similarity::millionths(0);
        }
        Similarity::dice(common(&self.words, &other.words), self.ones(), other.ones())
    }

    /// The wire form.
    #[must_use]
    pub fn to_base64(&self) -> String {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }

    /// Reads the wire form of a filter of this parameter set.
    pub fn from_base64(parameters: &'static ParameterSet, text: &str) -> Result<Self, FilterError> {
        let expected = parameters.bits / 8;
        // Looked at before decoding: base64 of n bytes has 4/3 n characters.
        if text.len() > expected * 2 + 4 {
            return Err(FilterError::Length { found: text.len() / 4 * 3, expected, parameters: parameters.name });
        }
        let bytes = STANDARD.decode(text).map_err(|_| FilterError::Base64)?;
        if bytes.len() != expected {
            return Err(FilterError::Length { found: bytes.len(), expected, parameters: parameters.name });
        }
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let filter = Self { words: bytes.chunks_exact(8).map(word).collect() };
        let ones = filter.ones();
        // Values of usual length fill 35 percent, half of them known 17; the longest that are read stay below 80.
        let bits = parameters.bits;
        if (ones as usize) * 100 < bits * 8 || (ones as usize) * 100 > bits * 80 {
            return Err(FilterError::Implausible { ones, bits });
        }
        Ok(filter)
    }
}

impl core::fmt::Debug for Filter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Filter({} of {} bits)", self.ones(), self.words.len() * 64)
    }
}

// === impl Filters ===

impl Filters {
    /// An empty list.
    #[must_use]
    pub const fn new(parameters: &'static ParameterSet) -> Self {
        Self { parameters, words: Vec::new(), ones: Vec::new() }
    }

    /// Adds a filter; its place is the number of filters before it.
    pub fn push(&mut self, filter: &Filter) -> Result<(), FilterError> {
        if filter.words.len() != self.parameters.words() {
            let (found, expected) = (filter.words.len() * 8, self.parameters.bits / 8);
            return Err(FilterError::Length { found, expected, parameters: self.parameters.name });
        }
        if self.len() >= limits::RECORDS {
            return Err(FilterError::TooMany);
        }
        self.words.extend_from_slice(&filter.words);
        self.ones.push(filter.ones());
        Ok(())
    }

    /// The parameter set of all filters.
    #[must_use]
    pub const fn parameters(&self) -> &'static ParameterSet {
        self.parameters
    }

    /// Number of filters.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ones.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ones.is_empty()
    }

    /// Words and number of bits of a filter; empty if there is no such place.
    pub(crate) fn row(&self, index: usize) -> (&[u64], u32) {
        let width = self.parameters.words();
        let words = self.words.get(index * width..(index + 1) * width).unwrap_or_default();
        (words, self.ones.get(index).copied().unwrap_or_default())
    }

    /// Similarity of a filter of this list to one of another.
    #[must_use]
    pub fn similarity(&self, index: usize, other: &Self, other_index: usize) -> Similarity {
        let ((first, first_ones), (second, second_ones)) = (self.row(index), other.row(other_index));
        Similarity::dice(common(first, second), first_ones, second_ones)
    }
}

/// Bits that are set in both. Eight words at a time go through carry-save adders (Harley and Seal), so that one count
/// takes the place of four; plain counting is slow where the processor's instruction for it may not be assumed.
pub(crate) fn common(first: &[u64], second: &[u64]) -> u32 {
    let (mut ones, mut twos, mut fours) = (0_u64, 0_u64, 0_u64);
    let mut eights = 0;
    let (first, first_rest) = first.as_chunks::<8>();
    let (second, second_rest) = second.as_chunks::<8>();
    for (a, b) in first.iter().zip(second) {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
        let [b0, b1, b2, b3, b4, b5, b6, b7] = *b;
        let (two_a, one) = add(ones, a0 & b0, a1 & b1);
        let (two_b, one) = add(one, a2 & b2, a3 & b3);
        let (four_a, two) = add(twos, two_a, two_b);
        let (two_a, one) = add(one, a4 & b4, a5 & b5);
        let (two_b, one) = add(one, a6 & b6, a7 & b7);
        let (four_b, two) = add(two, two_a, two_b);
        let (eight, four) = add(fours, four_a, four_b);
        (ones, twos, fours) = (one, two, four);
        eights += eight.count_ones();
    }
    let rest: u32 = first_rest.iter().zip(second_rest).map(|(a, b)| (a & b).count_ones()).sum();
    8 * eights + 4 * fours.count_ones() + 2 * twos.count_ones() + ones.count_ones() + rest
}

/// Adds three bits in each place: carry and sum.
const fn add(a: u64, b: u64, c: u64) -> (u64, u64) {
    let half = a ^ b;
    ((a & b) | (half & c), half ^ c)
}
