//! Everything that a named implementation does: service task, send task, message throw event, message end event.
//!
//! A class, or the topic of an external worker, is a step of the host: it is requested, the token waits, and the answer moves it on. An expression is evaluated
//! here, as it has no effect outside of the instance.

use std::sync::Arc;

use super::end_event::settle_messages;
use crate::execution::command::VariableWrite;
use crate::execution::engine::{Engine, Operation, Result};
use crate::execution::event::{Event, Step, StepKind};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Field, Implementation, Node, NodeKind};

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
            let value = engine.evaluate(Owner::Token(token), &node.id, expression)?;
            if let Some(name) = result_variable {
                engine.write(Some(token), &node.id, vec![VariableWrite::set(name.as_str(), value)])?;
            }
            if kind == StepKind::MessageEnd {
                settle_messages(engine, token, node)?;
            }
            Ok(Next::Complete)
        }
        Implementation::Class { class, fields } => request(engine, token, node, kind, class.clone(), None, fields),
        Implementation::External { topic, fields } => {
            let topic = engine.evaluate_text(Owner::Token(token), &node.id, topic)?;
            request(engine, token, node, kind, String::new(), Some(topic), fields)
        }
    }
}

fn request(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    kind: StepKind,
    class: String,
    topic: Option<String>,
    fields: &[Field],
) -> Result<Next> {
    let fields = engine.evaluate_fields(token, &node.id, fields)?;
    let step = engine.new_id();
    let scope = engine.token(token)?.scope;
    let retry = engine.retry_of(token, node)?;
    let element = Arc::clone(&node.id);
    engine.append(Event::StepRequested(Step { step, token, element, scope, kind, class, topic, fields, retry }))?;
    Ok(Next::Wait(TokenState::Step))
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
