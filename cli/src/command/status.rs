//! `schleuse status DIR`

use std::path::Path;

use serde_json::Value;

use super::fail_admin;
use crate::admin::Node;
use crate::arguments::Format;
use crate::output::{Table, answer};

pub(super) async fn run(directory: &Path, format: Format) -> u8 {
    match Node::at(directory).get::<Value>("/status").await {
        Ok(status) => {
            answer(format, || text(&status), || status.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

fn text(status: &Value) -> String {
    let plain = |name: &str| match status.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut table = Table::new(&["organisation", &plain("organization-identifier")]);
    let rows = [
        ("base URL", "base-url"),
        ("version", "version"),
        ("uptime in seconds", "uptime-seconds"),
        ("gateways connected", "gateways-connected"),
        ("allow-list version", "allow-list-version"),
        ("policy version", "policy-version"),
        ("client certificate days left", "client-certificate-days-left"),
        ("messages waiting to be sent", "messages-waiting"),
    ];
    for (label, name) in rows {
        table.row([label.to_owned(), plain(name)]);
    }
    let count = |name: &str| status.get("resources").and_then(|resources| resources.get(name)?.as_u64()).unwrap_or(0);
    for resource_type in ["Organization", "Endpoint", "Task"] {
        table.row([format!("{resource_type} resources"), count(resource_type).to_string()]);
    }
    for instance in status.get("instances").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| instance.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let count = instance.get("count").and_then(Value::as_u64).unwrap_or(0);
        table.row([
            format!("instances of {} {} {}", word("process"), word("version"), word("state")),
            count.to_string(),
        ]);
    }
    table.to_string()
}
