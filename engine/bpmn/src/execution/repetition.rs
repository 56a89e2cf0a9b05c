//! Activities that run more than once: parallel and sequential multi-instance, and standard loops.
//!
//! The body is a scope with `nrOfInstances`, `nrOfActiveInstances` and `nrOfCompletedInstances` (a loop knows only the
//! last); each instance is a token in it with `loopCounter` and the element variable. Boundary events belong to the body,
//! parameters to the instance. As in Camunda the collection of a sequential activity is evaluated anew for each instance.

use std::sync::Arc;

use serde_json::Value;

use super::engine::{Engine, Operation, Result, Stop};
use super::error::StepError;
use super::event::Event;
use super::instance::{Owner, ScopeId, ScopeKind, TokenId, TokenState};
use crate::expression::Expression;
use crate::limits;
use crate::model::{MultiInstance, Node, Repetition, StandardLoop};

const INSTANCES: &str = "nrOfInstances";
const ACTIVE: &str = "nrOfActiveInstances";
const COMPLETED: &str = "nrOfCompletedInstances";
const COUNTER: &str = "loopCounter";

impl<'a> Engine<'a> {
    /// Opens the body and begins its first instance, or all of them.
    pub(super) fn open_body(&mut self, token: TokenId, node: &'a Node, repetition: &'a Repetition) -> Result<()> {
        self.append(Event::ElementEntered { token, element: Arc::clone(&node.id) })?;
        match repetition {
            Repetition::MultiInstance(marker) => self.open_multi_instance(token, node, marker),
            Repetition::Standard(marker) => self.open_loop(token, node, marker),
        }
    }

    fn open_multi_instance(&mut self, token: TokenId, node: &'a Node, marker: &'a MultiInstance) -> Result<()> {
        let (count, elements) = self.instances(token, node, marker)?;
        let body = self.open_scope(Some(token), ScopeKind::MultiInstance, &node.id)?;
        let active = if marker.sequential { count.min(1) } else { count };
        for (name, value) in [(INSTANCES, count), (ACTIVE, active), (COMPLETED, 0)] {
            self.set(Owner::Scope(body), name.to_owned(), Value::from(value))?;
        }
        if let Some(boundary) = self.open_boundary_events(token, node)? {
            return self.interrupt(token, &boundary);
        }
        if count == 0 {
            return self.leave(token, node);
        }
        self.set_state(token, TokenState::Inner)?;
        let mut elements = elements.into_iter();
        let mut instances = Vec::with_capacity(active);
        for index in 0..active {
            instances.push(self.create_instance(
                body,
                node,
                marker.element_variable.as_ref(),
                index,
                elements.next(),
            )?);
        }
        for instance in instances.into_iter().rev() {
            self.schedule(Operation::Arrive { token: instance, continued: false });
        }
        Ok(())
    }

    fn open_loop(&mut self, token: TokenId, node: &'a Node, marker: &StandardLoop) -> Result<()> {
        let body = self.open_scope(Some(token), ScopeKind::MultiInstance, &node.id)?;
        self.set(Owner::Scope(body), COMPLETED.to_owned(), Value::from(0))?;
        if let Some(boundary) = self.open_boundary_events(token, node)? {
            return self.interrupt(token, &boundary);
        }
        if marker.maximum == Some(0) || (marker.test_before && !self.goes_on(body, node, marker)?) {
            return self.leave(token, node);
        }
        self.set_state(token, TokenState::Inner)?;
        let instance = self.create_instance(body, node, None, 0, None)?;
        self.schedule(Operation::Arrive { token: instance, continued: false });
        Ok(())
    }

    fn create_instance(
        &mut self,
        body: ScopeId,
        node: &Node,
        variable: Option<&String>,
        index: usize,
        element: Option<Value>,
    ) -> Result<TokenId> {
        let instance = self.create_token(body, &node.id)?;
        self.set(Owner::Token(instance), COUNTER.to_owned(), Value::from(index))?;
        if let (Some(name), Some(element)) = (variable, element) {
            self.set(Owner::Token(instance), name.clone(), element)?;
        }
        Ok(instance)
    }

    /// How many instances there are, and the elements of the collection, if any.
    fn instances(&self, token: TokenId, node: &Node, marker: &MultiInstance) -> Result<(usize, Vec<Value>)> {
        let owner = Owner::Token(token);
        let elements = match &marker.collection {
            Some(collection) => self.collection(owner, node, collection)?,
            None => Vec::new(),
        };
        let count = match &marker.cardinality {
            Some(cardinality) => self.cardinality(owner, node, cardinality)?,
            None => elements.len(),
        };
        if count > limits::MULTI_INSTANCE {
            return Err(StepError::Limit {
                element: Arc::clone(&node.id),
                limit: "instances of a multi-instance activity",
            }
            .into());
        }
        Ok((count, elements))
    }

    fn collection(&self, owner: Owner, node: &Node, expression: &Expression) -> Result<Vec<Value>> {
        match self.evaluate(owner, &node.id, expression)? {
            Value::Array(elements) => Ok(elements),
            _ => Err(Stop::element(&node.id, format!("collection {expression} is no list"))),
        }
    }

    fn cardinality(&self, owner: Owner, node: &Node, expression: &Expression) -> Result<usize> {
        let text = self.evaluate_text(owner, &node.id, expression)?;
        text.trim().parse().map_err(|_| {
            Stop::element(&node.id, format!("loopCardinality {expression} gives {text:?} instead of a positive number"))
        })
    }

    /// One instance ended: the body ends, or the next instance begins, or others are waited for.
    pub(super) fn instance_done(&mut self, token: TokenId) -> Result<()> {
        let body = self.token(token)?.scope;
        let node = self.node_of(token)?;
        self.append(Event::TokenEnded { token })?;
        let completed = self.count(body, COMPLETED)?.saturating_add(1);
        self.set(Owner::Scope(body), COMPLETED.to_owned(), Value::from(completed))?;
        match &node.repetition {
            Some(Repetition::MultiInstance(marker)) => self.next_instance(body, node, marker, completed),
            Some(Repetition::Standard(marker)) => {
                if marker.maximum.is_some_and(|maximum| completed >= maximum) || !self.goes_on(body, node, marker)? {
                    return self.end_body(body);
                }
                self.begin_next(body, node, None, completed, None)
            }
            None => Err(StepError::Inconsistent("an instance of an activity without marker".to_owned()).into()),
        }
    }

    fn next_instance(
        &mut self,
        body: ScopeId,
        node: &'a Node,
        marker: &'a MultiInstance,
        completed: usize,
    ) -> Result<()> {
        let total = self.count(body, INSTANCES)?;
        let satisfied = match &marker.completion {
            Some(condition) => self.evaluate_condition(Owner::Scope(body), &node.id, condition)?,
            None => false,
        };
        if satisfied || completed >= total {
            let active = 0;
            self.set(Owner::Scope(body), ACTIVE.to_owned(), Value::from(active))?;
            return self.end_body(body);
        }
        if !marker.sequential {
            let active = self.count(body, ACTIVE)?.saturating_sub(1);
            return Ok(self.set(Owner::Scope(body), ACTIVE.to_owned(), Value::from(active))?);
        }
        let element = match &marker.collection {
            Some(collection) => {
                let elements = self.collection(Owner::Scope(body), node, collection)?;
                let element = elements.into_iter().nth(completed);
                Some(element.ok_or_else(|| {
                    Stop::element(&node.id, format!("collection {collection} has lost its element {completed}"))
                })?)
            }
            None => None,
        };
        self.begin_next(body, node, marker.element_variable.as_ref(), completed, element)
    }

    fn begin_next(
        &mut self,
        body: ScopeId,
        node: &Node,
        variable: Option<&String>,
        index: usize,
        element: Option<Value>,
    ) -> Result<()> {
        let instance = self.create_instance(body, node, variable, index, element)?;
        self.schedule(Operation::Arrive { token: instance, continued: false });
        Ok(())
    }

    /// Ends the body and what still runs in it.
    fn end_body(&mut self, body: ScopeId) -> Result<()> {
        self.cancel_scope(body, None)?;
        let parent = self.scope(body)?.parent;
        let parent = parent.ok_or_else(|| StepError::Inconsistent("multi-instance body has no parent".to_owned()))?;
        let node = self.node_of(parent)?;
        self.set_state(parent, TokenState::Running)?;
        self.leave(parent, node)
    }

    /// Whether a loop runs once more.
    fn goes_on(&self, body: ScopeId, node: &Node, marker: &StandardLoop) -> Result<bool> {
        if self.count(body, COMPLETED)? >= limits::LOOPS {
            return Err(StepError::Limit { element: Arc::clone(&node.id), limit: "instances of a loop" }.into());
        }
        match &marker.condition {
            Some(condition) => self.evaluate_condition(Owner::Scope(body), &node.id, condition),
            None => Ok(true),
        }
    }

    fn count(&self, body: ScopeId, name: &str) -> Result<usize> {
        let count = self.scope(body)?.variables.get(name).and_then(|value| value.as_u64());
        let count = count.and_then(|count| usize::try_from(count).ok());
        Ok(count.ok_or_else(|| StepError::Inconsistent(format!("{name} of a multi-instance body is no number")))?)
    }
}
