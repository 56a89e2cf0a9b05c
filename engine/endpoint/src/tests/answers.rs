//! Answers that are given again: never older than an acknowledged write, never to whom they are closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::support::{Node, Who, code_system, patient, policy, tag_all, tag_local, tag_role};

/// Reads so often that the answer is a kept one.
async fn read_again(node: &Node, who: Who, path: &str) -> Value {
    let first = node.get(who, path).await.expect(200);
    for _ in 0..2 {
        let again = node.get(who, path).await.expect(200);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for name in ["etag", "last-modified", "content-type", "content-length", "vary", "cache-control"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_ne!(again.header("x-correlation-id"), first.header("x-correlation-id"));
    }
    first.json()
}

#[tokio::test]
async fn a_read_shows_what_was_written_last() {
    let node = Node::start().await;
    let mut stored = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let path = format!("/Patient/{}", stored["id"].as_str().unwrap());
    assert_eq!(read_again(&node, Who::Loc, &path).await, stored);
    stored["gender"] = json!("other");
    stored = node.put(Who::Loc, &path, &stored).await.expect(200).json();
    assert_eq!(read_again(&node, Who::Loc, &path).await, stored);
    let known = format!("W/\"{}\"", stored["meta"]["versionId"].as_str().unwrap());
    node.get_with(Who::Loc, &path, &[("if-none-match", &known)]).await.expect_empty(304);
    node.get_with(Who::Loc, &path, &[("if-match", "W/\"1\"")]).await.expect_empty(412);
    let head = node.send(Who::Loc, "HEAD", &path, &[("accept", "application/fhir+json")], "").await.expect_empty(200);
    assert_eq!(head.header("content-length"), node.get(Who::Loc, &path).await.body.len().to_string());
    node.delete(Who::Loc, &path).await.expect(200);
    node.get(Who::Loc, &path).await.expect_outcome(410, "deleted");
    node.post(Who::Loc, &format!("{path}/$permanent-delete"), &json!({})).await.expect(200);
    node.get(Who::Loc, &path).await.expect_empty(404);
}

#[tokio::test]
async fn each_form_is_kept_for_itself() {
    let node = Node::start().await;
    let path = format!("/Patient/{}", node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id());
    for _ in 0..3 {
        let xml = node.get_with(Who::Loc, &format!("{path}?_format=xml"), &[]).await.expect(200);
        assert!(xml.body.starts_with(b"<Patient"), "{:?}", xml.body);
        let pretty = node.get(Who::Loc, &format!("{path}?_pretty=true")).await.expect(200);
        assert!(pretty.body.contains(&b'\n'), "{:?}", pretty.body);
        let plain = node.get(Who::Loc, &path).await.expect(200);
        assert!(!plain.body.contains(&b'\n'), "{:?}", plain.body);
        let summary = node.get(Who::Loc, &format!("{path}?_summary=text")).await.expect(200).json();
        assert!(summary.to_string().contains("SUBSETTED"), "{summary}");
        assert_eq!(node.get(Who::Loc, &format!("{path}/_history/1")).await.expect(200).body, plain.body);
    }
    // Another spelling of an id is another id.
    let id = path.trim_start_matches("/Patient/").replace('-', "");
    node.get(Who::Loc, &format!("/Patient/{id}")).await.expect_empty(404);
}

#[tokio::test]
async fn who_may_not_read_gets_nothing_that_was_kept_for_others() {
    let node = Node::start().await;
    let mut stored = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let path = format!("/Patient/{}", stored["id"].as_str().unwrap());
    read_again(&node, Who::Loc, &path).await;
    read_again(&node, Who::Ext, &path).await;
    node.get(Who::Stranger, &path).await.expect_empty(403);
    // No right to read the type.
    node.get(Who::Min, &path).await.expect_outcome(403, "forbidden");
    stored["meta"]["tag"] = json!([tag_local()]);
    node.put(Who::Loc, &path, &stored).await.expect(200);
    read_again(&node, Who::Loc, &path).await;
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
}

#[tokio::test]
async fn a_change_of_the_allow_list_closes_what_was_kept() {
    let node = Node::start().await;
    let body = code_system("http://test.example/cs", "1", &[tag_local(), tag_role("TTP")]);
    let path = format!("/CodeSystem/{}", node.post(Who::Loc, "/CodeSystem", &body).await.expect(201).id());
    read_again(&node, Who::Ext, &path).await;
    let organization = node.find("/Organization?identifier=External_Test_Organization").await;
    let id =
        node.find(&format!("/OrganizationAffiliation?participating-organization=Organization/{organization}")).await;
    let affiliation_path = format!("/OrganizationAffiliation/{id}");
    let stored = node.get(Who::Loc, &affiliation_path).await.expect(200).json();
    let mut without = stored.clone();
    without["code"][0]["coding"].as_array_mut().unwrap().remove(0);
    let changed = node.put(Who::Loc, &affiliation_path, &without).await.expect(200).json();
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
    let mut back = stored;
    back["meta"] = changed["meta"].clone();
    node.put(Who::Loc, &affiliation_path, &back).await.expect(200);
    read_again(&node, Who::Ext, &path).await;
    // The organisation is not active any more.
    let organization_path = format!("/Organization/{organization}");
    let mut inactive = node.get(Who::Loc, &organization_path).await.expect(200).json();
    inactive["active"] = json!(false);
    node.put(Who::Loc, &organization_path, &inactive).await.expect(200);
    node.get(Who::Ext, &path).await.expect_empty(403);
    read_again(&node, Who::Loc, &path).await;
}

#[tokio::test]
async fn a_change_of_the_policy_closes_what_was_kept() {
    let node = Node::start().await;
    let path = format!("/Patient/{}", node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id());
    read_again(&node, Who::Ext, &path).await;
    let rule = "[[rule]]\nid = \"no-patients\"\neffect = \"deny\"\nsubject = \"remote-organization\"\n\
        match = { operations = [\"*\"], types = [\"Patient\"] }\n";
    node.policies.activate(Arc::new(policy(rule)));
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
    read_again(&node, Who::Loc, &path).await;
}

#[tokio::test]
async fn a_binary_follows_its_security_context_whatever_was_read_before() {
    let node = Node::start().await;
    let mut context = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).json();
    let context_path = format!("/Patient/{}", context["id"].as_str().unwrap());
    let binary = json!({
        "resourceType": "Binary",
        "contentType": "text/plain",
        "securityContext": { "reference": context_path.trim_start_matches('/') },
        "data": "aGVsbG8=",
    });
    let path = format!("/Binary/{}", node.post(Who::Loc, "/Binary", &binary).await.expect(201).id());
    read_again(&node, Who::Ext, &path).await;
    context["meta"]["tag"] = json!([tag_local()]);
    node.put(Who::Loc, &context_path, &context).await.expect(200);
    node.get(Who::Ext, &path).await.expect_outcome(403, "forbidden");
    read_again(&node, Who::Loc, &path).await;
}

#[tokio::test]
async fn a_kept_answer_is_recorded_and_without_a_record_not_given() {
    let node = Node::start().await;
    let path = format!("/Patient/{}", node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id());
    read_again(&node, Who::Ext, &path).await;
    let reads = |node: &Node| {
        let records = node.hooks.records.lock().unwrap();
        records.iter().filter(|(interaction, event)| interaction == "read" && event == "answered 200").count()
    };
    assert_eq!(reads(&node), 3);
    node.hooks.audit_fails.store(true, Ordering::SeqCst);
    node.get(Who::Ext, &path).await.expect(503);
    node.hooks.audit_fails.store(false, Ordering::SeqCst);
    node.get(Who::Ext, &path).await.expect(200);
    assert_eq!(reads(&node), 4);
}

/// Readers beside a writer: nobody sees an older version than the one whose write was answered before the read began, and
/// nobody goes back to a version before one that was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_beside_writes_are_never_older_than_the_last_answered_write() {
    const WRITES: u64 = 120;
    let node = Arc::new(Node::start().await);
    let mut first = patient(&[tag_all()]);
    first["name"] = json!([{ "family": "v1" }]);
    let mut stored = node.post(Who::Loc, "/Patient", &first).await.expect(201).json();
    let path = format!("/Patient/{}", stored["id"].as_str().unwrap());
    let answered = Arc::new(AtomicU64::new(1));
    let seen = Arc::new(AtomicU64::new(1));
    let readers: Vec<_> = (0..6)
        .map(|number| {
            let (node, path) = (Arc::clone(&node), path.clone());
            let (answered, seen) = (Arc::clone(&answered), Arc::clone(&seen));
            let who = if number % 2 == 0 { Who::Loc } else { Who::Ext };
            tokio::spawn(async move {
                let mut reads = 0_u64;
                while answered.load(Ordering::SeqCst) < WRITES {
                    let before = answered.load(Ordering::SeqCst).max(seen.load(Ordering::SeqCst));
                    let read = node.get(who, &path).await.expect(200).json();
                    let version: u64 = read["meta"]["versionId"].as_str().unwrap().parse().unwrap();
                    assert!(version >= before, "version {version} after {before}");
                    assert_eq!(read["name"][0]["family"], format!("v{version}"), "content of another version");
                    seen.fetch_max(version, Ordering::SeqCst);
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for version in 2..=WRITES {
        stored["name"] = json!([{ "family": format!("v{version}") }]);
        stored = node.put(Who::Loc, &path, &stored).await.expect(200).json();
        answered.store(version, Ordering::SeqCst);
    }
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    assert!(reads > 0);
}
