//! Whether what was read of a resource is still what is committed, without asking the database.
//!
//! Each resource belongs to one of a fixed number of slots, each with a counter. The writer raises the counters of what a
//! group changes before its commit begins, and again when its outcome is known: in between, while readers may already see
//! the change, the counter is odd. Who keeps what it has read notes the counter before its snapshot begins ([`Stamp`]);
//! as long as the counter is the same, no commit has begun that changes the resource, so what is kept is what a new
//! snapshot would show. Resources that share a slot only make each other look older than they are.
//!
//! Only a database that one process writes can be watched like this. The readers of Binaries change with other resources
//! ([`crate::read_access`]) and must not be kept.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use fhir::ResourceType;

use crate::{Change, limits};

/// The state of a resource at a moment, as far as it can be told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    slot: usize,
    count: u64,
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Freshness {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A commit that is under way; its end is the end of this.
#[derive(Debug)]
pub(crate) struct Committing<'f> {
    freshness: &'f Freshness,
    slots: Vec<usize>,
}

// === impl Freshness ===

impl Default for Freshness {
    fn default() -> Self {
        let slots = (0..limits::FRESHNESS_SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }
}

impl Freshness {
    /// To be taken before a snapshot begins; `None` while a commit that may change the resource is under way.
    pub(crate) fn stamp(&self, resource_type: ResourceType, id: &str) -> Option<Stamp> {
        let slot = self.slot(resource_type, id);
        let count = self.slots.get(slot)?.load(Ordering::SeqCst);
        (count % 2 == 0).then_some(Stamp { slot, count })
    }

    /// Whether no commit has begun since that may have changed the resource.
    pub(crate) fn is_fresh(&self, stamp: Stamp) -> bool {
        self.slots.get(stamp.slot).is_some_and(|slot| slot.load(Ordering::SeqCst) == stamp.count)
    }

    /// To be called by the only writer, before its commit.
    pub(crate) fn commit(&self, changes: &[Change]) -> Committing<'_> {
        let mut slots: Vec<usize> = changes.iter().map(|change| self.slot(change.resource_type, &change.id)).collect();
        // Each once: raised twice a counter would be even again.
        slots.sort_unstable();
        slots.dedup();
        let committing = Committing { freshness: self, slots };
        committing.raise();
        committing
    }

    fn slot(&self, resource_type: ResourceType, id: &str) -> usize {
        let hash = self.hasher.hash_one((resource_type, id));
        usize::try_from(hash % limits::FRESHNESS_SLOTS).unwrap_or(0)
    }
}

// === impl Committing ===

impl Committing<'_> {
    fn raise(&self) {
        for slot in self.slots.iter().filter_map(|slot| self.freshness.slots.get(*slot)) {
            slot.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChangeKind;

    fn change(id: &str) -> Change {
        let kind = ChangeKind::Deleted;
        Change { resource_type: ResourceType::Task, id: id.to_owned(), version: 2, kind, resource: None }
    }

    #[test]
    fn a_stamp_is_fresh_until_a_commit_of_its_resource_begins() {
        let freshness = Freshness::default();
        let stamp = freshness.stamp(ResourceType::Task, "a").unwrap();
        drop(freshness.commit(&[]));
        assert!(freshness.is_fresh(stamp));
        // The same resource twice in one group.
        let committing = freshness.commit(&[change("a"), change("a")]);
        assert!(!freshness.is_fresh(stamp));
        assert_eq!(freshness.stamp(ResourceType::Task, "a"), None, "while it may be seen by some and not by others");
        drop(committing);
        assert!(!freshness.is_fresh(stamp));
        assert!(freshness.is_fresh(freshness.stamp(ResourceType::Task, "a").unwrap()));
    }
}
