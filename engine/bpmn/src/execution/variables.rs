//! Reading and writing variables: scopes, expressions, parameters, conditions and correlation keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::command::VariableWrite;
use super::engine::{Engine, Operation, Result, Stop};
use super::error::StepError;
use super::event::{Event, Trigger};
use super::instance::{Owner, TokenId, TokenState};
use crate::ElementId;
use crate::expression::{Expression, ExpressionErrorKind};
use crate::limits;
use crate::model::{
    BoundaryTrigger, Catch, Condition, Field, FieldValue, Node, NodeKind, ParameterValue, StartTrigger, VariableEvent,
};

/// Name of the local variable by which a message finds one of several waiting executions.
const CORRELATION_KEY: &str = "correlationKey";

impl Engine<'_> {
    /// Evaluates an expression as the token sees it.
    pub(super) fn evaluate(&self, owner: Owner, element: &ElementId, expression: &Expression) -> Result<Value> {
        expression.evaluate(&self.instance.variables_of(owner)).map_err(|error| Stop::element(element, error))
    }

    /// Evaluates an expression to text.
    pub(super) fn evaluate_text(&self, owner: Owner, element: &ElementId, expression: &Expression) -> Result<String> {
        expression.text(&self.instance.variables_of(owner)).map_err(|error| Stop::element(element, error))
    }

    /// Evaluates a condition.
    pub(super) fn evaluate_condition(
        &self,
        owner: Owner,
        element: &ElementId,
        expression: &Expression,
    ) -> Result<bool> {
        expression.condition(&self.instance.variables_of(owner)).map_err(|error| Stop::element(element, error))
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
                FieldValue::Expression(expression) => self.evaluate(Owner::Token(token), element, expression)?,
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
        self.write_at(token.map(Owner::Token), element, writes)
    }

    /// Applies writes as a token, or what waits in a scope, would make them.
    fn write_at(
        &mut self,
        owner: Option<Owner>,
        element: &ElementId,
        writes: Vec<VariableWrite>,
    ) -> Result<(), StepError> {
        if writes.len() > limits::VARIABLE_WRITES {
            return Err(StepError::Limit { element: Arc::clone(element), limit: "variable writes" });
        }
        for write in writes {
            self.check_name(element, &write.name)?;
            let local = match owner {
                Some(Owner::Token(token)) => self.instance.local_owner(token),
                Some(scope) => Some(scope),
                None => self.root_owner(),
            };
            let holder = self.instance.owners(owner).find(|owner| self.holds(*owner, &write.name));
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
        owner: Owner,
        element: &ElementId,
        variables: Vec<(String, Value)>,
    ) -> Result<(), StepError> {
        let writes = variables
            .into_iter()
            .map(|(name, value)| VariableWrite { name, value: Some(value), local: false })
            .collect();
        self.write_at(Some(owner), element, writes)
    }

    /// Sets a variable of one owner.
    pub(super) fn set(&mut self, owner: Owner, name: String, value: Value) -> Result<(), StepError> {
        let event = if self.holds(owner, &name) { VariableEvent::Update } else { VariableEvent::Create };
        self.append(Event::VariableSet { owner, name: name.clone(), value: Arc::new(value) })?;
        self.changed(owner, name, event)
    }

    fn remove(&mut self, owner: Owner, name: String) -> Result<(), StepError> {
        self.append(Event::VariableRemoved { owner, name: name.clone() })?;
        self.changed(owner, name, VariableEvent::Delete)
    }

    fn changed(&mut self, owner: Owner, name: String, event: VariableEvent) -> Result<(), StepError> {
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

    fn holds(&self, owner: Owner, name: &str) -> bool {
        self.instance.map_of(owner).is_some_and(|variables| variables.contains_key(name))
    }

    fn root_owner(&self) -> Option<Owner> {
        self.instance.root().map(Owner::Scope)
    }

    /// Input parameters become local variables of the element, each visible to the next.
    pub(super) fn map_inputs(&mut self, token: TokenId, node: &Node) -> Result<()> {
        for parameter in &node.inputs {
            let value = self.parameter(token, node, &parameter.value)?;
            if let Some(owner) = self.instance.local_owner(token) {
                self.set(owner, parameter.name.clone(), value)?;
            }
        }
        Ok(())
    }

    /// Output parameters are evaluated inside the element and written outside of it.
    pub(super) fn map_outputs(&mut self, token: TokenId, node: &Node) -> Result<()> {
        for parameter in &node.outputs {
            let value = self.parameter(token, node, &parameter.value)?;
            let inner = self.token(token)?.inner.map(Owner::Scope);
            let holder = self
                .instance
                .owners(Some(Owner::Token(token)))
                .filter(|owner| Some(*owner) != inner)
                .find(|owner| self.holds(*owner, &parameter.name));
            if let Some(owner) = holder.or_else(|| self.root_owner()) {
                self.set(owner, parameter.name.clone(), value)?;
            }
        }
        Ok(())
    }

    // Nested as deep as the reader of the model allows.
    fn parameter(&self, token: TokenId, node: &Node, value: &ParameterValue) -> Result<Value> {
        match value {
            ParameterValue::Null => Ok(Value::Null),
            ParameterValue::Expression(expression) => self.evaluate(Owner::Token(token), &node.id, expression),
            ParameterValue::List(values) => {
                let values: Result<Vec<_>> = values.iter().map(|value| self.parameter(token, node, value)).collect();
                Ok(Value::Array(values?))
            }
            ParameterValue::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    map.insert(key.clone(), self.parameter(token, node, value)?);
                }
                Ok(Value::Object(map))
            }
        }
    }

    /// Correlation key of the subscriptions of a token.
    pub(super) fn correlation_key(&self, owner: Owner) -> Option<String> {
        self.instance.variables_of(owner).get_local(CORRELATION_KEY).and_then(Value::as_str).map(str::to_owned)
    }

    /// Open message subscriptions follow a change of their correlation key.
    fn rekey(&mut self, changed: Owner) -> Result<(), StepError> {
        let Owner::Scope(scope) = changed else { return Ok(()) };
        let parent = self.instance.scopes.get(&scope).and_then(|scope| scope.parent);
        if let Some(token) = parent {
            // Before a plain element waits it has no subscription; looking for one would cost every branch a search.
            if self.token(token)?.state == TokenState::Running && self.node_of(token)?.boundary_events.is_empty() {
                return Ok(());
            }
        }
        let mut stale = Vec::new();
        for subscription in self.instance.subscriptions.values() {
            let concerned = subscription.owner == changed || Some(subscription.owner) == parent.map(Owner::Token);
            let Trigger::Message { correlation_key, .. } = &subscription.trigger else { continue };
            if !concerned {
                continue;
            }
            let key = self.correlation_key(subscription.owner);
            if *correlation_key != key {
                stale.push((Arc::clone(&subscription.subscription), key));
            }
        }
        for (subscription, correlation_key) in stale {
            self.append(Event::SubscriptionRekeyed { subscription, correlation_key })?;
        }
        Ok(())
    }

    /// Triggers the conditional events that see the change and have become true.
    pub(super) fn check_conditions(&mut self, owner: Owner, name: &str, event: VariableEvent) -> Result<()> {
        let mut satisfied = Vec::new();
        for subscription in
            self.instance.subscriptions.values().filter(|subscription| subscription.trigger == Trigger::Condition)
        {
            let node = self.node(&subscription.element)?;
            let Some(condition) = condition_of(node) else { continue };
            let concerned = condition.variable.as_deref().is_none_or(|variable| variable == name)
                && (condition.events.is_empty() || condition.events.contains(&event))
                && self.instance.owners(Some(subscription.owner)).any(|visible| visible == owner);
            if concerned && self.is_satisfied(subscription.owner, &node.id, condition)? {
                satisfied.push(Arc::clone(&subscription.subscription));
            }
        }
        for subscription in satisfied {
            // An earlier one may have closed it.
            if let Some(open) = self.instance.subscriptions.get(&subscription).cloned() {
                if super::waits::is_interrupting(self.node(&open.element)?) {
                    self.append(Event::SubscriptionClosed { subscription })?;
                }
                self.trigger_at(open.owner, &open.element, None)?;
            }
        }
        Ok(())
    }

    /// Evaluates the condition of an event; a variable that does not exist yet makes it false.
    pub(super) fn is_satisfied(&self, owner: Owner, element: &ElementId, condition: &Condition) -> Result<bool> {
        match condition.expression.condition(&self.instance.variables_of(owner)) {
            Ok(satisfied) => Ok(satisfied),
            Err(error) if matches!(error.kind, ExpressionErrorKind::UnknownVariable(_)) => Ok(false),
            Err(error) => Err(Stop::element(element, error)),
        }
    }
}

/// The condition that an event waits for.
fn condition_of(node: &Node) -> Option<&Condition> {
    match &node.kind {
        NodeKind::IntermediateCatchEvent(Catch::Condition(condition))
        | NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Event(Catch::Condition(condition)), .. }
        | NodeKind::StartEvent(StartTrigger::Event { catch: Catch::Condition(condition), .. }) => Some(condition),
        _ => None,
    }
}
