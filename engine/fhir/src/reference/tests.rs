use super::{Literal, Logical, Place, Reference, collect, hide_resolved_literals};
use crate::{Canonical, Limits, Object, Resource, json};

fn resource(text: &str) -> Resource {
    json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn the_text_decides_what_a_literal_is() {
    let literal = |version: Option<&str>| {
        Reference::Literal(Literal { type_name: "Task".into(), id: "a-1".into(), version: version.map(str::to_owned) })
    };
    assert_eq!(Reference::parse_literal("Task/a-1"), literal(None));
    assert_eq!(Reference::parse_literal("Task/a-1/_history/2"), literal(Some("2")));
    assert_eq!(Reference::parse_literal("HTTPS://x/fhir/Task/1"), Reference::Absolute("HTTPS://x/fhir/Task/1".into()));
    assert_eq!(Reference::parse_literal("urn:uuid:1"), Reference::Temporary("urn:uuid:1".into()));
    assert_eq!(Reference::parse_literal("#p"), Reference::Contained("p".into()));
    assert_eq!(
        Reference::parse_literal("Patient?identifier=a|b"),
        Reference::Conditional { type_name: "Patient".into(), query: "identifier=a|b".into() }
    );
    for text in
        ["", "Task", "Task/", "task/1", "Task/1/_history", "Task/a b", "/Task/1", "Task/1/2", "a?b", "../Task/1"]
    {
        assert_eq!(Reference::parse_literal(text), Reference::Unknown(text.into()), "{text:?}");
    }
}

#[test]
fn an_absolute_reference_to_this_endpoint_is_a_literal() {
    let base = "https://dic-1.example/fhir";
    let literal = Reference::parse_literal("https://dic-1.example/fhir/Binary/1").relative_to(base);
    assert_eq!(literal, Reference::Literal(Literal { type_name: "Binary".into(), id: "1".into(), version: None }));
    let other = Reference::parse_literal("https://dic-1.example/fhirx/Binary/1");
    assert_eq!(other.clone().relative_to(base), other);
}

#[test]
fn a_reference_without_literal_is_logical_only_with_type_system_and_value() {
    let identifier = Object::new().with("system", "s").with("value", "v");
    let logical = Object::new().with("type", "Organization").with("identifier", identifier.clone());
    assert_eq!(
        Reference::parse(&logical),
        Reference::Logical(Logical { type_name: "Organization".into(), system: "s".into(), value: "v".into() })
    );
    assert_eq!(Reference::parse(&Object::new().with("identifier", identifier)), Reference::Unknown(String::new()));
}

const TASK: &str = r##"{"resourceType":"Task",
    "extension":[{"url":"http://x","valueReference":{"reference":"Patient/1"}}],
    "contained":[{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"Patient/9"},"type":"seealso"}]}],
    "instantiatesCanonical":"http://dsf.dev/bpe/Process/ping|1.0",
    "_status":{"extension":[{"url":"http://y","valueReference":{"reference":"Patient/2"}}]},
    "requester":{"type":"Organization","identifier":{"system":"s","value":"v"},"reference":"Organization/3"},
    "restriction":{"recipient":[{"type":"Organization","identifier":{"system":"s","value":"w"}}]},
    "input":[{"type":{"text":"a"},"valueReference":{"reference":"urn:uuid:4"}},
             {"type":{"text":"b"},"valueAttachment":{"url":"https://x/Binary/5"}}]}"##;

#[test]
fn references_are_found_everywhere_but_in_other_resources() {
    let found = collect(&resource(TASK));
    let paths: Vec<_> = found.iter().map(|found| (found.path.as_str(), found.place)).collect();
    assert_eq!(
        paths,
        [
            ("Task.extension[0].valueReference", Place::Reference),
            ("Task.instantiatesCanonical", Place::Canonical),
            ("Task._status.extension[0].valueReference", Place::Reference),
            ("Task.requester", Place::Reference),
            ("Task.restriction.recipient[0]", Place::Reference),
            ("Task.input[0].valueReference", Place::Reference),
            ("Task.input[1].valueAttachment", Place::Attachment),
        ]
    );
    assert_eq!(
        found[1].reference,
        Reference::Canonical(Canonical::parse("http://dsf.dev/bpe/Process/ping|1.0").unwrap())
    );
    assert!(found[3].targets.contains(&"Organization"));
    assert!(found[5].targets.is_empty());
}

#[test]
fn responses_hide_the_literal_of_a_resolved_reference() {
    let mut task = resource(TASK);
    hide_resolved_literals(&mut task);
    assert_eq!(task.get("requester").unwrap().str("reference"), None);
    assert_eq!(task.list("input")[0].get("valueReference").unwrap().str("reference"), Some("urn:uuid:4"));
}
