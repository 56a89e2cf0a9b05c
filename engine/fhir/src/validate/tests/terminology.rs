//! Value sets that are expanded from local code systems.

use super::support::json;
use crate::validate::ProfileRegistry;
use crate::validate::terminology::{Membership, expand};

const SYSTEM: &str = "http://example.org/animals";

fn registry(compose: &str) -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    registry.add(json(&format!(
        r#"{{"resourceType":"CodeSystem","url":"{SYSTEM}","version":"1.0","status":"active","content":"complete","concept":[
            {{"code":"animal","concept":[
                {{"code":"bird","property":[{{"code":"wings","valueBoolean":true}}],"concept":[{{"code":"duck"}}]}},
                {{"code":"fish"}}]}},
            {{"code":"bat","property":[{{"code":"parent","valueCode":"animal"}},{{"code":"wings","valueBoolean":true}}]}},
            {{"code":"stone"}}]}}"#
    )));
    registry.add(json(&format!(
        r#"{{"resourceType":"CodeSystem","url":"{SYSTEM}","version":"2.0","status":"active","content":"complete","concept":[{{"code":"new"}}]}}"#
    )));
    registry.add(json(&format!(
        r#"{{"resourceType":"ValueSet","url":"http://example.org/flying","status":"active","compose":{{"include":[
            {{"system":"{SYSTEM}","version":"1.0","concept":[{{"code":"duck"}},{{"code":"bat"}}]}}]}}}}"#
    )));
    registry.add(json(&format!(
        r#"{{"resourceType":"ValueSet","url":"http://example.org/vs","status":"active","compose":{compose}}}"#
    )));
    registry
}

/// The codes of version 1.0 that the value set has, and why it is not complete.
fn members(compose: &str) -> (String, Option<String>) {
    let set = expand("http://example.org/vs", &registry(compose)).unwrap();
    let codes = ["animal", "bird", "duck", "fish", "bat", "stone", "new"];
    let found: Vec<_> =
        codes.into_iter().filter(|code| set.membership(Some(SYSTEM), None, code) == Membership::Member).collect();
    let reason = match set.membership(Some("http://other"), None, "x") {
        Membership::Unknown(reason) => Some(reason),
        _ => None,
    };
    (found.join(" "), reason)
}

fn include(filter: &str) -> String {
    format!(r#"{{"include":[{{"system":"{SYSTEM}","version":"1.0","filter":[{filter}]}}]}}"#)
}

#[test]
fn filters_follow_the_hierarchy_and_properties() {
    let filter =
        |property: &str, op: &str, value: &str| format!(r#"{{"property":"{property}","op":"{op}","value":"{value}"}}"#);
    for (property, op, value, expected) in [
        ("concept", "is-a", "animal", "animal bird duck fish bat"),
        ("concept", "is-a", "bird", "bird duck"),
        ("concept", "descendent-of", "animal", "bird duck fish bat"),
        ("concept", "is-not-a", "bird", "animal fish bat stone"),
        ("concept", "generalizes", "duck", "animal bird duck"),
        ("code", "in", "duck, stone", "duck stone"),
        ("concept", "not-in", "duck,stone", "animal bird fish bat"),
        ("concept", "=", "fish", "fish"),
        ("wings", "=", "true", "bird bat"),
        ("wings", "exists", "false", "animal duck fish stone"),
        ("parent", "=", "animal", "bird fish bat"),
    ] {
        let (found, reason) = members(&include(&filter(property, op, value)));
        assert_eq!((found.as_str(), reason), (expected, None), "{property} {op} {value}");
    }
    let both = format!("{},{}", filter("concept", "is-a", "animal"), filter("wings", "=", "true"));
    assert_eq!(members(&include(&both)).0, "bird bat");
    let unknown = members(&include(&filter("concept", "regex", "a.*")));
    assert!(unknown.0.is_empty() && unknown.1.unwrap().contains("regex"));
}

#[test]
fn value_sets_are_excluded_intersected_and_united() {
    let all = format!(r#"{{"system":"{SYSTEM}","version":"1.0"}}"#);
    let flying = r#"{"valueSet":["http://example.org/flying"]}"#;
    let is_a_bird = format!(
        r#"{{"system":"{SYSTEM}","version":"1.0","filter":[{{"property":"concept","op":"is-a","value":"bird"}}]}}"#
    );
    let both = format!(
        r#"{{"system":"{SYSTEM}","version":"1.0","filter":[{{"property":"concept","op":"is-a","value":"bird"}}],"valueSet":["http://example.org/flying"]}}"#
    );
    for (include, exclude, expected) in [
        (all.as_str(), flying, "animal bird fish stone"),
        (&all, is_a_bird.as_str(), "animal fish bat stone"),
        (&both, "", "duck"),
        (flying, "", "duck bat"),
        (flying, &all, ""),
    ] {
        let exclude = if exclude.is_empty() { String::new() } else { format!(r#","exclude":[{exclude}]"#) };
        let (found, reason) = members(&format!(r#"{{"include":[{include}]{exclude}}}"#));
        assert_eq!((found.as_str(), reason), (expected, None), "{include} {exclude}");
    }
    let newest = format!(r#"{{"include":[{{"system":"{SYSTEM}"}}]}}"#);
    assert_eq!(members(&newest).0, "new");
    let unknown = members(r#"{"include":[{"valueSet":["http://example.org/nobody"]}]}"#);
    assert!(unknown.1.unwrap().contains("nobody is not known"));
}

#[test]
fn a_value_set_may_come_with_its_expansion_alone() {
    let mut registry = ProfileRegistry::new();
    registry.add(json(
        r#"{"resourceType":"ValueSet","url":"http://example.org/e","status":"active","expansion":{"timestamp":"2024-01-01","contains":[
            {"abstract":true,"system":"http://s","code":"a","contains":[{"system":"http://s","code":"b"}]}]}}"#,
    ));
    let set = expand("http://example.org/e", &registry).unwrap();
    assert_eq!(set.membership(Some("http://s"), None, "b"), Membership::Member);
    assert_eq!(set.membership(Some("http://s"), None, "a"), Membership::Foreign);
}
