//! Calls of other processes: the called instance is stored under the id of its call and runs in the same unit, so that it
//! and its caller are never apart.

use std::sync::Arc;

use bpmn::{Call, CallBinding, CallOutcome, Caller, Command};

use super::Unit;
use crate::definition::Definition;
use crate::runtime::ProcessError;
use crate::state;

/// Reason of a called instance that its caller does not wait for any more.
const NOT_WANTED: &str = "the process that called this one was interrupted or ended";

impl Unit<'_, '_> {
    /// Starts the called process, or tells the caller why it cannot.
    pub(super) fn call_requested(&mut self, id: &str, call: &Call) -> Result<(), ProcessError> {
        let caller = Caller { instance: self.stored_id(id).into(), call: call.call.clone() };
        if let Err(reason) = self.start_called(id, call, caller)? {
            let outcome = CallOutcome::Failed { reason };
            self.enqueue(id, Command::CallReturned { call: call.call.clone(), outcome });
        }
        Ok(())
    }

    fn start_called(&mut self, id: &str, call: &Call, caller: Caller) -> Result<Result<(), String>, ProcessError> {
        let (definition, start_event) = match self.called(id, call) {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
        if !state::may_start(self.tx, &definition.key, &definition.version)? {
            return Ok(Err(format!("process {} that {} calls is not in use", call.process, call.element)));
        }
        let variables = call.variables.iter().map(|(name, value)| (name.clone(), (**value).clone())).collect();
        let command = Command::Start {
            process: definition.key.clone(),
            start_event,
            business_key: call.business_key.clone(),
            variables,
            message: None,
            caller: Some(caller),
        };
        // Without a business key no message finds it; the row needs a unique one.
        let business_key = call.business_key.clone().unwrap_or_else(|| call.call.to_string());
        self.begin(call.call.to_string(), &definition, &business_key, command);
        Ok(Ok(()))
    }

    /// The process that is called and where it begins.
    fn called(&self, id: &str, call: &Call) -> Result<(Arc<Definition>, bpmn::ElementId), String> {
        let own = self.loaded.get(id).map(|loaded| loaded.definition.version.clone()).unwrap_or_default();
        let definitions = &self.catalogue.definitions;
        let definition = match &call.binding {
            CallBinding::Latest => definitions.newest(&call.process),
            CallBinding::Deployment => definitions.installed(&call.process, &own),
            CallBinding::VersionTag(tag) => definitions.installed(&call.process, tag),
        };
        let definition = definition
            .cloned()
            .ok_or_else(|| format!("process {} that {} calls is not installed", call.process, call.element))?;
        let start_event = definition.process().and_then(bpmn::Process::none_start).cloned();
        let start_event = start_event
            .ok_or_else(|| format!("process {} that {} calls has no none start event", call.process, call.element))?;
        Ok((definition, start_event))
    }

    /// Tells the calling instance what came of its call.
    pub(super) fn returned(&mut self, caller: &Caller, outcome: &CallOutcome) {
        let command = Command::CallReturned { call: caller.call.clone(), outcome: outcome.clone() };
        let place = self.place_of(&caller.instance);
        self.enqueue(&place, command);
    }

    /// The caller does not wait any more.
    pub(super) fn call_cancelled(&mut self, call: &str) {
        self.enqueue(call, Command::Cancel { reason: NOT_WANTED.to_owned() });
    }
}
