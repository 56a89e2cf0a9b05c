//! Call activity: another process runs as an instance of its own; the host starts it in the same transaction.

use std::sync::Arc;

use crate::execution::engine::{Engine, Result};
use crate::execution::event::{Call, CallBinding, Event};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::model::{Binding, CallActivity, Node};

/// Requests the call and waits for its end.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, activity: &CallActivity) -> Result<Next> {
    let owner = Owner::Token(token);
    let process = engine.evaluate_text(owner, &node.id, &activity.called)?;
    let binding = match &activity.binding {
        Binding::Latest => CallBinding::Latest,
        Binding::Deployment => CallBinding::Deployment,
        Binding::VersionTag(tag) => CallBinding::VersionTag(engine.evaluate_text(owner, &node.id, tag)?),
    };
    let business_key = match &activity.business_key {
        Some(key) => Some(engine.evaluate_text(owner, &node.id, key)?),
        None => None,
    };
    let variables = engine.hand_over(token, &node.id, &activity.inputs)?;
    let call = engine.new_id();
    let element = Arc::clone(&node.id);
    engine.append(Event::CallRequested(Call { call, token, element, process, binding, business_key, variables }))?;
    Ok(Next::Wait(TokenState::Call))
}
