//! The command line as an administrator meets it: help that teaches, findings with lines, exit codes, hospital files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use std::path::{Path, PathBuf};

use certs::development::{Authority, KeyType, Subject, Validity};
use tests::network::folder;
use tests::{Output, Schleuse, shared};

/// Runs `schleuse` with the words of one line and a path at its end.
fn run(words: &str, path: &Path) -> Output {
    let mut arguments: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    arguments.push(path.to_str().unwrap().to_owned());
    Schleuse::run(&arguments)
}

fn init(place: &Path) -> PathBuf {
    let directory = place.join("node");
    let words = "init --organization-identifier hospital.example --base-url https://localhost:24443/fhir --development-certificates=";
    run(words, &directory).expect(0);
    directory
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "", "demo", "init", "run", "check", "status", "cert", "cert inspect", "cert thumbprint", "audit", "audit verify", "task",
        "task start", "task list", "process", "process list",
    ];
    for command in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = Schleuse::run(&arguments).expect(0);
        assert!(output.out.contains("Usage: schleuse"), "{command}: {}", output.out);
        assert!(output.out.lines().count() >= 5, "{command} says too little: {}", output.out);
    }
}

#[test]
fn what_cannot_be_typed_is_a_usage_error() {
    for arguments in [&["dance"][..], &["demo", "--sites", "9"], &["demo", "--once", "--no-run"], &["init", "x"], &["task", "list", ".", "--status", "lost"]] {
        let output = Schleuse::run(arguments).expect(2);
        assert!(!output.err.is_empty(), "{arguments:?}");
    }
    let place = folder();
    run("init --organization-identifier hospital.example --base-url http://a/fhir", &place.path().join("n")).expect(2);
}

#[test]
fn check_reports_every_finding_at_once_with_its_line() {
    let place = folder();
    let directory = init(place.path());
    run("check", &directory).expect(0);
    let file = directory.join("node.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[workers]", "[worker]").replace("read-timeout = \"60s\"", "read-timeout = 60");
    std::fs::write(&file, &text).unwrap();
    let rules = directory.join("policies/rules.toml");
    let policy = std::fs::read_to_string(&rules).unwrap().replacen("effect = \"allow\"", "effect = \"allowed\"", 1);
    std::fs::write(&rules, &policy).unwrap();

    let output = run("check", &directory).expect(78);
    let line_of = |text: &str, what: &str| 1 + text.lines().position(|line| line.contains(what)).unwrap();
    for expected in [
        format!("node.toml:{}: error: worker", line_of(&text, "[worker]")),
        format!("node.toml:{}: error: outgoing.read-timeout", line_of(&text, "read-timeout = 60")),
        format!("rules.toml:{}: error:", line_of(&policy, "\"allowed\"")),
    ] {
        assert!(output.out.contains(&expected), "{expected}\n{}", output.out);
    }
    let findings = run("check --format json", &directory).expect(78).json();
    assert!(findings["errors"].as_u64().unwrap() >= 3, "{findings:#}");
    let refused = run("run", &directory).expect(78);
    assert!(refused.err.contains("node.toml"), "{}", refused.err);
}

#[test]
fn init_overwrites_nothing_and_a_node_that_does_not_run_is_not_reachable() {
    let place = folder();
    let directory = init(place.path());
    let before = std::fs::read(directory.join("certificates/client.key")).unwrap();
    let words = "init --organization-identifier other.example --base-url https://localhost:24443/fhir --development-certificates=";
    run(words, &directory).expect(1);
    assert_eq!(std::fs::read(directory.join("certificates/client.key")).unwrap(), before);
    for words in ["status", "task list", "process list"] {
        let output = run(words, &directory).expect(69);
        assert!(output.err.contains("schleuse run"), "{}", output.err);
    }
    run("check", &place.path().join("nowhere")).expect(78);
}

#[test]
fn running_node_answers_in_text_and_json() {
    let node = shared().node("portal");
    let status = run("status --format json", &node.directory).expect(0).json();
    assert_eq!(status["organization-identifier"], "portal.example");
    assert_eq!(status["gateways-connected"], 1);
    assert!(run("status", &node.directory).expect(0).out.contains("portal.example"));
    let processes = run("process list --format json", &node.directory).expect(0).json();
    let names: Vec<_> = processes["processes"].as_array().unwrap().iter().filter_map(|process| process["process"].as_str()).collect();
    for process in ["ping", "pong", "pingAutostart"] {
        assert!(names.contains(&format!("http://dsf.dev/bpe/Process/{process}|1.0").as_str()), "{names:?}");
    }
    assert!(run("process list", &node.directory).expect(0).out.contains("startPing"));
    let arguments = ["task", "start", node.directory.to_str().unwrap(), "http://dsf.dev/bpe/Process/ping|1.0", "startPing", "--wait"];
    let started = Schleuse::run(&arguments).expect(0);
    assert!(started.out.contains("completed"), "{}", started.out);
    let tasks = run("task list --status completed --format json", &node.directory).expect(0).json();
    assert!(tasks["total"].as_u64().unwrap() >= 1, "{tasks:#}");
    let unknown = ["task", "start", node.directory.to_str().unwrap(), "http://dsf.dev/bpe/Process/ping|9.9", "startPing"];
    assert!(Schleuse::run(&unknown).expect(1).err.contains("process list"));
}

#[test]
fn certificate_files_of_every_kind_are_read_or_refused_with_a_remedy() {
    let place = folder();
    let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
    let authority = Authority::root(&Subject::german("Test", "Root"), KeyType::EcdsaP256, validity).unwrap();
    let issued = authority.issue_organization(&Subject::german("Hospital", "hospital.example"), &[], KeyType::EcdsaP256, validity).unwrap();
    let leaf = certs::read_certificates(issued.certificate_pem().as_bytes(), "leaf").unwrap().remove(0);
    let write = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let pem = issued.certificate_pem();
    let chain = format!("{pem}{}", authority.certificate_pem());
    for file in [
        write("leaf.pem", pem.as_bytes()),
        write("crlf.pem", pem.replace('\n', "\r\n").as_bytes()),
        write("chain.pem", chain.as_bytes()),
        write("leaf.der", leaf.der()),
    ] {
        let output = run("cert thumbprint", &file).expect(0);
        assert!(output.out.starts_with(leaf.thumbprint()), "{}: {}", file.display(), output.out);
        let output = run("cert inspect", &file).expect(0);
        assert!(output.out.contains("CN=hospital.example"), "{}", output.out);
    }
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (file, word) in [
        (write("key.pem", issued.private_key_pem().as_bytes()), "key"),
        (write("encrypted.pem", encrypted.as_bytes()), "key"),
        (write("empty.pem", b""), "empty"),
        (write("text.pem", b"hello"), "neither pem nor der"),
    ] {
        let output = run("cert inspect", &file).expect(1);
        assert!(output.err.contains("remedy") && output.err.to_lowercase().contains(word), "{}: {}", file.display(), output.err);
    }
}
