//! What the token engine asks of its host: the time of the transaction, ids, the listeners of the plug-ins.

use bpmn::{Environment, ListenerCall, ListenerError, VariableWrite};
use time::OffsetDateTime;

use crate::plugin::Implementations;

pub(super) struct HostEnvironment<'r> {
    pub(super) now: OffsetDateTime,
    pub(super) implementations: &'r Implementations,
}

impl Environment for HostEnvironment<'_> {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn new_id(&mut self) -> String {
        store::new_id()
    }

    fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
        match self.implementations.listeners.get(call.class) {
            Some(listener) => listener.call(call),
            // The host called it when it offered the user task.
            None if self.implementations.user_tasks.contains_key(call.class) => Ok(Vec::new()),
            None => Err(ListenerError::Failed(format!("no listener {}", call.class))),
        }
    }
}
