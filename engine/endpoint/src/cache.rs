//! Values that are derived from many stored resources and read by every request: the allow-list, the profiles.
//!
//! A derived value must never be older than the transaction that uses it, and must never hold what was rolled back.
//! Three rules give both:
//! - Only a read of committed data ([`Cache::fill`]) puts a value in; a writing transaction builds its own if it must.
//! - A transaction that changes a source says so before it ends ([`Change::begin`] inside the transaction); until
//!   its commit or rollback is known ([`Change`] dropped) nothing is taken from the cache and nothing is put in.
//! - A reader notes the generation before its snapshot begins, so that an older snapshot never fills a newer generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A derived value with the generation that it belongs to.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    generation: AtomicU64,
    changing: AtomicU64,
    kept: Mutex<Option<(u64, Arc<T>)>>,
}

/// The generation at a moment at which no change was under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(Option<u64>);

/// A change of the sources that is under way.
#[derive(Debug)]
pub(crate) struct Change<T> {
    cache: Arc<Cache<T>>,
}

impl<T> Cache<T> {
    pub(crate) const fn new() -> Self {
        Self { generation: AtomicU64::new(0), changing: AtomicU64::new(0), kept: Mutex::new(None) }
    }

    /// To be taken before the snapshot of a read begins, or inside a writing transaction.
    pub(crate) fn generation(&self) -> Generation {
        let generation = self.generation.load(Ordering::SeqCst);
        // Read after the generation: a change that ended in between has raised the generation.
        let is_changing = self.changing.load(Ordering::SeqCst) > 0;
        Generation((!is_changing).then_some(generation))
    }

    /// The value of that generation, or a later one.
    pub(crate) fn get(&self, generation: Generation) -> Option<Arc<T>> {
        let wanted = generation.0?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(kept, _)| *kept >= wanted).map(|(_, value)| Arc::clone(value))
    }

    /// Puts in what was built from a snapshot that began after `generation` was taken.
    pub(crate) fn fill(&self, generation: Generation, value: &Arc<T>) {
        let Some(generation) = generation.0 else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(kept, _)| *kept < generation) {
            *kept = Some((generation, Arc::clone(value)));
        }
    }
}

impl<T> Change<T> {
    pub(crate) fn begin(cache: &Arc<Cache<T>>) -> Self {
        cache.changing.fetch_add(1, Ordering::SeqCst);
        Self { cache: Arc::clone(cache) }
    }
}

impl<T> Drop for Change<T> {
    fn drop(&mut self) {
        self.cache.generation.fetch_add(1, Ordering::SeqCst);
        self.cache.changing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
