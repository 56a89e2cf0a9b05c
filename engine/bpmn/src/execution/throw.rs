//! BPMN errors and escalations look for what catches them: from where they are thrown outwards through the scopes, and
//! from a called process on to its caller. In each scope its event sub-processes come before the boundary events of the
//! activity around it, and one that names the code before one that catches all.

use std::sync::Arc;

use super::command::VariableWrite;
use super::engine::{Engine, Result, Stop};
use super::error::StepError;
use super::event::{CallOutcome, Event};
use super::instance::{ScopeId, ScopeKind, TokenId};
use crate::ElementId;
use crate::model::{BoundaryTrigger, ErrorCatch, EscalationCatch, Node, NodeKind, StartTrigger};

/// Where something thrown is caught.
#[derive(Clone, Copy)]
enum Catcher<'a> {
    Boundary(TokenId, &'a Node),
    EventSubProcess(ScopeId, &'a Node),
}

impl<'a> Engine<'a> {
    /// A BPMN error looks for its catch. Without one the execution ends here as at a none end event; in a called process
    /// the error goes to the caller.
    pub(super) fn throw(&mut self, token: TokenId, code: String, message: Option<String>) -> Result<(), StepError> {
        let found = self.find_catch(token, |node| error_catch(node).map(|catch| catch.code.as_deref()), &code)?;
        let process = &self.process.id;
        if let Some(catcher) = found {
            return self.catch_error(catcher, code, message).map_err(|stop| stop.into_error(process));
        }
        if self.instance.caller.is_some() {
            let root = self.instance.root();
            let variables = root.map(|root| self.all_variables(root)).unwrap_or_default();
            self.close_all_waits()?;
            return self.end_instance(CallOutcome::BpmnError { code, message, variables });
        }
        let element = Arc::clone(&self.token(token)?.element);
        self.append(Event::ErrorUnhandled { element, code, message })?;
        self.cancel_activity(token)?;
        let is_instance = self.is_instance(token)?;
        let ended = if is_instance { self.instance_done(token) } else { self.end_token(token) };
        ended.map_err(|stop| stop.into_error(&self.process.id))
    }

    /// Whether something catches the error: here, or perhaps in the process that called this one.
    pub(super) fn catches_error(&self, token: TokenId, code: &str) -> Result<bool, StepError> {
        let found = self.find_catch(token, |node| error_catch(node).map(|catch| catch.code.as_deref()), code)?;
        Ok(found.is_some() || self.instance.caller.is_some())
    }

    fn catch_error(&mut self, catcher: Catcher<'a>, code: String, message: Option<String>) -> Result<()> {
        let (Catcher::Boundary(_, node) | Catcher::EventSubProcess(_, node)) = &catcher;
        let (element, catch) = (Arc::clone(&node.id), error_catch(node).cloned());
        let token = self.enter_catch(catcher, true)?;
        let mut writes = Vec::new();
        if let Some(name) = catch.as_ref().and_then(|catch| catch.code_variable.clone()) {
            writes.push(VariableWrite::set(name, code));
        }
        if let Some(name) = catch.and_then(|catch| catch.message_variable) {
            writes.push(VariableWrite::set(name, message));
        }
        Ok(self.write(Some(token), &element, writes)?)
    }

    /// An escalation looks for its catch; the token goes on unless the catch interrupts it.
    pub(super) fn escalate(&mut self, token: TokenId, code: Option<String>) -> Result<()> {
        let wanted = code.as_deref().unwrap_or_default();
        let catch = |node: &'a Node| escalation_catch(node).map(|(catch, _)| catch.code.as_deref());
        let found = self.find_catch(token, catch, wanted)?;
        let element = Arc::clone(&self.token(token)?.element);
        let caught = found.as_ref().map(|catcher| {
            let (Catcher::Boundary(_, node) | Catcher::EventSubProcess(_, node)) = catcher;
            Arc::clone(&node.id)
        });
        self.append(Event::EscalationThrown { element, code: code.clone(), caught })?;
        let Some(catcher) = found else {
            let root = self.instance.root();
            let variables = root.map(|root| self.all_variables(root)).unwrap_or_default();
            return Ok(self.answer_caller(CallOutcome::Escalated { code, variables })?);
        };
        let (Catcher::Boundary(_, node) | Catcher::EventSubProcess(_, node)) = &catcher;
        let Some((catch, interrupting)) = escalation_catch(node) else { return Ok(()) };
        let (element, variable) = (Arc::clone(&node.id), catch.code_variable.clone());
        let token = self.enter_catch(catcher, interrupting)?;
        let Some(name) = variable else { return Ok(()) };
        Ok(self.write(Some(token), &element, vec![VariableWrite::set(name, code)])?)
    }

    /// Lets the catching event run; gives its token.
    fn enter_catch(&mut self, catcher: Catcher<'a>, interrupting: bool) -> Result<TokenId> {
        match catcher {
            Catcher::Boundary(token, node) if interrupting => {
                self.interrupt(token, &node.id)?;
                Ok(token)
            }
            Catcher::Boundary(token, node) => self.branch(token, &node.id),
            Catcher::EventSubProcess(scope, node) => self.start_event_sub_process(scope, node, None),
        }
    }

    /// The first event, from the token outwards, that `catch` gives a code for which matches.
    fn find_catch(
        &self,
        token: TokenId,
        catch: impl Fn(&'a Node) -> Option<Option<&'a str>>,
        thrown: &str,
    ) -> Result<Option<Catcher<'a>>, StepError> {
        let mut current = Some(token);
        while let Some(candidate) = current {
            let node = self.node_of(candidate)?;
            let inner = self.token(candidate)?.inner.map(|scope| self.scope(scope)).transpose()?;
            let is_compensated = inner.is_some_and(|inner| inner.kind == ScopeKind::Compensation);
            // Boundary events of a multi-instance activity belong to its body, not to the single instance.
            if !self.is_instance(candidate)? && !is_compensated {
                let events: Result<Vec<_>, _> = node.boundary_events.iter().map(|id| self.node(id)).collect();
                if let Some(event) = matching(&events?, &catch, thrown) {
                    return Ok(Some(Catcher::Boundary(candidate, event)));
                }
            }
            let scope = self.scope(self.token(candidate)?.scope)?;
            if matches!(scope.kind, ScopeKind::Process | ScopeKind::SubProcess)
                && let Some(start) = self.catching_start(&scope.element, node, &catch, thrown)
            {
                return Ok(Some(Catcher::EventSubProcess(scope.id, start)));
            }
            current = scope.parent;
        }
        Ok(None)
    }

    /// The start event of an event sub-process of this scope that catches; never of the one that throws.
    fn catching_start(
        &self,
        container: &ElementId,
        thrower: &Node,
        catch: &impl Fn(&'a Node) -> Option<Option<&'a str>>,
        thrown: &str,
    ) -> Option<&'a Node> {
        let candidates = self.process.event_sub_processes_of(container).iter().filter(|id| **id != thrower.id);
        let starts: Vec<&'a Node> = candidates
            .filter_map(|id| match &self.process.node(id)?.kind {
                NodeKind::EventSubProcess { start } => self.process.node(start),
                _ => None,
            })
            .collect();
        matching(&starts, catch, thrown)
    }
}

/// Of several events the one that names the code, else the first that catches all.
fn matching<'a>(
    events: &[&'a Node],
    catch: &impl Fn(&'a Node) -> Option<Option<&'a str>>,
    thrown: &str,
) -> Option<&'a Node> {
    let named = events.iter().find(|event| catch(event).flatten() == Some(thrown));
    named.or_else(|| events.iter().find(|event| catch(event) == Some(None))).copied()
}

fn error_catch(node: &Node) -> Option<&ErrorCatch> {
    match &node.kind {
        NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Error(catch), .. }
        | NodeKind::StartEvent(StartTrigger::Error(catch)) => Some(catch),
        _ => None,
    }
}

fn escalation_catch(node: &Node) -> Option<(&EscalationCatch, bool)> {
    match &node.kind {
        NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Escalation(catch), interrupting, .. }
        | NodeKind::StartEvent(StartTrigger::Escalation { catch, interrupting }) => Some((catch, *interrupting)),
        _ => None,
    }
}

impl Stop {
    /// A BPMN error that a listener threw.
    pub(super) fn thrown(code: String, message: Option<String>) -> Self {
        Self::Thrown { code, message }
    }
}
