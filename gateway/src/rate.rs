//! Rates and numbers per identity and per address: token buckets that are forgotten when unused.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::limits::RATE_ENTRIES;

/// The longest span in which a rate comes back.
const LONGEST_SPAN: Duration = Duration::from_secs(3600);

/// Buckets by whom they limit.
#[derive(Debug)]
pub(crate) struct Rates<K: Hash + Eq + Send + Sync + 'static> {
    buckets: Cache<K, Arc<Bucket>>,
}

/// Buckets of identities. Each lives as long as somebody who was identified holds it, so that requests need not look for
/// it, and there is never a second one for the same name.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    buckets: Mutex<HashMap<String, Weak<Bucket>>>,
}

/// Tokens and running requests of one identity or address.
#[derive(Debug)]
pub(crate) struct Bucket {
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
        Self { buckets: Cache::builder().max_capacity(RATE_ENTRIES).time_to_idle(LONGEST_SPAN).build() }
    }
}

impl<K: Hash + Eq + Send + Sync + Clone + 'static> Rates<K> {
    /// Takes one token; `per_second` 0 means unlimited.
    pub(crate) fn take(&self, key: &K, per_second: u32, burst: u32, now: Instant) -> bool {
        per_second == 0 || self.bucket(key, burst, now).take(per_second, burst, now)
    }

    /// Takes one of `most` that come back over `span`, at most [`LONGEST_SPAN`].
    pub(crate) fn take_within(&self, key: &K, most: u32, span: Duration, now: Instant) -> bool {
        let per_second = f64::from(most) / span.as_secs_f64().max(1e-3);
        self.bucket(key, most, now).take_of(per_second, most, now)
    }

    fn bucket(&self, key: &K, burst: u32, now: Instant) -> Arc<Bucket> {
        if let Some(known) = self.buckets.get(key) {
            return known;
        }
        self.buckets.get_with(key.clone(), || Arc::new(Bucket::full(burst, now)))
    }
}

// === impl Shares ===

impl Shares {
    /// The bucket of an identity, full if nobody holds it.
    pub(crate) fn of(&self, name: &str, burst: u32, now: Instant) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = buckets.get(name).and_then(Weak::upgrade) {
            return known;
        }
        if buckets.len() >= usize::try_from(RATE_ENTRIES).unwrap_or(usize::MAX) {
            buckets.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = Arc::new(Bucket::full(burst, now));
        buckets.insert(name.to_owned(), Arc::downgrade(&bucket));
        bucket
    }
}

// === impl Bucket ===

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self { tokens: Mutex::new((f64::from(burst), now)), running: AtomicU32::new(0) }
    }

    /// Takes one token; `per_second` 0 means unlimited.
    pub(crate) fn take(&self, per_second: u32, burst: u32, now: Instant) -> bool {
        per_second == 0 || self.take_of(f64::from(per_second), burst, now)
    }

    fn take_of(&self, per_second: f64, burst: u32, now: Instant) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *tokens;
        let refilled = now.saturating_duration_since(since).as_secs_f64().mul_add(per_second, left);
        let left = refilled.min(f64::from(burst.max(1)));
        let allowed = left >= 1.0;
        *tokens = (if allowed { left - 1.0 } else { left }, now);
        allowed
    }

    /// Counts a running request, if fewer than `most` run.
    pub(crate) fn begin(self: &Arc<Self>, most: u32) -> Option<Running> {
        let counted = self
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| (running < most).then_some(running + 1));
        counted.is_ok().then(|| Running { bucket: Arc::clone(self) })
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
    fn a_rate_over_an_hour_comes_back_slowly() {
        let rates = Rates::default();
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        assert_eq!((0..10).filter(|_| rates.take_within(&"a", 4, hour, start)).count(), 4);
        let later = start + Duration::from_secs(1000);
        assert_eq!((0..10).filter(|_| rates.take_within(&"a", 4, hour, later)).count(), 1);
    }

    #[test]
    fn running_requests_are_counted_and_given_back() {
        let bucket = Arc::new(Bucket::full(1, Instant::now()));
        let first = bucket.begin(1);
        assert!(first.is_some());
        assert!(bucket.begin(1).is_none());
        drop(first);
        assert!(bucket.begin(1).is_some());
    }

    #[test]
    fn an_identity_has_one_bucket_as_long_as_somebody_holds_it() {
        let (shares, now) = (Shares::default(), Instant::now());
        let held = shares.of("a", 1, now);
        assert!(held.take(1, 1, now) && !shares.of("a", 1, now).take(1, 1, now));
        assert!(shares.of("b", 1, now).take(1, 1, now));
        drop(held);
        for number in 0..RATE_ENTRIES {
            shares.of(&number.to_string(), 1, now);
        }
        assert!(shares.buckets.lock().unwrap().len() as u64 <= RATE_ENTRIES, "those that nobody holds are forgotten");
        assert!(shares.of("a", 1, now).take(1, 1, now));
    }
}
