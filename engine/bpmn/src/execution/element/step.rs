//! Everything that a named implementation does: service task, send task, message throw event, message end event.
//!
//! A class is a step of the host: it is requested, the token waits, and the answer moves it on. An expression is evaluated
//! here, as it has no effect outside of the instance.

use std::sync::Arc;

use super::end_event::settle_messages;
use crate::execution::command::VariableWrite;
use crate::execution::engine::{Engine, Operation, Result};
use crate::execution::event::{Event, Step, StepKind};
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Implementation, Node, NodeKind};

/// Requests the step, or evaluates the expression.
pub(super) fn execute(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    implementation: &Implementation,
    kind: StepKind,
) -> Result<Next> {
    match implementation {
        Implementation::Expression { expression, result_variable } => {
            let value = engine.evaluate(token, &node.id, expression)?;
            if let Some(name) = result_variable {
                engine.write(Some(token), &node.id, vec![VariableWrite::set(name.as_str(), value)])?;
            }
            if kind == StepKind::MessageEnd {
                settle_messages(engine, token, node)?;
            }
            Ok(Next::Complete)
        }
        Implementation::Class { class, fields } => {
            let fields = engine.evaluate_fields(token, &node.id, fields)?;
            let step = engine.new_id();
            let scope = engine.token(token)?.scope;
            let retry = engine.retry_of(token, node)?;
            engine.append(Event::StepRequested(Step {
                step,
                token,
                element: Arc::clone(&node.id),
                scope,
                kind,
                class: class.clone(),
                fields,
                retry,
            }))?;
            Ok(Next::Wait(TokenState::Step))
        }
    }
}

/// The host answered: the element is complete. A message end event settles its messages after the message was sent.
pub(in crate::execution) fn step_completed(engine: &mut Engine<'_>, token: TokenId) -> Result<()> {
    let node = engine.node_of(token)?;
    if matches!(node.kind, NodeKind::EndEvent(_)) {
        settle_messages(engine, token, node)?;
    }
    engine.schedule(Operation::Complete(token));
    Ok(())
}
