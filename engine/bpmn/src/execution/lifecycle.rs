//! The life of an element: arrive, begin, complete, depart.
//!
//! ```text
//! arrive   multi-instance body, asyncBefore
//! begin    scope, input parameters, boundary events, start listeners, behaviour
//! complete end listeners, output parameters, boundary events closed, scope closed, asyncAfter
//! depart   sequence flows, or the end of the token
//! ```

use std::sync::Arc;

use super::element;
use super::engine::{Engine, Operation, Result, Stop};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{Event, JobKind};
use super::instance::{ScopeKind, TokenId, TokenState};
use crate::ElementId;
use crate::model::{Asynchronous, Catch, Node, NodeKind, Process, RetryCycle};

/// What a token does after the behaviour of an element ran.
pub(super) enum Next {
    /// The behaviour is done.
    Complete,
    /// It waits.
    Wait(TokenState),
    /// The processor scheduled what follows.
    Scheduled,
}

impl<'a> Engine<'a> {
    /// A token stands before its element.
    pub(super) fn arrive(&mut self, token: TokenId, continued: bool) -> Result<()> {
        let node = self.node_of(token)?;
        let asynchronous = self.asynchronous(token, node)?;
        if asynchronous.before && !continued {
            self.create_job(token, node, JobKind::AsyncBefore, asynchronous)?;
            return Ok(self.set_state(token, TokenState::Job)?);
        }
        self.set_state(token, TokenState::Running)?;
        match &node.multi_instance {
            Some(multi_instance) if !self.is_instance(token)? => self.open_body(token, node, multi_instance),
            _ => self.begin(token, node),
        }
    }

    fn begin(&mut self, token: TokenId, node: &'a Node) -> Result<()> {
        self.append(Event::ElementEntered { token, element: Arc::clone(&node.id) })?;
        let is_instance = self.is_instance(token)?;
        if matches!(node.kind, NodeKind::SubProcess { .. }) {
            self.open_scope(Some(token), ScopeKind::SubProcess, &node.id)?;
        } else if needs_scope(self.process, node, is_instance) {
            self.open_scope(Some(token), ScopeKind::Activity, &node.id)?;
        }
        self.map_inputs(token, node)?;
        if !is_instance {
            self.open_boundary_events(token, node)?;
        }
        self.listen(token, &node.id, &node.listeners, ListenerEvent::Start)?;
        match element::execute(self, token, node)? {
            Next::Complete => self.schedule(Operation::Complete(token)),
            Next::Wait(state) => self.set_state(token, state)?,
            Next::Scheduled => {}
        }
        Ok(())
    }

    /// The behaviour of the element is done.
    pub(super) fn complete(&mut self, token: TokenId) -> Result<()> {
        let node = self.node_of(token)?;
        self.set_state(token, TokenState::Running)?;
        self.listen(token, &node.id, &node.listeners, ListenerEvent::End)?;
        self.map_outputs(token, node)?;
        self.leave(token, node)
    }

    /// Closes what the element opened and goes on, at once or by a job.
    pub(super) fn leave(&mut self, token: TokenId, node: &'a Node) -> Result<()> {
        if !node.boundary_events.is_empty() {
            self.close_waits(token)?;
        }
        if let Some(scope) = self.token(token)?.inner {
            self.append(Event::ScopeClosed { scope })?;
        }
        self.append(Event::ElementLeft { token, element: Arc::clone(&node.id) })?;
        let asynchronous = self.asynchronous(token, node)?;
        if asynchronous.after {
            self.create_job(token, node, JobKind::AsyncAfter, asynchronous)?;
            self.set_state(token, TokenState::Job)?;
        } else {
            self.schedule(Operation::Depart(token));
        }
        Ok(())
    }

    /// The token goes on behind its element.
    pub(super) fn depart(&mut self, token: TokenId) -> Result<()> {
        self.set_state(token, TokenState::Running)?;
        if self.is_instance(token)? {
            return self.instance_done(token);
        }
        let node = self.node_of(token)?;
        let flows = element::select_flows(self, token, node)?;
        let Some((first, others)) = flows.split_first() else { return self.end_token(token) };
        let scope = self.token(token)?.scope;
        let mut moving = vec![(token, *first)];
        for flow in others {
            moving.push((self.create_token(scope, &node.id)?, flow));
        }
        // The last one scheduled runs first.
        for (token, flow) in moving.into_iter().rev() {
            self.take(token, flow)?;
        }
        Ok(())
    }

    /// Moves a token along a sequence flow.
    pub(super) fn take(&mut self, token: TokenId, flow: &ElementId) -> Result<()> {
        let Some(flow) = self.process.flow(flow) else {
            return Err(StepError::UnknownElement(flow.to_string()).into());
        };
        self.append(Event::FlowTaken { token, flow: Arc::clone(&flow.id), target: Arc::clone(&flow.target) })?;
        // Between two elements there is no activity that could catch a BPMN error.
        self.listen(token, &flow.id, &flow.listeners, ListenerEvent::Take).map_err(|stop| stop.into_error(&flow.id))?;
        self.schedule(Operation::Arrive { token, continued: false });
        Ok(())
    }

    /// A token has nowhere to go; the last one of a scope ends the scope.
    pub(super) fn end_token(&mut self, token: TokenId) -> Result<()> {
        let scope_id = self.token(token)?.scope;
        let scope = self.scope(scope_id)?;
        let (kind, parent, is_last) = (scope.kind, scope.parent, scope.tokens <= 1);
        if is_last && kind == ScopeKind::Process {
            let process = self.process;
            self.listen(token, &process.id, &process.listeners, ListenerEvent::End)?;
        }
        self.append(Event::TokenEnded { token })?;
        if !is_last {
            return Ok(());
        }
        match parent {
            Some(parent) => self.schedule(Operation::Complete(parent)),
            None => {
                let messages = self.open_messages();
                self.clear_agenda();
                self.append(Event::InstanceCompleted { messages })?;
            }
        }
        Ok(())
    }

    /// Retry cycle that applies to a step of the token.
    pub(super) fn retry_of(&self, token: TokenId, node: &Node) -> Result<Option<RetryCycle>> {
        Ok(self.asynchronous(token, node)?.retry.clone().or_else(|| node.asynchronous.retry.clone()))
    }

    /// Asynchronous continuation that applies to the token: that of the instance or that of the whole activity.
    fn asynchronous<'n>(&self, token: TokenId, node: &'n Node) -> Result<&'n Asynchronous> {
        Ok(match &node.multi_instance {
            Some(multi_instance) if self.is_instance(token)? => &multi_instance.asynchronous,
            _ => &node.asynchronous,
        })
    }
}

/// Whether an element has its own scope for local variables, as in Camunda: wherever it owns subscriptions or timers, or
/// maps parameters.
fn needs_scope(process: &Process, node: &Node, is_instance: bool) -> bool {
    let has_boundary_events = !is_instance && !node.boundary_events.is_empty();
    let owns_waits = match &node.kind {
        NodeKind::EventBasedGateway | NodeKind::ReceiveTask { .. } => true,
        NodeKind::IntermediateCatchEvent(_) => !is_after_event_based_gateway(process, node),
        _ => false,
    };
    has_boundary_events || owns_waits || !node.inputs.is_empty() || !node.outputs.is_empty()
}

/// `true` for a catch event that the gateway before it has triggered already when a token reaches it.
pub(super) fn is_after_event_based_gateway(process: &Process, node: &Node) -> bool {
    let source = node.incoming.first().and_then(|flow| process.flow(flow)).and_then(|flow| process.node(&flow.source));
    matches!(
        node.kind,
        NodeKind::IntermediateCatchEvent(
            Catch::Message { .. } | Catch::Timer(_) | Catch::Signal { .. } | Catch::Condition(_)
        )
    ) && source.is_some_and(|source| matches!(source.kind, NodeKind::EventBasedGateway))
}

impl Engine<'_> {
    /// Messages that no end event settled, newest first; the start message comes last.
    pub(super) fn open_messages(&self) -> Vec<String> {
        let received = self.instance.scopes.values().rev().flat_map(|scope| scope.messages.iter().rev());
        received.chain(self.instance.start_message.iter()).cloned().collect()
    }

    /// Refuses with an error of this element.
    pub(super) fn refuse<T>(&self, element: &ElementId, text: &str) -> Result<T> {
        Err(Stop::element(element, text))
    }
}
