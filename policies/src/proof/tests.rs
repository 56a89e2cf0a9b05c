use super::*;
use crate::decision::Permit;
use crate::world::*;

#[test]
fn the_invariants_hold_for_what_is_shipped() {
    let list = allow_list();
    for policy in [hospital_policy(), strict_policy()] {
        let proven = prove(&policy, &list).unwrap();
        assert!(proven.callers >= 4 && proven.decisions > 4_000, "{proven:?}");
    }
}

/// A decision that is wrong in one way shows the request that gives it away.
#[test]
fn edge_e10_a_broken_decision_is_shown_by_a_concrete_request() {
    let (policy, list) = (strict_policy(), allow_list());
    let permit = |rule: &str| Decision::Permit(Permit::for_tests(rule));
    let right = |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| {
        crate::decide(&policy, &list, identity, request, body, context)
    };
    let everything = |_: &Identity, _: &CanonicalRequest, _: Option<&Resource>, _: &Context| permit("local-inside");
    let found = prove_with(&policy, &list, &everything, &|identity, context| {
        crate::shown_types(&policy, &list, identity, context)
    })
    .unwrap_err();
    assert_eq!((found.invariant, found.caller.as_str()), ("nobody unknown is permitted anything", "nobody"));

    let writes = |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| match (
        identity,
        request.interaction(),
    ) {
        (Identity::Remote(_), Interaction::Update) => permit("remote-read"),
        _ => right(identity, request, body, context),
    };
    let found =
        prove_with(&policy, &list, &writes, &|identity, context| crate::shown_types(&policy, &list, identity, context))
            .unwrap_err();
    assert!(found.to_string().contains("PUT /fhir/") && found.invariant.contains("changes nothing"), "{found}");

    let ignores_deny =
        |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| match (
            identity,
            request.interaction(),
            request.resource_type(),
        ) {
            (Identity::Remote(_), Interaction::Read, Some(ResourceType::Patient)) => permit("remote-read"),
            _ => right(identity, request, body, context),
        };
    assert_eq!(
        prove_with(&policy, &list, &ignores_deny, &|identity, context| crate::shown_types(
            &policy, &list, identity, context
        ))
        .unwrap_err()
        .invariant,
        "a deny beats every allow"
    );

    // GHSA-448w-h27c-w53m and its kin: one of several ways in is forgotten.
    let shipped = hospital_policy();
    let bundles_unseen = |identity: &Identity,
                          request: &CanonicalRequest,
                          body: Option<&Resource>,
                          context: &Context| match (identity, request.interaction()) {
        (Identity::Remote(_), Interaction::Bundle) => permit("remote-bundle"),
        _ => crate::decide(&shipped, &list, identity, request, body, context),
    };
    assert!(
        prove_with(&shipped, &list, &bundles_unseen, &|identity, context| crate::shown_types(
            &shipped, &list, identity, context
        ))
        .unwrap_err()
        .invariant
        .contains("Bundle")
    );
}

#[test]
fn restrictions_are_part_of_the_space() {
    let rule = "[[rule]]\nid = \"night\"\neffect = \"restrict\"\nsubject = \"any\"\nmatch = { operations = [\"read\"], types = [\"*\"] }\nonly.time = { from = \"22:00\", to = \"06:00\" }\n";
    let mut files: Vec<(&str, &str)> = crate::default_files().to_vec();
    files.push(("night.toml", rule));
    let (policy, shipped, list) = (load(&files), load(crate::default_files()), allow_list());
    prove(&policy, &list).unwrap();
    let unaware = |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| {
        crate::decide(&shipped, &list, identity, request, body, context)
    };
    let found = prove_with(&policy, &list, &unaware, &|identity, context| {
        crate::shown_types(&policy, &list, identity, context)
    })
    .unwrap_err();
    assert!(found.invariant.contains("restriction") && found.request.starts_with("GET"), "{found}");
}

const NO_PATIENTS: &str = r#"
[[rule]]
id = "no-patients-from-there"
effect = "deny"
subject = "remote-organization"
match = { operations = ["read"], types = ["Patient"] }
networks = ["198.51.100.0/24"]

[[rule]]
id = "endpoints-inside"
effect = "restrict"
subject = "any"
match = { operations = ["read"], types = ["Endpoint"] }
only.networks = ["10.0.0.0/8"]
"#;

/// A rule about reading holds for every way to the resource, also when it depends on the address.
#[test]
fn attack_a14_the_filter_of_answers_is_part_of_the_proof() {
    let mut files: Vec<(&str, &str)> = crate::default_files().to_vec();
    files.push(("filter.toml", NO_PATIENTS));
    let (policy, list) = (load(&files), allow_list());
    prove(&policy, &list).unwrap();
    let decide = |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| {
        crate::decide(&policy, &list, identity, request, body, context)
    };
    // The filter of a process that does not know the address.
    let blind = |identity: &Identity, context: &Context| {
        crate::shown_types(&policy, &list, identity, &Context { origin: Origin::Engine, ..*context })
    };
    let found = prove_with(&policy, &list, &decide, &blind).unwrap_err();
    assert!(found.invariant.contains("stands in no answer"), "{found}");
    let everything = |_: &Identity, _: &Context| None;
    assert!(prove_with(&policy, &list, &decide, &everything).is_err());
    let nothing = |_: &Identity, _: &Context| Some(Vec::new());
    let found = prove_with(&policy, &list, &decide, &nothing).unwrap_err();
    assert!(found.invariant.contains("left out of no answer"), "{found}");

    // The same resource by its version.
    let by_version =
        |identity: &Identity, request: &CanonicalRequest, body: Option<&Resource>, context: &Context| match (
            identity,
            request.interaction(),
            request.resource_type(),
        ) {
            (Identity::Remote(_), Interaction::Vread, Some(ResourceType::Patient)) => {
                Decision::Permit(Permit::for_tests("remote-read"))
            }
            _ => decide(identity, request, body, context),
        };
    let shown = |identity: &Identity, context: &Context| crate::shown_types(&policy, &list, identity, context);
    let found = prove_with(&policy, &list, &by_version, &shown).unwrap_err();
    assert!(found.invariant.contains("no other request") && found.request.contains("_history"), "{found}");
}
