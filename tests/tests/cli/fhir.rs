//! `schleuse fhir`: converting and validating files.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::network::folder;
use tests::{Output, binaries};

use super::{run, text};

const PATIENT: &str = r#"{"resourceType":"Patient","id":"1","active":true,"name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"http://x","valueDecimal":1.00}]}]}]}"#;

const PROFILE: &str = r#"{"resourceType":"StructureDefinition","url":"http://example.org/p","version":"1.0","name":"P","status":"active",
    "kind":"resource","abstract":false,"type":"Patient","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient","derivation":"constraint",
    "differential":{"element":[{"id":"Patient.active","path":"Patient.active","min":1}]}}"#;

fn put(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn piped(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binaries::binary("schleuse"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), out: said(output.stdout), err: said(output.stderr) }
}

#[test]
fn a_resource_is_converted_there_and_back_without_loss() {
    let place = folder();
    let json = put(place.path(), "patient.json", PATIENT);
    let xml = run(&["fhir", "convert", &json]).expect(0).out;
    assert!(xml.starts_with("<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"1\"/>"), "{xml}");
    assert!(xml.contains("<valueDecimal value=\"1.00\"/>"), "{xml}");
    assert_eq!(piped(&["fhir", "convert"], &xml).expect(0).out.trim_end(), PATIENT);
    assert_eq!(piped(&["fhir", "convert", "-", "--to", "xml"], &xml).expect(0).out, xml);
    let pretty = run(&["fhir", "convert", &json, "--to", "json", "--pretty"]).expect(0).out;
    assert!(pretty.contains("\n  \"id\": \"1\",\n"), "{pretty}");
}

#[test]
fn a_folder_is_converted_into_another_and_nothing_is_overwritten() {
    let place = folder();
    put(place.path(), "in/a/patient.json", PATIENT);
    put(place.path(), "in/task.xml", "<!-- c --><Task xmlns=\"http://hl7.org/fhir\"><status value=\"draft\"/></Task>");
    put(place.path(), "in/notes.txt", "no resource");
    let (from, to) = (place.path().join("in"), place.path().join("out"));
    let arguments = ["fhir", "convert", text(&from), "--to", "xml", "--output", text(&to)];
    assert!(run(&arguments).expect(0).err.contains("2 of 2"));
    assert!(to.join("a/patient.xml").is_file() && to.join("task.xml").is_file());
    let again = run(&arguments).expect(1);
    assert!(again.err.contains("task.xml"), "{}", again.err);
    let without = run(&["fhir", "convert", text(&from)]).expect(2);
    assert!(without.err.contains("--output"), "{}", without.err);
    assert!(run(&["fhir", "convert", "/nonexistent"]).expect(2).err.contains("/nonexistent"));
    put(place.path(), "bad/bad.json", "{\"resourceType\":");
    let bad = run(&["fhir", "convert", text(&place.path().join("bad"))]).expect(1);
    assert!(bad.err.contains("bad.json") && bad.err.contains("line 1"), "{}", bad.err);
}

#[test]
fn validation_says_where_and_what() {
    let place = folder();
    let good = put(place.path(), "good.json", PATIENT);
    let wrong = PATIENT.replace("\"active\":true", "\"active\":\"yes\",\"foreign\":1");
    put(place.path(), "both/wrong.json", &wrong);
    put(place.path(), "both/good.json", PATIENT);
    put(place.path(), "both/none.xml", "<html/>");
    assert!(run(&["fhir", "validate", &good]).expect(0).out.contains("0 errors"));
    let both = text(&place.path().join("both")).to_owned();
    let said = run(&["fhir", "validate", &both]).expect(1).out;
    for words in [
        "wrong.json: 2 errors",
        "Patient.active: ",
        "foreign is no element of Patient",
        "none.xml: 1 errors",
        "3 resources, 2 with errors",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let answer = run(&["fhir", "validate", &both, "--format", "json"]).expect(1).json();
    assert_eq!(answer["with-errors"], 2);
    let issues = answer["resources"][2]["issues"].as_array().unwrap();
    assert!(
        issues.iter().any(|issue| issue["expression"] == "Patient.active" && issue["severity"] == "error"),
        "{answer}"
    );
    let outcome = run(&["fhir", "validate", &good, "--outcome"]).expect(0).json();
    assert_eq!(
        (&outcome["resourceType"], &outcome["issue"][0]["severity"]),
        (&"OperationOutcome".into(), &"information".into())
    );
    let bundle = run(&["fhir", "validate", &both, "--outcome"]).expect(1).json();
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 3);
    assert_eq!(bundle["entry"][1]["resource"]["issue"][0]["severity"], "fatal");
}

#[test]
fn profiles_come_from_folders_and_placeholders_are_replaced() {
    let place = folder();
    put(place.path(), "profiles/p.json", &PROFILE.replace("\"1.0\"", "\"#{version}\""));
    let profiles = text(&place.path().join("profiles")).to_owned();
    let inactive = PATIENT.replace("\"active\":true", "\"meta\":{\"profile\":[\"http://example.org/p|#{version}\"]}");
    let unknown = piped(&["fhir", "validate"], &inactive).expect(1);
    assert!(unknown.out.contains("is not known"), "{}", unknown.out);
    let named = piped(&["fhir", "validate", "--profiles", &profiles, "--set", "version=1.0"], &inactive).expect(1);
    assert!(
        named.out.contains("standard input: 1 errors") && named.out.contains("Patient.active: at least 1"),
        "{}",
        named.out
    );
    let asked =
        ["fhir", "validate", "-", "--profiles", &profiles, "--set", "version=1.0", "--profile", "http://example.org/p"];
    piped(&asked, PATIENT).expect(0);
    // The DSF base profiles are always known.
    let group = r#"{"resourceType":"Group","meta":{"profile":["http://dsf.dev/fhir/StructureDefinition/group"]},"type":"person","actual":true}"#;
    assert!(piped(&["fhir", "validate"], group).expect(1).out.contains("read-access"));
    assert!(run(&["fhir", "validate", "-", "--set", "version"]).expect(2).err.contains("NAME=VALUE"));
    assert!(run(&["fhir", "validate", "-", "--profiles", "/nonexistent"]).expect(2).err.contains("/nonexistent"));
}
