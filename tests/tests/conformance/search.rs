//! Search: cases 29 to 45.

use serde_json::{Value, json};
use tests::Client;

use crate::resources::{
    all, binary, code_system, document_reference, group, identifier, modes, patient, questionnaire,
    questionnaire_response, relations, resource, unique,
};
use crate::seed;
use crate::subject::{is_foreign, shared, total, untouched};

const STRICT: &[(&str, &str)] = &[("prefer", "handling=strict")];

async fn found(client: &Client, target: &str) -> Value {
    client.get(target).await.expect(200).json()
}

fn count(bundle: &Value) -> usize {
    bundle["entry"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn fhir_029_the_seed_is_found() {
    let subject = untouched().await;
    for (resource_type, expected) in [("Organization", 3), ("Endpoint", 2)] {
        let bundle = found(&subject.loc, &format!("/{resource_type}")).await;
        assert_eq!(bundle["type"], "searchset");
        assert_eq!(bundle["total"], expected);
        assert_eq!(modes(&bundle), vec!["match"; expected]);
        for entry in bundle["entry"].as_array().unwrap() {
            let id = entry["resource"]["id"].as_str().unwrap();
            assert_eq!(entry["fullUrl"], format!("{}/{resource_type}/{id}", subject.base));
        }
    }
}

#[tokio::test]
async fn fhir_030_an_unknown_parameter_is_a_warning() {
    let subject = untouched().await;
    let bundle = found(&subject.loc, "/Endpoint?not-supported-parameter=x").await;
    assert_eq!(bundle["total"], 2);
    assert_eq!(modes(&bundle), ["match", "match", "outcome"]);
    let issue = &bundle["entry"][2]["resource"]["issue"][0];
    assert_eq!(issue["severity"], "warning");
    assert_eq!(issue["code"], "processing");
    assert!(
        issue["diagnostics"].as_str().unwrap().starts_with("parameter: not-supported-parameter, error: "),
        "{issue}"
    );
}

#[tokio::test]
async fn fhir_031_strict_handling_makes_it_an_error() {
    let subject = untouched().await;
    for target in ["/Endpoint?not-supported-parameter=x", "/Task?status=foo", "/Patient?_lastUpdated=yesterday"] {
        let answer = subject.loc.get_with(target, STRICT).await.expect(400);
        assert_eq!(answer.json()["issue"][0]["severity"], "error");
    }
}

#[tokio::test]
async fn fhir_032_included_resources_follow_the_matches() {
    let subject = untouched().await;
    for include in ["Endpoint:organization", "Endpoint:organization:Organization"] {
        let bundle = found(&subject.loc, &format!("/Endpoint?_include={include}")).await;
        assert_eq!(bundle["total"], 2);
        assert_eq!(modes(&bundle), ["match", "match", "include", "include"]);
        assert_eq!(bundle["entry"][3]["resource"]["resourceType"], "Organization");
    }
}

#[tokio::test]
async fn fhir_033_what_refers_to_a_match_is_included() {
    let subject = untouched().await;
    let bundle = found(&subject.loc, "/Endpoint?_revinclude=Organization:endpoint").await;
    assert_eq!(bundle["total"], 2);
    assert_eq!(modes(&bundle), ["match", "match", "include", "include"]);
}

#[tokio::test]
async fn fhir_034_an_unknown_include_is_a_warning_or_an_error() {
    let subject = untouched().await;
    for target in ["/Organization?_revinclude=Endpoint:foo", "/Organization?_include=Organization:foo"] {
        let bundle = found(&subject.loc, target).await;
        assert_eq!(bundle["total"], 3);
        assert_eq!(modes(&bundle), ["match", "match", "match", "outcome"]);
        subject.loc.get_with(target, STRICT).await.expect(400);
    }
}

#[tokio::test]
async fn fhir_035_a_count_of_zero_asks_for_the_total() {
    let subject = shared().await;
    let id = subject.create(&binary(&[all()], "aGVsbG8=")).await;
    for target in [format!("/Binary?_id={id}&_count=0"), format!("/Binary?_id={id}&_page=0")] {
        let bundle = found(&subject.loc, &target).await;
        assert_eq!(bundle["total"], 1);
        assert_eq!(count(&bundle), 0);
        assert_eq!(relations(&bundle), ["self"]);
    }
}

#[tokio::test]
async fn fhir_036_huge_pages_are_none() {
    let subject = untouched().await;
    let bundle = found(&subject.loc, "/Measure?_page=2147483647&_count=2147483647").await;
    assert_eq!(bundle["total"], 0);
    assert_eq!(count(&bundle), 0);
}

#[tokio::test]
async fn fhir_037_a_canonical_is_not_found_by_id() {
    let subject = shared().await;
    subject.loc.get_with(&format!("/Measure?depends-on={}", uuid::Uuid::new_v4()), STRICT).await.expect(400);
    // By canonical it is, also by the one of a related artifact, and its Library is included.
    let (first, second) = (unique("http://test.example/Library/a"), unique("http://test.example/Library/b"));
    for url in [&first, &second] {
        let kind = json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/library-type", "code": "logic-library" }] });
        let members = json!({ "url": url, "version": "1.0", "status": "active", "type": kind });
        subject.create(&resource("Library", &[all()], members)).await;
    }
    let members = json!({
        "url": unique("http://test.example/Measure/m"),
        "version": "1.0",
        "status": "active",
        "library": [format!("{first}|1.0")],
        "relatedArtifact": [{ "type": "depends-on", "resource": second }],
    });
    subject.create(&resource("Measure", &[all()], members)).await;
    for url in [&first, &second] {
        let bundle = found(&subject.loc, &format!("/Measure?depends-on={url}&_include=Measure:depends-on")).await;
        assert_eq!(bundle["total"], 1, "{bundle:#}");
        assert_eq!(modes(&bundle), ["match", "include", "include"], "{bundle:#}");
    }
}

#[tokio::test]
async fn fhir_038_profiles_are_found_exactly_or_by_their_beginning() {
    let subject = shared().await;
    let profile = unique("http://test.example/StructureDefinition/group");
    let definition = |version: &str| {
        resource(
            "StructureDefinition",
            &[all()],
            json!({
                "url": profile, "version": version, "name": "Test", "status": "active", "date": "2026-01-01", "fhirVersion": "4.0.1",
                "kind": "resource", "abstract": false, "type": "Task", "derivation": "constraint",
                "baseDefinition": "http://dsf.dev/fhir/StructureDefinition/task",
                "differential": { "element": [{ "id": "Task", "path": "Task" }] },
            }),
        )
    };
    subject.create(&definition("0.1.0")).await;
    for named in [profile.clone(), format!("{profile}|0.1.0")] {
        let mut draft = seed::draft("loc");
        draft["meta"]["profile"] = json!([named]);
        subject.create(&draft).await;
    }
    let escaped = |text: &str| text.replace('|', "%7C");
    assert_eq!(total(&subject.loc, &format!("/Task?_profile={profile}")).await, 1);
    assert_eq!(total(&subject.loc, &format!("/Task?_profile={}", escaped(&format!("{profile}|0.1.0")))).await, 1);
    assert_eq!(total(&subject.loc, &format!("/Task?_profile={}", escaped(&format!("{profile}|9")))).await, 0);
    assert_eq!(total(&subject.loc, &format!("/Task?_profile:below={profile}")).await, 2);
}

#[tokio::test]
async fn fhir_039_urls_are_found_by_their_beginning() {
    let subject = shared().await;
    let local = || vec![seed::party("LOCAL_ALL", None)];
    let url = format!("http://dsf.dev/bpe/Process/{}", unique("below").replace('-', ""));
    subject.create(&seed::activity_definition(&url, "1.0", &local(), &local()[0])).await;
    let prefix = &url[..url.len() - 2];
    assert_eq!(total(&subject.loc, &format!("/ActivityDefinition?url:below={prefix}")).await, 1);
    assert_eq!(total(&subject.loc, &format!("/ActivityDefinition?url={prefix}")).await, 0);
    assert_eq!(total(&subject.loc, &format!("/ActivityDefinition?url={url}%7C1.0")).await, 1);
    assert_eq!(total(&subject.loc, &format!("/ActivityDefinition?url={url}%7C2.0")).await, 0);
    assert_eq!(total(&subject.loc, &format!("/ActivityDefinition?url:below={url}x")).await, 0);
}

#[tokio::test]
async fn fhir_040_repeated_parameters_must_all_hold() {
    let subject = shared().await;
    let (a, b) = (unique("a"), unique("b"));
    subject.create(&group(&[("http://test.example/a", &a), ("http://test.example/b", &b)])).await;
    assert_eq!(total(&subject.loc, &format!("/Group?identifier={a}&identifier={b}")).await, 1);
    assert_eq!(total(&subject.loc, &format!("/Group?identifier={a}&identifier=other")).await, 0);
    // A comma is no "or".
    assert_eq!(total(&subject.loc, &format!("/Group?identifier={a},{b}")).await, 0);
}

#[tokio::test]
async fn fhir_041_identifiers_are_tokens() {
    let subject = shared().await;
    let system = format!("http://test.example/{}", unique("sid"));
    let (value, other, bare) = (unique("v"), unique("o"), unique("n"));
    let mut both = document_reference(&[all()]);
    both["masterIdentifier"] = identifier(&system, &value);
    both["identifier"] = json!([identifier(&system, &other), { "value": bare }]);
    let id = subject.create(&both).await;
    for (query, expected) in [
        (format!("identifier={system}%7C{value}"), 1),
        (format!("identifier={system}%7C{other}"), 1),
        (format!("identifier={value}"), 1),
        (format!("identifier={system}%7C"), 1),
        (format!("identifier=%7C{bare}"), 1),
        (format!("identifier=%7C{value}"), 0),
        (format!("identifier={system}x%7C{value}"), 0),
        (format!("_id={id}&identifier:not={system}%7C{value}"), 0),
        (format!("_id={id}&identifier:not={system}%7C{value}x"), 1),
    ] {
        assert_eq!(total(&subject.loc, &format!("/DocumentReference?{query}")).await, expected, "{query}");
    }
}

#[tokio::test]
async fn fhir_042_two_bounds_of_a_date_are_a_time_span() {
    let subject = shared().await;
    subject.create(&seed::task("loc", 1)).await;
    let (after, before) = ("_lastUpdated=gt2021-12-02T10:00:00", "_lastUpdated=lt2021-12-02T12:00:00");
    for query in [format!("{after}&{before}"), format!("{before}&{after}")] {
        assert_eq!(total(&subject.loc, &format!("/Task?{query}")).await, 0);
    }
    assert!(total(&subject.loc, &format!("/Task?{after}")).await > 0);
}

#[tokio::test]
async fn fhir_043_pages_are_linked() {
    let subject = shared().await;
    let mark = unique("page");
    for _ in 0..5 {
        let mut body = patient(&[all()]);
        body["identifier"] = json!([identifier("http://test.example/page", &mark)]);
        subject.create(&body).await;
    }
    let query = format!("/Patient?identifier={mark}&_count=2&_page=2&_sort=-_lastUpdated");
    let page = found(&subject.loc, &query).await;
    assert_eq!(page["total"], 5);
    assert_eq!(count(&page), 2);
    assert_eq!(relations(&page), ["self", "first", "previous", "next", "last"]);
    let link = |page: &Value, relation: &str| {
        let links = page["link"].as_array().unwrap().clone();
        links.into_iter().find(|link| link["relation"] == relation).map(|link| link["url"].as_str().unwrap().to_owned())
    };
    let expected = format!("{}/Patient?identifier={mark}&_sort=-_lastUpdated&_count=2&_page=", subject.base);
    for (relation, number) in [("self", 2), ("first", 1), ("previous", 1), ("next", 3), ("last", 3)] {
        assert_eq!(link(&page, relation).unwrap(), format!("{expected}{number}"));
    }
    // The links lead to every match once, newest first.
    let mut times = Vec::new();
    let mut next = link(&page, "first");
    while let Some(url) = next {
        let page = found(&subject.loc, url.strip_prefix(&subject.base).unwrap()).await;
        for entry in page["entry"].as_array().unwrap() {
            times.push(entry["resource"]["meta"]["lastUpdated"].as_str().unwrap().to_owned());
        }
        next = link(&page, "next");
    }
    assert_eq!(times.len(), 5);
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let past = found(&subject.loc, &format!("/Patient?identifier={mark}&_count=2&_page=4")).await;
    assert_eq!((count(&past), relations(&past)), (0, vec!["self".to_owned()]));
    assert!(link(&past, "self").unwrap().ends_with("_count=0"));
}

#[tokio::test]
async fn fhir_044_the_version_that_is_answered_is_included() {
    let subject = shared().await;
    let url = unique("http://test.example/Questionnaire/q");
    for version in ["1.0", "1.1", "2.0"] {
        subject.create(&questionnaire(&url, version)).await;
    }
    subject.create(&questionnaire_response(&format!("{url}|1.1"))).await;
    let target = format!("/QuestionnaireResponse?questionnaire={url}&_include=QuestionnaireResponse:questionnaire");
    let bundle = found(&subject.loc, &target).await;
    assert_eq!(modes(&bundle), ["match", "include"]);
    assert_eq!(bundle["entry"][1]["resource"]["version"], "1.1");
}

#[tokio::test]
async fn fhir_045_a_subject_is_included_and_its_literal_hidden() {
    let subject = shared().await;
    let url = unique("http://test.example/Questionnaire/q");
    subject.create(&questionnaire(&url, "1.0")).await;
    let organization = subject.organization(seed::LOCAL).await;
    let mut response = questionnaire_response(&format!("{url}|1.0"));
    response["subject"] = crate::resources::organization_reference(seed::LOCAL);
    subject.create(&response).await;
    let target = format!(
        "/QuestionnaireResponse?questionnaire={url}&subject=Organization/{organization}&_include=QuestionnaireResponse:subject:Organization"
    );
    let bundle = found(&subject.loc, &target).await;
    assert_eq!(modes(&bundle), ["match", "include"]);
    let shown = &bundle["entry"][0]["resource"]["subject"];
    assert!(shown.get("identifier").is_some() && shown.get("reference").is_none(), "{shown}");
}

#[tokio::test]
async fn every_parameter_of_every_type_is_understood() {
    let subject = untouched().await;
    let statement = found(&subject.loc, "/metadata").await;
    for described in statement["rest"][0]["resource"].as_array().unwrap() {
        let resource_type = described["type"].as_str().unwrap();
        for parameter in described["searchParam"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let value = match (parameter["type"].as_str().unwrap(), name) {
                (_, "_id") => uuid::Uuid::new_v4().to_string(),
                (_, "status") => continue,
                (_, "active") => "true".to_owned(),
                (_, "type") if resource_type == "Subscription" => "websocket".to_owned(),
                ("date", _) => "ge2020-01-01".to_owned(),
                ("reference" | "uri", _) => "http://test.example/x".to_owned(),
                _ => "x".to_owned(),
            };
            let target = format!("/{resource_type}?{name}={value}&_sort=-{name}");
            subject.loc.get_with(&target, STRICT).await.expect(200);
        }
        for (field, parameter) in [("searchInclude", "_include"), ("searchRevInclude", "_revinclude")] {
            for include in described[field].as_array().into_iter().flatten() {
                let target = format!("/{resource_type}?{parameter}={}", include.as_str().unwrap());
                subject.loc.get_with(&target, STRICT).await.expect(200);
            }
        }
    }
}

#[tokio::test]
async fn dates_texts_and_references_are_compared_as_they_say() {
    let subject = shared().await;
    let url = unique("http://test.example/CodeSystem/dates");
    let name = unique("Naïve Name");
    let mut body = code_system(&url, "1.0", &[all()]);
    body["date"] = json!("2024-02-29");
    body["name"] = json!(name);
    subject.create(&body).await;
    let escaped = name.replace(' ', "%20").replace('ï', "%C3%AF");
    for (query, expected) in [
        ("date=2024-02-29".to_owned(), 1),
        ("date=eq2024-02".to_owned(), 1),
        ("date=2024".to_owned(), 1),
        ("date=ne2024-02-29".to_owned(), 0),
        ("date=gt2024-02-28".to_owned(), 1),
        ("date=gt2024-02-29".to_owned(), 0),
        ("date=ge2024-02-29".to_owned(), 1),
        ("date=lt2024-03-01".to_owned(), 1),
        ("date=le2024-02-28".to_owned(), 0),
        ("name=na%C3%AFVE".to_owned(), 1),
        ("name=ve%20name".to_owned(), 0),
        ("name:contains=VE%20NAME".to_owned(), 1),
        (format!("name:exact={escaped}"), 1),
        (format!("name:exact={}", escaped.to_lowercase()), 0),
        ("version=1.0".to_owned(), 1),
        ("status=active".to_owned(), 1),
        ("status:not=active".to_owned(), 0),
        ("status:not=draft".to_owned(), 1),
    ] {
        let target = format!("/CodeSystem?url={url}&{query}");
        let answer = subject.loc.get_with(&target, STRICT).await.expect(200).json();
        assert_eq!(answer["total"], expected, "{query}");
    }
    for refused in ["date=sa2024-01-01", "date=ap2024", "date=gt2024-02", "status=foo", "url:exact=x", "name:below=x"] {
        subject.loc.get_with(&format!("/CodeSystem?{refused}"), STRICT).await.expect(400);
    }
}

#[tokio::test]
async fn references_are_found_by_id_type_url_and_identifier() {
    let subject = untouched().await;
    let organization = subject.organization(seed::EXTERNAL).await;
    let sid = "http://dsf.dev/sid/organization-identifier";
    for value in [
        format!("organization={organization}"),
        format!("organization=Organization/{organization}"),
        format!("organization={}/Organization/{organization}", subject.base),
        format!("organization:identifier={sid}%7C{}", seed::EXTERNAL),
        format!("organization:identifier={}", seed::EXTERNAL),
    ] {
        let answer = subject.loc.get_with(&format!("/Endpoint?{value}"), STRICT).await.expect(200).json();
        assert_eq!(answer["total"], 1, "{value}");
    }
    subject.loc.get_with(&format!("/Endpoint?organization=Patient/{organization}"), STRICT).await.expect(400);
    subject.loc.get_with(&format!("/Endpoint?organization:Organization={organization}"), STRICT).await.expect(400);
}

#[tokio::test]
async fn histories_grow_upwards_and_are_cut_by_time() {
    let subject = shared().await;
    let id = subject.create(&patient(&[all()])).await;
    let path = format!("/Patient/{id}");
    let first = found(&subject.loc, &path).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let mut next = first.clone();
    next["active"] = json!(false);
    let second = subject.loc.put(&path, &next).await.expect(200).json();
    subject.loc.delete(&path).await.expect(200);
    let history = found(&subject.loc, &format!("{path}/_history")).await;
    assert_eq!((&history["type"], &history["total"]), (&json!("history"), &json!(3)));
    let entries = history["entry"].as_array().unwrap();
    let told: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!([
                entry["request"]["method"],
                entry["request"]["url"],
                entry["response"]["status"],
                entry["response"]["etag"]
            ])
        })
        .collect();
    assert_eq!(told[0], json!(["POST", "Patient", "201 Created", "W/\"1\""]));
    assert_eq!(told[1], json!(["PUT", "Patient", "200 OK", "W/\"2\""]));
    assert_eq!(told[2], json!(["DELETE", format!("Patient/{id}/_history/3"), "200 OK", "W/\"3\""]));
    assert!(entries[2].get("resource").is_none());
    for entry in entries {
        assert_eq!(entry["fullUrl"], format!("{}{path}", subject.base));
    }
    let time = second["meta"]["lastUpdated"].as_str().unwrap().replace('+', "%2B");
    for (query, expected) in [
        (format!("_since={time}"), 2),
        (format!("_at=lt{time}"), 1),
        (format!("_at=ge{time}"), 2),
        (format!("_at=ge{time}&_at=le{time}"), 1),
        ("_at=2001".to_owned(), 0),
    ] {
        let cut = found(&subject.loc, &format!("{path}/_history?{query}")).await;
        assert_eq!(cut["total"], expected, "{query}");
    }
    let page = found(&subject.loc, &format!("{path}/_history?_count=1&_page=2")).await;
    assert_eq!((count(&page), &page["total"]), (1, &json!(3)));
    assert_eq!(relations(&page), ["self", "first", "previous", "next", "last"]);
    let unknown = found(&subject.loc, &format!("/Patient/{}/_history", uuid::Uuid::new_v4())).await;
    assert_eq!(unknown["total"], 0);
    for target in ["/Patient/_history?_count=1", "/_history?_count=1"] {
        let all = found(&subject.loc, target).await;
        assert!(all["total"].as_u64().unwrap() >= 3);
    }
}

#[tokio::test]
async fn the_search_of_an_attached_engine_finds_its_subscription_and_what_it_missed() {
    let subject = untouched().await;
    for (criteria, expected) in [("Task?status=requested", 1), ("QuestionnaireResponse?status=completed", 1)] {
        let criteria = criteria.replace('?', "%3F").replace('=', "%3D");
        let target =
            format!("/Subscription?criteria={criteria}&status=active&type=websocket&payload=application/fhir%2Bjson");
        let answer = subject.loc.get_with(&target, STRICT).await.expect(200).json();
        assert_eq!(answer["total"], expected);
    }
    if is_foreign() {
        println!("skipped in part: the zone of the node is not known");
        return;
    }
    let subject = shared().await;
    let id = subject.create(&seed::task("loc", 1)).await;
    let updated = found(&subject.loc, &format!("/Task/{id}")).await["meta"]["lastUpdated"].clone();
    let format = time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(updated.as_str().unwrap(), &format).unwrap();
    // Local time without zone, as its client writes it; the zone of DSF nodes, whatever that of the machine is.
    let offset = central_european(at);
    let text = |at: time::OffsetDateTime| {
        let at = at.to_offset(offset);
        let text = at.format(time::macros::format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]"
        ));
        text.unwrap()
    };
    let missed = async |at: time::OffsetDateTime| {
        let target =
            format!("/Task?status=requested&_lastUpdated=gt{}&_count=20&_page=1&_sort=_lastUpdated&_id={id}", text(at));
        subject.loc.get_with(&target, STRICT).await.expect(200).json()["total"].as_u64().unwrap()
    };
    assert_eq!(missed(at - time::Duration::milliseconds(1)).await, 1);
    assert_eq!(missed(at).await, 0);
}

/// The offset of Central European Time at a time, as `date` tells it.
fn central_european(at: time::OffsetDateTime) -> time::UtcOffset {
    let output = std::process::Command::new("date")
        .args(["-d", &format!("@{}", at.unix_timestamp()), "+%z"])
        .env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        .output()
        .expect("date");
    let text = String::from_utf8(output.stdout).unwrap();
    let format = time::macros::format_description!("[offset_hour sign:mandatory][offset_minute]");
    time::UtcOffset::parse(text.trim(), format).unwrap()
}
