use super::*;
use crate::world::*;

fn with(change: impl FnOnce(&mut Vec<Resource>)) -> AllowList {
    let mut resources = resources();
    change(&mut resources);
    AllowList::from_resources(&resources, LOCAL.parse().unwrap(), BASE)
}

fn who(list: &AllowList, digit: char) -> Identity {
    list.identify(&thumbprint(digit), None, &hospital_policy())
}

#[test]
fn certificates_identify_their_organisation() {
    let list = allow_list();
    let Identity::Local(local) = who(&list, LOCAL_CERTIFICATE) else { panic!() };
    assert_eq!((local.identifier.as_str(), local.endpoint.unwrap().as_str()), (LOCAL, "hospital.example"));
    let Identity::Remote(member) = who(&list, MEMBER_CERTIFICATE) else { panic!() };
    assert_eq!((member.identifier.as_str(), member.endpoint.unwrap().as_str()), (MEMBER, "dsf.dic-1.example"));
    assert_eq!(who(&list, INACTIVE_CERTIFICATE), Identity::Unknown);
    assert_eq!(who(&list, STRANGER_CERTIFICATE), Identity::Unknown);
}

#[test]
fn edge_t21_a_thumbprint_of_two_organisations_identifies_nobody() {
    let list = with(|all| all.push(organization_resource("twin", "twin.example", true, &[MEMBER_CERTIFICATE], None)));
    assert_eq!(who(&list, MEMBER_CERTIFICATE), Identity::Unknown);
    // Neither does it open the way to a person of the policy with that thumbprint.
    let list = with(|all| {
        all.push(organization_resource("x", "x.example", true, &[ADMIN_CERTIFICATE], None));
        all.push(organization_resource("y", "y.example", true, &[ADMIN_CERTIFICATE], None));
    });
    assert_eq!(who(&list, ADMIN_CERTIFICATE), Identity::Unknown);
    // An inactive organisation claims nothing.
    let list = with(|all| all.push(organization_resource("twin", "twin.example", false, &[MEMBER_CERTIFICATE], None)));
    assert!(matches!(who(&list, MEMBER_CERTIFICATE), Identity::Remote(_)));
}

#[test]
fn two_resources_with_one_identifier_identify_nobody() {
    let list = with(|all| all.push(organization_resource("twin", LOCAL, true, &['9'], None)));
    assert_eq!(who(&list, '9'), Identity::Unknown);
    assert_eq!(who(&list, LOCAL_CERTIFICATE), Identity::Unknown);
}

#[test]
fn edge_t84_old_and_new_certificate_are_valid_together() {
    let list = with(|all| all[1] = organization_resource("member", MEMBER, true, &[MEMBER_CERTIFICATE, 'e'], None));
    assert!(matches!(who(&list, MEMBER_CERTIFICATE), Identity::Remote(_)));
    assert!(matches!(who(&list, 'e'), Identity::Remote(_)));
    let list = with(|all| all[1] = organization_resource("member", MEMBER, true, &['e'], None));
    assert_eq!(who(&list, MEMBER_CERTIFICATE), Identity::Unknown);
}

#[test]
fn edge_t18_a_blocked_thumbprint_is_unknown() {
    let file = format!("[trust]\ndeny-thumbprints = [\"{}\"]\n", thumbprint(MEMBER_CERTIFICATE));
    let policy = load(&[("emergency.toml", &file)]);
    assert_eq!(allow_list().identify(&thumbprint(MEMBER_CERTIFICATE), None, &policy), Identity::Unknown);
}

#[test]
fn persons_need_a_listed_thumbprint_and_an_active_local_organisation() {
    let list = allow_list();
    let policy = hospital_policy();
    let Identity::Person(person) = list.identify(&thumbprint(PERSON_CERTIFICATE), Some("a@b.de"), &policy) else {
        panic!()
    };
    assert_eq!(person.identifier.as_str(), "a@b.de");
    assert_eq!(person.granted_by.len(), 1);
    let Identity::Person(person) = list.identify(&thumbprint(PERSON_CERTIFICATE), None, &policy) else { panic!() };
    assert_eq!(person.identifier.as_str(), format!("{}@certificate.invalid", thumbprint(PERSON_CERTIFICATE)));
    let list = with(|all| all[0] = organization_resource("local", LOCAL, false, &[LOCAL_CERTIFICATE], None));
    assert_eq!(who(&list, PERSON_CERTIFICATE), Identity::Unknown);
}

#[test]
fn edge_t67_an_email_alone_identifies_nobody_but_adds_to_a_listed_thumbprint() {
    let file = format!(
        "[[identity.person]]\nid = \"mail\"\nemail = \"a@b.de\"\ndsf-role = \"SEARCH\"\n[[identity.person]]\nid = \"card\"\nthumbprint = \"{}\"\ndsf-role = \"READ\"\n",
        thumbprint(PERSON_CERTIFICATE)
    );
    let policy = load(&[("p.toml", &file)]);
    let list = allow_list();
    assert_eq!(list.identify(&thumbprint(STRANGER_CERTIFICATE), Some("a@b.de"), &policy), Identity::Unknown);
    let Identity::Person(person) = list.identify(&thumbprint(PERSON_CERTIFICATE), Some("a@b.de"), &policy) else {
        panic!()
    };
    assert_eq!(person.dsf_roles.len(), 2);
    let Identity::Person(person) = list.identify(&thumbprint(PERSON_CERTIFICATE), Some("A@b.de"), &policy) else {
        panic!()
    };
    assert_eq!(person.dsf_roles.len(), 1);
}

#[test]
fn edge_t49_roles_need_active_member_parent_and_affiliation() {
    let has = |list: &AllowList, member: &str, endpoint: Option<&str>| {
        let role = Role::new("http://dsf.dev/fhir/CodeSystem/organization-role", "DIC").unwrap();
        let endpoint = endpoint.map(|endpoint| endpoint.parse().unwrap());
        list.has_role(&member.parse().unwrap(), endpoint.as_ref(), &PARENT.parse().unwrap(), &role)
    };
    let list = allow_list();
    assert!(has(&list, MEMBER, None));
    assert!(has(&list, MEMBER, Some("dsf.dic-1.example")));
    assert!(!has(&list, MEMBER, Some("dsf.dic-2.example")), "another endpoint has not the role");
    assert!(!has(&list, OTHER, None), "inactive affiliation");
    let list = with(|all| all[4] = organization_resource("parent", PARENT, false, &[], None));
    assert!(!has(&list, MEMBER, None), "inactive parent");
    let list = with(|all| all[1] = organization_resource("member", MEMBER, false, &[], None));
    assert!(!has(&list, MEMBER, None), "inactive member");
}

#[test]
fn an_endpoint_with_the_thumbprint_wins_over_the_references_of_the_organisation() {
    let list = with(|all| {
        let mut second = endpoint("second", "second.dic-1.example", "https://second.dic-1.example/fhir", "member");
        let url = crate::resource_rules::THUMBPRINT_EXTENSION;
        let extension =
            fhir::Object::new().with("url", url).with("valueString", thumbprint(MEMBER_CERTIFICATE).as_str());
        second.push("extension", extension);
        all.push(second);
    });
    let Identity::Remote(member) = who(&list, MEMBER_CERTIFICATE) else { panic!() };
    assert_eq!(member.endpoint.unwrap().as_str(), "second.dic-1.example");
}

#[test]
fn references_name_an_organisation_only_if_their_parts_agree() {
    let list = allow_list();
    let resolve = |text: &str| {
        let holder = json(&format!(r#"{{"resourceType":"Basic","author":{text}}}"#));
        list.resolve_organization(holder.get("author").unwrap()).map(|identifier| identifier.to_string())
    };
    let logical = r#""identifier":{"system":"http://dsf.dev/sid/organization-identifier","value":"dic-1.example"}"#;
    assert_eq!(resolve(&format!("{{{logical}}}")).as_deref(), Some(MEMBER));
    assert_eq!(resolve(r#"{"reference":"Organization/member"}"#).as_deref(), Some(MEMBER));
    assert_eq!(resolve(r#"{"reference":"Organization/member/_history/3"}"#).as_deref(), Some(MEMBER));
    assert_eq!(resolve(&format!(r#"{{"reference":"{BASE}/Organization/member"}}"#)).as_deref(), Some(MEMBER));
    assert_eq!(resolve(&format!(r#"{{"reference":"Organization/other",{logical}}}"#)), None);
    assert_eq!(resolve(r#"{"reference":"https://hospital.example/fhir.evil/Organization/member"}"#), None);
    assert_eq!(resolve(r#"{"reference":"https://evil.example/fhir/Organization/member"}"#), None);
    assert_eq!(resolve(&format!(r#"{{"type":"Practitioner",{logical}}}"#)), None);
    assert_eq!(resolve(r#"{"identifier":{"system":"http://x","value":"dic-1.example"}}"#), None);
}

#[test]
fn a_snapshot_survives_its_serialised_form_and_decides_the_same() {
    let list = allow_list();
    let text = serde_json::to_string(&list).unwrap();
    let again: AllowList = serde_json::from_str(&text).unwrap();
    assert_eq!(again, list);
    assert_eq!(who(&again, MEMBER_CERTIFICATE), who(&list, MEMBER_CERTIFICATE));
    assert_eq!(again.processes_of("http://dsf.dev/bpe/Process/pong", "1.0").count(), 1);
    let broken = text.replacen(&thumbprint(MEMBER_CERTIFICATE).to_string(), "abc", 1);
    assert!(serde_json::from_str::<AllowList>(&broken).is_err());
}

#[test]
fn broken_resources_give_no_entry() {
    let list = with(|all| {
        let text = r#"{"resourceType":"Organization","id":"bad","active":true,"identifier":[{"system":"http://dsf.dev/sid/organization-identifier","value":"a"},{"system":"http://dsf.dev/sid/organization-identifier","value":"b"}]}"#;
        all.push(json(text));
        all.push(affiliation("dangling", "nowhere", "member", "member-endpoint", "HRP", true));
    });
    assert_eq!(list.organizations().len(), 5);
    assert_eq!(list.affiliations().len(), 3);
    assert_eq!(list.processes().len(), 1, "retired definitions authorise nothing");
}
