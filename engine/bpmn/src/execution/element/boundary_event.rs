//! Boundary event: its trigger has happened when a token reaches it, so it is passed through.

use crate::execution::lifecycle::Next;

/// The token goes on along the flow of the boundary event.
pub(super) fn execute() -> Next {
    Next::Complete
}
