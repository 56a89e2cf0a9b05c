//! Calls of other processes, and the variables that pass between instances.

use std::sync::Arc;

use serde_json::Value;

use super::command::VariableWrite;
use super::engine::{Engine, Operation, Result, Stop};
use super::error::StepError;
use super::event::{CallOutcome, Event};
use super::instance::TokenId;
use crate::expression::Context;
use crate::model::{Mapping, Node, NodeKind};
use crate::{ElementId, VariableMap};

/// Variables that a called instance hands back.
struct Handed<'a> {
    variables: &'a VariableMap,
    instance: &'a str,
}

impl Context for Handed<'_> {
    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.get(name).map(Arc::as_ref)
    }

    fn local_variable(&self, name: &str) -> Option<&Value> {
        self.variable(name)
    }

    fn business_key(&self) -> Option<&str> {
        None
    }

    fn instance_id(&self) -> Option<&str> {
        Some(self.instance)
    }
}

impl Engine<'_> {
    /// The variables that a called process or a signal gets.
    pub(super) fn hand_over(&self, token: TokenId, element: &ElementId, mappings: &[Mapping]) -> Result<VariableMap> {
        let view = self.instance.variables(token);
        let mut variables = VariableMap::new();
        for mapping in mappings {
            match mapping {
                Mapping::All { local } => {
                    variables.extend(if *local { view.local_map() } else { view.to_map() });
                }
                Mapping::Variable { source, is_expression, target, .. } => {
                    let value = mapped(&view, element, source, *is_expression)?;
                    variables.insert(target.clone(), Arc::new(value));
                }
            }
        }
        Ok(variables)
    }

    /// A called process ended or escalated.
    pub(super) fn call_returned(&mut self, call: &str, outcome: CallOutcome) -> Result<()> {
        let Some(open) = self.instance.calls.get(call).cloned() else {
            return Err(StepError::NotOpen { kind: "call", id: call.to_owned() }.into());
        };
        let node = self.node(&open.element)?;
        let completed = Event::CallCompleted { call: Arc::clone(&open.call) };
        match outcome {
            CallOutcome::Completed { variables } => {
                self.append(completed)?;
                self.take_back(open.token, node, call, &variables)?;
                self.schedule(Operation::Complete(open.token));
            }
            CallOutcome::BpmnError { code, message, variables } => {
                self.append(completed)?;
                self.take_back(open.token, node, call, &variables)?;
                self.throw(open.token, code, message)?;
            }
            CallOutcome::Escalated { code, variables } => {
                self.take_back(open.token, node, call, &variables)?;
                self.escalate(open.token, code)?;
            }
            CallOutcome::Failed { reason } => {
                self.append(completed)?;
                let element = Some(open.element);
                let evidence = reason.clone();
                self.abandon(&reason, |messages| Event::InstanceFailed { element, reason: evidence, messages })?;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, token: TokenId, node: &Node, call: &str, variables: &VariableMap) -> Result<()> {
        let NodeKind::CallActivity(activity) = &node.kind else { return Ok(()) };
        let handed = Handed { variables, instance: call };
        let mut writes = Vec::new();
        for mapping in &activity.outputs {
            match mapping {
                Mapping::All { local } => writes.extend(variables.iter().map(|(name, value)| VariableWrite {
                    name: name.clone(),
                    value: Some(Value::clone(value)),
                    local: *local,
                })),
                Mapping::Variable { source, is_expression, target, local } => {
                    let value = mapped(&handed, &node.id, source, *is_expression)?;
                    writes.push(VariableWrite { name: target.clone(), value: Some(value), local: *local });
                }
            }
        }
        Ok(self.write(Some(token), &node.id, writes)?)
    }
}

/// The value of one mapping; a variable that does not exist is null.
fn mapped(
    view: &dyn Context,
    element: &ElementId,
    source: &crate::expression::Expression,
    is_expression: bool,
) -> Result<Value> {
    if !is_expression {
        return Ok(view.variable(source.source()).cloned().unwrap_or(Value::Null));
    }
    source.evaluate(view).map_err(|error| Stop::element(element, error))
}
