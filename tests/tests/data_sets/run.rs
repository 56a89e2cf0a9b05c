//! A run under test, from the request to what the researcher gets, by the commands of people.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use synthetic::sharing::{DEFINITION, SharedTruth};
use tests::command::Output;
use tests::network::folder;
use tests::{Network, until};

use super::{STEP_TIME, command, path};

/// A run under test.
pub(super) struct Run<'n> {
    pub(super) network: &'n Network,
    pub(super) id: String,
}

impl<'n> Run<'n> {
    /// Asks for the adults of these sites as the portal.
    pub(super) fn request(network: &'n Network, project: &str, sites: &[&str], more: &[&str]) -> Self {
        Self::request_of(network, project, DEFINITION, sites, more)
    }

    /// Asks for what a definition names.
    pub(super) fn request_of(
        network: &'n Network,
        project: &str,
        content: &str,
        sites: &[&str],
        more: &[&str],
    ) -> Self {
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
    pub(super) fn status(&self, node: &str) -> Option<Value> {
        let directory = path(&self.network.node(node).directory);
        let answer = command(&["data-set", "status", &directory, "--run", &self.id, "--format", "json"]);
        (answer.code == Some(0)).then(|| answer.json()["runs"].clone())?.as_array()?.iter().find(is_main).cloned()
    }

    /// How the newest part of a later process of the run stands at a node.
    pub(super) fn later(&self, node: &str, process: &str) -> Option<Value> {
        let directory = path(&self.network.node(node).directory);
        let answer = command(&["data-set", "status", &directory, "--run", &self.id, "--format", "json"]);
        let runs = (answer.code == Some(0)).then(|| answer.json()["runs"].clone())?;
        runs.as_array()?.iter().find(|part| part["process"] == process).cloned()
    }

    /// The end of it.
    pub(super) async fn later_ended(&self, node: &str, process: &str) -> Value {
        let is_ended = |part: &Value| ["completed", "failed"].contains(&part["status"].as_str().unwrap());
        until(&format!("the end of {process} at {node}"), STEP_TIME, async || {
            self.later(node, process).filter(is_ended)
        })
        .await
    }

    /// Does something of the run at a node.
    pub(super) fn at(&self, node: &str, name: &str, more: &[&str]) -> Output {
        let directory = path(&self.network.node(node).directory);
        command(&[&["data-set", name, &self.id, &directory], more].concat())
    }

    pub(super) async fn until_at(&self, what: &str, node: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{what} at {node}"), STEP_TIME, async || self.status(node).filter(&is_so)).await
    }

    pub(super) async fn waits_for(&self, node: &str, form: &str) {
        self.until_at(form, node, |status| status["waits-for"] == form).await;
    }

    pub(super) async fn approve(&self, node: &str) {
        self.waits_for(node, "approve-extraction").await;
        let directory = path(&self.network.node(node).directory);
        command(&["data-set", "approve", &self.id, &directory]).expect(0);
    }

    pub(super) async fn release(&self) {
        self.waits_for("dms", "release-data-set").await;
        command(&["data-set", "release", &self.id, &path(&self.network.node("dms").directory)]).expect(0);
    }

    /// A site or the trusted third party has done its part; what it keeps stays until the retention is over.
    pub(super) async fn done(&self, node: &str) -> Value {
        self.until_at("the outcome", node, |status| {
            status["status"] == "failed" || !status["outcomes"].as_object().unwrap().is_empty()
        })
        .await
    }

    pub(super) async fn ended(&self, node: &str) -> Value {
        self.until_at("the end", node, |status| ["completed", "failed"].contains(&status["status"].as_str().unwrap()))
            .await
    }

    /// The files at the portal.
    pub(super) fn fetch(&self) -> DataSet {
        let into = folder();
        let target = into.path().join("data");
        let portal = path(&self.network.node("portal").directory);
        command(&["data-set", "fetch", &self.id, &portal, "--into", &path(&target)]).expect(0);
        let again = command(&["data-set", "fetch", &self.id, &portal, "--into", &path(&target)]).expect(1);
        assert!(again.err.contains("exists"), "an existing file is not overwritten: {}", again.err);
        DataSet::read(&target)
    }

    pub(super) fn outcomes(status: &Value) -> BTreeMap<String, String> {
        let outcomes = status["outcomes"].as_object().unwrap().iter();
        outcomes.map(|(site, code)| (site.clone(), code.as_str().unwrap().to_owned())).collect()
    }
}

/// What began the part of a node, not what came later.
fn is_main(part: &&Value) -> bool {
    !["withdrawConsent", "reidentifyPerson"].contains(&part["process"].as_str().unwrap())
}

/// What a researcher gets.
pub(super) struct DataSet {
    pub(super) manifest: Value,
    pub(super) resources: Vec<Value>,
}

impl DataSet {
    pub(super) fn read(folder: &Path) -> Self {
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

    pub(super) fn of_type<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Value> {
        self.resources.iter().filter(move |resource| resource["resourceType"] == name)
    }

    /// Everything but where it came from, whose times differ between runs.
    pub(super) fn content(&self) -> BTreeSet<String> {
        let content = self.resources.iter().filter(|resource| resource["resourceType"] != "Provenance");
        content.map(Value::to_string).collect()
    }

    /// Holds another run to the same result: the same resources, and the same persons but for the few whose link hangs on
    /// the noise of the filters, which is another one in each run.
    pub(super) fn assert_is_again(&self, other: &Self) {
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
    pub(super) fn sites(&self) -> BTreeMap<String, BTreeSet<String>> {
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

    pub(super) fn assert_is(&self, truth: &SharedTruth) {
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
