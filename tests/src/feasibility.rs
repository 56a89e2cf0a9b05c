//! A network whose sites have generated records, and what every test of feasibility needs of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use synthetic::{Question, Truth, questions};

use crate::network::{Network, Process};
use crate::{Node, Output, Schleuse, tasks};

/// What the MII's canonicals begin with.
pub const BASE: &str = "http://medizininformatik-initiative.de";
/// Longest wait for anything.
pub const TIME: Duration = Duration::from_secs(60);
/// Coding system of read-access tags.
pub const TAG: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";

/// A portal, two sites with indexed records, and the truth about them.
pub struct Lab {
    /// The nodes.
    pub network: Network,
    /// What is right.
    pub truth: Truth,
    desk: tempfile::TempDir,
}

impl Lab {
    /// Starts the network and indexes the records.
    #[must_use]
    pub fn start() -> Self {
        let network = Network::start(2);
        let text = std::fs::read_to_string(network.root().join("truth.json")).unwrap();
        for site in ["dic-1", "dic-2"] {
            let directory = network.node(site).directory.display().to_string();
            Schleuse::run(&["source", "index", &directory]).expect(0);
        }
        Self { network, truth: serde_json::from_str(&text).unwrap(), desk: crate::network::folder() }
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: &str) -> Node {
        self.network.node(name)
    }

    fn file(&self, definition: &str) -> PathBuf {
        let path = self.desk.path().join(format!("{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&path, definition).unwrap();
        path
    }

    /// `schleuse feasibility run` at a node.
    pub fn ask(&self, node: &str, definition: &str, more: &[&str]) -> Output {
        let (file, directory) = (self.file(definition), self.node(node).directory);
        let (file, directory) = (file.display().to_string(), directory.display().to_string());
        let head = ["--format", "json", "feasibility", "run", &file, "--directory", &directory];
        Schleuse::run_within(Duration::from_secs(120), &[&head, more].concat())
    }

    /// Counts in the order of the sites.
    pub fn truth_of(&self, question: &str) -> Vec<u64> {
        self.truth.sites.iter().map(|site| site.counts[question]).collect()
    }

    /// Puts a changed `node.toml` in force at the engine.
    pub async fn configure(&self, node: &str, change: impl FnOnce(&str) -> String) {
        self.node(node).edit("node.toml", change);
        self.network.kill_and_await_restart(node, Process::Engine).await;
    }

    /// Tasks of the site by which it was asked, newest first.
    pub async fn orders(&self, site: &str) -> Vec<Value> {
        let client = self.network.organization(site, site);
        let found = client.get("/Task?_sort=-_lastUpdated&_count=100").await.expect(200).json();
        let tasks = found["entry"].as_array().cloned().unwrap_or_default();
        let is_order = |task: &Value| task["instantiatesCanonical"].as_str().unwrap().contains("feasibilityExecute");
        tasks.into_iter().map(|entry| entry["resource"].clone()).filter(is_order).collect()
    }
}

/// A question of the generated records.
#[must_use]
pub fn question(name: &str) -> Question {
    questions().into_iter().find(|question| question.name == name).unwrap()
}

/// Outcome and count by site.
#[must_use]
pub fn answers(told: &Value) -> BTreeMap<String, (String, Option<u64>)> {
    let sites = told["sites"].as_array().unwrap();
    let text = |site: &Value, name: &str| site[name].as_str().unwrap().to_owned();
    sites.iter().map(|site| (text(site, "site"), (text(site, "outcome"), site["count"].as_u64()))).collect()
}

/// What [`answers`] gives when every site told its count.
#[must_use]
pub fn answered(counts: &[u64]) -> BTreeMap<String, (String, Option<u64>)> {
    let site =
        |(number, count): (usize, &u64)| (format!("dic-{}.example", number + 1), ("answered".to_owned(), Some(*count)));
    counts.iter().enumerate().map(site).collect()
}

/// The portal's transaction: Task, Library and Measure that refer to each other by `urn:uuid`.
#[must_use]
pub fn transaction(portal: &Node, business_key: &str, definition: &str) -> Value {
    let [task_id, library_id, measure_id] = std::array::from_fn(|_| uuid::Uuid::new_v4().to_string());
    let data = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let coding = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
    let meta = |profile: &str| {
        json!({ "profile": [format!("{BASE}/fhir/StructureDefinition/{profile}|1.0")],
            "tag": [{ "system": TAG, "code": "ALL" }] })
    };
    let own = &portal.organization_identifier;
    let mut task = tasks::task(
        &format!("{BASE}/bpe/Process/feasibilityRequest|1.0"),
        &format!("{BASE}/fhir/StructureDefinition/feasibility-task-request|1.0"),
        "feasibilityRequestMessage",
        own,
        own,
    );
    let inputs = task["input"].as_array_mut().unwrap();
    inputs.push(tasks::message_input("business-key", business_key));
    inputs.push(json!({
        "type": coding(&format!("{BASE}/fhir/CodeSystem/feasibility"), "measure-reference"),
        "valueReference": { "reference": format!("urn:uuid:{measure_id}") },
    }));
    let library = json!({
        "resourceType": "Library", "meta": meta("feasibility-library"), "url": format!("urn:uuid:{library_id}"),
        "version": "1.0.0", "name": "Retrieve", "status": "active",
        "type": coding("http://terminology.hl7.org/CodeSystem/library-type", "logic-library"),
        "content": [
            { "contentType": "application/json", "data": data(definition) },
            { "contentType": "text/cql", "data": data("library Retrieve version '1.0.0'") },
        ],
    });
    let measure = json!({
        "resourceType": "Measure", "meta": meta("feasibility-measure"),
        "url": format!("{}/Measure/{measure_id}", portal.base_url.trim_end_matches("/fhir")),
        "status": "active", "library": [format!("urn:uuid:{library_id}")],
        "scoring": coding("http://terminology.hl7.org/CodeSystem/measure-scoring", "cohort"),
        "group": [{ "population": [{
            "code": coding("http://terminology.hl7.org/CodeSystem/measure-population", "initial-population"),
            "criteria": { "language": "text/cql", "expression": "InInitialPopulation" },
        }] }],
    });
    let entry = |id: &str, resource: &Value, kind: &str| {
        json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": resource,
            "request": { "method": "POST", "url": kind } })
    };
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        entry(&task_id, &task, "Task"), entry(&library_id, &library, "Library"), entry(&measure_id, &measure, "Measure"),
    ] })
}

/// Business key of a Task.
#[must_use]
pub fn business_key(task: &Value) -> Option<String> {
    tasks::value(task, "input", "business-key")
}
