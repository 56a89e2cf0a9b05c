//! Profiles made for one question each.

use super::support::{json, listed};
use crate::Resource;
use crate::validate::{IssueCode, ProfileRegistry, Severity, compile, validate, validate_profile};

const URL: &str = "http://example.org/fhir/StructureDefinition/";

/// A profile with the element definitions, given as JSON.
fn profile(name: &str, type_name: &str, base: &str, elements: &str) -> Resource {
    json(&format!(
        r#"{{"resourceType":"StructureDefinition","url":"{URL}{name}","version":"1.0","name":"Mini","status":"active",
            "kind":"resource","abstract":false,"type":"{type_name}","baseDefinition":"{base}","derivation":"constraint",
            "differential":{{"element":[{elements}]}}}}"#
    ))
}

fn core(type_name: &str) -> String {
    format!("http://hl7.org/fhir/StructureDefinition/{type_name}")
}

/// The findings of the profile alone, as `severity code place`.
fn findings(registry: &ProfileRegistry, name: &str, resource: &str) -> Vec<String> {
    let issues = validate_profile(&json(resource), &format!("{URL}{name}|1.0"), registry);
    println!("{}", listed(&issues));
    issues
        .iter()
        .map(|issue| format!("{} {} {}", issue.severity, issue.code, issue.expression.as_deref().unwrap_or_default()))
        .collect()
}

fn patient(type_: &str, elements: &str) -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    registry.add(profile("p", type_, &core(type_), elements));
    registry
}

const NONE: [&str; 0] = [];

#[test]
fn cardinality_narrows_along_the_chain() {
    let mut registry = patient("Patient", r#"{"id":"Patient.name","path":"Patient.name","min":1,"max":"3"}"#);
    registry.add(profile(
        "q",
        "Patient",
        &format!("{URL}p"),
        r#"{"id":"Patient.name","path":"Patient.name","min":0,"max":"2"}"#,
    ));
    let named = |count: usize| {
        format!(r#"{{"resourceType":"Patient","active":true,"name":[{}]}}"#, vec![r#"{"text":"a"}"#; count].join(","))
    };
    assert_eq!(findings(&registry, "q", &named(1)), NONE);
    assert_eq!(findings(&registry, "q", &named(3)), ["error structure Patient.name"]);
    assert_eq!(findings(&registry, "p", &named(3)), NONE);
    assert_eq!(
        findings(&registry, "q", r#"{"resourceType":"Patient","active":true}"#),
        ["error required Patient.name"]
    );
}

#[test]
fn children_are_needed_only_where_their_parent_is() {
    let registry = patient("Patient", r#"{"id":"Patient.name.family","path":"Patient.name.family","min":1}"#);
    assert_eq!(findings(&registry, "p", r#"{"resourceType":"Patient"}"#), NONE);
    assert_eq!(
        findings(&registry, "p", r#"{"resourceType":"Patient","name":[{"family":"a"},{"text":"b"}]}"#),
        ["error required Patient.name[1].family"]
    );
}

#[test]
fn fixed_is_equal_and_pattern_is_contained() {
    let registry = patient(
        "Patient",
        r#"{"id":"Patient.maritalStatus","path":"Patient.maritalStatus","patternCodeableConcept":{"coding":[{"system":"s","code":"M"}]}},
           {"id":"Patient.active","path":"Patient.active","fixedBoolean":true},
           {"id":"Patient.gender","path":"Patient.gender","fixedCode":"other"},
           {"id":"Patient.managingOrganization","path":"Patient.managingOrganization","fixedReference":{"display":"a"}}"#,
    );
    let good = r#"{"resourceType":"Patient","active":true,"gender":"other","managingOrganization":{"display":"a"},
        "maritalStatus":{"text":"x","coding":[{"system":"t","code":"M"},{"code":"M","system":"s","display":"d"}]}}"#;
    assert_eq!(findings(&registry, "p", good), NONE);
    let bad = r#"{"resourceType":"Patient","active":false,"gender":"male","managingOrganization":{"display":"a","type":"Organization"},
        "maritalStatus":{"coding":[{"system":"s","code":"D"},{"system":"t","code":"M"}]}}"#;
    assert_eq!(
        findings(&registry, "p", bad),
        [
            "error value Patient.maritalStatus",
            "error value Patient.active",
            "error value Patient.gender",
            "error value Patient.managingOrganization"
        ]
    );
}

fn sliced(rules: &str, extra: &str) -> ProfileRegistry {
    patient(
        "Patient",
        &format!(
            r#"{{"id":"Patient.identifier","path":"Patient.identifier","slicing":{{"discriminator":[{{"type":"value","path":"system"}}],"rules":"{rules}"{extra}}}}},
               {{"id":"Patient.identifier:a","path":"Patient.identifier","sliceName":"a","min":1,"max":"1"}},
               {{"id":"Patient.identifier:a.system","path":"Patient.identifier.system","fixedUri":"http://a"}},
               {{"id":"Patient.identifier:a.value","path":"Patient.identifier.value","min":1}},
               {{"id":"Patient.identifier:b","path":"Patient.identifier","sliceName":"b"}},
               {{"id":"Patient.identifier:b.system","path":"Patient.identifier.system","fixedUri":"http://b"}}"#
        ),
    )
}

fn identifiers(systems: &[&str]) -> String {
    let list: Vec<_> = systems.iter().map(|system| format!(r#"{{"system":"http://{system}","value":"1"}}"#)).collect();
    format!(r#"{{"resourceType":"Patient","identifier":[{}]}}"#, list.join(","))
}

#[test]
fn slices_are_counted_and_checked() {
    let open = sliced("open", "");
    assert_eq!(findings(&open, "p", &identifiers(&["b", "a", "c"])), NONE);
    assert_eq!(findings(&open, "p", &identifiers(&["b"])), ["error required Patient.identifier"]);
    assert_eq!(findings(&open, "p", &identifiers(&["a", "a"])), ["error structure Patient.identifier"]);
    assert_eq!(
        findings(&open, "p", r#"{"resourceType":"Patient","identifier":[{"system":"http://a"}]}"#),
        ["error required Patient.identifier[0].value"]
    );
    assert_eq!(
        findings(&sliced("closed", ""), "p", &identifiers(&["a", "c"])),
        ["error structure Patient.identifier[1]"]
    );
    let at_end = sliced("openAtEnd", "");
    assert_eq!(findings(&at_end, "p", &identifiers(&["b", "a", "c"])), NONE);
    assert_eq!(findings(&at_end, "p", &identifiers(&["a", "c", "b"])), ["error structure Patient.identifier[2]"]);
    let ordered = sliced("open", r#","ordered":true"#);
    assert_eq!(findings(&ordered, "p", &identifiers(&["a", "b"])), NONE);
    assert_eq!(findings(&ordered, "p", &identifiers(&["b", "a"])), ["error structure Patient.identifier[1]"]);
}

#[test]
fn a_derived_profile_adds_slices_and_cannot_reopen() {
    let mut registry = sliced("closed", "");
    registry.add(profile(
        "q",
        "Patient",
        &format!("{URL}p|1.0"),
        r#"{"id":"Patient.identifier","path":"Patient.identifier","slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"}},
           {"id":"Patient.identifier:c","path":"Patient.identifier","sliceName":"c","max":"1"},
           {"id":"Patient.identifier:c.system","path":"Patient.identifier.system","fixedUri":"http://c"},
           {"id":"Patient.identifier:b","path":"Patient.identifier","sliceName":"b","max":"0"}"#,
    ));
    assert_eq!(findings(&registry, "q", &identifiers(&["a", "c"])), NONE);
    assert_eq!(findings(&registry, "q", &identifiers(&["a", "b"])), ["error structure Patient.identifier"]);
    assert_eq!(findings(&registry, "q", &identifiers(&["a", "d"])), ["error structure Patient.identifier[1]"]);
}

#[test]
fn element_ids_may_be_missing_or_wrong() {
    let registry = patient(
        "Patient",
        r#"{"path":"Patient.identifier","slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"closed"}},
           {"id":"nonsense","path":"Patient.identifier","sliceName":"a"},
           {"path":"Patient.identifier.system","fixedUri":"http://a"},
           {"path":"Patient.identifier","sliceName":"b"},
           {"path":"Patient.identifier.system","fixedUri":"http://b"},
           {"path":"Patient.name","min":1},
           {"path":"Patient.name.family","min":1}"#,
    );
    assert_eq!(findings(&registry, "p", &identifiers(&["a", "b"])), ["error required Patient.name"]);
    assert_eq!(
        findings(&registry, "p", &identifiers(&["c"])),
        ["error required Patient.name", "error structure Patient.identifier[0]"]
            .map(str::to_owned)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
}

#[test]
fn slicing_that_cannot_be_decided_is_refused() {
    for (slicing, slice) in [
        (r#""slicing":{"discriminator":[{"type":"profile","path":"$this"}],"rules":"open"}"#, r#""max":"1""#),
        (r#""slicing":{"discriminator":[{"type":"value","path":"resolve().x"}],"rules":"open"}"#, r#""max":"1""#),
        (r#""slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"}"#, r#""max":"1""#),
        (r#""min":0"#, r#""max":"1""#),
    ] {
        let registry = patient(
            "Patient",
            &format!(
                r#"{{"id":"Patient.identifier","path":"Patient.identifier",{slicing}}},
                   {{"id":"Patient.identifier:a","path":"Patient.identifier","sliceName":"a",{slice}}}"#
            ),
        );
        let found = findings(&registry, "p", &identifiers(&["a"]));
        assert!(
            found.iter().any(|finding| finding.starts_with("error not-supported Patient.identifier")),
            "{slicing}: {found:?}"
        );
    }
}

#[test]
fn other_discriminators_work() {
    let registry = patient(
        "Observation",
        r#"{"id":"Observation.value[x]:valueQuantity","path":"Observation.value[x]","sliceName":"valueQuantity","type":[{"code":"Quantity"}],"min":0},
           {"id":"Observation.value[x]:valueQuantity.unit","path":"Observation.value[x].unit","min":1},
           {"id":"Observation.component","path":"Observation.component","slicing":{"discriminator":[{"type":"exists","path":"dataAbsentReason"}],"rules":"closed"}},
           {"id":"Observation.component:absent","path":"Observation.component","sliceName":"absent"},
           {"id":"Observation.component:absent.dataAbsentReason","path":"Observation.component.dataAbsentReason","min":1},
           {"id":"Observation.component:absent.value[x]","path":"Observation.component.value[x]","max":"0"},
           {"id":"Observation.component:present","path":"Observation.component","sliceName":"present"},
           {"id":"Observation.component:present.dataAbsentReason","path":"Observation.component.dataAbsentReason","max":"0"},
           {"id":"Observation.component:present.value[x]","path":"Observation.component.value[x]","min":1,"type":[{"code":"string"},{"code":"Quantity"}]}"#,
    );
    let observation = |value: &str, component: &str| {
        format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{value},"component":[{{"code":{{"text":"y"}},{component}}}]}}"#
        )
    };
    let unit = r#""valueQuantity":{"value":1,"unit":"g"}"#;
    assert_eq!(findings(&registry, "p", &observation(unit, r#""valueString":"a""#)), NONE);
    assert_eq!(
        findings(&registry, "p", &observation(r#""valueString":"a""#, r#""dataAbsentReason":{"text":"z"}"#)),
        NONE
    );
    assert_eq!(
        findings(&registry, "p", &observation(r#""valueQuantity":{"value":1}"#, r#""valueBoolean":true"#)),
        ["error required Observation.value.unit", "error structure Observation.component[0].value"]
    );
    assert_eq!(
        findings(&registry, "p", &observation(unit, r#""dataAbsentReason":{"text":"z"},"valueString":"a""#)),
        ["error structure Observation.component[0].value"]
    );
}

#[test]
fn value_sets_are_expanded_from_what_is_stored() {
    let bound = |set: &str| {
        format!(
            r#"{{"id":"Patient.maritalStatus","path":"Patient.maritalStatus","binding":{{"strength":"required","valueSet":"http://example.org/{set}"}}}}"#
        )
    };
    let value_set = |name: &str, compose: &str| {
        json(&format!(
            r#"{{"resourceType":"ValueSet","url":"http://example.org/{name}","version":"1.0","status":"active","compose":{compose}}}"#
        ))
    };
    let code_system = |version: &str, content: &str| {
        json(&format!(
            r#"{{"resourceType":"CodeSystem","url":"http://example.org/cs","version":"{version}","status":"active","content":"{content}",
                "concept":[{{"code":"a","concept":[{{"code":"a1"}}]}},{{"code":"b{version}"}}]}}"#
        ))
    };
    let married = |system: &str, code: &str, version: &str| {
        format!(
            r#"{{"resourceType":"Patient","maritalStatus":{{"coding":[{{"system":"http://example.org/{system}","code":"{code}"{version}}}]}}}}"#
        )
    };
    let with = |set: &Resource, code_systems: &[Resource]| {
        let mut registry = patient("Patient", &bound("vs"));
        registry.add(set.clone());
        for code_system in code_systems {
            registry.add(code_system.clone());
        }
        registry
    };
    let whole = value_set("vs", r#"{"include":[{"system":"http://example.org/cs"}]}"#);
    let both = [code_system("1", "complete"), code_system("2", "complete")];
    let registry = with(&whole, &both);
    let foreign = ["error code-invalid Patient.maritalStatus"];
    assert_eq!(findings(&registry, "p", &married("cs", "a1", "")), NONE);
    assert_eq!(findings(&registry, "p", &married("cs", "b2", "")), NONE);
    assert_eq!(findings(&registry, "p", &married("cs", "b1", "")), foreign, "the highest version is meant");
    assert_eq!(findings(&registry, "p", &married("cs", "a", r#","version":"1""#)), foreign);
    assert_eq!(findings(&registry, "p", &married("other", "a", "")), foreign);
    assert_eq!(findings(&registry, "p", r#"{"resourceType":"Patient","maritalStatus":{"text":"a"}}"#), foreign);
    let old = with(
        &value_set(
            "vs",
            r#"{"include":[{"system":"http://example.org/cs","version":"1"}],"exclude":[{"system":"http://example.org/cs","concept":[{"code":"a1"}]}]}"#,
        ),
        &both,
    );
    assert_eq!(findings(&old, "p", &married("cs", "b1", "")), NONE);
    assert_eq!(findings(&old, "p", &married("cs", "a1", "")), foreign);
    let listed = with(
        &value_set(
            "vs",
            r#"{"include":[{"system":"http://example.org/cs","concept":[{"code":"z"}]},{"valueSet":["http://example.org/vs|1.0"]}]}"#,
        ),
        &[],
    );
    assert_eq!(findings(&listed, "p", &married("cs", "z", "")), NONE, "a set that includes itself ends");

    let unknown = "warning not-supported Patient.maritalStatus";
    assert_eq!(findings(&with(&whole, &[]), "p", &married("cs", "a", "")), [unknown]);
    assert_eq!(findings(&with(&whole, &[code_system("1", "fragment")]), "p", &married("cs", "a", "")), [unknown]);
    let filtered = value_set(
        "vs",
        r#"{"include":[{"system":"http://example.org/cs","filter":[{"property":"x","op":"=","value":"y"}]}]}"#,
    );
    assert_eq!(findings(&with(&filtered, &both), "p", &married("cs", "a", "")), [unknown]);
    let missing = patient("Patient", &bound("vs"));
    assert_eq!(findings(&missing, "p", &married("cs", "a", "")), ["warning not-found Patient.maritalStatus"]);
    let core = patient(
        "Patient",
        r#"{"id":"Patient.language","path":"Patient.language","binding":{"strength":"required","valueSet":"http://hl7.org/fhir/ValueSet/request-status"}}"#,
    );
    assert_eq!(findings(&core, "p", r#"{"resourceType":"Patient","language":"draft"}"#), NONE);
    assert_eq!(
        findings(&core, "p", r#"{"resourceType":"Patient","language":"de"}"#),
        ["error code-invalid Patient.language"]
    );
}

#[test]
fn invariants_are_evaluated_or_said_to_be_unchecked() {
    let with = |severity: &str, expression: &str| {
        patient(
            "Patient",
            &format!(
                r#"{{"id":"Patient.name","path":"Patient.name","constraint":[{{"key":"k","severity":"{severity}","human":"h","expression":"{expression}"}}]}}"#
            ),
        )
    };
    let named = r#"{"resourceType":"Patient","active":true,"name":[{"family":"a"}]}"#;
    assert_eq!(findings(&with("error", "family.exists() and %resource.active"), "p", named), NONE);
    assert_eq!(findings(&with("error", "given.exists()"), "p", named), ["error invariant Patient.name[0]"]);
    assert_eq!(findings(&with("warning", "given.exists()"), "p", named), ["warning invariant Patient.name[0]"]);
    assert_eq!(
        findings(&with("error", "family.matches('^(?=a)')"), "p", named),
        ["warning not-supported Patient.name[0]"]
    );
    assert_eq!(findings(&with("error", "resolve().exists()"), "p", named), ["warning not-supported Patient.name[0]"]);
}

#[test]
fn extensions_are_checked_by_their_profiles_wherever_they_stand() {
    let mut registry = patient(
        "Patient",
        &format!(
            r#"{{"id":"Patient.extension:e","path":"Patient.extension","sliceName":"e","min":1,"type":[{{"code":"Extension","profile":["{URL}e|1.0"]}}]}}"#
        ),
    );
    let definition = |context: &str| {
        let mut definition = profile(
            "e",
            "Extension",
            &core("Extension"),
            &format!(
                r#"{{"id":"Extension.url","path":"Extension.url","fixedUri":"{URL}e"}},
                   {{"id":"Extension.value[x]","path":"Extension.value[x]","min":1,"type":[{{"code":"string"}}],"maxLength":3}}"#
            ),
        );
        definition
            .set("context", super::support::value(&format!(r#"[{{"type":"element","expression":"{context}"}}]"#)));
        definition
    };
    registry.add(definition("Patient"));
    let patient = |extension: &str, name: &str| {
        let extension = if extension.is_empty() { String::new() } else { format!(r#""extension":[{extension}],"#) };
        json(&format!(
            r#"{{"resourceType":"Patient","meta":{{"profile":["{URL}p"]}},{extension}"name":[{{{name}"family":"a"}}]}}"#
        ))
    };
    let places = |registry: &ProfileRegistry, resource: &Resource| {
        let issues = validate(resource, registry);
        println!("{}", listed(&issues));
        issues
            .iter()
            .map(|issue| format!("{} {}", issue.code, issue.expression.as_deref().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let of = |value: &str| format!(r#"{{"url":"{URL}e",{value}}}"#);
    let good = of(r#""valueString":"abc""#);
    assert_eq!(places(&registry, &patient(&good, "")), NONE);
    assert_eq!(places(&registry, &patient(&of(r#""valueCode":"abc""#), "")), ["structure Patient.extension[0].value"]);
    assert_eq!(
        places(&registry, &patient(&of(r#""valueString":"abcd""#), "")),
        ["too-long Patient.extension[0].value"]
    );
    assert_eq!(
        places(&registry, &patient(r#"{"url":"http://other","valueCode":"a"}"#, "")),
        ["required Patient.extension"]
    );
    let elsewhere = format!(r#""extension":[{}],"#, of(r#""valueInteger":1"#));
    assert_eq!(
        places(&registry, &patient(&good, &elsewhere)),
        ["extension Patient.name[0].extension[0]", "structure Patient.name[0].extension[0].value"]
    );
    registry.add(definition("Patient.name"));
    assert_eq!(places(&registry, &patient("", &format!(r#""extension":[{good}],"#))), ["required Patient.extension"]);
    registry.remove("StructureDefinition", &format!("{URL}e"), Some("1.0"));
    assert_eq!(places(&registry, &patient(&good, "")), ["not-found Patient.extension[0]"]);
}

#[test]
fn one_of_several_profiles_is_enough() {
    let mut registry = patient(
        "Patient",
        &format!(
            r#"{{"id":"Patient.maritalStatus","path":"Patient.maritalStatus","type":[{{"code":"CodeableConcept","profile":["{URL}a","{URL}b"]}}]}}"#
        ),
    );
    for (name, text) in [("a", "A"), ("b", "B")] {
        registry.add(profile(
            name,
            "CodeableConcept",
            &core("CodeableConcept"),
            &format!(r#"{{"id":"CodeableConcept.text","path":"CodeableConcept.text","fixedString":"{text}"}}"#),
        ));
    }
    let married = |text: &str| format!(r#"{{"resourceType":"Patient","maritalStatus":{{"text":"{text}"}}}}"#);
    assert_eq!(findings(&registry, "p", &married("A")), NONE);
    assert_eq!(findings(&registry, "p", &married("B")), NONE);
    assert_eq!(findings(&registry, "p", &married("C")), ["error structure Patient.maritalStatus"]);
}

#[test]
fn references_point_to_what_the_profile_allows() {
    let mut registry = patient(
        "Patient",
        &format!(
            r#"{{"id":"Patient.generalPractitioner","path":"Patient.generalPractitioner","type":[{{"code":"Reference","targetProfile":["{URL}o","http://hl7.org/fhir/StructureDefinition/PractitionerRole"]}}]}}"#
        ),
    );
    let with = |reference: &str| format!(r#"{{"resourceType":"Patient","generalPractitioner":[{{{reference}}}]}}"#);
    let bad = ["error value Patient.generalPractitioner[0]"];
    assert_eq!(
        findings(&registry, "p", &with(r#""reference":"Practitioner/1""#)),
        NONE,
        "the target profile is not known"
    );
    registry.add(profile("o", "Organization", &core("Organization"), ""));
    for good in [
        r#""reference":"Organization/1/_history/2""#,
        r#""reference":"https://a/fhir/PractitionerRole/1""#,
        r#""display":"x""#,
        r#""reference":"urn:uuid:0b2b0f0e-6c9c-4d53-8a6c-0a8c6b0f5a11""#,
        r#""type":"Organization","identifier":{"value":"x"}"#,
        r#""reference":"Organization?identifier=x""#,
    ] {
        assert_eq!(findings(&registry, "p", &with(good)), NONE, "{good}");
    }
    for wrong in [
        r#""reference":"Practitioner/1""#,
        r#""reference":"https://a/fhir/Practitioner/1""#,
        r#""type":"Practitioner""#,
        r#""type":"Organization","reference":"PractitionerRole/1""#,
        r#""reference":"Practitioner?identifier=x""#,
    ] {
        assert_eq!(findings(&registry, "p", &with(wrong)), bad, "{wrong}");
    }
}

#[test]
fn chains_that_do_not_end_are_refused() {
    let mut registry = ProfileRegistry::new();
    registry.add(profile("a", "Patient", &format!("{URL}b"), ""));
    registry.add(profile("b", "Patient", &format!("{URL}a"), ""));
    registry.add(profile("c", "Patient", &format!("{URL}missing"), ""));
    registry.add(profile("d", "Patient", &core("Patient"), r#"{"id":"Patient.name","path":"Patient.name","min":"x"}"#));
    for name in ["a", "c", "d", "e"] {
        let issue = compile(&format!("{URL}{name}"), &registry).unwrap_err();
        assert_eq!((issue.severity, issue.code), (Severity::Error, IssueCode::NotFound), "{}", issue.diagnostics);
    }
    let wrong_type = json(&format!(r#"{{"resourceType":"Organization","name":"x","meta":{{"profile":["{URL}f"]}}}}"#));
    registry.add(profile("f", "Patient", &core("Patient"), ""));
    assert!(validate(&wrong_type, &registry).iter().any(|issue| issue.code == IssueCode::Structure));
}

#[test]
fn a_profile_that_needs_itself_is_said_not_applied() {
    let mut registry = ProfileRegistry::new();
    registry.add(profile(
        "r",
        "Extension",
        &core("Extension"),
        &format!(
            r#"{{"id":"Extension.url","path":"Extension.url","fixedUri":"{URL}r"}},
               {{"id":"Extension.extension:r","path":"Extension.extension","sliceName":"r","type":[{{"code":"Extension","profile":["{URL}r"]}}]}}"#
        ),
    ));
    let resource = json(&format!(
        r#"{{"resourceType":"Patient","extension":[{{"url":"{URL}r","extension":[{{"url":"{URL}r","valueCode":"x"}}]}}]}}"#
    ));
    let issues = validate(&resource, &registry);
    assert!(issues.iter().any(|issue| issue.diagnostics.contains("needs itself")), "{}", listed(&issues));
}

#[test]
fn versions_are_chosen_by_number_and_changes_are_seen() {
    let mut registry = ProfileRegistry::new();
    for (version, max) in [("1.9", "1"), ("1.10", "2"), ("1.2", "0")] {
        let mut definition = profile(
            "v",
            "Patient",
            &core("Patient"),
            &format!(r#"{{"id":"Patient.name","path":"Patient.name","max":"{max}"}}"#),
        );
        definition.set("version", version);
        assert!(registry.add(definition));
    }
    let two = |canonical: &str, registry: &ProfileRegistry| {
        let patient = json(&format!(
            r#"{{"resourceType":"Patient","meta":{{"profile":["{URL}{canonical}"]}},"name":[{{"text":"a"}},{{"text":"b"}}]}}"#
        ));
        validate(&patient, registry).is_empty()
    };
    assert!(two("v", &registry) && two("v|1.10", &registry));
    assert!(!two("v|1.9", &registry) && !two("v|1.11", &registry));
    let before = registry.clone();
    assert!(registry.remove("StructureDefinition", &format!("{URL}v"), Some("1.10")));
    assert!(!two("v", &registry) && two("v", &before));
}
