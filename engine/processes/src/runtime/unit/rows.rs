//! Instances as rows: reading one, and storing everything that changed.

use std::sync::Arc;

use bpmn::Trigger;
use store::processes::{
    Instance, InstanceState, InstanceUpdate, MessageSubscription, SignalSubscription, WorkItemList,
};

use super::{Loaded, Unit, settle};
use crate::catalogue::Catalogue;
use crate::definition::Definition;
use crate::runtime::ProcessError;

/// The definition and state of a stored instance, or why it can never move again.
pub(crate) fn read(catalogue: &Catalogue, row: &Instance) -> Result<(Arc<Definition>, bpmn::Instance), String> {
    let definition = catalogue.definitions.by_digest(&row.definition_digest);
    let definition = definition.ok_or_else(|| {
        format!(
            "the definition of process {}|{} that the instance runs is not there any more",
            row.process_key, row.version_tag
        )
    })?;
    let instance: bpmn::Instance = serde_json::from_slice(&row.data)
        .map_err(|error| format!("the state of the instance cannot be read: {error}"))?;
    Ok((Arc::clone(definition), instance))
}

pub(super) fn serialized(id: &str, instance: &bpmn::Instance) -> Result<Vec<u8>, ProcessError> {
    serde_json::to_vec(instance)
        .map_err(|error| ProcessError::Instance { id: id.to_owned(), reason: error.to_string() })
}

/// The variable under which DSF keeps a second business key for replies (`process-engine.md` 1.4, 2.5).
pub(super) fn alternative_business_key(instance: &bpmn::Instance) -> Option<String> {
    instance.root_variables().get("alternativeBusinessKey")?.as_str().map(str::to_owned)
}

impl Unit<'_, '_> {
    /// The id under which the instance is stored.
    pub(super) fn stored_id(&self, id: &str) -> String {
        let own = self.loaded.get(id).and_then(|loaded| loaded.instance.id());
        own.map_or_else(|| id.to_owned(), ToString::to_string)
    }

    pub(super) fn store(mut self) -> Result<(), ProcessError> {
        for (task, outputs) in std::mem::take(&mut self.outputs) {
            settle::add_outputs(self.tx, &task, outputs)?;
        }
        let mut ended = Vec::new();
        for (place, loaded) in std::mem::take(&mut self.loaded) {
            let id = loaded.instance.id().map_or_else(|| place.clone(), ToString::to_string);
            if let Some(row) = self.store_one(&id, loaded)? {
                ended.push(row);
            }
        }
        for (definition, business_key) in ended {
            self.reject_waiting(&definition.key, &definition.version, &business_key)?;
        }
        Ok(())
    }

    /// Stores the instance; gives its definition and business key if it ended now.
    fn store_one(&mut self, id: &str, loaded: Loaded) -> Result<Option<(Arc<Definition>, String)>, ProcessError> {
        if loaded.events.is_empty() && !loaded.has_incident {
            return Ok(None);
        }
        let mut state = state_of(&loaded.instance);
        if loaded.has_incident && state == InstanceState::Running && has_exhausted(self.tx, id)? {
            state = InstanceState::Incident;
        }
        if !loaded.is_stored || state != state_of(&loaded.instance) {
            let update = InstanceUpdate {
                alternative_business_key: alternative_business_key(&loaded.instance),
                state,
                data: serialized(id, &loaded.instance)?,
            };
            self.tx.update_instance(id, loaded.revision, &update)?;
        }
        let events: Result<Vec<Vec<u8>>, _> = loaded.events.iter().map(serde_json::to_vec).collect();
        let events = events.map_err(|error| ProcessError::Instance { id: id.to_owned(), reason: error.to_string() })?;
        match loaded.is_new {
            true => self.tx.begin_instance_events(id, &events)?,
            false => self.tx.append_instance_events(id, &events).map(drop)?,
        }
        let (messages, signals) = subscriptions(id, &loaded.instance);
        if loaded.has_subscriptions || !messages.is_empty() || !signals.is_empty() {
            self.tx.set_subscriptions(id, &messages, &signals)?;
        }
        if !state.has_ended() {
            return Ok(None);
        }
        let process = format!("{}|{}", loaded.definition.key, loaded.definition.version);
        metrics::counter!("schleuse_instances_ended_total", "process" => process, "state" => state.as_str())
            .increment(1);
        Ok(Some((loaded.definition, loaded.business_key)))
    }
}

fn has_exhausted(tx: &mut store::Transaction<'_>, id: &str) -> Result<bool, store::StoreError> {
    let list =
        WorkItemList { instance: Some(id.to_owned()), is_exhausted: Some(true), limit: 1, ..WorkItemList::default() };
    Ok(!tx.work_items(&list)?.is_empty())
}

pub(super) fn state_of(instance: &bpmn::Instance) -> InstanceState {
    match instance.status() {
        bpmn::Status::New | bpmn::Status::Active => InstanceState::Running,
        bpmn::Status::Completed => InstanceState::Completed,
        bpmn::Status::Failed { .. } => InstanceState::Failed,
        bpmn::Status::Cancelled { .. } => InstanceState::Cancelled,
    }
}

fn subscriptions(id: &str, instance: &bpmn::Instance) -> (Vec<MessageSubscription>, Vec<SignalSubscription>) {
    let (mut messages, mut signals) = (Vec::new(), Vec::new());
    for open in instance.subscriptions() {
        match &open.trigger {
            Trigger::Message { name, correlation_key } => messages.push(MessageSubscription {
                instance: id.to_owned(),
                id: open.subscription.to_string(),
                message_name: name.clone(),
                correlation_key: correlation_key.clone(),
            }),
            Trigger::Signal { name } => signals.push(SignalSubscription {
                instance: id.to_owned(),
                id: open.subscription.to_string(),
                signal_name: name.clone(),
            }),
            Trigger::Condition => {}
        }
    }
    (messages, signals)
}
