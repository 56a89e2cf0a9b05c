use super::{check_create, check_update};
use fhir::{Limits, Resource};
use policies::{Identity, PersonIdentity};

const AUTHOR: &str =
    r#""author":{"identifier":{"system":"http://dsf.dev/sid/practitioner-identifier","value":"p@test.example"}}"#;
const ROLE_SYSTEM: &str = "http://dsf.dev/fhir/CodeSystem/practitioner-role";

fn person(role: &str) -> Identity {
    Identity::Person(PersonIdentity {
        organization: "test.example".parse().unwrap(),
        endpoint: None,
        identifier: "p@test.example".parse().unwrap(),
        thumbprint: "1".repeat(128).parse().unwrap(),
        dsf_roles: Vec::new(),
        practitioner_roles: vec![format!("{ROLE_SYSTEM}|{role}").parse().unwrap()],
        granted_by: Vec::new(),
    })
}

fn response(status: &str, extension: &str, more: &str) -> Resource {
    let text = format!(
        r#"{{"resourceType":"QuestionnaireResponse","questionnaire":"http://q|1","status":"{status}",{extension}"item":[{{"linkId":"user-task-id","answer":[{{"valueString":"1"}}]}}]{more}}}"#
    );
    fhir::json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn extension(part: &str) -> String {
    format!(
        r#""extension":[{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization","extension":[{part}]}}],"#
    )
}

#[test]
fn fhir_094_a_person_completes_what_the_stored_resource_authorizes() {
    let role = |code: &str| {
        format!(r#"{{"url":"practitioner-role","valueCoding":{{"system":"{ROLE_SYSTEM}","code":"{code}"}}}}"#)
    };
    let named = |value: &str| {
        format!(
            r#"{{"url":"practitioner","valueIdentifier":{{"system":"http://dsf.dev/sid/practitioner-identifier","value":"{value}"}}}}"#
        )
    };
    let table = [
        (String::new(), true),
        (extension(&role("DIC_USER")), true),
        (extension(&role("COS_USER")), false),
        (extension(&named("p@test.example")), true),
        (extension(&named("q@test.example")), false),
        // An extension that authorizes nobody does not authorize everybody.
        (extension(r#"{"url":"unknown","valueString":"x"}"#), false),
    ];
    let done = format!(r#","authored":"2026-01-01T10:00:00Z",{AUTHOR}"#);
    for (extension, permitted) in table {
        let old = response("in-progress", &extension, "");
        let new = response("completed", &extension, &done);
        assert_eq!(check_update(&old, &new, &person("DIC_USER")).is_ok(), permitted, "{extension}");
    }
}

#[test]
fn fhir_094_the_authorization_of_the_new_version_does_not_count_and_must_not_change() {
    let closed = extension(&format!(
        r#"{{"url":"practitioner-role","valueCoding":{{"system":"{ROLE_SYSTEM}","code":"COS_USER"}}}}"#
    ));
    let done = format!(r#","authored":"2026-01-01T10:00:00Z",{AUTHOR}"#);
    let opened = response("completed", "", &done);
    assert!(check_update(&response("in-progress", &closed, ""), &opened, &person("DIC_USER")).is_err());
    let closing = response("completed", &closed, &done);
    assert!(check_update(&response("in-progress", "", ""), &closing, &person("DIC_USER")).is_err());
}

#[test]
fn only_administrators_create_stop_and_amend() {
    let (admin, user) = (person("DSF_ADMIN"), person("DIC_USER"));
    let open = response("in-progress", "", "");
    assert!(check_create(&open, &admin).is_ok());
    assert!(check_create(&open, &user).is_err());
    assert!(check_create(&response("completed", "", ""), &admin).is_err());
    for (from, to) in [("in-progress", "stopped"), ("completed", "amended")] {
        let (old, new) = (response(from, "", ""), response(to, "", ""));
        assert!(check_update(&old, &new, &admin).is_ok());
        assert!(check_update(&old, &new, &user).is_err());
        assert!(check_update(&old, &response(to, "", r#","language":"de""#), &admin).is_err());
    }
    assert!(check_update(&response("amended", "", ""), &open, &admin).is_err());
}
