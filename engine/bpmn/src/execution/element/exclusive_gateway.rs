//! Exclusive gateway: one flow out, merging in.

use crate::ElementId;
use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId};
use crate::execution::lifecycle::Next;
use crate::model::Node;

/// Passes every token on.
pub(super) fn execute() -> Next {
    Next::Complete
}

/// The first flow in document order whose condition is true, else the default flow.
pub(super) fn select_flow<'a>(engine: &Engine<'a>, token: TokenId, node: &'a Node) -> Result<&'a ElementId> {
    for id in &node.outgoing {
        if node.default_flow.as_ref() == Some(id) {
            continue;
        }
        match engine.process.flow(id).and_then(|flow| flow.condition.as_ref()) {
            Some(condition) if !engine.evaluate_condition(Owner::Token(token), id, condition)? => {}
            _ => return Ok(id),
        }
    }
    match &node.default_flow {
        Some(flow) => Ok(flow),
        None => engine.refuse(
            &node.id,
            "no outgoing sequence flow can be taken: no condition is true and there is no default flow",
        ),
    }
}
