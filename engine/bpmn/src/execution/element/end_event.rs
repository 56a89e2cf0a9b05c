//! End event: throws its signal or error, and settles the messages of its scope.

use std::sync::Arc;

use super::throw_event::throw_signal;
use crate::execution::engine::{Engine, Result, Stop};
use crate::execution::event::Event;
use crate::execution::instance::{ScopeKind, TokenId};
use crate::execution::lifecycle::Next;
use crate::model::{EndResult, Node};

/// Runs an end event that sends no message.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, result: &EndResult) -> Result<Next> {
    match result {
        EndResult::None | EndResult::Message(_) => {
            settle_messages(engine, token, node)?;
            Ok(Next::Complete)
        }
        EndResult::Signal { signal } => super::complete_after(engine, token, |engine| {
            throw_signal(engine, token, node, signal)?;
            settle_messages(engine, token, node)
        }),
        EndResult::Error { code, message } => {
            let message = message.as_ref().map(|message| engine.evaluate_text(token, &node.id, message)).transpose()?;
            Err(Stop::Thrown { code: code.clone(), message })
        }
    }
}

/// Reports the messages that this end event settles: those of its scope, and at the root also the start message. The
/// root execution is the one without concurrent siblings in the process itself.
pub(super) fn settle_messages(engine: &mut Engine<'_>, token: TokenId, node: &Node) -> Result<()> {
    let id = engine.token(token)?.scope;
    let scope = engine.scope(id)?;
    let root = scope.kind == ScopeKind::Process && scope.tokens <= 1;
    let mut messages: Vec<_> = scope.messages.iter().rev().cloned().collect();
    if root {
        messages.extend(engine.instance.start_message.clone());
    }
    Ok(engine.append(Event::EndEventReached { element: Arc::clone(&node.id), scope: id, root, messages })?)
}
