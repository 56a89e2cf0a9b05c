//! `schleuse source`: indexing records and counting cohorts in them, against the truth about generated persons.

use std::path::{Path, PathBuf};

use serde_json::Value;
use synthetic::{Network, Truth, questions, write_site};
use tests::Output;
use tests::network::folder;

use super::{init, run, text};

const NETWORK: Network = Network { seed: 101, sites: 2, patients: 300, shared: 30 };

/// A node whose source is the folder `records` beside it.
fn node(root: &Path) -> PathBuf {
    let node = root.join("node");
    assert_eq!(init(&node).code, Some(0));
    let settings = node.join("node.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{before}\n[source]\nfolder = \"../records\"\n")).unwrap();
    node
}

fn json(arguments: &[&str]) -> Value {
    let output: Output = run(&[&["--format", "json"], arguments].concat());
    assert_eq!(output.code, Some(0), "{}", output.err);
    serde_json::from_str(&output.out).unwrap()
}

#[test]
fn generated_records_are_indexed_and_every_count_is_the_truth() {
    let root = folder();
    let node = node(root.path());
    let bytes = write_site(&NETWORK, 0, &root.path().join("records")).unwrap();
    assert_eq!(run(&["source", "check", text(&node)]).code, Some(1), "there is no index yet");
    let indexed = json(&["source", "index", text(&node)]);
    assert_eq!(indexed["bytes"].as_u64(), Some(bytes));
    assert_eq!(run(&["source", "check", text(&node)]).code, Some(0));
    assert_eq!(json(&["source", "index", text(&node)])["read"], 0, "nothing changed");

    let truth = Truth::of(&NETWORK, time::OffsetDateTime::now_utc().date());
    let stats = json(&["source", "stats", text(&node), "--codes", "Condition.code"]);
    assert_eq!(stats["patients"].as_u64(), Some(truth.sites[0].patients));
    assert!(!stats["codes"]["Condition.code"].as_array().unwrap().is_empty());
    for question in questions() {
        let definition = root.path().join("question.json");
        std::fs::write(&definition, question.definition).unwrap();
        let counted = json(&["source", "count", text(&definition), "--directory", text(&node)]);
        assert_eq!(counted["count"].as_u64(), truth.sites[0].counts.get(question.name).copied(), "{}", question.text);
    }
}

#[test]
fn a_line_that_is_no_resource_is_told_with_file_and_line() {
    let root = folder();
    let node = node(root.path());
    let records = root.path().join("records");
    std::fs::create_dir(&records).unwrap();
    std::fs::write(records.join("a.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"1\"}\nMuster\n").unwrap();
    let output = run(&["source", "index", text(&node)]);
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("a.ndjson:2") && !output.err.contains("Muster"), "{}", output.err);
    let stats = run(&["source", "stats", text(&node)]);
    assert!(stats.err.contains("schleuse source index"), "{}", stats.err);
}

#[test]
fn share_a14_an_unknown_code_is_an_error_and_no_zero() {
    let root = folder();
    let node = node(root.path());
    write_site(&NETWORK, 1, &root.path().join("records")).unwrap();
    json(&["source", "index", text(&node)]);
    let definition = root.path().join("question.json");
    let question = r#"{"inclusionCriteria":[[{"context":{"system":"fdpg.mii.cds","code":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"ZZZ"}]}]]}"#;
    std::fs::write(&definition, question).unwrap();
    let output = run(&["source", "count", text(&definition), "--directory", text(&node)]);
    assert_eq!((output.code, output.out.as_str()), (Some(1), ""));
    assert!(output.err.contains("ZZZ is unknown"), "{}", output.err);
}

#[test]
fn a_node_without_a_source_says_where_to_name_it_and_check_finds_a_missing_folder() {
    let root = folder();
    let with = node(root.path());
    let checked = run(&["check", text(&with)]);
    assert!(checked.out.contains("source.folder"), "{} {}", checked.out, checked.err);
    let without = root.path().join("other");
    assert_eq!(init(&without).code, Some(0));
    let output = run(&["source", "check", text(&without)]);
    assert_eq!(output.code, Some(78));
    assert!(output.err.contains("[source]"), "{}", output.err);
}

#[test]
fn a_source_that_only_counts_says_that_no_data_set_comes_from_it() {
    let root = folder();
    let node = root.path().join("node");
    assert_eq!(init(&node).code, Some(0));
    let settings = node.join("node.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    // Nothing answers there, which is said too.
    let server = "[[source.server]]\nname = \"counts\"\nkind = \"flare\"\nurl = \"http://localhost:9/flare\"\n";
    std::fs::write(&settings, format!("{before}\n{server}")).unwrap();
    let checked = run(&["--format", "json", "source", "check", text(&node)]);
    assert_eq!(checked.code, Some(1), "{}", checked.err);
    let told: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(told["data-sets"]["possible"], false);
    assert_eq!(told["data-sets"]["reason"], "source counts can only count: no data set can be extracted from it");
    let text = run(&["source", "check", text(&node)]).out;
    assert!(text.contains("no data set can be extracted:") && text.contains("kind \"fhir\""), "{text}");
}
