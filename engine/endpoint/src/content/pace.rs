//! Holds senders and receivers to a slowest rate.

use std::time::{Duration, Instant};

use crate::limits;

/// Counts within windows of [`limits::PACE_TIME`], so that what went fast at first buys no time for what follows.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Whether the rate is kept with these bytes.
    pub(super) fn is_kept(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let elapsed: Duration = now.saturating_duration_since(self.since);
        if elapsed < limits::PACE_TIME {
            return true;
        }
        let kept = self.bytes >= elapsed.as_secs().saturating_mul(limits::SLOWEST_TRANSFER);
        *self = Self::new(now);
        kept
    }
}
