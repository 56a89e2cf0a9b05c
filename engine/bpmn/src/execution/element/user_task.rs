//! User task: waits for a person.

use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use crate::execution::engine::{Engine, Result, Stop};
use crate::execution::environment::ListenerEvent;
use crate::execution::event::{Event, Listener, UserTask};
use crate::execution::instance::{Owner, TokenId, TokenState};
use crate::execution::lifecycle::Next;
use crate::expression::Expression;
use crate::model::{Implementation, Node, UserTaskModel};
use crate::timer::parse_date;

/// Announces the task with its form, people and listeners, and calls the listeners for its creation.
pub(super) fn execute(engine: &mut Engine<'_>, token: TokenId, node: &Node, task: &UserTaskModel) -> Result<Next> {
    let mut listeners = Vec::with_capacity(task.listeners.len());
    for listener in &task.listeners {
        let Implementation::Class { class, fields, .. } = &listener.implementation else { continue };
        let fields = engine.evaluate_fields(token, &node.id, fields)?;
        listeners.push(Listener { event: listener.event, class: class.clone(), fields });
    }
    let text = |expression: &Option<Expression>| {
        expression.as_ref().map(|text| engine.evaluate_text(Owner::Token(token), &node.id, text)).transpose()
    };
    let created = UserTask {
        token,
        element: Arc::clone(&node.id),
        name: node.name.clone(),
        scope: engine.token(token)?.scope,
        form_key: text(&task.form_key)?,
        assignee: text(&task.assignee)?.filter(|assignee| !assignee.is_empty()),
        candidate_users: names(engine, token, node, task.candidate_users.as_ref())?,
        candidate_groups: names(engine, token, node, task.candidate_groups.as_ref())?,
        due: date(node, text(&task.due)?)?,
        follow_up: date(node, text(&task.follow_up)?)?,
        priority: match text(&task.priority)?.filter(|priority| !priority.is_empty()) {
            Some(priority) => Some(priority.trim().parse().map_err(|_| {
                Stop::element(&node.id, format!("priority {priority:?} of the user task is no whole number"))
            })?),
            None => None,
        },
        description: text(&task.description)?,
        listeners,
        user_task: engine.new_id(),
    };
    let is_assigned = created.assignee.is_some();
    engine.append(Event::UserTaskCreated(created))?;
    engine.listen_to_task(token, ListenerEvent::Create)?;
    if is_assigned {
        engine.listen_to_task(token, ListenerEvent::Assignment)?;
    }
    Ok(Next::Wait(TokenState::UserTask))
}

/// A comma separated text, or a list.
fn names(engine: &Engine<'_>, token: TokenId, node: &Node, expression: Option<&Expression>) -> Result<Vec<String>> {
    let Some(expression) = expression else { return Ok(Vec::new()) };
    let invalid = || Stop::element(&node.id, format!("{expression} is neither a text nor a list of texts"));
    match engine.evaluate(Owner::Token(token), &node.id, expression)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => {
            Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        Value::Array(values) => {
            values.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(invalid)).collect()
        }
        _ => Err(invalid()),
    }
}

fn date(node: &Node, text: Option<String>) -> Result<Option<OffsetDateTime>> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => parse_date(&text).map(Some).map_err(|error| Stop::element(&node.id, error)),
        None => Ok(None),
    }
}
