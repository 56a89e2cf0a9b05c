//! Intermediate throw event without message: nothing, a signal, an escalation, or compensation.

use crate::execution::engine::{Engine, Result};
use crate::execution::event::Event;
use crate::execution::instance::{Owner, TokenId};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::{Mapping, Node, Throw};

/// Throws what the event throws.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, throw: &Throw) -> Result<Next> {
    match throw {
        Throw::None | Throw::Message(_) => Ok(Next::Complete),
        Throw::Signal { signal, payload } => {
            super::complete_after(engine, token, |engine| throw_signal(engine, token, node, signal, payload))
        }
        Throw::Escalation { code } => {
            super::complete_after(engine, token, |engine| engine.escalate(token, code.clone()))
        }
        Throw::Compensation { activity } => engine.compensate(token, activity.as_ref()),
    }
}

/// Receivers in this instance run before the thrower goes on; others are the host's to serve.
pub(super) fn throw_signal(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    signal: &Expression,
    payload: &[Mapping],
) -> Result<()> {
    let name = engine.evaluate_text(Owner::Token(token), &node.id, signal)?;
    let variables = engine.hand_over(token, &node.id, payload)?;
    let carried: Vec<_> =
        variables.iter().map(|(name, value)| (name.clone(), serde_json::Value::clone(value))).collect();
    engine.append(Event::SignalThrown { element: node.id.clone(), name: name.clone(), variables })?;
    engine.receive_signal(&name, &carried)
}
