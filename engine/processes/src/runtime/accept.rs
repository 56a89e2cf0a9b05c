//! From a Task to an instance (`process-engine.md` 1.3 and 1.4): find the process, find or start the instance, deliver.
//!
//! Nothing here refuses a Task: it was accepted, so it ends as `in-progress` or as `failed` with a reason, where there is
//! one the reference's. What its process did before it failed is undone. Only a database that does not work is an error.

use std::sync::Arc;

use bpmn::Command;
use fhir::{Resource, Value};
use store::Transaction;
use store::processes::{MessageTarget, NewBufferedMessage};

use super::unit::UNABLE_TO_CORRELATE;
use super::{ProcessError, Runtime, Unit};
use crate::definition::Definition;
use crate::state;
use crate::task::{self, ProcessName};
use crate::{limits, terms};

/// The reference's text for a process that is not installed, or not in use.
const NOT_FOUND: &str = "Process not found";

/// What is to be done with an accepted Task.
enum Route {
    Start,
    Continue { instance: String, subscription: String },
    Wait,
    Fail(String),
}

pub(super) fn accept(
    runtime: &Runtime,
    tx: &mut Transaction<'_>,
    created: &Resource,
) -> Result<Option<Resource>, ProcessError> {
    if created.str("status") != Some("requested") {
        return Ok(None);
    }
    let taken = tx.attempt(|tx| take(runtime, tx, created.clone()));
    match taken {
        Err(error) if error.is_final() => fail(tx, created.clone(), &error.to_string()).map(Some),
        other => other,
    }
}

fn take(runtime: &Runtime, tx: &mut Transaction<'_>, mut task: Resource) -> Result<Option<Resource>, ProcessError> {
    let id = task.id().unwrap_or_default().to_owned();
    let business_key = match task::message_input(&task, terms::BUSINESS_KEY) {
        Some(key) => key.to_owned(),
        None => {
            let key = uuid::Uuid::new_v4().to_string();
            task.push("input", task::string_parameter(terms::BPMN_MESSAGE, terms::BUSINESS_KEY, &key));
            key
        }
    };
    let (definition, message_name) = match process_of(runtime, &task) {
        Ok(found) => found,
        Err(reason) => return fail(tx, task, &reason).map(Some),
    };
    let route = route(tx, &definition, &task, &message_name, &business_key)?;
    if let Route::Fail(reason) = &route {
        return fail(tx, task, reason).map(Some);
    }
    task.set("status", "in-progress");
    let task = (*task::write(tx, task)?.resource).clone();
    metrics::counter!("schleuse_tasks_accepted_total", "process" => definition.key.clone()).increment(1);
    deliver(runtime, tx, route, &definition, &task, &id, message_name, business_key)?;
    task::read(tx, &id).map_err(Into::into)
}

/// The definition that the Task names and the name of its message, or the reference's text.
fn process_of(runtime: &Runtime, task: &Resource) -> Result<(Arc<Definition>, String), String> {
    let canonical = task.str("instantiatesCanonical").unwrap_or_default();
    let name = ProcessName::parse(canonical).ok_or_else(|| {
        let id = task.id().unwrap_or_default();
        format!("java.lang.IllegalStateException: InstantiatesCanonical of Task with id {id} does not match http[s]://domain/bpe/Process/name|version")
    })?;
    let installed = runtime.catalogue().definitions.installed(&name.key, &name.version).map(Arc::clone);
    let definition = installed.ok_or(NOT_FOUND)?;
    let message =
        task::message_input(task, terms::MESSAGE_NAME).ok_or("java.lang.NullPointerException: messageName")?;
    for code in [terms::MESSAGE_NAME, terms::BUSINESS_KEY, terms::CORRELATION_KEY] {
        if task::message_input(task, code).is_some_and(|key| key.len() > limits::KEY_BYTES) {
            return Err(format!("{code} is longer than {} bytes", limits::KEY_BYTES));
        }
    }
    Ok((definition, message.to_owned()))
}

fn route(
    tx: &mut Transaction<'_>,
    definition: &Definition,
    task: &Resource,
    message_name: &str,
    business_key: &str,
) -> Result<Route, ProcessError> {
    let starts = definition.process().is_some_and(|process| process.message_start(message_name).is_some());
    let runs = tx.instances_by_business_key(business_key)?.iter().any(|instance| {
        !instance.state.has_ended()
            && instance.process_key == definition.key
            && instance.version_tag == definition.version
    });
    // What is retired or excluded begins nothing; what runs is continued.
    let may_start = state::may_start(tx, &definition.key, &definition.version)?;
    if !runs && !may_start {
        return Ok(Route::Fail(NOT_FOUND.to_owned()));
    }
    if !runs {
        let missing = || Route::Fail(format!("Process with start message-name '{message_name}' not found"));
        return Ok(if starts { Route::Start } else { missing() });
    }
    let target = MessageTarget {
        process_key: Some(&definition.key),
        version_tag: Some(&definition.version),
        message_name,
        business_key,
        correlation_key: task::message_input(task, terms::CORRELATION_KEY),
    };
    let mut waiting = tx.find_message_subscriptions(&target)?.into_iter();
    Ok(match (waiting.next(), waiting.next()) {
        (Some(one), None) => Route::Continue { instance: one.instance, subscription: one.id },
        // The reference's correlation then tries start events, so a second start with the same key is a second instance.
        (None, _) if starts && may_start => Route::Start,
        (None, _) if starts => Route::Fail(NOT_FOUND.to_owned()),
        (None, _) if tx.inbox_of(business_key)?.len() >= limits::INBOX_PER_KEY => {
            Route::Fail(UNABLE_TO_CORRELATE.to_owned())
        }
        (None, _) => Route::Wait,
        (Some(_), Some(_)) => Route::Fail(UNABLE_TO_CORRELATE.to_owned()),
    })
}

#[expect(clippy::too_many_arguments, reason = "one call, each argument a different kind of thing")]
fn deliver(
    runtime: &Runtime,
    tx: &mut Transaction<'_>,
    route: Route,
    definition: &Arc<Definition>,
    task: &Resource,
    id: &str,
    message_name: String,
    business_key: String,
) -> Result<(), ProcessError> {
    match route {
        Route::Start => {
            let start_event = definition.process().and_then(|process| process.message_start(&message_name)).cloned();
            let Some(start_event) = start_event else { return Ok(()) };
            let command = Command::Start {
                process: definition.key.clone(),
                start_event,
                business_key: Some(business_key.clone()),
                variables: Vec::new(),
                message: Some(id.to_owned()),
                caller: None,
            };
            let mut unit = Unit::new(runtime, tx);
            unit.start(definition, &business_key, command);
            unit.run()
        }
        Route::Continue { instance, subscription } => {
            let command = Command::Message {
                subscription: subscription.as_str().into(),
                variables: Vec::new(),
                message: Some(id.to_owned()),
            };
            let mut unit = Unit::new(runtime, tx);
            unit.enqueue(&instance, command);
            unit.run()
        }
        Route::Wait => Ok(tx.insert_inbox(&NewBufferedMessage {
            task_id: id.to_owned(),
            process_key: definition.key.clone(),
            version_tag: definition.version.clone(),
            message_name,
            business_key,
            correlation_key: task::message_input(task, terms::CORRELATION_KEY).map(str::to_owned),
            expires: tx.now() + limits::INBOX_TIME,
        })?),
        Route::Fail(_) => Ok(()),
    }
}

/// Writes the Task as failed with the reason.
pub(crate) fn fail(tx: &mut Transaction<'_>, mut task: Resource, reason: &str) -> Result<Resource, ProcessError> {
    tracing::warn!(task = task.id(), reason, "Task failed");
    metrics::counter!("schleuse_tasks_ended_total", "status" => "failed").increment(1);
    task.set("status", "failed");
    task.push("output", Value::from(task::error_output(reason)));
    Ok((*task::write(tx, task)?.resource).clone())
}
