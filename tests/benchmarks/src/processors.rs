//! One processor for each side: the server that is measured has one to itself, load generator and upstream have the others.
//!
//! Otherwise the two sides take turns on the same processors, the rate is that of both together, and a server that costs
//! half shows as little faster. Threads and programs that are started inherit the side of the thread that starts them.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Who runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The first processor.
    Server,
    /// The others.
    Load,
}

/// The thread at hand is on another side until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<CpuSet>);

/// Whether the sides are apart.
static APART: AtomicBool = AtomicBool::new(false);

/// How many processors there are.
pub(crate) fn all() -> usize {
    processors().len().max(1)
}

/// How many processors a side has.
pub(crate) fn count(side: Side) -> usize {
    match (all(), side) {
        (1, _) => 1,
        (all, _) if !are_apart() => all,
        (_, Side::Server) => 1,
        (all, Side::Load) => all - 1,
    }
}

/// Whether each side has processors of its own.
pub(crate) fn are_apart() -> bool {
    APART.load(Ordering::Relaxed)
}

/// Parts the sides, as far as there are processors, and puts the thread at hand on that of the load.
pub(crate) fn part() -> Turn {
    APART.store(processors().len() > 1, Ordering::Relaxed);
    turn(Side::Load)
}

/// Ends what [`part`] began.
pub(crate) fn join(turn: Option<Turn>) {
    APART.store(false, Ordering::Relaxed);
    drop(turn);
}

/// Puts the thread at hand on a side; without effect while they are not apart.
pub(crate) fn turn(side: Side) -> Turn {
    let before = sched_getaffinity(None).ok();
    let (Some(before), true) = (before, are_apart()) else { return Turn(None) };
    let mut set = CpuSet::new();
    let (first, others) = processors().split_at(1);
    for processor in if side == Side::Server { first } else { others } {
        set.set(*processor);
    }
    Turn(sched_setaffinity(None, &set).ok().map(|()| before))
}

/// The processors that this process had when it began.
fn processors() -> &'static [usize] {
    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
    })
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = sched_setaffinity(None, before);
        }
    }
}
