//! A node of `schleuse init` joins a running network by hand, by what `docs/operations.md` says.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tests::binaries::binary;
use tests::network::{folder, free_ports, run_node};
use tests::{Client, Network, Pair, Schleuse, tasks};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The shell commands of a section of the documentation, block by block.
fn commands_of(section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let start = text
        .find(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("docs/operations.md has no section {section}"));
    let rest = &text[start + 4..];
    let section = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    section.split("```sh\n").skip(1).map(|block| block[..block.find("```").unwrap()].to_owned()).collect()
}

fn has(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a block in `place`; `schleuse` is the program under test.
fn shell(place: &Path, block: &str) -> String {
    let programs = binary("schleuse").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .arg("-euc")
        .arg(block)
        .current_dir(place)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{block}\n{out}\n{err}");
    out
}

/// Runs a ping at a node by the command line and demands an answer of each site.
fn ping(directory: &Path, sites: &[&str]) {
    let arguments = ["--format", "json", "task", "start"].map(OsStr::new);
    let more = ["http://dsf.dev/bpe/Process/ping|1.0", "startPing", "--wait"].map(OsStr::new);
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([directory.as_os_str()]).chain(more).collect();
    let task: Value = Schleuse::run_within(tasks::PING_TIME, &arguments).expect(0).json();
    let replies = tasks::replies(&task["resource"]);
    let mut answered: Vec<&str> = replies
        .iter()
        .filter(|reply| reply.status == "pong-received")
        .map(|reply| reply.organization.as_str())
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, sites, "{task:#}");
}

#[tokio::test]
async fn node_joins_by_the_commands_of_the_documentation() {
    if !has("jq") || !has("curl") {
        println!("skipped: the commands of the documentation need jq and curl");
        return;
    }
    let place = folder();
    std::os::unix::fs::symlink(repository().join("docs"), place.path().join("docs")).unwrap();
    let (port, management) = free_ports();
    let blocks: Vec<String> = commands_of("Add a node to a running network")
        .into_iter()
        .map(|block| block.replace("23443", &port.to_string()).replace("23480", &management.to_string()))
        .collect();
    // What runs until it is stopped is started here; everything else is typed as it stands.
    assert!(blocks[0].starts_with("schleuse demo --directory net --no-run"), "{blocks:#?}");
    let notes = place.path().join("demo-notes");
    std::fs::create_dir(&notes).unwrap();
    let _network = Network::start_in(&place.path().join("net"), &notes, 3).unwrap();
    let (typed, running): (Vec<&str>, Vec<&str>) =
        blocks[1].lines().partition(|line| !line.starts_with("schleuse run"));
    assert_eq!(running.len(), 1, "{blocks:#?}");
    let said = shell(place.path(), &typed.join("\n"));
    assert!(said.contains("thumbprint"), "{said}");
    let mut guest = run_node(&place.path().join("guest"), management).await;
    // Functions of one block are used in the next, as in one terminal.
    let said = shell(place.path(), &blocks[2..].join("\n"));
    assert_eq!(said.lines().filter(|line| line.starts_with("200 https://")).count(), 7, "{said}");
    assert!(!said.contains("failed"), "{said}");
    ping(
        &place.path().join("guest"),
        &["dic-1.example", "dic-2.example", "dic-3.example", "dms.example", "portal.example", "ttp.example"],
    );
    assert!(guest.stop().success(), "{}", guest.err());
}

#[tokio::test]
async fn node_joins_leaves_and_comes_back() {
    let place = folder();
    let network = Network::start(1);
    let guest = place.path().join("guest");
    let (port, management) = free_ports();
    let base_url = format!("https://localhost:{port}/fhir");
    let (listen, manage) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{management}"));
    let authority = network.authority();
    let arguments: [&OsStr; 13] = [
        "--format".as_ref(),
        "json".as_ref(),
        "init".as_ref(),
        guest.as_os_str(),
        "--organization-identifier".as_ref(),
        "guest.example".as_ref(),
        "--base-url".as_ref(),
        base_url.as_ref(),
        "--listen".as_ref(),
        listen.as_ref(),
        "--management".as_ref(),
        manage.as_ref(),
        "--development-certificates".as_ref(),
    ];
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([authority.as_os_str()]).collect();
    let made = Schleuse::run(&arguments).expect(0).json();
    let thumbprint = made["thumbprint"].as_str().unwrap().to_owned();
    assert_eq!(thumbprint.len(), 128);
    Schleuse::run(&[OsStr::new("check"), guest.as_os_str()]).expect(0);
    let again = Schleuse::run(&arguments).expect(1);
    assert!(again.err.contains("exists"), "{}", again.err);
    let mut running = run_node(&guest, management).await;

    let own =
        Pair { certificate: guest.join("certificates/client.pem"), private_key: guest.join("certificates/client.key") };
    let own = Client::new(&base_url, &network.authority().join("ca.pem"), Some(&own));
    let portal = network.organization("portal", "portal");
    // Alone: it pings nobody, and partners do not know it.
    ping(&guest, &[]);
    let unknown = network.client(
        &network.node("portal"),
        Some(&Pair {
            certificate: guest.join("certificates/client.pem"),
            private_key: guest.join("certificates/client.key"),
        }),
    );
    assert_eq!(unknown.get("/metadata").await.status, 403);

    let mut members = String::new();
    for node in network.nodes() {
        let printed =
            Schleuse::run(&[OsStr::new("cert"), OsStr::new("thumbprint"), node.organization.certificate.as_os_str()])
                .expect(0);
        let thumbprint = printed.out.split(' ').next().unwrap().to_owned();
        members.push_str(&format!(
            "{} {} {} {} {thumbprint}\n",
            node.organization_identifier,
            node.endpoint_identifier(),
            node.base_url,
            node.role
        ));
    }
    members.push_str(&format!("guest.example dsf.guest.example {base_url} DIC {thumbprint}\n"));
    std::fs::write(place.path().join("members.txt"), members).unwrap();
    let script = repository().join("docs/examples/allow-list-bundle");
    let bundle = shell(place.path(), &format!("'{}' consortium.example <members.txt", script.display()));
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    for node in network.nodes() {
        network.organization(&node.name, &node.name).post("", &bundle).await.expect(200);
    }
    own.post("", &bundle).await.expect(200);
    let others = ["dic-1.example", "dms.example", "portal.example", "ttp.example"];
    ping(&guest, &others);
    let replies = tasks::run_ping(&portal, "portal.example").await;
    assert_eq!(replies.iter().filter(|reply| reply.status == "pong-received").count(), 4, "{replies:#?}");

    // Stopped in order, it is reported; started again, it answers as before.
    running.signal(Signal::TERM);
    let ended = running.stop();
    assert!(ended.success(), "{ended} {}", running.err());
    let replies = tasks::run_ping(&portal, "portal.example").await;
    let guest_reply = replies.iter().find(|reply| reply.organization == "guest.example").unwrap();
    assert_eq!(guest_reply.status, "not-reachable", "{replies:#?}");
    assert!(guest_reply.error.as_deref().unwrap_or_default().contains("refused"), "{replies:#?}");
    std::fs::remove_dir_all(guest.with_extension("notes")).unwrap();
    let mut running = run_node(&guest, management).await;
    ping(&guest, &others);
    assert!(running.stop().success());
}
