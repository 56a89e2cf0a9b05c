//! Signals: broadcast to every instance that waits for them, and to the processes that they start.

use std::collections::BTreeSet;
use std::sync::Arc;

use bpmn::{Command, Trigger};

use super::Unit;
use crate::definition::Definition;
use crate::runtime::ProcessError;
use crate::state;

impl Unit<'_, '_> {
    /// Every other instance that waits for the signal gets it: those stored, and those that began to wait in this unit.
    pub(super) fn signal_thrown(
        &mut self,
        id: &str,
        name: &str,
        variables: &bpmn::VariableMap,
    ) -> Result<(), ProcessError> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.clone(), (**value).clone())).collect();
        let own = self.stored_id(id);
        let stored = self.tx.find_signal_subscriptions(name)?;
        let mut receivers: BTreeSet<String> = stored
            .into_iter()
            .map(|waiting| waiting.instance)
            .filter(|instance| *instance != own)
            .map(|instance| self.place_of(&instance))
            .collect();
        for (place, loaded) in self.loaded.iter().filter(|(place, _)| *place != id && **place != own) {
            let waits = |trigger: &Trigger| matches!(trigger, Trigger::Signal { name: awaited } if awaited == name);
            if loaded.instance.subscriptions().any(|open| waits(&open.trigger)) {
                receivers.insert(place.clone());
            }
        }
        for instance in receivers {
            self.enqueue(&instance, Command::Signal { name: name.to_owned(), variables: variables.clone() });
        }
        self.start_by_signal(name, &variables)
    }

    /// Starts the newest version of each process that begins with the signal.
    fn start_by_signal(&mut self, name: &str, variables: &[(String, serde_json::Value)]) -> Result<(), ProcessError> {
        let started: Vec<(Arc<Definition>, bpmn::ElementId)> = self
            .catalogue
            .definitions
            .all_newest()
            .filter_map(|definition| {
                let starts = definition.process()?.signal_starts();
                let (start, _) = starts.into_iter().find(|(_, awaited)| awaited == name)?;
                Some((Arc::clone(definition), start.clone()))
            })
            .collect();
        for (definition, start_event) in started {
            if state::may_start(self.tx, &definition.key, &definition.version)? {
                self.start_alone(&definition, start_event, variables.to_vec());
            }
        }
        Ok(())
    }

    /// Starts an instance without a message; it gets a business key of its own.
    pub(in crate::runtime) fn start_alone(
        &mut self,
        definition: &Arc<Definition>,
        start_event: bpmn::ElementId,
        variables: Vec<(String, serde_json::Value)>,
    ) {
        let business_key = uuid::Uuid::new_v4().to_string();
        let command = Command::Start {
            process: definition.key.clone(),
            start_event,
            business_key: Some(business_key.clone()),
            variables,
            message: None,
            caller: None,
        };
        self.start(definition, &business_key, command);
    }
}
