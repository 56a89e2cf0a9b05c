//! `schleuse doctor`: what it says of a node that works, and of one that does not.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;
use tests::network::folder;
use tests::{Schleuse, shared};

fn doctor(directory: &Path, code: i32) -> Vec<(String, String, String, String)> {
    let arguments = ["--format", "json", "doctor"].map(OsStr::new);
    let output = Schleuse::run(&[&arguments[..], &[directory.as_os_str()]].concat()).expect(code);
    let seen = output.json()["seen"].as_array().unwrap().clone();
    let word = |seen: &Value, name: &str| seen[name].as_str().unwrap().to_owned();
    seen.iter()
        .map(|seen| (word(seen, "area"), word(seen, "verdict"), word(seen, "text"), word(seen, "remedy")))
        .collect()
}

#[test]
fn a_working_node_has_no_problem_and_every_partner_answers() {
    let network = shared();
    let seen = doctor(&network.node("portal").directory, 0);
    let good = |area: &str| seen.iter().filter(|(known, verdict, ..)| known == area && verdict == "good").count();
    for area in ["engine", "gateway", "port", "allow-list", "names"] {
        assert_eq!(good(area), 1, "{area}: {seen:#?}");
    }
    assert_eq!(good("partners"), network.nodes().len() - 1, "{seen:#?}");
    assert_eq!((good("confinement"), good("certificates")), (3, 2), "{seen:#?}");
    assert!(seen.iter().all(|(_, verdict, _, remedy)| (verdict == "good") == remedy.is_empty()), "{seen:#?}");
}

#[test]
fn a_node_that_does_not_run_is_a_problem_with_a_remedy() {
    let folder = folder();
    let directory = folder.path().join("node");
    let (port, management) = tests::network::free_ports();
    let (base, manage) = (format!("https://localhost:{port}/fhir"), format!("127.0.0.1:{management}"));
    let arguments = [
        "--organization-identifier",
        "a.example",
        "--base-url",
        &base,
        "--management",
        &manage,
        "--development-certificates",
    ];
    let mut all = vec![OsStr::new("init"), directory.as_os_str()];
    all.extend(arguments.map(OsStr::new));
    Schleuse::run(&all).expect(0);
    let seen = doctor(&directory, 1);
    for area in ["engine", "gateway", "port"] {
        let problem = seen.iter().find(|(known, verdict, ..)| known == area && verdict == "problem");
        assert!(problem.is_some_and(|(.., remedy)| remedy.contains("schleuse run")), "{area}: {seen:#?}");
    }
    std::fs::write(directory.join("certificates/client.key"), "no key").unwrap();
    let seen = doctor(&directory, 1);
    let is_named = |(area, verdict, text, _): &(String, String, String, String)| {
        area == "configuration" && verdict == "problem" && text.contains("client")
    };
    assert!(seen.iter().any(is_named), "{seen:#?}");
}
