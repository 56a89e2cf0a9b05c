use super::*;
use crate::identity::OrganizationIdentity;
use crate::world::*;

fn identities() -> Vec<(&'static str, Identity)> {
    vec![
        ("local", identify(LOCAL_CERTIFICATE)),
        ("member", identify(MEMBER_CERTIFICATE)),
        ("other", identify(OTHER_CERTIFICATE)),
        ("admin", identify(ADMIN_CERTIFICATE)),
        ("person", identify(PERSON_CERTIFICATE)),
        ("unknown", Identity::Unknown),
    ]
}

fn read_party(code: &str, inner: &str) -> Option<Party> {
    let holder = json(&format!(r#"{{"resourceType":"Basic","extension":[{}]}}"#, party("requester", code, inner)));
    Party::read(holder.list("extension")[0].get("valueCoding").unwrap())
}

fn extension(suffix: &str, content: &str) -> String {
    format!(r#"{{"url":"http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-{suffix}",{content}}}"#)
}

fn identifier(value: &str) -> String {
    format!(r#""valueIdentifier":{{"system":"http://dsf.dev/sid/organization-identifier","value":"{value}"}}"#)
}

fn practitioner_role(code: &str) -> String {
    format!(r#""valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/practitioner-role","code":"{code}"}}"#)
}

fn organization_role(code: &str) -> String {
    format!(r#""valueCoding":{{"system":"http://dsf.dev/fhir/CodeSystem/organization-role","code":"{code}"}}"#)
}

fn organization_practitioner(organization: &str, role: &str) -> String {
    let content = format!(
        r#""extension":[{{"url":"organization",{}}},{{"url":"practitioner-role",{}}}]"#,
        identifier(organization),
        practitioner_role(role)
    );
    extension("organization-practitioner", &content)
}

fn role_practitioner(parent: &str, role: &str, practitioner: &str) -> String {
    let content = format!(
        r#""extension":[{{"url":"parent-organization",{}}},{{"url":"organization-role",{}}},{{"url":"practitioner-role",{}}}]"#,
        identifier(parent),
        organization_role(role),
        practitioner_role(practitioner)
    );
    extension("parent-organization-role-practitioner", &content)
}

#[test]
fn the_decision_table_of_requesters_holds() {
    let list = allow_list();
    let organization = |value: &str| extension("organization", &identifier(value));
    let practitioner = |code: &str| extension("practitioner", &practitioner_role(code));
    let table: Vec<(&str, String, &[&str])> = vec![
        ("LOCAL_ALL", String::new(), &["local", "admin"]),
        ("LOCAL_ALL_PRACTITIONER", practitioner("DIC_USER"), &["admin", "person"]),
        ("LOCAL_ALL_PRACTITIONER", practitioner("HRP_USER"), &["admin"]),
        ("LOCAL_ORGANIZATION", organization(LOCAL), &["local", "admin"]),
        ("LOCAL_ORGANIZATION", organization(MEMBER), &[]),
        ("LOCAL_ORGANIZATION_PRACTITIONER", organization_practitioner(LOCAL, "DIC_USER"), &["admin", "person"]),
        ("LOCAL_ORGANIZATION_PRACTITIONER", organization_practitioner(LOCAL, "HRP_USER"), &["admin"]),
        ("LOCAL_ORGANIZATION_PRACTITIONER", organization_practitioner(OTHER, "DIC_USER"), &[]),
        ("LOCAL_ROLE", parent_role(PARENT, "DIC"), &["local", "admin"]),
        ("LOCAL_ROLE", parent_role(PARENT, "HRP"), &[]),
        ("LOCAL_ROLE_PRACTITIONER", role_practitioner(PARENT, "DIC", "DIC_USER"), &["admin", "person"]),
        ("LOCAL_ROLE_PRACTITIONER", role_practitioner(PARENT, "HRP", "DIC_USER"), &[]),
        ("LOCAL_ROLE_PRACTITIONER", role_practitioner(PARENT, "DIC", "HRP_USER"), &["admin"]),
        ("REMOTE_ALL", String::new(), &["member", "other"]),
        ("REMOTE_ORGANIZATION", organization(MEMBER), &["member"]),
        ("REMOTE_ORGANIZATION", organization(LOCAL), &[]),
        ("REMOTE_ROLE", parent_role(PARENT, "DIC"), &["member"]),
        ("REMOTE_ROLE", parent_role(OTHER, "DIC"), &[]),
    ];
    for (code, inner, allowed) in table {
        let party = read_party(code, &inner).unwrap_or_else(|| panic!("{code} {inner}"));
        let admitted: Vec<&str> =
            identities().iter().filter(|(_, who)| party.admits_requester(who, &list)).map(|(name, _)| *name).collect();
        assert_eq!(admitted, allowed, "{code} {inner}");
        let text = serde_json::to_string(&party).unwrap();
        assert_eq!(serde_json::from_str::<Party>(&text).unwrap(), party);
    }
}

#[test]
fn an_entry_without_its_one_inner_extension_is_ignored() {
    let role = parent_role(PARENT, "DIC");
    for (code, inner) in [
        ("REMOTE_ROLE", String::new()),
        ("REMOTE_ROLE", format!("{role},{role}")),
        ("REMOTE_ORGANIZATION", role.clone()),
        ("LOCAL_ALL_PRACTITIONER", String::new()),
        ("LOCAL_ROLE_PRACTITIONER", role),
        ("REMOTE_EVERYBODY", String::new()),
        ("remote_all", String::new()),
    ] {
        assert_eq!(read_party(code, &inner), None, "{code} {inner}");
    }
}

#[test]
fn roles_are_narrowed_to_the_endpoint_of_the_certificate() {
    let list = allow_list();
    let party = read_party("REMOTE_ROLE", &parent_role(PARENT, "DIC")).unwrap();
    let caller = |endpoint: Option<&str>| {
        Identity::Remote(OrganizationIdentity {
            identifier: MEMBER.parse().unwrap(),
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
            thumbprint: thumbprint(MEMBER_CERTIFICATE),
        })
    };
    assert!(party.admits_requester(&caller(None), &list));
    assert!(party.admits_requester(&caller(Some("dsf.dic-1.example")), &list));
    assert!(!party.admits_requester(&caller(Some("elsewhere.example")), &list));
}

#[test]
fn a_forged_identity_that_calls_itself_local_gains_nothing() {
    let list = allow_list();
    let forged = |identifier: &str| OrganizationIdentity {
        identifier: identifier.parse().unwrap(),
        endpoint: None,
        thumbprint: thumbprint(STRANGER_CERTIFICATE),
    };
    assert!(!Party::LocalAll.admits_requester(&Identity::Local(forged(MEMBER)), &list));
    assert!(!Party::RemoteAll.admits_requester(&Identity::Remote(forged(LOCAL)), &list));
    assert!(!Party::RemoteAll.admits_requester(&Identity::Remote(forged("nobody.example")), &list));
    assert!(!Party::RemoteAll.admits_requester(&Identity::Remote(forged(INACTIVE)), &list));
}

#[test]
fn profiles_match_literally_or_without_the_version_of_the_definition() {
    let list = allow_list();
    let authorized = |profile: &str| {
        let message =
            Message { url: "http://dsf.dev/bpe/Process/pong", version: "1.0", name: "ping", profiles: &[profile] };
        authorize(&message, &identify(MEMBER_CERTIFICATE), &list)
    };
    assert_eq!(authorized("http://dsf.dev/fhir/StructureDefinition/task-ping|1.0"), Ok(()));
    assert_eq!(authorized("http://dsf.dev/fhir/StructureDefinition/task-ping"), Ok(()));
    let unknown = Err(AuthorizationError::UnknownMessage);
    assert_eq!(authorized("http://dsf.dev/fhir/StructureDefinition/task-ping|1.1"), unknown);
    assert_eq!(authorized("http://dsf.dev/fhir/StructureDefinition/task-ping|"), unknown);
    assert_eq!(authorized("http://dsf.dev/fhir/StructureDefinition/task-members|1.0"), unknown);
}

#[test]
fn definitions_need_status_url_version_and_an_authorisation() {
    let valid = message("m", &[party("requester", "REMOTE_ALL", ""), party("recipient", "LOCAL_ALL", "")]);
    let read = |messages: &[String]| ProcessDefinition::read(activity_definition("x", "x", "active", messages).tree());
    assert!(read(std::slice::from_ref(&valid)).is_ok());
    assert_eq!(read(&[valid.clone(), valid.clone()]), Err(DefinitionError::DuplicateMessageName));
    let remote = message("m", &[party("requester", "REMOTE_ALL", ""), party("recipient", "REMOTE_ALL", "")]);
    assert_eq!(read(&[remote]), Err(DefinitionError::NoAuthorization));
    let unknown = activity_definition("x", "x", "unknown", std::slice::from_ref(&valid));
    assert_eq!(ProcessDefinition::read(unknown.tree()), Err(DefinitionError::Status));
}

#[test]
fn two_definitions_of_one_canonical_authorise_nobody() {
    let mut resources = resources();
    let messages = [message("ping", &[party("requester", "REMOTE_ALL", ""), party("recipient", "LOCAL_ALL", "")])];
    resources.push(activity_definition("second", "pong", "draft", &messages));
    let list = AllowList::from_resources(&resources, LOCAL.parse().unwrap(), BASE);
    let task = json(&sent_task(MEMBER, "ping"));
    let error = crate::task::check_create(task.tree(), &identify(MEMBER_CERTIFICATE), &list).unwrap_err();
    assert_eq!(error, AuthorizationError::AmbiguousProcess.into());
}

#[test]
fn the_published_definitions_are_understood_whole() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/plugins");
    let Ok(plugins) = std::fs::read_dir(&folder) else {
        println!("skipped: no fixtures at {}", folder.display());
        return;
    };
    let mut seen = 0;
    for plugin in plugins {
        let Ok(files) = std::fs::read_dir(plugin.unwrap().path().join("fhir/ActivityDefinition")) else { continue };
        for file in files {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let text =
                text.replace("#{version}", "1.0").replace(r#"<status value="unknown""#, r#"<status value="active""#);
            let text = text.replace("#{date}", "2026-01-01").replace("#{organization}", LOCAL);
            let resource = fhir::parse(fhir::Format::Xml, text.as_bytes(), &fhir::Limits::default())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let process =
                ProcessDefinition::read(resource.tree()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let entries = extensions(resource.list("extension"), EXTENSION);
            let parties = |kind: &str| {
                let of = |entry: &Value| extensions(entry.list("extension"), kind).count();
                extensions(resource.list("extension"), EXTENSION).map(of).sum::<usize>()
            };
            assert_eq!(process.messages.len(), entries.count(), "{}", path.display());
            assert_eq!(process.messages.iter().map(|m| m.requesters.len()).sum::<usize>(), parties("requester"));
            assert_eq!(process.messages.iter().map(|m| m.recipients.len()).sum::<usize>(), parties("recipient"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}
