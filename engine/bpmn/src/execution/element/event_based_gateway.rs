//! Event-based gateway: waits for the events behind it; the first one to happen takes the token and closes the others.

use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Node, NodeKind};

/// Opens a wait for every event; a condition that is true already takes the token at once.
pub(super) fn execute<'a>(engine: &mut Engine<'a>, token: TokenId, node: &'a Node) -> Result<Next> {
    let mut satisfied = None;
    for flow in node.outgoing.iter().filter_map(|id| engine.process.flow(id)) {
        let event = engine.node(&flow.target)?;
        let NodeKind::IntermediateCatchEvent(catch) = &event.kind else { continue };
        if engine.open_wait(Owner::Token(token), event, catch)? {
            satisfied = satisfied.or(Some(&event.id));
        }
    }
    match satisfied {
        Some(event) => {
            engine.leave_gateway(token, node, event)?;
            Ok(Next::Scheduled)
        }
        None => Ok(Next::Wait(TokenState::Event)),
    }
}
