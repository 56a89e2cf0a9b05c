//! Search results as Bundles: handling, includes, paging (cases 29 to 45); what matches is tested in `fhir` and `store`.

use serde_json::{Value, json};

use super::support::{BASE, Node, Who, patient, tag_all};

#[tokio::test]
async fn fhir_029_to_031_unknown_parameters_are_a_warning_or_an_error() {
    let node = Node::start().await;
    assert_eq!(node.count(Who::Loc, "/Organization").await, 3);
    let lenient = node.get(Who::Loc, "/Endpoint?not-supported-parameter=x").await.expect(200).json();
    let entries = lenient["entry"].as_array().unwrap();
    assert_eq!((lenient["total"].as_u64(), entries.len()), (Some(2), 3));
    assert_eq!(entries[0]["search"]["mode"], "match");
    assert_eq!(entries[2]["search"]["mode"], "outcome");
    assert_eq!(entries[2]["resource"]["issue"][0]["severity"], "warning");
    let strict = [("prefer", "handling=strict")];
    node.get_with(Who::Loc, "/Endpoint?not-supported-parameter=x", &strict).await.expect_outcome(400, "processing");
    node.get_with(Who::Loc, "/Measure?depends-on=abc", &strict).await.expect(400);
}

#[tokio::test]
async fn fhir_032_to_034_includes_follow_the_matches() {
    let node = Node::start().await;
    for query in ["/Endpoint?_include=Endpoint:organization", "/Endpoint?_revinclude=Organization:endpoint"] {
        let bundle = node.get(Who::Loc, query).await.expect(200).json();
        let modes: Vec<_> =
            bundle["entry"].as_array().unwrap().iter().map(|entry| entry["search"]["mode"].clone()).collect();
        assert_eq!(modes, ["match", "match", "include", "include"], "{query}");
        assert_eq!(bundle["total"], 2);
    }
    let bundle = node.get(Who::Loc, "/Organization?_revinclude=Endpoint:foo").await.expect(200).json();
    assert_eq!((bundle["total"].as_u64(), bundle["entry"].as_array().unwrap().len()), (Some(3), 4));
    let strict = [("prefer", "handling=strict")];
    node.get_with(Who::Loc, "/Organization?_revinclude=Endpoint:foo", &strict).await.expect(400);
}

#[tokio::test]
async fn fhir_035_to_043_pages_have_links_and_exact_totals() {
    let node = Node::start().await;
    for _ in 0..5 {
        node.post(Who::Loc, "/Patient", &patient(&[tag_all()])).await.expect(201);
    }
    let page = node.get(Who::Ext, "/Patient?_count=2&_page=2").await.expect(200).json();
    assert_eq!(page["total"], 5);
    assert_eq!(page["entry"].as_array().unwrap().len(), 2);
    let relations: Vec<_> = page["link"].as_array().unwrap().iter().map(|link| link["relation"].clone()).collect();
    assert_eq!(relations, ["self", "first", "previous", "next", "last"]);
    assert_eq!(page["link"][0]["url"], format!("{BASE}/Patient?_count=2&_page=2"));
    let first = &page["entry"][0];
    assert_eq!(first["fullUrl"], format!("{BASE}/Patient/{}", first["resource"]["id"].as_str().unwrap()));
    let none = node.get(Who::Loc, "/Patient?_count=0").await.expect(200).json();
    assert_eq!((&none["total"], none.get("entry"), none["link"].as_array().unwrap().len()), (&json!(5), None, 1));
    node.get(Who::Loc, "/Measure?_page=2147483647&_count=2147483647").await.expect(200);
    let history = node.get(Who::Loc, "/Patient/_history?_count=2&_page=3").await.expect(200).json();
    assert_eq!(history["total"], 5);
    assert_eq!(history["entry"].as_array().unwrap().len(), 1);
    assert_eq!(history["link"][0]["url"], format!("{BASE}/Patient/_history?_count=2&_page=3"));
    assert_eq!(node.count(Who::Loc, "/Patient/_history?_since=2999-01-01T00:00:00Z").await, 0);
    assert_eq!(node.count(Who::Loc, "/Patient/_history?_at=ge2020-01-01").await, 5);
    node.get(Who::Loc, "/Patient/_history?_since=yesterday").await.expect(400);
}

#[tokio::test]
async fn a_policy_can_refuse_unknown_parameters_whatever_the_client_prefers() {
    let node = Node::start().await;
    let text: Vec<(String, String)> = policies::default_files()
        .iter()
        .map(|(name, text)| {
            let text = text.replace("unknown-parameters = \"prefer\"", "unknown-parameters = \"reject\"");
            ((*name).to_owned(), text)
        })
        .collect();
    node.policies.activate(std::sync::Arc::new(policies::Policy::load(&text).unwrap()));
    node.get(Who::Loc, "/Endpoint?not-supported-parameter=x").await.expect(400);
    node.get(Who::Loc, "/Endpoint?status=active").await.expect(200);
}

/// A rule about reading holds whatever leads to the resource (`access-and-edge` A14).
#[tokio::test]
async fn attack_a14_what_a_rule_denies_to_read_is_in_no_answer() {
    let node = Node::start().await;
    let included = "/Organization?identifier=Test_Organization&_include=Organization:endpoint";
    let modes = |bundle: &Value| -> Vec<String> {
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["resource"]["resourceType"].as_str().unwrap().to_owned()).collect()
    };
    let before = node.get(Who::Ext, included).await.expect(200).json();
    assert_eq!(modes(&before), ["Organization", "Endpoint"]);
    let history = node.get(Who::Ext, "/_history?_count=200").await.expect(200).json();
    assert!(modes(&history).contains(&"Endpoint".to_owned()));

    let deny = "[[rule]]\nid = \"no-endpoints\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = { operations = [\"read\"], types = [\"Endpoint\"] }\n";
    node.policies.activate(std::sync::Arc::new(super::support::policy(deny)));
    assert_eq!(modes(&node.get(Who::Ext, included).await.expect(200).json()), ["Organization"]);
    assert_eq!(node.count(Who::Ext, "/Endpoint").await, 0, "a search shows no more than a read");
    let after = node.get(Who::Ext, "/_history?_count=200").await.expect(200).json();
    assert!(!modes(&after).contains(&"Endpoint".to_owned()), "{after}");
    assert!(after["total"].as_u64() < history["total"].as_u64());
    assert_eq!(modes(&node.get(Who::Loc, included).await.expect(200).json()), ["Organization", "Endpoint"]);
}

#[tokio::test]
async fn attack_a14_rules_about_networks_hold_for_answers_too() {
    let node = Node::start().await;
    // Requests of the tests come from 192.0.2.1.
    let of = |networks: &str| {
        format!(
            "[[rule]]\nid = \"no-endpoints\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = {{ operations = [\"read\"], types = [\"Endpoint\"] }}\nnetworks = [\"{networks}\"]\n"
        )
    };
    let endpoint = node.get(Who::Ext, "/Endpoint").await.expect(200).json()["entry"][0]["resource"]["id"].clone();
    let version = format!("/Endpoint/{}/_history/1", endpoint.as_str().unwrap());
    for (networks, count, status) in [("192.0.2.0/24", 0, 403), ("10.0.0.0/8", 2, 200)] {
        node.policies.activate(std::sync::Arc::new(super::support::policy(&of(networks))));
        assert_eq!(node.count(Who::Ext, "/Endpoint").await, count, "{networks}");
        assert_eq!(node.count(Who::Ext, "/Endpoint/_history").await, count, "{networks}");
        node.get(Who::Ext, &version).await.expect(status);
        assert_eq!(node.count(Who::Loc, "/Endpoint").await, 2, "it is about others");
    }
}

/// What a search may not ask, a condition may not ask either.
#[tokio::test]
async fn attack_a13_a16_conditions_ask_no_more_than_searches() {
    let node = Node::start().await;
    let narrow = |text: &str| text.replace("chained = true", "chained = false").replace("has = true", "has = false");
    let files: Vec<(&str, String)> =
        policies::default_files().iter().map(|(name, text)| (*name, narrow(text))).collect();
    node.policies.activate(std::sync::Arc::new(policies::Policy::load(&files).unwrap()));
    let body = patient(&[tag_all()]);
    for (criteria, status) in [
        ("identifier=http://test.example/sid|1", 201),
        ("organization.identifier=x|y", 400),
        ("organization%2Eidentifier=x|y", 400),
        ("_has:Group:member:_id=1", 400),
        ("%5fhas:Group:member:_id=1", 400),
    ] {
        let condition = [("if-none-exist", criteria)];
        let alone = node.write_with(Who::Loc, "POST", "/Patient", &condition, &body).await.expect(status);
        let entry = json!({ "fullUrl": format!("urn:uuid:{}", uuid::Uuid::new_v4()), "resource": body,
            "request": { "method": "POST", "url": "Patient", "ifNoneExist": criteria.replace("sid|1", "sid|2") } });
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
        let answer = node.post(Who::Loc, "", &bundle).await;
        assert_eq!(answer.status.is_success(), status == 201, "{criteria}");
        if status == 400 {
            for answer in [alone, answer] {
                assert!(String::from_utf8_lossy(&answer.body).contains("the policy does not allow"), "{criteria}");
            }
        }
    }
}
