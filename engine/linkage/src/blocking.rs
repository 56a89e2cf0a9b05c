//! Blocking by sampled bits (locality-sensitive hashing for the Hamming distance): filters of one person agree in most
//! bits, so in some of many small samples of bits they agree in all; only those are compared.
//!
//! What shares a block is first compared by a quarter of its bits, by which nearly all strangers are seen to be some. The
//! samples are the same in every run. They use nothing but the filters, so the third party needs no attribute.

use crate::compare::{CompareError, Effort, Finds, Lists, Pair};
use crate::filter::{Filters, common};
use crate::parameters::Similarity;

/// Samples. With so many, nearly every pair at the threshold shares a block in one of them, and making the blocks takes a
/// fraction of the time that comparing does.
const TABLES: usize = 384;

/// Candidates of one sample that are aimed at; fewer bits find more pairs and cost more comparisons.
const CANDIDATES: f64 = 2_000_000.0;

/// Bits of a sample at most.
const MOST_BITS: usize = 32;

/// Samples that a pair at the threshold should be found by on average: of a hundred such pairs one is missed then. Lists that
/// leave few candidates all the same are sampled with so many bits, longer ones with as many as they need.
const FOUND_BY: f64 = 4.5;

/// Words that are compared first.
const SKETCH: usize = 8;

/// By how much less alike the first words of a pair may be than the pair must be. All bits are shuffled, so 512 of them tell
/// the similarity of 2048 with a deviation of 0.03.
const SKETCH_SLACK: u32 = 80_000;

/// The bits of one sample: word and place in it.
type Sample = Vec<(usize, u32)>;

/// The first words of every filter of a list, one after the other.
struct Sketches {
    words: Vec<[u64; SKETCH]>,
    ones: Vec<u32>,
}

// === impl Sketches ===

impl Sketches {
    fn new(filters: &Filters) -> Self {
        let first = |row| filters.row(row).0.first_chunk().copied().unwrap_or_default();
        let words: Vec<[u64; SKETCH]> = (0..filters.len()).map(first).collect();
        let ones = words.iter().map(|words| words.iter().map(|word| word.count_ones()).sum()).collect();
        Self { words, ones }
    }

    fn row(&self, row: usize) -> (&[u64], u32) {
        let words = self.words.get(row).map_or(&[][..], |words| words.as_slice());
        (words, self.ones.get(row).copied().unwrap_or_default())
    }

    /// Whether two filters may be as alike as this.
    #[inline]
    fn may_match(&self, row: usize, other: &Self, column: usize, threshold: u64) -> bool {
        let ((first, first_ones), (second, second_ones)) = (self.row(row), other.row(column));
        2_000_000 * u64::from(common(first, second)) >= threshold * u64::from(first_ones + second_ones)
    }
}

/// The pairs at or above the threshold that share a block, most alike first.
pub(crate) fn blocked(lists: Lists<'_>, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    lists.check()?;
    let samples = samples(lists, effort.threshold);
    let finds = Finds::new(lists, effort);
    let sketches = (Sketches::new(lists.first), Sketches::new(lists.second));
    let least = u64::from(effort.threshold.as_millionths().saturating_sub(SKETCH_SLACK));
    finds.spread(samples.len(), |task, pairs| {
        let Some((sample, earlier)) = samples.get(..=task).and_then(<[Sample]>::split_last) else { return Ok(()) };
        let (first, second) = (keys(lists.first, sample), keys(lists.second, sample));
        let mut rest = second.as_slice();
        for block in first.chunk_by(|one, other| one.0 == other.0) {
            let Some((key, _)) = block.first() else { continue };
            let start = rest.partition_point(|(other, _)| other < key);
            rest = rest.get(start..).unwrap_or_default();
            let end = rest.partition_point(|(other, _)| other == key);
            let partners = rest.get(..end).unwrap_or_default();
            if partners.is_empty() {
                continue;
            }
            finds.reserve(block.len() as u64 * partners.len() as u64)?;
            for (_, row) in block {
                for (_, column) in partners {
                    let (row, column) = (*row as usize, *column as usize);
                    if !sketches.0.may_match(row, &sketches.1, column, least) {
                        continue;
                    }
                    let Some(pair) = lists.pair(row, column, effort.threshold) else { continue };
                    // A pair is reported by the first sample in which it agrees, so that none is kept twice.
                    if !earlier
                        .iter()
                        .any(|sample| key_of(lists.first, row, sample) == key_of(lists.second, column, sample))
                    {
                        finds.add(pair, pairs)?;
                    }
                }
            }
        }
        Ok(())
    })
}

/// Which bits each sample looks at.
fn samples(lists: Lists<'_>, threshold: Similarity) -> Vec<Sample> {
    let bits = bits(lists, threshold);
    let width = lists.first.parameters().bits as u64;
    let mut state = 0x5363_686c_6575_7365_u64;
    let mut sample = || {
        let mut positions: Vec<u64> = Vec::with_capacity(bits);
        while positions.len() < bits {
            let position = ((u128::from(split_mix(&mut state)) * u128::from(width)) >> 64) as u64;
            if !positions.contains(&position) {
                positions.push(position);
            }
        }
        positions.into_iter().map(|position| ((position / 64) as usize, (position % 64) as u32)).collect()
    };
    (0..TABLES).map(|_| sample()).collect()
}

/// How many bits a sample has. They follow from how many bits are set, which differs between parameter sets, and a little
/// between lists because not everything is known of everybody.
fn bits(lists: Lists<'_>, threshold: Similarity) -> usize {
    let (first, second) = (share(lists.first), share(lists.second));
    // The chance that one bit of two different persons agrees: both set or neither. Never so near to 0 or 1 that the number
    // of bits has no meaning.
    let strangers = (first * second + (1.0 - first) * (1.0 - second)).clamp(0.4, 0.7);
    let pairs = lists.first.len() as f64 * lists.second.len() as f64;
    let needed = (pairs / CANDIDATES).max(1.0).ln() / -strangers.ln();
    // The same for two filters at the threshold: their Dice coefficient says in how many bits they differ.
    let dice = f64::from(threshold.as_millionths()) / 1e6;
    let same = (1.0 - (first + second) * (1.0 - dice)).clamp(0.5, 0.99);
    let enough = (FOUND_BY / TABLES as f64).ln() / same.ln();
    (needed.ceil().max(enough.floor()) as usize).clamp(1, MOST_BITS)
}

/// Share of the bits that are set.
fn share(filters: &Filters) -> f64 {
    let ones: u64 = (0..filters.len()).map(|row| u64::from(filters.row(row).1)).sum();
    ones as f64 / (filters.parameters().bits * filters.len().max(1)) as f64
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads the samples, keeps nothing secret.
const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The sampled bits of every filter with its place, sorted.
fn keys(filters: &Filters, sample: &Sample) -> Vec<(u32, u32)> {
    let mut keys: Vec<(u32, u32)> = (0..filters.len()).map(|row| (key_of(filters, row, sample), row as u32)).collect();
    keys.sort_unstable();
    keys
}

fn key_of(filters: &Filters, row: usize, sample: &Sample) -> u32 {
    let (words, _) = filters.row(row);
    let bit = |(word, shift): &(usize, u32)| (words.get(*word).copied().unwrap_or_default() >> shift & 1) as u32;
    sample.iter().fold(0, |key, place| key << 1 | bit(place))
}
