use super::*;
use crate::world::*;

fn entry(method: &str, url: &str, full_url: &str, resource: Option<Resource>) -> String {
    let resource = resource.map_or(String::new(), |resource| {
        format!(r#""resource":{},"#, fhir::print(fhir::Format::Json, &resource, false))
    });
    format!(r#"{{"fullUrl":"{full_url}",{resource}"request":{{"method":"{method}","url":"{url}"}}}}"#)
}

fn bundle(entries: &[String]) -> Resource {
    json(&format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(",")))
}

fn organization(identifier: &str, certificates: &[char], active: bool) -> Resource {
    let mut resource = organization_resource("x", identifier, active, certificates, None);
    resource.push("endpoint", Object::new().with("reference", "urn:uuid:endpoint"));
    resource
}

fn put_organization(identifier: &str, certificates: &[char], active: bool) -> String {
    let url = format!("Organization?identifier=http://dsf.dev/sid/organization-identifier|{identifier}");
    entry("PUT", &url, "urn:uuid:organization", Some(organization(identifier, certificates, active)))
}

fn changed(entries: &[String]) -> Result<Difference, ChangeError> {
    let list = allow_list();
    apply(&list, &bundle(entries)).map(|next| difference(&list, &next))
}

#[test]
fn a_list_played_on_itself_changes_nothing() {
    let list = allow_list();
    let resources: Vec<Resource> = resources_of(&list).into_values().collect();
    let again = AllowList::from_resources(&resources, list.local().clone(), list.base_url()).with_processes_of(&list);
    assert!(difference(&list, &again).is_empty());
    assert_eq!(senders(&list), senders(&again));
}

#[test]
fn a_new_member_with_its_role_is_told_with_what_it_may_send() {
    let new = "dic-9.example";
    let mut affiliation = affiliation("x", "parent", "x", "x", "DIC", true);
    affiliation.set("participatingOrganization", Object::new().with("reference", "urn:uuid:organization"));
    affiliation.set("organization", Object::new().with("identifier", identifier(ORGANIZATION_IDENTIFIER, PARENT)));
    affiliation.set("endpoint", vec![Value::from(Object::new().with("reference", "urn:uuid:endpoint"))]);
    let mut endpoint = endpoint("x", "dsf.dic-9.example", "https://dsf.dic-9.example/fhir", "x");
    endpoint.set("managingOrganization", Object::new().with("reference", "urn:uuid:organization"));
    let found = changed(&[
        put_organization(new, &['9'], true),
        entry("PUT", "Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|dsf.dic-9.example", "urn:uuid:endpoint", Some(endpoint)),
        entry(
            "PUT",
            &format!("OrganizationAffiliation?primary-organization:identifier=http://dsf.dev/sid/organization-identifier|{PARENT}&participating-organization:identifier=http://dsf.dev/sid/organization-identifier|{new}"),
            "urn:uuid:affiliation",
            Some(affiliation),
        ),
    ])
    .unwrap();
    assert_eq!(found.added, [new]);
    let gained: Vec<&str> =
        found.messages.iter().filter(|change| change.gained).map(|change| change.message.as_str()).collect();
    assert_eq!(gained, ["members", "ping"]);
    assert!(found.messages.iter().all(|change| change.organization == new));
}

#[test]
fn certificates_and_members_that_go_are_told() {
    let rotated = changed(&[put_organization(MEMBER, &[MEMBER_CERTIFICATE, '9'], true)]).unwrap();
    assert_eq!(rotated.changed[0].certificates_added, ["9".repeat(128)]);
    assert!(rotated.changed[0].certificates_removed.is_empty() && rotated.added.is_empty());
    let gone = changed(&[put_organization(MEMBER, &[MEMBER_CERTIFICATE], false)]).unwrap();
    assert_eq!(gone.removed, [MEMBER]);
    assert!(gone.messages.iter().all(|change| !change.gained && change.organization == MEMBER));
    assert_eq!(gone.affected().collect::<Vec<_>>(), [MEMBER]);
    let deleted = changed(&[entry(
        "DELETE",
        "Organization?identifier=http://dsf.dev/sid/organization-identifier|dic-1.example",
        "urn:uuid:1",
        None,
    )])
    .unwrap();
    assert_eq!(deleted.removed, [MEMBER]);
}

#[test]
fn attack_a29_a_list_cannot_take_the_node_over() {
    let own = changed(&[put_organization(LOCAL, &[LOCAL_CERTIFICATE, '9'], true)]);
    assert!(matches!(own, Err(ChangeError::OwnOrganization { what: ResourceType::Organization, .. })), "{own:?}");
    let stolen = changed(&[put_organization("evil.example", &[LOCAL_CERTIFICATE], true)]);
    assert!(matches!(stolen, Err(ChangeError::Duplicate { .. })), "{stolen:?}");
    let disguised = entry(
        "PUT",
        &format!("Organization?identifier=http://dsf.dev/sid/organization-identifier|{MEMBER}"),
        "urn:uuid:1",
        Some(organization(LOCAL, &['9'], true)),
    );
    assert!(matches!(changed(&[disguised]), Err(ChangeError::Mismatch { .. })));
    let posted = entry("POST", "Organization", "urn:uuid:1", Some(organization("new.example", &['9'], true)));
    assert!(matches!(changed(&[posted]), Err(ChangeError::Entry { .. })));
    let patient = entry("PUT", "Patient?identifier=a|b", "urn:uuid:1", Some(Resource::new("Patient")));
    assert!(matches!(changed(&[patient]), Err(ChangeError::Entry { .. })));
}

#[test]
fn edge_t78_a_change_larger_than_the_policy_permits_is_named() {
    let most = Delta { organizations_added: 0, organizations_removed: 0, thumbprints_changed: 0 };
    let rotated = changed(&[put_organization(MEMBER, &['9'], true)]).unwrap();
    assert_eq!(rotated.exceeds(&most), ["thumbprints-changed: 1, more than 0"]);
    assert!(rotated.exceeds(&Delta::default()).is_empty());
}
