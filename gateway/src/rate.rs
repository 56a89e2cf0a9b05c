//! Rates and numbers per identity and per address: token buckets that are forgotten when unused.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::limits::RATE_ENTRIES;

/// Buckets by whom they limit.
#[derive(Debug)]
pub(crate) struct Rates<K: Hash + Eq + Send + Sync + 'static> {
    buckets: Cache<K, Arc<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: Mutex<(f64, Instant)>,
    running: AtomicU32,
}

/// A request that counts as running.
#[derive(Debug)]
pub(crate) struct Running {
    bucket: Arc<Bucket>,
}

// === impl Rates ===

impl<K: Hash + Eq + Send + Sync + Clone + 'static> Default for Rates<K> {
    fn default() -> Self {
        // A forgotten bucket is a full one, so the idle time must cover the longest refill.
        Self { buckets: Cache::builder().max_capacity(RATE_ENTRIES).time_to_idle(Duration::from_secs(600)).build() }
    }
}

impl<K: Hash + Eq + Send + Sync + Clone + 'static> Rates<K> {
    /// Takes one token; `per_second` 0 means unlimited.
    pub(crate) fn take(&self, key: &K, per_second: u32, burst: u32, now: Instant) -> bool {
        per_second == 0 || self.bucket(key, burst, now).take(per_second, burst, now)
    }

    /// Counts a running request, if fewer than `most` run.
    pub(crate) fn begin(&self, key: &K, most: u32, now: Instant) -> Option<Running> {
        let bucket = self.bucket(key, 0, now);
        let counted = bucket
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| (running < most).then_some(running + 1));
        counted.is_ok().then(|| Running { bucket })
    }

    fn bucket(&self, key: &K, burst: u32, now: Instant) -> Arc<Bucket> {
        if let Some(known) = self.buckets.get(key) {
            return known;
        }
        self.buckets.get_with(key.clone(), || {
            Arc::new(Bucket { tokens: Mutex::new((f64::from(burst), now)), running: AtomicU32::new(0) })
        })
    }
}

impl Bucket {
    fn take(&self, per_second: u32, burst: u32, now: Instant) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *tokens;
        let refilled = now.saturating_duration_since(since).as_secs_f64().mul_add(f64::from(per_second), left);
        let left = refilled.min(f64::from(burst.max(1)));
        let allowed = left >= 1.0;
        *tokens = (if allowed { left - 1.0 } else { left }, now);
        allowed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bucket.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_passes_then_the_rate_holds() {
        let rates = Rates::default();
        let start = Instant::now();
        let passed = (0..20).filter(|_| rates.take(&"a", 10, 5, start)).count();
        assert_eq!(passed, 5);
        let later = start + Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| rates.take(&"a", 10, 5, later)).count(), 3);
        assert!(rates.take(&"b", 10, 5, later));
        assert!((0..1000).all(|_| rates.take(&"a", 0, 1, later)));
    }

    #[test]
    fn running_requests_are_counted_and_given_back() {
        let rates = Rates::default();
        let now = Instant::now();
        let first = rates.begin(&"a", 1, now);
        assert!(first.is_some());
        assert!(rates.begin(&"a", 1, now).is_none());
        drop(first);
        assert!(rates.begin(&"a", 1, now).is_some());
    }
}
