//! The resources that come with the product.

use super::support::{is_valid, listed, mutations, our_base, ours, ping_pong_tasks, resources, shipped};
use crate::validate::{Severity, has_errors, validate};

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

#[test]
fn dump() {
    let registry = ours();
    for (name, task) in ping_pong_tasks() {
        for (m, t) in mutations(&task) {
            if is_valid(&t, &registry) { println!("ACC {name}: {m}"); }
        }
    }
}
