//! `schleuse status DIR`

use std::path::Path;

use serde_json::Value;

use super::fail_admin;
use crate::admin::Node;
use crate::arguments::Format;
use crate::output::{Table, answer};

pub(super) async fn run(directory: &Path, format: Format) -> u8 {
    match Node::at(directory).get::<Value>("/status").await {
        Ok(mut status) => {
            let gateway = gateway(directory).await;
            status.as_object_mut().map(|members| members.insert("gateway".to_owned(), gateway));
            answer(format, || text(&status), || status.clone());
            0
        }
        Err(error) => fail_admin(&error),
    }
}

/// What the gateway says of itself; null if it does not answer.
async fn gateway(directory: &Path) -> Value {
    let Ok((settings, _)) = node::load(&node::Directory::new(directory)) else { return Value::Null };
    let Some(ready) = super::block::ready(settings.management.address).await else { return Value::Null };
    let members = ["ready", "reasons", "policy-number", "settings-changed", "audit-sinks"];
    let known = members.map(|name| (name.to_owned(), ready.get(name).cloned().unwrap_or_default()));
    Value::Object(known.into_iter().collect())
}

/// Rows about the gateway.
fn gateway_rows(table: &mut Table, gateway: &Value) {
    let is = |name: &str| gateway.get(name) == Some(&Value::Bool(true));
    let reasons = gateway.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    let said = match gateway {
        Value::Null => "does not answer".to_owned(),
        _ if is("ready") => "ready".to_owned(),
        _ => format!("not ready: {}", reasons.join(", ")),
    };
    table.row(["gateway".to_owned(), said]);
    if is("settings-changed") {
        table.row(["node.toml".to_owned(), "changed; the gateway takes it at its next start".to_owned()]);
    }
    for sink in gateway.get("audit-sinks").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| sink.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let is_alive = sink.get("alive") == Some(&Value::Bool(true));
        let records = sink.get("records").and_then(Value::as_u64).unwrap_or(0);
        let said = if is_alive { format!("{records} records") } else { format!("dead: {}", word("error")) };
        table.row([format!("audit sink {}", word("sink")), said]);
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
    gateway_rows(&mut table, status.get("gateway").unwrap_or(&Value::Null));
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
