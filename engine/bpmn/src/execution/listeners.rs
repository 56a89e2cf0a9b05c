//! Execution and task listeners: called through the environment, or evaluated here when they are expressions.

use std::sync::Arc;

use super::engine::{Engine, Result, Stop};
use super::environment::{ListenerCall, ListenerError, ListenerEvent};
use super::event::Event;
use super::instance::{Owner, TokenId};
use crate::ElementId;
use crate::model::{ExecutionListener, Implementation, NodeKind};

impl Engine<'_> {
    /// Calls the listeners of an element for one event, in document order.
    pub(super) fn listen(
        &mut self,
        token: TokenId,
        element: &ElementId,
        listeners: &[ExecutionListener],
        event: ListenerEvent,
    ) -> Result<()> {
        for listener in listeners.iter().filter(|listener| listener.event == event) {
            self.call_listener(token, element, &listener.implementation, event)?;
        }
        Ok(())
    }

    /// Calls the task listeners of the user task at which the token is.
    pub(super) fn listen_to_task(&mut self, token: TokenId, event: ListenerEvent) -> Result<()> {
        let node = self.node_of(token)?;
        let NodeKind::UserTask(task) = &node.kind else { return Ok(()) };
        for listener in task.listeners.iter().filter(|listener| listener.event == event) {
            self.call_listener(token, &node.id, &listener.implementation, event)?;
        }
        Ok(())
    }

    fn call_listener(
        &mut self,
        token: TokenId,
        element: &ElementId,
        implementation: &Implementation,
        event: ListenerEvent,
    ) -> Result<()> {
        match implementation {
            Implementation::Expression { expression, .. } => {
                self.evaluate(Owner::Token(token), element, expression).map(drop)
            }
            Implementation::Class { class, fields, .. } => {
                let fields = self.evaluate_fields(token, element, fields)?;
                let variables = self.instance.variables(token);
                let call = ListenerCall { class, event, element, fields: &fields, variables };
                let writes = self.environment.listen(&call).map_err(|error| match error {
                    ListenerError::Bpmn { code, message } => Stop::thrown(code, message),
                    ListenerError::Failed(reason) => Stop::element(element, format!("listener {class}: {reason}")),
                })?;
                let (element, class) = (Arc::clone(element), class.clone());
                self.append(Event::ListenerCalled { token, element: Arc::clone(&element), class, on: event })?;
                Ok(self.write(Some(token), &element, writes)?)
            }
            Implementation::External { .. } => Err(Stop::element(element, "a listener cannot be an external task")),
        }
    }
}
