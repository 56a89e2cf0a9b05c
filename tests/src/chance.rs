//! Chance that can be had again: the seed is printed, and `SCHLEUSE_SEED` repeats it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator (splitmix64), good enough to choose moments and victims.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins, and says with what.
    #[must_use]
    pub fn begin() -> Self {
        let given = std::env::var("SCHLEUSE_SEED").ok().and_then(|text| text.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock);
        println!("SCHLEUSE_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[index]
    }
}
