//! User tasks as DSF has them (`process-engine.md` 1.7): a QuestionnaireResponse that waits to be completed.
//!
//! The QuestionnaireResponse has the id of the user task, so either is found from the other. It is created by the
//! transaction that reaches the user task, and its completion, when the endpoint accepts it, moves the instance on in the
//! same transaction (`runtime/answers.rs`). What ends the wait in another way (a deadline, a message, the end of the
//! instance) sets it to `stopped`, so that nobody answers in vain.

use fhir::questionnaire::{answer, placeholder};
use fhir::{Object, Resource, ResourceType, Value};
use store::{ReadFilter, StoreError, Transaction};

use crate::runtime::LocalNode;
use crate::step::{StepContext, StepError};
use crate::{limits, task};

/// Item: business key of the instance.
pub const BUSINESS_KEY: &str = "business-key";
/// Item: id of the user task.
pub const USER_TASK_ID: &str = "user-task-id";
/// The variable that holds the latest completed answer, as JSON.
pub const ANSWER: &str = "questionnaireResponse";
/// Field of a task listener: elements of earlier user tasks, or `start`, whose person must not answer this one.
pub const FOUR_EYES: &str = "fourEyes";
/// BPMN error of a user task that was stopped instead of completed.
pub const REJECTED: &str = "rejected";

const PROFILE: &str = "http://dsf.dev/fhir/StructureDefinition/questionnaire-response";
const AUTHORIZATION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization";
const PRACTITIONER: &str = "http://dsf.dev/sid/practitioner-identifier";
const PRACTITIONER_ROLE: &str = "http://dsf.dev/fhir/CodeSystem/practitioner-role";

/// Takes part in the creation of the QuestionnaireResponse of a user task: bound to a task listener of the model for the
/// event `create`.
pub trait UserTaskListener: Send + Sync {
    /// Fills in what is known before a person sees it.
    fn before_create(&self, context: &mut StepContext<'_, '_>, response: &mut Resource) -> Result<(), StepError>;

    /// Called when it is stored.
    fn after_create(&self, _: &mut StepContext<'_, '_>, _: &Resource) -> Result<(), StepError> {
        Ok(())
    }
}

/// The listener of DSF that changes nothing, under its names in both versions of the API.
pub(crate) struct DefaultListener;

pub(crate) const DEFAULT_LISTENERS: [&str; 2] =
    ["dev.dsf.bpe.v1.activity.DefaultUserTaskListener", "dev.dsf.bpe.v2.activity.DefaultUserTaskListener"];

impl UserTaskListener for DefaultListener {
    fn before_create(&self, _: &mut StepContext<'_, '_>, _: &mut Resource) -> Result<(), StepError> {
        Ok(())
    }
}

/// The QuestionnaireResponse of a user task as the listener gets it: with an answer to every item, placeholders mostly.
pub(crate) fn new_response(
    tx: &mut Transaction<'_>,
    node: &LocalNode,
    user_task: &bpmn::UserTask,
    step: &bpmn::Step,
    business_key: &str,
) -> Result<Resource, StepError> {
    let failed = |text: String| StepError::Failed(text);
    let form_key = user_task.form_key.as_deref().filter(|form_key| !form_key.is_empty());
    let form_key = form_key.ok_or_else(|| failed(format!("user task {} has no form key", user_task.element)))?;
    let questionnaire = find_questionnaire(tx, form_key)?
        .ok_or_else(|| failed(format!("Could not find Questionnaire resource with url|version={form_key}")))?;
    let mut response = Resource::new("QuestionnaireResponse");
    response.set("meta", Object::new().with("profile", vec![Value::from(PROFILE)]));
    if let Some(authorization) = authorization(user_task, step).map_err(failed)? {
        response.push("extension", authorization);
    }
    response.set("questionnaire", form_key);
    response.set("status", "in-progress");
    response.set("author", task::organization_reference(&node.organization_identifier));
    let string = |text: &str| Object::new().with("valueString", text);
    response.push("item", leaf(BUSINESS_KEY, "The business-key of the process execution", Some(string(business_key))));
    response.push(
        "item",
        leaf(USER_TASK_ID, "The user-task-id of the process execution", Some(string(&user_task.user_task))),
    );
    for question in questionnaire.list("item") {
        let link_id = question.str("linkId").unwrap_or_default();
        if link_id == BUSINESS_KEY || link_id == USER_TASK_ID {
            continue;
        }
        let kind = question.str("type").unwrap_or_default();
        let placeholder = placeholder(kind);
        if placeholder.is_none() && kind != "display" {
            let text =
                format!("item {link_id} of Questionnaire {form_key} has the type {kind}, for which there is no answer");
            return Err(failed(text));
        }
        response.push("item", leaf(link_id, question.str("text").unwrap_or_default(), placeholder));
    }
    Ok(response)
}

/// What must hold after the listener.
pub(crate) fn check_response(response: &Resource, user_task: &bpmn::UserTask) -> Result<(), StepError> {
    let string = |link_id| answer(response, link_id).and_then(|answer| answer.str("valueString"));
    for link_id in [BUSINESS_KEY, USER_TASK_ID] {
        if string(link_id).is_none() {
            let text = format!("QuestionnaireResponse does not contain an item with linkId='{link_id}'");
            return Err(StepError::Failed(text));
        }
    }
    if string(USER_TASK_ID) != Some(&*user_task.user_task) {
        return Err(StepError::Failed(format!("the item {USER_TASK_ID} does not hold the id of the user task")));
    }
    if response.str("status") != Some("in-progress") {
        return Err(StepError::Failed("QuestionnaireResponse must be in status 'in-progress'".to_owned()));
    }
    Ok(())
}

/// The output of the start Task that DSF adds when the listener has the three fields for it.
pub(crate) fn task_output(step: &bpmn::Step) -> Option<Object> {
    let field = |name: &str| step.fields.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    let (system, code, version) = (field("taskOutputSystem")?, field("taskOutputCode")?, field("taskOutputVersion")?);
    let coding = Object::new().with("system", system).with("version", version).with("code", code);
    let reference = format!("QuestionnaireResponse/{}", step.step);
    let reference = Object::new().with("reference", reference).with("type", "QuestionnaireResponse");
    Some(
        Object::new().with("type", Object::new().with("coding", vec![coding.into()])).with("valueReference", reference),
    )
}

/// Sets the QuestionnaireResponse of a user task that nobody waits for any more to `stopped`.
pub(crate) fn close(tx: &mut Transaction<'_>, id: &str) -> Result<(), StoreError> {
    set_status(tx, id, "in-progress", "stopped").map(drop)
}

/// Changes the status, if it is what is expected; gives the new version.
pub(crate) fn set_status(
    tx: &mut Transaction<'_>,
    id: &str,
    from: &str,
    to: &str,
) -> Result<Option<Resource>, StoreError> {
    let Some(stored) = tx.read(ResourceType::QuestionnaireResponse, id)?.current() else { return Ok(None) };
    if stored.resource.str("status") != Some(from) {
        return Ok(None);
    }
    let mut response = (*stored.resource).clone();
    response.set("status", to);
    let written = tx.update(response, id, None)?;
    Ok(Some((*written.resource).clone()))
}

/// Who a QuestionnaireResponse or Task says that it is from: system and value of an identifier.
pub(crate) fn person_of(resource: &Resource, member: &str) -> Option<(String, String)> {
    let identifier = resource.get(member)?.get("identifier")?;
    Some((identifier.str("system")?.to_owned(), identifier.str("value")?.to_owned()))
}

fn find_questionnaire(tx: &mut Transaction<'_>, form_key: &str) -> Result<Option<Resource>, StoreError> {
    let value: String = form_key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let context = tx.context().as_context();
    let query = fhir::search::parse_query_in(&context, ResourceType::Questionnaire, &format!("url={value}"));
    let found = tx.search(&query, &ReadFilter::everything())?;
    Ok(found.matches.first().map(|stored| (*stored.resource).clone()))
}

fn leaf(link_id: &str, text: &str, answer: Option<Object>) -> Object {
    let mut item = Object::new().with("linkId", link_id);
    if !text.is_empty() {
        item.set("text", text);
    }
    match answer {
        Some(answer) => item.with("answer", vec![answer.into()]),
        None => item,
    }
}

/// Who may answer: the fields of DSF's listener, and the people and groups of the model.
fn authorization(user_task: &bpmn::UserTask, step: &bpmn::Step) -> Result<Option<Object>, String> {
    let mut people: Vec<String> = user_task.assignee.iter().chain(&user_task.candidate_users).cloned().collect();
    people.extend(names(step, "practitioner", "practitioners")?);
    let mut roles = user_task.candidate_groups.clone();
    roles.extend(names(step, "practitionerRole", "practitionerRoles")?);
    if people.len() + roles.len() > limits::TARGETS {
        return Err(format!("user task {} names more than {} people and roles", step.element, limits::TARGETS));
    }
    let mut parts: Vec<Value> = Vec::new();
    for person in &people {
        let (system, value) = person.split_once('|').unwrap_or((PRACTITIONER, person));
        let identifier = Object::new().with("system", system).with("value", value);
        parts.push(Object::new().with("url", "practitioner").with("valueIdentifier", identifier).into());
    }
    for role in &roles {
        let (system, code) = role.split_once('|').unwrap_or((PRACTITIONER_ROLE, role));
        let coding = Object::new().with("system", system).with("code", code);
        parts.push(Object::new().with("url", "practitioner-role").with("valueCoding", coding).into());
    }
    let is_empty = parts.is_empty();
    Ok((!is_empty).then(|| Object::new().with("url", AUTHORIZATION).with("extension", parts)))
}

/// The text of one field and the texts of another. A field that is there and names nobody is an error: it would open the
/// task to everybody.
fn names(step: &bpmn::Step, single: &str, many: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for field in [single, many] {
        let Some(value) = step.fields.get(field) else { continue };
        let found: Vec<&serde_json::Value> = match value {
            serde_json::Value::Array(values) => values.iter().collect(),
            one => vec![one],
        };
        let found: Option<Vec<&str>> = found.into_iter().map(serde_json::Value::as_str).collect();
        match found {
            Some(found) if !found.is_empty() && found.iter().all(|name| !name.trim().is_empty()) => {
                names.extend(found.into_iter().map(str::to_owned));
            }
            _ => return Err(format!("the field {field} of user task {} names nobody", step.element)),
        }
    }
    Ok(names)
}
