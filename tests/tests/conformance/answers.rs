//! QuestionnaireResponses: case 94.

use serde_json::{Value, json};
use tests::Client;

use crate::resources::{coding, identifier, questionnaire, questionnaire_response, unique};
use crate::seed;
use crate::subject::{Subject, shared, total};

const AUTHORIZATION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization";

/// A stored Questionnaire's canonical.
async fn canonical(subject: &Subject) -> String {
    let url = unique("http://test.example/Questionnaire/q");
    subject.create(&questionnaire(&url, "1.0")).await;
    format!("{url}|1.0")
}

fn answered(stored: &Value, who: &str) -> Value {
    let mut next = stored.clone();
    next["status"] = json!("completed");
    next["authored"] = json!("2026-01-01T10:00:00Z");
    next["author"] = seed::requester(who);
    next
}

async fn open(subject: &Subject, canonical: &str) -> (String, Value) {
    let created = subject.loc.post("/QuestionnaireResponse", &questionnaire_response(canonical)).await.expect(201);
    (format!("/QuestionnaireResponse/{}", created.created_id()), created.json())
}

#[tokio::test]
async fn fhir_094_a_user_task_is_opened_by_the_own_organisation() {
    let subject = shared().await;
    let canonical = canonical(subject).await;
    let body = questionnaire_response(&canonical);
    for (client, status) in [(&subject.loc, 201), (&subject.adm, 201), (&subject.ext, 403), (&subject.pra, 403)] {
        client.post("/QuestionnaireResponse", &body).await.expect(status);
    }
    subject.loc.post("/QuestionnaireResponse", &answered(&body, "loc")).await.expect(403);
    let unknown = questionnaire_response(&format!("{}|1.0", unique("http://test.example/Questionnaire/none")));
    subject.loc.post("/QuestionnaireResponse", &unknown).await.expect(403);
    let mut anonymous = body.clone();
    anonymous["item"] = json!([]);
    anonymous.as_object_mut().unwrap().remove("item");
    subject.loc.post("/QuestionnaireResponse", &anonymous).await.expect(403);
    let mut doubled = body.clone();
    doubled["item"] = json!([body["item"][0], body["item"][0]]);
    subject.loc.post("/QuestionnaireResponse", &doubled).await.expect(403);
}

#[tokio::test]
async fn fhir_094_a_user_task_is_completed_once_and_as_it_was_asked() {
    let subject = shared().await;
    let (first, second) = (canonical(subject).await, canonical(subject).await);
    let (path, stored) = open(subject, &first).await;
    let changes: [(&str, &dyn Fn(&mut Value)); 6] = [
        ("user-task-id", &|next| next["item"][0]["answer"][0]["valueString"] = json!("other")),
        ("questionnaire", &|next| next["questionnaire"] = json!(second)),
        ("author", &|next| next["author"] = seed::requester("pra")),
        ("authored", &|next| drop(next.as_object_mut().unwrap().remove("authored"))),
        ("status", &|next| next["status"] = json!("amended")),
        ("authorisation", &|next| next["extension"] = authorization("DIC_USER")),
    ];
    for (name, change) in changes {
        let mut next = answered(&stored, "loc");
        change(&mut next);
        let answer = subject.loc.put(&path, &next).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
    let done = subject.loc.put(&path, &answered(&stored, "loc")).await.expect(200).json();
    subject.loc.put(&path, &done).await.expect(403);
    let (path, stored) = open(subject, &first).await;
    let mut stopped = stored;
    stopped["status"] = json!("stopped");
    subject.pra.put(&path, &stopped).await.expect(403);
    subject.loc.put(&path, &stopped).await.expect(200);
}

fn authorization(role: &str) -> Value {
    let role = coding("http://dsf.dev/fhir/CodeSystem/practitioner-role", role);
    json!([{ "url": AUTHORIZATION, "extension": [{ "url": "practitioner-role", "valueCoding": role }] }])
}

fn authorization_of(person: &str) -> Value {
    let person = identifier("http://dsf.dev/sid/practitioner-identifier", &seed::person(person));
    json!([{ "url": AUTHORIZATION, "extension": [{ "url": "practitioner", "valueIdentifier": person }] }])
}

#[tokio::test]
async fn fhir_094_a_user_task_is_for_whom_it_names() {
    let subject = shared().await;
    let canonical = canonical(subject).await;
    for (extension, may) in [
        (authorization("DIC_USER"), true),
        (authorization("COS_USER"), false),
        (authorization_of("min"), true),
        (authorization_of("pra"), false),
    ] {
        let mut body = questionnaire_response(&canonical);
        body["extension"] = extension.clone();
        let created = subject.loc.post("/QuestionnaireResponse", &body).await.expect(201);
        let path = format!("/QuestionnaireResponse/{}", created.created_id());
        let status = if may { 200 } else { 403 };
        subject.min.get(&path).await.expect(status);
        let found = total(&subject.min, &format!("/QuestionnaireResponse?_id={}", created.created_id())).await;
        assert_eq!(found, u64::from(may), "{extension}");
        subject.min.put(&path, &answered(&created.json(), "min")).await.expect(status);
    }
    // Without the extension every practitioner may answer, and the own organisation finds all.
    let (path, stored) = open(subject, &canonical).await;
    subject.min.get(&path).await.expect(200);
    subject.ext.get(&path).await.expect(403);
    subject.min.put(&path, &answered(&stored, "min")).await.expect(200);
    assert_eq!(total(&subject.ext, "/QuestionnaireResponse").await, 0);
    let mut malformed = questionnaire_response(&canonical);
    malformed["extension"] = json!([{ "url": AUTHORIZATION, "valueString": "x" }]);
    subject.loc.post("/QuestionnaireResponse", &malformed).await.expect(403);
}

#[tokio::test]
async fn fhir_094_a_completed_answer_is_amended_by_the_own_organisation() {
    let subject = shared().await;
    let canonical = canonical(subject).await;
    let others: [&Client; 3] = [&subject.pra, &subject.min, &subject.ext];
    for client in [&subject.loc, &subject.adm] {
        let (path, stored) = open(subject, &canonical).await;
        let mut amended = subject.loc.put(&path, &answered(&stored, "loc")).await.expect(200).json();
        amended["status"] = json!("amended");
        for other in others {
            other.put(&path, &amended).await.expect(403);
        }
        let mut more = amended.clone();
        more["authored"] = json!("2027-01-01T10:00:00Z");
        client.put(&path, &more).await.expect(403);
        client.put(&path, &amended).await.expect(200);
        subject.pra.delete(&path).await.expect(403);
        subject.loc.delete(&path).await.expect(200);
    }
}
