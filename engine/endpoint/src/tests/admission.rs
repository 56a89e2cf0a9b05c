//! What comes to the socket must be what the gateway permitted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use link::PERMIT_HEADER;
use policies::Identity;
use serde_json::json;

use super::support::{Node, Who, patient, policy, tag_all};

#[tokio::test]
async fn a_request_without_exactly_one_readable_permit_is_refused_without_a_body() {
    let node = Node::start().await;
    let permit = node.permit(Who::Loc, "metadata").encode().unwrap();
    node.send_raw("GET", "/fhir/metadata", &[], "").await.expect_empty(403);
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, "###")], "").await.expect_empty(403);
    let twice = [(PERMIT_HEADER, permit.as_str()), (PERMIT_HEADER, permit.as_str())];
    node.send_raw("GET", "/fhir/metadata", &twice, "").await.expect_empty(403);
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &permit)], "").await.expect(200);
}

#[tokio::test]
async fn a_permit_of_an_unknown_policy_or_snapshot_is_answered_with_503() {
    let node = Node::start().await;
    let mut permit = node.permit(Who::Loc, "metadata");
    permit.policy_version = "0".repeat(64);
    let text = permit.encode().unwrap();
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &text)], "").await.expect_empty(503);
    let mut permit = node.permit(Who::Loc, "metadata");
    permit.snapshot_version = 8;
    let text = permit.encode().unwrap();
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &text)], "").await.expect_empty(503);
    // The policy before the active one is still accepted for a moment.
    let old = node.permit(Who::Loc, "metadata").encode().unwrap();
    node.policies.activate(Arc::new(policy("# changed")));
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &old)], "").await.expect(200);
}

#[tokio::test]
async fn a_permit_of_a_policy_that_is_just_being_read_waits_for_it() {
    let node = Node::start().await;
    let next = Arc::new(policy("# next"));
    let mut permit = node.permit(Who::Loc, "metadata");
    next.version().clone_into(&mut permit.policy_version);
    let text = permit.encode().unwrap();
    let headers = [(PERMIT_HEADER, text.as_str())];
    let asked = node.send_raw("GET", "/fhir/metadata", &headers, "");
    let activated = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        node.policies.activate(Arc::clone(&next));
    };
    let (answer, ()) = tokio::join!(asked, activated);
    answer.expect(200);
}

#[tokio::test]
async fn a_request_that_is_not_the_permitted_one_is_refused() {
    let node = Node::start().await;
    let permit = node.permit(Who::Loc, "read").encode().unwrap();
    let headers = [(PERMIT_HEADER, permit.as_str())];
    for (method, target) in [
        ("GET", "/fhir/Patient"),
        ("DELETE", "/fhir/Patient/11111111-2222-4333-8444-555555555555"),
        ("GET", "/fhir/Unknown/1"),
        ("GET", "/other/Patient/1"),
        ("PATCH", "/fhir/Patient/1"),
        ("GET", "/fhir/Patient/%31"),
    ] {
        node.send_raw(method, target, &headers, "").await.expect_empty(500);
    }
}

#[tokio::test]
async fn identities_that_are_not_on_the_stored_allow_list_are_refused_without_a_body() {
    let node = Node::start().await;
    node.get(Who::Stranger, "/metadata").await.expect_empty(403);
    node.post(Who::Stranger, "/", &json!({ "resourceType": "Bundle", "type": "batch" })).await.expect_empty(403);
    let mut permit = node.permit(Who::Ext, "metadata");
    permit.identity = Identity::Unknown;
    let text = permit.encode().unwrap();
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &text)], "").await.expect_empty(403);
    // A foreign organisation that the permit calls local is not local.
    let Identity::Remote(organization) = Who::Ext.identity() else { unreachable!() };
    permit.identity = Identity::Local(organization);
    let text = permit.encode().unwrap();
    node.send_raw("GET", "/fhir/metadata", &[(PERMIT_HEADER, &text)], "").await.expect_empty(403);
}

#[tokio::test]
async fn an_organisation_that_becomes_inactive_is_refused_at_once_and_the_change_is_published() {
    let node = Node::start().await;
    node.get(Who::Ext, "/metadata").await.expect(200);
    let id = node.find("/Organization?identifier=External_Test_Organization").await;
    let mut organization = node.get(Who::Loc, &format!("/Organization/{id}")).await.expect(200).json();
    organization["active"] = json!(false);
    node.put(Who::Loc, &format!("/Organization/{id}"), &organization).await.expect(200);
    node.assert_published(1);
    node.get(Who::Ext, "/metadata").await.expect_empty(403);
    organization["active"] = json!(true);
    node.put(Who::Loc, &format!("/Organization/{id}"), &organization).await.expect(200);
    node.get(Who::Ext, "/metadata").await.expect(200);
}

#[tokio::test]
async fn writes_are_recorded_before_and_after_reads_once_and_nothing_is_done_or_told_unrecorded() {
    let node = Node::start().await;
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    node.get(Who::Ext, "/Patient/not-a-uuid").await.expect(404);
    let records = node.hooks.records.lock().unwrap().clone();
    let expected = [("create", "begun"), ("create", "201"), ("read", "answered 404")];
    assert_eq!(records, expected.map(|(interaction, event)| (interaction.to_owned(), event.to_owned())));
    node.hooks.audit_fails.store(true, Ordering::SeqCst);
    node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect_empty(503);
    node.get(Who::Loc, "/Patient").await.expect_empty(503);
    node.hooks.audit_fails.store(false, Ordering::SeqCst);
    assert_eq!(node.count(Who::Loc, "/Patient").await, 1);
}

#[tokio::test]
async fn metrics_and_health_need_no_permit_and_cannot_be_reached_as_fhir() {
    let node = Node::start().await;
    let metrics = node.send_raw("GET", "/link/metrics", &[], "").await.expect(200);
    assert_eq!(metrics.body, "# metrics\n");
    node.send_raw("GET", "/link/health", &[], "").await.expect(200);
    node.store.close().await;
    node.send_raw("GET", "/link/health", &[], "").await.expect(503);
}

#[tokio::test]
async fn processes_of_other_users_are_not_listened_to() {
    let node = Node::start().await;
    let foreign = crate::peer_uids(vec![rustix::process::getuid().as_raw().wrapping_add(1)]);
    let stream = tokio::net::UnixStream::connect(node.socket()).await.unwrap();
    assert!(!foreign(&stream.peer_cred().unwrap()));
    assert!(crate::peer_uids(vec![rustix::process::getuid().as_raw()])(&stream.peer_cred().unwrap()));
}

#[tokio::test]
async fn the_service_stops_when_it_is_told_to() {
    let mut node = Node::start().await;
    node.get(Who::Loc, "/metadata").await.expect(200);
    node.stop();
    for _ in 0..100 {
        if tokio::net::UnixStream::connect(node.socket()).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the socket still accepts");
}
