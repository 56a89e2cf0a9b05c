//! Which filters of two lists are alike: all pairs, or only those that share a block where the lists are long.
//!
//! The work is cut into tasks that threads take one after the other; the result is sorted, so it is the same for any
//! number of threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::blocking;
use crate::filter::{Filters, common};
use crate::limits;
use crate::parameters::{ParameterSet, Similarity};

/// Two filters that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Place in the first list.
    pub first: u32,
    /// Place in the second list.
    pub second: u32,
    /// How alike.
    pub similarity: Similarity,
}

/// What a comparison may use and from where on it reports.
#[derive(Clone, Copy, Debug)]
pub struct Effort<'c> {
    /// Threads, at most [`limits::THREADS`].
    pub threads: usize,
    /// Ends the comparison early when it becomes true.
    pub cancelled: &'c AtomicBool,
    /// Least similarity of a pair.
    pub threshold: Similarity,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Filters of different parameter sets have nothing in common.
    #[error("one list was made with {first}, the other with {second}")]
    Parameters {
        /// Set of the first list.
        first: &'static str,
        /// Set of the second list.
        second: &'static str,
    },
    /// More pairs than persons can explain.
    #[error("more than {limit} pairs of filters are alike: they do not tell persons apart")]
    TooManyPairs {
        /// Bound that was exceeded.
        limit: usize,
    },
    /// More comparisons than [`limits::BLOCKED_COMPARISONS`].
    #[error(
        "blocking leaves more than {} comparisons: the filters were not made from persons",
        limits::BLOCKED_COMPARISONS
    )]
    TooManyComparisons,
    /// [`Effort::cancelled`] became true.
    #[error("the comparison was cancelled")]
    Cancelled,
    /// A thread ended without a result.
    #[error("a thread of the comparison ended without a result")]
    Thread,
}

/// Two lists, or one list with itself, where each pair is looked at once.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'f> {
    pub(crate) first: &'f Filters,
    pub(crate) second: &'f Filters,
    pub(crate) is_same: bool,
}

/// Where the threads of a comparison put what they find, and what bounds it.
pub(crate) struct Finds<'e> {
    effort: Effort<'e>,
    found: AtomicUsize,
    limit: usize,
    compared: AtomicU64,
}

/// Filters of one task; a few fit into the nearest cache.
const ROWS: usize = 32;

/// The pairs of the two lists at or above the threshold, most alike first.
pub fn compare(first: &Filters, second: &Filters, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    of_lists(Lists { first, second, is_same: false }, effort)
}

/// As [`compare`], of one list with itself.
pub(crate) fn compare_within(list: &Filters, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    of_lists(Lists { first: list, second: list, is_same: true }, effort)
}

fn of_lists(lists: Lists<'_>, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    let comparisons = lists.first.len() as u64 * lists.second.len() as u64;
    if comparisons <= limits::FULL_COMPARISONS { full(lists, effort) } else { blocking::blocked(lists, effort) }
}

/// All pairs, however long the lists are.
pub fn compare_fully(first: &Filters, second: &Filters, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    full(Lists { first, second, is_same: false }, effort)
}

fn full(lists: Lists<'_>, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    lists.check()?;
    let finds = Finds::new(lists, effort);
    finds.spread(lists.first.len().div_ceil(ROWS), |task, pairs| {
        let rows = task * ROWS..((task + 1) * ROWS).min(lists.first.len());
        let start = if lists.is_same { rows.start } else { 0 };
        for column_start in (start..lists.second.len()).step_by(ROWS * 4) {
            let columns = column_start..(column_start + ROWS * 4).min(lists.second.len());
            for row in rows.clone() {
                for column in columns.clone() {
                    if let Some(pair) = lists.pair(row, column, effort.threshold) {
                        finds.add(pair, pairs)?;
                    }
                }
            }
        }
        Ok(())
    })
}

// === impl Lists ===

impl Lists<'_> {
    pub(crate) fn check(&self) -> Result<(), CompareError> {
        let (first, second): (&ParameterSet, &ParameterSet) = (self.first.parameters(), self.second.parameters());
        if std::ptr::eq(first, second) || first == second {
            return Ok(());
        }
        Err(CompareError::Parameters { first: first.name, second: second.name })
    }

    /// The pair, if it counts and is alike enough.
    #[inline]
    pub(crate) fn pair(&self, row: usize, column: usize, threshold: Similarity) -> Option<Pair> {
        if self.is_same && row >= column {
            return None;
        }
        let ((first, first_ones), (second, second_ones)) = (self.first.row(row), self.second.row(column));
        let threshold = u64::from(threshold.as_millionths());
        let needed = threshold * (u64::from(first_ones) + u64::from(second_ones));
        // Filters of very different size cannot be alike, whatever their bits.
        if 2_000_000 * u64::from(first_ones.min(second_ones)) < needed {
            return None;
        }
        let common = common(first, second);
        if 2_000_000 * u64::from(common) < needed {
            return None;
        }
        let similarity = Similarity::dice(common, first_ones, second_ones);
        Some(Pair { first: u32::try_from(row).ok()?, second: u32::try_from(column).ok()?, similarity })
    }
}

// === impl Finds ===

impl<'e> Finds<'e> {
    pub(crate) fn new(lists: Lists<'_>, effort: Effort<'e>) -> Self {
        let records = lists.first.len() + lists.second.len();
        let limit = (records * limits::PAIRS_PER_RECORD).max(limits::PAIRS_ALWAYS);
        Self { effort, found: AtomicUsize::new(0), limit, compared: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, pair: Pair, pairs: &mut Vec<Pair>) -> Result<(), CompareError> {
        if self.found.fetch_add(1, Ordering::Relaxed) >= self.limit {
            return Err(CompareError::TooManyPairs { limit: self.limit });
        }
        pairs.push(pair);
        Ok(())
    }

    /// Announces comparisons before they are done.
    pub(crate) fn reserve(&self, comparisons: u64) -> Result<(), CompareError> {
        let before = self.compared.fetch_add(comparisons, Ordering::Relaxed);
        if before.saturating_add(comparisons) > limits::BLOCKED_COMPARISONS {
            return Err(CompareError::TooManyComparisons);
        }
        self.check_cancelled()
    }

    fn check_cancelled(&self) -> Result<(), CompareError> {
        if self.effort.cancelled.load(Ordering::Relaxed) { Err(CompareError::Cancelled) } else { Ok(()) }
    }

    /// Does the tasks on the threads and sorts what they found.
    pub(crate) fn spread(
        &self,
        tasks: usize,
        work: impl Fn(usize, &mut Vec<Pair>) -> Result<(), CompareError> + Sync,
    ) -> Result<Vec<Pair>, CompareError> {
        let next = AtomicUsize::new(0);
        let run = || {
            let mut pairs = Vec::new();
            loop {
                self.check_cancelled()?;
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return Ok(pairs);
                }
                if let Err(error) = work(task, &mut pairs) {
                    // The others need not go on.
                    next.store(tasks, Ordering::Relaxed);
                    return Err(error);
                }
            }
        };
        let threads = self.effort.threads.clamp(1, limits::THREADS).min(tasks.max(1));
        let results: Vec<Result<Vec<Pair>, CompareError>> = std::thread::scope(|scope| {
            let started: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            let own = run();
            let others = started.into_iter().map(|thread| thread.join().unwrap_or(Err(CompareError::Thread)));
            core::iter::once(own).chain(others).collect()
        });
        let mut pairs = Vec::new();
        for result in results {
            pairs.append(&mut result?);
        }
        pairs.sort_unstable_by_key(|pair| (std::cmp::Reverse(pair.similarity), pair.first, pair.second));
        Ok(pairs)
    }
}
