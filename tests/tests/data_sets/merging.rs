//! Data sets that are merged or not, and what is left of them.

use serde_json::Value;
use synthetic::Consent;
use synthetic::sharing::{DEFINITION, SharedTruth};
use tests::command::Output;
use tests::{Network, until};

use super::run::Run;
use super::stores::{assert_stores_hold_only_what_they_may, dump};
use super::{PERSONS, STEP_TIME, command, network, path, today};

#[tokio::test]
async fn share_c01_c02_c03_c04_c05_c06_a_data_set_is_merged_and_nobody_sees_what_is_not_theirs() {
    let network = network();
    let run = Run::request(network, "whole", &[], &["--decision", "UAC 12"]);
    let truth = SharedTruth::of(&PERSONS, &[0, 1, 2], today());
    for (place, site) in ["dic-1", "dic-2", "dic-3"].into_iter().enumerate() {
        run.waits_for(site, "approve-extraction").await;
        let directory = path(&network.node(site).directory);
        let shown = done(&["data-set", "approve", &run.id, &directory, "--show", "--format", "json"]).json();
        let answer = |link: &str| {
            let mut items = shown["item"].as_array().unwrap().iter();
            items.find(|item| item["linkId"] == link).unwrap()["answer"][0].clone()
        };
        // Withdrawn, ended and missing consents are counted, and only those who permit it are sent.
        let adults = PERSONS.patients_of(u32::try_from(place).unwrap()).filter(|patient| patient.age(today()) >= 18);
        assert_eq!(answer("cohort")["valueInteger"], adults.count() as u64);
        assert_eq!(answer("persons")["valueInteger"], truth.sites[place]);
        let consent = answer("consent")["valueString"].as_str().unwrap().to_owned();
        assert!(consent.starts_with(&format!("{} permitted", truth.sites[place])), "{consent}");
        // Facts from before a consent are left out, and with a retrospective consent they are there (C6).
        let left_out = answer("left-out")["valueString"].as_str().unwrap().to_owned();
        let (early, earlier) = outside_of_consent(u32::try_from(place).unwrap());
        assert!(early > 0 && earlier > 0, "{early} facts go, {earlier} stay");
        assert!(left_out.contains(&format!("{early} resources outside")), "{left_out}, not {early}");
        assert!(["no consent", "ended", "does not permit"].iter().all(|reason| consent.contains(reason)), "{consent}");
        assert_eq!(answer("decision")["valueString"], "UAC 12");
        run.approve(site).await;
    }
    run.waits_for("dms", "release-data-set").await;
    assert_stores_hold_only_what_they_may(network, &PERSONS, &["dic-1", "dic-2", "dic-3"]);
    run.release().await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(Run::outcomes(&ended).values().all(|code| code == "merged"), "{ended:#}");
    run.fetch().assert_is(&truth);
    for site in ["dic-1", "dic-2", "dic-3", "ttp"] {
        let done = run.done(site).await;
        assert_ne!(done["status"], "failed", "{site}: {done:#}");
    }
    for node in ["dic-1", "ttp", "dms"] {
        assert_eq!(readable_deliveries(network, node, &run.id).await, 0, "what was sealed for {node} is deleted");
    }
}

/// Facts of adults who permit the use from before their consent: those that must go, and those that may stay.
fn outside_of_consent(site: u32) -> (usize, usize) {
    let (mut early, mut earlier) = (0, 0);
    for patient in PERSONS.patients_of(site).filter(|patient| patient.age(today()) >= 18) {
        let Consent::Permitted { from, retrospective } = patient.consent else { continue };
        let days = patient.laboratory.iter().map(|result| result.on);
        let days = days.chain(patient.diagnoses.iter().map(|diagnosis| diagnosis.on));
        let before = days.filter(|day| *day < from).count();
        if retrospective { earlier += before } else { early += before }
    }
    (early, earlier)
}

pub(super) fn done(arguments: &[&str]) -> Output {
    command(arguments).expect(0)
}

/// Deliveries of a run to a node that it can still fetch at their senders.
async fn readable_deliveries(network: &Network, node: &str, run: &str) -> usize {
    let client = network.organization(node, node);
    let found = tests::search::all(&client, "Task", "").await;
    let of_run = |task: &&Value| tests::tasks::value(task, "input", "business-key").as_deref() == Some(run);
    let mut left = 0;
    for task in found.iter().filter(of_run) {
        for input in task["input"].as_array().unwrap() {
            let Some(url) = input["valueUrl"].as_str().filter(|url| url.contains("/Binary/")) else { continue };
            // Deliveries to this node stand at their senders.
            let (sender, id) = url.split_once("/Binary/").unwrap();
            let sender = network.nodes().into_iter().find(|node| node.base_url == sender).unwrap();
            let answer = network.organization(node, &sender.name).get(&format!("/Binary/{id}")).await;
            left += usize::from(answer.status == 200);
        }
    }
    left
}

#[tokio::test]
async fn share_c07_with_too_few_persons_no_site_takes_part_and_the_portal_is_told() {
    let run = Run::request(network(), "small", &[], &["--minimum-cohort", "100000"]);
    let ended = run.ended("portal").await;
    assert_eq!((ended["status"].as_str(), ended["failure"].as_str()), (Some("failed"), Some("no-sites")), "{ended:#}");
    let outcomes = Run::outcomes(&ended);
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.values().all(|code| code == "cohort-too-small"), "{ended:#}");
    let refused = command(&[
        "data-set",
        "fetch",
        &run.id,
        &path(&network().node("portal").directory),
        "--into",
        &path(&network().root().join("nothing")),
    ])
    .expect(1);
    assert!(refused.err.contains("no-sites"), "{}", refused.err);
    let site = run.ended("dic-1").await;
    assert_eq!(site["status"], "completed", "a decision is no failure: {site:#}");
}

#[tokio::test]
async fn share_c08_c12_who_refuses_or_is_late_is_named_and_the_others_go_on() {
    let network = network();
    let run = Run::request(network, "some", &[], &["--approval-time", "PT75S"]);
    run.waits_for("dic-1", "approve-extraction").await;
    let refusal =
        ["data-set", "approve", &run.id, &path(&network.node("dic-1").directory), "--refuse", "--reason", "no"];
    done(&refusal);
    run.approve("dic-2").await;
    // Nobody answers at dic-3.
    run.release().await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let outcomes = Run::outcomes(&ended);
    let told = |site: &str| outcomes[&network.node(site).organization_identifier].as_str();
    assert_eq!(told("dic-1"), "declined");
    assert_eq!(told("dic-2"), "merged");
    assert!(["no-approval", "no-filters"].contains(&told("dic-3")), "{outcomes:?}");
    run.fetch().assert_is(&SharedTruth::of(&PERSONS, &[1], today()));
    let late = run.ended("dic-3").await;
    assert_eq!(Run::outcomes(&late).into_values().collect::<Vec<_>>(), ["no-approval"], "{late:#}");
    assert_eq!(late["waits-for"], "", "nobody answers in vain");
}

#[tokio::test]
async fn a_data_set_that_is_not_released_reaches_nobody() {
    let network = network();
    let run = Run::request(network, "kept", &["dic-1", "dic-2"], &[]);
    run.approve("dic-1").await;
    run.approve("dic-2").await;
    run.waits_for("dms", "release-data-set").await;
    done(&["data-set", "release", &run.id, &path(&network.node("dms").directory), "--refuse"]);
    let ended = run.ended("portal").await;
    assert_eq!(
        (ended["status"].as_str(), ended["failure"].as_str()),
        (Some("failed"), Some("not-released")),
        "{ended:#}"
    );
    let dms = run.ended("dms").await;
    assert!(dms["deleted"].is_string(), "what was merged is gone: {dms:#}");
}

#[tokio::test]
async fn share_c13_after_the_retention_nothing_is_left_at_the_data_management_site() {
    let network = network();
    let run = Run::request(network, "short", &["dic-3"], &["--retention", "PT60S"]);
    run.approve("dic-3").await;
    run.release().await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let delivery = provided(network, &run.id).await;
    let data = run.fetch();
    data.assert_is(&SharedTruth::of(&PERSONS, &[2], today()));
    // The table of pseudonyms and the list of who was sent go too.
    for node in ["dms", "ttp", "dic-3"] {
        let ended = run.ended(node).await;
        assert_eq!(ended["status"], "completed", "{node}: {ended:#}");
        assert!(ended["deleted"].is_string(), "{node}: {ended:#}");
    }
    // Nobody can withdraw from or be found by what is not there any more.
    run.at("dic-3", "withdraw", &[]).expect(0);
    let late = run.later_ended("dic-3", "withdrawConsent").await;
    assert!(late["error"].as_str().unwrap().contains("nothing of this run is kept"), "{late:#}");
    let gone = network.organization("portal", "dms").get(&delivery).await;
    assert_ne!(gone.status, 200, "the access of the portal has ended");
    // So does the copy of the portal, and who asks for it is told so.
    run.until_at("the end of the copy", "portal", |status| status["deleted"].is_string()).await;
    let into = network.root().join("too-late");
    let portal = path(&network.node("portal").directory);
    let late = command(&["data-set", "fetch", &run.id, &portal, "--into", &path(&into)]).expect(1);
    assert!(late.err.contains("was deleted at") && !into.is_dir(), "{}", late.err);
    for part in data.manifest["parts"].as_array().unwrap() {
        let (id, _) = part["name"].as_str().unwrap().split_once('/').unwrap();
        let left = network.organization("portal", "portal").get(&format!("/Binary/{id}")).await;
        assert_ne!(left.status, 200, "a file of the copy is at the portal");
    }
    // Nor can anything of it be read in the files of the stores. Pseudonyms belong to one project and are nowhere else.
    let persons: Vec<String> =
        data.of_type("Patient").step_by(20).map(|patient| patient["id"].as_str().unwrap().to_owned()).collect();
    assert!(persons.len() > 5);
    for name in ["portal", "dms", "ttp"] {
        let node = network.node(name);
        until(&format!("nothing is left in the files of {name}"), STEP_TIME, async || {
            let text = dump(&node);
            (!persons.iter().any(|person| text.contains(person.as_str()))).then_some(())
        })
        .await;
    }
}

/// Path of the sealed manifest that the portal was given.
async fn provided(network: &Network, run: &str) -> String {
    let tasks = tests::search::all(&network.organization("portal", "portal"), "Task", "").await;
    let is_answer = |task: &&Value| {
        tests::tasks::value(task, "input", "business-key").as_deref() == Some(run)
            && tests::tasks::value(task, "input", "message-name").as_deref() == Some("dataSetProvided")
    };
    let task = tasks.iter().find(is_answer).unwrap();
    let mut urls = task["input"].as_array().unwrap().iter().filter_map(|input| input["valueUrl"].as_str());
    let url = urls.next_back().unwrap();
    format!("/Binary/{}", url.rsplit('/').next().unwrap())
}

#[tokio::test]
async fn share_b10_a_sealed_file_can_be_fetched_by_the_one_it_is_for() {
    let network = network();
    let run = Run::request(network, "sealed", &["dic-2"], &[]);
    run.approve("dic-2").await;
    run.release().await;
    run.ended("portal").await;
    let delivery = provided(network, &run.id).await;
    assert_eq!(network.organization("portal", "dms").get(&delivery).await.status, 200);
    for other in ["dic-1", "dic-2", "ttp"] {
        let answer = network.organization(other, "dms").get(&delivery).await;
        assert!([403, 404].contains(&answer.status), "{other}: {}", answer.status);
    }
    assert_ne!(
        network.stranger("dms").try_send("GET", &delivery, &[], "").await.ok().map(|answer| answer.status),
        Some(200)
    );
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let network = network();
    let portal = path(&network.node("portal").directory);
    let file = network.root().join("wrong.json");
    std::fs::write(&file, "{}").unwrap();
    let refused = command(&["data-set", "request", &portal, "--project", "p", "--definition", &path(&file)]).expect(2);
    assert!(refused.err.contains("cohortDefinition is missing"), "{}", refused.err);
    let refused = command(&["data-set", "status", &portal, "--run", "nonsense"]).expect(1);
    assert!(refused.err.contains("nonsense"), "{}", refused.err);
    let refused = command(&["data-set", "approve", "nonsense", &portal]).expect(1);
    assert!(refused.err.contains("nothing of run nonsense waits"), "{}", refused.err);
    for (wrong, words) in [
        (["--approval-time", "tomorrow"], "approval time"),
        (["--retention", "P999Y"], "retention"),
        (["--site", "nobody.example"], "nobody.example has not the role DIC"),
        (["--data-management-site", "ttp.example"], "ttp.example has not the role DMS"),
        (["--project", "a b"], "letters, digits"),
    ] {
        let project = if wrong[0] == "--project" { &[][..] } else { &["--project", "wrong"][..] };
        let definition = network.root().join(format!("crtdl-wrong-{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&definition, DEFINITION).unwrap();
        let definition = path(&definition);
        let mut arguments = vec!["data-set", "request", &portal, "--definition", &definition, "--format", "json"];
        arguments.extend(project);
        arguments.extend(wrong);
        let answer = command(&arguments).expect(0).json();
        let run = Run { network, id: answer["run"].as_str().unwrap().to_owned() };
        let ended = run.ended("portal").await;
        let error = ended["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{wrong:?}: {ended:#}");
    }
}
