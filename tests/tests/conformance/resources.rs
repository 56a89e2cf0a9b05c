//! Small resources that are valid and can be varied.

use serde_json::{Value, json};
use uuid::Uuid;

const TAG: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const ORGANIZATION: &str = "http://dsf.dev/sid/organization-identifier";

/// A resource with read-access tags.
pub(crate) fn resource(resource_type: &str, tags: &[Value], members: Value) -> Value {
    let mut resource = json!({ "resourceType": resource_type, "meta": { "tag": tags } });
    let Value::Object(members) = members else { panic!("members of {resource_type}") };
    resource.as_object_mut().unwrap().extend(members);
    resource
}

pub(crate) fn coding(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

pub(crate) fn identifier(system: &str, value: &str) -> Value {
    json!({ "system": system, "value": value })
}

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4())
}

/// An id that no resource has.
pub(crate) fn unknown_id() -> String {
    Uuid::new_v4().to_string()
}

pub(crate) fn all() -> Value {
    coding(TAG, "ALL")
}

pub(crate) fn local() -> Value {
    coding(TAG, "LOCAL")
}

/// Readable by one organisation.
pub(crate) fn for_organization(name: &str) -> Value {
    let mut tag = coding(TAG, "ORGANIZATION");
    tag["extension"] = json!([{
        "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization",
        "valueIdentifier": identifier(ORGANIZATION, name),
    }]);
    tag
}

/// Readable by members of the parent organisation with a role.
pub(crate) fn for_role(parent: &str, role: &str) -> Value {
    let mut tag = coding(TAG, "ROLE");
    tag["extension"] = json!([{
        "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role",
        "extension": [
            { "url": "parent-organization", "valueIdentifier": identifier(ORGANIZATION, parent) },
            {
                "url": "organization-role",
                "valueCoding": coding("http://dsf.dev/fhir/CodeSystem/organization-role", role),
            },
        ],
    }]);
    tag
}

pub(crate) fn patient(tags: &[Value]) -> Value {
    resource("Patient", tags, json!({ "active": true }))
}

pub(crate) fn code_system(url: &str, version: &str, tags: &[Value]) -> Value {
    resource(
        "CodeSystem",
        tags,
        json!({
            "url": url,
            "version": version,
            "name": "Test",
            "status": "active",
            "date": "2026-01-01",
            "content": "complete",
            "concept": [{ "code": "a" }],
        }),
    )
}

pub(crate) fn value_set(url: &str, version: &str) -> Value {
    let include = json!([{ "system": "http://dsf.dev/fhir/CodeSystem/organization-role" }]);
    resource(
        "ValueSet",
        &[all()],
        json!({
            "url": url,
            "version": version,
            "name": "Test",
            "status": "active",
            "date": "2026-01-01",
            "compose": { "include": include },
        }),
    )
}

pub(crate) fn group(identifiers: &[(&str, &str)]) -> Value {
    let mut group = resource("Group", &[all()], json!({ "type": "person", "actual": true }));
    if !identifiers.is_empty() {
        let identifiers: Vec<Value> = identifiers.iter().map(|(system, value)| identifier(system, value)).collect();
        group["identifier"] = json!(identifiers);
    }
    group
}

pub(crate) fn document_reference(tags: &[Value]) -> Value {
    let content = json!([{ "attachment": { "url": "https://elsewhere.example/document" } }]);
    resource("DocumentReference", tags, json!({ "status": "current", "content": content }))
}

pub(crate) fn research_study(tags: &[Value], url: Option<&str>) -> Value {
    let artifacts: Vec<Value> = url.iter().map(|url| json!({ "type": "documentation", "url": url })).collect();
    let mut study = resource("ResearchStudy", tags, json!({ "status": "active" }));
    if !artifacts.is_empty() {
        study["relatedArtifact"] = json!(artifacts);
    }
    study
}

pub(crate) fn subscription(criteria: &str, payload: Option<&str>) -> Value {
    let mut channel = json!({ "type": "websocket" });
    if let Some(payload) = payload {
        channel["payload"] = json!(payload);
    }
    resource(
        "Subscription",
        &[local()],
        json!({
            "status": "active",
            "reason": "Test",
            "criteria": criteria,
            "channel": channel,
        }),
    )
}

pub(crate) fn questionnaire(url: &str, version: &str) -> Value {
    let item =
        |link_id: &str, text: &str| json!({ "linkId": link_id, "text": text, "type": "string", "required": true });
    resource(
        "Questionnaire",
        &[all()],
        json!({
            "url": url,
            "version": version,
            "name": "Test",
            "status": "active",
            "date": "2026-01-01",
            "subjectType": ["Organization"],
            "item": [
                item("user-task-id", "The user-task-id of the process execution"),
                { "linkId": "question", "text": "Yes?", "type": "boolean", "required": false },
            ],
        }),
    )
}

pub(crate) fn questionnaire_response(canonical: &str) -> Value {
    json!({
        "resourceType": "QuestionnaireResponse",
        "questionnaire": canonical,
        "status": "in-progress",
        "item": [{
            "linkId": "user-task-id",
            "text": "The user-task-id of the process execution",
            "answer": [{ "valueString": unknown_id() }],
        }],
    })
}

/// A Binary in its FHIR form; `content` is base64.
pub(crate) fn binary(tags: &[Value], content: &str) -> Value {
    resource("Binary", tags, json!({ "contentType": "text/plain", "data": content }))
}

/// A Binary that its context makes readable.
pub(crate) fn binary_of(context: &str, content: &str) -> Value {
    json!({
        "resourceType": "Binary",
        "contentType": "text/plain",
        "securityContext": { "reference": context },
        "data": content,
    })
}

pub(crate) fn organization_reference(name: &str) -> Value {
    json!({ "type": "Organization", "identifier": identifier(ORGANIZATION, name) })
}

pub(crate) fn message_input(code: &str, value: &str) -> Value {
    json!({ "type": { "coding": [coding(BPMN_MESSAGE, code)] }, "valueString": value })
}

/// An input that the profile of the test process leaves open.
pub(crate) fn reference_input(reference: Value) -> Value {
    json!({ "type": { "coding": [coding("http://test.example/codes", "data")] }, "valueReference": reference })
}

/// An entry of a Bundle with a temporary id.
pub(crate) fn entry(method: &str, url: &str, resource: &Value) -> Value {
    json!({
        "fullUrl": format!("urn:uuid:{}", Uuid::new_v4()),
        "resource": resource,
        "request": { "method": method, "url": url },
    })
}

/// An entry that creates.
pub(crate) fn post(resource: &Value) -> Value {
    entry("POST", resource["resourceType"].as_str().unwrap(), resource)
}

/// An entry without resource.
pub(crate) fn request(method: &str, url: &str) -> Value {
    json!({ "request": { "method": method, "url": url } })
}

/// The status lines of a response Bundle.
pub(crate) fn statuses(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Modes of the entries of a searchset.
pub(crate) fn modes(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["search"]["mode"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The relations of the links of a result.
pub(crate) fn relations(bundle: &Value) -> Vec<String> {
    let links = bundle["link"].as_array().cloned().unwrap_or_default();
    links.iter().map(|link| link["relation"].as_str().unwrap_or_default().to_owned()).collect()
}
