//! Help that teaches, and what wrong usage is told.

use tests::network::folder;

use super::{PING, init, run, text};

#[test]
fn every_command_explains_itself() {
    // The command, and words that somebody who reads its help must find.
    let commands: [(&str, &[&str]); 36] = [
        ("", &["demo", "init", "run", "check", "status", "cert", "audit", "task", "process"]),
        ("demo", &["--once", "--no-run", "--directory", "--sites", "--port", "schleuse demo --once"]),
        ("init", &["--organization-identifier", "--base-url", "https", "/fhir", "Example"]),
        ("run", &["SIGHUP", "node.toml"]),
        ("check", &["wrong", "node.toml"]),
        ("status", &["running"]),
        ("cert", &["inspect", "thumbprint"]),
        ("cert inspect", &["PEM or DER", "FILE"]),
        ("cert thumbprint", &["SHA-512", "allow-list"]),
        ("cert verify", &["handshake", "--anchor", "--crl", "--time"]),
        ("block", &["THUMBPRINT", "--reason", "--until", "--lift"]),
        ("matrix", &["interaction", "--caller", "refusal"]),
        ("diff", &["--candidate", "--before", "decide"]),
        ("explain", &["X-Correlation-Id", "--certificate", "--request"]),
        ("replay", &["--policy", "--allow-list", "audit log"]),
        ("allow-list diff", &["BUNDLE", "Tasks"]),
        ("allow-list apply", &["own organisation", "--accept-large-change"]),
        ("audit", &["verify"]),
        ("audit verify", &["hash chain", "altered"]),
        ("task", &["start", "list"]),
        ("task start", &["PROCESS", "MESSAGE", "--input", "--wait", "SYSTEM|CODE=VALUE"]),
        ("task list", &["--status", "--count", "newest"]),
        ("process", &["list"]),
        ("process list", &["messages", "versions"]),
        ("data-set", &["request", "approve", "release", "fetch", "status", "withdraw", "reidentify", "patient"]),
        ("data-set request", &["--project", "--definition", "CRTDL", "--approval-time", "P14D", "--minimum-cohort"]),
        ("data-set approve", &["RUN", "--show", "--refuse", "--reason", "Examples"]),
        ("data-set withdraw", &["RUN", "consents", "forgets"]),
        ("data-set reidentify", &["--pseudonym", "--reason", "--approval-time", "learns"]),
        ("data-set patient", &["RUN"]),
        ("data-set release", &["RUN", "--show", "--refuse"]),
        ("data-set fetch", &["--into", "signed manifest", "never overwritten"]),
        ("data-set status", &["--run", "waits for a person"]),
        ("fhir", &["convert", "validate"]),
        ("fhir convert", &["--to", "--pretty", "--output", "Examples"]),
        ("fhir validate", &["--profiles", "--profile", "--outcome", "Examples"]),
    ];
    for (command, words) in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = run(&arguments).expect(0);
        assert!(output.out.contains("Usage: schleuse") && output.out.contains("--format"), "{command}: {}", output.out);
        // Lines are broken where the terminal ends, words with hyphens too.
        let flat = output.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "schleuse {command} --help says nothing of {word}: {flat}");
        }
        assert!(output.err.is_empty(), "{}", output.err);
    }
    assert!(run(&["--version"]).expect(0).out.starts_with("schleuse "));
}

#[test]
fn wrong_usage_is_2_and_says_what_is_right() {
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage"),
        (&["nonsense"], "--help"),
        (&["demo", "--nonsense"], "--help"),
        (&["demo", "--once", "--no-run"], "cannot be used with"),
        (&["demo", "--sites", "0"], "1..=8"),
        (&["demo", "--sites", "9"], "1..=8"),
        (&["cert", "inspect"], "<FILE>"),
        (&["task", "list", "--status", "nonsense"], "in-progress"),
        (&["task", "start", ".", PING, "startPing", "--input", "nonsense"], "SYSTEM|CODE=VALUE"),
        (&["init", "x", "--organization-identifier", "a.example", "--base-url", "http://a.example/fhir"], "https://"),
    ];
    let place = folder();
    for (arguments, words) in cases {
        let mut command = std::process::Command::new(tests::binaries::binary("schleuse"));
        let output = command.args(arguments).current_dir(place.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn node_that_does_not_run_is_69_and_says_how_to_start_it() {
    let place = folder();
    let directory = place.path().join("node");
    init(&directory).expect(0);
    let directory = text(&directory);
    for arguments in [
        ["status", directory].as_slice(),
        &["task", "list", directory],
        &["process", "list", directory],
        &["task", "start", directory, PING, "startPing"],
        &["status", "/nonexistent"],
    ] {
        let output = run(arguments).expect(69);
        assert!(output.err.contains("schleuse run"), "{arguments:?}: {}", output.err);
        assert!(output.out.is_empty(), "{}", output.out);
    }
}
