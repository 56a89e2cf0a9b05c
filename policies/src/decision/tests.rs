use proptest::prelude::*;

use super::*;
use crate::world::*;

fn request(method: &str, target: &str) -> CanonicalRequest {
    crate::canonicalize(method, target, "/fhir").unwrap()
}

fn decide_as(policy: &Policy, certificate: char, method: &str, target: &str, body: Option<&str>) -> Decision {
    let list = allow_list();
    let identity = list.identify(&thumbprint(certificate), None, policy);
    let body = body.map(json);
    decide(policy, &list, &identity, &request(method, target), body.as_ref(), &inside())
}

#[test]
fn a_permit_names_the_rules_of_entries() {
    let task = sent_task(MEMBER, "ping");
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"batch","entry":[{{"fullUrl":"urn:uuid:1","resource":{task},"request":{{"method":"POST","url":"Task"}}}},{{"request":{{"method":"GET","url":"Task?status=draft"}}}},{{"request":{{"method":"GET","url":"Task/1"}}}}]}}"#
    );
    let Decision::Permit(permit) = decide_as(&hospital_policy(), MEMBER_CERTIFICATE, "POST", "/fhir", Some(&bundle))
    else {
        panic!()
    };
    assert_eq!(permit.rule().as_str(), "remote-bundle");
    let entries: Vec<&str> = permit.entry_rules().iter().map(RuleId::as_str).collect();
    assert_eq!(entries, ["remote-task-create", "remote-read"]);
}

#[test]
fn the_head_alone_refuses_what_no_body_can_save() {
    let (policy, list) = (hospital_policy(), allow_list());
    let member = identify(MEMBER_CERTIFICATE);
    let head = |method: &str, target: &str| {
        deny_by_head(&policy, &list, &member, &request(method, target), &inside()).map(|denial| denial.code)
    };
    assert_eq!(head("POST", "/fhir/Task"), None);
    assert_eq!(head("POST", "/fhir"), None);
    assert_eq!(head("POST", "/fhir/Patient"), Some(DenyCode::BeyondRole));
    assert_eq!(head("PUT", "/fhir/Task/1"), Some(DenyCode::BeyondRole));
    assert_eq!(head("GET", "/fhir/ws"), Some(DenyCode::BeyondRole));
}

#[test]
fn a_bundle_that_installs_a_process_leaves_its_tasks_to_the_engine() {
    let task = sent_task(LOCAL, "local").replacen("pong|1.0", "new|1.0", 1);
    let entry = |url: &str, resource: &str| {
        format!(r#"{{"fullUrl":"urn:uuid:1","resource":{resource},"request":{{"method":"POST","url":"{url}"}}}}"#)
    };
    let bundle = |entries: &[String]| {
        format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","))
    };
    let policy = hospital_policy();
    let alone = decide_as(&policy, LOCAL_CERTIFICATE, "POST", "/fhir", Some(&bundle(&[entry("Task", &task)])));
    assert_eq!(alone.denial().map(|denial| denial.code), Some(DenyCode::Task));
    let both = bundle(&[entry("ActivityDefinition", r#"{"resourceType":"ActivityDefinition"}"#), entry("Task", &task)]);
    assert!(decide_as(&policy, LOCAL_CERTIFICATE, "POST", "/fhir", Some(&both)).is_permit());
    assert!(!decide_as(&policy, MEMBER_CERTIFICATE, "POST", "/fhir", Some(&both)).is_permit());
}

#[test]
fn types_are_judged_alone_for_filters() {
    let (policy, list) = (strict_policy(), allow_list());
    let member = list.identify(&thumbprint(MEMBER_CERTIFICATE), None, &policy);
    let may = |interaction, resource_type| {
        is_permitted_on_type(&policy, &list, &member, interaction, resource_type, &inside())
    };
    assert!(may(Interaction::Read, ResourceType::Organization));
    assert!(!may(Interaction::Read, ResourceType::Patient));
    assert!(!may(Interaction::HistoryType, ResourceType::Organization));
}

#[test]
fn answers_hold_what_the_rules_let_the_caller_read_and_nothing_else() {
    let (shipped, strict, list) = (hospital_policy(), strict_policy(), allow_list());
    let shown = |policy: &Policy, certificate: char| {
        let identity = list.identify(&thumbprint(certificate), None, policy);
        shown_types(policy, &list, &identity, &inside())
    };
    for certificate in [LOCAL_CERTIFICATE, MEMBER_CERTIFICATE] {
        assert_eq!(shown(&shipped, certificate), None, "everything, without a look at each type");
    }
    let of_member = shown(&strict, MEMBER_CERTIFICATE).unwrap();
    assert!(of_member.contains(&ResourceType::Organization) && !of_member.contains(&ResourceType::Patient));
    assert_eq!(shown(&shipped, STRANGER_CERTIFICATE), Some(Vec::new()));
    // The look at everything at once says the same as the look at each type.
    for (policy, certificate) in
        [(&shipped, MEMBER_CERTIFICATE), (&strict, LOCAL_CERTIFICATE), (&strict, OTHER_CERTIFICATE)]
    {
        let identity = list.identify(&thumbprint(certificate), None, policy);
        let each: Vec<ResourceType> = ResourceType::ALL
            .iter()
            .copied()
            .filter(|known| is_permitted_on_type(policy, &list, &identity, Interaction::Read, *known, &inside()))
            .collect();
        assert_eq!(shown(policy, certificate).unwrap_or_else(|| ResourceType::ALL.to_vec()), each);
    }
}

#[test]
fn without_an_address_no_rule_about_addresses_refuses() {
    let (policy, list) = (strict_policy(), allow_list());
    let local = list.identify(&thumbprint(LOCAL_CERTIFICATE), None, &policy);
    let judge = |origin| {
        let context = Context { now: OffsetDateTime::UNIX_EPOCH, origin, body_bytes: None };
        decide(&policy, &list, &local, &request("GET", "/fhir/Task/1"), None, &context).is_permit()
    };
    assert!(judge(Origin::Address("10.0.0.1".parse().unwrap())));
    assert!(!judge(Origin::Address("192.0.2.1".parse().unwrap())));
    assert!(judge(Origin::Engine));
}

#[test]
fn an_identity_that_the_allow_list_no_longer_bears_out_is_unknown() {
    let policy = hospital_policy();
    let list = allow_list();
    let without_member = AllowList::from_resources(
        resources().iter().filter(|resource| resource.id() != Some("member")),
        LOCAL.parse().unwrap(),
        BASE,
    );
    let read = request("GET", "/fhir/Library/1");
    let code = |list: &AllowList, identity: &Identity| {
        decide(&policy, list, identity, &read, None, &inside()).denial().map(|denial| denial.code)
    };
    let member = identify(MEMBER_CERTIFICATE);
    assert_eq!(code(&list, &member), None);
    assert_eq!(code(&without_member, &member), Some(DenyCode::UnknownIdentity));
    let Identity::Remote(organization) = member else { panic!() };
    assert_eq!(code(&list, &Identity::Local(organization)), Some(DenyCode::UnknownIdentity));
}

#[test]
fn codes_are_unique_and_explained() {
    for (index, code) in DenyCode::ALL.iter().enumerate() {
        assert!(!code.cause().is_empty() && !code.remedy().is_empty());
        assert!(DenyCode::ALL[..index].iter().all(|other| other.as_str() != code.as_str()), "{code}");
    }
}

/// A rule as text; some are refused at load, which the properties below take as "no policy".
fn rule_text() -> impl Strategy<Value = (String, bool)> {
    let subject = prop::sample::select(vec![
        "local-organization",
        "remote-organization",
        "person",
        "any",
        "org:dic-1.example",
        "role:consortium.example/DIC",
    ]);
    let operations = prop::sample::select(vec![
        "\"read\"",
        "\"search\", \"head\"",
        "\"history\"",
        "\"metadata\", \"snapshot\"",
        "\"bundle\"",
        "\"create\"",
        "\"update\"",
        "\"*\"",
    ]);
    let types = prop::sample::select(vec!["\"*\"", "\"Task\"", "\"Task\", \"Patient\"", "\"StructureDefinition\""]);
    let networks = prop::sample::select(vec!["", "networks = [\"10.0.0.0/8\"]", "networks = [\"192.0.2.0/24\"]"]);
    (any::<bool>(), subject, operations, types, networks).prop_map(|(allow, subject, operations, types, networks)| {
        let effect = if allow { "allow" } else { "deny" };
        let text = format!("effect = \"{effect}\"\nsubject = \"{subject}\"\nmatch = {{ operations = [{operations}], types = [{types}] }}\n{networks}\n");
        (text, allow)
    })
}

fn tree(rules: &[&(String, bool)]) -> Option<Policy> {
    let files: Vec<(String, String)> = rules
        .iter()
        .enumerate()
        .map(|(number, (text, _))| (format!("{number}.toml"), format!("[[rule]]\nid = \"r{number}\"\n{text}")))
        .chain([("identity.toml".to_owned(), identity_file())])
        .collect();
    Policy::load(&files).ok()
}

/// Every (identity, interaction, type) that the policy permits.
fn permitted(policy: &Policy) -> Vec<(char, Interaction, Option<ResourceType>)> {
    let list = allow_list();
    let mut all = Vec::new();
    for certificate in [LOCAL_CERTIFICATE, MEMBER_CERTIFICATE, OTHER_CERTIFICATE, ADMIN_CERTIFICATE, PERSON_CERTIFICATE]
    {
        let identity = list.identify(&thumbprint(certificate), None, policy);
        let context = inside();
        let judge = Judge { policy, allow_list: &list, identity: &identity, context: &context };
        for interaction in Interaction::ALL {
            let types = ResourceType::ALL.iter().copied().map(Some).chain([None]);
            for resource_type in types.filter(|resource_type| interaction.applies_to(*resource_type)) {
                if judge.judge_rules(*interaction, resource_type, Body::NotYet).is_ok() {
                    all.push((certificate, *interaction, resource_type));
                }
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rules_and_files_does_not_matter(rules in prop::collection::vec(rule_text(), 1..6)) {
        let forward: Vec<_> = rules.iter().collect();
        let backward: Vec<_> = rules.iter().rev().collect();
        if let (Some(forward), Some(backward)) = (tree(&forward), tree(&backward)) {
            prop_assert_eq!(permitted(&forward), permitted(&backward));
        }
    }

    #[test]
    fn a_deny_rule_only_takes_away_and_an_allow_rule_only_adds(rules in prop::collection::vec(rule_text(), 2..6)) {
        let all: Vec<_> = rules.iter().collect();
        let (less, last) = (&all[..all.len() - 1], all[all.len() - 1]);
        if let (Some(less), Some(more)) = (tree(less), tree(&all)) {
            let (less, more) = (permitted(&less), permitted(&more));
            let (small, large) = if last.1 { (&less, &more) } else { (&more, &less) };
            prop_assert!(small.iter().all(|cell| large.contains(cell)));
        }
    }

    #[test]
    fn no_accepted_policy_lifts_the_ceiling_of_remote_organisations(rules in prop::collection::vec(rule_text(), 1..6)) {
        if let Some(policy) = tree(&rules.iter().collect::<Vec<_>>()) {
            for (certificate, interaction, resource_type) in permitted(&policy) {
                if [MEMBER_CERTIFICATE, OTHER_CERTIFICATE].contains(&certificate) {
                    let task_create = interaction == Interaction::Create && resource_type == Some(ResourceType::Task);
                    prop_assert!(task_create || !(interaction.is_write() || interaction == Interaction::Websocket));
                }
            }
        }
    }
}
