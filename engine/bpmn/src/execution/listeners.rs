//! Execution listeners: called through the environment, or evaluated here when they are expressions.

use std::sync::Arc;

use super::engine::{Engine, Result, Stop};
use super::environment::{ListenerCall, ListenerError, ListenerEvent};
use super::event::Event;
use super::instance::TokenId;
use crate::ElementId;
use crate::model::{ExecutionListener, Implementation};

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
            match &listener.implementation {
                Implementation::Expression { expression, .. } => {
                    self.evaluate(token, element, expression)?;
                }
                Implementation::Class { class, fields } => {
                    let fields = self.evaluate_fields(token, element, fields)?;
                    let variables = self.instance.variables(token);
                    let writes =
                        self.environment.listen(&ListenerCall { class, event, element, fields: &fields, variables });
                    let writes = writes.map_err(|error| match error {
                        ListenerError::Bpmn { code, message } => Stop::Thrown { code, message },
                        ListenerError::Failed(reason) => Stop::element(element, format!("listener {class}: {reason}")),
                    })?;
                    self.append(Event::ListenerCalled {
                        token,
                        element: Arc::clone(element),
                        class: class.clone(),
                        on: event,
                    })?;
                    self.write(Some(token), element, writes)?;
                }
            }
        }
        Ok(())
    }
}
