//! Parallel gateway: waits for as many tokens as it has incoming flows, then takes every outgoing flow.

use crate::execution::engine::{Engine, Result};
use crate::execution::event::Event;
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::Node;

/// Joins: the last token to arrive goes on, the others end.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node) -> Result<Next> {
    if node.incoming.len() <= 1 {
        return Ok(Next::Complete);
    }
    let scope = engine.token(token)?.scope;
    let waiting: Vec<_> = engine
        .instance
        .tokens
        .values()
        .filter(|other| other.scope == scope && other.state == TokenState::Join && other.element == node.id)
        .map(|other| other.id)
        .collect();
    if waiting.len().saturating_add(1) < node.incoming.len() {
        return Ok(Next::Wait(TokenState::Join));
    }
    for joined in waiting {
        engine.append(Event::TokenEnded { token: joined })?;
    }
    Ok(Next::Complete)
}
