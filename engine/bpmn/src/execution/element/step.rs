//! Everything that a named implementation does: service task, send task, message throw event, message end event.
//!
//! A class, or the topic of an external worker, is a step of the host: it is requested, the token waits, and the answer
//! moves it on. An expression is evaluated here, as it has no effect outside of the instance.

use std::sync::Arc;

use super::end_event::settle_messages;
use crate::execution::command::VariableWrite;
use crate::execution::engine::{Engine, Operation, Result, Stop};
use crate::execution::event::{Event, Step, StepKind};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
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
        Implementation::Class { class, priority, fields } => {
            request(engine, token, node, kind, Worker::Class(class), priority.as_ref(), fields)
        }
        Implementation::External { topic, priority, fields } => {
            request(engine, token, node, kind, Worker::Topic(topic), priority.as_ref(), fields)
        }
    }
}

/// Who does a step.
#[derive(Clone, Copy)]
enum Worker<'a> {
    Class(&'a str),
    Topic(&'a Expression),
}

fn request(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    kind: StepKind,
    worker: Worker<'_>,
    priority: Option<&Expression>,
    fields: &[Field],
) -> Result<Next> {
    let (class, topic) = match worker {
        Worker::Class(class) => (class.to_owned(), None),
        Worker::Topic(topic) => (String::new(), Some(engine.evaluate_text(Owner::Token(token), &node.id, topic)?)),
    };
    let priority = priority.or(engine.process.task_priority.as_ref());
    let priority = priority.map(|priority| whole_number(engine, token, node, priority)).transpose()?;
    let fields = engine.evaluate_fields(token, &node.id, fields)?;
    let step = engine.new_id();
    let scope = engine.token(token)?.scope;
    let retry = engine.retry_of(token, node)?;
    let element = Arc::clone(&node.id);
    let requested = Step { step, token, element, scope, kind, class, topic, priority, fields, retry };
    engine.append(Event::StepRequested(requested))?;
    Ok(Next::Wait(TokenState::Step))
}

fn whole_number(engine: &Engine<'_>, token: TokenId, node: &Node, expression: &Expression) -> Result<i64> {
    let text = engine.evaluate_text(Owner::Token(token), &node.id, expression)?;
    let number = text.trim().parse();
    number.map_err(|_| Stop::element(&node.id, format!("taskPriority {text:?} is no whole number")))
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
