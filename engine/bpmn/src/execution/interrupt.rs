//! Interruption: BPMN errors, boundary events, cancelled activities, and instances that are given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::command::VariableWrite;
use super::engine::{Engine, Operation, Result};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::Event;
use super::instance::{ScopeKind, TokenId, TokenState};
use crate::ElementId;
use crate::model::{BoundaryTrigger, Node, NodeKind};

impl<'a> Engine<'a> {
    /// A BPMN error looks for a boundary event, from the activity outwards through the scopes. Without one the execution
    /// ends here as at a none end event.
    pub(super) fn throw(&mut self, token: TokenId, code: String, message: Option<String>) -> Result<(), StepError> {
        let mut current = Some(token);
        while let Some(candidate) = current {
            let node = self.node_of(candidate)?;
            // Boundary events of a multi-instance activity belong to its body, not to the single instance.
            if !self.is_instance(candidate)?
                && let Some(boundary) = self.error_boundary(node, &code)?
            {
                return self.catch_error(candidate, boundary, code, message);
            }
            current = self.scope(self.token(candidate)?.scope)?.parent;
        }
        let element = Arc::clone(&self.token(token)?.element);
        self.append(Event::ErrorUnhandled { element, code, message })?;
        self.cancel_activity(token)?;
        let is_instance = self.is_instance(token)?;
        let ended = if is_instance { self.instance_done(token) } else { self.end_token(token) };
        ended.map_err(|stop| stop.into_error(&self.process.id))
    }

    fn error_boundary(&self, node: &Node, thrown: &str) -> Result<Option<&'a Node>, StepError> {
        for id in &node.boundary_events {
            let event = self.node(id)?;
            if let NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Error { code, .. }, .. } = &event.kind
                && code.as_deref().is_none_or(|code| code == thrown)
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn catch_error(
        &mut self,
        token: TokenId,
        boundary: &'a Node,
        code: String,
        message: Option<String>,
    ) -> Result<(), StepError> {
        self.interrupt(token, &boundary.id).map_err(|stop| stop.into_error(&boundary.id))?;
        let NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Error { code_variable, message_variable, .. }, .. } =
            &boundary.kind
        else {
            return Ok(());
        };
        let mut writes = Vec::new();
        if let Some(name) = code_variable {
            writes.push(VariableWrite::set(name.as_str(), code));
        }
        if let Some(name) = message_variable {
            writes.push(VariableWrite::set(name.as_str(), message));
        }
        self.write(Some(token), &boundary.id, writes)
    }

    /// Cancels the activity at which the token is and moves the token to one of its boundary events.
    pub(super) fn interrupt(&mut self, token: TokenId, boundary: &ElementId) -> Result<()> {
        self.cancel_activity(token)?;
        self.append(Event::TokenMoved { token, element: Arc::clone(boundary) })?;
        self.schedule(Operation::Arrive { token, continued: false });
        Ok(())
    }

    /// Cancels everything inside the element of a token, and the element itself; the token stays.
    fn cancel_activity(&mut self, token: TokenId) -> Result<(), StepError> {
        let inside = self.tokens_inside(token);
        self.close_waits_of(&inside.iter().copied().chain([token]).collect::<BTreeSet<_>>())?;
        for inner in inside {
            self.cancel_element(inner)?;
            self.append(Event::TokenEnded { token: inner })?;
        }
        self.cancel_element(token)?;
        self.set_state(token, TokenState::Running)
    }

    /// `end` listeners of a cancelled element run, as Camunda does it; then its scope is closed.
    fn cancel_element(&mut self, token: TokenId) -> Result<(), StepError> {
        let (state, inner) = (self.token(token)?.state, self.token(token)?.inner);
        let node = self.node_of(token)?;
        let is_active =
            !matches!(state, TokenState::Done | TokenState::Join) && (inner.is_some() || state != TokenState::Job);
        if is_active {
            // Listeners belong to the instances, not to the body around them.
            let is_body = inner
                .map(|scope| self.scope(scope))
                .transpose()?
                .is_some_and(|scope| scope.kind == ScopeKind::MultiInstance);
            let listeners = if is_body { &[] } else { node.listeners.as_slice() };
            self.listen(token, &node.id, listeners, ListenerEvent::End).map_err(|stop| stop.into_error(&node.id))?;
            self.append(Event::ElementCancelled { token, element: Arc::clone(&node.id) })?;
        }
        match inner {
            Some(scope) => self.append(Event::ScopeClosed { scope }),
            None => Ok(()),
        }
    }

    /// Tokens inside the activity of a token, innermost first.
    fn tokens_inside(&self, token: TokenId) -> Vec<TokenId> {
        let mut found = Vec::new();
        let mut scopes: Vec<_> = self.instance.tokens.get(&token).and_then(|token| token.inner).into_iter().collect();
        let mut next = 0_usize;
        while let Some(scope) = scopes.get(next).copied() {
            next = next.saturating_add(1);
            for inner in self.instance.tokens.values().filter(|inner| inner.scope == scope) {
                found.push(inner.id);
                scopes.extend(inner.inner);
            }
        }
        found.reverse();
        found
    }

    /// Gives everything up that waits, and takes leave with the event that `last` makes of the open messages.
    pub(super) fn abandon(&mut self, last: impl FnOnce(Vec<String>) -> Event) -> Result<(), StepError> {
        let tokens = self.instance.tokens.keys().copied().collect();
        self.close_waits_of(&tokens)?;
        self.clear_agenda();
        let messages = self.open_messages();
        self.append(last(messages))
    }
}
