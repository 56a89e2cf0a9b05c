//! Blocking by sampled bits (locality-sensitive hashing for the Hamming distance): filters of one person agree in most
//! bits, so in some of many small samples of bits they agree in all; only those are compared.
//!
//! The samples are the same in every run. They use nothing but the filters, so the third party needs no attribute.

use crate::compare::{CompareError, Effort, Finds, Lists, Pair};
use crate::filter::Filters;

/// Samples. Each finds a pair at the threshold with a chance of half a percent to one percent and a usual pair of one person
/// with six to ten; so many find most of the first too, and take a third of the time that lists of 100,000 may take.
const TABLES: usize = 384;

/// Candidates of one sample that are aimed at; fewer bits find more pairs and cost more comparisons.
const CANDIDATES: f64 = 2_000_000.0;

/// Bits of a sample at least and at most.
const BITS: (usize, usize) = (8, 32);

/// The bits of one sample: word and place in it.
type Sample = Vec<(usize, u32)>;

/// The pairs at or above the threshold that share a block, most alike first.
pub(crate) fn blocked(lists: Lists<'_>, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    lists.check()?;
    let samples = samples(lists);
    let finds = Finds::new(lists, effort);
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
fn samples(lists: Lists<'_>) -> Vec<Sample> {
    let pairs = lists.first.len() as f64 * lists.second.len() as f64;
    let bits = (pairs / CANDIDATES).max(1.0).ln() / -agreement(lists).ln();
    let bits = (bits.ceil() as usize).clamp(BITS.0, BITS.1);
    let mut state = 0x5363_686c_6575_7365_u64;
    let width = lists.first.parameters().bits as u64;
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

/// Chance that one bit of the filters of two different persons agrees: both set or neither. It follows from how many are set,
/// which differs between parameter sets, and a little between lists because not everything is known of everybody.
fn agreement(lists: Lists<'_>) -> f64 {
    let width = lists.first.parameters().bits as f64;
    let share = |filters: &Filters| {
        let ones: u64 = (0..filters.len()).map(|row| u64::from(filters.row(row).1)).sum();
        ones as f64 / (width * filters.len().max(1) as f64)
    };
    let (first, second) = (share(lists.first), share(lists.second));
    // Never so near to 0 or 1 that the number of bits has no meaning.
    (first * second + (1.0 - first) * (1.0 - second)).clamp(0.4, 0.7)
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
