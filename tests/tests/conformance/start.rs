//! Start-up data: what a node stores before it serves, over restarts (`fhir-api` 3.4).

use std::ffi::OsStr;
use std::time::Duration;

use serde_json::json;
use tests::Schleuse;
use tests::network::folder;

use crate::resources::post;
use crate::seed::{self, PARENT};
use crate::subject::{self, Subject, is_foreign};

async fn version_of_parent(subject: &Subject) -> String {
    let id = subject.organization(PARENT).await;
    let parent = subject.loc.get(&format!("/Organization/{id}")).await.expect(200).json();
    parent["meta"]["versionId"].as_str().unwrap().to_owned()
}

/// Versions of everything that is stored.
async fn versions(subject: &Subject) -> u64 {
    subject::total(&subject.loc, "/_history?_count=0").await
}

#[tokio::test]
async fn start_up_data_is_stored_once_and_an_initial_bundle_when_it_is_new() {
    if is_foreign() {
        println!("skipped: a foreign node is not restarted");
        return;
    }
    let place = folder();
    let node = subject::prepare(place.path());
    let stop = |subject: Subject| assert!(subject.own.unwrap().guard.stop().success());

    let first = node.start(None).await;
    let before = versions(&first).await;
    let id = first.organization(PARENT).await;
    let mut renamed = first.loc.get(&format!("/Organization/{id}")).await.expect(200).json();
    renamed["name"] = json!("renamed by an allow-list");
    first.loc.put(&format!("/Organization/{id}"), &renamed).await.expect(200);
    stop(first);

    // A restart repeats nothing.
    let second = node.start(None).await;
    assert_eq!(versions(&second).await, before + 1);
    assert_eq!(version_of_parent(&second).await, "2");
    stop(second);

    // A changed Bundle is carried out.
    let mut bundle = node.bundle();
    bundle["entry"].as_array_mut().unwrap().push(post(&seed::parent_organization("Second_Parent")));
    node.write_bundle(&bundle);
    let third = node.start(None).await;
    assert_eq!(version_of_parent(&third).await, "3");
    third.organization("Second_Parent").await;
    stop(third);

    // One that is refused keeps the node from starting, and says where.
    let mut invalid = seed::parent_organization("Third_Parent");
    invalid.as_object_mut().unwrap().remove("identifier");
    let mut bundle = node.bundle();
    bundle["entry"].as_array_mut().unwrap().push(post(&invalid));
    node.write_bundle(&bundle);
    let run = || Schleuse::run_within(Duration::from_secs(60), &[OsStr::new("run"), node.directory.as_os_str()]);
    let refused = run().expect(78);
    for told in ["initial-bundle.json", "was refused", "identifier"] {
        assert!(refused.err.contains(told), "{}", refused.err);
    }
    std::fs::write(node.directory.join("initial-bundle.json"), "<Patient xmlns=\"http://hl7.org/fhir\"/>").unwrap();
    let checked = Schleuse::run(&[OsStr::new("check"), node.directory.as_os_str()]).expect(78);
    assert!(checked.out.contains("engine.initial-bundle") && checked.out.contains("is a Patient"), "{}", checked.out);

    // Nothing of what was refused is stored.
    node.write_bundle(&node.bundle());
    let last = node.start(None).await;
    assert_eq!(subject::total(&last.loc, "/Organization?identifier=Third_Parent").await, 0);
    stop(last);
}
