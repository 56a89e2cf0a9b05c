use super::*;
use crate::tests::support::resource;

fn sees(filter: &ReadFilter, json: &str) -> bool {
    let resource = resource(json);
    match access(resource.resource_type().unwrap(), &resource, None) {
        Access::Own(grants) => filter.grants().is_none_or(|held| grants.iter().any(|grant| held.contains(grant))),
        Access::As { .. } => panic!("no context here"),
    }
}

fn local() -> ReadFilter {
    ReadFilter::local_organization("own.org", &[])
}

fn remote(identifier: &str) -> ReadFilter {
    ReadFilter::remote_organization(identifier, &[])
}

fn person(identifier: &str, roles: &[&str], is_administrator: bool) -> ReadFilter {
    let roles: Vec<_> = roles.iter().map(|role| ("sys".to_owned(), (*role).to_owned())).collect();
    ReadFilter::practitioner("own.org", &[], identifier, &roles, is_administrator)
}

#[test]
fn fhir_093_a_task_is_seen_by_recipient_and_requester() {
    let task = |status: &str, system: &str, requester: &str| {
        format!(
            "{{'resourceType':'Task','status':'{status}','requester':{{'identifier':{{'system':'http://dsf.dev/sid/{system}','value':'{requester}'}}}},\
             'restriction':{{'recipient':[{{'identifier':{{'system':'http://dsf.dev/sid/organization-identifier','value':'own.org'}}}}]}}}}"
        )
    };
    let foreign = task("requested", "organization-identifier", "a.org");
    assert!(sees(&local(), &foreign));
    assert!(sees(&remote("a.org"), &foreign));
    assert!(!sees(&remote("b.org"), &foreign));
    assert!(!sees(&remote("own.org"), &foreign), "a partner is no recipient here");
    assert!(sees(&person("x@own.org", &[], true), &foreign));
    assert!(!sees(&person("x@own.org", &[], false), &foreign));
    let own = task("requested", "practitioner-identifier", "x@own.org");
    assert!(sees(&person("x@own.org", &[], false), &own));
    assert!(!sees(&person("y@own.org", &[], false), &own));
    assert!(!sees(&remote("x@own.org"), &own), "a person's identifier is no organisation's");
    let draft = task("draft", "organization-identifier", "own.org");
    assert!(sees(&person("y@own.org", &[], false), &draft));
    assert!(!sees(&remote("a.org"), &draft));
}

#[test]
fn an_answer_is_seen_by_administration_and_those_it_names() {
    let open = "{'resourceType':'QuestionnaireResponse'}";
    assert!(sees(&local(), open));
    assert!(sees(&person("x@own.org", &[], false), open));
    assert!(!sees(&remote("a.org"), open));
    let named = "{'resourceType':'QuestionnaireResponse','extension':[{'url':'http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization',\
        'extension':[{'url':'practitioner','valueIdentifier':{'system':'http://dsf.dev/sid/practitioner-identifier','value':'x@own.org'}},\
        {'url':'practitioner-role','valueCoding':{'system':'sys','code':'UAC_USER'}}]}]}";
    assert!(sees(&local(), named));
    assert!(sees(&person("x@own.org", &[], false), named));
    assert!(sees(&person("y@own.org", &["UAC_USER"], false), named));
    assert!(!sees(&person("y@own.org", &["DIC_USER"], false), named));
    assert!(sees(&person("y@own.org", &[], true), named));
}

#[test]
fn broken_tags_grant_nothing() {
    for tag in [
        "{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'all'}",
        "{'system':'http://other','code':'ALL'}",
        "{'code':'ALL'}",
        "{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ORGANIZATION'}",
        "{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ORGANIZATION','extension':[{'url':'http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization','valueIdentifier':{'value':'a.org'}}]}",
        "{'system':'http://dsf.dev/fhir/CodeSystem/read-access-tag','code':'ROLE','extension':[{'url':'http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role'}]}",
    ] {
        let json = format!("{{'resourceType':'Library','meta':{{'tag':[{tag}]}}}}");
        assert!(!sees(&remote("a.org"), &json), "{tag}");
        assert!(!sees(&local(), &json), "{tag}");
        assert!(sees(&ReadFilter::everything(), &json));
    }
}

#[test]
fn grants_of_different_parts_are_never_equal() {
    let membership = |parent: &str, role: &str| Membership {
        parent: parent.to_owned(),
        role_system: "s".to_owned(),
        role: role.to_owned(),
    };
    assert_eq!(Grant::role(&membership("a\u{1f}s", "b")), None);
    assert_eq!(Grant::organization("a\u{1f}b"), None);
    assert_eq!(Grant::organization(""), None);
    assert_ne!(Grant::role(&membership("a", "b")), Grant::role(&membership("b", "a")));
    assert_ne!(Grant::organization("ALL").unwrap(), Grant::all());
}

#[test]
fn only_references_to_resources_of_this_node_are_a_context() {
    let parse = |text: &str| local_reference(text, Some("https://own.org/fhir")).map(|(a, b)| format!("{a} {b}"));
    assert_eq!(parse("Patient/1").as_deref(), Some("Patient 1"));
    assert_eq!(parse("Patient/1/_history/2").as_deref(), Some("Patient 1"));
    assert_eq!(parse("https://own.org/fhir/Patient/1").as_deref(), Some("Patient 1"));
    for text in ["Patient", "Patient/", "Other/1", "https://a/Patient/1", "Patient/1/x", "Patient/1/_history/2/3", ""] {
        assert_eq!(parse(text), None, "{text}");
    }
}
