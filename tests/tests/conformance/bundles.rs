//! Batch and transaction Bundles: cases 79 to 87, and the entry rules of `fhir-api` 3.1.

use serde_json::{Value, json};

use crate::resources::{
    all, binary, code_system, entry, group, identifier, local, patient, post, questionnaire, questionnaire_response,
    request, statuses, unique, unknown_id, value_set,
};
use crate::seed::{self, EXTERNAL};
use crate::subject::{Subject, shared, total};

fn marked(mark: &str) -> Value {
    let mut patient = patient(&[all()]);
    patient["identifier"] = json!([identifier("http://test.example/mark", mark)]);
    patient
}

/// The entries of case 79: of two patients one is deleted, one is made, found, updated, searched.
async fn mixed(subject: &Subject) -> (String, Vec<Value>) {
    let (old, mark) = (unique("old"), unique("mark"));
    let first = subject.create(&marked(&old)).await;
    let mut again = post(&marked(&mark));
    again["request"]["ifNoneExist"] = json!(format!("identifier={mark}"));
    let mut update = entry("PUT", &format!("Patient?identifier={mark}"), &marked(&mark));
    update["resource"]["active"] = json!(false);
    let entries = vec![
        request("DELETE", &format!("Patient/{first}")),
        post(&marked(&mark)),
        again,
        update,
        request("GET", &format!("Patient?identifier={mark}")),
        request("GET", &format!("Patient?identifier={}", unique("nobody"))),
        request("GET", &format!("Patient?identifier={mark}&not-supported-parameter=x")),
        request("GET", &format!("Patient/{}", unknown_id())),
    ];
    (mark, entries)
}

const MIXED: [&str; 8] = ["200 OK", "201 Created", "200 OK", "200 OK", "200 OK", "200 OK", "200 OK", "404 Not Found"];

async fn run_mixed(kind: &str) {
    let subject = shared().await;
    let (mark, entries) = mixed(subject).await;
    let answer = subject.bundle(&subject.loc, kind, &entries).await.expect(200).json();
    assert_eq!(answer["type"], format!("{kind}-response"));
    assert_eq!(statuses(&answer), MIXED, "{answer:#}");
    assert_eq!(total(&subject.loc, &format!("/Patient?identifier={mark}")).await, 1);
    let entries = answer["entry"].as_array().unwrap();
    let id = entries[1]["resource"]["id"].as_str().unwrap();
    let full_url = format!("{}/Patient/{id}", subject.base);
    // Create, and the update of what was created.
    assert_eq!(entries[1]["fullUrl"], full_url.as_str());
    assert_eq!(entries[1]["response"]["location"], format!("{full_url}/_history/1"));
    assert_eq!(entries[1]["response"]["etag"], "W/\"1\"");
    assert_eq!(entries[2]["response"]["location"], format!("{full_url}/_history/1"));
    assert_eq!(entries[3]["response"]["location"], format!("{full_url}/_history/2"));
    // One hit is the resource itself; none is a searchset; a warning of one hit stands beside it.
    assert_eq!(
        (&entries[4]["fullUrl"], &entries[4]["resource"]["resourceType"]),
        (&json!(full_url), &json!("Patient"))
    );
    assert_eq!(entries[5]["resource"]["type"], "searchset");
    assert_eq!(entries[5]["resource"]["total"], 0);
    assert!(entries[5]["fullUrl"].as_str().unwrap().starts_with("urn:uuid:"));
    assert_eq!(entries[6]["resource"]["resourceType"], "Patient");
    assert_eq!(entries[6]["response"]["outcome"]["issue"][0]["severity"], "warning");
    assert!(entries[7].get("resource").is_none() && entries[7].get("fullUrl").is_none());
    assert_eq!(entries[0]["response"]["outcome"]["resourceType"], "OperationOutcome");
}

#[tokio::test]
async fn fhir_079_a_transaction_answers_in_the_order_of_its_entries() {
    run_mixed("transaction").await;
}

#[tokio::test]
async fn fhir_080_a_batch_answers_alike() {
    run_mixed("batch").await;
}

fn put_unknown(subject: &Subject) -> Value {
    let id = unknown_id();
    let mut body = patient(&[all()]);
    body["id"] = json!(id);
    json!({
        "fullUrl": format!("{}/Patient/{id}", subject.base),
        "resource": body,
        "request": { "method": "PUT", "url": format!("Patient/{id}") },
    })
}

#[tokio::test]
async fn fhir_081_one_failure_undoes_a_transaction() {
    let subject = shared().await;
    let (mark, kept) = (unique("undone"), subject.create(&patient(&[all()])).await);
    let entries = [request("DELETE", &format!("Patient/{kept}")), post(&marked(&mark)), put_unknown(subject)];
    let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(400);
    answer.outcome_codes();
    subject.loc.get(&format!("/Patient/{kept}")).await.expect(200);
    assert_eq!(total(&subject.loc, &format!("/Patient?identifier={mark}")).await, 0);
}

#[tokio::test]
async fn fhir_082_one_failure_is_one_entry_of_a_batch() {
    let subject = shared().await;
    let id = subject.create(&patient(&[all()])).await;
    let entries = [request("DELETE", &format!("Patient/{id}")), put_unknown(subject)];
    let answer = subject.bundle(&subject.loc, "batch", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200 OK", "405 Method Not Allowed"]);
    assert_eq!(answer["entry"][1]["response"]["outcome"]["resourceType"], "OperationOutcome");
    subject.loc.get(&format!("/Patient/{id}")).await.expect(410);
}

#[tokio::test]
async fn fhir_083_temporary_references_become_literal() {
    let subject = shared().await;
    let name = unique("mutual.example");
    let (organization, endpoint) = (format!("urn:uuid:{}", unknown_id()), format!("urn:uuid:{}", unknown_id()));
    let thumbprint: String = (0..4).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let at = |full_url: &str, resource: Value| {
        let mut entry = post(&resource);
        entry["fullUrl"] = json!(full_url);
        entry
    };
    let managing = json!({ "reference": organization });
    let mut read = request("GET", &organization);
    read["fullUrl"] = json!(format!("urn:uuid:{}", unknown_id()));
    let entries = [
        read,
        at(&organization, seed::organization(&name, &[thumbprint], &endpoint)),
        at(&endpoint, seed::endpoint(&name, &format!("https://{name}/fhir"), &managing)),
    ];
    let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200 OK", "201 Created", "201 Created"]);
    let id = |index: usize| answer["entry"][index]["resource"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id(0), id(1));
    let stored = subject.loc.get(&format!("/Organization/{}", id(1))).await.expect(200).json();
    assert_eq!(stored["endpoint"][0]["reference"], format!("Endpoint/{}", id(2)));
    let stored = subject.loc.get(&format!("/Endpoint/{}", id(2))).await.expect(200).json();
    assert_eq!(stored["managingOrganization"]["reference"], format!("Organization/{}", id(1)));
    // A temporary id that no entry has, and a reference by a condition that nothing or one resource matches.
    for (reference, status) in [
        (format!("urn:uuid:{}", unknown_id()), 403),
        (format!("Organization?identifier={}", unique("nobody")), 403),
        (format!("Organization?identifier={name}"), 200),
    ] {
        let other = unique("other.example");
        let managing = json!({ "reference": reference });
        let entries = [post(&seed::endpoint(&other, &format!("https://{other}/fhir"), &managing))];
        let answer = subject.bundle(&subject.loc, "transaction", &entries).await;
        assert_eq!(answer.status, status, "{reference}: {}", answer.text());
        assert_eq!(total(&subject.loc, &format!("/Endpoint?identifier={other}")).await, u64::from(status == 200));
    }
}

#[tokio::test]
async fn fhir_084_what_may_not_be_read_is_not_read_in_a_bundle() {
    let subject = shared().await;
    let id = subject.create(&binary(&[local()], "aGVsbG8=")).await;
    let entries = [request("GET", &format!("Binary/{id}"))];
    subject.bundle(&subject.ext, "transaction", &entries).await.expect(403).outcome_codes();
    let answer = subject.bundle(&subject.ext, "batch", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["403 Forbidden"]);
    assert!(answer["entry"][0].get("resource").is_none());
}

#[tokio::test]
async fn fhir_085_a_resource_is_deleted_and_made_anew_in_one_transaction() {
    let subject = shared().await;
    let url = unique("http://test.example/ValueSet/anew");
    let old = subject.create(&value_set(&url, "1.0")).await;
    for delete in [format!("ValueSet/{old}"), format!("ValueSet?url={url}&version=1.0")] {
        let entries = [request("DELETE", &delete), post(&value_set(&url, "1.0"))];
        let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(200).json();
        assert_eq!(statuses(&answer), ["200 OK", "201 Created"]);
        assert_ne!(answer["entry"][1]["resource"]["id"], old.as_str());
        assert_eq!(total(&subject.loc, &format!("/ValueSet?url={url}")).await, 1);
    }
    // The same with a condition that finds what is deleted before.
    let mut anew = post(&value_set(&url, "1.0"));
    anew["request"]["ifNoneExist"] = json!(format!("url={url}&version=1.0"));
    let entries = [request("DELETE", &format!("ValueSet?url={url}&version=1.0")), anew];
    let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200 OK", "201 Created"]);
}

#[tokio::test]
async fn fhir_086_an_answer_may_stand_before_its_questionnaire() {
    let subject = shared().await;
    for is_reversed in [false, true] {
        let url = unique("http://test.example/Questionnaire/q");
        let mut entries = vec![post(&questionnaire_response(&format!("{url}|1.0"))), post(&questionnaire(&url, "1.0"))];
        if is_reversed {
            entries.reverse();
        }
        let answer = subject.bundle(&subject.loc, "transaction", &entries).await.expect(200).json();
        assert_eq!(statuses(&answer), ["201 Created", "201 Created"]);
    }
}

#[tokio::test]
async fn fhir_087_an_invalid_resource_keeps_the_others_out() {
    let subject = shared().await;
    let before = total(&subject.loc, "/Binary?contentType=application/pdf").await;
    let mut content = binary(&[all()], "aGVsbG8=");
    content["contentType"] = json!("application/pdf");
    let mut invalid = seed::parent_organization(&unique("Invalid"));
    invalid.as_object_mut().unwrap().remove("active");
    invalid["meta"]["profile"] = json!(["http://dsf.dev/fhir/StructureDefinition/organization"]);
    subject.bundle(&subject.loc, "transaction", &[post(&content), post(&invalid)]).await.expect(403).outcome_codes();
    assert_eq!(total(&subject.loc, "/Binary?contentType=application/pdf").await, before);
}

#[tokio::test]
async fn what_is_no_proper_entry_refuses_the_bundle_or_the_entry() {
    let subject = shared().await;
    let whole = [
        json!({ "resource": patient(&[all()]) }),
        json!({ "request": { "url": "Patient" } }),
        json!({ "request": { "method": "POST", "url": "Patient" } }),
        json!({ "resource": patient(&[all()]), "request": { "method": "GET", "url": "Patient?active=true" } }),
        json!({ "resource": patient(&[all()]), "request": { "method": "DELETE", "url": "Patient?active=true" } }),
        entry("PATCH", "Patient", &patient(&[all()])),
        entry("POST", "Organization", &patient(&[all()])),
        entry("PUT", "Organization?name=x", &patient(&[all()])),
        request("GET", "CareTeam/x"),
    ];
    for bad in &whole {
        for kind in ["batch", "transaction"] {
            let answer = subject.bundle(&subject.loc, kind, std::slice::from_ref(bad)).await;
            assert!(matches!(answer.status, 400 | 403), "{kind} {bad}: {} {}", answer.status, answer.text());
            answer.outcome_codes();
        }
    }
    let id = subject.create(&patient(&[all()])).await;
    let mut no_full_url = post(&patient(&[all()]));
    no_full_url.as_object_mut().unwrap().remove("fullUrl");
    let mut other_id = post(&patient(&[all()]));
    other_id["resource"]["id"] = json!(unknown_id());
    let mut other_url = put_unknown(subject);
    other_url["fullUrl"] = json!(format!("urn:uuid:{}", unknown_id()));
    let entries = [
        no_full_url,
        other_id,
        other_url,
        request("GET", "Patient"),
        entry("POST", "Patient", &patient(&[])),
        request("GET", &format!("Patient/{id}")),
    ];
    let answer = subject.bundle(&subject.loc, "batch", &entries).await.expect(200).json();
    let statuses = statuses(&answer);
    assert_eq!(&statuses[..3], ["400 Bad Request"; 3], "{answer:#}");
    assert_eq!(&statuses[3..], ["400 Bad Request", "403 Forbidden", "200 OK"]);
}

#[tokio::test]
async fn entries_have_conditions_of_their_own() {
    let subject = shared().await;
    let mark = unique("conditions");
    let id = subject.create(&marked(&mark)).await;
    let get = |field: &str, value: &str| {
        let mut entry = request("GET", &format!("Patient/{id}"));
        entry["request"][field] = json!(value);
        entry
    };
    let stored = subject.loc.get(&format!("/Patient/{id}")).await.expect(200).json();
    let update = |tag: &str| {
        json!({
            "fullUrl": format!("{}/Patient/{id}", subject.base),
            "resource": stored,
            "request": { "method": "PUT", "url": format!("Patient/{id}"), "ifMatch": tag },
        })
    };
    let mut conditional = entry("PUT", &format!("Patient?identifier={mark}"), &marked(&mark));
    conditional["request"]["ifMatch"] = json!("W/\"9\"");
    let entries = [
        get("ifNoneMatch", "W/\"1\""),
        get("ifNoneMatch", "W/\"2\""),
        get("ifModifiedSince", "2100-01-01T00:00:00Z"),
        get("ifModifiedSince", "2001-01-01T00:00:00Z"),
        update("W/\"9\""),
        conditional,
        update("W/\"1\""),
        request("GET", &format!("Patient/{id}/_history/1")),
        request("HEAD", &format!("Patient/{id}")),
        request("GET", "Patient?active=maybe"),
    ];
    let answer = subject.bundle(&subject.loc, "batch", &entries).await.expect(200).json();
    assert_eq!(
        statuses(&answer)[..9],
        [
            "304 Not Modified",
            "200 OK",
            "304 Not Modified",
            "200 OK",
            "412 Precondition Failed",
            "412 Precondition Failed",
            "200 OK",
            "200 OK",
            "200 OK",
        ],
        "{answer:#}"
    );
    assert_eq!(answer["entry"][7]["resource"]["meta"]["versionId"], "1");
    assert!(answer["entry"][8].get("resource").is_none());
    let entries = [update("W/\"1\"")];
    subject.bundle(&subject.loc, "transaction", &entries).await.expect(400);
    // A search of many, and one without a hit and with a warning, are searchsets.
    let one = request("GET", &format!("Group?identifier={}&no-such-parameter=x", unique("nobody")));
    for kind in ["batch", "transaction"] {
        let answer = subject.bundle(&subject.loc, kind, std::slice::from_ref(&one)).await.expect(200).json();
        assert_eq!(answer["entry"][0]["resource"]["total"], 0, "{answer:#}");
    }
}

#[tokio::test]
async fn deleted_resources_are_told_apart_in_bundles() {
    let subject = shared().await;
    let id = subject.create(&patient(&[all()])).await;
    subject.loc.delete(&format!("/Patient/{id}")).await.expect(200);
    let entries: Vec<Value> = ["", "/_history/1", "/_history/2", "/_history/3"]
        .iter()
        .map(|version| request("GET", &format!("Patient/{id}{version}")))
        .collect();
    let answer = subject.bundle(&subject.loc, "batch", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["410 Gone", "200 OK", "410 Gone", "404 Not Found"]);
    subject.bundle(&subject.loc, "transaction", &entries[..1]).await.expect(400);
    let nothing = [request("DELETE", &format!("Patient?identifier={}", unique("nobody")))];
    let answer = subject.bundle(&subject.loc, "transaction", &nothing).await.expect(200).json();
    assert_eq!(statuses(&answer), ["204 No Content"]);
}

#[tokio::test]
async fn preferences_hold_for_what_a_bundle_writes() {
    let subject = shared().await;
    let mark = unique("prefer");
    let entries = [post(&marked(&mark)), request("GET", &format!("Patient?identifier={mark}"))];
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    let send = async |prefer: &str| {
        let answer = subject.loc.write_with("POST", "/", &[("prefer", prefer)], &bundle).await.expect(200).json();
        answer["entry"].clone()
    };
    let minimal = send("return=minimal").await;
    assert!(minimal[0].get("resource").is_none() && minimal[0]["response"].get("outcome").is_none(), "{minimal:#}");
    assert_eq!(minimal[1]["resource"]["resourceType"], "Patient");
    let outcome = send("return=OperationOutcome").await;
    assert_eq!(outcome[0]["response"]["outcome"]["issue"][0]["severity"], "information", "{outcome:#}");
    let both = [("prefer", "handling=strict"), ("prefer", "return=minimal")];
    let entries = json!([request("GET", "Patient?no-such-parameter=x&active=true")]);
    let bundle = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    let answer = subject.loc.write_with("POST", "/", &both, &bundle).await.expect(200).json();
    assert_eq!(statuses(&answer), ["400 Bad Request"]);
}

#[tokio::test]
async fn others_can_do_in_bundles_what_they_can_do_alone() {
    let subject = shared().await;
    let url = unique("http://test.example/CodeSystem/foreign");
    subject.bundle(&subject.ext, "transaction", &[post(&code_system(&url, "1.0", &[all()]))]).await.expect(403);
    let entries = [
        post(&group(&[])),
        post(&seed::task("ext", 2)),
        request("GET", "Organization?name=Test_Organization"),
        request("DELETE", &format!("Patient/{}", unknown_id())),
    ];
    let answer = subject.bundle(&subject.ext, "batch", &entries).await;
    // The gateway may refuse the whole Bundle for an entry that it never lets pass.
    if answer.status == 200 {
        let statuses = statuses(&answer.json());
        assert_eq!(&statuses[..3], ["403 Forbidden", "201 Created", "200 OK"]);
        assert!(statuses[3].starts_with("40"), "{statuses:?}");
    } else {
        answer.expect(403);
    }
    let entries = [post(&seed::task("ext", 2)), request("GET", &format!("Organization?name={EXTERNAL}"))];
    let answer = subject.bundle(&subject.ext, "transaction", &entries).await.expect(200).json();
    assert_eq!(statuses(&answer), ["201 Created", "200 OK"]);
}
