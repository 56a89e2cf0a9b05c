//! Our resources beside the published ones: they must accept and refuse the same.

use std::path::Path;

use super::support::{
    add_all, is_valid, listed, mutations, our_base, ours, ping_pong_tasks, rebased, resources, shared, shipped,
};
use crate::validate::{IssueCode, ProfileRegistry, Severity, has_errors, validate};
use crate::{Resource, Value};

fn published_base(folder: &Path) -> ProfileRegistry {
    let mut registry = ProfileRegistry::new();
    add_all(&mut registry, folder);
    // The reference removes it (`fhir-api.md` 4.5).
    registry.remove("StructureDefinition", "http://dsf.dev/fhir/StructureDefinition/task", Some("2.0.0"));
    registry
}

fn add_plugin(registry: &mut ProfileRegistry, folder: &Path) {
    for (_, resource) in resources(folder) {
        registry.add(rebased(resource));
    }
}

fn published(plugin: &str) -> Option<ProfileRegistry> {
    let mut registry = published_base(&shared("dsf-base")?);
    add_plugin(&mut registry, &shared("plugins")?.join(plugin));
    Some(registry)
}

#[test]
fn published_definitions_compile_without_unsupported_parts() {
    let (Some(base), Some(plugins), Some(server)) = (shared("dsf-base"), shared("plugins"), shared("dsf-server-tests"))
    else {
        return;
    };
    let mut registry = published_base(&base);
    add_plugin(&mut registry, &plugins);
    add_plugin(&mut registry, &server.join("task"));
    let mut count = 0;
    for folder in [&base, &plugins, &server.join("task"), &server.join("bundle"), &server.join("practitioner-role")] {
        for (path, resource) in resources(folder) {
            let resource = rebased(resource);
            if resource.type_name() != "StructureDefinition" {
                continue;
            }
            let mut registry = registry.clone();
            registry.add(resource.clone());
            let canonical = format!("{}|{}", resource.str("url").unwrap(), resource.str("version").unwrap());
            let profile = crate::validate::compile(&canonical, &registry)
                .unwrap_or_else(|issue| panic!("{}: {}", path.display(), issue.diagnostics));
            let faults = super::support::faults(&profile.root);
            assert!(faults.is_empty(), "{}: {faults:?}", path.display());
            count += 1;
        }
    }
    println!("{count} profiles");
    assert!(count > 70);
}

#[test]
fn published_resources_are_valid_by_the_published_and_by_our_profiles() {
    let (Some(base), Some(plugins)) = (shared("dsf-base"), shared("plugins")) else { return };
    let mut theirs = published_base(&base);
    add_plugin(&mut theirs, &plugins);
    let mut our = our_base();
    add_plugin(&mut our, &plugins);
    let mut faults = Vec::new();
    for (path, resource) in resources(&base).into_iter().chain(resources(&plugins)) {
        // Published without an id on its first element definition, which R4 requires (sdf-14).
        if path.ends_with("dsf-extension-check-logical-reference-2.0.0.xml") {
            continue;
        }
        let resource = with_profile(rebased(resource));
        for registry in [&theirs, &our] {
            let issues = validate(&resource, registry);
            if has_errors(&issues) {
                faults.push(format!("{}\n{}", path.display(), listed(&issues)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The loader of plug-ins and the endpoint add the profile of the type.
fn with_profile(resource: Resource) -> Resource {
    // The loader of plug-ins removes these versions (`process-engine.md` 1.9).
    let mut resource = super::support::without_profile_version(resource, "|1.5.0");
    if resource.type_name() == "Task" {
        return resource;
    }
    let kebab = resource.type_name().chars().fold(String::new(), |mut name, c| {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
        name
    });
    let canonical = format!("http://dsf.dev/fhir/StructureDefinition/{kebab}");
    if !resource.profiles().any(|profile| profile == canonical) {
        let mut meta = resource.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
        meta.push("profile", canonical);
        resource.set("meta", meta);
    }
    resource
}

#[test]
fn ping_pong_tasks_are_judged_alike() {
    let Some(theirs) = published("dsf-process-ping-pong") else { return };
    let ours = ours();
    let mut seen = [0, 0];
    for (name, task) in ping_pong_tasks() {
        let issues = validate(&task, &theirs);
        assert!(issues.is_empty(), "{name}:\n{}", listed(&issues));
        compare(name, &task, &ours, &theirs, &mut seen);
    }
    for folder in [shipped().join("ping-pong/Task"), shared("plugins").unwrap().join("dsf-process-ping-pong/fhir/Task")]
    {
        for (path, task) in resources(&folder) {
            assert!(is_valid(&task, &ours) && is_valid(&task, &theirs), "{}", path.display());
            compare(&path.display().to_string(), &task, &ours, &theirs, &mut seen);
        }
    }
    println!("{} accepted, {} refused by both", seen[1], seen[0]);
    assert!(seen[0] > 500 && seen[1] > 100);
}

fn compare(name: &str, resource: &Resource, ours: &ProfileRegistry, theirs: &ProfileRegistry, seen: &mut [usize; 2]) {
    for (mutation, changed) in mutations(resource) {
        let (a, b) = (validate(&changed, ours), validate(&changed, theirs));
        let errors = |issues: &[crate::validate::Issue]| {
            let mut places: Vec<_> = issues
                .iter()
                .filter(|issue| issue.severity >= Severity::Error)
                .filter_map(|issue| issue.expression.clone())
                .collect();
            places.sort();
            places.dedup();
            places
        };
        assert_eq!(errors(&a), errors(&b), "{name}, {mutation}:\nours\n{}\npublished\n{}", listed(&a), listed(&b));
        seen[usize::from(!has_errors(&a))] += 1;
    }
}

#[test]
fn base_resources_are_judged_alike() {
    let Some(base) = shared("dsf-base") else { return };
    let theirs = published_base(&base);
    let ours = our_base();
    let mut seen = [0, 0];
    for resource in super::support::base_resources() {
        let issues = validate(&resource, &theirs);
        assert!(!has_errors(&issues), "{}:\n{}", resource.type_name(), listed(&issues));
        compare(resource.type_name(), &resource, &ours, &theirs, &mut seen);
    }
    let plugins = shared("plugins").unwrap();
    for (path, resource) in resources(&plugins) {
        if resource.type_name() == "ActivityDefinition" || resource.type_name() == "Questionnaire" {
            compare(&path.display().to_string(), &with_profile(resource), &ours, &theirs, &mut seen);
        }
    }
    println!("{} accepted, {} refused by both", seen[1], seen[0]);
    assert!(seen[0] > 500 && seen[1] > 500);
}

/// The server's own tests set what their files leave open.
#[test]
fn resources_of_the_reference_server_tests_are_valid() {
    let (Some(base), Some(server)) = (shared("dsf-base"), shared("dsf-server-tests")) else { return };
    let mut registry = published_base(&base);
    for folder in ["bundle", "practitioner-role", "structuredefinition", "task"] {
        add_all(&mut registry, &server.join(folder));
    }
    for (path, mut resource) in resources(&server) {
        if path.extension().is_none_or(|extension| extension != "xml") || resource.type_name() == "Bundle" {
            continue;
        }
        let mut registry = registry.clone();
        if resource.type_name() == "Task" {
            resource.set("authoredOn", "2024-05-01T10:00:00Z");
            if path.ends_with("dsf-test-task-1.0.xml") {
                registry.remove(
                    "StructureDefinition",
                    "http://dsf.dev/fhir/StructureDefinition/test-task",
                    Some("1.7"),
                );
            }
        }
        let issues = validate(&resource, &registry);
        assert!(issues.is_empty(), "{}:\n{}", path.display(), listed(&issues));
    }
}

#[test]
fn clinical_resources_have_the_structure_of_r4() {
    let Some(folder) = shared("mii-testdata") else { return };
    let registry = our_base();
    let mut count = 0;
    for (path, resource) in resources(&folder) {
        let issues = validate(&resource, &registry);
        let faults: Vec<_> = issues
            .into_iter()
            // The profiles of the core data set are not here.
            .filter(|issue| issue.severity >= Severity::Error && issue.code != IssueCode::NotFound)
            // Its implementation guide has parameters that only the publishing tool knows.
            .filter(|issue| {
                issue.expression.as_deref().is_none_or(|at| !at.starts_with("ImplementationGuide.definition.parameter"))
            })
            .collect();
        assert!(faults.is_empty(), "{}:\n{}", path.display(), listed(&faults));
        count += 1;
    }
    println!("{count} resources");
    assert!(count > 600);
}
