//! The life of an element: arrive, begin, complete, depart.
//!
//! ```text
//! arrive   multi-instance or loop body, asyncBefore
//! begin    scope, input parameters, boundary events, start listeners, behaviour
//! complete end listeners, output parameters, boundary events closed, compensation kept, scope closed, asyncAfter
//! depart   sequence flows, or the end of the token
//! ```

use std::sync::Arc;

use super::element;
use super::engine::{Engine, Operation, Result, Stop};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{CallOutcome, Event, JobKind};
use super::instance::{Owner, ScopeId, ScopeKind, TokenId, TokenState};
use crate::ElementId;
use crate::model::{Asynchronous, EndResult, Node, NodeKind, Process, RetryCycle, Throw};

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
        match &node.repetition {
            Some(repetition) if !self.is_instance(token)? => self.open_body(token, node, repetition),
            _ => self.begin(token, node),
        }
    }

    fn begin(&mut self, token: TokenId, node: &'a Node) -> Result<()> {
        self.append(Event::ElementEntered { token, element: Arc::clone(&node.id) })?;
        let is_instance = self.is_instance(token)?;
        if let Some(kind) = scope_kind(self.process, node, is_instance) {
            self.open_scope(Some(token), kind, &node.id)?;
        }
        self.map_inputs(token, node)?;
        if !is_instance && let Some(boundary) = self.open_boundary_events(token, node)? {
            return self.interrupt(token, &boundary);
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
            self.close_waits(Owner::Token(token))?;
        }
        self.keep_for_compensation(token, node)?;
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
        if let NodeKind::LinkThrowEvent { target: Some(target), .. } = &node.kind {
            self.append(Event::TokenMoved { token, element: Arc::clone(target) })?;
            self.schedule(Operation::Arrive { token, continued: false });
            return Ok(());
        }
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
        let has_event_sub_processes = !self.process.event_sub_processes_of(&scope.element).is_empty();
        if is_last {
            // Event sub-processes are not waited for.
            if has_event_sub_processes {
                self.close_waits(Owner::Scope(scope_id))?;
            }
            if kind == ScopeKind::Process {
                let process = self.process;
                self.listen(token, &process.id, &process.listeners, ListenerEvent::End)?;
            }
        }
        self.append(Event::TokenEnded { token })?;
        if !is_last {
            return Ok(());
        }
        match (kind, parent) {
            (ScopeKind::Compensation, _) => self.continue_compensation(scope_id),
            (_, Some(parent)) => {
                self.schedule(Operation::Complete(parent));
                Ok(())
            }
            (_, None) => {
                let outcome = CallOutcome::Completed { variables: self.all_variables(scope_id) };
                self.end_instance(outcome).map_err(Stop::from)
            }
        }
    }

    /// Ends the instance and tells the caller, if any. Everything in it has ended or is cancelled.
    pub(super) fn end_instance(&mut self, outcome: CallOutcome) -> Result<(), StepError> {
        self.answer_caller(outcome)?;
        let messages = self.open_messages();
        self.clear_agenda();
        self.append(Event::InstanceCompleted { messages })
    }

    /// What a called instance tells its caller.
    pub(super) fn answer_caller(&mut self, outcome: CallOutcome) -> Result<(), StepError> {
        match self.instance.caller.clone() {
            Some(caller) => self.append(Event::Returned { caller, outcome }),
            None => Ok(()),
        }
    }

    /// Variables of the process scope, if somebody called the instance.
    pub(super) fn all_variables(&self, root: ScopeId) -> crate::VariableMap {
        let called = self.instance.caller.as_ref().and_then(|_| self.instance.scopes.get(&root));
        called.map(|scope| scope.variables.clone()).unwrap_or_default()
    }

    /// Retry cycle that applies to a step of the token.
    pub(super) fn retry_of(&self, token: TokenId, node: &Node) -> Result<Option<RetryCycle>> {
        Ok(self.asynchronous(token, node)?.retry.clone().or_else(|| node.asynchronous.retry.clone()))
    }

    /// Asynchronous continuation that applies to the token: that of the instance or that of the whole activity.
    fn asynchronous<'n>(&self, token: TokenId, node: &'n Node) -> Result<&'n Asynchronous> {
        Ok(match &node.repetition {
            Some(repetition) if self.is_instance(token)? => repetition.asynchronous(),
            _ => &node.asynchronous,
        })
    }
}

/// The scope that an element has, as in Camunda: wherever it holds elements, owns subscriptions or timers, or maps
/// parameters.
fn scope_kind(process: &Process, node: &Node, is_instance: bool) -> Option<ScopeKind> {
    let has_boundary_events = !is_instance && !node.boundary_events.is_empty();
    let owns_waits = match &node.kind {
        NodeKind::SubProcess { .. } | NodeKind::EventSubProcess { .. } => return Some(ScopeKind::SubProcess),
        NodeKind::IntermediateThrowEvent(Throw::Compensation { .. })
        | NodeKind::EndEvent(EndResult::Compensation { .. }) => return Some(ScopeKind::Compensation),
        NodeKind::EventBasedGateway | NodeKind::ReceiveTask { .. } | NodeKind::CallActivity(_) => true,
        NodeKind::IntermediateCatchEvent(_) => !is_after_event_based_gateway(process, node),
        _ => false,
    };
    let needed = has_boundary_events || owns_waits || !node.inputs.is_empty() || !node.outputs.is_empty();
    needed.then_some(ScopeKind::Activity)
}

/// `true` for a catch event that the gateway before it has triggered already when a token reaches it.
pub(super) fn is_after_event_based_gateway(process: &Process, node: &Node) -> bool {
    let source = node.incoming.first().and_then(|flow| process.flow(flow)).and_then(|flow| process.node(&flow.source));
    matches!(node.kind, NodeKind::IntermediateCatchEvent(_))
        && source.is_some_and(|source| matches!(source.kind, NodeKind::EventBasedGateway))
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
