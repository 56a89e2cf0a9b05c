//! End event: throws what it throws, ends its scope if it terminates, and settles the messages of its scope.

use std::sync::Arc;

use super::throw_event::throw_signal;
use crate::execution::engine::{Engine, Result, Stop};
use crate::execution::event::Event;
use crate::execution::instance::{Owner, ScopeKind, TokenId};
use crate::execution::lifecycle::Next;
use crate::model::{EndResult, Node};

/// Runs an end event that sends no message.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, result: &EndResult) -> Result<Next> {
    match result {
        EndResult::None | EndResult::Message(_) => {
            settle_messages(engine, token, node)?;
            Ok(Next::Complete)
        }
        EndResult::Signal { signal, payload } => super::complete_after(engine, token, |engine| {
            throw_signal(engine, token, node, signal, payload)?;
            settle_messages(engine, token, node)
        }),
        EndResult::Error { code, message } => {
            let owner = Owner::Token(token);
            let code = engine.evaluate_text(owner, &node.id, code)?;
            let message = message.as_ref().map(|message| engine.evaluate_text(owner, &node.id, message)).transpose()?;
            Err(Stop::Thrown { code, message })
        }
        EndResult::Escalation { code } => super::complete_after(engine, token, |engine| {
            engine.escalate(token, code.clone())?;
            // An interrupting catch has cancelled the token.
            if engine.token(token).is_ok_and(|token| token.element == node.id) {
                settle_messages(engine, token, node)?;
            }
            Ok(())
        }),
        EndResult::Terminate => {
            let scope = engine.token(token)?.scope;
            engine.cancel_scope(scope, Some(token))?;
            settle_messages(engine, token, node)?;
            Ok(Next::Complete)
        }
        EndResult::Compensation { activity } => engine.compensate(token, activity.as_ref()),
    }
}

/// Reports the messages that this end event settles: those of its scope, and at the root also the start message. The
/// root execution is the one without concurrent siblings in the process itself.
pub(in crate::execution) fn settle_messages(engine: &mut Engine<'_>, token: TokenId, node: &Node) -> Result<()> {
    let id = engine.token(token)?.scope;
    let scope = engine.scope(id)?;
    let root = scope.kind == ScopeKind::Process && scope.tokens <= 1;
    let mut messages: Vec<_> = scope.messages.iter().rev().cloned().collect();
    if root {
        messages.extend(engine.instance.start_message.clone());
    }
    Ok(engine.append(Event::EndEventReached { element: Arc::clone(&node.id), scope: id, root, messages })?)
}
