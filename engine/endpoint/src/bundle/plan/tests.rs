use super::{Command, Kind, Plan};
use fhir::{Limits, Resource};

const BASE: &str = "https://test.example/fhir";

fn plan(entry: &str) -> Result<Plan, u16> {
    let text = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entry}]}}"#);
    let bundle: Resource = fhir::json::parse(text.as_bytes(), &Limits::default()).unwrap();
    Plan::of(bundle, BASE).map_err(|refusal| refusal.status.as_u16())
}

fn entry_status(entry: &str) -> Option<u16> {
    let plan = plan(entry).expect("the whole Bundle is refused");
    assert_eq!(plan.kind, Kind::Batch);
    plan.entries[0].as_ref().err().map(|refusal| refusal.status.as_u16())
}

const PATIENT: &str = r#""resource":{"resourceType":"Patient"}"#;

#[test]
fn entries_that_obey_the_rules_become_commands() {
    let id = "11111111-2222-4333-8444-555555555555";
    let table = [
        format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"POST","url":"Patient"}}}}"#),
        format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"PUT","url":"Patient?identifier=1"}}}}"#),
        format!(
            r#"{{"fullUrl":"{BASE}/Patient/{id}","resource":{{"resourceType":"Patient","id":"{id}"}},"request":{{"method":"PUT","url":"Patient/{id}"}}}}"#
        ),
        format!(r#"{{"request":{{"method":"DELETE","url":"Patient/{id}"}}}}"#),
        r#"{"request":{"method":"DELETE","url":"Patient?identifier=1"}}"#.to_owned(),
        format!(r#"{{"request":{{"method":"GET","url":"Patient/{id}/_history/1"}}}}"#),
        r#"{"request":{"method":"GET","url":"Patient?identifier=a|b"}}"#.to_owned(),
        r#"{"request":{"method":"HEAD","url":"urn:uuid:a"}}"#.to_owned(),
    ];
    for entry in table {
        assert_eq!(entry_status(&entry), None, "{entry}");
    }
}

#[test]
fn entries_that_break_a_rule_are_refused_in_their_place() {
    let table = [
        format!(r#"{{{PATIENT},"request":{{"method":"POST","url":"Patient"}}}}"#),
        format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"POST","url":"Group"}}}}"#),
        format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"POST","url":"https://other.example/Patient"}}}}"#),
        r#"{"fullUrl":"urn:uuid:a","resource":{"resourceType":"Patient","id":"b"},"request":{"method":"POST","url":"Patient"}}"#.to_owned(),
        format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"PUT","url":"Patient/1"}}}}"#),
        r#"{"request":{"method":"GET","url":"Patient"}}"#.to_owned(),
        r#"{"request":{"method":"GET","url":"Patient/1/$permanent-delete"}}"#.to_owned(),
        r#"{"request":{"method":"DELETE","url":"urn:uuid:a"}}"#.to_owned(),
    ];
    for entry in table {
        assert_eq!(entry_status(&entry), Some(400), "{entry}");
    }
}

#[test]
fn a_bundle_is_refused_as_a_whole_for_entries_that_are_no_requests() {
    let create = format!(r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"POST","url":"Patient"}}}}"#);
    let table = [
        "1".to_owned(),
        "{}".to_owned(),
        format!("{{{PATIENT}}}"),
        format!(r#"{{{PATIENT},"request":{{"url":"Patient"}}}}"#),
        format!(r#"{{{PATIENT},"request":{{"method":"GET","url":"Patient/1"}}}}"#),
        r#"{"request":{"method":"POST","url":"Patient"}}"#.to_owned(),
        format!(r#"{{{PATIENT},"request":{{"method":"PATCH","url":"Patient/1"}}}}"#),
        format!("{create},{create}"),
    ];
    for entry in table {
        assert_eq!(plan(&entry).err(), Some(400), "{entry}");
    }
}

#[test]
fn conditions_and_versions_travel_with_their_commands() {
    let entry = format!(
        r#"{{"fullUrl":"urn:uuid:a",{PATIENT},"request":{{"method":"POST","url":"Patient","ifNoneExist":"identifier=1"}}}}"#
    );
    let planned = plan(&entry).unwrap().entries.remove(0).unwrap();
    let Command::Create { if_none_exist, .. } = planned.command else { panic!("no create") };
    assert_eq!(if_none_exist.as_deref(), Some("identifier=1"));
    assert_eq!(planned.temporary_id.as_deref(), Some("urn:uuid:a"));
}
