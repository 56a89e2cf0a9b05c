//! Snapshots of made profiles, of ours, of published ones, and beside snapshots that others made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Generated, cut, generate};
use crate::definitions::{TypeKind, definitions};
use crate::outcome::Severity;
use crate::validate::tests::support::{json, rebased, resources, shared, shipped};
use crate::validate::{ProfileRegistry, has_errors, validate};
use crate::{Limits, Resource, Value};

const URL: &str = "http://example.org/fhir/StructureDefinition/";

fn profile(name: &str, type_name: &str, base: &str, elements: &str) -> Resource {
    json(&format!(
        r#"{{"resourceType":"StructureDefinition","url":"{URL}{name}","version":"1.0","name":"Made","status":"active",
            "kind":"resource","abstract":false,"type":"{type_name}","baseDefinition":"{base}","derivation":"constraint",
            "differential":{{"element":[{elements}]}}}}"#
    ))
}

fn core(type_name: &str) -> String {
    format!("http://hl7.org/fhir/StructureDefinition/{type_name}")
}

fn elements(definition: &Resource) -> &[Value] {
    definition.get("snapshot").map_or(&[][..], |snapshot| snapshot.list("element"))
}

fn made(definition: &Resource, registry: &ProfileRegistry) -> Generated {
    generate(definition, registry).unwrap_or_else(|issues| panic!("{:?}: {issues:#?}", definition.str("url")))
}

fn ids(definition: &Resource) -> Vec<&str> {
    elements(definition).iter().filter_map(|element| element.str("id")).collect()
}

/// The element with the id.
fn element<'d>(definition: &'d Resource, id: &str) -> &'d Value {
    elements(definition)
        .iter()
        .find(|element| element.str("id") == Some(id))
        .unwrap_or_else(|| panic!("{id} is not in {:#?}", ids(definition)))
}

fn below<'d>(definition: &'d Resource, prefix: &str) -> Vec<&'d str> {
    ids(definition).into_iter().filter(|id| id.starts_with(prefix)).collect()
}

fn number(value: &Value, name: &str) -> Option<i64> {
    match value.get(name) {
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    }
}

fn faults(definition: &Resource, registry: &ProfileRegistry) -> Vec<String> {
    let issues = generate(definition, registry).map(drop).expect_err("the snapshot was made");
    issues.into_iter().map(|issue| format!("{}: {}", issue.expression.unwrap_or_default(), issue.diagnostics)).collect()
}

#[test]
fn a_profile_keeps_every_element_of_its_base_in_order() {
    let none = ProfileRegistry::new();
    let definition = profile("p", "Patient", &core("Patient"), r#"{"path":"Patient.active","min":1}"#);
    let Generated { definition, warnings } = made(&definition, &none);
    assert!(warnings.is_empty());
    assert_eq!(
        ids(&definition)[..10],
        [
            "Patient",
            "Patient.id",
            "Patient.meta",
            "Patient.implicitRules",
            "Patient.language",
            "Patient.text",
            "Patient.contained",
            "Patient.extension",
            "Patient.modifierExtension",
            "Patient.identifier"
        ]
    );
    let active = element(&definition, "Patient.active");
    assert_eq!((number(active, "min"), active.str("max")), (Some(1), Some("1")));
    assert_eq!(
        active.get("base").map(|base| (base.str("path"), number(base, "min"))),
        Some((Some("Patient.active"), Some(0)))
    );
    // What was not touched is not walked into; backbone elements always are.
    assert!(below(&definition, "Patient.name.").is_empty());
    assert!(below(&definition, "Patient.contact.").contains(&"Patient.contact.relationship"));
    let names: Vec<_> = definition.tree().iter().map(|(name, _)| name).collect();
    assert_eq!(names[names.len() - 2..], ["snapshot", "differential"]);
}

#[test]
fn slices_are_copies_behind_their_element() {
    let none = ProfileRegistry::new();
    let definition = profile(
        "p",
        "Patient",
        &core("Patient"),
        r#"{"id":"Patient.identifier","path":"Patient.identifier","slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"},"min":1},
           {"id":"Patient.identifier.value","path":"Patient.identifier.value","min":1},
           {"id":"Patient.identifier:a","path":"Patient.identifier","sliceName":"a","max":"1"},
           {"id":"Patient.identifier:a.system","path":"Patient.identifier.system","min":1,"fixedUri":"http://a"},
           {"id":"Patient.identifier:b","path":"Patient.identifier","sliceName":"b","min":1},
           {"id":"Patient.identifier:a/x","path":"Patient.identifier","sliceName":"a/x"}"#,
    );
    let definition = made(&definition, &none).definition;
    let is_below = |id: &str| id.trim_start_matches("Patient.").contains('.');
    let slices: Vec<_> = below(&definition, "Patient.identifier").into_iter().filter(|id| !is_below(id)).collect();
    assert_eq!(
        slices,
        ["Patient.identifier", "Patient.identifier:a", "Patient.identifier:a/x", "Patient.identifier:b"]
    );
    // What was said of every element before the slice was made holds for the slice, but for the minimum.
    assert_eq!(number(element(&definition, "Patient.identifier:a"), "min"), Some(0));
    assert_eq!(number(element(&definition, "Patient.identifier:b"), "min"), Some(1));
    assert_eq!(number(element(&definition, "Patient.identifier:b.value"), "min"), Some(1));
    assert_eq!(element(&definition, "Patient.identifier:a.system").str("fixedUri"), Some("http://a"));
    assert_eq!(element(&definition, "Patient.identifier:a/x.system").str("fixedUri"), Some("http://a"));
    assert_eq!(element(&definition, "Patient.identifier:b.system").get("fixedUri"), None);
    assert_eq!(element(&definition, "Patient.identifier:a").get("slicing"), None);
    assert_eq!(element(&definition, "Patient.identifier:a").str("sliceName"), Some("a"));
}

#[test]
fn choices_are_sliced_by_type_and_may_be_written_with_it() {
    let none = ProfileRegistry::new();
    let definition = profile(
        "p",
        "Observation",
        &core("Observation"),
        r#"{"path":"Observation.valueQuantity","min":1},{"path":"Observation.valueQuantity.code","min":1},
           {"id":"Observation.effective[x]","path":"Observation.effective[x]","type":[{"code":"dateTime"}]}"#,
    );
    let definition = made(&definition, &none).definition;
    let slice = element(&definition, "Observation.value[x]:valueQuantity");
    assert_eq!(slice.str("path"), Some("Observation.value[x]"));
    assert_eq!(slice.list("type").len(), 1);
    assert_eq!(number(element(&definition, "Observation.value[x]:valueQuantity.code"), "min"), Some(1));
    assert_eq!(
        element(&definition, "Observation.value[x]").get("slicing").unwrap().list("discriminator")[0].str("type"),
        Some("type")
    );
    assert_eq!(element(&definition, "Observation.effective[x]").list("type")[0].str("code"), Some("dateTime"));
}

#[test]
fn content_references_and_type_profiles_are_walked_into() {
    let mut registry = ProfileRegistry::new();
    registry.add(profile(
        "named",
        "HumanName",
        &core("HumanName"),
        r#"{"path":"HumanName","short":"A full name","constraint":[{"key":"n-1","severity":"error","human":"h","expression":"family.exists()"}]},
           {"path":"HumanName.family","min":1}"#,
    ));
    let of_profile = profile(
        "p",
        "Patient",
        &core("Patient"),
        &format!(
            r#"{{"path":"Patient.name","type":[{{"code":"HumanName","profile":["{URL}named"]}}]}},{{"path":"Patient.name.given","min":1}}"#
        ),
    );
    let definition = made(&of_profile, &registry).definition;
    let name = element(&definition, "Patient.name");
    assert_eq!(name.str("short"), Some("A full name"));
    let constraint = name.list("constraint").iter().find(|constraint| constraint.str("key") == Some("n-1"));
    assert_eq!(constraint.and_then(|constraint| constraint.str("source")), Some(format!("{URL}named")).as_deref());
    assert_eq!(number(element(&definition, "Patient.name.family"), "min"), Some(1));
    assert_eq!(element(&definition, "Patient.name.family").get("base").unwrap().str("path"), Some("HumanName.family"));

    let questionnaire = profile(
        "q",
        "Questionnaire",
        &core("Questionnaire"),
        r#"{"path":"Questionnaire.item.item.linkId","short":"inner"}"#,
    );
    let definition = made(&questionnaire, &registry).definition;
    assert_eq!(element(&definition, "Questionnaire.item.item.linkId").str("short"), Some("inner"));
    assert_eq!(element(&definition, "Questionnaire.item.item").get("contentReference"), None);
    assert_eq!(
        element(&definition, "Questionnaire.item.item.item").str("contentReference"),
        Some("#Questionnaire.item")
    );

    let unknown = profile(
        "u",
        "Patient",
        &core("Patient"),
        &format!(
            r#"{{"id":"Patient.extension:e","path":"Patient.extension","sliceName":"e","type":[{{"code":"Extension","profile":["{URL}nobody"]}}]}},
               {{"id":"Patient.extension:e.value[x]","path":"Patient.extension.value[x]","min":1}}"#
        ),
    );
    let Generated { definition, warnings } = made(&unknown, &registry);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(number(element(&definition, "Patient.extension:e.value[x]"), "min"), Some(1));
    assert_eq!(
        element(&definition, "Patient.extension").get("slicing").unwrap().list("discriminator")[0].str("path"),
        Some("url")
    );
}

#[test]
fn texts_go_on_and_constraints_are_inherited() {
    let mut registry = ProfileRegistry::new();
    registry.add(profile(
        "a",
        "Patient",
        &core("Patient"),
        r#"{"path":"Patient","definition":"First.","constraint":[{"key":"a-1","severity":"error","human":"h","expression":"true"}]},
           {"path":"Patient.name","slicing":{"discriminator":[{"type":"value","path":"use"}],"rules":"closed"}}"#,
    ));
    let derived = profile(
        "b",
        "Patient",
        &format!("{URL}a"),
        r#"{"path":"Patient","definition":"...Second."},{"path":"Patient.name","slicing":{"rules":"open"},"max":"2"}"#,
    );
    let definition = made(&derived, &registry).definition;
    let root = element(&definition, "Patient");
    assert_eq!(root.str("definition"), Some("First.\nSecond."));
    let keys: Vec<_> = root.list("constraint").iter().filter_map(|constraint| constraint.str("key")).collect();
    assert_eq!(
        keys,
        ["ele-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "a-1"]
            .into_iter()
            .filter(|key| keys.contains(key))
            .collect::<Vec<_>>()
    );
    assert!(keys.contains(&"dom-2") && keys.contains(&"a-1"));
    let slicing = element(&definition, "Patient.name").get("slicing").unwrap();
    assert_eq!((slicing.str("rules"), slicing.list("discriminator").len()), (Some("closed"), 1));
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    let none = ProfileRegistry::new();
    let of = |elements: &str| faults(&profile("p", "Patient", &core("Patient"), elements), &none);
    for (elements, words) in [
        (r#"{"path":"Patient.foreign"}"#, "foreign is no element of Patient"),
        (r#"{"path":"Task.status"}"#, "does not begin with Patient"),
        (r#"{"path":"Patient.link.other","min":0}"#, "min 0 is less than 1"),
        (r#"{"path":"Patient.gender","max":"2"}"#, "max 2 is more than 1"),
        (r#"{"path":"Patient.active","type":[{"code":"string"}]}"#, "type string is none of the base"),
        (r#"{"id":"Patient.name:a","path":"Patient.name","sliceName":"a"}"#, "without slicing"),
        (r#"{"min":1}"#, "has no path"),
        (r#"{"path":"Patient.deceased[x].code"}"#, "several types"),
    ] {
        let faults = of(elements);
        assert!(faults.iter().any(|fault| fault.contains(words)), "{elements}: {faults:?}");
    }
    let unknown = faults(&profile("p", "Patient", "http://example.org/nobody", ""), &none);
    assert!(unknown[0].contains("http://example.org/nobody is not known"), "{unknown:?}");
    let foreign = faults(&profile("p", "Patient", &core("Task"), ""), &none);
    assert!(foreign[0].contains("its base for Task"), "{foreign:?}");
    assert!(faults(&json(r#"{"resourceType":"Patient"}"#), &none)[0].contains("Patient has no snapshot"));

    let mut circle = ProfileRegistry::new();
    circle.add(profile("a", "Patient", &format!("{URL}b"), ""));
    circle.add(profile("b", "Patient", &format!("{URL}a"), ""));
    assert!(faults(&profile("a", "Patient", &format!("{URL}b"), ""), &circle)[0].contains("needs itself"));
}

/// Every slice copies what is below its element, so slices of slices grow fast.
#[test]
fn a_definition_that_would_grow_without_end_is_refused() {
    let mut elements = vec![
        r#"{"id":"Bundle.entry","path":"Bundle.entry","slicing":{"discriminator":[{"type":"value","path":"fullUrl"}],"rules":"open"}}"#.to_owned(),
    ];
    for slice in 0..5_000 {
        elements.push(format!(r#"{{"id":"Bundle.entry:s{slice}","path":"Bundle.entry","sliceName":"s{slice}"}}"#));
    }
    let large = profile("p", "Bundle", &core("Bundle"), &elements.join(","));
    let faults = faults(&large, &ProfileRegistry::new());
    assert!(faults.last().unwrap().contains("needs more than"), "{faults:?}");
}

#[test]
fn every_type_of_r4_has_a_snapshot_that_is_valid() {
    let none = ProfileRegistry::new();
    let mut count = 0;
    for type_ in definitions().types().iter().filter(|type_| type_.kind != TypeKind::Backbone) {
        let mut definition = profile("p", type_.name, &core(type_.name), r#"{"path":"X"}"#);
        if type_.kind != TypeKind::Resource {
            definition.set("kind", "complex-type");
        }
        let element = crate::Object::new().with("id", type_.name).with("path", type_.name).with("short", "made");
        if type_.name == "Extension" {
            let context = crate::Object::new().with("type", "element").with("expression", "Element");
            definition.set("context", vec![Value::Object(context)]);
        }
        definition.set("differential", crate::Object::new().with("element", vec![Value::Object(element)]));
        let definition = made(&definition, &none).definition;
        let issues = validate(&definition, &none);
        assert!(!has_errors(&issues), "{}: {issues:#?}", type_.name);
        count += 1;
    }
    assert!(count > 200, "{count}");
}

/// What profiles may build on, and the resources that are looked at.
type World = (String, ProfileRegistry, Vec<(PathBuf, Resource)>);

/// Ours, and those of others with everything that they build on.
fn worlds() -> Vec<World> {
    let registry_of = |folders: &[PathBuf]| {
        let mut registry = ProfileRegistry::new();
        for folder in folders {
            for (_, resource) in resources(folder) {
                registry.add(rebased(resource));
            }
        }
        registry
    };
    let mut worlds = Vec::new();
    worlds.push(("ours".to_owned(), registry_of(&[shipped()]), resources(&shipped())));
    if let (Some(base), Some(plugins), Some(server)) =
        (shared("dsf-base"), shared("plugins"), shared("dsf-server-tests"))
    {
        for folder in [
            base.clone(),
            plugins,
            server.join("task"),
            server.join("structuredefinition"),
            server.join("bundle"),
            server.join("practitioner-role"),
        ] {
            let name = folder.display().to_string();
            worlds.push((name, registry_of(&[base.clone(), folder.clone()]), resources(&folder)));
        }
    }
    worlds
}

#[test]
fn every_shipped_and_published_differential_has_a_snapshot_that_is_valid() {
    let (mut count, mut faults) = (0, Vec::new());
    for (world, registry, resources) in worlds() {
        for (path, resource) in resources {
            if resource.type_name() != "StructureDefinition" || resource.get("differential").is_none() {
                continue;
            }
            let mut resource = rebased(resource);
            cut(&mut resource);
            // Published without an id on its first element definition, which R4 requires (sdf-14).
            let has_own_fault = path.ends_with("dsf-extension-check-logical-reference-2.0.0.xml");
            match generate(&resource, &registry) {
                Ok(made) => {
                    for warning in made.warnings {
                        println!("{world} {}: {} {:?}", path.display(), warning.diagnostics, warning.expression);
                    }
                    let issues = validate(&made.definition, &registry);
                    let errors: Vec<_> = issues
                        .into_iter()
                        .filter(|issue| issue.severity >= Severity::Error && !has_own_fault)
                        .collect();
                    if !errors.is_empty() {
                        faults.push(format!("{}: {errors:#?}", path.display()));
                    }
                }
                Err(issues) => faults.push(format!("{}: {issues:#?}", path.display())),
            }
            count += 1;
        }
    }
    println!("{count} snapshots");
    assert!(faults.is_empty(), "{} of {count}\n{}", faults.len(), faults.join("\n"));
    assert!(count >= 50);
}

/// What a snapshot says about an element, without texts.
fn said(element: &Value) -> BTreeMap<&'static str, String> {
    let mut said = BTreeMap::new();
    let mut say = |name: &'static str, text: String| drop(said.insert(name, text));
    for name in ["path", "max", "sliceName", "contentReference"] {
        say(name, element.str(name).unwrap_or_default().to_owned());
    }
    say("min", format!("{:?}", number(element, "min")));
    say("base", element.get("base").and_then(|base| base.str("path")).unwrap_or_default().to_owned());
    let mut types: Vec<_> = element
        .list("type")
        .iter()
        .map(|type_| {
            let all = |name| {
                type_
                    .list(name)
                    .iter()
                    .filter_map(Value::as_str)
                    .filter(|target| !target.ends_with("/Resource"))
                    .collect::<Vec<_>>()
            };
            format!("{} {:?} {:?}", type_.str("code").unwrap_or_default(), all("profile"), all("targetProfile"))
        })
        .collect();
    types.sort();
    say("type", types.join(" | "));
    for (name, value) in element.as_object().unwrap().iter() {
        if name.starts_with("fixed") || name.starts_with("pattern") {
            say("value", format!("{name} {value:?}"));
        }
    }
    if let Some(binding) = element.get("binding").filter(|binding| binding.get("valueSet").is_some()) {
        say("binding", format!("{:?} {:?}", binding.str("strength"), binding.str("valueSet")));
    }
    let mut keys: Vec<_> = element.list("constraint").iter().filter_map(|constraint| constraint.str("key")).collect();
    keys.sort_unstable();
    say("constraint", keys.join(" "));
    if let Some(slicing) = element.get("slicing") {
        let discriminators: Vec<_> = slicing
            .list("discriminator")
            .iter()
            .map(|one| format!("{:?} {:?}", one.str("type"), one.str("path")))
            .collect();
        say("slicing", format!("{discriminators:?} {:?}", slicing.str("rules")));
    }
    say("isModifier", format!("{:?}", element.get("isModifier").and_then(Value::as_bool).unwrap_or_default()));
    say("mustSupport", format!("{:?}", element.get("mustSupport").and_then(Value::as_bool).unwrap_or_default()));
    said
}

/// The differences between two snapshots, as `id part: theirs, ours`.
fn differences(theirs: &Resource, ours: &Resource) -> Vec<String> {
    let (their_ids, our_ids) = (ids(theirs), ids(ours));
    let mut found = Vec::new();
    if their_ids != our_ids {
        found.extend(their_ids.iter().filter(|id| !our_ids.contains(id)).map(|id| format!("{id} is only theirs")));
        found.extend(our_ids.iter().filter(|id| !their_ids.contains(id)).map(|id| format!("{id} is only ours")));
        let both = |ids: &[&str], others: &[&str]| {
            ids.iter().filter(|id| others.contains(id)).map(|id| (*id).to_owned()).collect::<Vec<_>>()
        };
        if both(&their_ids, &our_ids) != both(&our_ids, &their_ids) {
            found.push("the order differs".to_owned());
        }
    }
    for their_element in elements(theirs) {
        let id = their_element.str("id").unwrap_or_default();
        let Some(our_element) = elements(ours).iter().find(|element| element.str("id") == Some(id)) else { continue };
        let (theirs, ours) = (said(their_element), said(our_element));
        for part in theirs.keys().chain(ours.keys().filter(|part| !theirs.contains_key(*part))) {
            if theirs.get(part) != ours.get(part) {
                found.push(format!("{id} {part}: theirs {:?}, ours {:?}", theirs.get(part), ours.get(part)));
            }
        }
    }
    found
}

#[test]
fn our_snapshot_is_the_one_that_the_reference_made() {
    let (Some(base), Some(server)) = (shared("dsf-base"), shared("dsf-server-tests")) else { return };
    let mut registry = ProfileRegistry::new();
    for (path, resource) in resources(&base) {
        // The snapshot was made when the base was 2.0.0.
        if !path.ends_with("StructureDefinition/dsf-task-2.1.0.xml") {
            registry.add(resource);
        }
    }
    let mut files = resources(&server.join("structuredefinition")).into_iter();
    let theirs = files.find(|(path, _)| path.ends_with("dsf-task-test-snapshot.xml")).unwrap().1;
    let ours = made(&theirs, &registry).definition;
    // It was made when requester could not be a person and the base named versions of its value sets.
    let changed_since = |difference: &String| {
        let person = ["Task.requester constraint", "Task.requester type", "Task.requester.identifier.system "];
        let value_set = difference.contains(".type binding") && difference.contains("bpmn-message|1.0.0");
        value_set
            || difference.starts_with("Task.restriction.recipient constraint")
            || person.iter().any(|person| difference.starts_with(person))
    };
    let differences: Vec<_> =
        differences(&theirs, &ours).into_iter().filter(|difference| !changed_since(difference)).collect();
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
    assert!(elements(&ours).len() > 100);
}

/// The package that the tables are made from holds profiles of HL7 with snapshots; it is not part of the repository.
/// `SCHLEUSE_R4_PACKAGE` names its unpacked folder `dist/fhir/r4`.
#[test]
fn snapshots_of_hl7_profiles_are_the_same() {
    let Ok(folder) = std::env::var("SCHLEUSE_R4_PACKAGE") else {
        println!("skipped: SCHLEUSE_R4_PACKAGE does not name the folder dist/fhir/r4 of the package (tools/README.md)");
        return;
    };
    let limits = Limits { bytes: 512 << 20, members: 50_000_000, ..Limits::default() };
    let read = |file: &str| {
        let bytes = std::fs::read(Path::new(&folder).join(file)).unwrap();
        let bundle = crate::json::parse(&bytes, &limits).unwrap();
        let entries =
            bundle.list("entry").iter().filter_map(|entry| entry.get("resource")).filter_map(Value::as_object);
        entries
            .filter_map(|resource| Resource::from_tree(resource.clone()).ok())
            .filter(|resource| resource.type_name() == "StructureDefinition")
            .collect::<Vec<_>>()
    };
    let mut all = read("profiles-others.json");
    all.extend(read("profiles-types.json"));
    all.extend(read("profiles-resources.json"));
    let mut registry = ProfileRegistry::new();
    let profiles: Vec<_> =
        all.into_iter().filter(|definition| definition.str("derivation") == Some("constraint")).collect();
    for definition in &profiles {
        registry.add(definition.clone());
    }
    let mut equal = 0;
    for theirs in &profiles {
        match generate(theirs, &registry) {
            Ok(made) => {
                let differences = differences(theirs, &made.definition);
                println!(
                    "{}: {} elements, {} differences",
                    theirs.str("url").unwrap(),
                    elements(theirs).len(),
                    differences.len()
                );
                differences.iter().take(12).for_each(|difference| println!("   {difference}"));
                equal += usize::from(differences.is_empty());
            }
            Err(issues) => println!("{}: {issues:#?}", theirs.str("url").unwrap()),
        }
    }
    println!("{equal} of {} are the same", profiles.len());
    // The others differ in what HL7's own tool did not settle for all of them: whether `valueQuantity` forbids other types,
    // and whether an element of type SimpleQuantity repeats the constraints of that profile.
    assert!(equal >= 26, "{equal}");
}
