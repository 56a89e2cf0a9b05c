//! `schleuse allow-list publish|download`: the processes that carry the allow-list between organisations, started on the
//! running node and waited for.

use std::path::Path;

use serde_json::{Value, json};

use super::{fail_admin, task};
use crate::admin::{AdminError, Node};
use crate::arguments::{AllowListDownload, AllowListPublish, Format};
use crate::output::{answer, printable};

const ALLOW_LIST: &str = "http://dsf.dev/fhir/CodeSystem/allow-list";
const OUTCOME: &str = "http://schleuse.example/fhir/CodeSystem/allow-list-outcome";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";

pub(super) async fn publish(arguments: &AllowListPublish, format: Format) -> u8 {
    let command = json!({
        "process": "http://dsf.dev/bpe/Process/updateAllowList|1.0",
        "message": "updateAllowList",
    });
    match run(&arguments.directory, &command).await {
        Ok(task) => tell(&task, format, |task| {
            let bundle = outputs(task, ALLOW_LIST).next()?.1.pointer("/valueReference/reference")?.as_str()?;
            // Partners download what is current, so the version is not part of what they are told.
            let (current, version) = bundle.split_once("/_history/")?;
            Some((
                format!("published as version {version}; partners download\n{current}\n"),
                json!({ "bundle": current, "version": version }),
            ))
        }),
        Err(error) => fail_admin(&error),
    }
}

pub(super) async fn download(arguments: &AllowListDownload, format: Format) -> u8 {
    let command = json!({
        "process": "http://dsf.dev/bpe/Process/downloadAllowList|1.0",
        "message": "downloadAllowListMessage",
        "inputs": [{ "system": ALLOW_LIST, "code": "allow_list", "reference": arguments.url }],
    });
    match run(&arguments.directory, &command).await {
        Ok(task) => tell(&task, format, |task| {
            let (outcome, output) = outputs(task, OUTCOME).next()?;
            let text = output.get("valueString")?.as_str()?;
            let next = match outcome.as_str() {
                "waiting" => "\nlook at it with `schleuse allow-list pending`, then approve or reject it",
                _ => "",
            };
            Some((format!("{outcome}: {}{next}\n", printable(text)), json!({ "outcome": outcome, "text": text })))
        }),
        Err(error) => fail_admin(&error),
    }
}

async fn run(directory: &Path, command: &Value) -> Result<Value, AdminError> {
    let started = Node::at(directory).post::<Value>("/tasks", command).await?;
    task::wait(directory, &started).await
}

/// What came of a Task that has ended: its result, or every reason why there is none.
fn tell(task: &Value, format: Format, result: impl Fn(&Value) -> Option<(String, Value)>) -> u8 {
    let status = task.get("status").and_then(Value::as_str).unwrap_or("unknown");
    if let ("completed", Some((text, document))) = (status, result(task)) {
        answer(format, || text, || document);
        return 0;
    }
    let errors: Vec<String> = outputs(task, BPMN_MESSAGE)
        .filter(|(code, _)| code == "error")
        .filter_map(|(_, output)| output.get("valueString")?.as_str().map(str::to_owned))
        .collect();
    let id = task.get("id").and_then(Value::as_str).unwrap_or_default();
    answer(
        format,
        || {
            let lines: String = errors.iter().map(|error| format!("  {}\n", printable(error))).collect();
            format!("{status}: Task {id}\n{lines}")
        },
        || json!({ "outcome": status, "task": id, "errors": errors }),
    );
    1
}

/// Code and content of every output of a system.
fn outputs<'t>(task: &'t Value, system: &'t str) -> impl Iterator<Item = (String, &'t Value)> {
    let all = task.pointer("/resource/output").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(move |output| {
        let coding = output.pointer("/type/coding/0")?;
        let is_of = coding.get("system").and_then(Value::as_str) == Some(system);
        is_of.then_some((coding.get("code")?.as_str()?.to_owned(), output))
    })
}
