//! `schleuse process test FOLDER|JAR`: everything that can be said of a plug-in without a node. Its models are read and
//! walked through, its resources are validated as a node does before it stores them, its scenarios (`tests/*.txt`) are
//! run. With `--watch` again after every change, and with `--node` what is good is put into a running node each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bpmn::Model;
use bpmn::kit::scenario::Scenario;
use bpmn::kit::simulation::{End, Simulation};
use fhir::outcome::{Issue, Severity};
use fhir::validate::{ProfileRegistry, has_errors, validate};
use processes::{Package, package};
use serde_json::{Value, json};

use super::install;
use crate::arguments::{Format, ProcessInstall, ProcessTest};
use crate::output::{answer, printable};

/// The organisation that stands in for that of the node.
const ORGANIZATION: &str = "hospital.example";
/// Walks through a model with different values, of which the one that gets furthest counts.
const WALKS: u64 = 24;
/// How often files are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Files that are looked at, and how deep.
const FILES: usize = 20_000;
const DEPTH: usize = 16;

/// What was tried and what came of it.
struct Line {
    what: String,
    /// Nothing: it holds.
    wrong: Vec<String>,
}

pub(in crate::command) async fn run(test: &ProcessTest, format: Format) -> u8 {
    loop {
        let seen = fingerprint(&test.source);
        let lines = examine(&test.source);
        let wrong = lines.iter().filter(|line| !line.wrong.is_empty()).count();
        answer(format, || text(&lines, wrong), || as_json(&lines, wrong));
        let mut code = u8::from(wrong > 0);
        if let (Some(node), 0) = (&test.node, wrong) {
            let install = ProcessInstall { source: test.source.clone(), directory: node.clone() };
            code = install::run(&install, format).await;
        }
        if !test.watch {
            return code;
        }
        while fingerprint(&test.source) == seen {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn examine(source: &Path) -> Vec<Line> {
    let package = match package::load(source) {
        Ok(package) => package,
        Err(error) => {
            let refused = error.refused(source);
            let what = refused.file.unwrap_or_else(|| "plug-in".to_owned());
            return vec![Line { what, wrong: vec![refused.reason] }];
        }
    };
    let texts: BTreeMap<String, String> = package.texts(ORGANIZATION).into_iter().collect();
    let mut lines: Vec<Line> = texts.iter().map(|(file, text)| examine_model(&package, file, text)).collect();
    lines.extend(examine_resources(&package));
    lines.extend(examine_scenarios(source, &texts));
    lines
}

fn examine_model(package: &Package, file: &str, text: &str) -> Line {
    let wrong = match Model::parse(text.as_bytes()) {
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
        Ok(model) => {
            let misbound = package.misbound(&model);
            let models = [model];
            let processes = models.iter().flat_map(|model| &model.processes);
            let walks = processes.flat_map(|process| {
                let simulation = Simulation::new(&models, process);
                simulation
                    .starts()
                    .iter()
                    .map(|start| (start.to_string(), simulation.main_path(start, WALKS).end))
                    .collect::<Vec<_>>()
            });
            let unfinished = walks.filter_map(|(start, end)| {
                let how = match end {
                    End::Completed => return None,
                    End::Failed(reason) => format!("fails: {reason}"),
                    End::Refused(reason) => format!("is refused: {reason}"),
                    End::Stuck(place) => format!("is stuck at {place}"),
                    End::Endless => "goes on without end".to_owned(),
                };
                Some(format!("a walk from {start} {how}"))
            });
            misbound.iter().map(ToString::to_string).chain(unfinished).collect()
        }
    };
    Line { what: file.to_owned(), wrong }
}

fn examine_resources(package: &Package) -> Vec<Line> {
    let line = |wrong: String| vec![Line { what: "resources".to_owned(), wrong: vec![wrong] }];
    let mut registry = ProfileRegistry::new();
    match fhir::base::resources() {
        Ok(base) => {
            for resource in base {
                registry.add(resource);
            }
        }
        Err(error) => return line(error.to_string()),
    }
    let resources = match package.resources(ORGANIZATION) {
        Ok(resources) => resources,
        Err(error) => return line(error.to_string()),
    };
    for (_, resource) in &resources {
        registry.add(resource.clone());
    }
    let examined = resources.iter().map(|(file, resource)| {
        let issues = validate(resource, &registry);
        let errors = issues.iter().filter(|issue| issue.severity >= Severity::Error);
        let wrong = if has_errors(&issues) { errors.map(issue_text).collect() } else { Vec::new() };
        Line { what: (*file).to_owned(), wrong }
    });
    examined.collect()
}

fn issue_text(issue: &Issue) -> String {
    let place = issue.expression.as_deref().map(|place| format!("{place}: ")).unwrap_or_default();
    format!("{place}{}", issue.diagnostics)
}

fn examine_scenarios(source: &Path, texts: &BTreeMap<String, String>) -> Vec<Line> {
    let Ok(entries) = std::fs::read_dir(source.join("tests")) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "txt")).collect();
    files.sort();
    let mut lines = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let scenarios = text.and_then(|text| Scenario::parse(&text).map_err(|failure| failure.to_string()));
        match scenarios {
            Err(reason) => lines.push(Line { what: format!("tests/{name}"), wrong: vec![reason] }),
            Ok(scenarios) => lines.extend(scenarios.iter().map(|scenario| {
                let held = scenario.run(&|file| texts.get(file).map(|text| text.clone().into_bytes()));
                let wrong = held.err().map(|failure| failure.to_string()).into_iter().collect();
                Line { what: format!("tests/{name}: {}", scenario.name), wrong }
            })),
        }
    }
    lines
}

fn text(lines: &[Line], wrong: usize) -> String {
    let mut text = String::new();
    for line in lines {
        let word = if line.wrong.is_empty() { "ok" } else { "wrong" };
        text.push_str(&printable(&format!("{word:<6} {}", line.what)));
        text.push('\n');
        for reason in &line.wrong {
            text.push_str(&format!("         {}\n", printable(reason)));
        }
    }
    text.push_str(&format!("{} tried, {wrong} wrong\n", lines.len()));
    text
}

fn as_json(lines: &[Line], wrong: usize) -> Value {
    let lines: Vec<Value> = lines.iter().map(|line| json!({ "what": line.what, "wrong": line.wrong })).collect();
    json!({ "tried": lines, "wrong": wrong })
}

/// When and how large every file is.
fn fingerprint(source: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    let mut found = BTreeMap::new();
    collect(source, 0, &mut found);
    collect(&source.with_extension("toml"), 0, &mut found);
    found
}

fn collect(path: &Path, depth: usize, found: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    if found.len() >= FILES || depth > DEPTH {
        return;
    }
    if metadata.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        entries.flatten().for_each(|entry| collect(&entry.path(), depth + 1, found));
    } else {
        found.insert(path.to_owned(), (metadata.len(), metadata.modified().ok()));
    }
}
