//! Receive task: waits for a message.

use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::Node;

/// Opens the subscription.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, message: &Expression) -> Result<Next> {
    engine.open_message(Owner::Token(token), node, message)?;
    Ok(Next::Wait(TokenState::Event))
}
