//! Intermediate catch event: waits for a message, timer, signal or condition.

use crate::execution::engine::{Engine, Result};
use crate::execution::event::Trigger;
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::{Next, is_after_event_based_gateway};
use crate::model::{Catch, Node};

/// Waits, unless the event-based gateway before it has waited already.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, catch: &Catch) -> Result<Next> {
    if is_after_event_based_gateway(engine.process, node) {
        return Ok(Next::Complete);
    }
    match catch {
        Catch::Message { message } => engine.open_message(token, node, message)?,
        Catch::Timer(timer) => engine.open_timer(token, node, timer)?,
        Catch::Signal { signal } => engine.open_signal(token, node, signal)?,
        Catch::Condition(condition) => {
            if engine.is_satisfied(token, &node.id, condition)? {
                return Ok(Next::Complete);
            }
            engine.subscribe(token, node, Trigger::Condition)?;
        }
    }
    Ok(Next::Wait(TokenState::Event))
}
