//! What would lock the node out, drown it, or let a gateway decide by an old allow-list.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{
    LOCAL, Node, Who, activity_definition, endpoint, entry, organization, organization_party, party, patient, tag_all,
    task,
};

async fn own(node: &Node, query: &str) -> (String, Value) {
    let id = node.find(query).await;
    let path = format!("{}/{id}", query.split('?').next().unwrap());
    let stored = node.get(Who::Loc, &path).await.json();
    (path, stored)
}

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

/// As many organisations with an endpoint each, as an allow-list brings them.
fn network(prefix: &str, count: usize) -> Vec<Value> {
    let mut entries = Vec::new();
    for number in 0..count {
        let (organization_urn, endpoint_urn) = (urn(number, 1), urn(number, 2));
        let name = format!("{prefix}-{number}.example");
        let mut member = organization(&name, Who::Ext, &endpoint_urn);
        member["extension"][0]["valueString"] = json!(format!("{count:0>64x}{number:0>64x}"));
        let managing = json!({ "reference": organization_urn });
        let node = endpoint(&name, &format!("https://{name}/fhir"), &managing);
        for (urn, kind, resource) in [(organization_urn, "Organization", member), (endpoint_urn, "Endpoint", node)] {
            let request = json!({ "method": "POST", "url": kind });
            entries.push(json!({ "fullUrl": urn, "resource": resource, "request": request }));
        }
    }
    entries
}

fn parent(identifier: &str) -> Value {
    json!({
        "resourceType": "Organization",
        "meta": {
            "profile": ["http://dsf.dev/fhir/StructureDefinition/organization-parent"],
            "tag": [tag_all()],
        },
        "identifier": [{ "system": "http://dsf.dev/sid/organization-identifier", "value": identifier }],
        "active": true,
        "name": "Parent",
    })
}

fn urn(number: usize, kind: usize) -> String {
    format!("urn:uuid:00000000-0000-4000-800{kind}-{number:012}")
}

#[tokio::test]
async fn edge_a29_nobody_can_take_the_own_organization_or_endpoint_off_the_allow_list() {
    let node = Node::start().await;
    let (organization, stored) = own(&node, &format!("/Organization?identifier={LOCAL}")).await;
    let (endpoint, stored_endpoint) = own(&node, "/Endpoint?identifier=Test_Endpoint").await;
    let mut inactive = stored.clone();
    inactive["active"] = json!(false);
    let mut other_certificate = stored.clone();
    other_certificate["extension"][0]["valueString"] = json!("a".repeat(128));
    let mut off = stored_endpoint.clone();
    off["status"] = json!("off");
    for who in [Who::Loc, Who::Adm] {
        node.delete(who, &organization).await.expect_outcome(403, "forbidden");
        node.delete(who, &endpoint).await.expect_outcome(403, "forbidden");
        node.put(who, &organization, &inactive).await.expect_outcome(403, "forbidden");
        node.put(who, &organization, &other_certificate).await.expect_outcome(403, "forbidden");
        node.put(who, &endpoint, &off).await.expect_outcome(403, "forbidden");
        let delete = json!({ "request": { "method": "DELETE", "url": organization.trim_start_matches('/') } });
        for kind in ["transaction", "batch"] {
            let answer = node.post(who, "/", &bundle(kind, std::slice::from_ref(&delete))).await;
            assert!(answer.status == 403 || answer.json()["entry"][0]["response"]["status"] == "403 Forbidden");
        }
    }
    node.get(Who::Loc, &organization).await.expect(200);
    let mut renewed = stored.clone();
    let mut second = stored["extension"][0].clone();
    second["valueString"] = json!("a".repeat(128));
    renewed["extension"].as_array_mut().unwrap().push(second);
    node.put(Who::Loc, &organization, &renewed).await.expect(200);
    let mut without_caller = renewed;
    without_caller["extension"].as_array_mut().unwrap().remove(0);
    node.put(Who::Loc, &organization, &without_caller).await.expect_outcome(403, "forbidden");
    node.put(Who::Adm, &organization, &without_caller).await.expect(200);
}

#[tokio::test]
async fn what_one_caller_is_told_is_not_kept_for_another() {
    let node = Node::start().await;
    for path in ["/Organization", "/Organization?_count=0", "/_history", "/Organization/_history"] {
        let answer = node.get(Who::Loc, path).await.expect(200);
        assert_eq!(answer.header("cache-control"), "private, no-cache, no-transform", "{path}");
        assert_eq!(answer.header("vary"), "Accept", "{path}");
    }
    assert_eq!(node.get(Who::Loc, "/metadata").await.expect(200).header("cache-control"), "");
}

#[tokio::test]
async fn a_publication_that_takes_long_is_not_cut_short() {
    let node = Node::start().await;
    *node.hooks.publication_takes.lock().unwrap() = Duration::from_millis(1300);
    let (path, mut stored) = own(&node, "/Organization?identifier=External_Test_Organization").await;
    stored["name"] = json!("New");
    node.put(Who::Loc, &path, &stored).await.expect(200);
    // Another publication may be under way, which is not cut short either.
    let is_published = || {
        let newest = node.hooks.newest_list.lock().unwrap().clone();
        newest.is_some_and(|list| list.organizations().iter().any(|known| known.name.as_deref() == Some("New")))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !is_published() {
        assert!(Instant::now() < end, "the change is not published");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_publication_that_fails_is_tried_again() {
    let node = Node::start().await;
    node.hooks.publications_fail.store(1, Ordering::SeqCst);
    let (path, mut stored) = own(&node, "/Organization?identifier=External_Test_Organization").await;
    stored["active"] = json!(false);
    node.put(Who::Loc, &path, &stored).await.expect(200);
    let newest = node.hooks.newest_list.lock().unwrap().clone().expect("a list was published");
    assert!(!newest.is_active(&"External_Test_Organization".parse().unwrap()));
}

#[tokio::test]
async fn the_newest_list_is_published_last_however_many_change_it_at_once() {
    let node = Node::start().await;
    *node.hooks.publication_takes.lock().unwrap() = Duration::from_millis(3);
    let changes = (0..20).map(|number| {
        let node = &node;
        async move {
            let body = parent(&format!("p{number}"));
            node.post(Who::Loc, "/Organization", &body).await.expect(201);
            let newest = node.hooks.newest_list.lock().unwrap().clone().expect("a list was published");
            assert!(
                newest.is_active(&format!("p{number}").parse().unwrap()),
                "the change is answered after its publication"
            );
        }
    });
    futures_util::future::join_all(changes).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let newest = node.hooks.newest_list.lock().unwrap().clone().unwrap();
    assert_eq!(newest.organizations().len(), 23);
}

#[tokio::test]
async fn a_batch_waits_once_for_the_publication_of_all_its_entries() {
    let node = Node::start().await;
    *node.hooks.publication_takes.lock().unwrap() = Duration::from_millis(400);
    let entries: Vec<Value> =
        (0..10).map(|number| entry("POST", "Organization", &parent(&format!("member-{number}.example")))).collect();
    let started = Instant::now();
    let answer = node.post(Who::Loc, "/", &bundle("batch", &entries)).await.expect(200).json();
    assert_eq!(answer["entry"].as_array().unwrap().len(), 10);
    assert!(started.elapsed() < Duration::from_millis(2000), "{:?}", started.elapsed());
    let newest = node.hooks.newest_list.lock().unwrap().clone().expect("a list was published");
    assert!(
        newest.is_active(&"member-9.example".parse().unwrap()),
        "the last entry is published when the batch is answered"
    );
}

#[tokio::test]
async fn a_sender_cannot_make_the_node_ask_third_servers_without_bound_or_without_right() {
    let node = Node::start().await;
    let parties = [party("REMOTE_ALL", None)];
    let recipient = party("LOCAL_ORGANIZATION", Some(("organization", organization_party(LOCAL))));
    node.post(Who::Loc, "/ActivityDefinition", &activity_definition("1.0", &parties, &recipient)).await;
    let with_references = |who: Who, count: usize| {
        let mut body = task(who, "requested", "1.0");
        for number in 0..count {
            body["input"].as_array_mut().unwrap().push(json!({
                "type": { "coding": [{ "system": "http://test.example/cs", "code": "document" }] },
                "valueReference": { "reference": format!("https://external.example/fhir/Binary/{number}") },
            }));
        }
        body
    };
    node.post(Who::Ext, "/Task", &with_references(Who::Ext, 500)).await.expect(403);
    assert_eq!(node.hooks.asked.lock().unwrap().len(), 0);
    // Another's name as requester: refused before anybody is asked.
    node.post(Who::Ext, "/Task", &with_references(Who::Loc, 1)).await.expect_outcome(403, "forbidden");
    assert_eq!(node.hooks.asked.lock().unwrap().len(), 0);
    let entries: Vec<Value> = (0..30).map(|_| entry("POST", "Task", &with_references(Who::Ext, 10))).collect();
    node.post(Who::Ext, "/", &bundle("batch", &entries)).await.expect(200);
    assert!(node.hooks.asked.lock().unwrap().len() <= crate::limits::REMOTE_REFERENCES);
}

#[tokio::test]
async fn a_page_that_would_fill_the_memory_is_refused_and_smaller_pages_are_given() {
    let node = Node::start().await;
    let data = "QUJD".repeat(3 << 20);
    let mut large = patient(&[tag_all()]);
    large["photo"] = json!([{ "contentType": "image/png", "data": data }]);
    for _ in 0..3 {
        node.post(Who::Loc, "/Patient", &large).await.expect(201);
    }
    for path in ["/Patient", "/Patient/_history"] {
        node.get(Who::Loc, path).await.expect_outcome(400, "too-costly");
    }
    for path in ["/Patient?_count=1&_page=2", "/Patient/_history?_count=1&_page=2"] {
        let page = node.get(Who::Loc, path).await.expect(200).json();
        assert_eq!((page["total"].as_u64(), page["entry"].as_array().unwrap().len()), (Some(3), 1));
    }
}

#[tokio::test]
#[ignore = "a measurement: takes long, prints"]
async fn a_network_of_thousands_is_stored_in_linear_time() {
    let node = Node::start().await;
    for count in [900, 950, 960] {
        let entries = network(&format!("n{count}"), count);
        let started = Instant::now();
        node.post(Who::Loc, "/", &bundle("transaction", &entries)).await.expect(200);
        let transaction = started.elapsed();
        let (path, mut stored) = own(&node, "/Organization?identifier=External_Test_Organization").await;
        stored["name"] = json!(format!("New {count}"));
        let started = Instant::now();
        node.put(Who::Loc, &path, &stored).await.expect(200);
        let change = started.elapsed();
        let patients: Vec<Value> = (0..50).map(|_| entry("POST", "Patient", &patient(&[tag_all()]))).collect();
        let started = Instant::now();
        node.post(Who::Loc, "/", &bundle("batch", &patients)).await.expect(200);
        let batch = started.elapsed();
        let parents = (0..50).map(|number| entry("POST", "Organization", &parent(&format!("p{count}-{number}"))));
        let members: Vec<Value> = parents.collect();
        let started = Instant::now();
        node.post(Who::Loc, "/", &bundle("batch", &members)).await.expect(200);
        eprintln!(
            "{count} members: transaction {transaction:?}, one change {change:?}, 50 other entries {batch:?}, 50 members one by one {:?}",
            started.elapsed()
        );
    }
}
