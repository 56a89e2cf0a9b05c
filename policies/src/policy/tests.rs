use std::time::Duration;

use super::*;
use crate::world::*;
use settings::Severity;

fn findings(text: &str) -> Vec<(usize, String, String)> {
    let all = Policy::load(&[("p.toml", text)]).expect_err("must be refused");
    assert!(all.iter().all(|finding| finding.file == "p.toml" && !finding.remedy.is_empty()), "{all:?}");
    all.into_iter().map(|finding| (finding.line, finding.key, finding.text)).collect()
}

fn lines(text: &str) -> Vec<(usize, String)> {
    findings(text).into_iter().map(|(line, key, _)| (line, key)).collect()
}

#[test]
fn the_shipped_policy_and_the_example_load_without_findings() {
    assert!(Policy::shipped().warnings().is_empty(), "{:?}", Policy::shipped().warnings());
    assert!(strict_policy().warnings().iter().all(|finding| finding.severity == Severity::Warning));
}

#[test]
fn the_shipped_files_state_the_defaults() {
    let (shipped, empty) = (Policy::shipped(), load(&[("empty.toml", "")]));
    assert_eq!(shipped.trust(), empty.trust());
    assert_eq!(shipped.tls(), empty.tls());
    assert_eq!(shipped.limits(), empty.limits());
    assert_eq!(shipped.search(), empty.search());
    assert_eq!(shipped.bundle(), empty.bundle());
    assert_eq!(shipped.allow_list(), empty.allow_list());
    assert_eq!(shipped.outbound(), empty.outbound());
    assert_eq!(shipped.audit(), empty.audit());
    assert_eq!(shipped.time_zone(), empty.time_zone());
    assert!(empty.rules().all().is_empty());
}

#[test]
fn values_have_their_units() {
    let policy = load(&[(
        "p.toml",
        "[limits.body]\ndefault = \"2MiB\"\nTask = \"1KiB\"\n[limits.timeouts]\nheader = \"5s\"\n[limits.rate]\nper-identity = \"50/s\"\n",
    )]);
    assert_eq!(policy.limits().body.of(Some(fhir::ResourceType::Task)), 1024);
    assert_eq!(policy.limits().body.of(Some(fhir::ResourceType::Patient)), 2 << 20);
    assert_eq!(policy.limits().body.of(None), 64 << 20);
    assert_eq!(policy.limits().timeouts.header, Duration::from_secs(5));
    assert_eq!(policy.limits().rate.per_identity, 50);
}

#[test]
fn every_mistake_is_reported_at_once_with_its_line() {
    let text = r#"
[tls]
profile = "bis"
hsst = "x"

[limits.head]
bytes = 5
headers = 1000

[limits.body]
task = "4MiB"

[[rule]]
id = "a b"
effect = "permit"
subject = "practitioner"
match = { operations = ["raed"], types = ["task"] }

[[rule]]
id = "empty"
effect = "deny"
subject = "any"
match = { operations = ["read"], types = ["*"] }
netwroks = []

[trust]
deny-thumbprints = ["ABC"]

[outbund]
mode = "any"
"#;
    let expected = [
        (3, "tls.profile"),
        (4, "tls.hsst"),
        (7, "limits.head.bytes"),
        (8, "limits.head.headers"),
        (11, "limits.body.task"),
        (14, "rule.id"),
        (15, "rule.effect"),
        (16, "rule.subject"),
        (17, "rule.match.operations"),
        (17, "rule.match.types"),
        (24, "rule.netwroks"),
        (27, "trust.deny-thumbprints"),
        (29, "outbund"),
    ];
    assert_eq!(lines(text), expected.map(|(line, key)| (line, key.to_owned())));
}

fn rule(id: &str, effect: &str, subject: &str, operations: &str, types: &str, rest: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\nsubject = {subject}\nmatch = {{ operations = {operations}, types = {types} }}\n{rest}\n"
    )
}

#[test]
fn edge_e11_no_rule_gives_remote_organisations_more_than_dsf_does() {
    for subject in
        ["\"remote-organization\"", "\"any\"", "\"org:x.example\"", "\"role:p.example/DIC\"", "[\"person\", \"any\"]"]
    {
        for (operations, types) in [
            ("[\"*\"]", "[\"*\"]"),
            ("[\"update\"]", "[\"Task\"]"),
            ("[\"conditional-delete\"]", "[\"Task\"]"),
            ("[\"delete\"]", "[\"Task\"]"),
            ("[\"permanent-delete\"]", "[\"Task\"]"),
            ("[\"websocket\"]", "[\"*\"]"),
            ("[\"create\"]", "[\"*\"]"),
            ("[\"create\"]", "[\"Task\", \"Binary\"]"),
        ] {
            let text = rule("r", "allow", subject, operations, types, "");
            let found = findings(&text);
            assert!(found[0].2.contains("remote organisations"), "{text}");
            assert_eq!(found[0].0, 2);
            load(&[("p.toml", &rule("r", "deny", subject, operations, types, ""))]);
        }
    }
    load(&[("p.toml", &rule("r", "allow", "\"local-organization\"", "[\"*\"]", "[\"*\"]", ""))]);
}

#[test]
fn edge_e10_a_rule_that_can_never_apply_is_an_error() {
    let deny = rule("no", "deny", "\"any\"", "[\"read\", \"search\"]", "[\"*\"]", "");
    let allow = rule("yes", "allow", "\"person\"", "[\"read\"]", "[\"Patient\"]", "");
    assert!(findings(&format!("{deny}{allow}"))[0].2.contains("never applies"));
    let narrower = rule("no", "deny", "\"any\"", "[\"read\"]", "[\"*\"]", "networks = [\"10.0.0.0/8\"]");
    load(&[("p.toml", &format!("{narrower}{allow}"))]);
    let other = rule("no", "deny", "\"local-organization\"", "[\"read\"]", "[\"*\"]", "");
    load(&[("p.toml", &format!("{other}{allow}"))]);
}

#[test]
fn conditions_on_tasks_belong_to_rules_about_tasks() {
    let when = "when.task = { status = \"requested\" }";
    load(&[("p.toml", &rule("r", "allow", "\"any\"", "[\"create\"]", "[\"Task\"]", when))]);
    for (operations, types) in
        [("[\"read\"]", "[\"Task\"]"), ("[\"create\"]", "[\"Task\", \"Patient\"]"), ("[\"create\"]", "[\"*\"]")]
    {
        let text = rule("r", "deny", "\"any\"", operations, types, when);
        assert!(findings(&text)[0].2.contains("condition on Tasks"), "{text}");
    }
    let wrong = rule(
        "r",
        "allow",
        "\"any\"",
        "[\"create\"]",
        "[\"Task\"]",
        "when.task = { statsu = \"x\", status = \"open\", process = \"a*b\" }\nwhen.body = 1",
    );
    assert_eq!(
        lines(&wrong),
        [
            (6, "rule.when.task.status"),
            (6, "rule.when.task.process"),
            (6, "rule.when.task.statsu"),
            (7, "rule.when.body")
        ]
        .map(|(line, key)| (line, key.to_owned()))
    );
}

#[test]
fn files_are_merged_and_duplicates_are_errors_with_their_file() {
    let one = "[limits.head]\nheaders = 50\n";
    let two = "[limits.head]\nbytes = \"16KiB\"\n";
    let policy = load(&[("one.toml", one), ("two.toml", two)]);
    assert_eq!((policy.limits().head.headers, policy.limits().head.bytes), (50, 16384));
    let again = "\n[limits.head]\nheaders = 60\n";
    let mut found = Policy::load(&[("one.toml", one), ("two.toml", again)]).unwrap_err();
    found.retain(Finding::is_error);
    assert_eq!((found[0].file.as_str(), found[0].line, found[0].key.as_str()), ("two.toml", 3, "limits.head.headers"));
    let rule = rule("r", "deny", "\"any\"", "[\"read\"]", "[\"*\"]", "");
    let found = Policy::load(&[("one.toml", rule.as_str()), ("two.toml", rule.as_str())]).unwrap_err();
    assert_eq!((found[0].file.as_str(), found[0].line), ("two.toml", 2));
    let person = identity_file();
    assert_eq!(
        Policy::load(&[("one.toml", person.as_str()), ("two.toml", person.as_str())])
            .unwrap_err()
            .iter()
            .filter(|f| f.is_error())
            .count(),
        2
    );
}

#[test]
fn errors_across_keys_are_found_in_the_right_file() {
    let found = Policy::load(&[
        ("a.toml", "schema = 1\n"),
        ("b.toml", "[outbound]\nmode = \"any\"\ndeny-private-addresses = false\n"),
    ])
    .unwrap_err();
    let error = found.iter().find(|finding| finding.is_error()).unwrap();
    assert_eq!((error.file.as_str(), error.line), ("b.toml", 3));
}

#[test]
fn persons_are_validated() {
    let text = "[[identity.person]]\nid = \"x\"\nthumbprint = \"AB\"\ndsf-role = [\"READ\", \"WRITE\", \"CREATE[Tsk]\", \"CREATE[Task\", \"UPDATE[Task, Binary]\"]\npractitioner-role = \"DIC\"\nnetworks = [\"10.0.0.0\"]\n";
    let expected = ["thumbprint", "dsf-role", "dsf-role", "dsf-role", "practitioner-role", "networks"];
    let found: Vec<String> = lines(text).into_iter().map(|(_, key)| key.replace("identity.person.", "")).collect();
    assert!(expected.iter().all(|key| found.contains(&(*key).to_owned())), "{found:?}");
}

#[test]
fn star_patterns_of_urls_do_not_leave_their_host() {
    for (source, valid) in [
        ("https://a.example/fhir/Bundle/*", true),
        ("https://a.example/fhir/Bundle/1", true),
        ("https://a.example", true),
        ("https://a.example*", false),
        ("https://*", false),
        ("https://*.example/", false),
        ("http://a.example/x", false),
        ("https://a@b.example/x", false),
        ("https:///x*", false),
    ] {
        let text = format!("[outbound]\nextra = [\"{source}\"]\n");
        assert_eq!(Policy::load(&[("p.toml", &text)]).is_ok(), valid, "{source}");
    }
}

/// So that no finding says that rules are missing.
const RULE: &str = "[[rule]]\nid = \"r\"\neffect = \"deny\"\nsubject = \"any\"\nmatch = { operations = [\"read\"], types = [\"*\"] }\n";

#[test]
fn what_this_version_does_not_enforce_is_refused_with_its_place() {
    for (text, line, key) in [
        ("[audit]\nformat = \"ecs-json\"", 2, "audit.format"),
        ("[audit]\nsink = [\"syslog://siem.example:514\"]", 2, "audit.sink"),
        ("[audit]\nsink = [\"journald\", \"journald\"]", 2, "audit.sink"),
        ("[audit]\nsink-patience = \"10ms\"", 2, "audit.sink-patience"),
        ("[limits.body]\nBundle = \"65MiB\"", 2, "limits.body.Bundle"),
        ("[limits.body]\ndefault = \"0B\"", 2, "limits.body.default"),
        // Elsewhere an empty list means that nothing is restricted.
        ("[trust.keys]\ncurves = []", 1, "trust.keys.curves"),
    ] {
        assert_eq!(lines(&format!("{text}\n{RULE}")), [(line, key.to_owned())], "{text}");
    }
    load(&[(
        "p.toml",
        "time-zone = \"Europe/Berlin\"\n[trust.revocation]\nmode = \"off\"\n[allow-list]\nsources = []\napproval = \"none\"\n[audit]\nformat = \"json-lines\"\nsink = [\"journald\", \"tls-syslog://siem.example:6514\"]\ndead-sink = \"serve\"\nsink-patience = \"5min\"\n",
    )]);
}

#[test]
fn lists_are_taken_from_the_sources_that_are_named() {
    let named = |sources: &str| load(&[("p.toml", &format!("[allow-list]\nsources = [{sources}]\n{RULE}"))]);
    let url = "https://ttp.example/fhir/Bundle/1";
    assert!(named("").allow_list().permits_source(url), "any endpoint of the list");
    assert!(named("\"https://ttp.example/fhir/Bundle/1\"").allow_list().permits_source(url));
    assert!(
        named("\"https://a.example/fhir/*\", \"https://ttp.example/fhir/Bundle/*\"").allow_list().permits_source(url)
    );
    for other in [
        "https://ttp.example/fhir/Bundle/",
        "https://ttp.example.evil/fhir/Bundle/*",
        "https://ttp.example/fhir/Bundle/11",
    ] {
        assert!(!named(&format!("\"{other}\"")).allow_list().permits_source(url), "{other}");
    }
}

#[test]
fn a_list_is_known_by_its_identifier() {
    let bundle = |identifier: &str| json(&format!(r#"{{"resourceType":"Bundle","type":"transaction"{identifier}}}"#));
    let right = r#","identifier":{"system":"http://dsf.dev/fhir/CodeSystem/allow-list","value":"allow_list"}"#;
    let policy = Policy::shipped();
    assert!(policy.allow_list().has_required_identifier(&bundle(right)));
    assert!(!policy.allow_list().has_required_identifier(&bundle("")));
    assert!(!policy.allow_list().has_required_identifier(&bundle(&right.replace("allow_list", "other"))));
    let text =
        format!("[allow-list]\nrequire-identifier = \"http://dsf.dev/fhir/CodeSystem/allow-list|other\"\n{RULE}");
    let policy = load(&[("p.toml", &text)]);
    assert!(!policy.allow_list().has_required_identifier(&bundle(right)));
}

#[test]
fn restrictions_are_validated_with_their_place() {
    let rule = |rest: &str| {
        format!(
            "[[rule]]\nid = \"x\"\nsubject = \"any\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\n{rest}\n"
        )
    };
    for (rest, line, key) in [
        ("effect = \"restrict\"", 1, "rule.only"),
        ("effect = \"allow\"\nonly.size = \"1KiB\"", 6, "rule.only"),
        ("effect = \"restrict\"\nonly.time = { days = [\"monday\"] }", 6, "rule.only.time.days"),
        ("effect = \"restrict\"\nonly.time = { from = \"7:00\" }", 6, "rule.only.time.from"),
        ("effect = \"restrict\"\nonly.time = { to = \"24:01\" }", 6, "rule.only.time.to"),
        ("effect = \"restrict\"\nonly.time = { from = \"10:00\", to = \"10:00\" }", 6, "rule.only.time"),
        ("effect = \"restrict\"\nonly.count = { most = 50 }", 6, "rule.only.count.per"),
        ("effect = \"restrict\"\nonly.count = { most = 50, per = \"year\" }", 6, "rule.only.count.per"),
        ("effect = \"restrict\"\nonly.rate = \"10\"", 6, "rule.only.rate"),
        ("effect = \"deny\"\nwhen.profile = []", 6, "rule.when.profile"),
    ] {
        assert_eq!(lines(&format!("{}{RULE}", rule(rest))), [(line, key.to_owned())], "{rest}");
    }
    let read = "[[rule]]\nid = \"x\"\neffect = \"restrict\"\nsubject = \"any\"\nmatch = { operations = [\"read\"], types = [\"*\"] }\nonly.count = { most = 1, per = \"day\" }\n";
    assert_eq!(lines(read), [(6, "rule.only.count".to_owned())]);
    assert_eq!(lines(&format!("time-zone = \"Berlin\"\n{RULE}")), [(1, "time-zone".to_owned())]);
}

#[test]
fn the_version_is_the_digest_of_the_tree() {
    let version = |files: &[(&str, &str)]| load(files).version().to_owned();
    let (a, b) = (("a.toml", "schema = 1\n"), ("b.toml", ""));
    assert_eq!(version(&[a, b]), version(&[b, a]));
    assert_eq!(version(&[a]).len(), 64);
    assert_ne!(version(&[a]), version(&[("a.toml", "schema = 1\n\n")]));
    assert_ne!(version(&[a]), version(&[("c.toml", "schema = 1\n")]));
    assert_ne!(version(&[("ab", ""), ("c", "")]), version(&[("a", ""), ("bc", "")]));
}

#[test]
fn a_policy_without_rules_is_warned_about() {
    assert!(load(&[("empty.toml", "")]).warnings()[0].text.contains("every request is denied"));
}

#[test]
fn an_oversized_file_is_refused() {
    let text = "#".repeat(crate::limits::POLICY_FILE_BYTES + 1);
    assert_eq!(Policy::load(&[("big.toml", &text)]).unwrap_err().len(), 1);
}

/// What the index leaves out can never apply: a walk over all rules finds the same ones.
#[test]
fn rules_are_found_by_the_index_as_by_a_walk_over_all() {
    use crate::decision::{Context, Origin};
    use crate::interaction::Interaction;
    use crate::policy::rules::{Body, Question, Rule};
    let rule = |id: &str, effect: &str, subject: &str, when: &str| {
        let only = if effect == "restrict" { "only.size = \"1KiB\"\n" } else { "" };
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\nsubject = \"{subject}\"\nmatch = {{ operations = [\"create\"], types = [\"Task\"] }}\n{when}\n{only}"
        )
    };
    let conditions = [
        "",
        "when.task = { process = [\"http://x.example/bpe/Process/a|1.0\"] }",
        "when.task = { process = [\"http://x.example/bpe/Process/a|*\", \"http://x.example/bpe/Process/b\"] }",
        "when.task = { process = [\"http://x.example/bpe/Process/*\"] }",
        "when.task = { process = [\"*\"], status = \"draft\" }",
        "when.task = { status = \"requested\" }",
        "when.task = { process = [\"http://x.example/bpe/Process/b|1.*\", \"http://*\"], message-name = [\"m\"] }",
        "when.profile = [\"http://x.example/p\"]",
    ];
    let subjects = ["any", "remote-organization", "org:dic-1.example", "role:consortium.example/DIC"];
    let mut text = "schema = 1\n".to_owned();
    for (number, when) in conditions.iter().enumerate() {
        for (turn, subject) in subjects.iter().enumerate() {
            for effect in ["allow", "deny", "restrict"] {
                text.push_str(&rule(&format!("{effect}-{turn}-{number}"), effect, subject, when));
            }
        }
    }
    // One effect alone at a time, since an allow under an unconditional deny is refused.
    let bodies = ["a|1.0", "a|2.0", "a", "b", "b|1.5", "c|1.0", "a|1.0|x", ""].map(|process| {
        let canonical = format!("\"instantiatesCanonical\":\"http://x.example/bpe/Process/{process}\",");
        let canonical = if process.is_empty() { String::new() } else { canonical };
        json(&format!("{{\"resourceType\":\"Task\",{canonical}\"status\":\"requested\"}}"))
    });
    let list = allow_list();
    for effect in ["allow", "deny", "restrict"] {
        let kept = text.split("[[rule]]").filter(|part| part.contains(&format!("id = \"{effect}-")));
        let text: String = kept.map(|part| format!("[[rule]]{part}")).collect();
        let policy = Policy::load(&[("rules.toml", format!("schema = 1\n{text}"))]).unwrap();
        for certificate in [MEMBER_CERTIFICATE, OTHER_CERTIFICATE, LOCAL_CERTIFICATE] {
            let identity = list.identify(&thumbprint(certificate), None, &policy);
            let known = bodies.iter().map(|body| Body::Resource(body.tree()));
            for body in known.chain([Body::NotYet, Body::None]) {
                let context =
                    Context { now: time::OffsetDateTime::UNIX_EPOCH, origin: Origin::Engine, body_bytes: None };
                let question = Question {
                    identity: &identity,
                    interaction: Interaction::Create,
                    resource_type: Some(fhir::ResourceType::Task),
                    body,
                    context: &context,
                    zone: policy.zone(),
                };
                let walked: Vec<&str> = policy
                    .rules()
                    .all()
                    .iter()
                    .filter(|rule| rule.applies(&question, &list))
                    .map(|rule| rule.id.as_str())
                    .collect();
                let id = |rule: Option<&Rule>| rule.map(|rule| rule.id.to_string());
                let first = walked.first().map(|id| (*id).to_owned());
                match effect {
                    "allow" => assert_eq!(id(policy.rules().allowing(&question, &list)), first),
                    "deny" => assert_eq!(id(policy.rules().denying(&question, &list)), first),
                    _ => {
                        let found: Vec<String> =
                            policy.rules().restricting(&question, &list).map(|rule| rule.id.to_string()).collect();
                        assert_eq!(found, walked);
                    }
                }
            }
        }
    }
}
