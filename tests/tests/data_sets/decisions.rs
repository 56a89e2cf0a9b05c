//! What people decide: approvals, four eyes, re-identification, withdrawal.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use synthetic::sharing::{DEFINITION, SharedTruth};
use synthetic::{Consent, Patient};
use tests::network::{Node, Process};
use tests::{Network, until};

use super::merging::done;
use super::run::{DataSet, Run};
use super::stores::{assert_stores_hold_only_what_they_may, dump};
use super::{ALONE, PERSONS_OF_TWO, STEP_TIME, command, indexed, path, today};

/// One network for what changes keys, settings or records of a site.
#[tokio::test]
async fn share_c08_c09_c14_c15_who_decides_and_who_withdraws_later() {
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(2));
    only_who_has_what_must_be_there(&network).await;
    let run = Run::request(&network, "later", &[], &["--pseudonyms", "table"]);
    run.waits_for("dic-1", "approve-extraction").await;
    let announced = announced_key(&network, "dic-1").await;
    new_sealing_key_and_four_eyes(&network.node("dic-1"));
    network.kill_and_await_restart("dic-1", Process::Engine).await;
    // Beside four eyes this takes over what was sealed with the key before, and what comes is sealed with the new one.
    run.approve("dic-2").await;
    let second = Run::request(&network, "eyes", &["dic-1"], &[]);
    two_persons_approve(&second).await;
    run.approve("dic-1").await;
    run.release().await;
    assert_eq!(run.ended("portal").await["status"], "completed");
    assert_ne!(announced_key(&network, "dic-1").await, announced);
    second.release().await;
    let ended = second.ended("portal").await;
    assert!(Run::outcomes(&ended).values().all(|code| code == "merged"), "{ended:#}");
    let before = run.fetch();
    before.assert_is(&SharedTruth::of(&PERSONS_OF_TWO, &[0, 1], today()));
    assert_stores_hold_only_what_they_may(&network, &PERSONS_OF_TWO, &["dic-1", "dic-2"]);

    let sites = before.sites();
    let (person, _) = sites.iter().find(|(_, sites)| sites.len() == 2).unwrap();
    let person = person.strip_prefix("Patient/").unwrap();
    re_identification_needs_two_approvals(&run, &before, person).await;
    let patient = run.at("dic-1", "patient", &["--format", "json"]).expect(0).json()["patients"][0].clone();
    a_withdrawal_reaches_the_portal(&run, &before, person, patient.as_str().unwrap()).await;
    a_request_that_no_site_gets_ends_at_once(&network).await;
    a_cohort_that_has_become_too_small_is_not_sent(&network).await;
    whoever_asks_is_not_told_where_records_lie(&network).await;
}

/// The minimum of a site holds when something leaves, not only when somebody approves it.
async fn a_cohort_that_has_become_too_small_is_not_sent(network: &Network) {
    let all = SharedTruth::of(&PERSONS_OF_TWO, &[0, 1], today()).sites[1].to_string();
    let run = Run::request(network, "fewer", &["dic-2"], &["--minimum-cohort", &all]);
    run.waits_for("dic-2", "approve-extraction").await;
    let permits =
        |patient: &Patient| matches!(patient.consent, Consent::Permitted { .. }) && patient.age(today()) >= 18;
    let withdrawn = PERSONS_OF_TWO.patients_of(1).find(permits).unwrap();
    withdraw_in_records(&network.node("dic-2"), &withdrawn.id);
    done(&["source", "index", &path(&network.node("dic-2").directory)]);
    run.approve("dic-2").await;
    let ended = run.ended("portal").await;
    assert_eq!(Run::outcomes(&ended).into_values().collect::<Vec<_>>(), ["cohort-too-small"], "{ended:#}");
}

/// The portal reads the Task that it has made at a site, with the reason for which it failed.
async fn whoever_asks_is_not_told_where_records_lie(network: &Network) {
    let records = network.node("dic-2").directory.join("records");
    for entry in std::fs::read_dir(&records).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text + "\n").unwrap();
        }
    }
    let run = Run::request(network, "unready", &["dic-2"], &[]);
    let ended = run.ended("dic-2").await;
    assert_eq!((ended["status"].as_str(), ended["failure"].as_str()), (Some("failed"), Some("records-not-ready")));
    let found = tests::search::all(&network.organization("portal", "dic-2"), "Task", "").await;
    let of_run = |task: &&Value| tests::tasks::value(task, "input", "business-key").as_deref() == Some(&run.id);
    let told = found.iter().find(of_run).expect("the portal reads its own Task").to_string();
    assert!(told.contains("records-not-ready"), "{told}");
    assert!(!told.contains(&path(network.root())) && !told.contains(".ndjson"), "{told}");
}

/// Nobody would answer it before the sites' time for approving is over, which is two weeks.
async fn a_request_that_no_site_gets_ends_at_once(network: &Network) {
    let portal = network.organization("portal", "portal");
    let new = tests::members::member("gone.example", &"b".repeat(128));
    portal.post("", &tests::members::transaction(&new)).await.expect(200);
    let definition = network.root().join("crtdl-gone.json");
    std::fs::write(&definition, DEFINITION).unwrap();
    let directory = path(&network.node("portal").directory);
    let asked = ["data-set", "request", &directory, "--project", "gone", "--definition", &path(&definition)];
    let answer = command(&[&asked[..], &["--site", "gone.example", "--format", "json"]].concat()).expect(0).json();
    let run = Run { network, id: answer["run"].as_str().unwrap().to_owned() };
    let ended = run.ended("portal").await;
    assert_eq!((ended["status"].as_str(), ended["failure"].as_str()), (Some("failed"), Some("not-reached")));
    assert_eq!(Run::outcomes(&ended), BTreeMap::from([("gone.example".to_owned(), "not-reached".to_owned())]));
    assert!(run.status("dms").is_none() && run.status("ttp").is_none(), "nobody waits for what cannot come");
}

/// C9: of the adults those without a laboratory result that may be used are left out.
async fn only_who_has_what_must_be_there(network: &Network) {
    let asked = r#"{"attributeRef":"Observation.value[x]"}"#;
    assert!(DEFINITION.contains(asked));
    let definition = DEFINITION.replace(asked, r#"{"attributeRef":"Observation.value[x]","mustHave":true}"#);
    let run = Run::request_of(network, "must", &definition, &["dic-2"], &[]);
    run.waits_for("dic-2", "approve-extraction").await;
    let shown = run.at("dic-2", "approve", &["--show", "--format", "json"]).expect(0).json();
    let answer = |link: &str| {
        shown["item"].as_array().unwrap().iter().find(|item| item["linkId"] == link).unwrap()["answer"][0].clone()
    };
    let permits = |patient: &Patient| patient.age(today()) >= 18 && patient.consent.permits(today());
    let has_result = |patient: &Patient| {
        let Consent::Permitted { from, retrospective } = patient.consent else { return false };
        patient.laboratory.iter().any(|result| retrospective || from <= result.on)
    };
    let (with, without): (Vec<Patient>, Vec<Patient>) =
        PERSONS_OF_TWO.patients_of(1).filter(permits).partition(has_result);
    assert!(!without.is_empty());
    assert_eq!(answer("persons")["valueInteger"], with.len());
    let left_out = answer("left-out")["valueString"].as_str().unwrap().to_owned();
    assert!(left_out.starts_with(&format!("{} persons without", without.len())), "{left_out}");
    run.at("dic-2", "approve", &["--refuse"]).expect(0);
    assert_eq!(run.ended("portal").await["failure"], "no-sites");
}

/// The key that a node announces for what is sealed to it.
pub(super) async fn announced_key(network: &Network, node: &str) -> Value {
    let found = tests::search::all(&network.organization("portal", node), "DocumentReference", "status=current").await;
    let is_key = |resource: &&Value| resource["identifier"][0]["value"] == "public-key";
    let attachment = &found.iter().find(is_key).unwrap()["content"][0]["attachment"]["data"];
    let content = STANDARD.decode(attachment.as_str().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&content).unwrap()["key"].clone()
}

fn new_sealing_key_and_four_eyes(node: &Node) {
    let new: String = uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
    node.edit("data/sealing.keys", |keys| format!("{new}\n{keys}"));
    node.edit("node.toml", |text| format!("{text}\n[data-sharing]\nfour-eyes = true\n"));
}

/// C8: four eyes are those of two persons.
async fn two_persons_approve(run: &Run<'_>) {
    let network = run.network;
    let node = network.node("dic-1");
    run.approve("dic-1").await;
    run.waits_for("dic-1", "confirm-extraction").await;
    let directory = path(&node.directory);
    let same = command(&["data-set", "approve", &run.id, &directory]).expect(1);
    assert!(same.err.contains("four eyes"), "{}", same.err);
    run.waits_for("dic-1", "confirm-extraction").await;
    let authority = path(&network.authority().join("ca.pem"));
    let (certificate, key) = (path(&node.administrator.certificate), path(&node.administrator.private_key));
    let other = [
        "data-set",
        "approve",
        &run.id,
        &directory,
        "--node",
        &node.base_url,
        "--certificate",
        &certificate,
        "--private-key",
        &key,
        "--authority",
        &authority,
    ];
    done(&other);
}

/// C14: with one approval nobody finds out who it is, with two the site alone does.
async fn re_identification_needs_two_approvals(run: &Run<'_>, data: &DataSet, person: &str) {
    let ask = |pseudonym: &str| {
        run.at("portal", "reidentify", &["--pseudonym", pseudonym, "--reason", "finding 7"]).expect(0);
    };
    ask("0000000000000000A");
    let wrong = run.later_ended("portal", "reidentifyPerson").await;
    assert!(wrong["error"].as_str().unwrap().contains("mistyped"), "{wrong:#}");

    let waits = async |node: &str| {
        run.until_at("approve-reidentification", node, |part| {
            part["waits-for"].as_str().unwrap().contains("approve-reidentification")
        })
        .await;
    };
    ask(person);
    waits("ttp").await;
    run.at("ttp", "approve", &[]).expect(1);
    run.at("ttp", "approve", &["--reidentification", "--refuse", "--reason", "no need"]).expect(0);
    let refused = run.later_ended("portal", "reidentifyPerson").await;
    assert_eq!(refused["failure"], "declined", "{refused:#}");
    for site in ["dic-1", "dic-2"] {
        assert!(run.later(site, "reidentifyPerson").is_none(), "{site} was told of what nobody approved");
    }

    ask(person);
    waits("ttp").await;
    let shown = run.at("ttp", "approve", &["--reidentification", "--show", "--format", "json"]).expect(0);
    assert!(shown.out.contains("finding 7") && shown.out.contains(person), "{}", shown.out);
    run.at("ttp", "approve", &["--reidentification"]).expect(0);
    for site in ["dic-1", "dic-2"] {
        waits(site).await;
        let none = run.at(site, "patient", &[]).expect(1);
        assert!(none.err.contains("nobody was found"), "{}", none.err);
    }
    let shown = run.at("dic-1", "approve", &["--reidentification", "--show", "--format", "json"]).expect(0);
    assert!(shown.out.contains("finding 7") && !shown.out.contains(person), "{}", shown.out);
    run.at("dic-2", "approve", &["--reidentification", "--refuse"]).expect(0);
    run.at("dic-1", "approve", &["--reidentification"]).expect(0);
    let ended = run.later_ended("portal", "reidentifyPerson").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let told = Run::outcomes(&ended);
    assert_eq!(told[&run.network.node("dic-1").organization_identifier], "found");
    assert_eq!(told[&run.network.node("dic-2").organization_identifier], "declined");
    run.at("dic-2", "patient", &[]).expect(1);

    let found = run.at("dic-1", "patient", &["--format", "json"]).expect(0).json()["patients"].clone();
    let found = found[0].as_str().unwrap().strip_prefix("Patient/").unwrap().to_owned();
    let patient = PERSONS_OF_TWO.patients_of(0).find(|patient| patient.id == found).expect("a patient of the site");
    let shared = data.of_type("Patient").find(|patient| patient["id"] == person).unwrap();
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let birth = time::Date::parse(shared["birthDate"].as_str().unwrap(), format).unwrap();
    let days = (birth - patient.identity.birth).whole_days();
    assert!(days != 0 && days % 7 == 0 && days.abs() <= 26 * 7, "{days} days between {birth} and the patient's");
    for node in ["portal", "ttp", "dms", "dic-2"] {
        assert!(!dump(&run.network.node(node)).contains(&found), "who it is stands at {node}");
    }
    for node in ["dic-1", "dic-2"] {
        assert!(!dump(&run.network.node(node)).contains(person), "the pseudonym stands at {node}");
    }
    for node in ["ttp", "dic-1"] {
        assert_is_recorded(&run.network.node(node));
    }
}

/// The gateway has recorded who has answered a user task.
fn assert_is_recorded(node: &Node) {
    let directory = path(&node.directory);
    let found = done(&["audit", "export", &directory]);
    let answers = found.out.lines().filter(|line| line.contains("QuestionnaireResponse") && line.contains("PUT"));
    assert!(answers.count() > 0, "no answer to a user task is in the audit log of {}", node.name);
}

/// Who withdraws after the release leaves the data set, and nothing else changes.
async fn a_withdrawal_reaches_the_portal(run: &Run<'_>, before: &DataSet, person: &str, patient: &str) {
    let network = run.network;
    run.at("dic-1", "withdraw", &[]).expect(0);
    let nobody = run.later_ended("dic-1", "withdrawConsent").await;
    assert_eq!((nobody["status"].as_str(), nobody["persons"].as_str()), (Some("completed"), Some("0")), "{nobody:#}");

    let id = patient.strip_prefix("Patient/").unwrap();
    withdraw_in_records(&network.node("dic-1"), id);
    done(&["source", "index", &path(&network.node("dic-1").directory)]);
    run.at("dic-1", "withdraw", &[]).expect(0);
    // The data management site may die meanwhile.
    network.kill("dms", Process::Engine).await;
    let told = until("the withdrawal of one", STEP_TIME, async || {
        let part = run.later("dic-1", "withdrawConsent")?;
        (part["status"] == "failed" || part["persons"] == "1").then_some(part)
    })
    .await;
    assert_eq!((told["status"].as_str(), told["persons"].as_str()), (Some("completed"), Some("1")), "{told:#}");
    for (node, revision) in [("dms", "1"), ("portal", "1")] {
        let part = run.later_ended(node, "withdrawConsent").await;
        assert_eq!(
            (part["status"].as_str(), part["revision"].as_str()),
            (Some("completed"), Some(revision)),
            "{part:#}"
        );
    }

    let after = run.fetch();
    let reference = format!("Patient/{person}");
    let is_theirs = |text: &String| text.contains(&format!("\"{person}\"")) || text.contains(&reference);
    let expected: BTreeSet<String> = before.content().into_iter().filter(|text| !is_theirs(text)).collect();
    assert!(expected.len() < before.content().len());
    assert_eq!(after.content(), expected, "the others are as they were");
    let said: Vec<&Value> = after.of_type("Provenance").filter(|provenance| provenance["id"] == "withdrawn").collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["activity"]["coding"][0]["code"], "DELETE");
    assert_eq!(said[0]["target"][0]["reference"], reference.as_str());
    assert!(!after.sites().contains_key(&reference), "no other Provenance names the person");
    assert_eq!(after.manifest["revision"]["number"], 1);
    assert_eq!(after.manifest["revision"]["withdrawn"], 1);
    // What the portal and the data management site had before is gone, and the third party knows the person no more.
    for part in before.manifest["parts"].as_array().unwrap() {
        let (id, _) = part["name"].as_str().unwrap().split_once('/').unwrap();
        let left = network.organization("portal", "portal").get(&format!("/Binary/{id}")).await;
        assert_ne!(left.status, 200, "the copy before is at the portal");
    }
    run.at("portal", "reidentify", &["--pseudonym", person, "--reason", "again"]).expect(0);
    run.until_at("approve-reidentification", "ttp", |part| {
        part["waits-for"].as_str().unwrap().contains("approve-reidentification")
    })
    .await;
    run.at("ttp", "approve", &["--reidentification"]).expect(0);
    let unknown = until("the answer about somebody forgotten", STEP_TIME, async || {
        run.later("portal", "reidentifyPerson").filter(|part| part["failure"] == "unknown-person")
    })
    .await;
    assert_eq!(unknown["status"], "failed");
    run.at("dic-1", "withdraw", &[]).expect(0);
    until("a repetition that finds nobody", STEP_TIME, async || {
        run.later("dic-1", "withdrawConsent").filter(|part| part["persons"] == "0")
    })
    .await;
}

/// Changes the consent of a patient in the records of the site into a withdrawal.
fn withdraw_in_records(node: &Node, id: &str) {
    let begin = format!("{{\"resourceType\":\"Consent\",\"id\":\"{id}-consent\"");
    let mut changed = 0;
    let mut folders = vec![node.directory.join("records")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            if !text.contains(&begin) {
                continue;
            }
            let lines = text.lines().map(|line| match line.starts_with(&begin) {
                true => line.replace("\"status\":\"active\"", "\"status\":\"inactive\"") + "\n",
                false => format!("{line}\n"),
            });
            std::fs::write(&entry, lines.collect::<String>()).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "the consent of {id} stands in one file");
}
