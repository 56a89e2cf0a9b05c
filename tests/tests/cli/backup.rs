//! `schleuse backup` and `schleuse restore`: a node that runs, to one file and back.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::network::{folder, free_ports, run_node};
use tests::until;

use super::{run, text};

fn status(directory: &Path) -> Value {
    run(&["--format", "json", "status", text(directory)]).expect(0).json()
}

#[tokio::test]
async fn a_running_node_is_saved_and_comes_back_whole() {
    let folder = folder();
    let (directory, file) = (folder.path().join("node"), folder.path().join("node.backup"));
    let (port, management) = free_ports();
    let (base, listen) = (format!("https://localhost:{port}/fhir"), format!("127.0.0.1:{port}"));
    let manage = format!("127.0.0.1:{management}");
    let options = ["--base-url", &base, "--listen", &listen, "--management", &manage, "--development-certificates"];
    let begin = ["init", text(&directory), "--organization-identifier", "a.example"];
    run(&[&begin[..], &options].concat()).expect(0);
    let guard = run_node(&directory, management).await;
    let before = status(&directory);
    // What stands beside the archive stays as it is, also where its name looks like an unfinished one.
    let neighbour = file.with_extension("unfinished");
    std::fs::write(&neighbour, "somebody's").unwrap();
    run(&["backup", text(&directory), text(&file)]).expect(0);
    assert_eq!(std::fs::read_to_string(&neighbour).unwrap(), "somebody's");
    let left = || std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(left().all(|name| !name.to_string_lossy().starts_with(".schleuse-")), "{:?}", left().collect::<Vec<_>>());
    run(&["backup", text(&directory), text(&file)]).expect(1);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // The node goes on.
    assert_eq!(status(&directory)["resources"], before["resources"]);
    run(&["restore", text(&file), text(&directory)]).expect(1);
    guard.signal(Signal::TERM);
    until("the end of the node", Duration::from_secs(20), async || {
        (run(&["status", text(&directory)]).code == Some(69)).then_some(())
    })
    .await;
    drop(guard);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::remove_dir_all(directory.with_extension("notes")).unwrap();

    let restored = run(&["restore", text(&file), text(&directory)]).expect(0);
    assert!(restored.out.contains("all verified"), "{}", restored.out);
    run(&["audit", "verify", text(&directory)]).expect(0);
    run(&["check", text(&directory)]).expect(0);
    let _guard = run_node(&directory, management).await;
    assert_eq!(status(&directory)["resources"], before["resources"]);
    run(&["check", "--deep", text(&directory)]).expect(0);
}

#[test]
fn a_damaged_archive_leaves_nothing_behind() {
    let folder = folder();
    let (directory, file) = (folder.path().join("node"), folder.path().join("node.backup"));
    run(&[
        "init",
        text(&directory),
        "--organization-identifier",
        "a.example",
        "--base-url",
        "https://localhost:1/fhir",
        "--development-certificates",
    ])
    .expect(0);
    run(&["backup", text(&directory), text(&file)]).expect(0);
    let whole = std::fs::read(&file).unwrap();
    let policy = b"deny_unknown".len();
    let place = whole.windows(10).position(|part| part == b"node.toml\0").unwrap() + 512 + policy;
    let mut changed = whole.clone();
    changed[place] ^= 1;
    let mut elsewhere = whole.clone();
    elsewhere[..3].copy_from_slice(b"/..");
    for (name, bytes) in [
        ("changed", changed),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("elsewhere", elsewhere),
        ("empty", Vec::new()),
    ] {
        let (file, target) = (folder.path().join(name), folder.path().join(format!("{name}-node")));
        std::fs::write(&file, bytes).unwrap();
        let output = run(&["restore", text(&file), text(&target)]).expect(1);
        assert!(output.err.contains("the archive cannot be used"), "{name}: {}", output.err);
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "{name}");
    }
    let good = folder.path().join("good");
    run(&["restore", text(&file), text(&good)]).expect(0);
    assert_eq!(
        std::fs::read(good.join("certificates/client.key")).unwrap(),
        std::fs::read(directory.join("certificates/client.key")).unwrap()
    );
}
