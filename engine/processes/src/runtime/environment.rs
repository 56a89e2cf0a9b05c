//! What the token engine asks of its host: the time of the transaction, ids, the listeners of the plug-ins.

use std::sync::atomic::{AtomicU64, Ordering};

use bpmn::{Environment, ListenerCall, ListenerError, VariableWrite};
use time::OffsetDateTime;

use crate::plugin::Implementations;

pub(super) struct HostEnvironment<'r> {
    pub(super) now: OffsetDateTime,
    pub(super) implementations: &'r Implementations,
}

/// Random bits at the end of an id.
const RANDOM_BITS: u32 = 62;
/// Ids of one millisecond before the next one is begun.
const SEQUENCE_BITS: u32 = 12;

/// An id (UUID version 7) that is greater than every one before of this process: what waits for the same signal, condition
/// or time is served in the order in which it began to wait, and rows lie in the order in which they came.
fn next_id() -> uuid::Uuid {
    /// Milliseconds and sequence of the last one.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let milliseconds = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let now = u64::try_from(milliseconds).unwrap_or_default() << SEQUENCE_BITS;
    let following = |last: u64| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(following(last)));
    let place = u128::from(following(last.unwrap_or_default()));
    let random = uuid::Uuid::new_v4().as_u128() & ((1 << RANDOM_BITS) - 1);
    let (time, sequence) = (place >> SEQUENCE_BITS, place & ((1 << SEQUENCE_BITS) - 1));
    uuid::Uuid::from_u128((time << 80) | (7 << 76) | (sequence << 64) | (2 << RANDOM_BITS) | random)
}

impl Environment for HostEnvironment<'_> {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn new_id(&mut self) -> String {
        next_id().to_string()
    }

    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        match self.implementations.listeners.get(call.class) {
            Some(listener) => listener.call(call),
            // The host called it when it offered the user task.
            None if self.implementations.user_tasks.contains_key(call.class) => Ok(Vec::new()),
            None => Err(ListenerError::Failed(format!("no listener {}", call.class))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::next_id;

    #[test]
    fn ids_grow_and_are_uuids() {
        let ids: Vec<uuid::Uuid> = (0..20_000).map(|_| next_id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0].to_string() < pair[1].to_string()));
        let known = |id: &uuid::Uuid| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        assert!(ids.iter().all(known));
    }
}
