//! Compensation: activities that completed are kept in their scope, and undone in reverse order when it is thrown.
//!
//! The throwing event opens a scope, takes what is to be compensated out of its own scope, and runs one handler after the
//! other, the newest first; it goes on when the last has ended. A sub-process without a handler of its own is compensated
//! by what completed in it, or by its compensation event sub-process, with the variables that it had at its end.

use std::sync::Arc;

use super::element::settle_messages;
use super::engine::{Engine, Operation, Result};
use super::error::StepError;
use super::event::Event;
use super::instance::{Compensation, ScopeId, ScopeKind, TokenId, TokenState};
use super::lifecycle::Next;
use crate::ElementId;
use crate::limits;
use crate::model::{Node, NodeKind, StartTrigger};

impl<'a> Engine<'a> {
    /// An activity completes: it is kept if it, or something in it, can be compensated.
    pub(super) fn keep_for_compensation(&mut self, token: TokenId, node: &Node) -> Result<()> {
        if !node.kind.is_activity() {
            return Ok(());
        }
        let (scope, inner) = (self.token(token)?.scope, self.token(token)?.inner);
        let inner = inner.map(|inner| self.scope(inner)).transpose()?;
        if let Some(body) = inner.filter(|inner| inner.kind == ScopeKind::MultiInstance) {
            if !body.compensations.is_empty() {
                self.append(Event::CompensationsMoved { from: body.id, into: scope })?;
            }
            return Ok(());
        }
        let from = inner.filter(|inner| inner.kind == ScopeKind::SubProcess).map(|inner| inner.id);
        let holds = inner.is_some_and(|inner| !inner.compensations.is_empty())
            || (from.is_some() && self.compensation_event_sub_process(&node.id).is_some());
        if node.compensation_handler.is_none() && !holds {
            return Ok(());
        }
        if self.scope(scope)?.compensations.len() >= limits::COMPENSATIONS {
            return Err(StepError::Limit {
                element: Arc::clone(&node.id),
                limit: "completed activities to compensate",
            }
            .into());
        }
        let instance = self.is_instance(token)?.then_some(token);
        let (activity, handler) = (Arc::clone(&node.id), node.compensation_handler.clone());
        Ok(self.append(Event::CompensationRecorded { scope, activity, handler, from, instance })?)
    }

    /// Throws compensation from an event.
    pub(super) fn compensate(&mut self, token: TokenId, activity: Option<&ElementId>) -> Result<Next> {
        let into = self.token(token)?.inner;
        let into = into.ok_or_else(|| StepError::Inconsistent("compensation has no scope".to_owned()))?;
        let mut from = self.token(token)?.scope;
        // An event sub-process compensates what runs beside it.
        while let Some(parent) = self.scope(from)?.parent
            && matches!(self.node(&self.scope(from)?.element)?.kind, NodeKind::EventSubProcess { .. })
        {
            from = self.token(parent)?.scope;
        }
        self.append(Event::CompensationStarted { from, into, activity: activity.cloned() })?;
        self.set_state(token, TokenState::Inner)?;
        self.next_compensation(into)?;
        Ok(Next::Scheduled)
    }

    /// The handler that ran in this scope has ended.
    pub(super) fn continue_compensation(&mut self, scope: ScopeId) -> Result<()> {
        // A compensation event sub-process stands for everything in its sub-process.
        let element = &self.scope(scope)?.element;
        if self.compensation_event_sub_process(element).is_some() {
            return self.end_compensation(scope);
        }
        self.next_compensation(scope)
    }

    /// Compensates the newest activity that waits for it in this scope.
    fn next_compensation(&mut self, scope: ScopeId) -> Result<()> {
        let Some(entry) = self.scope(scope)?.compensations.last() else { return self.end_compensation(scope) };
        let Compensation { activity, handler, .. } = entry;
        let (activity, handler) = (Arc::clone(activity), handler.clone());
        if let Some(handler) = handler {
            let token = self.create_token(scope, &handler)?;
            self.append(Event::CompensationTaken { from: scope, token, into: None })?;
            self.schedule(Operation::Arrive { token, continued: false });
            return Ok(());
        }
        let token = self.create_token(scope, &activity)?;
        let inner = self.open_scope(Some(token), ScopeKind::Compensation, &activity)?;
        self.append(Event::CompensationTaken { from: scope, token, into: Some(inner) })?;
        self.set_state(token, TokenState::Inner)?;
        match self.compensation_event_sub_process(&activity) {
            Some(start) => self.begin_event_sub_process(inner, start, None).map(drop),
            // Nested as deep as the sub-processes of the model.
            None => self.next_compensation(inner),
        }
    }

    /// Nothing is left to compensate: the throwing event goes on, or the next activity around is compensated.
    fn end_compensation(&mut self, scope: ScopeId) -> Result<()> {
        let parent = self.scope(scope)?.parent;
        let parent = parent.ok_or_else(|| StepError::Inconsistent("compensation has no event".to_owned()))?;
        let node = self.node_of(parent)?;
        if node.kind.is_activity() {
            self.append(Event::ScopeClosed { scope })?;
            return self.end_token(parent);
        }
        if matches!(node.kind, NodeKind::EndEvent(_)) {
            settle_messages(self, parent, node)?;
        }
        self.schedule(Operation::Complete(parent));
        Ok(())
    }

    /// Start event of the event sub-process that compensates this sub-process.
    fn compensation_event_sub_process(&self, container: &str) -> Option<&'a Node> {
        self.process.event_sub_processes_of(container).iter().find_map(|id| {
            let NodeKind::EventSubProcess { start } = &self.process.node(id)?.kind else { return None };
            let start = self.process.node(start)?;
            matches!(start.kind, NodeKind::StartEvent(StartTrigger::Compensation)).then_some(start)
        })
    }
}
