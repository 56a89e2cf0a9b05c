//! What a node under test holds at the beginning: `fhir-api` section 9.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::resources::{all, coding, entry, identifier, message_input, organization_reference, resource};

/// The own organisation.
pub(crate) const LOCAL: &str = "Test_Organization";
/// Its endpoint.
pub(crate) const LOCAL_ENDPOINT: &str = "Test_Endpoint";
/// The other organisation.
pub(crate) const EXTERNAL: &str = "External_Test_Organization";
/// Its endpoint.
pub(crate) const EXTERNAL_ENDPOINT: &str = "External_Test_Endpoint";
/// The consortium that both belong to.
pub(crate) const PARENT: &str = "Parent_Organization";
/// Process of the fixtures; its definitions AD1 to AD14 are versions 1.1 to 1.14.
pub(crate) const PROCESS: &str = "http://dsf.dev/bpe/Process/test";
/// Profile of its Tasks.
pub(crate) const PROFILE: &str = "http://dsf.dev/fhir/StructureDefinition/test-task";

const ORGANIZATION: &str = "http://dsf.dev/sid/organization-identifier";
const ENDPOINT: &str = "http://dsf.dev/sid/endpoint-identifier";
const ROLE: &str = "http://dsf.dev/fhir/CodeSystem/organization-role";
const USER_ROLE: &str = "http://dsf.dev/fhir/CodeSystem/practitioner-role";
const DEFINITIONS: &str = "http://dsf.dev/fhir/StructureDefinition";

/// Mail address and practitioner identifier of a person.
pub(crate) fn person(name: &str) -> String {
    format!("{name}@test.example")
}

/// The initial Bundle of a node.
pub(crate) fn bundle(base: &str, thumbprint: &dyn Fn(&str) -> String, partner: u16) -> Value {
    let [parent, local, external, local_endpoint, external_endpoint] =
        std::array::from_fn(|_| format!("urn:uuid:{}", Uuid::new_v4()));
    let mut entries = vec![
        put(&parent, &format!("Organization?identifier={ORGANIZATION}|{PARENT}"), parent_organization(PARENT)),
        put(
            &local,
            &format!("Organization?identifier={ORGANIZATION}|{LOCAL}"),
            organization(LOCAL, &[thumbprint("loc")], &local_endpoint),
        ),
        put(
            &external,
            &format!("Organization?identifier={ORGANIZATION}|{EXTERNAL}"),
            organization(EXTERNAL, &[thumbprint("ext")], &external_endpoint),
        ),
        put(
            &local_endpoint,
            &format!("Endpoint?identifier={ENDPOINT}|{LOCAL_ENDPOINT}"),
            endpoint(LOCAL_ENDPOINT, base, &json!({ "reference": local })),
        ),
        put(
            &external_endpoint,
            &format!("Endpoint?identifier={ENDPOINT}|{EXTERNAL_ENDPOINT}"),
            endpoint(
                EXTERNAL_ENDPOINT,
                &format!("https://localhost:{partner}/fhir"),
                &json!({ "reference": external }),
            ),
        ),
    ];
    for (member, urn, endpoint, roles) in
        [(LOCAL, &local, &local_endpoint, ["DIC", "COS"]), (EXTERNAL, &external, &external_endpoint, ["TTP", "DTS"])]
    {
        let condition = format!(
            "OrganizationAffiliation?primary-organization:identifier={ORGANIZATION}|{PARENT}&participating-organization:identifier={ORGANIZATION}|{member}"
        );
        let affiliation = affiliation(&parent, urn, endpoint, &roles);
        entries.push(put(&format!("urn:uuid:{}", Uuid::new_v4()), &condition, affiliation));
    }
    entries.push(post_once(task_profile(PROFILE, "1.0")));
    entries.extend(activity_definitions().into_iter().map(post_once));
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

fn put(full_url: &str, url: &str, resource: Value) -> Value {
    json!({ "fullUrl": full_url, "resource": resource, "request": { "method": "PUT", "url": url } })
}

fn post_once(resource: Value) -> Value {
    let mut entry = entry("POST", resource["resourceType"].as_str().unwrap(), &resource);
    let (url, version) = (resource["url"].as_str().unwrap(), resource["version"].as_str().unwrap());
    entry["request"]["ifNoneExist"] = json!(format!("url={url}&version={version}"));
    entry
}

pub(crate) fn parent_organization(name: &str) -> Value {
    let mut parent = resource(
        "Organization",
        &[all()],
        json!({
            "identifier": [identifier(ORGANIZATION, name)],
            "active": true,
            "name": name,
        }),
    );
    parent["meta"]["profile"] = json!([format!("{DEFINITIONS}/organization-parent")]);
    parent
}

pub(crate) fn organization(name: &str, thumbprints: &[String], endpoint: &str) -> Value {
    let thumbprints: Vec<Value> = thumbprints
        .iter()
        .map(|value| json!({ "url": format!("{DEFINITIONS}/extension-certificate-thumbprint"), "valueString": value }))
        .collect();
    resource(
        "Organization",
        &[all()],
        json!({
            "extension": thumbprints,
            "identifier": [identifier(ORGANIZATION, name)],
            "active": true,
            "name": name,
            "endpoint": [{ "reference": endpoint }],
        }),
    )
}

pub(crate) fn endpoint(name: &str, address: &str, managing: &Value) -> Value {
    resource(
        "Endpoint",
        &[all()],
        json!({
            "identifier": [identifier(ENDPOINT, name)],
            "status": "active",
            "connectionType": coding("http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "hl7-fhir-rest"),
            "name": name,
            "managingOrganization": managing,
            "payloadType": [{ "coding": [coding("http://hl7.org/fhir/resource-types", "Task")] }],
            "payloadMimeType": ["application/fhir+json", "application/fhir+xml"],
            "address": address,
        }),
    )
}

pub(crate) fn affiliation(parent: &str, member: &str, endpoint: &str, roles: &[&str]) -> Value {
    let codings: Vec<Value> = roles.iter().map(|role| coding(ROLE, role)).collect();
    resource(
        "OrganizationAffiliation",
        &[all()],
        json!({
            "active": true,
            "organization": { "reference": parent },
            "participatingOrganization": { "reference": member },
            "code": [{ "coding": codings }],
            "endpoint": [{ "reference": endpoint }],
        }),
    )
}

pub(crate) fn task_profile(url: &str, version: &str) -> Value {
    resource(
        "StructureDefinition",
        &[all()],
        json!({
            "url": url,
            "version": version,
            "name": "TestTask",
            "status": "active",
            "date": "2026-01-01",
            "fhirVersion": "4.0.1",
            "kind": "resource",
            "abstract": false,
            "type": "Task",
            "baseDefinition": format!("{DEFINITIONS}/task"),
            "derivation": "constraint",
            "differential": { "element": [
                { "id": "Task.input:message-name", "path": "Task.input", "sliceName": "message-name" },
                { "id": "Task.input:message-name.value[x]", "path": "Task.input.value[x]", "fixedString": "test-message" },
            ] },
        }),
    )
}

/// Who may ask and who may be asked, AD1 to AD14.
fn activity_definitions() -> Vec<Value> {
    let local = || party("LOCAL_ALL", None);
    let role = |code, role| party(code, Some(("parent-organization-role", json!({ "extension": member(role) }))));
    let user = |role| coding(USER_ROLE, role);
    let practitioner =
        |role| party("LOCAL_ALL_PRACTITIONER", Some(("practitioner", json!({ "valueCoding": user(role) }))));
    let organization =
        |code, name| party(code, Some(("organization", json!({ "valueIdentifier": identifier(ORGANIZATION, name) }))));
    let organization_practitioner = |role| {
        let parts = json!([
            { "url": "organization", "valueIdentifier": identifier(ORGANIZATION, LOCAL) },
            { "url": "practitioner-role", "valueCoding": user(role) },
        ]);
        party("LOCAL_ORGANIZATION_PRACTITIONER", Some(("organization-practitioner", json!({ "extension": parts }))))
    };
    let role_practitioner = |organization_role, role| {
        let mut parts = member(organization_role);
        parts.push(json!({ "url": "practitioner-role", "valueCoding": user(role) }));
        party("LOCAL_ROLE_PRACTITIONER", Some(("parent-organization-role-practitioner", json!({ "extension": parts }))))
    };
    let table = [
        (vec![local()], local()),
        (vec![party("REMOTE_ALL", None)], local()),
        (vec![organization("REMOTE_ORGANIZATION", EXTERNAL)], role("LOCAL_ROLE", "DIC")),
        (vec![role("REMOTE_ROLE", "DTS")], role("LOCAL_ROLE", "COS")),
        (vec![practitioner("DIC_USER")], local()),
        (vec![practitioner("UAC_USER")], local()),
        (vec![organization_practitioner("DIC_USER")], role("LOCAL_ROLE", "DIC")),
        (vec![organization_practitioner("COS_USER")], role("LOCAL_ROLE", "COS")),
        (vec![role_practitioner("DIC", "DIC_USER")], role("LOCAL_ROLE", "COS")),
        (vec![role_practitioner("COS", "COS_USER")], role("LOCAL_ROLE", "COS")),
        (vec![organization("LOCAL_ORGANIZATION", LOCAL)], local()),
        (vec![role("LOCAL_ROLE", "DIC")], local()),
        (vec![practitioner("DIC_USER"), local()], local()),
        (vec![local()], role("LOCAL_ROLE", "TTP")),
    ];
    let definition = |(index, (requesters, recipient)): (usize, (Vec<Value>, Value))| {
        activity_definition(PROCESS, &format!("1.{}", index + 1), &requesters, &recipient)
    };
    table.into_iter().enumerate().map(definition).collect()
}

pub(crate) fn activity_definition(url: &str, version: &str, requesters: &[Value], recipient: &Value) -> Value {
    let mut parts = vec![
        json!({ "url": "message-name", "valueString": "test-message" }),
        json!({ "url": "task-profile", "valueCanonical": format!("{PROFILE}|1.0") }),
    ];
    parts.extend(requesters.iter().map(|party| json!({ "url": "requester", "valueCoding": party })));
    parts.push(json!({ "url": "recipient", "valueCoding": recipient }));
    resource(
        "ActivityDefinition",
        &[all()],
        json!({
            "extension": [{ "url": format!("{DEFINITIONS}/extension-process-authorization"), "extension": parts }],
            "url": url,
            "version": version,
            "name": "Test",
            "status": "active",
            "date": "2026-01-01",
            "kind": "Task",
        }),
    )
}

/// A coding of process authorisation with the extension that says whom it means.
pub(crate) fn party(code: &str, meant: Option<(&str, Value)>) -> Value {
    let mut coding = coding("http://dsf.dev/fhir/CodeSystem/process-authorization", code);
    if let Some((name, mut extension)) = meant {
        extension["url"] = json!(format!("{DEFINITIONS}/extension-process-authorization-{name}"));
        coding["extension"] = json!([extension]);
    }
    coding
}

fn member(role: &str) -> Vec<Value> {
    vec![
        json!({ "url": "parent-organization", "valueIdentifier": identifier(ORGANIZATION, PARENT) }),
        json!({ "url": "organization-role", "valueCoding": coding(ROLE, role) }),
    ]
}

/// Who is meant by a name of this suite: `loc`, `ext`, or a person.
pub(crate) fn requester(who: &str) -> Value {
    match who {
        "loc" => organization_reference(LOCAL),
        "ext" => organization_reference(EXTERNAL),
        person_name => json!({
            "type": "Practitioner",
            "identifier": identifier("http://dsf.dev/sid/practitioner-identifier", &person(person_name)),
        }),
    }
}

/// A Task of the test process under AD `definition` to the own organisation.
pub(crate) fn task(who: &str, definition: u8) -> Value {
    json!({
        "resourceType": "Task",
        "meta": { "profile": [format!("{PROFILE}|1.0")] },
        "instantiatesCanonical": format!("{PROCESS}|1.{definition}"),
        "status": "requested",
        "intent": "order",
        "authoredOn": "2026-01-01T10:00:00+01:00",
        "requester": requester(who),
        "restriction": { "recipient": [organization_reference(LOCAL)] },
        "input": [message_input("message-name", "test-message")],
    })
}

/// The same as a draft with a task identifier of its own.
pub(crate) fn draft(who: &str) -> Value {
    let mut draft = task(who, 1);
    draft["status"] = json!("draft");
    let name = format!("http://dsf.dev/bpe/Process/test/1.1/{}", Uuid::new_v4());
    draft["identifier"] = json!([identifier("http://dsf.dev/sid/task-identifier", &name)]);
    draft
}
