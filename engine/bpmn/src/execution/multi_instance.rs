//! Parallel multi-instance: the body around the instances of an activity.
//!
//! The body is a scope with `nrOfInstances`, `nrOfActiveInstances` and `nrOfCompletedInstances`; each instance is a token
//! in it with `loopCounter` and the element variable. Boundary events belong to the body, parameters to the instance.

use std::sync::Arc;

use serde_json::Value;

use super::engine::{Engine, Operation, Result, Stop};
use super::error::StepError;
use super::event::Event;
use super::instance::{ScopeId, ScopeKind, TokenId, TokenState, VariableOwner};
use crate::expression::Expression;
use crate::limits;
use crate::model::{MultiInstance, Node};

const INSTANCES: &str = "nrOfInstances";
const ACTIVE: &str = "nrOfActiveInstances";
const COMPLETED: &str = "nrOfCompletedInstances";
const COUNTER: &str = "loopCounter";

impl<'a> Engine<'a> {
    /// Opens the body and one token for each element of the collection.
    pub(super) fn open_body(
        &mut self,
        token: TokenId,
        node: &'a Node,
        multi_instance: &'a MultiInstance,
    ) -> Result<()> {
        self.append(Event::ElementEntered { token, element: Arc::clone(&node.id) })?;
        let elements = self.collection(token, node, &multi_instance.collection)?;
        let body = self.open_scope(Some(token), ScopeKind::MultiInstance, &node.id)?;
        let count = elements.len();
        for (name, value) in [(INSTANCES, count), (ACTIVE, count), (COMPLETED, 0)] {
            self.set(VariableOwner::Scope(body), name.to_owned(), Value::from(value))?;
        }
        self.open_boundary_events(token, node)?;
        if count == 0 {
            return self.leave(token, node);
        }
        self.set_state(token, TokenState::Inner)?;
        let mut instances = Vec::with_capacity(count);
        for (index, element) in elements.into_iter().enumerate() {
            let instance = self.create_token(body, &node.id)?;
            self.set(VariableOwner::Token(instance), COUNTER.to_owned(), Value::from(index))?;
            if let Some(name) = &multi_instance.element_variable {
                self.set(VariableOwner::Token(instance), name.clone(), element)?;
            }
            instances.push(instance);
        }
        for instance in instances.into_iter().rev() {
            self.schedule(Operation::Arrive { token: instance, continued: false });
        }
        Ok(())
    }

    fn collection(&self, token: TokenId, node: &Node, expression: &Expression) -> Result<Vec<Value>> {
        match self.evaluate(token, &node.id, expression)? {
            Value::Array(elements) if elements.len() > limits::MULTI_INSTANCE => Err(StepError::Limit {
                element: Arc::clone(&node.id),
                limit: "elements of a multi-instance collection",
            }
            .into()),
            Value::Array(elements) => Ok(elements),
            _ => Err(Stop::element(&node.id, format!("collection {expression} is no list"))),
        }
    }

    /// One instance ended; the last one ends the body.
    pub(super) fn instance_done(&mut self, token: TokenId) -> Result<()> {
        self.set_state(token, TokenState::Done)?;
        let body = self.token(token)?.scope;
        let completed = self.count(body, COMPLETED)?.saturating_add(1);
        let active = self.count(body, ACTIVE)?.saturating_sub(1);
        self.set(VariableOwner::Scope(body), COMPLETED.to_owned(), Value::from(completed))?;
        self.set(VariableOwner::Scope(body), ACTIVE.to_owned(), Value::from(active))?;
        if completed < self.count(body, INSTANCES)? {
            return Ok(());
        }
        let instances: Vec<_> =
            self.instance.tokens.values().filter(|other| other.scope == body).map(|other| other.id).collect();
        for instance in instances {
            self.append(Event::TokenEnded { token: instance })?;
        }
        let parent = self
            .scope(body)?
            .parent
            .ok_or_else(|| StepError::Inconsistent("multi-instance body has no parent".to_owned()))?;
        let node = self.node_of(parent)?;
        self.set_state(parent, TokenState::Running)?;
        self.leave(parent, node)
    }

    fn count(&self, body: ScopeId, name: &str) -> Result<u64> {
        let count = self.scope(body)?.variables.get(name).and_then(|value| value.as_u64());
        Ok(count.ok_or_else(|| StepError::Inconsistent(format!("{name} of a multi-instance body is no number")))?)
    }
}
