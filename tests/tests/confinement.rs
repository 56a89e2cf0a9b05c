//! Confinement by the kernel: what the running processes of a node can do when somebody else speaks through them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use seccompiler::{SeccompAction, SeccompFilter};
use serde_json::Value;
use tests::binaries::binary;
use tests::network::folder;
use tests::{Node, Schleuse, shared};

const ENFORCED: &str = "enforced";

/// What came of each attempt, before and after.
fn proof(program: &str, node: &Node) -> BTreeMap<String, (String, String)> {
    let output = Command::new(binary(program))
        .args(["--prove-confinement", "--directory"])
        .arg(&node.directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let proof: Value = serde_json::from_str(&text).unwrap();
    for layer in ["files", "system-calls"] {
        assert_eq!(proof["confinement"][layer], ENFORCED, "{program}: {proof:#}");
    }
    let word = |tried: &Value, name: &str| tried[name].as_str().unwrap().to_owned();
    let attempts = proof["attempts"].as_array().unwrap().iter();
    attempts.map(|tried| (word(tried, "attempt"), (word(tried, "before"), word(tried, "after")))).collect()
}

/// Each was possible before, so that the refusal is the confinement's work.
fn refused(program: &str, node: &Node, attempts: &[String]) {
    let found = proof(program, node);
    for attempt in attempts {
        let outcome = found.get(attempt).unwrap_or_else(|| panic!("{program} did not try to {attempt}: {found:#?}"));
        assert_eq!(outcome, &("allowed".to_owned(), "refused".to_owned()), "{program}: {attempt}");
    }
}

const NO_NETWORK: [&str; 5] =
    ["connect to a TCP port", "listen on a TCP port", "open a UDP socket", "start a program", "send a signal"];

#[test]
fn a_gateway_reaches_no_data_no_key_of_the_organisation_and_no_network() {
    let node = shared().node("portal");
    let path = |what: &str, relative: &str| format!("{what} {}", node.path(relative).canonicalize().unwrap().display());
    let mut attempts = vec![
        path("list", "data"),
        path("create a file in", "data"),
        path("read", "certificates/client.key"),
        path("write", "node.toml"),
        path("create a file in", "policies"),
        "read /etc/passwd".to_owned(),
        "list /".to_owned(),
    ];
    if tests::network::store().is_none() {
        attempts.push(path("read", "data/engine.db"));
    }
    attempts.extend(NO_NETWORK.map(str::to_owned));
    refused("schleuse-gateway", &absolute(&node), &attempts);
}

#[test]
fn an_engine_changes_no_settings_opens_no_port_and_starts_no_program() {
    let node = shared().node("portal");
    let path = |what: &str, relative: &str| format!("{what} {}", node.path(relative).canonicalize().unwrap().display());
    let mut attempts = vec![
        path("write", "node.toml"),
        path("create a file in", "policies"),
        path("create a file in", "certificates"),
        path("create a file in", "gateway"),
        "list /".to_owned(),
    ];
    attempts.extend(["listen on a TCP port", "start a program", "send a signal"].map(str::to_owned));
    refused("schleuse-engine", &absolute(&node), &attempts);
}

#[test]
fn a_refresher_reaches_neither_keys_nor_data_nor_other_ports() {
    let node = shared().node("portal");
    let path = |what: &str, relative: &str| format!("{what} {}", node.path(relative).canonicalize().unwrap().display());
    let mut attempts = vec![
        path("read", "certificates/server.key"),
        path("read", "certificates/client.key"),
        path("list", "data"),
        path("list", "audit"),
        path("write", "node.toml"),
        "list /".to_owned(),
    ];
    let network = ["connect to a TCP port", "listen on a TCP port", "start a program", "send a signal"];
    attempts.extend(network.map(str::to_owned));
    refused("schleuse-refresh", &absolute(&node), &attempts);
}

/// Programs name paths by the directory that they are given.
fn absolute(node: &Node) -> Node {
    Node { directory: node.directory.canonicalize().unwrap(), ..node.clone() }
}

#[tokio::test]
async fn every_thread_of_a_running_node_is_confined() {
    let node = shared().node("portal");
    for pid in [node.gateway_pid, node.engine_pid] {
        let mut threads = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
            assert_eq!((field("Seccomp:"), field("NoNewPrivs:")), ("2".to_owned(), "1".to_owned()), "{status}");
            threads += 1;
        }
        assert!(threads > 1, "process {pid} has only {threads} threads");
    }
    let (_, ready) = node.manage("/ready").await.unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["confinement"]["system-calls"], ENFORCED, "{ready:#}");
    let status = Schleuse::run(&["--format".as_ref(), "json".as_ref(), "status".as_ref(), node.directory.as_os_str()]);
    assert_eq!(status.expect(0).json()["confinement"]["files"], ENFORCED);
}

/// Starts a program as a kernel without Landlock would let it run: its system calls are unknown.
fn without_landlock(program: &str, arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    let mut command = Command::new(binary(program));
    command.args(arguments).arg("--directory").arg(directory).stdin(Stdio::null());
    // A filter holds for the thread that sets it and for the programs that it starts.
    let output = std::thread::spawn(move || {
        seccompiler::apply_filter(&filter).unwrap();
        command.output().unwrap()
    });
    let output = output.join().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn required_confinement_that_cannot_be_had_refuses_the_start_and_best_effort_reports_it() {
    let folder = folder();
    let directory = folder.path().join("node");
    let arguments = ["init", "--organization-identifier", "a.example", "--base-url", "https://localhost:1/fhir"];
    let mut arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(AsRef::as_ref).collect();
    arguments.extend([directory.as_os_str(), "--development-certificates".as_ref()]);
    Schleuse::run(&arguments).expect(0);
    let settings = directory.join("node.toml");
    for program in ["schleuse-gateway", "schleuse-engine", "schleuse-refresh"] {
        for arguments in [&["--check"][..], &[]] {
            let (code, text) = without_landlock(program, arguments, &directory);
            assert_eq!(code, Some(78), "{program} {arguments:?}: {text}");
            assert!(text.contains("node.sandbox") && text.contains("best-effort"), "{program}: {text}");
        }
    }
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("sandbox = \"required\"", "sandbox = \"best-effort\"")).unwrap();
    for program in ["schleuse-gateway", "schleuse-engine", "schleuse-refresh"] {
        let (code, text) = without_landlock(program, &["--check"], &directory);
        assert_eq!(code, Some(0), "{program}: {text}");
        assert!(text.contains("files not confined") && text.contains("warning"), "{program}: {text}");
    }
}

#[test]
fn a_node_for_the_units_needs_what_the_package_makes() {
    let folder = folder();
    let directory = folder.path().join("node");
    let arguments = ["--organization-identifier", "a.example", "--base-url", "https://localhost:1/fhir", "--service"];
    let mut all: Vec<&std::ffi::OsStr> = vec!["init".as_ref(), directory.as_os_str()];
    all.extend(arguments.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    let output = Schleuse::run(&all).expect(1);
    let said = ["the user schleuse-gateway is not there", "systemd-tmpfiles --create makes it"];
    assert!(said.iter().any(|text| output.err.contains(text)), "{}", output.err);
    assert!(!directory.join("node.toml").exists());
}
