//! `schleuse process list DIR`, `schleuse process check FILE|FOLDER`

pub(super) mod check;

use std::path::Path;

use serde_json::Value;

use super::fail_admin;
use crate::admin::Node;
use crate::arguments::Format;
use crate::output::{Table, answer};

pub(super) async fn list(directory: &Path, format: Format) -> u8 {
    match Node::at(directory).get::<Value>("/processes").await {
        Ok(answered) => {
            answer(format, || text(&answered), || answered.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

fn text(answered: &Value) -> String {
    let mut table = Table::new(&["process", "start messages", "running"]);
    for process in answered.get("processes").and_then(Value::as_array).into_iter().flatten() {
        let name = process.get("process").and_then(Value::as_str).or_else(|| process.get("key")?.as_str());
        let messages = process.get("messages").and_then(Value::as_array).into_iter().flatten();
        let messages: Vec<_> = messages.filter_map(Value::as_str).collect();
        let running = process.get("running").and_then(Value::as_u64).unwrap_or(0);
        table.row([name.unwrap_or("-").to_owned(), messages.join(", "), running.to_string()]);
    }
    table.to_string()
}
