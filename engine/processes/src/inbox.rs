//! The inbox: accepted messages whose receiver does not wait yet (`process-engine.md` 0.3). A receiver that opens its
//! subscription takes its message in the same transaction (see `runtime/unit/inbox.rs`); what nobody took in time fails
//! with the reference's text.

use store::Transaction;

use crate::limits;
use crate::runtime::{ProcessError, UNABLE_TO_CORRELATE, fail_task};

/// Fails the Tasks of messages whose time is over.
pub(crate) fn expire(tx: &mut Transaction<'_>) -> Result<(), ProcessError> {
    let now = tx.now();
    for message in tx.expired_inbox(now, limits::CLAIM)? {
        tx.delete_inbox(&message.task_id)?;
        fail_task(tx, &message.task_id, Vec::new(), UNABLE_TO_CORRELATE)?;
    }
    Ok(())
}
