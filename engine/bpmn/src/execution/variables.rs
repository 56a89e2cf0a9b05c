//! Reading and writing variables: scopes, expressions, parameters, conditions and correlation keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::command::VariableWrite;
use super::engine::{Engine, Operation, Result, Stop};
use super::error::StepError;
use super::event::{Event, Trigger};
use super::instance::{TokenId, TokenState, VariableOwner};
use crate::ElementId;
use crate::expression::{Expression, ExpressionErrorKind};
use crate::limits;
use crate::model::{Catch, Condition, Field, FieldValue, Node, NodeKind, Parameter, VariableEvent};

/// Name of the local variable by which a message finds one of several waiting executions.
const CORRELATION_KEY: &str = "correlationKey";

impl Engine<'_> {
    /// Evaluates an expression as the token sees it.
    pub(super) fn evaluate(&self, token: TokenId, element: &ElementId, expression: &Expression) -> Result<Value> {
        expression.evaluate(&self.instance.variables(token)).map_err(|error| Stop::element(element, error))
    }

    /// Evaluates an expression to text.
    pub(super) fn evaluate_text(&self, token: TokenId, element: &ElementId, expression: &Expression) -> Result<String> {
        expression.text(&self.instance.variables(token)).map_err(|error| Stop::element(element, error))
    }

    /// Evaluates a condition.
    pub(super) fn evaluate_condition(
        &self,
        token: TokenId,
        element: &ElementId,
        expression: &Expression,
    ) -> Result<bool> {
        expression.condition(&self.instance.variables(token)).map_err(|error| Stop::element(element, error))
    }

    /// Evaluates injected fields.
    pub(super) fn evaluate_fields(
        &self,
        token: TokenId,
        element: &ElementId,
        fields: &[Field],
    ) -> Result<BTreeMap<String, Value>> {
        let mut values = BTreeMap::new();
        for field in fields {
            let value = match &field.value {
                FieldValue::Literal(text) => Value::String(text.clone()),
                FieldValue::Expression(expression) => self.evaluate(token, element, expression)?,
            };
            values.insert(field.name.clone(), value);
        }
        Ok(values)
    }

    /// Applies the writes of a step, listener, user task or operator; without token to the process scope.
    pub(super) fn write(
        &mut self,
        token: Option<TokenId>,
        element: &ElementId,
        writes: Vec<VariableWrite>,
    ) -> Result<(), StepError> {
        if writes.len() > limits::VARIABLE_WRITES {
            return Err(StepError::Limit { element: Arc::clone(element), limit: "variable writes" });
        }
        for write in writes {
            self.check_name(element, &write.name)?;
            let local = match token {
                Some(token) => self.instance.local_owner(token),
                None => self.instance.root().map(VariableOwner::Scope),
            };
            let holder = self.instance.owners(token).find(|owner| self.holds(*owner, &write.name));
            match write.value {
                Some(value) => {
                    let target = if write.local { local } else { holder.or_else(|| self.root_owner()) };
                    let target = target.ok_or_else(|| StepError::Inconsistent("no scope to write to".to_owned()))?;
                    self.set(target, write.name, value)?;
                }
                None => {
                    let target =
                        if write.local { local.filter(|owner| self.holds(*owner, &write.name)) } else { holder };
                    if let Some(owner) = target {
                        self.remove(owner, write.name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets variables where they exist, else on the instance.
    pub(super) fn write_all(
        &mut self,
        token: TokenId,
        element: &ElementId,
        variables: Vec<(String, Value)>,
    ) -> Result<(), StepError> {
        let writes = variables
            .into_iter()
            .map(|(name, value)| VariableWrite { name, value: Some(value), local: false })
            .collect();
        self.write(Some(token), element, writes)
    }

    /// Sets a variable of one owner.
    pub(super) fn set(&mut self, owner: VariableOwner, name: String, value: Value) -> Result<(), StepError> {
        let event = if self.holds(owner, &name) { VariableEvent::Update } else { VariableEvent::Create };
        self.append(Event::VariableSet { owner, name: name.clone(), value: Arc::new(value) })?;
        self.changed(owner, name, event)
    }

    fn remove(&mut self, owner: VariableOwner, name: String) -> Result<(), StepError> {
        self.append(Event::VariableRemoved { owner, name: name.clone() })?;
        self.changed(owner, name, VariableEvent::Delete)
    }

    fn changed(&mut self, owner: VariableOwner, name: String, event: VariableEvent) -> Result<(), StepError> {
        if name == CORRELATION_KEY {
            self.rekey(owner)?;
        }
        if self.process.has_conditions {
            self.schedule(Operation::VariableChanged { owner, name, event });
        }
        Ok(())
    }

    fn check_name(&self, element: &ElementId, name: &str) -> Result<(), StepError> {
        if name.is_empty() || name.len() > limits::VARIABLE_NAME_BYTES {
            return Err(StepError::Limit { element: Arc::clone(element), limit: "length of a variable name" });
        }
        Ok(())
    }

    fn holds(&self, owner: VariableOwner, name: &str) -> bool {
        self.instance.map_of(owner).is_some_and(|variables| variables.contains_key(name))
    }

    fn root_owner(&self) -> Option<VariableOwner> {
        self.instance.root().map(VariableOwner::Scope)
    }

    /// Input parameters become local variables of the element, each visible to the next.
    pub(super) fn map_inputs(&mut self, token: TokenId, node: &Node) -> Result<()> {
        for parameter in &node.inputs {
            let value = self.parameter(token, node, parameter)?;
            if let Some(owner) = self.instance.local_owner(token) {
                self.set(owner, parameter.name.clone(), value)?;
            }
        }
        Ok(())
    }

    /// Output parameters are evaluated inside the element and written outside of it.
    pub(super) fn map_outputs(&mut self, token: TokenId, node: &Node) -> Result<()> {
        for parameter in &node.outputs {
            let value = self.parameter(token, node, parameter)?;
            let inner = self.token(token)?.inner.map(VariableOwner::Scope);
            let holder = self
                .instance
                .owners(Some(token))
                .filter(|owner| Some(*owner) != inner)
                .find(|owner| self.holds(*owner, &parameter.name));
            if let Some(owner) = holder.or_else(|| self.root_owner()) {
                self.set(owner, parameter.name.clone(), value)?;
            }
        }
        Ok(())
    }

    fn parameter(&self, token: TokenId, node: &Node, parameter: &Parameter) -> Result<Value> {
        match &parameter.value {
            Some(expression) => self.evaluate(token, &node.id, expression),
            None => Ok(Value::Null),
        }
    }

    /// Correlation key of the subscriptions of a token.
    pub(super) fn correlation_key(&self, token: TokenId) -> Option<String> {
        self.instance.variables(token).get_local(CORRELATION_KEY).and_then(Value::as_str).map(str::to_owned)
    }

    /// Open message subscriptions follow a change of their correlation key.
    fn rekey(&mut self, owner: VariableOwner) -> Result<(), StepError> {
        let VariableOwner::Scope(scope) = owner else { return Ok(()) };
        let Some(token) = self.instance.scopes.get(&scope).and_then(|scope| scope.parent) else { return Ok(()) };
        // Before a plain element waits it has no subscription; looking for one would cost every branch a search.
        if self.token(token)?.state == TokenState::Running && self.node_of(token)?.boundary_events.is_empty() {
            return Ok(());
        }
        let key = self.correlation_key(token);
        let mut stale = Vec::new();
        for subscription in self.instance.subscriptions.values().filter(|subscription| subscription.token == token) {
            if matches!(&subscription.trigger, Trigger::Message { correlation_key, .. } if *correlation_key != key) {
                stale.push(Arc::clone(&subscription.subscription));
            }
        }
        for subscription in stale {
            self.append(Event::SubscriptionRekeyed { subscription, correlation_key: key.clone() })?;
        }
        Ok(())
    }

    /// Triggers the conditional events that see the change and have become true.
    pub(super) fn check_conditions(&mut self, owner: VariableOwner, name: &str, event: VariableEvent) -> Result<()> {
        let mut satisfied = Vec::new();
        for subscription in
            self.instance.subscriptions.values().filter(|subscription| subscription.trigger == Trigger::Condition)
        {
            let node = self.node(&subscription.element)?;
            let NodeKind::IntermediateCatchEvent(Catch::Condition(condition)) = &node.kind else { continue };
            let concerned = condition.variable.as_deref().is_none_or(|variable| variable == name)
                && (condition.events.is_empty() || condition.events.contains(&event))
                && self.instance.owners(Some(subscription.token)).any(|visible| visible == owner);
            if concerned && self.is_satisfied(subscription.token, &node.id, condition)? {
                satisfied.push(Arc::clone(&subscription.subscription));
            }
        }
        for subscription in satisfied {
            // An earlier one may have closed it.
            if let Some(open) = self.instance.subscriptions.get(&subscription).cloned() {
                self.append(Event::SubscriptionClosed { subscription })?;
                self.trigger_at(open.token, &open.element)?;
            }
        }
        Ok(())
    }

    /// Evaluates the condition of an event; a variable that does not exist yet makes it false.
    pub(super) fn is_satisfied(&self, token: TokenId, element: &ElementId, condition: &Condition) -> Result<bool> {
        match condition.expression.condition(&self.instance.variables(token)) {
            Ok(satisfied) => Ok(satisfied),
            Err(error) if matches!(error.kind, ExpressionErrorKind::UnknownVariable(_)) => Ok(false),
            Err(error) => Err(Stop::element(element, error)),
        }
    }
}
