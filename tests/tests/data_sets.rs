//! Data sets of several sites, from the request to the files at the portal, between real nodes and through the command line
//! alone. Names `share_cNN` are the cases of `data-sharing-processes.md` section 17.3.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use synthetic::sharing::{DEFINITION, SharedTruth};
use synthetic::{Network as Persons, Patient};
use tests::command::Output;
use tests::network::{Node, Process, folder};
use tests::{Network, Schleuse, until};

/// A step of a run on a busy machine, repetitions after a kill included.
const STEP_TIME: Duration = Duration::from_secs(240);
/// The persons that the demonstration network generates (`schleuse demo`).
const PERSONS: Persons = Persons { seed: 20_261_122, sites: 3, patients: 500, shared: 100 };

/// Networks of their own start one after the other: each is a dozen processes.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Three data integration centres with indexed records, for all tests that break nothing for the others.
fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| indexed(Network::start(3)))
}

fn indexed(network: Network) -> Network {
    for node in network.nodes().iter().filter(|node| node.role == "DIC") {
        command(&["source", "index", &path(&node.directory)]).expect(0);
    }
    network
}

fn command(arguments: &[&str]) -> Output {
    Schleuse::run(&arguments.iter().map(OsStr::new).collect::<Vec<_>>())
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn today() -> time::Date {
    time::OffsetDateTime::now_utc().date()
}

/// A run under test.
struct Run<'n> {
    network: &'n Network,
    id: String,
}

impl<'n> Run<'n> {
    /// Asks for the adults of these sites as the portal.
    fn request(network: &'n Network, project: &str, sites: &[&str], more: &[&str]) -> Self {
        let definition = network.root().join(format!("crtdl-{project}-{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&definition, DEFINITION).unwrap();
        let portal = path(&network.node("portal").directory);
        let definition = path(&definition);
        let mut arguments =
            vec!["data-set", "request", &portal, "--project", project, "--definition", &definition, "--format", "json"];
        let sites: Vec<String> = sites.iter().map(|site| network.node(site).organization_identifier).collect();
        for site in &sites {
            arguments.extend(["--site", site]);
        }
        arguments.extend(more);
        let answer = command(&arguments).expect(0).json();
        Self { network, id: answer["run"].as_str().unwrap().to_owned() }
    }

    /// How it stands at a node; none if the node knows nothing of it, or is just being started.
    fn status(&self, node: &str) -> Option<Value> {
        let directory = path(&self.network.node(node).directory);
        let answer = command(&["data-set", "status", &directory, "--run", &self.id, "--format", "json"]);
        (answer.code == Some(0)).then(|| answer.json()["runs"][0].clone())
    }

    async fn until_at(&self, what: &str, node: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{what} at {node}"), STEP_TIME, async || self.status(node).filter(&is_so)).await
    }

    async fn waits_for(&self, node: &str, form: &str) {
        self.until_at(form, node, |status| status["waits-for"] == form).await;
    }

    async fn approve(&self, node: &str) {
        self.waits_for(node, "approve-extraction").await;
        let directory = path(&self.network.node(node).directory);
        command(&["data-set", "approve", &self.id, &directory]).expect(0);
    }

    async fn release(&self) {
        self.waits_for("dms", "release-data-set").await;
        command(&["data-set", "release", &self.id, &path(&self.network.node("dms").directory)]).expect(0);
    }

    async fn ended(&self, node: &str) -> Value {
        self.until_at("the end", node, |status| ["completed", "failed"].contains(&status["status"].as_str().unwrap()))
            .await
    }

    /// The files at the portal.
    fn fetch(&self) -> DataSet {
        let into = folder();
        let target = into.path().join("data");
        let portal = path(&self.network.node("portal").directory);
        command(&["data-set", "fetch", &self.id, &portal, "--into", &path(&target)]).expect(0);
        let again = command(&["data-set", "fetch", &self.id, &portal, "--into", &path(&target)]).expect(1);
        assert!(again.err.contains("exists"), "an existing file is not overwritten: {}", again.err);
        DataSet::read(&target)
    }

    fn outcomes(status: &Value) -> BTreeMap<String, String> {
        let outcomes = status["outcomes"].as_object().unwrap().iter();
        outcomes.map(|(site, code)| (site.clone(), code.as_str().unwrap().to_owned())).collect()
    }
}

/// What a researcher gets.
struct DataSet {
    resources: Vec<Value>,
}

impl DataSet {
    fn read(folder: &Path) -> Self {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.iter().any(|file| file.ends_with("manifest.json")));
        let data = files.iter().filter(|file| file.extension() == Some(OsStr::new("ndjson")));
        let texts: Vec<String> = data.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        Self { resources: lines.map(|line| serde_json::from_str(line).unwrap()).collect() }
    }

    fn of_type<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Value> {
        self.resources.iter().filter(move |resource| resource["resourceType"] == name)
    }

    /// Everything but where it came from, whose times differ between runs.
    fn content(&self) -> BTreeSet<String> {
        let content = self.resources.iter().filter(|resource| resource["resourceType"] != "Provenance");
        content.map(Value::to_string).collect()
    }

    /// Holds another run to the same result: the same resources, and the same persons but for the few whose link hangs on
    /// the noise of the filters, which is another one in each run.
    fn assert_is_again(&self, other: &Self) {
        let ids = |of: &Self| -> BTreeSet<String> {
            let records = of
                .resources
                .iter()
                .filter(|resource| !["Patient", "Provenance"].contains(&resource["resourceType"].as_str().unwrap()));
            records.map(|resource| format!("{}/{}", resource["resourceType"], resource["id"])).collect()
        };
        assert_eq!(ids(self), ids(other));
        let (mine, theirs) = (self.content(), other.content());
        let changed = mine.symmetric_difference(&theirs).count();
        assert!(mine.len() > 1_000 && changed * 50 < mine.len(), "{changed} of {} are different", mine.len());
    }

    /// Sites of every person, by the Provenances.
    fn sites(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut sites: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for provenance in self.of_type("Provenance") {
            let site = provenance["agent"][0]["who"]["identifier"]["value"].as_str().unwrap();
            for target in provenance["target"].as_array().unwrap() {
                let reference = target["reference"].as_str().unwrap();
                if reference.starts_with("Patient/") {
                    sites.entry(reference.to_owned()).or_default().insert(site.to_owned());
                }
            }
        }
        sites
    }

    fn assert_is(&self, truth: &SharedTruth) {
        let count = |name: &str| self.of_type(name).count() as u64;
        assert_eq!((count("Observation"), count("Condition")), (truth.observations, truth.conditions));
        let persons = self.sites();
        assert_eq!(count("Patient"), persons.len() as u64);
        let several = persons.values().filter(|sites| sites.len() > 1).count() as u64;
        println!("persons {} of {}, of several sites {several} of {}", persons.len(), truth.persons, truth.several);
        let missed = truth.several / 10 + 1;
        assert!((persons.len() as u64).abs_diff(truth.persons) <= missed);
        assert!(several.abs_diff(truth.several) <= missed);
        // Every resource belongs to a person who is there.
        let ids: BTreeSet<String> =
            self.of_type("Patient").map(|patient| format!("Patient/{}", patient["id"].as_str().unwrap())).collect();
        for resource in self.of_type("Observation").chain(self.of_type("Condition")) {
            assert!(ids.contains(resource["subject"]["reference"].as_str().unwrap()), "{resource}");
            assert!(resource.get("text").is_none());
        }
    }
}

/// Everything that a node has on disk about resources and processes, as text.
fn dump(node: &Node) -> String {
    let mut bytes = Vec::new();
    let mut folders = vec![node.directory.join("data"), node.directory.join("audit")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap().path();
            match entry.is_dir() {
                // The index of a site's own records holds them by purpose.
                true if entry.ends_with("source") => {}
                true => folders.push(entry),
                false => bytes.extend(std::fs::read(entry).unwrap_or_default()),
            }
        }
    }
    assert!(bytes.len() > 100_000, "{} has a store", node.name);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Some persons of every site; looking for all would take minutes.
fn some_persons() -> Vec<Patient> {
    (0..3).flat_map(|site| PERSONS.patients_of(site).step_by(70).collect::<Vec<Patient>>()).collect()
}

/// The texts that name them.
fn names() -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for patient in some_persons() {
        let person = &patient.identity;
        texts.extend([
            format!("\"{}\"", person.family),
            format!("\"{}\"", person.given),
            person.street.clone(),
            patient.id,
        ]);
        texts.extend(person.insurance.clone());
    }
    texts
}

#[tokio::test]
async fn share_c01_c02_c03_c04_c05_a_data_set_is_merged_and_nobody_sees_what_is_not_theirs() {
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
        assert!(["no consent", "ended", "does not permit"].iter().all(|reason| consent.contains(reason)), "{consent}");
        assert_eq!(answer("decision")["valueString"], "UAC 12");
        run.approve(site).await;
    }
    run.waits_for("dms", "release-data-set").await;
    assert_stores_hold_only_what_they_may(network);
    run.release().await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(Run::outcomes(&ended).values().all(|code| code == "merged"), "{ended:#}");
    run.fetch().assert_is(&truth);
    for site in ["dic-1", "dic-2", "dic-3", "ttp"] {
        let ended = run.ended(site).await;
        assert_eq!(ended["status"], "completed", "{site}: {ended:#}");
    }
    for node in ["dic-1", "ttp", "dms"] {
        assert_eq!(readable_deliveries(network, node, &run.id).await, 0, "what was sealed for {node} is deleted");
    }
}

fn done(arguments: &[&str]) -> Output {
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

/// Raw content of the stores: no name and no id away from the sites, no filter and no date of birth at the data management
/// site, nothing medical at the trusted third party, no pseudonym at a site.
fn assert_stores_hold_only_what_they_may(network: &Network) {
    let names = names();
    let away = ["portal", "ttp", "dms"].map(|name| dump(&network.node(name)));
    for (text, name) in away.iter().zip(["portal", "ttp", "dms"]) {
        let found: Vec<&String> = names.iter().filter(|person| text.contains(person.as_str())).collect();
        assert!(found.is_empty(), "{found:?} at {name}");
    }
    let [_, ttp, dms] = &away;
    let births: Vec<String> =
        some_persons().iter().map(|patient| format!("\"birthDate\":\"{}\"", patient.identity.birth)).collect();
    for medical in
        ["\"resourceType\":\"Observation\"", "\"resourceType\":\"Condition\"", "\"4548-4\"", "\"birthDate\":\""]
    {
        assert!(!ttp.contains(medical), "{medical} at the trusted third party");
    }
    assert!(dms.contains("\"resourceType\":\"Observation\"") && dms.contains("\"4548-4\""), "the data are there");
    assert!(!dms.contains("\"filter\":\""), "a filter is at the data management site");
    // A moved date is by chance one of somebody else in one of forty cases.
    let found = births.iter().filter(|birth| dms.contains(birth.as_str())).count();
    assert!(found * 5 <= births.len(), "{found} of {} dates of birth are at the data management site", births.len());
    let begin = "{\"resourceType\":\"Patient\",\"id\":\"";
    let ids = dms.match_indices(begin).filter_map(|(place, _)| dms.get(place + begin.len()..place + begin.len() + 17));
    let pseudonyms: BTreeSet<&str> = ids.collect();
    assert!(pseudonyms.len() > 100, "{} pseudonyms", pseudonyms.len());
    for site in ["dic-1", "dic-2", "dic-3"] {
        let text = dump(&network.node(site));
        for pseudonym in pseudonyms.iter().step_by(29) {
            assert!(!text.contains(pseudonym), "{pseudonym} is at {site}");
        }
    }
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
    let dms = run.ended("dms").await;
    assert_eq!(dms["status"], "completed", "{dms:#}");
    assert!(dms["deleted"].is_string(), "{dms:#}");
    let gone = network.organization("portal", "dms").get(&delivery).await;
    assert_ne!(gone.status, 200, "the access of the portal has ended");
    run.fetch().assert_is(&SharedTruth::of(&PERSONS, &[2], today()));
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

#[tokio::test]
async fn share_c10_whoever_is_killed_at_any_step_the_data_set_is_the_same() {
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(2));
    let kill = async |node: &str| network.kill(node, Process::Engine).await;
    let first = Run::request(&network, "again", &[], &[]);
    first.approve("dic-1").await;
    first.approve("dic-2").await;
    first.release().await;
    first.ended("portal").await;
    let first = first.fetch();

    let run = Run::request(&network, "again", &[], &[]);
    kill("portal").await;
    run.waits_for("dic-1", "approve-extraction").await;
    kill("dic-1").await;
    run.approve("dic-1").await;
    kill("dic-1").await;
    kill("ttp").await;
    run.approve("dic-2").await;
    // The last approval begins linking, sending and merging; everybody goes down meanwhile.
    for node in ["dic-2", "ttp", "dms", "dic-1", "ttp", "dms"] {
        kill(node).await;
    }
    run.waits_for("dms", "release-data-set").await;
    kill("dms").await;
    run.release().await;
    kill("portal").await;
    kill("dms").await;
    let ended = run.ended("portal").await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let second = run.fetch();
    first.assert_is_again(&second);
    for site in ["dic-1", "dic-2", "ttp"] {
        let ended = run.ended(site).await;
        assert_eq!(ended["status"], "completed", "{site}: {ended:#}");
    }
}

#[tokio::test]
async fn share_c08_four_eyes_are_those_of_two_persons() {
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(1));
    let node = network.node("dic-1");
    node.edit("node.toml", |text| format!("{text}\n[data-sharing]\nfour-eyes = true\n"));
    network.kill_and_await_restart("dic-1", Process::Engine).await;
    let run = Run::request(&network, "eyes", &[], &[]);
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
    run.release().await;
    assert_eq!(run.ended("portal").await["status"], "completed");
}
