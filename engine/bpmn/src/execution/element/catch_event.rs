//! Intermediate catch event: waits for a message, timer, signal or condition.

use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::{Next, is_after_event_based_gateway};
use crate::model::{Catch, Node};

/// Waits, unless the event-based gateway before it has waited already or its condition is true.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, catch: &Catch) -> Result<Next> {
    if is_after_event_based_gateway(engine.process, node) || engine.open_wait(Owner::Token(token), node, catch)? {
        return Ok(Next::Complete);
    }
    Ok(Next::Wait(TokenState::Event))
}
