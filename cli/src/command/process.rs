//! `schleuse process list|show|install|load|retire|exclude|activate`, which ask the running node, and `process new|test|check`,
//! which need none.

pub(super) mod check;
pub(super) mod install;
pub(super) mod new;
pub(super) mod test;

use std::path::Path;

use serde_json::{Value, json};

use super::fail_admin;
use crate::admin::{AdminError, Node};
use crate::arguments::{Format, ProcessOne};
use crate::output::{Table, answer, printable};

pub(super) async fn list(directory: &Path, format: Format) -> u8 {
    print(Node::at(directory).get::<Value>("/processes").await, text, format)
}

pub(super) async fn show(one: &ProcessOne, format: Format) -> u8 {
    let path = format!("/processes/{}", one.process.replace('|', "%7C"));
    print(Node::at(&one.directory).get::<Value>(&path).await, shown_text, format)
}

/// Reads the folder of plug-ins again; 1 if something of it was refused.
pub(super) async fn load(directory: &Path, format: Format) -> u8 {
    change(directory, "/processes/load", &json!({}), format).await
}

pub(super) async fn order(one: &ProcessOne, state: &str, format: Format) -> u8 {
    let order = json!({ "process": one.process, "state": state });
    change(&one.directory, "/processes/state", &order, format).await
}

async fn change(directory: &Path, path: &str, body: &Value, format: Format) -> u8 {
    let changed = Node::at(directory).post::<Value>(path, body).await;
    let is_refused = changed.as_ref().is_ok_and(|changed| refused(changed).next().is_some());
    print(changed, text, format).max(u8::from(is_refused))
}

fn print(answered: Result<Value, AdminError>, text: fn(&Value) -> String, format: Format) -> u8 {
    match answered {
        Ok(answered) => {
            answer(format, || text(&answered), || answered.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

/// What was refused of plug-ins.
pub(super) fn refused(answered: &Value) -> impl Iterator<Item = &Value> {
    answered.get("refused").and_then(Value::as_array).into_iter().flatten()
}

/// One refusal: package, file and reason.
pub(super) fn refusal_text(refused: &Value) -> String {
    let word = |name: &str| refused.get(name).and_then(Value::as_str);
    let file = word("file").map(|file| format!("{file}: ")).unwrap_or_default();
    printable(&format!("{}: {file}{}", word("package").unwrap_or("-"), word("reason").unwrap_or("-")))
}

fn words(value: &Value, name: &str) -> String {
    let list = value.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn text(answered: &Value) -> String {
    let mut table = Table::new(&["process", "state", "plug-in", "start messages", "running"]);
    for process in answered.get("processes").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| process.get(name).and_then(Value::as_str);
        let key = || format!("{}|{}", word("key").unwrap_or("-"), word("version").unwrap_or("-"));
        let plug_in = format!("{} {}", word("plug-in").unwrap_or("-"), word("plug-in-version").unwrap_or("-"));
        let running = process.get("running").and_then(Value::as_u64).unwrap_or(0);
        table.row([
            word("process").map_or_else(key, str::to_owned),
            word("state").unwrap_or("-").to_owned(),
            plug_in,
            words(process, "messages"),
            running.to_string(),
        ]);
    }
    let refused: Vec<String> = refused(answered).map(|refused| format!("  {}\n", refusal_text(refused))).collect();
    match refused.is_empty() {
        true => table.to_string(),
        false => format!("{table}\nrefused:\n{}", refused.concat()),
    }
}

fn shown_text(process: &Value) -> String {
    let mut text = String::new();
    for name in ["process", "key", "version", "state", "plug-in", "plug-in-version", "package", "file", "digest"] {
        if let Some(value) = process.get(name).and_then(Value::as_str) {
            text.push_str(&format!("{name:<16} {}\n", printable(value)));
        }
    }
    text.push_str(&format!("{:<16} {}\n", "start messages", printable(&words(process, "messages"))));
    let running = process.get("running").and_then(Value::as_u64).unwrap_or(0);
    text.push_str(&format!("{:<16} {running}\n\n", "running"));
    for (list, columns) in [("steps", ["element", "name", "by"]), ("resources", ["type", "url", "state"])] {
        let mut table = Table::new(&columns);
        for row in process.get(list).and_then(Value::as_array).into_iter().flatten() {
            table.row(columns.map(|column| row.get(column).and_then(Value::as_str).unwrap_or("-").to_owned()));
        }
        text.push_str(&format!("{table}\n"));
    }
    text
}
