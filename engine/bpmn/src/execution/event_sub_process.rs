//! Event sub-processes: they wait for their start event as long as the scope around them runs, and then run in it.

use std::sync::Arc;

use super::engine::{Engine, Operation, Result};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::Event;
use super::instance::{Owner, ScopeId, ScopeKind, TokenId, TokenState};
use crate::ElementId;
use crate::model::{Node, NodeKind, StartTrigger};

/// A message that triggered something: its name and the host's name for it.
pub(super) type Received = (String, Option<String>);

impl<'a> Engine<'a> {
    /// Opens the waits of the event sub-processes of a scope. Gives the start event of an interrupting one whose
    /// condition is true already.
    pub(super) fn open_event_sub_processes(&mut self, scope: ScopeId) -> Result<Option<&'a Node>> {
        let container = Arc::clone(&self.scope(scope)?.element);
        let mut satisfied = None;
        for id in self.process.event_sub_processes_of(&container) {
            let NodeKind::EventSubProcess { start } = &self.node(id)?.kind else { continue };
            let start = self.node(start)?;
            let NodeKind::StartEvent(StartTrigger::Event { catch, interrupting }) = &start.kind else { continue };
            if !self.open_wait(Owner::Scope(scope), start, catch)? {
                continue;
            }
            if *interrupting {
                satisfied = satisfied.or(Some(start));
            } else {
                self.begin_event_sub_process(scope, start, None)?;
            }
        }
        Ok(satisfied)
    }

    /// The start event of an event sub-process was triggered.
    pub(super) fn start_event_sub_process(
        &mut self,
        scope: ScopeId,
        start: &'a Node,
        received: Option<Received>,
    ) -> Result<TokenId> {
        let interrupting = match &start.kind {
            NodeKind::StartEvent(
                StartTrigger::Event { interrupting, .. } | StartTrigger::Escalation { interrupting, .. },
            ) => *interrupting,
            _ => true,
        };
        if interrupting {
            self.cancel_scope(scope, None)?;
        }
        self.begin_event_sub_process(scope, start, received)
    }

    /// Runs an event sub-process in a scope, beside what else runs there.
    pub(super) fn begin_event_sub_process(
        &mut self,
        scope: ScopeId,
        start: &'a Node,
        received: Option<Received>,
    ) -> Result<TokenId> {
        let parent = start.parent.as_ref();
        let parent = parent.ok_or_else(|| StepError::UnknownElement(start.id.to_string()))?;
        let node = self.node(parent)?;
        let token = self.create_token(scope, &node.id)?;
        self.append(Event::ElementEntered { token, element: Arc::clone(&node.id) })?;
        let inner = self.open_scope(Some(token), ScopeKind::SubProcess, &node.id)?;
        if let Some((name, message)) = received {
            let element = Arc::clone(&start.id);
            self.append(Event::TaskMessageReceived { element, name, scope: inner, message, start: false })?;
        }
        self.set_state(token, TokenState::Inner)?;
        self.listen(token, &node.id, &node.listeners, ListenerEvent::Start)?;
        self.begin_inside(inner, &start.id)?;
        Ok(token)
    }

    /// Lets a new scope run from its start event, unless the condition of an interrupting event sub-process is true.
    pub(super) fn begin_inside(&mut self, scope: ScopeId, start: &ElementId) -> Result<()> {
        match self.open_event_sub_processes(scope)? {
            Some(satisfied) => self.start_event_sub_process(scope, satisfied, None).map(drop),
            None => {
                let token = self.create_token(scope, start)?;
                self.schedule(Operation::Arrive { token, continued: false });
                Ok(())
            }
        }
    }

    /// Cancels everything in a scope, also its waiting event sub-processes; the scope stays.
    pub(super) fn cancel_scope(&mut self, scope: ScopeId, except: Option<TokenId>) -> Result<(), StepError> {
        let tokens: Vec<TokenId> =
            self.instance.tokens.values().filter(|token| token.scope == scope).map(|token| token.id).collect();
        for token in tokens.into_iter().filter(|token| Some(*token) != except) {
            self.cancel_activity(token)?;
            self.append(Event::TokenEnded { token })?;
        }
        self.close_waits(Owner::Scope(scope))
    }
}
