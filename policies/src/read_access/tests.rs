use super::*;
use crate::world::*;

const SYSTEM: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";

fn tag(code: &str, extension: &str) -> String {
    let extension = if extension.is_empty() { String::new() } else { format!(r#""extension":[{extension}],"#) };
    format!(r#"{{{extension}"system":"{SYSTEM}","code":"{code}"}}"#)
}

fn to(organization: &str) -> String {
    tag(
        "ORGANIZATION",
        &format!(
            r#"{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization","valueIdentifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{organization}"}}}}"#
        ),
    )
}

fn role(parent: &str, code: &str) -> String {
    tag(
        "ROLE",
        &format!(
            r#"{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role","extension":[{{"url":"parent-organization","valueIdentifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{parent}"}}}},{{"url":"organization-role","valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"{code}"}}}}]}}"#
        ),
    )
}

fn tagged(list: &[String]) -> fhir::Resource {
    json(&format!(
        r#"{{"resourceType":"Library","meta":{{"tag":[{{"system":"http://x","code":"ALL"}},{}]}}}}"#,
        list.join(",")
    ))
}

#[test]
fn edge_t55_t56_the_table_of_readers_holds() {
    let list = allow_list();
    let (all, local) = (tag("ALL", ""), tag("LOCAL", ""));
    for (tags_in, readers) in [
        (vec![all], "local member other person"),
        (vec![local.clone()], "local person"),
        (vec![local.clone(), to(OTHER)], "local other person"),
        (vec![local.clone(), role(PARENT, "DIC")], "local member person"),
        (vec![local.clone(), role(PARENT, "HRP"), to(INACTIVE)], "local person"),
        (vec![role(PARENT, "DIC"), local, to(OTHER)], "local member other person"),
    ] {
        let tags = tags(tagged(&tags_in).tree()).unwrap();
        let identities = [
            ("local", LOCAL_CERTIFICATE),
            ("member", MEMBER_CERTIFICATE),
            ("other", OTHER_CERTIFICATE),
            ("person", PERSON_CERTIFICATE),
            ("inactive", INACTIVE_CERTIFICATE),
            ("stranger", STRANGER_CERTIFICATE),
        ];
        let may: Vec<&str> = identities
            .iter()
            .filter(|(_, certificate)| may_read(&tags, &identify(*certificate), &list))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(may.join(" "), readers, "{tags:?}");
    }
}

#[test]
fn only_the_two_shapes_of_tag_sets_are_valid() {
    let (all, local) = (tag("ALL", ""), tag("LOCAL", ""));
    for (list, expected) in [
        (vec![all.clone(), all.clone()], TagError::Combination),
        (vec![all.clone(), local.clone()], TagError::Combination),
        (vec![all, to(OTHER)], TagError::Combination),
        (vec![local.clone(), local.clone()], TagError::Combination),
        (vec![to(OTHER)], TagError::Combination),
        (vec![role(PARENT, "DIC")], TagError::Combination),
        (vec![local.clone(), tag("ORGANIZATION", "")], TagError::Malformed("ORGANIZATION")),
        (vec![local.clone(), tag("ROLE", "")], TagError::Malformed("ROLE")),
        (vec![local, tag("EVERYBODY", "")], TagError::UnknownCode),
    ] {
        assert_eq!(tags(tagged(&list).tree()), Err(expected), "{list:?}");
    }
    assert_eq!(tags(json(r#"{"resourceType":"Library"}"#).tree()), Err(TagError::Missing));
}

#[test]
fn organisations_and_roles_of_tags_must_exist() {
    let allow_list = allow_list();
    let local = tag("LOCAL", "");
    let known = |role: &Role| role.code() == "DIC";
    assert!(check(tagged(&[local.clone(), to(OTHER), role(PARENT, "DIC")]).tree(), &allow_list, known).is_ok());
    assert!(matches!(
        check(tagged(&[local.clone(), to("nobody.example")]).tree(), &allow_list, known),
        Err(TagError::UnknownOrganization(_))
    ));
    assert!(matches!(
        check(tagged(&[local, role(PARENT, "HRP")]).tree(), &allow_list, known),
        Err(TagError::UnknownRole(_))
    ));
}
