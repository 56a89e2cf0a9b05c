//! Start events, tasks without a type and manual tasks: nothing to do. Also the rule for leaving any element but a gateway.

use crate::ElementId;
use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId};
use crate::execution::lifecycle::Next;
use crate::model::Node;

/// Nothing happens here.
pub(super) fn execute() -> Next {
    Next::Complete
}

/// Every flow without a condition or with a true one is taken; without any the default flow is.
pub(super) fn select_flows<'a>(engine: &Engine<'a>, token: TokenId, node: &'a Node) -> Result<Vec<&'a ElementId>> {
    let mut taken = Vec::new();
    for id in &node.outgoing {
        if node.default_flow.as_ref() == Some(id) {
            continue;
        }
        let condition = engine.process.flow(id).and_then(|flow| flow.condition.as_ref());
        let is_taken = match condition {
            Some(condition) => engine.evaluate_condition(Owner::Token(token), id, condition)?,
            None => true,
        };
        if is_taken {
            taken.push(id);
        }
    }
    if taken.is_empty() {
        taken.extend(node.default_flow.iter());
    }
    if taken.is_empty() && !node.outgoing.is_empty() {
        return engine.refuse(
            &node.id,
            "no outgoing sequence flow can be taken: no condition is true and there is no default flow",
        );
    }
    Ok(taken)
}
