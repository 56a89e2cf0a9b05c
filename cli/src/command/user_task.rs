//! `schleuse task list --open`, `show`, `answer` and `reject`: user tasks, as the person who works on them.
//!
//! Everything goes through the gateway with the certificate of who asks, so it is decided and recorded like any other
//! request: with `--node URL --certificate --private-key --authority` as a person, else as the organisation of the node in
//! a directory.

use fhir::{Object, Resource, Value as Tree, questionnaire};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fail;
use crate::arguments::{Access, Format, TaskAnswer, TaskList, TaskOne};
use crate::local::{Local, LocalError};
use crate::output::{Table, answer, printable};
use crate::own::{Own, OwnError};

const BUSINESS_KEY: &str = "business-key";
const USER_TASK_ID: &str = "user-task-id";

#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Node(#[from] OwnError),
    #[error("{0}")]
    Usage(String),
    #[error("user task {id} is {status}; only one that is in-progress can be worked on")]
    Closed { id: String, status: String },
    #[error("the node has no Questionnaire {0}, so what the items mean is not known")]
    NoQuestionnaire(String),
}

impl TaskError {
    const fn code(&self) -> u8 {
        match self {
            Self::Local(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Usage(_) => 2,
            Self::Closed { .. } | Self::NoQuestionnaire(_) => 1,
        }
    }
}

fn end(result: Result<(), TaskError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn list(arguments: &TaskList, format: Format) -> u8 {
    end(list_open(arguments, format).await)
}

pub(super) async fn show(arguments: &TaskOne, format: Format) -> u8 {
    end(show_one(arguments, format).await)
}

pub(super) async fn answer_task(arguments: &TaskAnswer, format: Format) -> u8 {
    end(complete(arguments, format).await)
}

pub(super) async fn reject(arguments: &TaskOne, format: Format) -> u8 {
    end(stop(arguments, format).await)
}

fn connect(access: &Access, directory: &std::path::Path) -> Result<Own, TaskError> {
    let person = (&access.node, &access.certificate, &access.private_key, &access.authority);
    if let (Some(node), Some(certificate), Some(private_key), Some(authority)) = person {
        return Ok(Own::as_person(node, certificate, private_key, authority)?);
    }
    Ok(Own::new(&Local::load(directory)?.settings)?)
}

async fn list_open(arguments: &TaskList, format: Format) -> Result<(), TaskError> {
    let node = connect(&arguments.access, &arguments.directory)?;
    let query = format!("/QuestionnaireResponse?status=in-progress&_sort=_lastUpdated&_count={}", arguments.count);
    let found = node.get(&query).await?;
    let open: Vec<&Tree> = found.list("entry").iter().filter_map(|entry| entry.get("resource")).collect();
    let text = || {
        let mut table = Table::new(&["since", "form", "business key", "for", "id"]);
        for response in &open {
            let word = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let since = response.get("meta").and_then(|meta| meta.str("lastUpdated"));
            let people = people(response);
            let people = if people.is_empty() { "everybody".to_owned() } else { people.join(", ") };
            let key = string_answer(response, BUSINESS_KEY);
            table.row([word(since), word(response.str("questionnaire")), word(key), people, word(response.str("id"))]);
        }
        format!("{table}{} open\n", open.len())
    };
    answer(format, text, || {
        let tasks: Vec<Value> = open.iter().map(|response| summary(response)).collect();
        json!({ "tasks": tasks })
    });
    Ok(())
}

fn summary(response: &Tree) -> Value {
    json!({
        "id": response.str("id"),
        "questionnaire": response.str("questionnaire"),
        "business-key": string_answer(response, BUSINESS_KEY),
        "since": response.get("meta").and_then(|meta| meta.str("lastUpdated")),
        "for": people(response),
    })
}

fn string_answer<'r>(response: &'r Tree, link_id: &str) -> Option<&'r str> {
    let item = response.list("item").iter().find(|item| item.str("linkId") == Some(link_id))?;
    item.list("answer").first()?.str("valueString")
}

/// Who may answer.
fn people(response: &Tree) -> Vec<String> {
    let extensions = response.list("extension").iter().flat_map(|extension| extension.list("extension"));
    let names = extensions.filter_map(|part| {
        let value = part.get("valueIdentifier").or_else(|| part.get("valueCoding"))?;
        Some(format!("{} {}", part.str("url")?, value.str("value").or_else(|| value.str("code"))?))
    });
    names.collect()
}

/// The response and its questionnaire.
async fn read(node: &Own, id: &str) -> Result<(Resource, Resource), TaskError> {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_id {
        return Err(TaskError::Usage(format!("{id} is no id of a user task; `schleuse task list --open` shows them")));
    }
    let response = node.get(&format!("/QuestionnaireResponse/{id}")).await?;
    let canonical = response.str("questionnaire").unwrap_or_default().to_owned();
    let found = node.get(&format!("/Questionnaire?url={canonical}")).await?;
    let form = found.list("entry").iter().find_map(|entry| entry.get("resource")?.as_object().cloned());
    let form = form.and_then(|form| Resource::from_tree(form).ok());
    let form = form.ok_or(TaskError::NoQuestionnaire(canonical))?;
    Ok((response, form))
}

async fn show_one(arguments: &TaskOne, format: Format) -> Result<(), TaskError> {
    let node = connect(&arguments.access, &arguments.directory)?;
    let (response, form) = read(&node, &arguments.id).await?;
    let text = || {
        let mut text = format!(
            "{} ({})\n",
            printable(form.str("title").or_else(|| form.str("url")).unwrap_or("user task")),
            response.str("status").unwrap_or("-")
        );
        let mut table = Table::new(&["item", "type", "question", "answer"]);
        for question in form.list("item") {
            let word = |name: &str| question.str(name).unwrap_or_default().to_owned();
            let mut kind = word("type");
            if is_required(question) {
                kind.push_str(", required");
            }
            let given = questionnaire::answer(&response, &word("linkId")).and_then(answer_text).unwrap_or_default();
            table.row([word("linkId"), kind, word("text"), given]);
        }
        text.push_str(&table.to_string());
        text
    };
    answer(format, text, || {
        serde_json::from_str(&fhir::print(fhir::Format::Json, &response, false)).unwrap_or_default()
    });
    Ok(())
}

fn is_required(question: &Tree) -> bool {
    question.get("required").and_then(Tree::as_bool) == Some(true)
}

/// What an answer says, in a line.
fn answer_text(answer: &Tree) -> Option<String> {
    let (_, value) = answer.as_object()?.iter().find(|(name, _)| name.starts_with("value"))?;
    Some(match value {
        Tree::Number(number) => number.as_str().to_owned(),
        other => match (other.as_str(), other.as_bool()) {
            (Some(text), _) => text.to_owned(),
            (_, Some(truth)) => truth.to_string(),
            _ => {
                ["reference", "code", "value"].into_iter().find_map(|name| other.str(name)).unwrap_or("...").to_owned()
            }
        },
    })
}

async fn complete(arguments: &TaskAnswer, format: Format) -> Result<(), TaskError> {
    let node = connect(&arguments.one.access, &arguments.one.directory)?;
    let (mut response, form) = read(&node, &arguments.one.id).await?;
    check_open(&response, &arguments.one.id)?;
    let mut given: Vec<(&str, &str)> = Vec::new();
    for set in &arguments.set {
        let pair = set.split_once('=');
        given.push(pair.ok_or_else(|| TaskError::Usage(format!("{set} is not ITEM=VALUE, such as release=true")))?);
    }
    let known = |link: &str| form.list("item").iter().any(|question| question.str("linkId") == Some(link));
    if let Some((link, _)) = given.iter().find(|(link, _)| !known(link) || [BUSINESS_KEY, USER_TASK_ID].contains(link))
    {
        return Err(TaskError::Usage(format!("{link} is no item to answer; `schleuse task show` lists them")));
    }
    let mut missing = Vec::new();
    for question in form.list("item") {
        let (Some(link), Some(kind)) = (question.str("linkId"), question.str("type")) else { continue };
        if [BUSINESS_KEY, USER_TASK_ID].contains(&link) {
            continue;
        }
        let value = given.iter().rev().find(|(name, _)| *name == link).map(|(_, value)| *value);
        match value {
            Some(value) => {
                let value = read_answer(question, kind, value)
                    .ok_or_else(|| TaskError::Usage(format!("{value} is no answer of type {kind} to {link}")))?;
                questionnaire::set_answer(&mut response, link, Some(value));
            }
            // What nobody has filled in is no answer.
            None if questionnaire::answer(&response, link).and_then(Tree::as_object).cloned()
                == questionnaire::placeholder(kind)
                && kind != "display" =>
            {
                if is_required(question) {
                    missing.push(link.to_owned());
                }
                questionnaire::set_answer(&mut response, link, None);
            }
            None => {}
        }
    }
    if !missing.is_empty() {
        let text = format!(
            "required and not answered: {}; add --set {}=...",
            missing.join(", "),
            missing.first().map_or("", String::as_str)
        );
        return Err(TaskError::Usage(text));
    }
    response.set("status", "completed");
    response.set("author", node.author());
    response.set("authored", fhir::date::format_instant(OffsetDateTime::now_utc()));
    put(&node, &response, "answered", format).await
}

async fn stop(arguments: &TaskOne, format: Format) -> Result<(), TaskError> {
    let node = connect(&arguments.access, &arguments.directory)?;
    let (mut response, _) = read(&node, &arguments.id).await?;
    check_open(&response, &arguments.id)?;
    response.set("status", "stopped");
    put(&node, &response, "rejected", format).await
}

fn check_open(response: &Resource, id: &str) -> Result<(), TaskError> {
    match response.str("status") {
        Some("in-progress") => Ok(()),
        status => Err(TaskError::Closed { id: id.to_owned(), status: status.unwrap_or("without status").to_owned() }),
    }
}

async fn put(node: &Own, response: &Resource, done: &str, format: Format) -> Result<(), TaskError> {
    let id = response.id().unwrap_or_default();
    let written = node.put(&format!("/QuestionnaireResponse/{id}"), response).await?;
    answer(
        format,
        || format!("user task {} was {done}\n", printable(id)),
        || json!({ "id": id, "status": written.str("status") }),
    );
    Ok(())
}

/// An answer of the type of the question from what was typed.
fn read_answer(question: &Tree, kind: &str, text: &str) -> Option<Object> {
    let name = questionnaire::answer_name(kind)?;
    let value: Tree = match kind {
        "boolean" => text.parse::<bool>().ok()?.into(),
        "integer" => text.parse::<i32>().ok().map(i64::from)?.into(),
        "decimal" => Tree::Number(fhir::Number::parse(text)?),
        "reference" => Object::new().with("reference", text).into(),
        "choice" => coding(question, text)?.into(),
        "quantity" => {
            let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
            let quantity = Object::new().with("value", Tree::Number(fhir::Number::parse(number)?));
            if unit.is_empty() { quantity.into() } else { quantity.with("unit", unit).into() }
        }
        _ if text.is_empty() => return None,
        _ => text.into(),
    };
    Some(Object::new().with(name, value))
}

/// `system|code`, or the code of one of the options of the question.
fn coding(question: &Tree, text: &str) -> Option<Object> {
    if let Some((system, code)) = text.split_once('|') {
        return Some(Object::new().with("system", system).with("code", code));
    }
    let mut options = question.list("answerOption").iter().filter_map(|option| option.get("valueCoding"));
    options.find(|coding| coding.str("code") == Some(text)).and_then(|coding| coding.as_object().cloned())
}
