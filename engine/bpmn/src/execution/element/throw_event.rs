//! Intermediate throw event without message: nothing, or a signal.

use crate::execution::engine::{Engine, Result};
use crate::execution::event::Event;
use crate::execution::instance::TokenId;
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::{Node, Throw};

/// Throws the signal, if any.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, throw: &Throw) -> Result<Next> {
    match throw {
        Throw::None | Throw::Message(_) => Ok(Next::Complete),
        Throw::Signal { signal } => {
            super::complete_after(engine, token, |engine| throw_signal(engine, token, node, signal))
        }
    }
}

/// Receivers in this instance run before the thrower goes on; others are the host's to serve.
pub(super) fn throw_signal(engine: &mut Engine<'_>, token: TokenId, node: &Node, signal: &Expression) -> Result<()> {
    let name = engine.evaluate_text(token, &node.id, signal)?;
    engine.append(Event::SignalThrown { element: node.id.clone(), name: name.clone() })?;
    engine.receive_signal(&name)
}
