//! Memory for judged bodies, shared out so that no client can take all of it.
//!
//! A body is judged whole, so it is held. What is held counts twice: against the memory of the process and against the
//! share of the client that sends it. Memory is taken as bytes arrive, because an announced length costs nothing.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{BUFFERED_BYTES, BUFFERED_BYTES_PER_IDENTITY, IDENTITY_CACHE};

/// Memory is counted in pieces of this size.
const PIECE: usize = 16 * 1024;

/// What is left.
#[derive(Debug)]
pub struct Memory {
    all: Arc<Semaphore>,
    shares: Cache<String, Arc<Semaphore>>,
}

/// What one body holds; given back when dropped.
#[derive(Debug)]
pub struct Held {
    all: Part,
    share: Part,
    pieces: usize,
}

#[derive(Debug)]
struct Part {
    of: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

// === impl Memory ===

impl Default for Memory {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(BUFFERED_BYTES / PIECE)), shares: Cache::new(IDENTITY_CACHE) }
    }
}

impl Memory {
    /// Begins a body of the client called `who`, which holds nothing yet.
    #[must_use]
    pub fn begin(&self, who: &str) -> Held {
        let share = match self.shares.get(who) {
            Some(share) => share,
            None => {
                self.shares.get_with(who.to_owned(), || Arc::new(Semaphore::new(BUFFERED_BYTES_PER_IDENTITY / PIECE)))
            }
        };
        Held { all: Part::of(Arc::clone(&self.all)), share: Part::of(share), pieces: 0 }
    }
}

// === impl Held ===

impl Held {
    /// Holds `bytes` in all; false if there is no room for them.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let wanted = bytes.div_ceil(PIECE);
        let more = wanted.saturating_sub(self.pieces);
        if more == 0 {
            return true;
        }
        // The own share first: who has none left takes nothing of the whole.
        let granted = self.share.take(more) && self.all.take(more);
        if granted {
            self.pieces = wanted;
        }
        granted
    }
}

impl Part {
    const fn of(of: Arc<Semaphore>) -> Self {
        Self { of, permit: None }
    }

    fn take(&mut self, pieces: usize) -> bool {
        let Ok(pieces) = u32::try_from(pieces) else { return false };
        let Ok(taken) = Arc::clone(&self.of).try_acquire_many_owned(pieces) else { return false };
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_its_share_and_leaves_the_rest_to_others() {
        let memory = Memory::default();
        let mut first = memory.begin("a");
        assert!(first.grow_to(BUFFERED_BYTES_PER_IDENTITY / 2) && first.grow_to(BUFFERED_BYTES_PER_IDENTITY));
        assert!(!first.grow_to(BUFFERED_BYTES_PER_IDENTITY + 1));
        assert!(!memory.begin("a").grow_to(1));
        assert!(memory.begin("b").grow_to(BUFFERED_BYTES_PER_IDENTITY));
        drop(first);
        assert!(memory.begin("a").grow_to(BUFFERED_BYTES_PER_IDENTITY));
    }

    #[test]
    fn all_clients_together_stay_within_the_whole() {
        let memory = Memory::default();
        let mut held: Vec<Held> = (0..10).map(|number| memory.begin(&number.to_string())).collect();
        let granted =
            held.iter_mut().filter_map(|held| held.grow_to(BUFFERED_BYTES_PER_IDENTITY).then_some(())).count();
        assert_eq!(granted, BUFFERED_BYTES / BUFFERED_BYTES_PER_IDENTITY);
    }
}
