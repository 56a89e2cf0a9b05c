//! The structure of R4 without any profile.

use proptest::prelude::*;

use super::support::{json, listed, ours, ping_pong_tasks};
use crate::validate::primitive::fault;
use crate::validate::{IssueCode, ProfileRegistry, has_errors, unchecked_invariants, validate};
use crate::{Number, Object, Resource, Value};

#[test]
fn structure_is_judged_by_the_tables() {
    let none = ProfileRegistry::new();
    let task = r#""status":"draft","intent":"order""#;
    let accepted = [
        format!(r#"{{"resourceType":"Task",{task}}}"#),
        format!(r#"{{"resourceType":"Task",{task},"_intent":{{"extension":[{{"url":"http://x","valueCode":"a"}}]}}}}"#),
        r#"{"resourceType":"Task","_status":{"extension":[{"url":"http://x","valueCode":"a"}]},"intent":"order"}"#.to_owned(),
        r#"{"resourceType":"Patient","name":[{"given":["A",null],"_given":[{"id":"x"},{"extension":[{"url":"http://x","valueCode":"a"}]}]}]}"#.to_owned(),
        r##"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"x"}],"managingOrganization":{"reference":"#o"}}"##.to_owned(),
        r##"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"http://x/fhir/Patient/1","resource":{"resourceType":"Patient","id":"1","contained":[{"resourceType":"Organization","id":"o","name":"x"}],"managingOrganization":{"reference":"#o"}}}]}"##.to_owned(),
        r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11","resource":{"resourceType":"Patient","active":true}}]}"#.to_owned(),
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00,"unit":"mg"}}"#.to_owned(),
    ];
    for text in accepted {
        let issues = validate(&json(&text), &none);
        assert!(issues.is_empty(), "{text}\n{}", listed(&issues));
    }
    let refused = [
        (format!(r#"{{"resourceType":"Task",{task},"foreign":1}}"#), IssueCode::Structure, "Task"),
        (r#"{"resourceType":"Task","intent":"order"}"#.to_owned(), IssueCode::Required, "Task"),
        (r#"{"resourceType":"Task","status":"open","intent":"order"}"#.to_owned(), IssueCode::CodeInvalid, "Task.status"),
        (r#"{"resourceType":"Task","status":["draft"],"intent":"order"}"#.to_owned(), IssueCode::Structure, "Task"),
        (format!(r#"{{"resourceType":"Task",{task},"identifier":{{"value":"x"}}}}"#), IssueCode::Structure, "Task"),
        (format!(r#"{{"resourceType":"Task",{task},"identifier":[]}}"#), IssueCode::Structure, "Task"),
        (format!(r#"{{"resourceType":"Task",{task},"identifier":[{{}}]}}"#), IssueCode::Structure, "Task.identifier[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"identifier":["x"]}}"#), IssueCode::Structure, "Task.identifier[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"authoredOn":"2024-02-30"}}"#), IssueCode::Value, "Task.authoredOn"),
        (format!(r#"{{"resourceType":"Task",{task},"description":5}}"#), IssueCode::Value, "Task.description"),
        (format!(r#"{{"resourceType":"Task",{task},"requester":{{"reference":"Endpoint/1"}}}}"#), IssueCode::Value, "Task.requester"),
        (format!(r#"{{"resourceType":"Task",{task},"requester":{{"type":"Endpoint"}}}}"#), IssueCode::Value, "Task.requester"),
        (format!(r##"{{"resourceType":"Task",{task},"requester":{{"reference":"#nobody"}}}}"##), IssueCode::Invariant, "Task.requester"),
        (format!(r#"{{"resourceType":"Task",{task},"input":[{{"type":{{"text":"x"}},"valueString":"a","valueCode":"b"}}]}}"#), IssueCode::Structure, "Task.input[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"input":[{{"type":{{"text":"x"}}}}]}}"#), IssueCode::Required, "Task.input[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"extension":[{{"url":"http://x"}}]}}"#), IssueCode::Invariant, "Task.extension[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"extension":[{{"valueCode":"x"}}]}}"#), IssueCode::Required, "Task.extension[0]"),
        (format!(r#"{{"resourceType":"Task",{task},"meta":{{"profile":["http://example.org/unknown"]}}}}"#), IssueCode::NotFound, "Task"),
        (format!(r#"{{"resourceType":"Task",{task},"authoredOn":"2024-05-02T00:00:00Z","lastModified":"2024-05-01T00:00:00Z"}}"#), IssueCode::Invariant, "Task"),
        (r#"{"resourceType":"Patient","name":[{"given":["A",null]}]}"#.to_owned(), IssueCode::Structure, "Patient.name[0].given[1]"),
        (r#"{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"id":"x"}]}]}"#.to_owned(), IssueCode::Structure, "Patient.name[0].given[1]"),
        (r#"{"resourceType":"Patient","_gender":{"id":"x"}}"#.to_owned(), IssueCode::Structure, "Patient.gender"),
        (r#"{"resourceType":"Patient","_name":{"id":"x"}}"#.to_owned(), IssueCode::Structure, "Patient"),
        (r#"{"resourceType":"Foreign","id":"x"}"#.to_owned(), IssueCode::Structure, "Foreign"),
        (r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","active":"yes"}}]}"#.to_owned(), IssueCode::Value, "Bundle.entry[0].resource.active"),
        (format!(r#"{{"resourceType":"Task",{task},"modifierExtension":[{{"url":"http://x","valueCode":"x"}}]}}"#), IssueCode::Extension, "Task.modifierExtension[0]"),
        (r#"{"resourceType":"Binary","contentType":"nonsense"}"#.to_owned(), IssueCode::CodeInvalid, "Binary.contentType"),
    ];
    for (text, code, place) in refused {
        // Some of these are no well-formed FHIR to the parser; the validator must refuse the tree all the same.
        let Value::Object(tree) = super::support::value(&text) else { panic!("{text}") };
        let issues = validate(&Resource::from_tree(tree).unwrap(), &none);
        assert!(has_errors(&issues), "{text} was accepted");
        let found = issues.iter().any(|issue| issue.code == code && issue.expression.as_deref() == Some(place));
        assert!(found, "{text}: {code} at {place} expected\n{}", listed(&issues));
    }
}

#[test]
fn the_bundle_of_public_keys_may_have_a_bad_full_url() {
    let bundle = |value: &str| {
        json(&format!(
            r#"{{"resourceType":"Bundle","type":"collection","identifier":{{
                "system":"http://medizininformatik-initiative.de/fhir/CodeSystem/cryptography","value":"{value}"}},
                "entry":[{{"fullUrl":"urn:uuid:null","resource":{{"resourceType":"Binary","contentType":"text/plain"}}}}]}}"#
        ))
    };
    let none = ProfileRegistry::new();
    let issues = validate(&bundle("public-key"), &none);
    assert!(!issues.is_empty() && !has_errors(&issues), "{}", listed(&issues));
    assert!(has_errors(&validate(&bundle("other"), &none)));
}

#[test]
fn primitives_have_their_forms() {
    let table: [(&str, &[&str], &[&str]); 12] = [
        (
            "date",
            &["2024", "2024-02", "2024-02-29", "0001-01-01"],
            &["2023-02-29", "24", "2024-13", "2024-1-1", "0000", "2024-02-29T00:00:00Z", "2024-", "2024-02-29-01"],
        ),
        (
            "dateTime",
            &["2024", "2024-02-29T23:59:60.5+14:00", "2024-01-01T00:00:00Z"],
            &[
                "2024-01-01T00:00Z",
                "2024-01-01T00:00:00",
                "2024-01T00:00:00Z",
                "2024-01-01T24:00:00Z",
                "2024-01-01T00:00:00+14:01",
                "2024-01-01T00:00:00.Z",
                "2024-01-01 00:00:00Z",
            ],
        ),
        (
            "instant",
            &["2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00-05:00"],
            &["2024-01-01", "2024-01-01T00:00:00"],
        ),
        ("time", &["00:00:00", "23:59:59.1"], &["24:00:00", "00:00", "00:00:00Z", "00:00:00."]),
        ("id", &["a", "A-1.b"], &["a_b", " a", "a/b"]),
        ("code", &["a", "a b"], &["a  b", " a", "a ", "\t"]),
        (
            "uri",
            &["http://x", "urn:uuid:0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11", "urn:oid:1.2.3", "x"],
            &["a b", "urn:uuid:0B2B0F0E-6c9c-4d53-8a6c-0a8c6b0f5a11", "urn:uuid:1", "urn:oid:3.1", "urn:oid:1.02"],
        ),
        ("uuid", &["urn:uuid:0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11"], &["0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11"]),
        ("oid", &["urn:oid:2.16.840.1"], &["urn:oid:2", "2.16"]),
        ("base64Binary", &["QUJD", "QU JD\n", "QQ=="], &["QUJ", "Q?==", " "]),
        ("string", &["a", " a\n"], &[" ", "\n\t"]),
        ("xhtml", &["<div xmlns=\"x\"/>"], &["text", "<p/>"]),
    ];
    for (type_name, valid, invalid) in table {
        for text in valid {
            assert_eq!(fault(type_name, &Value::from(*text)), None, "{type_name} {text:?}");
        }
        for text in invalid.iter().chain([&""]) {
            assert!(fault(type_name, &Value::from(*text)).is_some(), "{type_name} {text:?}");
        }
        assert!(fault(type_name, &Value::Bool(true)).is_some());
    }
    let number = |text: &str| Value::Number(Number::parse(text).unwrap());
    for (type_name, text, valid) in [
        ("integer", "-2147483648", true),
        ("integer", "2147483648", false),
        ("integer", "1.0", false),
        ("unsignedInt", "0", true),
        ("unsignedInt", "-1", false),
        ("positiveInt", "0", false),
        ("positiveInt", "1", true),
        ("decimal", "1.00", true),
        ("decimal", "-1E5", true),
        ("boolean", "1", false),
        ("string", "1", false),
    ] {
        assert_eq!(fault(type_name, &number(text)).is_none(), valid, "{type_name} {text}");
    }
}

#[test]
fn the_invariants_of_r4_that_are_not_checked_are_few() {
    let unchecked: Vec<_> = unchecked_invariants().map(|(path, key)| format!("{path} {key}")).collect();
    println!("{unchecked:?}");
    assert!(unchecked.len() <= 12, "{unchecked:?}");
    // None of them is about the structure of what partners send to each other.
    assert!(!unchecked.iter().any(|invariant| invariant.starts_with("Task ") || invariant.starts_with("Bundle ")));
}

#[test]
fn a_resource_that_is_too_deep_or_too_wrong_is_refused_in_time() {
    let mut extension = Object::new().with("url", "http://x").with("valueCode", "x");
    for _ in 0..500 {
        extension = Object::new().with("url", "http://x").with("extension", vec![Value::Object(extension)]);
    }
    let mut deep = json(r#"{"resourceType":"Task","status":"draft","intent":"order"}"#);
    deep.push("extension", extension);
    let issues = validate(&deep, &ours());
    assert!(issues.iter().any(|issue| issue.code == IssueCode::TooCostly));

    let mut wrong = json(r#"{"resourceType":"Task","status":"draft","intent":"order"}"#);
    wrong.set("identifier", Value::Array((0..50_000_i64).map(Value::from).collect()));
    let issues = validate(&wrong, &ours());
    assert!(has_errors(&issues) && issues.len() < 1_000);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(
                ("_?(id|url|type|coding|system|code|extension|valueString|valueCoding|input|meta|profile|x)", inner),
                0..4
            )
            .prop_map(|members| {
                let mut object = Object::new();
                members.into_iter().for_each(|(name, value)| object.set(&name, value));
                Value::Object(object)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_judged_without_panic(member in "(meta|status|input|output|extension|requester|contained|_status|text)", value in any_value()) {
        static REGISTRY: std::sync::LazyLock<ProfileRegistry> = std::sync::LazyLock::new(ours);
        for (_, mut task) in ping_pong_tasks().into_iter().take(2) {
            task.set(&member, value.clone());
            let _issues = validate(&task, &*REGISTRY);
        }
    }

    #[test]
    fn any_expression_is_compiled_without_panic(text in "[a-z'.()|=$%{}\\[\\]0-9 @`\"\\\\&<>+-]{0,60}") {
        let _result = crate::validate::fhirpath::Expression::compile(&text);
    }
}
