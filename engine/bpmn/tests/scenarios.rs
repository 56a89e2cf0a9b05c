//! Every scenario of `tests/scenarios` holds, and the table of coverage in `docs/bpmn-coverage.md` says what they show.
//!
//! Scenarios that need a published model say so and are skipped, with a line, where `../shared/bpmn` is not there. With
//! `SCHLEUSE_UPDATE=1` the table is written anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken scenario may stop the test")]

mod coverage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpmn::kit::scenario::Scenario;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A model of the crate, or a published one (`shared/...`).
fn read(name: &str) -> Option<Vec<u8>> {
    let path = match name.strip_prefix("shared/") {
        Some(published) => here("../../../shared/bpmn").join(published),
        None => here("tests").join(name),
    };
    std::fs::read(path).ok()
}

fn scenarios() -> Vec<(String, Scenario)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(here("tests/scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let parsed = Scenario::parse(&text).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        found.extend(parsed.into_iter().map(|scenario| (name.clone(), scenario)));
    }
    found
}

#[test]
fn bpmn_scenarios_hold_and_the_table_of_coverage_says_what_they_show() {
    let mut failures = Vec::new();
    let mut covered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, scenario) in scenarios() {
        for element in &scenario.covers {
            covered.entry(element.clone()).or_default().push(file.clone());
        }
        if let Some(missing) = scenario.files().find(|name| name.starts_with("shared/") && read(name).is_none()) {
            println!("skipped {}: no published model {missing}", scenario.name);
            continue;
        }
        match scenario.run(&read) {
            Ok(()) => println!("holds   {}", scenario.name),
            Err(failure) => failures.push(format!("{file}: {}: {failure}", scenario.name)),
        }
    }
    assert!(failures.is_empty(), "{} scenarios do not hold:\n{}", failures.len(), failures.join("\n"));
    coverage::check(&covered, &here("../../docs/bpmn-coverage.md"));
}
