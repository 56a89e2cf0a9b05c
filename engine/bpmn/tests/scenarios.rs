//! Every scenario of `tests/scenarios` holds, and the table of coverage in `docs/bpmn-coverage.md` says what they show.
//!
//! Scenarios that need a published model say so and are skipped, with a line, where `../shared/bpmn` is not there. With
//! `SCHLEUSE_UPDATE=1` the table is written anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken scenario may stop the test")]

mod coverage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bpmn::kit::scenario::Scenario;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A model of the crate, or a published one (`shared/...`) with DSF's placeholder for the version replaced.
fn read(name: &str) -> Option<Vec<u8>> {
    let path = match name.strip_prefix("shared/") {
        Some(published) => here("../../../shared/bpmn").join(published),
        None => here("tests").join(name),
    };
    Some(std::fs::read_to_string(path).ok()?.replace("#{version}", "1.0").into_bytes())
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

/// Tests of this crate, of `engine/processes` and against whole nodes that bear the number of a case, by case.
fn numbered_tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut cases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in ["tests", "../processes/src/tests", "../../tests/tests"] {
        for file in std::fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let functions =
                text.lines().filter_map(|line| line.split("fn ").nth(1)).filter(|name| name.contains("bpmn_"));
            for case in functions.flat_map(coverage::cases_of) {
                let crate_name = match folder {
                    "tests" => "bpmn",
                    "../../tests/tests" => "node",
                    _ => "processes",
                };
                let name = format!("{crate_name}: {}", file.file_name().unwrap().to_string_lossy());
                cases.entry(case).or_default().insert(name);
            }
        }
    }
    cases
}

#[test]
fn bpmn_scenarios_hold_and_the_table_of_coverage_says_what_they_show() {
    let mut failures = Vec::new();
    let mut covered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cases = numbered_tests();
    for (file, scenario) in scenarios() {
        for case in coverage::cases_of(&scenario.name) {
            cases.entry(case).or_default().insert(file.clone());
        }
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
    coverage::check(&covered, &cases, &here("../../docs/bpmn-coverage.md"));
}
