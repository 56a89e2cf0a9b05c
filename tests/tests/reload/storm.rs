//! Everything that can change changes again and again while partners send requests: the server certificate, the policy,
//! the allow-list. Nobody is failed, and every decision was made by one policy and one allow-list.
//!
//! Two policies take turns whose rules bear the name of the policy, and in the allow-list the partner takes turns in having
//! and not having the role that one of the rules is about. So each record of the audit log shows by which policy and by which
//! list it was decided, beside the versions that it names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certs::development::{Authority, KeyType, Subject, Validity};
use serde_json::{Value, json};
use tests::network::Network;
use tests::{Client, Node, binaries, search, wire};

use super::reload;

/// Rotations of the certificate, reloads of the policy, changes of the allow-list.
const QUICK: [usize; 3] = [3, 3, 4];
const SLOW: [usize; 3] = [100, 100, 20];
/// Partners' connections that send requests all the time.
const CLIENTS: usize = 4;
const ROLE_RULE: &str = "aa-role";
const PLAIN_RULE: &str = "remote-read";

#[tokio::test]
async fn certificates_policies_and_allow_lists_change_under_load_and_no_decision_is_a_mixture() {
    let [rotations, policies, lists] = if binaries::is_slow() { SLOW } else { QUICK };
    let network = Network::start(1);
    let portal = network.node("portal");
    let local = network.organization("portal", "portal");
    let affiliation = Affiliation::of(&local, "dic-1.example").await;
    let rules = portal.text("policies/rules.toml");
    put_policy(&portal, &rules, &affiliation, 0).await;

    let stop = Arc::new(AtomicBool::new(false));
    let running = requests(&network.organization("dic-1", "portal"), &stop);
    let mut issuer = Issuer::new(&network);
    let mut membership = affiliation.resource.clone();
    // Interleaved, so that each kind of change meets the others.
    for turn in 0..rotations.max(policies).max(lists) {
        if turn < rotations {
            issuer.rotate(&portal);
            reload(&portal, true).await;
        }
        if turn < policies {
            put_policy(&portal, &rules, &affiliation, turn + 1).await;
        }
        if turn < lists {
            membership["active"] = json!(turn % 2 == 1);
            let path = format!("/OrganizationAffiliation/{}", membership["id"].as_str().unwrap());
            membership = local.put(&path, &membership).await.expect(200).json();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let served: usize = running.join_all().await.into_iter().sum();
    println!("{served} requests during {rotations} rotations, {policies} policies, {lists} allow-lists");
    assert!(served > 20, "{served}");
    no_decision_is_a_mixture(&portal, policies, lists);
}

/// The membership of an organisation, and what its role is called.
struct Affiliation {
    resource: Value,
    parent: String,
    role: String,
}

// === impl Affiliation ===

impl Affiliation {
    async fn of(local: &Client, member: &str) -> Self {
        let identifier = |organization: &Value| organization["identifier"][0]["value"].as_str().unwrap().to_owned();
        let by_id: BTreeMap<String, String> = search::all(local, "Organization", "")
            .await
            .iter()
            .map(|known| (format!("Organization/{}", known["id"].as_str().unwrap()), identifier(known)))
            .collect();
        let name = |reference: &Value| {
            let reference = reference["reference"].as_str().unwrap();
            by_id.iter().find(|(id, _)| reference.ends_with(id.as_str())).map(|(_, name)| name.clone()).unwrap()
        };
        let all = search::all(local, "OrganizationAffiliation", "").await;
        let resource = all.into_iter().find(|known| name(&known["participatingOrganization"]) == member).unwrap();
        let parent = name(&resource["organization"]);
        let role = resource["code"][0]["coding"][0]["code"].as_str().unwrap().to_owned();
        Self { resource, parent, role }
    }
}

/// The shipped rules under names that bear the number of the policy's kind, and one for members in their role.
async fn put_policy(node: &Node, rules: &str, affiliation: &Affiliation, turn: usize) {
    let (kind, Affiliation { parent, role, .. }) = (turn % 2, affiliation);
    let own = format!(
        "[[rule]]\nid = \"{ROLE_RULE}-{kind}\"\neffect = \"allow\"\nsubject = \"role:{parent}/{role}\"\nmatch = {{ operations = [\"read\", \"search\"], types = [\"*\"] }}\n\n[[rule]]"
    );
    let named = rules.replace(&format!("id = \"{PLAIN_RULE}\""), &format!("id = \"{PLAIN_RULE}-{kind}\""));
    let text = format!("{}# turn {turn}\n", named.replacen("[[rule]]", &own, 1));
    std::fs::write(node.path("policies/rules.toml"), text).unwrap();
    reload(node, true).await;
}

/// Makes server certificates of the network's authority.
struct Issuer {
    authority: Authority,
    number: usize,
}

// === impl Issuer ===

impl Issuer {
    fn new(network: &Network) -> Self {
        let read = |name: &str| std::fs::read_to_string(network.authority().join(name)).unwrap();
        let authority = Authority::from_pem(&read("ca.pem"), &read("ca.key"), "authority").unwrap();
        Self { authority, number: 0 }
    }

    fn rotate(&mut self, node: &Node) {
        self.number += 1;
        let validity = Validity::days(time::OffsetDateTime::now_utc(), 60);
        let subject = Subject::german("portal.example", &format!("localhost {}", self.number));
        let issued = self.authority.issue_server(&subject, &["localhost"], KeyType::EcdsaP256, validity).unwrap();
        std::fs::write(node.path("certificates/server.pem"), issued.chain_pem()).unwrap();
        std::fs::write(node.path("certificates/server.key"), issued.private_key_pem()).unwrap();
    }
}

/// Searches on connections that are renewed now and then, each of which must be answered.
fn requests(client: &Client, stop: &Arc<AtomicBool>) -> tokio::task::JoinSet<usize> {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, stop) = (client.clone(), Arc::clone(stop));
        running.spawn(async move {
            let get = format!("GET /fhir/Organization?_count=1 HTTP/1.1\r\nHost: {}\r\n\r\n", client.authority());
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut stream = client.connect().await.unwrap();
                for _ in 0..10 {
                    let answer = wire::exchange(&mut stream, &get).await.expect("an answer");
                    assert_eq!(answer.status, 200, "after {served}: {}", answer.text());
                    served += 1;
                }
            }
            served
        });
    }
    running
}

/// Each version of the policy is of one kind, each version of the allow-list has the role or has it not.
fn no_decision_is_a_mixture(node: &Node, policies: usize, lists: usize) {
    let (mut by_policy, mut by_list): (BTreeMap<String, &str>, BTreeMap<u64, &str>) = Default::default();
    let log = node.text("audit/gateway.log");
    let records: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| line["record"].clone())
        .collect();
    let mut decisions = 0;
    for record in &records {
        let is_ours = record["name"] == "dic-1.example" && record["interaction"] == "search";
        // What was decided before the first of these policies bears no kind.
        let Some(rule) = record["rule"].as_str().filter(|rule| is_ours && *rule != PLAIN_RULE) else { continue };
        let Some((name, kind)) = rule.rsplit_once('-') else { panic!("{record}") };
        assert!(["0", "1"].contains(&kind) && [ROLE_RULE, PLAIN_RULE].contains(&name), "{record}");
        let policy = record["policy-version"].as_str().unwrap().to_owned();
        assert_eq!(*by_policy.entry(policy).or_insert(kind), kind, "rule and policy do not fit: {record}");
        let list = record["snapshot-version"].as_u64().unwrap();
        assert_eq!(*by_list.entry(list).or_insert(name), name, "rule and allow-list do not fit: {record}");
        decisions += 1;
    }
    println!("{decisions} decisions by {} policies and {} allow-lists", by_policy.len(), by_list.len());
    assert!(by_policy.len() > policies / 2 && by_list.len() > lists / 2, "{by_policy:?} {by_list:?}");
    let names: std::collections::BTreeSet<&str> = by_list.values().copied().collect();
    assert_eq!(names.len(), 2, "both kinds of allow-list were decided by");
}
