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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use synthetic::sharing::{DEFINITION, SharedTruth};
use synthetic::{Consent, Network as Persons, Patient};
use tests::command::Output;
use tests::network::{Node, Process, folder};
use tests::{Network, Schleuse, until};

/// A step of a run on a busy machine, repetitions after a kill included.
const STEP_TIME: Duration = Duration::from_secs(240);
/// The persons that the demonstration network generates (`schleuse demo`).
const PERSONS: Persons = Persons { seed: 20_261_122, sites: 3, patients: 500, shared: 100 };
/// Those of a network with two sites.
const PERSONS_OF_TWO: Persons = Persons { sites: 2, ..PERSONS };

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
        Self::request_of(network, project, DEFINITION, sites, more)
    }

    /// Asks for what a definition names.
    fn request_of(network: &'n Network, project: &str, content: &str, sites: &[&str], more: &[&str]) -> Self {
        let definition = network.root().join(format!("crtdl-{project}-{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&definition, content).unwrap();
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
        (answer.code == Some(0)).then(|| answer.json()["runs"].clone())?.as_array()?.iter().find(is_main).cloned()
    }

    /// How the newest part of a later process of the run stands at a node.
    fn later(&self, node: &str, process: &str) -> Option<Value> {
        let directory = path(&self.network.node(node).directory);
        let answer = command(&["data-set", "status", &directory, "--run", &self.id, "--format", "json"]);
        let runs = (answer.code == Some(0)).then(|| answer.json()["runs"].clone())?;
        runs.as_array()?.iter().find(|part| part["process"] == process).cloned()
    }

    /// The end of it.
    async fn later_ended(&self, node: &str, process: &str) -> Value {
        let is_ended = |part: &Value| ["completed", "failed"].contains(&part["status"].as_str().unwrap());
        until(&format!("the end of {process} at {node}"), STEP_TIME, async || {
            self.later(node, process).filter(is_ended)
        })
        .await
    }

    /// Does something of the run at a node.
    fn at(&self, node: &str, name: &str, more: &[&str]) -> Output {
        let directory = path(&self.network.node(node).directory);
        command(&[&["data-set", name, &self.id, &directory], more].concat())
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

    /// A site or the trusted third party has done its part; what it keeps stays until the retention is over.
    async fn done(&self, node: &str) -> Value {
        self.until_at("the outcome", node, |status| {
            status["status"] == "failed" || !status["outcomes"].as_object().unwrap().is_empty()
        })
        .await
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

/// What began the part of a node, not what came later.
fn is_main(part: &&Value) -> bool {
    !["withdrawConsent", "reidentifyPerson"].contains(&part["process"].as_str().unwrap())
}

/// What a researcher gets.
struct DataSet {
    manifest: Value,
    resources: Vec<Value>,
}

impl DataSet {
    fn read(folder: &Path) -> Self {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let data = files.iter().filter(|file| file.extension() == Some(OsStr::new("ndjson")));
        let texts: Vec<String> = data.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        Self {
            manifest: serde_json::from_slice(&manifest).unwrap(),
            resources: lines.map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
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
        for provenance in self.of_type("Provenance").filter(|provenance| provenance["id"] != "withdrawn") {
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
fn some_persons(persons: &Persons) -> Vec<Patient> {
    (0..persons.sites).flat_map(|site| persons.patients_of(site).step_by(70).collect::<Vec<Patient>>()).collect()
}

/// The texts that name them.
fn names(persons: &Persons) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for patient in some_persons(persons) {
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
fn assert_stores_hold_only_what_they_may(network: &Network, persons: &Persons, sites: &[&str]) {
    let names = names(persons);
    let away = ["portal", "ttp", "dms"].map(|name| dump(&network.node(name)));
    for (text, name) in away.iter().zip(["portal", "ttp", "dms"]) {
        let found: Vec<&String> = names.iter().filter(|person| text.contains(person.as_str())).collect();
        assert!(found.is_empty(), "{found:?} at {name}");
    }
    let [_, ttp, dms] = &away;
    let births: Vec<String> =
        some_persons(persons).iter().map(|patient| format!("\"birthDate\":\"{}\"", patient.identity.birth)).collect();
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
    for site in sites {
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
        let done = run.done(site).await;
        assert_ne!(done["status"], "failed", "{site}: {done:#}");
    }
}

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
async fn announced_key(network: &Network, node: &str) -> Value {
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

/// C11: what is no filter is refused, and the other site takes part.
#[tokio::test]
async fn share_c11_filters_of_a_wrong_length_are_refused_and_the_others_go_on() {
    let network = network();
    let run = Run::request(network, "length", &["dic-1", "dic-2"], &[]);
    run.waits_for("dic-1", "approve-extraction").await;
    let (site, ttp) = (network.node("dic-1"), network.node("ttp"));
    let client = network.organization("dic-1", "dic-1");
    let orders = tests::search::all(&client, "Task", "").await;
    let value = |task: &Value, code: &str| tests::tasks::value(task, "input", code);
    let is_order = |task: &&Value| {
        value(task, "business-key").as_deref() == Some(&run.id)
            && value(task, "message-name").as_deref() == Some("extractPseudonymised")
    };
    let key = value(orders.iter().find(is_order).unwrap(), "correlation-key").unwrap();

    // The site itself, with its own keys, but with filters that are none.
    let announced = STANDARD.decode(announced_key(network, "ttp").await.as_str().unwrap()).unwrap();
    let announced = sealing::PublicKey::new(&announced).unwrap();
    let binding = sealing::Binding {
        sender: &site.organization_identifier,
        recipient: &ttp.organization_identifier,
        project: "length",
        purpose: "submitLinkage",
        run: &run.id,
    };
    let sealed = |bytes: &[u8]| {
        let mut sealer = sealing::Sealer::new(Vec::new(), &announced, &binding).unwrap();
        sealer.write(bytes).unwrap();
        sealer.finish().unwrap()
    };
    let store = async |bytes: &[u8]| {
        let binary = json!({
            "resourceType": "Binary",
            "meta": { "tag": readers(&ttp.organization_identifier) },
            "contentType": "application/octet-stream",
            "data": STANDARD.encode(sealed(bytes)),
        });
        client.post("/Binary", &binary).await.expect(201).created_id()
    };
    let rows = "{\"id\":\"00000000000000000\",\"filter\":\"AAAA\"}\n";
    let file = store(rows.as_bytes()).await;
    let manifest = sealing::Manifest {
        sender: site.organization_identifier.clone(),
        recipient: ttp.organization_identifier.clone(),
        project: "length".to_owned(),
        run: run.id.clone(),
        created: tests::tasks::now(),
        revision: None,
        parts: vec![sealing::Part::of(&format!("{file}/filters-0001.ndjson"), rows.as_bytes(), 1)],
    };
    let credentials = certs::Credentials::load(&site.organization.certificate, &site.organization.private_key).unwrap();
    let signer = sealing::Signer::new(&credentials.key_der(), &credentials.chain_der()[0]).unwrap();
    let manifest = store(&signer.sign(&manifest).unwrap().to_json().unwrap()).await;
    let mut task = tests::tasks::task(
        "http://schleuse.example/bpe/Process/linkAndPseudonymise|1.0",
        "http://schleuse.example/fhir/StructureDefinition/task-submit-linkage|1.0",
        "submitLinkage",
        &site.organization_identifier,
        &ttp.organization_identifier,
    );
    let delivery = json!({
        "type": { "coding": [{ "system": "http://schleuse.example/fhir/CodeSystem/data-sharing", "code": "delivery" }] },
        "valueUrl": format!("{}/Binary/{manifest}", site.base_url),
    });
    let inputs = task["input"].as_array_mut().unwrap();
    inputs.push(tests::tasks::message_input("business-key", &run.id));
    inputs.push(tests::tasks::message_input("correlation-key", &key));
    inputs.push(delivery);
    network.organization("dic-1", "ttp").post("/Task", &task).await.expect(201);

    run.approve("dic-2").await;
    run.release().await;
    let ended = run.ended("portal").await;
    let outcomes = Run::outcomes(&ended);
    assert_eq!(outcomes[&site.organization_identifier], "filters-refused", "{ended:#}");
    assert_eq!(outcomes[&network.node("dic-2").organization_identifier], "merged", "{ended:#}");
    run.at("dic-1", "approve", &["--refuse"]).expect(0);
}

fn readers(organization: &str) -> Value {
    let system = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
    json!([
        { "system": system, "code": "LOCAL" },
        {
            "extension": [{
                "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization",
                "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": organization },
            }],
            "system": system,
            "code": "ORGANIZATION",
        },
    ])
}

/// Every node is killed at every step of a run.
#[tokio::test]
async fn share_c10_each_node_is_killed_at_each_step() {
    if std::env::var_os("SCHLEUSE_SLOW").is_none() {
        println!("left out: SCHLEUSE_SLOW=1 kills five nodes at thirteen steps each, for some ten minutes");
        return;
    }
    let _alone = ALONE.lock().await;
    let network = indexed(Network::start(2));
    let mut expected: Option<DataSet> = None;
    for node in ["portal", "dic-1", "dic-2", "ttp", "dms"] {
        for step in 0..13_u32 {
            let at = async |here: u32| {
                if here == step {
                    network.kill(node, Process::Engine).await;
                }
            };
            let run = Run::request(&network, "each", &[], &[]);
            at(0).await;
            run.waits_for("dic-1", "approve-extraction").await;
            at(1).await;
            run.approve("dic-1").await;
            at(2).await;
            run.approve("dic-2").await;
            // Filters, comparison, shifts, sealing, sending and merging follow within some seconds.
            for moment in 3..10 {
                if moment == step {
                    tokio::time::sleep(Duration::from_millis(u64::from(moment - 3) * 250)).await;
                    network.kill(node, Process::Engine).await;
                }
            }
            run.waits_for("dms", "release-data-set").await;
            at(10).await;
            run.release().await;
            at(11).await;
            let ended = run.ended("portal").await;
            assert_eq!(ended["status"], "completed", "{node} at {step}: {ended:#}");
            at(12).await;
            let data =
                until("the files", STEP_TIME, async || run.status("portal").is_some().then(|| run.fetch())).await;
            println!("{node} at step {step}: compared");
            match &expected {
                Some(expected) => expected.assert_is_again(&data),
                None => expected = Some(data),
            }
        }
    }
}
