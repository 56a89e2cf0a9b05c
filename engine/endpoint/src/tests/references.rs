//! References, uniqueness, conditional interactions (cases 67 to 78).

use serde_json::{Value, json};

use super::support::{
    BASE, LOCAL, Node, Who, activity_definition, code_system, endpoint, entry, organization, other_input, party,
    patient, tag_all, tag_local, task,
};

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

fn logical(identifier: &str) -> Value {
    json!({
        "type": "Organization",
        "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": identifier },
    })
}

#[tokio::test]
async fn fhir_067_and_068_literal_references_must_exist_and_logical_ones_are_resolved_and_hidden() {
    let node = Node::start().await;
    let address = "https://new.example/fhir";
    let dangling = endpoint("new", address, &json!({ "reference": format!("Organization/{UNKNOWN}") }));
    node.post(Who::Loc, "/Endpoint", &dangling).await.expect_outcome(403, "processing");
    let wrong_type = endpoint(
        "new",
        address,
        &json!({ "reference": format!("Endpoint/{}", node.find("/Endpoint?identifier=Test_Endpoint").await) }),
    );
    node.post(Who::Loc, "/Endpoint", &wrong_type).await.expect(403);
    node.post(Who::Loc, "/Endpoint", &endpoint("new", address, &logical("nobody"))).await.expect(403);
    assert_eq!(node.count(Who::Loc, "/Endpoint").await, 2);
    let created = node.post(Who::Loc, "/Endpoint", &endpoint("new", address, &logical(LOCAL))).await.expect(201).json();
    assert_eq!(created["managingOrganization"].get("reference"), None, "{created}");
    let organization = node.find("/Organization?identifier=Test_Organization").await;
    // It is stored: a search by the literal finds it.
    let bundle = node.get(Who::Loc, &format!("/Endpoint?organization=Organization/{organization}")).await.json();
    assert_eq!(bundle["total"], 2);
}

#[tokio::test]
async fn fhir_069_to_071_inputs_of_tasks_may_refer_where_they_can_be_followed() {
    let node = Node::start().await;
    let all = [party("LOCAL_ALL", None), party("REMOTE_ALL", None)];
    node.post(Who::Loc, "/ActivityDefinition", &activity_definition("1.0", &all, &party("LOCAL_ALL", None)))
        .await
        .expect(201);
    let other_system =
        json!({ "type": "Patient", "identifier": { "system": "http://test.example/sid", "value": "1" } });
    let without_type =
        json!({ "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": LOCAL } });
    let table: [(Value, u16); 8] = [
        (other_system, 201),
        (logical(LOCAL), 201),
        (logical("nobody"), 403),
        (without_type, 403),
        (json!({ "reference": "https://elsewhere.example/fhir/Binary/1" }), 201),
        (json!({ "reference": "https://external.example/fhir/Binary/1" }), 201),
        (json!({ "reference": "https://external.example/fhir/Binary/missing" }), 403),
        (json!({ "reference": format!("Patient/{UNKNOWN}") }), 403),
    ];
    for (reference, status) in table {
        let mut body = task(Who::Ext, "requested", "1.0");
        body["input"].as_array_mut().unwrap().push(other_input(&reference));
        node.post(Who::Ext, "/Task", &body).await.expect(status);
    }
    // Only servers of the network are asked.
    let asked = node.hooks.asked.lock().unwrap().clone();
    assert_eq!(asked, ["https://external.example/fhir/Binary/1", "https://external.example/fhir/Binary/missing"]);
}

#[tokio::test]
async fn fhir_072_related_artifacts_are_made_absolute_and_checked() {
    let node = Node::start().await;
    let study = |url: &str| {
        json!({
            "resourceType": "ResearchStudy",
            "meta": { "tag": [tag_all()] },
            "status": "active",
            "relatedArtifact": [{ "type": "citation", "url": url }],
        })
    };
    let patient = node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201).id();
    let url = |answer: Value| answer["relatedArtifact"][0]["url"].as_str().unwrap().to_owned();
    let foreign = node.post(Who::Loc, "/ResearchStudy", &study("https://foo.bar")).await.expect(201).json();
    assert_eq!(url(foreign), "https://foo.bar");
    let internal =
        node.post(Who::Loc, "/ResearchStudy", &study(&format!("Patient/{patient}"))).await.expect(201).json();
    assert_eq!(url(internal), format!("{BASE}/Patient/{patient}"));
    node.post(Who::Loc, "/ResearchStudy", &study(&format!("Patient/{UNKNOWN}"))).await.expect(403);
}

#[tokio::test]
async fn fhir_073_and_074_keys_are_unique_in_every_way_of_writing() {
    let node = Node::start().await;
    let body = code_system("http://test.example/cs", "1", &[tag_all()]);
    node.post(Who::Loc, "/CodeSystem", &body).await.expect(201);
    node.post(Who::Loc, "/CodeSystem", &body).await.expect_outcome(403, "duplicate");
    let other = code_system("http://test.example/cs", "2", &[tag_all()]);
    let two = [entry("POST", "CodeSystem", &other), entry("POST", "CodeSystem", &other)];
    let bundle = |kind: &str, entries: &[Value]| json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
    node.post(Who::Loc, "/", &bundle("transaction", &two)).await.expect_outcome(403, "duplicate");
    assert_eq!(node.count(Who::Loc, "/CodeSystem?url=http://test.example/cs").await, 1);
    let answer = node.post(Who::Loc, "/", &bundle("batch", &two)).await.expect(200).json();
    let statuses: Vec<_> =
        answer["entry"].as_array().unwrap().iter().map(|entry| entry["response"]["status"].clone()).collect();
    assert_eq!(statuses, ["201 Created", "403 Forbidden"]);
    let conditional = |version: &str| {
        let mut entry = entry("POST", "CodeSystem", &code_system("http://test.example/cs", version, &[tag_all()]));
        entry["request"]["ifNoneExist"] = json!(format!("url=http://test.example/cs&version={version}"));
        entry
    };
    for kind in ["transaction", "batch"] {
        let entries = [conditional(kind), conditional(kind)];
        let answer = node.post(Who::Loc, "/", &bundle(kind, &entries)).await.expect(200).json();
        let statuses: Vec<_> =
            answer["entry"].as_array().unwrap().iter().map(|entry| entry["response"]["status"].clone()).collect();
        assert_eq!(statuses, ["201 Created", "200 OK"], "{kind}");
        assert_eq!(answer["entry"][0]["response"]["location"], answer["entry"][1]["response"]["location"]);
    }
}

#[tokio::test]
async fn fhir_075_of_two_requests_at_the_same_time_one_is_stored() {
    let node = Node::start().await;
    let body = endpoint("new", "https://new.example/fhir", &logical(LOCAL));
    let (one, two) = tokio::join!(node.post(Who::Loc, "/Endpoint", &body), node.post(Who::Loc, "/Endpoint", &body));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
}

#[tokio::test]
async fn fhir_076_and_077_what_names_an_organisation_stays_and_is_its_own() {
    let node = Node::start().await;
    let id = node.find("/Organization?identifier=External_Test_Organization").await;
    let path = format!("/Organization/{id}");
    let stored = node.get(Who::Loc, &path).await.json();
    let thumbprint = |who: Who| {
        json!({
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint",
            "valueString": who.thumbprint().to_string(),
        })
    };
    let mut taken = stored.clone();
    taken["extension"].as_array_mut().unwrap().push(thumbprint(Who::Loc));
    node.put(Who::Loc, &path, &taken).await.expect_outcome(403, "duplicate");
    let mut renamed = stored.clone();
    renamed["identifier"][0]["value"] = json!("other");
    node.put(Who::Loc, &path, &renamed).await.expect_outcome(403, "forbidden");
    let mut added = stored.clone();
    added["extension"].as_array_mut().unwrap().push(thumbprint(Who::Stranger));
    node.put(Who::Loc, &path, &added).await.expect(200);
    node.get(Who::Ext, "/metadata").await.expect(200);
    let own = node.find("/Organization?identifier=Test_Organization").await;
    let duplicate = organization(
        "Test_Organization",
        Who::Min,
        &format!("Endpoint/{}", node.find("/Endpoint?identifier=Test_Endpoint").await),
    );
    node.post(Who::Loc, "/Organization", &duplicate).await.expect_outcome(403, "duplicate");
    assert_ne!(own, id);
}

#[tokio::test]
async fn fhir_078_subscriptions_are_of_one_kind_and_judgeable() {
    let node = Node::start().await;
    let subscription = |criteria: &str, kind: &str, payload: Option<&str>| {
        let mut channel = json!({ "type": kind });
        if let Some(payload) = payload {
            channel["payload"] = json!(payload);
        }
        json!({
            "resourceType": "Subscription",
            "meta": { "tag": [tag_local()] },
            "status": "active",
            "reason": "test",
            "criteria": criteria,
            "channel": channel,
        })
    };
    let table = [
        ("Task?status=draft", "websocket", Some("application/fhir+json"), 201),
        ("Task?status=draft", "websocket", Some("application/fhir+xml"), 201),
        ("Task?status=draft", "websocket", None, 201),
        ("Task?status=draft", "websocket", Some("application/pdf"), 403),
        ("Task?status=draft", "email", None, 403),
        ("CareTeam?status=active", "websocket", None, 403),
        ("fhir/Task?status=draft", "websocket", None, 403),
        ("Task?status=draft", "websocket", None, 403),
        ("Task?nonsense=1", "websocket", None, 403),
    ];
    for (criteria, kind, payload, status) in table {
        node.post(Who::Loc, "/Subscription", &subscription(criteria, kind, payload)).await.expect(status);
    }
}

#[tokio::test]
async fn conditional_creates_updates_and_deletes_look_before_they_write() {
    let node = Node::start().await;
    let mut body = patient(&[tag_all()]);
    body["identifier"] = json!([{ "system": "http://test.example/sid", "value": "1" }]);
    let condition = [("if-none-exist", "identifier=http://test.example/sid|1")];
    let created = node.write_with(Who::Loc, "POST", "/Patient", &condition, &body).await.expect(201);
    let found = node.write_with(Who::Loc, "POST", "/Patient", &condition, &body).await.expect_outcome(200, "duplicate");
    assert_eq!(found.header("location"), created.header("location"));
    assert_eq!(found.header("vary"), "Cookie");
    for bad in ["", "Patient?identifier=1", "nonsense=1", "_count=1"] {
        node.write_with(Who::Loc, "POST", "/Patient", &[("if-none-exist", bad)], &body).await.expect(400);
    }
    let query = "/Patient?identifier=http://test.example/sid%7C1";
    let updated = node.put(Who::Loc, query, &body).await.expect(200).json();
    assert_eq!(updated["meta"]["versionId"], "2");
    let mut other = body.clone();
    other["id"] = json!(UNKNOWN);
    node.put(Who::Loc, query, &other).await.expect(400);
    node.put(Who::Loc, "/Patient?identifier=http://test.example/sid%7C2", &other)
        .await
        .expect_outcome(405, "forbidden");
    node.put(Who::Loc, "/Patient?nonsense=1", &body).await.expect(400);
    node.put(Who::Loc, "/Patient?identifier=http://test.example/sid%7C3", &body).await.expect(201);
    node.write_with(Who::Loc, "POST", "/Patient", &condition, &body).await.expect_outcome(412, "multiple-matches");
    node.put(Who::Loc, query, &body).await.expect_outcome(412, "multiple-matches");
    node.delete(Who::Loc, query).await.expect_outcome(412, "multiple-matches");
    node.delete(Who::Loc, "/Patient?identifier=http://test.example/sid%7C9").await.expect_empty(204);
    node.delete(Who::Loc, &format!("/Patient?_id={}", created.id())).await.expect(200);
    assert_eq!(node.count(Who::Loc, "/Patient").await, 1);
    node.assert_published(0);
}
