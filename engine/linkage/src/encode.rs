//! From a person to a filter.
//!
//! All tokens that a value can consist of are few (pairs of 64 symbols), so the bits of every token are computed once
//! for a key. Encoding a record is then looking up and setting bits, and its time says little about the value.

use secrets::{Key, Keyed};

use crate::filter::Filter;
use crate::normalize::normalize;
use crate::parameters::{ParameterSet, Segment};
use crate::person::{Field, Person};

/// Symbols of tokens: the edge of a value, `a`-`z`, `0`-`9`, and classes of other letters.
const SYMBOLS: usize = 64;

/// First symbol of the classes of letters outside `a`-`z`.
const OTHER: usize = 38;

/// Makes filters for one project.
pub struct Encoder {
    parameters: &'static ParameterSet,
    fields: Vec<FieldTable>,
    flips: Keyed,
}

/// The record bits of every token of a field.
struct FieldTable {
    field: Field,
    positions: usize,
    /// `positions` bits for each token, one after the other.
    bits: Vec<u16>,
}

/// Too little is known of a person to say whether another is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {known} percent of what identifies a person is known, {} are needed", ParameterSet::MINIMUM_WEIGHT)]
pub struct NotLinkable {
    /// Weight of the known fields.
    pub known: usize,
}

// === impl Encoder ===

impl Encoder {
    /// Prepares the tables; takes some tens of milliseconds.
    #[must_use]
    pub fn new(parameters: &'static ParameterSet, key: &Key) -> Self {
        let name = parameters.name.as_bytes();
        let order = key.derive(&[b"linkage order", name]).stream(b"").permutation(parameters.raw_bits());
        let table = |segment: Segment| {
            let keyed = key.derive(&[b"linkage field", name, segment.field.label().as_bytes()]);
            FieldTable::new(segment, &keyed, &order)
        };
        let fields = parameters.segments().into_iter().map(table).collect();
        Self { parameters, fields, flips: key.derive(&[b"linkage flips", name]) }
    }

    /// The filter of a person.
    pub fn encode(&self, person: &Person) -> Result<Filter, NotLinkable> {
        let mut words = vec![0_u64; self.parameters.raw_bits() / 64];
        let mut known = 0;
        for table in &self.fields {
            let Some(value) = person.get(table.field).and_then(|value| normalize(table.field, value)) else { continue };
            known += self.parameters.weight(table.field);
            table.set(&value, &mut words);
        }
        if known < ParameterSet::MINIMUM_WEIGHT {
            return Err(NotLinkable { known });
        }
        if self.parameters.is_folded {
            let (low, high) = words.split_at(words.len() / 2);
            words = low.iter().zip(high).map(|(low, high)| low ^ high).collect();
        }
        self.flip(&mut words);
        Ok(Filter::from_words(words))
    }

    /// Flips a fixed number of bits. Key and record choose them, so that a record sent again shows nothing new.
    fn flip(&self, words: &mut [u64]) {
        if self.parameters.flipped == 0 {
            return;
        }
        let label: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut stream = self.flips.stream(&label);
        let mut done = 0;
        let mut flipped = vec![0_u64; words.len()];
        while done < self.parameters.flipped {
            let position = stream.below(self.parameters.bits);
            let bit = 1_u64 << (position % 64);
            let (Some(word), Some(seen)) = (words.get_mut(position / 64), flipped.get_mut(position / 64)) else {
                break;
            };
            if *seen & bit == 0 {
                *seen |= bit;
                *word ^= bit;
                done += 1;
            }
        }
    }
}

// === impl FieldTable ===

impl FieldTable {
    fn new(segment: Segment, keyed: &Keyed, order: &[usize]) -> Self {
        let mut bits = Vec::with_capacity(SYMBOLS * SYMBOLS * segment.positions);
        let mut chosen = vec![false; segment.length];
        for token in 0..SYMBOLS * SYMBOLS {
            let mut stream = keyed.stream(&(token as u32).to_be_bytes());
            chosen.fill(false);
            let mut left = segment.positions;
            while left > 0 {
                let position = stream.below(segment.length);
                let Some(seen) = chosen.get_mut(position) else { break };
                // Positions of a token differ, so that every token weighs the same. A segment has many times as many
                // bits as a token has positions.
                if !std::mem::replace(seen, true) {
                    let bit = order.get(segment.start + position).copied().unwrap_or_default();
                    bits.push(bit as u16);
                    left -= 1;
                }
            }
        }
        Self { field: segment.field, positions: segment.positions, bits }
    }

    fn set(&self, value: &str, words: &mut [u64]) {
        let symbols = value.chars().map(symbol).chain(core::iter::once(0));
        let mut before = 0;
        for (place, symbol) in symbols.enumerate() {
            let token = match self.field {
                // The same digits in another place are another date.
                Field::BirthDate => place * 121 + digit(before) * 11 + digit(symbol),
                _ => before * SYMBOLS + symbol,
            };
            before = symbol;
            let start = token % (SYMBOLS * SYMBOLS) * self.positions;
            for bit in self.bits.get(start..start + self.positions).unwrap_or_default() {
                if let Some(word) = words.get_mut(usize::from(*bit) / 64) {
                    *word |= 1 << (bit % 64);
                }
            }
        }
    }
}

/// A digit of a date as 1 to 10, its edge as 0.
const fn digit(symbol: usize) -> usize {
    match symbol {
        27..=36 => symbol - 26,
        _ => 0,
    }
}

/// The symbol of a character of a normalised value.
fn symbol(character: char) -> usize {
    match character {
        'a'..='z' => 1 + (character as usize - 'a' as usize),
        '0'..='9' => 27 + (character as usize - '0' as usize),
        ' ' => 37,
        // Neighbours of an alphabet fall into different classes.
        _ => OTHER + character as usize % (SYMBOLS - OTHER),
    }
}
