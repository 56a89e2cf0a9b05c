//! `schleuse instance list|show|history|retry|resolve|cancel` and `schleuse incident list`, through the administration
//! socket of the node.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::fail_admin;
use crate::admin::{AdminError, Node};
use crate::arguments::{Format, InstanceCancel, InstanceList, InstanceOne, InstanceResolve};
use crate::output::{Table, answer, printable};

/// A word of an answer.
fn word(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn rows(value: &Value, name: &str) -> Vec<Value> {
    value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn tell(result: Result<Value, AdminError>, format: Format, text: impl FnOnce(&Value) -> String) -> u8 {
    match result {
        Ok(answered) => {
            answer(format, || text(&answered), || answered.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

fn table(answered: &Value, name: &str, columns: &[&str]) -> String {
    let mut table = Table::new(columns);
    let found = rows(answered, name);
    for row in &found {
        table.row(columns.iter().map(|column| word(row, column)));
    }
    format!("{table}{} {name}\n", found.len())
}

pub(super) async fn list(arguments: &InstanceList, format: Format) -> u8 {
    let mut path = format!("/instances?state={}", arguments.state);
    if arguments.state == "running" {
        // Those with an incident run too.
        path = "/instances?".to_owned();
    }
    if let Some(process) = &arguments.process {
        let key = process.split('|').next().unwrap_or_default();
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            eprintln!("schleuse: {} is no process; `schleuse process list` shows them", printable(process));
            return 2;
        }
        path.push_str(&format!("&process={key}"));
    }
    let columns = ["started", "state", "process", "version", "business-key", "id"];
    tell(Node::at(&arguments.directory).get(&path).await, format, |answered| table(answered, "instances", &columns))
}

pub(super) async fn incidents(directory: &Path, format: Format) -> u8 {
    let columns = ["process", "element", "instance", "failure"];
    tell(Node::at(directory).get("/incidents").await, format, |answered| table(answered, "incidents", &columns))
}

/// The path of an instance, if it can be one.
fn path(id: &str, action: &str) -> Option<String> {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_id {
        eprintln!("schleuse: {} is no id of an instance; `schleuse instance list` shows them", printable(id));
    }
    is_id.then(|| format!("/instances/{id}{action}"))
}

pub(super) async fn show(arguments: &InstanceOne, format: Format) -> u8 {
    let Some(path) = path(&arguments.id, "") else { return 2 };
    tell(Node::at(&arguments.directory).get(&path).await, format, |answered| {
        let mut text = String::new();
        for name in ["id", "process", "version", "business-key", "state", "started", "changed"] {
            text.push_str(&format!("{name:<14}{}\n", printable(&word(answered, name))));
        }
        let parts: [(&str, &[&str]); 4] = [
            ("waits", &["element", "waits-for"]),
            ("work", &["element", "kind", "topic", "begun", "retries", "due", "worker", "progress", "failure"]),
            ("jobs", &["id", "due", "retries", "failure"]),
            ("messages", &["to", "attempts", "failure"]),
        ];
        for (name, columns) in parts {
            if !rows(answered, name).is_empty() {
                text.push_str(&format!("\n{}", table(answered, name, columns)));
            }
        }
        if let Some(variables) = answered.get("variables").and_then(Value::as_object).filter(|found| !found.is_empty())
        {
            let mut table = Table::new(&["variable", "value"]);
            for (name, value) in variables {
                table.row([name.clone(), value.as_str().unwrap_or_default().to_owned()]);
            }
            text.push_str(&format!("\n{table}"));
        }
        text
    })
}

pub(super) async fn history(arguments: &InstanceOne, format: Format) -> u8 {
    let Some(path) = path(&arguments.id, "/history") else { return 2 };
    let node = Node::at(&arguments.directory);
    let (mut events, mut from) = (Vec::new(), 0);
    let whole = loop {
        match node.get::<Value>(&format!("{path}?from={from}")).await {
            Ok(page) => {
                events.extend(rows(&page, "events"));
                match page.get("next").and_then(Value::as_u64) {
                    Some(next) => from = next,
                    None => break Ok(json!({ "events": events })),
                }
            }
            Err(error) => break Err(error),
        }
    };
    tell(whole, format, |answered| {
        let mut table = Table::new(&["#", "time", "event", "element", "details"]);
        for entry in rows(answered, "events") {
            let event = entry.get("event").cloned().unwrap_or_default();
            let details: Vec<String> = ["name", "value", "flow", "reason", "code", "class", "due", "state"]
                .into_iter()
                .filter(|name| event.get(*name).is_some_and(|value| !value.is_null()))
                .map(|name| format!("{name}={}", word(&event, name)))
                .collect();
            let element = if event.get("element").is_some() { word(&event, "element") } else { word(&event, "target") };
            table.row([
                word(&entry, "position"),
                word(&entry, "time"),
                word(&event, "event"),
                element,
                details.join(", "),
            ]);
        }
        table.to_string()
    })
}

async fn change(directory: &Path, id: &str, action: &str, body: &Value, format: Format) -> u8 {
    let Some(path) = path(id, action) else { return 2 };
    tell(Node::at(directory).post(&path, body).await, format, |answered| {
        let instance = answered.get("instance").cloned().unwrap_or_default();
        format!("instance {} is {}\n", printable(id), printable(&word(&instance, "state")))
    })
}

pub(super) async fn retry(arguments: &InstanceOne, format: Format) -> u8 {
    change(&arguments.directory, &arguments.id, "/retry", &json!({}), format).await
}

pub(super) async fn cancel(arguments: &InstanceCancel, format: Format) -> u8 {
    let body = json!({ "reason": arguments.reason });
    change(&arguments.one.directory, &arguments.one.id, "/cancel", &body, format).await
}

pub(super) async fn resolve(arguments: &InstanceResolve, format: Format) -> u8 {
    let mut variables = Map::new();
    for set in &arguments.set {
        let Some((name, value)) = set.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            eprintln!("schleuse: {} is not NAME=VALUE; a VALUE that is no JSON is a text", printable(set));
            return 2;
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        variables.insert(name.to_owned(), value);
    }
    let body = json!({ "variables": variables });
    change(&arguments.one.directory, &arguments.one.id, "/resolve", &body, format).await
}
