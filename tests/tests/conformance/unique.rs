//! Uniqueness: cases 73 to 78, and the 13 kinds in every way of writing, also at the same time.

use serde_json::{Value, json};

use crate::resources::{
    all, code_system, group, identifier, post, resource, statuses, subscription, unique, value_set,
};
use crate::seed::{self, EXTERNAL};
use crate::subject::{Subject, shared, total};

/// Makes a resource of one kind with a new key, and what finds it by the key.
type Kind = (&'static str, fn(&Ids) -> (Value, String));

/// Ids of the seed.
struct Ids {
    external: String,
    endpoint: String,
}

fn random_thumbprint() -> String {
    (0..4).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect()
}

/// The 13 kinds of resources with a unique key.
const KINDS: [Kind; 13] = [
    ("ActivityDefinition", |_| {
        let url = format!("http://dsf.dev/bpe/Process/{}", uuid::Uuid::new_v4().simple());
        let local = seed::party("LOCAL_ALL", None);
        (seed::activity_definition(&url, "1.0", std::slice::from_ref(&local), &local), format!("url={url}&version=1.0"))
    }),
    ("CodeSystem", |_| {
        let url = unique("http://test.example/CodeSystem/u");
        (code_system(&url, "1.0", &[all()]), format!("url={url}&version=1.0"))
    }),
    ("Endpoint", |ids| {
        let name = unique("endpoint.example");
        let managing = json!({ "reference": format!("Organization/{}", ids.external) });
        let found = format!("identifier=http://dsf.dev/sid/endpoint-identifier|{name}");
        (seed::endpoint(&name, &format!("https://{name}/fhir"), &managing), found)
    }),
    ("NamingSystem", |_| {
        let name = unique("Naming");
        let unique_id = json!([{ "type": "other", "value": unique("http://test.example/sid") }]);
        (naming_system(&name, &unique_id), format!("name:exact={name}"))
    }),
    ("NamingSystem", |_| {
        let name = unique("Naming");
        let unique_id = json!([{ "type": "uri", "value": unique("http://test.example/sid") }]);
        (naming_system(&name, &unique_id), format!("name:exact={name}"))
    }),
    ("Organization", |ids| {
        let name = unique("organization.example");
        let found = format!("identifier=http://dsf.dev/sid/organization-identifier|{name}");
        (seed::organization(&name, &[random_thumbprint()], &format!("Endpoint/{}", ids.endpoint)), found)
    }),
    ("Organization", |_| {
        let name = unique("parent.example");
        let found = format!("identifier=http://dsf.dev/sid/organization-identifier|{name}");
        (seed::parent_organization(&name), found)
    }),
    ("StructureDefinition", |_| {
        let url = unique("http://test.example/StructureDefinition/u");
        (seed::task_profile(&url, "1.0"), format!("url={url}&version=1.0"))
    }),
    ("Subscription", |_| {
        let criteria = format!("Patient?identifier={}", unique("s"));
        let escaped = criteria.replace('?', "%3F").replace('=', "%3D");
        (subscription(&criteria, Some("application/fhir+json")), format!("criteria:exact={escaped}"))
    }),
    ("Subscription", |_| {
        let criteria = format!("Patient?identifier={}", unique("s"));
        let escaped = criteria.replace('?', "%3F").replace('=', "%3D");
        (subscription(&criteria, None), format!("criteria:exact={escaped}"))
    }),
    ("Task", |_| {
        let draft = seed::draft("loc");
        let value = draft["identifier"][0]["value"].as_str().unwrap().to_owned();
        (draft, format!("identifier=http://dsf.dev/sid/task-identifier|{value}"))
    }),
    ("ValueSet", |_| {
        let url = unique("http://test.example/ValueSet/u");
        (value_set(&url, "1.0"), format!("url={url}&version=1.0"))
    }),
    ("ValueSet", |_| {
        let url = unique("http://test.example/ValueSet/u");
        (value_set(&url, "2.0"), format!("url={url}&version=2.0"))
    }),
];

fn naming_system(name: &str, unique_ids: &Value) -> Value {
    resource(
        "NamingSystem",
        &[all()],
        json!({
            "name": name, "status": "active", "kind": "identifier", "date": "2026-01-01", "uniqueId": unique_ids,
        }),
    )
}

async fn ids(subject: &Subject) -> Ids {
    Ids { external: subject.organization(EXTERNAL).await, endpoint: subject.endpoint(seed::EXTERNAL_ENDPOINT).await }
}

fn once(resource: &Value, condition: &str) -> Value {
    let mut entry = post(resource);
    entry["request"]["ifNoneExist"] = json!(condition);
    entry
}

/// The 14th kind, an affiliation, needs organisations of its own.
async fn affiliation(subject: &Subject, ids: &Ids) -> Value {
    let parent = subject.create(&seed::parent_organization(&unique("Parent"))).await;
    seed::affiliation(
        &format!("Organization/{parent}"),
        &format!("Organization/{}", ids.external),
        &format!("Endpoint/{}", ids.endpoint),
        &["DIC"],
    )
}

#[tokio::test]
async fn fhir_073_a_key_is_given_once() {
    let subject = shared().await;
    let ids = ids(subject).await;
    for (resource_type, make) in KINDS {
        let path = format!("/{resource_type}");
        let (body, _) = make(&ids);
        subject.create(&body).await;
        let again = subject.loc.post(&path, &body).await;
        assert_eq!(again.status, 403, "{resource_type}: {}", again.text());
        let (body, condition) = make(&ids);
        let condition = condition.replace('|', "%7C");
        let two = [post(&body), post(&body)];
        let refused = subject.bundle(&subject.loc, "transaction", &two).await;
        assert_eq!(refused.status, 403, "{resource_type}: {}", refused.text());
        assert_eq!(total(&subject.loc, &format!("{path}?{condition}")).await, 0, "{resource_type}");
        let batch = subject.bundle(&subject.loc, "batch", &two).await.expect(200).json();
        assert_eq!(statuses(&batch), ["201 Created", "403 Forbidden"], "{resource_type}: {batch:#}");
        // Free again when its holder is gone.
        let id = batch["entry"][0]["resource"]["id"].as_str().unwrap();
        subject.loc.delete(&format!("{path}/{id}")).await.expect(200);
        subject.create(&body).await;
    }
}

#[tokio::test]
async fn fhir_074_of_two_conditional_entries_the_second_finds_the_first() {
    let subject = shared().await;
    let ids = ids(subject).await;
    for kind in ["transaction", "batch"] {
        for (resource_type, make) in KINDS {
            let (body, condition) = make(&ids);
            let two = [once(&body, &condition), once(&body, &condition)];
            let answer = subject.bundle(&subject.loc, kind, &two).await.expect(200).json();
            assert_eq!(statuses(&answer), ["201 Created", "200 OK"], "{kind} {resource_type}: {answer:#}");
            let found = &answer["entry"][1];
            assert!(found.get("resource").is_none() && found.get("fullUrl").is_none(), "{found:#}");
            assert_eq!(found["response"]["location"], answer["entry"][0]["response"]["location"]);
        }
    }
}

#[tokio::test]
async fn fhir_075_of_two_requests_at_the_same_time_one_is_stored() {
    let subject = shared().await;
    let ids = ids(subject).await;
    let mut bodies: Vec<(&str, Value)> = KINDS.iter().map(|(name, make)| (*name, make(&ids).0)).collect();
    bodies.push(("OrganizationAffiliation", affiliation(subject, &ids).await));
    for (resource_type, body) in &bodies {
        let path = format!("/{resource_type}");
        let (a, b) = tokio::join!(subject.loc.post(&path, body), subject.loc.post(&path, body));
        let mut answers = [a.status, b.status];
        answers.sort_unstable();
        assert_eq!(answers, [201, 403], "{resource_type}: {} {}", a.text(), b.text());
    }
}

#[tokio::test]
async fn fhir_075_of_two_bundles_at_the_same_time_one_is_stored() {
    let subject = shared().await;
    let ids = ids(subject).await;
    for kind in ["transaction", "batch"] {
        for (resource_type, make) in KINDS {
            let (body, condition) = make(&ids);
            let entries = [post(&body)];
            let (a, b) = tokio::join!(
                subject.bundle(&subject.loc, kind, &entries),
                subject.bundle(&subject.loc, kind, &entries)
            );
            let status = |answer: &tests::Answer| match answer.status {
                200 => statuses(&answer.json())[0].clone(),
                status => status.to_string(),
            };
            let mut answers = [status(&a), status(&b)];
            answers.sort_unstable();
            let refused = if kind == "batch" { "403 Forbidden" } else { "403" };
            assert_eq!(answers, ["201 Created", refused], "{kind} {resource_type}: {} {}", a.text(), b.text());
            let condition = condition.replace('|', "%7C");
            assert_eq!(total(&subject.loc, &format!("/{resource_type}?{condition}")).await, 1, "{resource_type}");
        }
    }
}

#[tokio::test]
async fn fhir_076_an_organisation_keeps_its_name_and_gets_certificates_that_nobody_has() {
    let subject = shared().await;
    let ids = ids(subject).await;
    let name = unique("renewed.example");
    let (old, new) = (subject.thumbprint("new"), random_thumbprint());
    let endpoint = format!("Endpoint/{}", ids.endpoint);
    let path = format!(
        "/Organization/{}",
        subject.create(&seed::organization(&name, std::slice::from_ref(&old), &endpoint)).await
    );
    let newcomer = subject.newcomer();
    newcomer.get("/metadata").await.expect(200);
    let stored = subject.loc.get(&path).await.expect(200).json();
    let with = |thumbprints: &[String], name: &str| {
        let mut next = seed::organization(name, thumbprints, &endpoint);
        next["id"] = stored["id"].clone();
        next
    };
    subject.loc.put(&path, &with(&[old.clone(), new.clone()], &name)).await.expect(200);
    newcomer.get("/metadata").await.expect(200);
    let taken = with(&[old.clone(), subject.thumbprint("ext")], &name);
    subject.loc.put(&path, &taken).await.expect(403);
    subject.loc.put(&path, &with(std::slice::from_ref(&old), &unique("other.example"))).await.expect(403);
    subject.loc.put(&path, &with(&["ABC".to_owned()], &name)).await.expect(403);
    // A certificate that is taken away opens nothing any more.
    subject.loc.put(&path, &with(&[new], &name)).await.expect(200);
    if let Ok(answer) = newcomer.try_send("GET", "/metadata", &[], "").await {
        assert_eq!(answer.status, 403);
    }
}

#[tokio::test]
async fn fhir_077_an_affiliation_is_one_of_a_pair_at_an_endpoint() {
    let subject = shared().await;
    let ids = ids(subject).await;
    let body = affiliation(subject, &ids).await;
    let path = format!("/OrganizationAffiliation/{}", subject.create(&body).await);
    let mut other_role = body.clone();
    other_role["code"][0]["coding"][0]["code"] = json!("COS");
    subject.loc.post("/OrganizationAffiliation", &other_role).await.expect(403);
    let local_endpoint = format!("Endpoint/{}", subject.endpoint(seed::LOCAL_ENDPOINT).await);
    let mut same_role = body.clone();
    same_role["endpoint"][0]["reference"] = json!(local_endpoint);
    subject.loc.post("/OrganizationAffiliation", &same_role).await.expect(403);
    let mut both_differ = other_role.clone();
    both_differ["endpoint"][0]["reference"] = json!(local_endpoint);
    subject.loc.post("/OrganizationAffiliation", &both_differ).await.expect(201);
    let stored = subject.loc.get(&path).await.expect(200).json();
    let mut moved = stored.clone();
    moved["endpoint"][0]["reference"] = json!(local_endpoint);
    subject.loc.put(&path, &moved).await.expect(403);
    // A role that the pair has at the other endpoint is not given again.
    let mut doubled = stored.clone();
    doubled["code"] = other_role["code"].clone();
    subject.loc.put(&path, &doubled).await.expect(403);
    let mut more = stored;
    more["code"] = json!([{ "coding": [
        { "system": "http://dsf.dev/fhir/CodeSystem/organization-role", "code": "DIC" },
        { "system": "http://dsf.dev/fhir/CodeSystem/organization-role", "code": "HRP" },
    ] }]);
    subject.loc.put(&path, &more).await.expect(200);
}

#[tokio::test]
async fn fhir_078_subscriptions_are_of_one_kind_and_judgeable() {
    let subject = shared().await;
    let criteria = format!("Patient?identifier={}", unique("s"));
    for payload in [Some("application/fhir+json"), Some("application/fhir+xml"), None] {
        subject.create(&subscription(&criteria, payload)).await;
    }
    let mut email = subscription(&format!("{criteria}x"), None);
    email["channel"]["type"] = json!("email");
    for refused in [
        subscription(&format!("{criteria}y"), Some("application/pdf")),
        email,
        subscription("CareTeam?status=active", None),
        subscription("fhir/Task?status=draft", None),
        subscription("Task?no-such-parameter=x", None),
        subscription(&criteria, Some("application/fhir+json")),
    ] {
        let answer = subject.loc.post("/Subscription", &refused).await;
        assert_eq!(answer.status, 403, "{refused}");
    }
}

#[tokio::test]
async fn conditional_requests_count_their_matches() {
    let subject = shared().await;
    let (one, two) = (unique("one"), unique("two"));
    let system = "http://test.example/c";
    let body = |value: &str| group(&[(system, value)]);
    let create = async |value: &str, condition: &str| {
        subject.loc.write_with("POST", "/Group", &[("if-none-exist", condition)], &body(value)).await
    };
    let first = create(&one, &format!("identifier={system}|{one}")).await.expect(201);
    for condition in [format!("identifier={system}|{one}"), format!("?identifier={system}%7C{one}&_count=7&_sort=_id")]
    {
        let hit = create(&one, &condition).await.expect(200);
        assert_eq!(hit.field("location"), first.field("location"));
        assert_eq!((hit.field("etag"), hit.field("vary")), (Some("W/\"1\""), Some("Cookie")));
        assert!(hit.field("last-modified").is_some());
        assert_eq!(hit.outcome_codes(), ["duplicate"]);
    }
    for _ in 0..2 {
        subject.create(&body(&two)).await;
    }
    let many = create(&two, &format!("identifier={two}")).await.expect(412);
    assert_eq!(many.outcome_codes(), ["multiple-matches"]);
    for bad in [" ", "Group?identifier=x", "no-such-parameter=x", "?"] {
        let answer = create(&two, bad).await;
        assert_eq!(answer.status, 400, "{bad:?}");
        answer.outcome_codes();
    }
    // Update by condition.
    let three = unique("three");
    let target = |value: &str| format!("/Group?identifier={system}%7C{value}");
    let created = subject.loc.put(&target(&three), &body(&three)).await.expect(201);
    subject.loc.put(&target(&three), &body(&three)).await.expect(200);
    let mut named = body(&three);
    named["id"] = json!(created.created_id());
    subject.loc.put(&target(&three), &named).await.expect(200);
    named["id"] = json!(uuid::Uuid::new_v4().to_string());
    subject.loc.put(&target(&three), &named).await.expect(400);
    subject.loc.put(&target(&unique("none")), &named).await.expect(405);
    subject.loc.put(&target(&two), &body(&two)).await.expect(412);
    subject.loc.put("/Group?no-such-parameter=x", &body(&three)).await.expect(400);
    let stale = [("if-match", "W/\"1\"")];
    subject.loc.write_with("PUT", &target(&three), &stale, &body(&three)).await.expect(412);
    // Delete by condition.
    assert_eq!(subject.loc.delete(&target(&unique("none"))).await.expect(204).text(), "");
    subject.loc.delete(&target(&two)).await.expect(412);
    subject.loc.delete("/Group?no-such-parameter=x").await.expect(400);
    subject.loc.delete(&target(&three)).await.expect(200);
    assert_eq!(total(&subject.loc, &target(&three)).await, 0);
}

#[tokio::test]
async fn a_naming_system_names_nothing_twice() {
    let subject = shared().await;
    let value = unique("http://test.example/sid");
    let twice = json!([{ "type": "uri", "value": value }, { "type": "uri", "value": value }]);
    subject.loc.post("/NamingSystem", &naming_system(&unique("Naming"), &twice)).await.expect(403);
    for kind in ["uri", "other"] {
        let value = json!([{ "type": kind, "value": unique("http://test.example/sid") }]);
        subject.create(&naming_system(&unique("Naming"), &value)).await;
        subject.loc.post("/NamingSystem", &naming_system(&unique("Naming"), &value)).await.expect(403);
    }
}

#[tokio::test]
async fn a_naming_system_decides_which_logical_references_are_resolved() {
    let subject = shared().await;
    let system = unique("http://test.example/sid/practitioner");
    let mut naming = naming_system(
        &unique("Naming"),
        &json!([{
            "modifierExtension": [{
                "url": "http://dsf.dev/fhir/StructureDefinition/extension-check-logical-reference",
                "valueBoolean": true,
            }],
            "type": "uri",
            "value": system,
        }]),
    );
    naming["status"] = json!("draft");
    let task = |value: &str| {
        let mut task = seed::task("loc", 1);
        let reference = json!({ "type": "Practitioner", "identifier": identifier(&system, value) });
        task["input"].as_array_mut().unwrap().push(crate::resources::reference_input(reference));
        task
    };
    subject.loc.post("/Task", &task("unknown")).await.expect(201);
    let naming = subject.create(&naming).await;
    subject.loc.post("/Task", &task("unknown")).await.expect(403);
    let practitioner = resource("Practitioner", &[all()], json!({ "identifier": [identifier(&system, "known")] }));
    subject.create(&practitioner).await;
    subject.loc.post("/Task", &task("known")).await.expect(201);
    subject.create(&practitioner).await;
    subject.loc.post("/Task", &task("known")).await.expect(403);
    subject.loc.delete(&format!("/NamingSystem/{naming}")).await.expect(200);
    subject.loc.post("/Task", &task("unknown")).await.expect(201);
}
