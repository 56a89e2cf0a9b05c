//! Event-based gateway: waits for the events behind it; the first one to happen takes the token and closes the others.

use crate::execution::engine::{Engine, Result};
use crate::execution::event::Trigger;
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Catch, Node, NodeKind};

/// Opens a wait for every event; a condition that is true already takes the token at once.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node) -> Result<Next> {
    let mut satisfied = None;
    for flow in node.outgoing.iter().filter_map(|id| engine.process.flow(id)) {
        let event = engine.node(&flow.target)?;
        let NodeKind::IntermediateCatchEvent(catch) = &event.kind else { continue };
        match catch {
            Catch::Message { message } => engine.open_message(token, event, message)?,
            Catch::Timer(timer) => engine.open_timer(token, event, timer)?,
            Catch::Signal { signal } => engine.open_signal(token, event, signal)?,
            Catch::Condition(condition) => {
                if satisfied.is_none() && engine.is_satisfied(token, &event.id, condition)? {
                    satisfied = Some(&event.id);
                }
                engine.subscribe(token, event, Trigger::Condition)?;
            }
        }
    }
    match satisfied {
        Some(event) => {
            engine.trigger(token, event)?;
            Ok(Next::Scheduled)
        }
        None => Ok(Next::Wait(TokenState::Event)),
    }
}
