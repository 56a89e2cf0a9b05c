use super::*;
use crate::interaction::Interaction;
use crate::world::json;

fn bundle(entries: &str) -> fhir::Resource {
    json(
        &format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}"#)
            .replace(r#","entry":[]"#, ""),
    )
}

fn entry(method: &str, url: &str, resource: &str) -> String {
    let resource = if resource.is_empty() { String::new() } else { format!(r#""resource":{resource},"#) };
    format!(r#"{{"fullUrl":"urn:uuid:1a2b",{resource}"request":{{"method":"{method}","url":"{url}"}}}}"#)
}

#[test]
fn entries_become_requests_of_the_table() {
    let text = [
        entry("POST", "Task", r#"{"resourceType":"Task"}"#),
        entry("GET", "Organization?active=true", ""),
        entry("GET", "urn:uuid:1a2b", ""),
        entry(
            "PUT",
            "Organization?identifier=http://dsf.dev/sid/organization-identifier|a b",
            r#"{"resourceType":"Organization"}"#,
        ),
    ];
    let bundle = bundle(&text.join(","));
    let entries = entries(bundle.tree(), 4).unwrap();
    let interactions: Vec<Interaction> = entries.iter().map(|entry| entry.request.interaction()).collect();
    use Interaction::{ConditionalUpdate, Create, Read, Search};
    assert_eq!(interactions, [Create, Search, Read, ConditionalUpdate]);
    assert_eq!(entries[2].request.resource_type(), Some(ResourceType::Task));
    assert_eq!(entries[3].request.query()[0].1, "http://dsf.dev/sid/organization-identifier|a b");
    assert!(entries[3].resource.is_some());
}

#[test]
fn attack_a13_edge_t63_t64_entries_hide_nothing() {
    for text in [
        entry("DELETE", "https://other.example/fhir/Task/1", ""),
        entry("POST", "Task/1/$permanent-delete", ""),
        entry("POST", "", r#"{"resourceType":"Bundle","type":"transaction"}"#),
        entry("PATCH", "Task/1", r#"{"resourceType":"Task"}"#),
        entry("POST", "Organization", r#"{"resourceType":"Task"}"#),
        entry("PUT", "Organization?identifier=a", r#"{"resourceType":"Task"}"#),
        entry("POST", "Task", ""),
        entry("POST", "Task", r#""text""#),
        entry("GET", "Task/1", r#"{"resourceType":"Task"}"#),
        entry("GET", "urn:uuid:0000", ""),
        entry("DELETE", "urn:uuid:1a2b", ""),
        r#"{"resource":{"resourceType":"Task"}}"#.to_owned(),
        r#"{"request":{"method":"GET"}}"#.to_owned(),
        r#"{"request":{"url":"Task/1"}}"#.to_owned(),
    ] {
        assert!(entries(bundle(&text).tree(), 10).is_err(), "{text}");
    }
    let two = [entry("GET", "Task/1", ""), entry("GET", "Task/2", "")].join(",");
    assert_eq!(entries(bundle(&two).tree(), 1).unwrap_err(), BundleError::TooManyEntries { entries: 2, most: 1 });
}

#[test]
fn only_batches_and_transactions_are_executed() {
    assert_eq!(kind(bundle("").tree()), Ok(BundleKind::Transaction));
    for text in [
        r#"{"resourceType":"Bundle","type":"collection"}"#,
        r#"{"resourceType":"Bundle"}"#,
        r#"{"resourceType":"Task","type":"batch"}"#,
    ] {
        assert_eq!(kind(json(text).tree()), Err(BundleError::Kind), "{text}");
    }
}
