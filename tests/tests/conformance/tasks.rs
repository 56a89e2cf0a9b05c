//! Tasks: cases 88 to 93, and the hardening cases about them.

use serde_json::{Value, json};
use tests::Client;

use crate::partner;
use crate::resources::{identifier, message_input, organization_reference, reference_input, unknown_id};
use crate::seed::{self, EXTERNAL, LOCAL, PROFILE};
use crate::subject::{Subject, shared, total};

fn client<'a>(subject: &'a Subject, who: &str) -> &'a Client {
    match who {
        "loc" => &subject.loc,
        "ext" => &subject.ext,
        "pra" => &subject.pra,
        "adm" => &subject.adm,
        _ => &subject.min,
    }
}

#[tokio::test]
async fn fhir_088_a_new_task_is_a_draft_or_requested() {
    let subject = shared().await;
    let others = [
        "received",
        "accepted",
        "rejected",
        "ready",
        "cancelled",
        "in-progress",
        "on-hold",
        "failed",
        "completed",
        "entered-in-error",
    ];
    for status in others {
        let mut task = seed::task("loc", 1);
        task["status"] = json!(status);
        task["input"].as_array_mut().unwrap().push(message_input("business-key", "key"));
        subject.loc.post("/Task", &task).await.expect(403);
    }
    let mut none = seed::task("loc", 1);
    none.as_object_mut().unwrap().remove("status");
    subject.loc.post("/Task", &none).await.expect(403);
}

#[tokio::test]
async fn fhir_089_process_authorisation_decides_who_starts_what() {
    let subject = shared().await;
    let allowed = [
        ("loc", 1),
        ("ext", 2),
        ("ext", 3),
        ("ext", 4),
        ("pra", 5),
        ("min", 5),
        ("pra", 7),
        ("adm", 7),
        ("pra", 9),
        ("loc", 11),
        ("loc", 12),
        ("loc", 13),
        ("pra", 13),
    ];
    let refused = [
        ("ext", 1),
        ("pra", 1),
        ("loc", 2),
        ("loc", 3),
        ("pra", 6),
        ("pra", 8),
        ("loc", 8),
        ("pra", 10),
        ("loc", 10),
        ("pra", 11),
        ("pra", 12),
        ("loc", 14),
    ];
    for (cases, status) in [(&allowed[..], 201), (&refused[..], 403)] {
        for (who, definition) in cases {
            let answer = client(subject, who).post("/Task", &seed::task(who, *definition)).await;
            assert_eq!(answer.status, status, "{who} under AD{definition}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn fhir_090_a_task_names_its_caller_this_node_and_one_message() {
    let subject = shared().await;
    let changes: [(&str, fn(&mut Value)); 10] = [
        ("requester is not the caller", |task| task["requester"] = organization_reference(EXTERNAL)),
        ("recipient is another", |task| task["restriction"]["recipient"] = json!([organization_reference(EXTERNAL)])),
        ("two recipients", |task| {
            task["restriction"]["recipient"] = json!([organization_reference(LOCAL), organization_reference(EXTERNAL)]);
        }),
        ("no version of the process", |task| task["instantiatesCanonical"] = json!(seed::PROCESS)),
        ("no process", |task| task["instantiatesCanonical"] = json!("http://test.example/other|1.1")),
        ("unknown process", |task| task["instantiatesCanonical"] = json!("http://dsf.dev/bpe/Process/none|1.1")),
        ("two messages", |task| {
            task["input"].as_array_mut().unwrap().push(message_input("message-name", "test-message"));
        }),
        ("output", |task| task["output"] = json!([message_input("error", "text")])),
        ("other version of the profile", |task| task["meta"]["profile"] = json!([format!("{PROFILE}|0.1")])),
        ("task identifier", |task| {
            task["identifier"] = json!([identifier("http://dsf.dev/sid/task-identifier", "x")]);
        }),
    ];
    for (name, change) in changes {
        let mut task = seed::task("loc", 1);
        change(&mut task);
        let answer = subject.loc.post("/Task", &task).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
    for profile in [format!("{PROFILE}|1.0"), PROFILE.to_owned()] {
        let mut task = seed::task("loc", 1);
        task["meta"]["profile"] = json!([profile]);
        subject.loc.post("/Task", &task).await.expect(201);
    }
}

#[tokio::test]
async fn fhir_091_drafts_are_templates_of_local_administrators() {
    let subject = shared().await;
    for (who, status) in [("loc", 201), ("adm", 201), ("ext", 403), ("pra", 403), ("min", 403)] {
        let answer = client(subject, who).post("/Task", &seed::draft("loc")).await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
    }
    let created = subject.loc.post("/Task", &seed::draft("loc")).await.expect(201);
    let path = format!("/Task/{}", created.created_id());
    let stored = created.json();
    for (who, status) in [("loc", 200), ("adm", 200), ("ext", 403), ("pra", 403), ("min", 403)] {
        let answer = client(subject, who).put(&path, &stored).await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
    }
    for (who, status) in [("loc", 200), ("adm", 200), ("pra", 200), ("min", 200), ("ext", 403)] {
        client(subject, who).get(&path).await.expect(status);
        let found = total(client(subject, who), &format!("/Task?_id={}", created.created_id())).await;
        assert_eq!(found, u64::from(status == 200), "{who}");
    }
    // A draft is not started by changing it, keeps its identifier, and only drafts are deleted.
    let mut requested = stored.clone();
    requested["status"] = json!("requested");
    subject.loc.put(&path, &requested).await.expect(403);
    let mut renamed = stored.clone();
    renamed["identifier"][0]["value"] = json!("other");
    subject.loc.put(&path, &renamed).await.expect(403);
    subject.pra.delete(&path).await.expect(403);
    subject.loc.delete(&path).await.expect(200);
    let running = subject.create(&seed::task("loc", 1)).await;
    subject.loc.delete(&format!("/Task/{running}")).await.expect(403);
}

/// The next state of a Task as its reader sees it.
fn next(stored: &Value, status: &str, business_key: Option<&str>) -> Value {
    let mut next = stored.clone();
    next["status"] = json!(status);
    if let Some(key) = business_key {
        // Inputs that no slice takes come after those that one does.
        next["input"].as_array_mut().unwrap().insert(1, message_input("business-key", key));
    }
    next
}

#[tokio::test]
async fn fhir_092_a_task_goes_its_way_and_keeps_what_it_was_asked() {
    let subject = shared().await;
    let created = subject.ext.post("/Task", &seed::task("ext", 2)).await.expect(201);
    let path = format!("/Task/{}", created.created_id());
    let working = next(&created.json(), "in-progress", Some("key"));
    for who in ["ext", "pra", "min"] {
        client(subject, who).put(&path, &working).await.expect(403);
    }
    // It cannot be completed before it is worked on.
    let early = next(&created.json(), "completed", Some("key"));
    subject.loc.put(&path, &early).await.expect(403);
    let working = subject.loc.put(&path, &working).await.expect(200).json();
    let changes: [(&str, fn(&mut Value)); 4] = [
        ("requester", |task| task["requester"] = organization_reference(LOCAL)),
        ("recipient", |task| task["restriction"]["recipient"] = json!([organization_reference(EXTERNAL)])),
        ("process", |task| task["instantiatesCanonical"] = json!(format!("{}|1.1", seed::PROCESS))),
        ("input", |task| task["input"][1]["valueString"] = json!("other")),
    ];
    for (name, change) in changes {
        let mut changed = working.clone();
        change(&mut changed);
        let answer = subject.loc.put(&path, &changed).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
        // By condition no more than by id.
        let conditional = format!("/Task?_id={}", created.created_id());
        let answer = subject.loc.put(&conditional, &changed).await;
        assert_eq!(answer.status, 403, "{name}, conditional: {}", answer.text());
    }
    let mut done = next(&working, "completed", None);
    done["output"] = json!([reference_input(organization_reference(LOCAL))]);
    subject.adm.put(&path, &done).await.expect(200);
    subject.loc.put(&path, &next(&done, "failed", None)).await.expect(403);
    assert_eq!(subject.ext.get(&path).await.expect(200).json()["status"], "completed");
}

fn dead_reference() -> Value {
    // The partner answers every other HEAD with 500.
    json!({ "reference": format!("https://localhost:{}/fhir/Patient/{}", partner::port(), "dddddddd-0000-4000-8000-000000000000") })
}

#[tokio::test]
async fn fhir_092_what_is_gone_meanwhile_keeps_no_task_from_ending() {
    let subject = shared().await;
    // It existed when the Task came; the partner knows ids that begin so.
    let alive =
        format!("https://localhost:{}/fhir/Patient/{}-0000-4000-8000-000000000000", partner::port(), partner::EXISTING);
    let mut task = seed::task("ext", 2);
    task["input"].as_array_mut().unwrap().push(reference_input(json!({ "reference": alive })));
    let created = subject.ext.post("/Task", &task).await.expect(201);
    let path = format!("/Task/{}", created.created_id());
    let working = next(&created.json(), "in-progress", Some("key"));
    let working = subject.loc.put(&path, &working).await.expect(200).json();
    subject.loc.put(&path, &next(&working, "completed", None)).await.expect(200);
    // A new Task with a dead reference is refused, and so would be its next step.
    let mut dead = seed::task("ext", 2);
    dead["input"].as_array_mut().unwrap().push(reference_input(dead_reference()));
    subject.ext.post("/Task", &dead).await.expect(403);
    // It may fail whatever it holds, also without a profile that anybody knows.
    let created = subject.ext.post("/Task", &task).await.expect(201);
    let mut failed = next(&created.json(), "failed", Some("key"));
    failed["meta"]["profile"] = json!(["http://test.example/StructureDefinition/unknown"]);
    subject.loc.put(&format!("/Task/{}", created.created_id()), &failed).await.expect(200);
}

#[tokio::test]
async fn fhir_093_tasks_are_found_by_those_whom_they_concern() {
    let subject = shared().await;
    let created = subject.ext.post("/Task", &seed::task("ext", 2)).await.expect(201);
    let (own, others) = (created.created_id(), subject.create(&seed::task("loc", 1)).await);
    assert_eq!(total(&subject.ext, &format!("/Task?_id={own}")).await, 1);
    assert_eq!(total(&subject.ext, &format!("/Task?_id={others}")).await, 0);
    assert_eq!(total(&subject.loc, &format!("/Task?_id={own}")).await, 1);
    subject.ext.get(&format!("/Task/{others}")).await.expect(403);
    subject.pra.get(&format!("/Task/{own}")).await.expect(403);
    assert_eq!(total(&subject.pra, &format!("/Task?_id={own}")).await, 0);
    subject.adm.get(&format!("/Task/{own}")).await.expect(200);
    for client in [&subject.ext, &subject.loc] {
        let history = client.get(&format!("/Task/{own}/_history")).await.expect(200).json();
        assert_eq!(history["total"], 1);
        let requester = &history["entry"][0]["resource"]["requester"];
        assert!(requester.get("reference").is_none() && requester.get("identifier").is_some(), "{requester}");
    }
    assert_eq!(total(&subject.ext, &format!("/Task/{others}/_history")).await, 0);
    // By the requester, who is included.
    let organization = subject.organization(EXTERNAL).await;
    let target = format!("/Task?_id={own}&requester=Organization/{organization}&_include=Task:requester:Organization");
    let found = subject.ext.get(&target).await.expect(200).json();
    assert_eq!(crate::resources::modes(&found), ["match", "include"]);
}

#[tokio::test]
async fn a_person_sees_the_own_tasks_alone() {
    let subject = shared().await;
    let own = subject.min.post("/Task", &seed::task("min", 5)).await.expect(201).created_id();
    subject.min.get(&format!("/Task/{own}")).await.expect(200);
    assert_eq!(total(&subject.min, &format!("/Task?_id={own}")).await, 1);
    subject.pra.get(&format!("/Task/{own}")).await.expect(403);
    subject.min.get("/Organization").await.expect(403);
    subject.min.get("/Organization/_history").await.expect(403);
    let history = subject.min.get("/_history?_count=1000").await.expect(200).json();
    for entry in history["entry"].as_array().unwrap() {
        // A deletion shows no resource.
        let shown = entry["request"]["url"].as_str().unwrap().split('/').next().unwrap();
        assert!(matches!(shown, "Task" | "Questionnaire" | "QuestionnaireResponse"), "{shown}");
    }
    subject.min.get(&format!("/Task/{}", unknown_id())).await.expect(404);
}

#[tokio::test]
async fn a_lenient_search_does_not_widen_what_another_sees() {
    let subject = shared().await;
    let others = subject.create(&seed::task("loc", 1)).await;
    let wide = subject.ext.get(&format!("/Task?_id={others}&status=foo")).await;
    if wide.status == 200 {
        assert_eq!(wide.json()["total"], 0);
    } else {
        wide.expect(400);
    }
}
