//! Parameter sets: named, fixed constructions, so that sites agree by a name and a figure belongs to a name.
//!
//! The weight of a field is the share of the filter that its segment takes. The number of positions of a token follows
//! from it, so that a value of usual length fills 35 percent of its segment: more makes strangers alike, less makes
//! mistakes count too much. Weights, filling and thresholds come from the generated families of the benchmark `linkage`
//! (`tests/benchmarks`), not from the data sets that it reports on. The standard threshold is two steps below the highest
//! one that still finds 99 of 100 pairs there, because real records are dirtier than generated ones; the hardened one is
//! where F1 is best.

use std::fmt;

use crate::person::Field;

/// A construction of filters.
#[derive(Debug, PartialEq, Eq)]
pub struct ParameterSet {
    /// Name that sites agree on.
    pub name: &'static str,
    /// Bits of the filter as it is sent.
    pub bits: usize,
    /// Whether a filter of twice the bits is folded, each bit of the result the exclusive or of two.
    pub is_folded: bool,
    /// Bits that are flipped, chosen by key and record.
    pub flipped: usize,
    /// Similarity from which two filters are of one person, where missing somebody is as bad as confusing two.
    pub threshold: Similarity,
    /// The same, where records are joined and confusing two persons is worse: among generated sites with many namesakes
    /// three of a thousand joined pairs or fewer were strangers.
    pub strict: Similarity,
    fields: [FieldParameters; Field::ALL.len()],
}

#[derive(Debug, PartialEq, Eq)]
struct FieldParameters {
    field: Field,
    /// Share of the filter in percent; all shares add up to 100.
    weight: usize,
    /// Tokens of a value of usual length.
    tokens: usize,
}

/// Where the bits of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) field: Field,
    pub(crate) start: usize,
    pub(crate) length: usize,
    /// Positions of each token.
    pub(crate) positions: usize,
}

/// A Dice coefficient in parts per million, so that comparing and sorting are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Similarity(u32);

const FIELDS: [FieldParameters; Field::ALL.len()] = [
    FieldParameters { field: Field::GivenName, weight: 19, tokens: 7 },
    FieldParameters { field: Field::FamilyName, weight: 15, tokens: 8 },
    FieldParameters { field: Field::BirthDate, weight: 24, tokens: 9 },
    FieldParameters { field: Field::Sex, weight: 2, tokens: 2 },
    FieldParameters { field: Field::Street, weight: 8, tokens: 15 },
    FieldParameters { field: Field::PostalCode, weight: 5, tokens: 6 },
    FieldParameters { field: Field::City, weight: 5, tokens: 9 },
    FieldParameters { field: Field::Country, weight: 1, tokens: 4 },
    FieldParameters { field: Field::InsuranceNumber, weight: 21, tokens: 11 },
];

/// Field keys, random positions, all bits shuffled.
pub const STANDARD: ParameterSet = ParameterSet {
    name: "schleuse-linkage-1",
    bits: 2048,
    is_folded: false,
    flipped: 0,
    threshold: Similarity::percent(66),
    strict: Similarity::percent(76),
    fields: FIELDS,
};

/// The same, folded and with flipped bits: harder to attack for who holds the filters, at the price of some matches.
pub const HARDENED: ParameterSet = ParameterSet {
    name: "schleuse-linkage-1-hardened",
    bits: 2048,
    is_folded: true,
    flipped: 40,
    threshold: Similarity::percent(63),
    strict: Similarity::percent(67),
    fields: FIELDS,
};

// === impl ParameterSet ===

impl ParameterSet {
    /// Every set.
    pub const ALL: [&'static Self; 2] = [&STANDARD, &HARDENED];

    /// Percent of the weight that the known fields of a person must have. Below it two persons would be found equal
    /// because little is known of either.
    pub const MINIMUM_WEIGHT: usize = 50;

    /// The set of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|set| set.name == name)
    }

    /// Words of a filter as it is sent.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.bits / 64
    }

    /// Percent of the filter that belongs to the field.
    #[must_use]
    pub fn weight(&self, field: Field) -> usize {
        self.fields.iter().find(|known| known.field == field).map_or(0, |known| known.weight)
    }

    /// Bits before folding.
    pub(crate) const fn raw_bits(&self) -> usize {
        if self.is_folded { self.bits * 2 } else { self.bits }
    }

    pub(crate) fn segments(&self) -> Vec<Segment> {
        let (mut start, mut weight) = (0, 0);
        let segment = |known: &FieldParameters| {
            weight += known.weight;
            let end = self.raw_bits() * weight / 100;
            let length = end - start;
            // n tokens of k positions fill 1 - exp(-n k / m) of m bits; -ln(1 - 0.35) = 0.43.
            let positions = (length * 430 / (known.tokens * 1000)).max(1);
            let segment = Segment { field: known.field, start, length, positions };
            start = end;
            segment
        };
        self.fields.iter().map(segment).collect()
    }
}

// === impl Similarity ===

impl Similarity {
    /// Identical.
    pub const ONE: Self = Self(1_000_000);

    /// From percent.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// From parts per million.
    #[must_use]
    pub const fn millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// As parts per million.
    #[must_use]
    pub const fn as_millionths(self) -> u32 {
        self.0
    }

    /// Dice of two sets of `first` and `second` bits that share `common`. Two empty sets have nothing in common.
    #[must_use]
    pub fn dice(common: u32, first: u32, second: u32) -> Self {
        let all = u64::from(first) + u64::from(second);
        if all == 0 {
            return Self(0);
        }
        Self(u32::try_from(2_000_000 * u64::from(common) / all).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", f64::from(self.0) / 1e6)
    }
}
