//! The policies by which permits are accepted: the active one and, for a few seconds, the one before.
//!
//! The gateway swaps its policy at its own moment; requests that it judged by the old one are still on the way when the
//! engine has swapped, and requests that it judged by the new one arrive while the engine still reads it. The first are
//! accepted, the second wait for a moment. A permit of any other version is answered with 503 (`architecture` section 2).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use policies::Policy;
use tokio::sync::watch;

use crate::limits;

/// The active policy and the one before.
#[derive(Debug)]
pub struct PolicyHistory {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    active: Arc<Policy>,
    previous: Option<(Arc<Policy>, Instant)>,
}

impl PolicyHistory {
    /// Starts with one policy.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { state: Mutex::new(State { active: policy, previous: None }), changed: watch::Sender::new(()) }
    }

    /// Makes `policy` the active one; the one before is accepted for [`limits::PREVIOUS_POLICY`].
    pub fn activate(&self, policy: Arc<Policy>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.active.version() != policy.version() {
            let before = std::mem::replace(&mut state.active, policy);
            state.previous = Some((before, Instant::now()));
            self.changed.send_replace(());
        }
    }

    /// Resolves when another policy was activated after this call, at the latest after [`limits::NEXT_POLICY`].
    pub(crate) fn next(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.changed.subscribe();
        async move {
            // Out of time or out of a sender: either way there is nothing more to wait for.
            let _ = tokio::time::timeout(limits::NEXT_POLICY, changes.changed()).await;
        }
    }

    /// The active policy.
    #[must_use]
    pub fn active(&self) -> Arc<Policy> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).active)
    }

    /// The policy of this version, if it is still accepted.
    pub(crate) fn accepted(&self, version: &str) -> Option<Arc<Policy>> {
        self.accepted_at(version, Instant::now())
    }

    fn accepted_at(&self, version: &str, now: Instant) -> Option<Arc<Policy>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.active.version() == version {
            return Some(Arc::clone(&state.active));
        }
        let (previous, replaced) = state.previous.as_ref()?;
        let is_fresh = now.saturating_duration_since(*replaced) <= limits::PREVIOUS_POLICY;
        (is_fresh && previous.version() == version).then(|| Arc::clone(previous))
    }
}

#[cfg(test)]
mod tests;
