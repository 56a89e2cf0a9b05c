//! A small consortium for tests: a hospital with two persons, partners with and without roles, a process.
//!
//! Used by unit tests and integration tests alike, hence the `policies::` paths.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use fhir::{Format, Resource};
use policies::{AllowList, Context, Identity, Origin, Policy, Thumbprint};

pub const LOCAL: &str = "hospital.example";
pub const MEMBER: &str = "dic-1.example";
pub const OTHER: &str = "dic-2.example";
pub const INACTIVE: &str = "gone.example";
pub const PARENT: &str = "consortium.example";
pub const BASE: &str = "https://hospital.example/fhir";

pub const LOCAL_CERTIFICATE: char = 'a';
pub const MEMBER_CERTIFICATE: char = 'b';
pub const OTHER_CERTIFICATE: char = 'c';
pub const INACTIVE_CERTIFICATE: char = 'd';
pub const ADMIN_CERTIFICATE: char = '1';
pub const PERSON_CERTIFICATE: char = '2';
pub const STRANGER_CERTIFICATE: char = 'f';

pub fn thumbprint(digit: char) -> Thumbprint {
    digit.to_string().repeat(128).parse().unwrap()
}

pub fn json(text: &str) -> Resource {
    fhir::parse(Format::Json, text.as_bytes(), &fhir::Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn organization_resource(
    id: &str,
    identifier: &str,
    active: bool,
    certificates: &[char],
    endpoint: Option<&str>,
) -> Resource {
    let extensions: Vec<String> = certificates
        .iter()
        .map(|digit| {
            let url = policies::resource_rules::THUMBPRINT_EXTENSION;
            format!(r#"{{"url":"{url}","valueString":"{}"}}"#, thumbprint(*digit))
        })
        .collect();
    let extension =
        if extensions.is_empty() { String::new() } else { format!(r#""extension":[{}],"#, extensions.join(",")) };
    let endpoint = endpoint.map_or(String::new(), |id| format!(r#","endpoint":[{{"reference":"Endpoint/{id}"}}]"#));
    json(&format!(
        r#"{{"resourceType":"Organization","id":"{id}",{extension}"identifier":[{{"system":"http://dsf.dev/sid/organization-identifier","value":"{identifier}"}}],"active":{active},"name":"{identifier}"{endpoint}}}"#
    ))
}

pub fn endpoint(id: &str, identifier: &str, address: &str, organization: &str) -> Resource {
    json(&format!(
        r#"{{"resourceType":"Endpoint","id":"{id}","identifier":[{{"system":"http://dsf.dev/sid/endpoint-identifier","value":"{identifier}"}}],"status":"active","managingOrganization":{{"reference":"Organization/{organization}"}},"address":"{address}"}}"#
    ))
}

pub fn affiliation(id: &str, parent: &str, member: &str, endpoint: &str, role: &str, active: bool) -> Resource {
    json(&format!(
        r#"{{"resourceType":"OrganizationAffiliation","id":"{id}","active":{active},"organization":{{"reference":"Organization/{parent}"}},"participatingOrganization":{{"reference":"{BASE}/Organization/{member}"}},"code":[{{"coding":[{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"{role}"}}]}}],"endpoint":[{{"reference":"Endpoint/{endpoint}"}}]}}"#
    ))
}

pub fn party(kind: &str, code: &str, inner: &str) -> String {
    let extension = if inner.is_empty() { String::new() } else { format!(r#","extension":[{inner}]"#) };
    format!(
        r#"{{"url":"{kind}","valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/process-authorization","code":"{code}"{extension}}}}}"#
    )
}

/// The inner extension of `REMOTE_ROLE` and `LOCAL_ROLE`.
pub fn parent_role(parent: &str, role: &str) -> String {
    format!(
        r#"{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-parent-organization-role","extension":[{{"url":"parent-organization","valueIdentifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{parent}"}}}},{{"url":"organization-role","valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"{role}"}}}}]}}"#
    )
}

pub fn message(name: &str, parties: &[String]) -> String {
    format!(
        r#"{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-process-authorization","extension":[{{"url":"message-name","valueString":"{name}"}},{{"url":"task-profile","valueCanonical":"http://dsf.dev/fhir/StructureDefinition/task-{name}|1.0"}},{}]}}"#,
        parties.join(",")
    )
}

pub fn activity_definition(id: &str, name: &str, status: &str, messages: &[String]) -> Resource {
    json(&format!(
        r#"{{"resourceType":"ActivityDefinition","id":"{id}","extension":[{}],"url":"http://dsf.dev/bpe/Process/{name}","version":"1.0","status":"{status}"}}"#,
        messages.join(",")
    ))
}

/// Every resource of the hospital's store.
pub fn resources() -> Vec<Resource> {
    let any = || party("recipient", "LOCAL_ALL", "");
    vec![
        organization_resource("local", LOCAL, true, &[LOCAL_CERTIFICATE], Some("local-endpoint")),
        organization_resource("member", MEMBER, true, &[MEMBER_CERTIFICATE], Some("member-endpoint")),
        organization_resource("other", OTHER, true, &[OTHER_CERTIFICATE], Some("other-endpoint")),
        organization_resource("inactive", INACTIVE, false, &[INACTIVE_CERTIFICATE], None),
        organization_resource("parent", PARENT, true, &[], None),
        endpoint("local-endpoint", "hospital.example", BASE, "local"),
        endpoint("member-endpoint", "dsf.dic-1.example", "https://dsf.dic-1.example/fhir", "member"),
        endpoint("other-endpoint", "dsf.dic-2.example", "https://dsf.dic-2.example/fhir", "other"),
        affiliation("member-affiliation", "parent", "member", "member-endpoint", "DIC", true),
        affiliation("local-affiliation", "parent", "local", "local-endpoint", "DIC", true),
        affiliation("old-affiliation", "parent", "other", "other-endpoint", "DIC", false),
        activity_definition(
            "pong",
            "pong",
            "active",
            &[
                message("ping", &[party("requester", "REMOTE_ALL", ""), party("requester", "LOCAL_ALL", ""), any()]),
                message("members", &[party("requester", "REMOTE_ROLE", &parent_role(PARENT, "DIC")), any()]),
                message("local", &[party("requester", "LOCAL_ALL", ""), any()]),
            ],
        ),
        activity_definition(
            "retired",
            "retired",
            "retired",
            &[message("ping", &[party("requester", "REMOTE_ALL", ""), any()])],
        ),
    ]
}

pub fn allow_list() -> AllowList {
    AllowList::from_resources(&resources(), LOCAL.parse().unwrap(), BASE)
}

/// Persons of the hospital, as a policy file.
pub fn identity_file() -> String {
    let admin = thumbprint(ADMIN_CERTIFICATE);
    let person = thumbprint(PERSON_CERTIFICATE);
    format!(
        r#"
[[identity.person]]
id = "admins"
thumbprint = ["{admin}"]
dsf-role = ["READ", "SEARCH", "HISTORY", "CREATE", "UPDATE", "DELETE", "PERMANENT_DELETE", "WEBSOCKET"]
practitioner-role = ["http://dsf.dev/fhir/CodeSystem/practitioner-role|DSF_ADMIN"]
networks = ["10.0.0.0/8"]

[[identity.person]]
id = "readers"
thumbprint = "{person}"
dsf-role = ["READ", "SEARCH", "CREATE[Task]", "UPDATE[QuestionnaireResponse]"]
practitioner-role = ["http://dsf.dev/fhir/CodeSystem/practitioner-role|DIC_USER"]
"#
    )
}

/// The shipped policy with the persons of the hospital.
pub fn hospital_policy() -> Policy {
    let identity = identity_file();
    let files: Vec<(&str, &str)> = policies::default_files()
        .iter()
        .map(|(name, text)| (*name, if *name == "identity.toml" { identity.as_str() } else { *text }))
        .collect();
    load(&files)
}

/// The strict example with the persons of the hospital.
pub fn strict_policy() -> Policy {
    load(&[("strict.toml", policies::strict_example()), ("identity.toml", &identity_file())])
}

pub fn load(files: &[(&str, &str)]) -> Policy {
    Policy::load(files).unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

pub fn identify(digit: char) -> Identity {
    allow_list().identify(&thumbprint(digit), None, &hospital_policy())
}

pub fn from(address: &str) -> Context {
    Context {
        now: time::OffsetDateTime::UNIX_EPOCH,
        origin: Origin::Address(address.parse().unwrap()),
        body_bytes: None,
    }
}

pub fn inside() -> Context {
    from("10.1.2.3")
}

/// A Task that `requester` sends to the hospital.
pub fn sent_task(requester: &str, message: &str) -> String {
    format!(
        r#"{{"resourceType":"Task","meta":{{"profile":["http://dsf.dev/fhir/StructureDefinition/task-{message}|1.0"]}},"instantiatesCanonical":"http://dsf.dev/bpe/Process/pong|1.0","status":"requested","intent":"order","requester":{{"type":"Organization","identifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{requester}"}}}},"restriction":{{"recipient":[{{"type":"Organization","identifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{LOCAL}"}}}}]}},"input":[{{"type":{{"coding":[{{"system":"http://dsf.dev/fhir/CodeSystem/bpmn-message","code":"message-name"}}]}},"valueString":"{message}"}}]}}"#
    )
}
