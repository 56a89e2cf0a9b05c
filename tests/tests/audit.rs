//! The audit chains of a node, as `schleuse audit verify` sees them: intact after traffic of every kind, and broken by the
//! change of a single byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise is a failed test")]

use std::ffi::OsStr;
use std::path::Path;

use tests::network::folder;
use tests::{Output, Schleuse, shared, tasks};

fn verify(path: &Path) -> Output {
    Schleuse::run(&[OsStr::new("audit"), OsStr::new("verify"), path.as_os_str()])
}

/// The whole lines of a chain that may be growing.
fn lines(path: &Path) -> Vec<u8> {
    let mut content = std::fs::read(path).unwrap();
    let end = content.iter().rposition(|byte| *byte == b'\n').unwrap();
    content.truncate(end + 1);
    content
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_are_intact_after_traffic_and_name_both_halves_of_a_request() {
    let network = shared();
    let node = network.node("dms");
    let organization = network.organization("dms", "dms");
    let task = tasks::start_ping(&node.organization_identifier);
    let created = organization.post("/Task", &task).await.expect(201);
    network.organization("ttp", "dms").send("DELETE", "/Task/1", &[], "").await.expect(403);
    network.stranger("dms").get("/metadata").await.expect(403);
    let output = verify(&node.directory).expect(0);
    assert_eq!(output.out.matches("intact").count(), 2, "{}", output.out);

    let correlation_id = created.field("x-correlation-id").unwrap().to_owned();
    for name in ["gateway.log", "engine.log"] {
        let chain = String::from_utf8(lines(&node.directory.join("audit").join(name))).unwrap();
        assert!(chain.lines().any(|line| line.contains(&correlation_id)), "{name} knows {correlation_id}");
        assert!(!chain.contains("startPing"), "{name} holds no content of a resource");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_one_byte_and_removal_of_one_line_are_found() {
    let network = shared();
    let node = network.node("ttp");
    for _ in 0..5 {
        network.organization("ttp", "ttp").get("/Organization?_count=1").await.expect(200);
    }
    let place = folder();
    for name in ["gateway.log", "engine.log"] {
        let original = lines(&node.directory.join("audit").join(name));
        let copy = place.path().join(name);
        std::fs::write(&copy, &original).unwrap();
        verify(&copy).expect(0);

        let mut flipped = original.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        std::fs::write(&copy, &flipped).unwrap();
        assert!(verify(&copy).expect(1).out.contains("BROKEN"), "{name}");

        let all: Vec<&[u8]> = original.split_inclusive(|byte| *byte == b'\n').collect();
        let mut cut = all.clone();
        cut.remove(all.len() / 2);
        std::fs::write(&copy, cut.concat()).unwrap();
        assert!(verify(&copy).expect(1).out.contains("BROKEN"), "{name}");
    }
}
