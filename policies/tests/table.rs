//! Runs the cases in `tests/cases/*.toml` against the shipped policies.
//!
//! Every shipped rule must permit something in a case, every deny rule must deny something, and every stable code must be
//! reached, so that no rule and no code exists without a sentence about it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use policies::policy::Effect;
use policies::{Decision, DenyCode, Policy, canonicalize, decide};
use serde::Deserialize;
use world::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    /// `shipped`, `strict`, or the text of a policy file.
    policy: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    name: String,
    /// local, member, other, admin, person, inactive, stranger
    identity: String,
    request: String,
    body: Option<String>,
    /// `{"task":"ping"}` as short form of a Task that the identity sends.
    task: Option<String>,
    address: Option<String>,
    /// RFC 3339; the epoch if it does not matter.
    time: Option<String>,
    bytes: Option<u64>,
    /// `permit <rule>`, `deny <code>` or `deny <code> <rule>`
    expect: String,
}

fn certificate(name: &str) -> char {
    match name {
        "local" => LOCAL_CERTIFICATE,
        "member" => MEMBER_CERTIFICATE,
        "other" => OTHER_CERTIFICATE,
        "admin" => ADMIN_CERTIFICATE,
        "person" => PERSON_CERTIFICATE,
        "inactive" => INACTIVE_CERTIFICATE,
        "stranger" => STRANGER_CERTIFICATE,
        _ => panic!("no identity {name}"),
    }
}

fn run(policy: &Policy, case: &Case) -> String {
    let list = allow_list();
    let identity = list.identify(&thumbprint(certificate(&case.identity)), None, policy);
    let (method, target) = case.request.split_once(' ').unwrap();
    let request = canonicalize(method, target, "/fhir").unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let sender = identity.organization().map_or_else(|| MEMBER.to_owned(), ToString::to_string);
    let text = case.task.as_ref().map(|message| sent_task(&sender, message)).or_else(|| case.body.clone());
    let body = text.map(|text| json(&text));
    let mut context = from(case.address.as_deref().unwrap_or("10.1.2.3"));
    context.body_bytes = case.bytes;
    if let Some(time) = &case.time {
        context.now = time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).unwrap();
    }
    match decide(policy, &list, &identity, &request, body.as_ref(), &context) {
        Decision::Permit(permit) => match permit.charges() {
            [] => format!("permit {}", permit.rule()),
            [charge, ..] => format!("charge {}", charge.rule),
        },
        Decision::Deny(denial) => match denial.rule {
            Some(rule) => format!("deny {} {rule}", denial.code),
            None => format!("deny {}", denial.code),
        },
    }
}

#[test]
fn every_case_is_decided_as_written_and_no_rule_or_code_is_without_one() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut codes: BTreeSet<String> = BTreeSet::new();
    for path in paths {
        let file: File = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let policy = match file.policy.as_str() {
            "shipped" => hospital_policy(),
            "strict" => strict_policy(),
            text => load(&[("case.toml", text), ("identity.toml", &identity_file())]),
        };
        let mut reached: BTreeSet<String> = BTreeSet::new();
        for case in &file.case {
            let result = run(&policy, case);
            assert_eq!(result, case.expect, "{}: {}", path.display(), case.name);
            codes.extend(result.split(' ').filter(|word| word.starts_with("GW-")).map(str::to_owned));
            reached.insert(result);
        }
        for rule in policy.rules().all() {
            let expected = match rule.effect {
                Effect::Allow => format!("permit {}", rule.id),
                Effect::Deny => format!("deny {} {}", DenyCode::DeniedByRule, rule.id),
                // What is only counted is shown by a permit that names the charge.
                Effect::Restrict if rule.only.count.is_some() || rule.only.rate.is_some() => {
                    format!("charge {}", rule.id)
                }
                Effect::Restrict => format!("deny {} {}", DenyCode::Restricted, rule.id),
            };
            assert!(reached.contains(&expected), "{}: no case shows \"{expected}\"", path.display());
        }
        assert!(reached.iter().any(|result| result.starts_with("deny")), "{}: no case is denied", path.display());
    }
    for code in DenyCode::ALL {
        assert!(codes.contains(code.as_str()), "no case shows {code}");
    }
}
