//! Tasks: who may create, read and change them, and the process engine's part (cases 88 to 93).

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::support::{
    EXTERNAL, LOCAL, Node, Who, activity_definition, entry, message_input, organization_party, parent_role, party,
    patient, tag_all, task, user_role,
};

/// The process definitions AD1 to AD14 of the reference's tests, as versions 1.1 to 1.14.
async fn with_processes(node: &Node) {
    let local_all = party("LOCAL_ALL", None);
    let role = |code: &str, role: &str| {
        party(code, Some(("parent-organization-role", json!({ "extension": parent_role(role) }))))
    };
    let practitioner =
        |role: &str| party("LOCAL_ALL_PRACTITIONER", Some(("practitioner", json!({ "valueCoding": user_role(role) }))));
    let organization_practitioner = |role: &str| {
        let mut organization = organization_party(LOCAL);
        organization["url"] = json!("organization");
        let extension = json!([organization, { "url": "practitioner-role", "valueCoding": user_role(role) }]);
        party("LOCAL_ORGANIZATION_PRACTITIONER", Some(("organization-practitioner", json!({ "extension": extension }))))
    };
    let role_practitioner = |organization_role: &str, user: &str| {
        let mut extension = parent_role(organization_role);
        extension.push(json!({ "url": "practitioner-role", "valueCoding": user_role(user) }));
        party(
            "LOCAL_ROLE_PRACTITIONER",
            Some(("parent-organization-role-practitioner", json!({ "extension": extension }))),
        )
    };
    let organization =
        |code: &str, identifier: &str| party(code, Some(("organization", organization_party(identifier))));
    let table: [(Vec<Value>, Value); 14] = [
        (vec![local_all.clone()], local_all.clone()),
        (vec![party("REMOTE_ALL", None)], local_all.clone()),
        (vec![organization("REMOTE_ORGANIZATION", EXTERNAL)], role("LOCAL_ROLE", "DIC")),
        (vec![role("REMOTE_ROLE", "DTS")], role("LOCAL_ROLE", "COS")),
        (vec![practitioner("DIC_USER")], local_all.clone()),
        (vec![practitioner("UAC_USER")], local_all.clone()),
        (vec![organization_practitioner("DIC_USER")], role("LOCAL_ROLE", "DIC")),
        (vec![organization_practitioner("COS_USER")], role("LOCAL_ROLE", "COS")),
        (vec![role_practitioner("DIC", "DIC_USER")], role("LOCAL_ROLE", "COS")),
        (vec![role_practitioner("COS", "COS_USER")], role("LOCAL_ROLE", "COS")),
        (vec![organization("LOCAL_ORGANIZATION", LOCAL)], local_all.clone()),
        (vec![role("LOCAL_ROLE", "DIC")], local_all.clone()),
        (vec![practitioner("DIC_USER"), local_all.clone()], local_all.clone()),
        (vec![local_all], role("LOCAL_ROLE", "TTP")),
    ];
    for (index, (requesters, recipient)) in table.iter().enumerate() {
        let body = activity_definition(&format!("1.{}", index + 1), requesters, recipient);
        node.post(Who::Loc, "/ActivityDefinition", &body).await.expect(201);
    }
}

#[tokio::test]
async fn fhir_088_and_089_process_authorisation_decides_who_starts_what() {
    let node = Node::start().await;
    with_processes(&node).await;
    use Who::{Adm, Ext, Loc, Min, Pra};
    let granted = [
        (Loc, 1),
        (Ext, 2),
        (Ext, 3),
        (Ext, 4),
        (Pra, 5),
        (Min, 5),
        (Pra, 7),
        (Adm, 7),
        (Pra, 9),
        (Loc, 11),
        (Loc, 12),
        (Loc, 13),
        (Pra, 13),
    ];
    let refused = [
        (Ext, 1),
        (Pra, 1),
        (Loc, 2),
        (Loc, 3),
        (Pra, 6),
        (Pra, 8),
        (Loc, 8),
        (Pra, 10),
        (Loc, 10),
        (Pra, 11),
        (Pra, 12),
        (Loc, 14),
    ];
    for (who, number) in granted {
        let answer = node.post(who, "/Task", &task(who, "requested", &format!("1.{number}"))).await;
        assert_eq!(answer.status, 201, "{who:?}/{number} {}", String::from_utf8_lossy(&answer.body));
    }
    for (who, number) in refused {
        let answer = node.post(who, "/Task", &task(who, "requested", &format!("1.{number}"))).await;
        assert_eq!(answer.status, 403, "{who:?}/{number}");
        assert_eq!(answer.json()["issue"][0]["code"], "forbidden");
    }
    for status in ["in-progress", "completed", "failed", "received", "accepted", "rejected", "cancelled"] {
        node.post(Loc, "/Task", &task(Loc, status, "1.1")).await.expect(403);
    }
}

#[tokio::test]
async fn fhir_090_a_task_names_its_caller_this_node_and_one_message() {
    let node = Node::start().await;
    with_processes(&node).await;
    type Change = fn(&mut Value);
    let changes: [Change; 11] = [
        |task| task["requester"]["identifier"]["value"] = json!(LOCAL),
        |task| task["restriction"]["recipient"][0]["identifier"]["value"] = json!(EXTERNAL),
        |task| {
            let again = task["restriction"]["recipient"][0].clone();
            task["restriction"]["recipient"].as_array_mut().unwrap().push(again);
        },
        |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/test|1.2.0"),
        |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/unknown|1.2"),
        |task| task["input"].as_array_mut().unwrap().push(message_input("message-name", "test-message")),
        |task| task["input"] = json!([]),
        |task| task["output"] = json!([message_input("error", "x")]),
        |task| task["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/test-task|0.x"]),
        |task| task["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/other"]),
        |task| task["identifier"] = json!([{ "system": "http://dsf.dev/sid/task-identifier", "value": "x" }]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut body = task(Who::Ext, "requested", "1.2");
        change(&mut body);
        let answer = node.post(Who::Ext, "/Task", &body).await;
        assert_eq!(answer.status, 403, "change {index}");
        assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    }
    let created = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.2")).await.expect(201);
    assert_eq!(created.json()["requester"].get("reference"), None);
    assert_eq!(node.count(Who::Loc, "/Task").await, 1);
}

#[tokio::test]
async fn fhir_091_drafts_are_templates_of_local_administrators() {
    let node = Node::start().await;
    with_processes(&node).await;
    let mut draft = task(Who::Loc, "draft", "1.1");
    draft["identifier"] = json!([{ "system": "http://dsf.dev/sid/task-identifier", "value": "draft-1" }]);
    for who in [Who::Ext, Who::Pra, Who::Min] {
        node.post(who, "/Task", &draft).await.expect_outcome(403, "forbidden");
    }
    let stored = node.post(Who::Loc, "/Task", &draft).await.expect(201).json();
    let path = format!("/Task/{}", stored["id"].as_str().unwrap());
    node.post(Who::Adm, "/Task", &draft).await.expect_outcome(403, "duplicate");
    for (who, read, update) in
        [(Who::Loc, 200, 200), (Who::Adm, 200, 200), (Who::Pra, 200, 403), (Who::Min, 200, 403), (Who::Ext, 403, 403)]
    {
        node.get(who, &path).await.expect(read);
        node.put(who, &path, &stored).await.expect(update);
    }
    let mut started = stored.clone();
    started["status"] = json!("requested");
    node.put(Who::Loc, &path, &started).await.expect_outcome(403, "forbidden");
    node.delete(Who::Ext, &path).await.expect(403);
    node.delete(Who::Adm, &path).await.expect(200);
}

#[tokio::test]
async fn fhir_092_a_task_goes_its_way_and_keeps_what_it_was_asked() {
    let node = Node::start().await;
    with_processes(&node).await;
    let stored = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.2")).await.expect(201).json();
    let path = format!("/Task/{}", stored["id"].as_str().unwrap());
    let mut next = stored.clone();
    next["status"] = json!("in-progress");
    next["input"].as_array_mut().unwrap().push(message_input("business-key", "key"));
    node.put(Who::Ext, &path, &next).await.expect(403);
    let mut other = next.clone();
    other["requester"]["identifier"]["value"] = json!(LOCAL);
    node.put(Who::Loc, &path, &other).await.expect_outcome(403, "forbidden");
    let next = node.put(Who::Loc, &path, &next).await.expect(200).json();
    // The hole GHSA-448w-h27c-w53m: a conditional update is compared with what is stored.
    let mut other = next.clone();
    other["requester"]["identifier"]["value"] = json!(LOCAL);
    let id = stored["id"].as_str().unwrap();
    node.put(Who::Loc, &format!("/Task?_id={id}"), &other).await.expect_outcome(403, "forbidden");
    let mut done = next.clone();
    done["status"] = json!("completed");
    node.put(Who::Loc, &path, &done).await.expect(200);
    done["status"] = json!("in-progress");
    node.put(Who::Loc, &path, &done).await.expect(403);
    node.delete(Who::Loc, &path).await.expect_outcome(403, "forbidden");
}

#[tokio::test]
async fn fhir_092_a_task_can_always_fail() {
    let node = Node::start().await;
    with_processes(&node).await;
    let stored = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.2")).await.expect(201).json();
    let profile = node.find("/StructureDefinition?url=http://dsf.dev/fhir/StructureDefinition/test-task").await;
    node.delete(Who::Loc, &format!("/StructureDefinition/{profile}")).await.expect(200);
    let path = format!("/Task/{}", stored["id"].as_str().unwrap());
    let mut next = stored.clone();
    next["status"] = json!("in-progress");
    next["input"].as_array_mut().unwrap().push(message_input("business-key", "key"));
    node.put(Who::Loc, &path, &next).await.expect(403);
    next["status"] = json!("failed");
    node.put(Who::Loc, &path, &next).await.expect(200);
}

#[tokio::test]
async fn fhir_093_tasks_are_found_by_requester_and_recipient_only() {
    let node = Node::start().await;
    with_processes(&node).await;
    let own = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.2")).await.expect(201).id();
    let local = node.post(Who::Loc, "/Task", &task(Who::Loc, "requested", "1.1")).await.expect(201).id();
    assert_eq!(node.count(Who::Ext, "/Task?status=requested").await, 1);
    assert_eq!(node.count(Who::Loc, "/Task?status=requested").await, 2);
    assert_eq!(node.count(Who::Min, "/Task").await, 0);
    node.get(Who::Ext, &format!("/Task/{own}")).await.expect(200);
    node.get(Who::Ext, &format!("/Task/{local}")).await.expect(403);
    let history = node.get(Who::Ext, &format!("/Task/{own}/_history")).await.expect(200).json();
    assert_eq!(history["entry"][0]["resource"]["requester"].get("reference"), None);
    // Each foreign Task keeps its secret from conditions too: the own one with the same identifier is made.
    let mut body = task(Who::Ext, "requested", "1.2");
    body["identifier"] = json!([{ "system": "http://test.example/sid", "value": "1" }]);
    let mut secret = task(Who::Loc, "requested", "1.1");
    secret["identifier"] = body["identifier"].clone();
    node.post(Who::Loc, "/Task", &secret).await.expect(201);
    let condition = [("if-none-exist", "identifier=http://test.example/sid|1")];
    let first = node.write_with(Who::Ext, "POST", "/Task", &condition, &body).await.expect(201);
    let again = node.write_with(Who::Ext, "POST", "/Task", &condition, &body).await.expect(200);
    assert_eq!(first.header("location"), again.header("location"));
}

#[tokio::test]
async fn a_task_is_taken_over_in_the_transaction_that_stores_it_and_answered_as_it_came() {
    let node = Node::start().await;
    with_processes(&node).await;
    node.hooks.takes_tasks.store(true, Ordering::SeqCst);
    let created = node.post(Who::Ext, "/Task", &task(Who::Ext, "requested", "1.2")).await.expect(201);
    assert_eq!(created.header("etag"), "W/\"1\"");
    assert_eq!(created.json()["status"], "requested");
    assert_eq!(node.hooks.committed.load(Ordering::SeqCst), 1);
    let current = node.get(Who::Loc, &format!("/Task/{}", created.id())).await.expect(200).json();
    assert_eq!((&current["status"], &current["meta"]["versionId"]), (&json!("in-progress"), &json!("2")));
    let transaction = json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("POST", "Task", &task(Who::Ext, "requested", "1.2"))],
    });
    let answer = node.post(Who::Ext, "/", &transaction).await.expect(200).json();
    assert_eq!(answer["entry"][0]["response"]["etag"], "W/\"1\"");
    assert_eq!(node.hooks.committed.load(Ordering::SeqCst), 2);
    assert_eq!(node.count(Who::Loc, "/Task?status=in-progress").await, 2);
    // Not taken over when something else of the transaction is refused.
    let mixed = json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry("POST", "Task", &task(Who::Ext, "requested", "1.2")),
            entry("POST", "Patient", &patient(&[tag_all()])),
        ],
    });
    node.post(Who::Ext, "/", &mixed).await.expect_outcome(403, "forbidden");
    assert_eq!(node.count(Who::Loc, "/Task").await, 2);
}

#[tokio::test]
async fn fhir_092_a_task_completes_although_what_it_was_started_with_is_gone() {
    let node = Node::start().await;
    with_processes(&node).await;
    let mut body = task(Who::Ext, "requested", "1.2");
    let reference = json!({ "reference": "https://external.example/fhir/Binary/later-missing" });
    // It exists when the Task is created: the name of the test server's missing resources is not used yet.
    body["input"].as_array_mut().unwrap().push(super::support::other_input(&json!({
        "reference": "https://external.example/fhir/Binary/1"
    })));
    let stored = node.post(Who::Ext, "/Task", &body).await.expect(201).json();
    let path = format!("/Task/{}", stored["id"].as_str().unwrap());
    let mut next = stored.clone();
    next["status"] = json!("in-progress");
    next["input"].as_array_mut().unwrap().push(message_input("business-key", "key"));
    // The business key belongs before inputs of no slice.
    next["input"].as_array_mut().unwrap().swap(1, 2);
    node.hooks.asked.lock().unwrap().clear();
    let in_progress = node.put(Who::Loc, &path, &next).await.expect(200).json();
    assert_eq!(node.hooks.asked.lock().unwrap().len(), 1);
    let mut done = in_progress.clone();
    done["status"] = json!("completed");
    node.put(Who::Loc, &path, &done).await.expect(200);
    assert_eq!(node.hooks.asked.lock().unwrap().len(), 1, "inputs of completed Tasks are not asked for");
    let mut created = task(Who::Ext, "requested", "1.2");
    created["input"].as_array_mut().unwrap().push(super::support::other_input(&reference));
    node.post(Who::Ext, "/Task", &created).await.expect_outcome(403, "processing");
}
