//! The command line: help that teaches, errors that name the remedy, exit codes, text for people and JSON for programs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use serde_json::Value;
use tests::network::folder;
use tests::{Output, Schleuse, shared, tasks};

const PING: &str = "http://dsf.dev/bpe/Process/ping|1.0";

fn run(arguments: &[&str]) -> Output {
    Schleuse::run(arguments)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn init(directory: &Path) -> Output {
    run(&[
        "init",
        text(directory),
        "--organization-identifier",
        "new.example",
        "--base-url",
        "https://localhost:23443/fhir",
        "--listen",
        "127.0.0.1:23443",
        "--management",
        "127.0.0.1:23480",
        "--development-certificates",
    ])
}

// === Help and usage ===

#[test]
fn every_command_explains_itself() {
    // The command, and words that somebody who reads its help must find.
    let commands: [(&str, &[&str]); 16] = [
        ("", &["demo", "init", "run", "check", "status", "cert", "audit", "task", "process"]),
        ("demo", &["--once", "--no-run", "--directory", "--sites", "--port", "schleuse demo --once"]),
        ("init", &["--organization-identifier", "--base-url", "https", "/fhir", "Example"]),
        ("run", &["SIGHUP", "node.toml"]),
        ("check", &["wrong", "node.toml"]),
        ("status", &["running"]),
        ("cert", &["inspect", "thumbprint"]),
        ("cert inspect", &["PEM or DER", "FILE"]),
        ("cert thumbprint", &["SHA-512", "allow-list"]),
        ("audit", &["verify"]),
        ("audit verify", &["hash chain", "altered"]),
        ("task", &["start", "list"]),
        ("task start", &["PROCESS", "MESSAGE", "--input", "--wait", "SYSTEM|CODE=VALUE"]),
        ("task list", &["--status", "--count", "newest"]),
        ("process", &["list"]),
        ("process list", &["messages", "versions"]),
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

// === Configuration ===

#[test]
fn new_node_passes_its_check_and_nothing_is_overwritten() {
    let place = folder();
    let directory = place.path().join("node");
    let said = init(&directory).expect(0);
    assert!(said.out.contains("thumbprint") && said.out.contains("schleuse check"), "{}", said.out);
    let checked = run(&["check", text(&directory)]).expect(0);
    assert!(checked.out.contains("0 errors"), "{}", checked.out);
    let json = run(&["--format", "json", "check", text(&directory)]).expect(0).json();
    assert_eq!(json["errors"], 0);
    let before = std::fs::read_to_string(directory.join("node.toml")).unwrap();
    let again = init(&directory).expect(1);
    assert!(again.err.contains("exists"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(directory.join("node.toml")).unwrap(), before);
    for (path, mode) in
        [("certificates", 0o700), ("data", 0o700), ("audit", 0o700), ("run", 0o700), ("certificates/client.key", 0o600)]
    {
        let found = std::fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
}

#[test]
fn check_lists_everything_that_is_wrong_with_file_line_and_remedy() {
    let place = folder();
    let directory = place.path().join("node");
    init(&directory).expect(0);
    let edit = |file: &str, change: &dyn Fn(&str) -> String| {
        let path = directory.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "{file}");
        std::fs::write(path, after).unwrap();
    };
    edit("node.toml", &|text| {
        text.replace("base-url = \"https:", "base-url = \"http:")
            .replace("address = \"127.0.0.1:23480\"", "address = \"0.0.0.0:23480\"")
            .replace("read-timeout = \"60s\"", "read-timeout = 60")
            .replace("[workers]", "[worker]")
    });
    edit("policies/rules.toml", &|text| {
        format!("{}\n[colour]\nred = 1\n", text.replacen("effect = \"allow\"", "effect = \"maybe\"", 1))
    });
    edit("policies/limits.toml", &|text| text.replace("bytes = \"32KiB\"", "bytes = \"32 apples\""));
    let line_of = |file: &str, part: &str| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        1 + text.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{file} has no {part}"))
    };
    let expected = [
        ("node.toml", line_of("node.toml", "base-url ="), "node.base-url"),
        ("node.toml", line_of("node.toml", "0.0.0.0:23480"), "management.address"),
        ("node.toml", line_of("node.toml", "read-timeout ="), "outgoing.read-timeout"),
        ("node.toml", line_of("node.toml", "[worker]"), "worker"),
        ("rules.toml", line_of("policies/rules.toml", "\"maybe\""), "rule.effect"),
        ("rules.toml", line_of("policies/rules.toml", "[colour]"), "colour"),
        ("limits.toml", line_of("policies/limits.toml", "32 apples"), "limits.head.bytes"),
    ];
    let output = run(&["check", text(&directory)]).expect(78);
    let json = run(&["--format", "json", "check", text(&directory)]).expect(78).json();
    let findings = json["findings"].as_array().unwrap();
    for (file, line, key) in expected {
        assert!(output.out.contains(&format!("{file}:{line}: error: {key}: ")), "{file}:{line} {key}\n{}", output.out);
        let finding = findings.iter().find(|finding| finding["file"] == file && finding["key"] == key);
        let finding = finding.unwrap_or_else(|| panic!("{key}: {json:#}"));
        assert_eq!(finding["line"], line);
        assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.len() > 10), "{finding:#}");
    }
    assert_eq!(output.out.matches("    remedy: ").count(), findings.len(), "{}", output.out);
    assert!(output.out.contains(&format!("{} errors", json["errors"])), "{}", output.out);
    // What is refused here does not start either.
    let started = run(&["run", text(&directory)]).expect(78);
    assert!(started.err.contains("node.base-url"), "{}", started.err);
}

#[test]
fn check_says_what_is_wrong_with_certificates() {
    let place = folder();
    let directory = place.path().join("node");
    init(&directory).expect(0);
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let encrypted = place.path().join("encrypted.key");
    let openssl = std::process::Command::new("openssl")
        .args(["pkey", "-aes256", "-passout", "pass:secret", "-in"])
        .arg(directory.join("certificates/client.key"))
        .arg("-out")
        .arg(&encrypted)
        .output();
    let encrypted = openssl.ok().filter(|output| output.status.success()).map(|_| std::fs::read(&encrypted).unwrap());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("certificates/server.pem", b"no certificate".to_vec(), "server.pem"),
        ("certificates/server.pem", read("certificates/client.pem"), "server"),
        ("certificates/client.pem", read("certificates/server.pem"), "client"),
        ("certificates/client.key", read("certificates/server.key"), "client"),
        (
            "certificates/client.key",
            encrypted.unwrap_or_else(|| {
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec()
            }),
            "encrypted",
        ),
        ("trust/client-authorities.pem", Vec::new(), "client-authorities.pem"),
        ("trust/server-authorities.pem", b"-----BEGIN CERTIFICATE-----\n".to_vec(), "server-authorities.pem"),
    ];
    for (file, content, words) in cases {
        let good = read(file);
        std::fs::write(directory.join(file), &content).unwrap();
        let output = run(&["check", text(&directory)]).expect(78);
        assert!(output.out.contains(words) && output.out.contains("remedy: "), "{file}: {}", output.out);
        assert!(!output.out.contains("PRIVATE KEY-----"), "{}", output.out);
        if words == "encrypted" {
            assert!(
                output.out.contains("openssl"),
                "the remedy is the command that removes the pass phrase: {}",
                output.out
            );
        }
        std::fs::write(directory.join(file), good).unwrap();
    }
    for file in ["certificates/server.pem", "certificates/client.key", "trust/client-authorities.pem"] {
        let good = read(file);
        std::fs::remove_file(directory.join(file)).unwrap();
        let output = run(&["check", text(&directory)]).expect(78);
        assert!(output.out.contains(Path::new(file).file_name().unwrap().to_str().unwrap()), "{file}: {}", output.out);
        std::fs::write(directory.join(file), good).unwrap();
        std::fs::set_permissions(directory.join(file), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    run(&["check", text(&directory)]).expect(0);
    let nowhere = run(&["check", "/nonexistent"]).expect(78);
    assert!(nowhere.err.contains("schleuse init"), "{}", nowhere.err);
    assert!(run(&["run", "/nonexistent"]).expect(78).err.contains("schleuse init"));
}

#[test]
fn port_in_use_is_said_and_not_hidden_in_a_loop() {
    let place = folder();
    let directory = place.path().join("node");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let base_url = format!("https://localhost:{}/fhir", taken.local_addr().unwrap().port());
    run(&[
        "init",
        text(&directory),
        "--organization-identifier",
        "new.example",
        "--base-url",
        &base_url,
        "--listen",
        &address,
        "--management",
        "127.0.0.1:23481",
        "--development-certificates",
    ])
    .expect(0);
    let notes = place.path().join("notes");
    std::fs::create_dir(&notes).unwrap();
    let program = tests::binaries::binary("schleuse");
    let guard =
        tests::guard::Guard::start(&notes, None, &[program.as_os_str(), OsStr::new("run"), directory.as_os_str()]);
    tests::wait::until_blocking("the message about the port", Duration::from_secs(30), || {
        let said = guard.err();
        (said.contains(&address) && said.contains("remedy")).then_some(())
    });
}

// === A running node ===

#[tokio::test]
async fn status_tasks_and_processes_of_a_running_node() {
    let network = shared();
    let portal = network.node("portal");
    let directory = text(&portal.directory);
    let status = run(&["status", directory]).expect(0);
    for words in ["portal.example", &portal.base_url, "allow-list version", "policy version", "days left"] {
        assert!(status.out.contains(words), "{words}: {}", status.out);
    }
    let status = run(&["status", directory, "--format", "json"]).expect(0).json();
    assert_eq!(status["organization-identifier"], "portal.example");
    assert_eq!(status["gateways-connected"], 1);
    assert_eq!(status["resources"]["Organization"], 5);
    assert!(status["client-certificate-days-left"].as_i64() > Some(300), "{status:#}");

    let processes = run(&["process", "list", directory]).expect(0);
    for words in
        [PING, "http://dsf.dev/bpe/Process/pong|1.0", "http://dsf.dev/bpe/Process/pingAutostart|1.0", "startPing"]
    {
        assert!(processes.out.contains(words), "{words}: {}", processes.out);
    }
    let processes = run(&["process", "list", directory, "--format", "json"]).expect(0).json();
    assert_eq!(processes["processes"].as_array().unwrap().len(), 3);

    let started = run(&["task", "start", directory, PING, "startPing", "--wait"]).expect(0);
    assert!(started.out.contains("completed") && started.out.contains(PING), "{}", started.out);
    let target = "http://dsf.dev/fhir/CodeSystem/ping|target-endpoints=Endpoint?identifier=http://dsf.dev/sid/endpoint-identifier|dsf.ttp.example";
    let started =
        run(&["--format", "json", "task", "start", directory, PING, "startPing", "--input", target, "--wait"])
            .expect(0)
            .json();
    let replies = tasks::replies(&started["resource"]);
    assert_eq!(replies.len(), 1, "{started:#}");
    assert_eq!((replies[0].organization.as_str(), replies[0].status.as_str()), ("ttp.example", "pong-received"));

    let listed = run(&["task", "list", directory]).expect(0);
    assert!(
        listed.out.contains("completed") && listed.out.contains("startPing") && listed.out.contains("of "),
        "{}",
        listed.out
    );
    let listed =
        run(&["--format", "json", "task", "list", directory, "--status", "completed", "--count", "2"]).expect(0).json();
    let list = listed["tasks"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert!(listed["total"].as_u64() > Some(2), "{listed:#}");
    assert!(list.iter().all(|task| task["status"] == "completed"), "{listed:#}");
    assert!(list[0]["last-updated"].as_str() >= list[1]["last-updated"].as_str(), "newest first");
}

#[tokio::test]
async fn refused_commands_say_what_would_be_right() {
    let network = shared();
    let directory = network.node("portal").directory;
    let directory = text(&directory);
    let unknown = run(&["task", "start", directory, "http://dsf.dev/bpe/Process/unknown|1.0", "startPing"]).expect(1);
    assert!(unknown.err.contains("schleuse process list"), "{}", unknown.err);
    let message = run(&["task", "start", directory, PING, "nonsense"]).expect(1);
    assert!(message.err.contains("startPing"), "{}", message.err);
    let interval = "http://dsf.dev/fhir/CodeSystem/ping|timer-interval=often";
    let process = "http://dsf.dev/bpe/Process/pingAutostart|1.0";
    let profile = run(&["task", "start", directory, process, "startPingAutostart", "--input", interval]).expect(1);
    assert!(profile.err.contains("timer-interval"), "{}", profile.err);
}

// === Certificates ===

struct Files {
    folder: tempfile::TempDir,
    issued: Issued,
}

fn certificates() -> Files {
    let now = time::OffsetDateTime::now_utc();
    let (key, validity) = (KeyType::EcdsaP256, Validity::days(now, 100));
    let root = Authority::root(&Subject::german("Test", "Test Root"), key, validity).unwrap();
    let issuing = root.issuing(&Subject::german("Test", "Test Issuing"), key, validity).unwrap();
    let subject = Subject::german("Hospital", "dsf.hospital.example").with_email("dsf@hospital.example");
    let issued = issuing.issue_organization(&subject, &["dsf.hospital.example"], key, validity).unwrap();
    let files = Files { folder: folder(), issued };
    let chain = files.issued.chain_pem();
    files.write("chain.pem", chain.as_bytes());
    files.write("crlf.pem", chain.replace('\n', "\r\n").as_bytes());
    files.write("with-text.pem", format!("Subject: somebody\n\n{chain}").as_bytes());
    files.write("leaf.der", files.issued.certificate().der());
    files.write("expired.pem", {
        let past = Validity { not_before: now - time::Duration::days(20), not_after: now - time::Duration::days(1) };
        root.issue_organization(&subject, &[], key, past).unwrap().chain_pem()
    });
    files.write("nameless.pem", {
        let nameless = Subject { common_name: None, ..subject.clone() };
        root.issue_organization(&nameless, &[], key, validity).unwrap().chain_pem()
    });
    files.write("server.pem", {
        root.issue_server(&subject, &["dsf.hospital.example"], key, validity).unwrap().chain_pem()
    });
    files.write("key.pem", files.issued.private_key_pem().as_bytes());
    files.write("encrypted.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    files.write("nonsense.pem", "nonsense");
    files.write("empty.pem", "");
    files.write("truncated.pem", &chain.as_bytes()[..200]);
    files
}

impl Files {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn cert(&self, command: &str, names: &[&str], more: &[&str]) -> Output {
        let paths: Vec<String> = names.iter().map(|name| text(&self.folder.path().join(name)).to_owned()).collect();
        let mut arguments = vec!["cert", command];
        arguments.extend(more);
        arguments.extend(paths.iter().map(String::as_str));
        run(&arguments)
    }
}

#[test]
fn thumbprints_are_those_of_openssl_for_every_form_of_a_file() {
    let files = certificates();
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha512", "-in"])
        .arg(files.folder.path().join("chain.pem"))
        .output();
    let expected = match openssl {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            said.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase()
        }
        _ => files.issued.certificate().thumbprint().to_owned(),
    };
    assert_eq!(files.issued.certificate().thumbprint(), expected);
    for name in ["chain.pem", "crlf.pem", "with-text.pem", "leaf.der"] {
        let output = files.cert("thumbprint", &[name], &[]).expect(0);
        let first = output.out.lines().next().unwrap();
        assert_eq!(first.split(' ').next(), Some(expected.as_str()), "{name}: {}", output.out);
        assert!(first.contains("CN=dsf.hospital.example"), "{name}: {}", output.out);
        assert_eq!(output.out.lines().count(), 1, "authorities of a chain stand on no allow-list: {}", output.out);
    }
    let json = files.cert("thumbprint", &["chain.pem"], &["--format", "json"]).expect(0).json();
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{json:#}");
    assert_eq!(json[0]["thumbprint"].as_str(), Some(expected.as_str()));
}

#[test]
fn inspection_tells_what_partners_would_object_to() {
    let files = certificates();
    let good = files.cert("inspect", &["chain.pem"], &[]).expect(0);
    for words in [
        "CN=dsf.hospital.example",
        "CN=Test Issuing",
        "C=DE",
        "clientAuth",
        "digitalSignature",
        "EC P-256",
        "days left",
        "dsf@hospital.example",
    ] {
        assert!(good.out.contains(words), "{words}: {}", good.out);
    }
    assert!(good.out.contains("1 of 2") && good.out.contains("2 of 2"), "{}", good.out);
    let expired = files.cert("inspect", &["expired.pem"], &[]).expect(0);
    assert!(expired.out.contains("expired"), "{}", expired.out);
    let nameless = files.cert("inspect", &["nameless.pem"], &[]).expect(0);
    assert!(nameless.out.to_lowercase().contains("common name") || nameless.out.contains("CN"), "{}", nameless.out);
    let server = files.cert("inspect", &["server.pem"], &[]).expect(0);
    assert!(server.out.contains("serverAuth") && server.out.contains("server certificate"), "{}", server.out);
    let json = files.cert("inspect", &["chain.pem", "expired.pem"], &["--format", "json"]).expect(0).json();
    let list = json.as_array().unwrap();
    assert_eq!(list.len(), 3, "{json:#}");
    assert!(list[2]["days-left"].as_i64() < Some(0), "{json:#}");
    assert!(list[2]["notes"].as_array().is_some_and(|notes| !notes.is_empty()), "{json:#}");
}

#[test]
fn files_that_hold_no_certificate_are_named_with_a_remedy_and_hide_no_others() {
    let files = certificates();
    for (name, words) in [
        ("key.pem", "private key"),
        ("encrypted.key", "private key"),
        ("nonsense.pem", "neither PEM nor DER"),
        ("empty.pem", "empty"),
        ("truncated.pem", "truncated"),
        ("missing.pem", "read"),
    ] {
        for command in ["inspect", "thumbprint"] {
            let output = files.cert(command, &[name, "leaf.der"], &[]).expect(1);
            assert!(output.err.contains(name) && output.err.contains(words), "{name}: {}", output.err);
            assert!(output.err.contains("remedy: "), "{name}: {}", output.err);
            assert!(output.out.contains("dsf.hospital.example"), "the other file is still shown: {}", output.out);
            assert!(!output.err.contains("-----BEGIN"), "{}", output.err);
        }
    }
}

#[test]
fn text_of_certificates_does_not_control_the_terminal() {
    let now = time::OffsetDateTime::now_utc();
    let validity = Validity::days(now, 100);
    let evil = Subject::german("Evil", "evil\u{1b}[31m\r\nCN=good.example");
    let authority = Authority::root(&evil, KeyType::EcdsaP256, validity).unwrap();
    let place = folder();
    let file = place.path().join("evil.pem");
    std::fs::write(&file, authority.certificate_pem()).unwrap();
    for command in ["inspect", "thumbprint"] {
        let output = run(&["cert", command, text(&file)]).expect(0);
        assert!(!output.out.contains('\u{1b}') && !output.out.contains('\r'), "{:?}", output.out);
    }
    let json: Value = run(&["cert", "inspect", "--format", "json", text(&file)]).expect(0).json();
    assert!(json[0].is_object());
}
