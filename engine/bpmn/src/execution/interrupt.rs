//! Interruption: cancelled activities and scopes, and instances that are given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine::{Engine, Operation, Result};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{CallOutcome, Event};
use super::instance::{Owner, ScopeKind, TokenId, TokenState};
use crate::ElementId;

impl Engine<'_> {
    /// Cancels the activity at which the token is and moves the token to one of its boundary events.
    pub(super) fn interrupt(&mut self, token: TokenId, boundary: &ElementId) -> Result<()> {
        self.cancel_activity(token)?;
        self.append(Event::TokenMoved { token, element: Arc::clone(boundary) })?;
        self.schedule(Operation::Arrive { token, continued: false });
        Ok(())
    }

    /// A boundary event that does not interrupt gets a token of its own.
    pub(super) fn branch(&mut self, token: TokenId, boundary: &ElementId) -> Result<TokenId> {
        let scope = self.token(token)?.scope;
        let branch = self.create_token(scope, boundary)?;
        self.schedule(Operation::Arrive { token: branch, continued: false });
        Ok(branch)
    }

    /// Cancels everything inside the element of a token, and the element itself; the token stays.
    pub(super) fn cancel_activity(&mut self, token: TokenId) -> Result<(), StepError> {
        let inside = self.tokens_inside(token);
        let mut owners = BTreeSet::new();
        for inner in inside.iter().copied().chain([token]) {
            owners.insert(Owner::Token(inner));
            owners.extend(self.token(inner)?.inner.map(Owner::Scope));
        }
        self.close_waits_of(&owners)?;
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
        let inner_kind = inner.map(|scope| self.scope(scope)).transpose()?.map(|scope| scope.kind);
        // A completed sub-process that is being compensated is not active any more.
        let is_compensated = inner_kind == Some(ScopeKind::Compensation) && node.kind.is_activity();
        let is_active = state != TokenState::Join && (inner.is_some() || state != TokenState::Job) && !is_compensated;
        if is_active {
            // Listeners belong to the instances, not to the body around them.
            let is_body = inner_kind == Some(ScopeKind::MultiInstance);
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

    /// Gives everything up that waits, tells the caller, and takes leave with the event that `last` makes of the open
    /// messages.
    pub(super) fn abandon(&mut self, reason: &str, last: impl FnOnce(Vec<String>) -> Event) -> Result<(), StepError> {
        self.close_all_waits()?;
        self.answer_caller(CallOutcome::Failed { reason: reason.to_owned() })?;
        self.clear_agenda();
        let messages = self.open_messages();
        self.append(last(messages))
    }
}
