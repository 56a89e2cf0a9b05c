//! Tasks of the ping-pong process in its published form (1.0), as JSON and as XML.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::network::Node;
use crate::wait::until;

const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const PING: &str = "http://dsf.dev/fhir/CodeSystem/ping";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";

/// Longest run of a ping: its timer is 20 s, and machines may be busy.
pub const PING_TIME: Duration = Duration::from_secs(90);

/// What a ping said about one site.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Organisation identifier of the site.
    pub organization: String,
    /// Code of `ping-status`.
    pub status: String,
    /// Text of `error-message`.
    pub error: Option<String>,
    /// Correlation key of the exchange.
    pub correlation_key: String,
}

/// A Task of `requester` for `recipient` with a message name.
#[must_use]
pub fn task(process: &str, profile: &str, message: &str, requester: &str, recipient: &str) -> Value {
    json!({
        "resourceType": "Task",
        "meta": { "profile": [profile] },
        "instantiatesCanonical": process,
        "status": "requested",
        "intent": "order",
        "authoredOn": now(),
        "requester": organization(requester),
        "restriction": { "recipient": [organization(recipient)] },
        "input": [string_input(BPMN_MESSAGE, "message-name", message)],
    })
}

/// The Task that starts a ping of every site.
#[must_use]
pub fn start_ping(organization: &str) -> Value {
    let profile = "http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0";
    task("http://dsf.dev/bpe/Process/ping|1.0", profile, "startPing", organization, organization)
}

/// The Task by which `requester` pings `recipient`, with fresh keys.
#[must_use]
pub fn ping(requester: &Node, recipient: &Node) -> Value {
    let profile = "http://dsf.dev/fhir/StructureDefinition/task-ping|1.0";
    let (from, to) = (&requester.organization_identifier, &recipient.organization_identifier);
    let mut task = task("http://dsf.dev/bpe/Process/pong|1.0", profile, "ping", from, to);
    let endpoint = json!({
        "type": coding(PING, "endpoint-identifier"),
        "valueReference": { "type": "Endpoint", "identifier": { "system": ENDPOINT_IDENTIFIER, "value": requester.endpoint_identifier() } },
    });
    let inputs = task["input"].as_array_mut().expect("inputs");
    inputs.push(string_input(BPMN_MESSAGE, "business-key", &uuid::Uuid::new_v4().to_string()));
    inputs.push(string_input(BPMN_MESSAGE, "correlation-key", &uuid::Uuid::new_v4().to_string()));
    inputs.push(endpoint);
    task
}

/// A reference to an organisation by its identifier.
#[must_use]
pub fn organization(identifier: &str) -> Value {
    json!({ "type": "Organization", "identifier": { "system": ORGANIZATION_IDENTIFIER, "value": identifier } })
}

/// An input or output with a text.
#[must_use]
pub fn string_input(system: &str, code: &str, value: &str) -> Value {
    json!({ "type": coding(system, code), "valueString": value })
}

/// An input of the BPMN engine.
#[must_use]
pub fn message_input(code: &str, value: &str) -> Value {
    string_input(BPMN_MESSAGE, code, value)
}

fn coding(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

/// Now, as FHIR writes it.
#[must_use]
pub fn now() -> String {
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().replace_nanosecond(0).unwrap().format(&format).unwrap()
}

/// The text of an input or output by its code.
#[must_use]
pub fn value(task: &Value, list: &str, code: &str) -> Option<String> {
    let parameters = task[list].as_array()?;
    let found = parameters.iter().find(|parameter| {
        parameter["type"]["coding"]
            .as_array()
            .is_some_and(|codings| codings.iter().any(|coding| coding["code"] == code))
    })?;
    found["valueString"].as_str().map(str::to_owned)
}

/// Waits until a Task has ended and gives it.
pub async fn ended(client: &Client, id: &str, limit: Duration) -> Value {
    until(&format!("the end of Task {id}"), limit, async || {
        let answer =
            client.try_send("GET", &format!("/Task/{id}"), &[("accept", crate::client::JSON)], "").await.ok()?;
        let task = (answer.status == 200).then(|| answer.json())?;
        matches!(task["status"].as_str(), Some("completed" | "failed")).then_some(task)
    })
    .await
}

/// Runs a ping at the portal and gives what it said about each site.
pub async fn run_ping(portal: &Client, organization: &str) -> Vec<Reply> {
    let created = portal.post("/Task", &start_ping(organization)).await.expect(201);
    let task = ended(portal, &created.created_id(), PING_TIME).await;
    assert_eq!(task["status"], "completed", "{task:#}");
    replies(&task)
}

/// The outputs of a ping Task.
#[must_use]
pub fn replies(task: &Value) -> Vec<Reply> {
    let outputs = task["output"].as_array().cloned().unwrap_or_default();
    let status = outputs.iter().filter(|output| output["type"]["coding"][0]["code"] == "ping-status");
    status
        .map(|output| {
            let children = output["extension"][0]["extension"].as_array().cloned().unwrap_or_default();
            let child =
                |name: &str| children.iter().find(|child| child["url"].as_str().is_some_and(|url| url.ends_with(name)));
            let text = |child: Option<&Value>, path: &str| {
                child.and_then(|child| child.pointer(path)?.as_str()).map(str::to_owned)
            };
            Reply {
                organization: text(child("organization-identifier"), "/valueIdentifier/value").unwrap_or_default(),
                status: output["valueCoding"]["code"].as_str().unwrap_or_default().to_owned(),
                error: text(child("error-message"), "/valueString"),
                correlation_key: text(child("correlation-key"), "/valueString").unwrap_or_default(),
            }
        })
        .collect()
}

/// A Task of this module as XML.
///
/// # Panics
/// When it has an element that these Tasks do not have.
#[must_use]
pub fn to_xml(task: &Value) -> String {
    let mut xml = String::from("<Task xmlns=\"http://hl7.org/fhir\">");
    for name in [
        "meta",
        "identifier",
        "instantiatesCanonical",
        "status",
        "intent",
        "authoredOn",
        "requester",
        "restriction",
        "input",
    ] {
        element(&mut xml, name, &task[name]);
    }
    xml.push_str("</Task>");
    xml
}

fn element(xml: &mut String, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter().for_each(|item| element(xml, name, item)),
        Value::Object(members) => {
            xml.push_str(&format!("<{name}>"));
            // The order of FHIR, which XML demands; JSON of these Tasks is written in it.
            members.iter().for_each(|(name, value)| element(xml, name, value));
            xml.push_str(&format!("</{name}>"));
        }
        Value::String(text) => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            xml.push_str(&format!("<{name} value=\"{text}\"/>"));
        }
        Value::Bool(_) | Value::Number(_) => xml.push_str(&format!("<{name} value=\"{value}\"/>")),
    }
}
