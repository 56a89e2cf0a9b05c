//! The resources that come with the product.

use super::support::{add_all, is_valid, listed, mutations, ours, ping_pong_tasks, resources, shipped};
use crate::validate::validate;

#[test]
fn shipped_resources_are_valid_by_our_own_profiles() {
    let registry = ours();
    let all = resources(&shipped());
    assert!(all.len() > 80, "{} resources", all.len());
    let mut faults = Vec::new();
    for (path, resource) in &all {
        assert!(resource.profiles().next().is_some(), "{} names no profile", path.display());
        let issues = validate(resource, &registry);
        if !issues.is_empty() {
            faults.push(format!("{}\n{}", path.display(), listed(&issues)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_task_of_ping_pong_is_valid() {
    let registry = ours();
    for (name, task) in ping_pong_tasks() {
        let issues = validate(&task, &registry);
        assert!(issues.is_empty(), "{name}:\n{}", listed(&issues));
    }
}

/// Everything that a Task must have, and every value that must be exactly so.
#[test]
fn a_task_that_lacks_or_changes_what_is_required_is_refused() {
    let everywhere = [
        "remove instantiatesCanonical",
        "change instantiatesCanonical",
        "foreign instantiatesCanonical",
        "remove status",
        "change status",
        "remove intent",
        "change intent",
        "remove authoredOn",
        "change authoredOn",
        "remove requester",
        "remove requester.identifier",
        "remove requester.identifier.system",
        "change requester.identifier.system",
        "remove requester.identifier.value",
        "empty requester.identifier.value",
        "change requester.type",
        "remove restriction",
        "remove restriction.recipient",
        "double restriction.recipient.0",
        "remove restriction.recipient.0.identifier",
        "change restriction.recipient.0.type",
        "remove restriction.recipient.0.identifier.system",
        "foreign restriction.recipient.0.identifier.system",
        "remove restriction.recipient.0.identifier.value",
        "remove input",
        "remove input.0.type",
        "double input.0",
        "remove input.0.type.coding",
        "double input.0.type.coding.0",
        "remove input.0.type.coding.0.system",
        "foreign input.0.type.coding.0.system",
        "remove input.0.type.coding.0.code",
        "change input.0.type.coding.0.code",
        "remove input.0.valueString",
        "change input.0.valueString",
        "foreign meta.profile.0",
    ];
    let of_kind: [(&str, &[&str]); 6] = [
        (
            "ping",
            &[
                "remove input.1",
                "remove input.2",
                "remove input.3",
                "double input.1",
                "change input.1.type.coding.0.code",
                "change input.2.type.coding.0.code",
                "remove input.3.valueReference",
                "change input.3.valueReference.type",
                "remove input.3.valueReference.identifier.system",
                "foreign input.3.valueReference.identifier.system",
                "remove input.3.valueReference.identifier.value",
                "change input.3.type.coding.0.code",
            ],
        ),
        ("pong", &["remove input.1", "remove input.2", "double input.2", "change input.2.type.coding.0.code"]),
        (
            "start, completed",
            &[
                "remove input.1",
                "remove output.0.extension",
                "foreign output.0.extension.0.url",
                "remove output.0.extension.0.extension.0",
                "remove output.0.extension.0.extension.1",
                "remove output.0.extension.0.extension.2",
                "double output.1.extension.0.extension.3",
                "foreign output.0.extension.0.extension.1.valueIdentifier.system",
                "change output.0.valueCoding.code",
                "remove output.0.valueCoding.code",
                "foreign output.0.valueCoding.system",
                "remove output.0.valueCoding",
            ],
        ),
        ("ping, completed", &["change output.0.valueCoding.code", "remove output.0.valueCoding.system"]),
        (
            "autostart",
            &["change input.3.valueString", "foreign input.3.valueString", "double input.3", "double input.2"],
        ),
        ("start", &["double input.1"]),
    ];
    let registry = ours();
    for (name, task) in ping_pong_tasks() {
        let own = of_kind.iter().filter(|(kind, _)| *kind == name).flat_map(|(_, mutations)| *mutations);
        let must_fail: Vec<_> = everywhere.iter().chain(own).collect();
        let mutations = mutations(&task);
        for mutation in must_fail {
            let (_, changed) = mutations
                .iter()
                .find(|(label, _)| label == mutation)
                .unwrap_or_else(|| panic!("{name} has no mutation {mutation}"));
            assert!(!is_valid(changed, &registry), "{name}: {mutation} was accepted");
        }
    }
}

#[test]
fn validation_of_a_task_takes_far_less_than_a_millisecond() {
    let registry = ours();
    let tasks = ping_pong_tasks();
    for (_, task) in &tasks {
        assert!(validate(task, &registry).is_empty());
    }
    let rounds = 200;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        for (_, task) in &tasks {
            assert!(validate(task, &registry).is_empty());
        }
    }
    let each = start.elapsed() / (rounds * u32::try_from(tasks.len()).unwrap());
    // Printed, not asserted: the machine decides.
    println!("validation of a ping-pong Task: {each:?}");
}

/// The node makes the snapshots of what is shipped when somebody asks for them, so it must be able to.
#[test]
fn every_shipped_profile_has_a_snapshot() {
    let mut registry = ours();
    add_all(&mut registry, &shipped());
    let all = resources(&shipped());
    let profiles = all.iter().filter(|(_, resource)| resource.type_name() == "StructureDefinition");
    let made = profiles.map(|(path, profile)| match crate::snapshot::generate(profile, &registry) {
        Ok(made) => assert!(made.definition.get("snapshot").is_some()),
        Err(issues) => panic!("{}: {}", path.display(), listed(&issues)),
    });
    assert!(made.count() > 60);
}
