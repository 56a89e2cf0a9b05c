//! `init`, `check` and `run`: everything that is wrong is said at once, with file, line and remedy.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tests::network::{folder, free_ports};

use super::{init, run, text};

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
    let management = format!("127.0.0.1:{}", free_ports().0);
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
        &management,
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
