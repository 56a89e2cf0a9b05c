//! User task: waits for a person.

use std::sync::Arc;

use crate::execution::engine::{Engine, Result};
use crate::execution::event::{Event, Listener, UserTask};
use crate::execution::instance::{TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::{Node, TaskListener};

/// Announces the task with its form and listeners.
pub(super) fn execute(
    engine: &mut Engine<'_>,
    token: TokenId,
    node: &Node,
    form_key: Option<&Expression>,
    listeners: &[TaskListener],
) -> Result<Next> {
    let form_key = form_key.map(|form_key| engine.evaluate_text(token, &node.id, form_key)).transpose()?;
    let mut evaluated = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let fields = engine.evaluate_fields(token, &node.id, &listener.fields)?;
        evaluated.push(Listener { event: listener.event.clone(), class: listener.class.clone(), fields });
    }
    let user_task = engine.new_id();
    let scope = engine.token(token)?.scope;
    engine.append(Event::UserTaskCreated(UserTask {
        user_task,
        token,
        element: Arc::clone(&node.id),
        name: node.name.clone(),
        scope,
        form_key,
        listeners: evaluated,
    }))?;
    Ok(Next::Wait(TokenState::UserTask))
}
