//! Answers to user tasks: what the endpoint accepted of a QuestionnaireResponse moves its instance in the same transaction
//! (`process-engine.md` 1.7).
//!
//! - `completed`: stored as `amended` in the next version, and the instance goes on with the answer in the variable
//!   [`user_task::ANSWER`].
//! - `stopped`: a BPMN error `rejected` at the user task; without a boundary event for it the instance fails. (The reference
//!   leaves the instance waiting for ever.)
//! - What belongs to no open user task is logged and changes nothing else.

use bpmn::{Command, VariableWrite};
use fhir::questionnaire::answer;
use fhir::{Format, Resource, ResourceType};
use store::Transaction;

use super::unit::rows;
use super::{ProcessError, Runtime, Unit, fail_instance};
use crate::user_task::{self, ANSWER, BUSINESS_KEY, FOUR_EYES, REJECTED, USER_TASK_ID};
use crate::{limits, task};

/// Why an answer is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The database failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The process does not take it from this person, or not in this form.
    #[error("{0}")]
    Refused(String),
}

impl From<store::StoreError> for AnswerError {
    fn from(error: store::StoreError) -> Self {
        Self::Process(error.into())
    }
}

/// An open user task with the instance that waits for it.
struct Open {
    instance: String,
    task: bpmn::UserTask,
    start_task: Option<String>,
}

/// Takes in a QuestionnaireResponse that this transaction has updated.
pub(super) fn answered(runtime: &Runtime, tx: &mut Transaction<'_>, response: &Resource) -> Result<(), AnswerError> {
    let status = response.str("status");
    if !matches!(status, Some("completed" | "stopped")) {
        return Ok(());
    }
    let string = |link_id| answer(response, link_id).and_then(|answer| answer.str("valueString"));
    let (Some(id), Some(key)) = (string(USER_TASK_ID), string(BUSINESS_KEY)) else {
        tracing::warn!(id = response.id(), "a QuestionnaireResponse without user task changes nothing");
        return Ok(());
    };
    let Some(open) = find(runtime, tx, id, key)? else {
        tracing::warn!(id = response.id(), user_task = id, "a QuestionnaireResponse belongs to no open user task");
        return Ok(());
    };
    let command = if status == Some("completed") {
        check_person(tx, response, &open)?;
        complete(tx, response, &open)?
    } else {
        let reason = format!("user task {} was stopped", open.task.element);
        Command::UserTaskRejected { user_task: open.task.user_task.clone(), code: REJECTED.to_owned(), reason }
    };
    metrics::counter!("schleuse_user_tasks_ended_total", "status" => status.unwrap_or_default().to_owned())
        .increment(1);
    let moved = tx.attempt(|tx| {
        let mut unit = Unit::new(runtime, tx);
        unit.enqueue(&open.instance, command);
        unit.run()
    });
    match moved {
        Err(error) if error.is_final() => Ok(fail_instance(runtime, tx, &open.instance, &error.to_string())?),
        other => Ok(other?),
    }
}

/// The open user task with this id among the instances with this business key.
fn find(runtime: &Runtime, tx: &mut Transaction<'_>, id: &str, key: &str) -> Result<Option<Open>, ProcessError> {
    for row in tx.instances_by_business_key(key)? {
        let Ok((_, instance)) = rows::read(&runtime.catalogue(), &row) else { continue };
        if let Some(open) = instance.user_tasks().find(|open| *open.user_task == *id) {
            let start_task = instance.start_message().map(str::to_owned);
            return Ok(Some(Open { instance: row.id, task: open.clone(), start_task }));
        }
    }
    Ok(None)
}

/// The answer as stored by the next version, and what moves the instance.
fn complete(tx: &mut Transaction<'_>, response: &Resource, open: &Open) -> Result<Command, AnswerError> {
    let id = response.id().unwrap_or_default();
    let amended = user_task::set_status(tx, id, "completed", "amended")?;
    let text = fhir::print(Format::Json, amended.as_ref().unwrap_or(response), false);
    if text.len() > limits::ANSWER_BYTES {
        return Err(AnswerError::Refused(format!("the answer has more than {} bytes", limits::ANSWER_BYTES)));
    }
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| AnswerError::Refused(format!("the answer: {error}")))?;
    let variables = vec![VariableWrite::set(ANSWER, value)];
    Ok(Command::UserTaskCompleted { user_task: open.task.user_task.clone(), variables })
}

/// Four eyes: who answers must not be who started the process or answered the named user tasks.
fn check_person(tx: &mut Transaction<'_>, response: &Resource, open: &Open) -> Result<(), AnswerError> {
    let named: Vec<&str> = open
        .task
        .listeners
        .iter()
        .filter_map(|listener| listener.fields.get(FOUR_EYES)?.as_str())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let person = user_task::person_of(response, "author")
        .ok_or_else(|| AnswerError::Refused("the answer does not say who gives it".to_owned()))?;
    if named.contains(&"start")
        && let Some(start) = &open.start_task
        && let Some(start) = task::read(tx, start)?
        && user_task::person_of(&start, "requester").as_ref() == Some(&person)
    {
        return Err(AnswerError::Refused("four eyes: who started the process cannot answer this user task".to_owned()));
    }
    for (element, id) in earlier_tasks(tx, &open.instance)? {
        if *id == *open.task.user_task || !named.contains(&element.as_str()) {
            continue;
        }
        let Some(stored) = tx.read(ResourceType::QuestionnaireResponse, &id)?.current() else { continue };
        let is_answered = matches!(stored.resource.str("status"), Some("completed" | "amended"));
        if is_answered && user_task::person_of(&stored.resource, "author").as_ref() == Some(&person) {
            let text = format!("four eyes: who answered user task {element} cannot answer this one");
            return Err(AnswerError::Refused(text));
        }
    }
    Ok(())
}

/// Element and id of every user task that the instance had, from its log, which is read with tolerance.
pub(super) fn earlier_tasks(
    tx: &mut Transaction<'_>,
    instance: &str,
) -> Result<Vec<(String, String)>, store::StoreError> {
    let (mut tasks, mut from) = (Vec::new(), 0);
    loop {
        let page = tx.instance_events(instance, from, limits::LOG_PAGE)?;
        let Some(last) = page.last() else { return Ok(tasks) };
        from = last.position + 1;
        for event in &page {
            let event: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
            let text = |name: &str| event.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
            if text("event").as_deref() == Some("user-task-created")
                && let (Some(element), Some(id)) = (text("element"), text("user_task"))
            {
                tasks.push((element, id));
            }
        }
    }
}
