//! Script task: evaluates its script, which is an expression.

use crate::execution::command::VariableWrite;
use crate::execution::engine::{Engine, Result};
use crate::execution::instance::{Owner, TokenId};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::Node;

/// Evaluates and keeps the result.
pub(super) fn execute(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    script: &Expression,
    result_variable: Option<&String>,
) -> Result<Next> {
    let value = engine.evaluate(Owner::Token(token), &node.id, script)?;
    if let Some(name) = result_variable {
        engine.write(Some(token), &node.id, vec![VariableWrite::set(name.as_str(), value)])?;
    }
    Ok(Next::Complete)
}
