//! Numbers that follow from a seed (SplitMix64), the same on every machine.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of a subject: streams of different subjects have nothing to do with each other.
    #[must_use]
    pub fn of(seed: u64, subject: &[u64]) -> Self {
        let mut chance = Self(seed);
        for part in subject {
            chance.0 = chance.number() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        chance
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// A number between 0 and 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of a list that is not empty.
    pub fn one_of<'t, T>(&mut self, list: &'t [T]) -> Option<&'t T> {
        let place = usize::try_from(self.below(list.len() as u64)).unwrap_or(0);
        list.get(place)
    }

    /// A number around a mean.
    pub fn around(&mut self, mean: f64, spread: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.fraction() - 0.5).sum();
        mean + sum * spread * 1.7
    }
}
