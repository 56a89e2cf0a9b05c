//! The small Task that everything here stores: the start of a ping by the node's own organisation.

use serde_json::{Value, json};

use crate::own_node::ORGANIZATION;

/// A Task with an identifier of its own.
pub(super) fn start_task(number: u64) -> Value {
    let organization = json!({
        "type": "Organization",
        "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": ORGANIZATION },
    });
    json!({
        "resourceType": "Task",
        "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0"] },
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:00000000-0000-4000-8000-{number:012x}") }],
        "instantiatesCanonical": "http://dsf.dev/bpe/Process/ping|1.0",
        "status": "requested",
        "intent": "order",
        "authoredOn": "2026-11-22T12:00:00.000Z",
        "requester": organization,
        "restriction": { "recipient": [organization] },
        "input": [{
            "type": { "coding": [{ "system": "http://dsf.dev/fhir/CodeSystem/bpmn-message", "code": "message-name" }] },
            "valueString": "startPing",
        }],
    })
}
