//! `schleuse task start` and `schleuse task list`

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::fail_admin;
use crate::admin::{AdminError, Node};
use crate::arguments::{Format, TaskList, TaskStart};
use crate::output::{Table, answer};

/// How long `--wait` waits; longer than the timers of the built-in processes.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn start(arguments: &TaskStart, format: Format) -> u8 {
    let inputs: Option<Vec<Value>> = arguments.input.iter().map(|input| read_input(input)).collect();
    let Some(inputs) = inputs else {
        eprintln!(
            "schleuse: --input is SYSTEM|CODE=VALUE, such as \"http://dsf.dev/fhir/CodeSystem/ping|target-endpoints=Endpoint?status=active\""
        );
        return 2;
    };
    let command = json!({ "process": arguments.process, "message": arguments.message, "inputs": inputs });
    let result = match Node::at(&arguments.directory).post::<Value>("/tasks", &command).await {
        Ok(task) if arguments.wait => wait(&arguments.directory, &task).await,
        result => result,
    };
    match result {
        Ok(task) => {
            answer(
                format,
                || format!("{}{}", tasks_text(std::slice::from_ref(&task), None), outputs_text(&task)),
                || task.clone(),
            );
            u8::from(arguments.wait && task.get("status").and_then(Value::as_str) != Some("completed"))
        }
        Err(error) => fail_admin(&error),
    }
}

fn read_input(text: &str) -> Option<Value> {
    let (system, rest) = text.split_once('|')?;
    let (code, value) = rest.split_once('=')?;
    Some(json!({ "system": system, "code": code, "value": value }))
}

/// Asks until the Task has ended.
pub(super) async fn wait(directory: &Path, task: &Value) -> Result<Value, AdminError> {
    let id = task.get("id").and_then(Value::as_str).unwrap_or_default();
    let deadline = Instant::now() + LONGEST_WAIT;
    loop {
        let task = Node::at(directory).get::<Value>(&format!("/tasks/{id}")).await?;
        let has_ended = matches!(task.get("status").and_then(Value::as_str), Some("completed" | "failed"));
        if has_ended || Instant::now() > deadline {
            return Ok(task);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

pub(super) async fn list(arguments: &TaskList, format: Format) -> u8 {
    let mut path = format!("/tasks?_count={}", arguments.count);
    if let Some(status) = &arguments.status {
        path.push_str("&status=");
        path.push_str(status);
    }
    match Node::at(&arguments.directory).get::<Value>(&path).await {
        Ok(answered) => {
            let tasks = answered.get("tasks").and_then(Value::as_array).cloned().unwrap_or_default();
            let total = answered.get("total").and_then(Value::as_u64);
            answer(format, || tasks_text(&tasks, total), || answered.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

fn tasks_text(tasks: &[Value], total: Option<u64>) -> String {
    let mut table = Table::new(&["last updated", "status", "process", "message", "requester", "id", "error"]);
    for task in tasks {
        let word = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let error = task.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
        table.row([
            word("last-updated"),
            word("status"),
            word("process"),
            word("message"),
            word("requester"),
            word("id"),
            error,
        ]);
    }
    match total {
        Some(total) => format!("{table}{} of {total} Tasks\n", tasks.len()),
        None => table.to_string(),
    }
}

/// What the process wrote into the Task: a line for each output, with what its extensions say.
fn outputs_text(task: &Value) -> String {
    let outputs = task.get("resource").and_then(|resource| resource.get("output")).and_then(Value::as_array);
    let Some(outputs) = outputs else { return String::new() };
    let mut table = Table::new(&["output", "value", "details"]);
    for output in outputs {
        let name = output.pointer("/type/coding/0/code").and_then(Value::as_str).unwrap_or("-").to_owned();
        let mut details = Vec::new();
        collect_details(output, &mut details);
        table.row([name, value_text(output).unwrap_or_else(|| "-".to_owned()), details.join(", ")]);
    }
    format!("\n{table}")
}

/// Values of the extensions, also of nested ones; the depth is that of a resource that the node has read.
fn collect_details(element: &Value, details: &mut Vec<String>) {
    for extension in element.get("extension").and_then(Value::as_array).into_iter().flatten() {
        details.extend(value_text(extension));
        collect_details(extension, details);
    }
}

/// The `value[x]` of an element, as people read it.
fn value_text(element: &Value) -> Option<String> {
    let (_, value) = element.as_object()?.iter().find(|(name, _)| name.starts_with("value"))?;
    let text = |name: &str| value.get(name).map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => match (text("value"), text("unit")) {
            (Some(number), Some(unit)) => format!("{number} {unit}"),
            (Some(identifier), None) => identifier,
            (None, _) => text("code").or_else(|| text("reference")).unwrap_or_else(|| value.to_string()),
        },
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{outputs_text, read_input};

    #[test]
    fn outputs_are_shown_with_what_their_extensions_say() {
        let organization =
            json!({ "url": "organization-identifier", "valueIdentifier": { "system": "s", "value": "dic-1.example" } });
        let round_trip = json!({ "url": "round-trip", "valueDuration": { "value": 18, "unit": "ms" } });
        let output = json!({
            "extension": [{ "url": "status", "extension": [organization, round_trip] }],
            "type": { "coding": [{ "code": "ping-status" }] },
            "valueCoding": { "system": "s", "code": "pong-received" },
        });
        let text = outputs_text(&json!({ "resource": { "output": [output] } }));
        assert_eq!(text, "\noutput       value          details\nping-status  pong-received  dic-1.example, 18 ms\n");
        assert_eq!(outputs_text(&json!({ "resource": {} })), "");
    }

    #[test]
    fn an_input_is_split_at_the_first_bar_and_the_first_equals_sign() {
        let input = read_input("http://a/b|code=Endpoint?x=y|z").unwrap();
        assert_eq!(input["system"], "http://a/b");
        assert_eq!(input["code"], "code");
        assert_eq!(input["value"], "Endpoint?x=y|z");
        assert!(read_input("code=value").is_none() && read_input("system|code").is_none());
    }
}
