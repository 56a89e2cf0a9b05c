//! `schleuse check DIR`: everything that is wrong with a node's configuration. Both programs load it themselves, with the
//! code of their start, so that what passes here is what starts. With `--deep` the running node also compares its store
//! with itself; only the node may open its database, so it is asked.

mod surroundings;

use std::path::Path;

use policies::proof::Proven;
use serde::Deserialize;
use serde_json::json;

use super::{fail, fail_admin};
use crate::admin::{AdminError, Node};
use crate::arguments::{Check, Format};
use crate::local::Local;
use crate::output::{answer, printable};
use crate::supervise::{Program, SuperviseError};

/// A finding as both programs print it (crate `settings`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Found {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) severity: String,
    pub(super) key: String,
    pub(super) text: String,
    pub(super) remedy: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(transparent)]
    Program(#[from] SuperviseError),
    #[error("{program} gave no findings: {reason}")]
    NoFindings { program: &'static str, reason: String },
}

// === impl Found ===

impl From<policies::Finding> for Found {
    fn from(finding: policies::Finding) -> Self {
        let severity = if finding.is_error() { "error" } else { "warning" }.to_owned();
        let policies::Finding { file, line, key, text, remedy, .. } = finding;
        Self { file, line, severity, key, text, remedy }
    }
}

impl Found {
    /// The finding as a line, if it is an error.
    pub(super) fn error(&self) -> Option<String> {
        let Self { file, line, key, text, remedy, .. } = self;
        (self.severity == "error").then(|| printable(&format!("{file}:{line}: {key}: {text}; {remedy}")))
    }
}

/// A portion of the comparison, as the node answers it.
#[derive(Debug, Deserialize)]
struct Portion {
    resources: u64,
    versions: u64,
    problems: Vec<String>,
    next: Option<i64>,
}

/// The whole comparison.
#[derive(Debug, Default)]
struct Compared {
    resources: u64,
    versions: u64,
    problems: Vec<String>,
}

/// Problems that are printed; one cause can touch every resource.
const PROBLEMS: usize = 1000;

pub(super) async fn run(check: &Check, format: Format) -> u8 {
    let directory = check.directory.as_path();
    if let Err(error) = std::fs::read_dir(directory) {
        eprintln!(
            "schleuse: {}: {error}; name the directory of a node, or create one with `schleuse init DIR`",
            directory.display()
        );
        return 78;
    }
    let mut findings = match findings(directory).await {
        Ok(findings) => findings,
        Err(error) => return fail(&error, 1),
    };
    findings.extend(draft_findings(directory));
    let proof = Local::load(directory).ok().map(|local| {
        findings.extend(surroundings::findings(&local).into_iter().map(Found::from));
        let list = local.allow_list_or_own();
        policies::proof::prove(&local.policy, &list)
    });
    if let Some(Err(counter_example)) = &proof {
        findings.push(Found {
            file: "policies".to_owned(),
            line: 0,
            severity: "error".to_owned(),
            key: String::new(),
            text: format!("an invariant of the policy language is broken: {counter_example}"),
            remedy: "report this with the policy; keep the last policy in force".to_owned(),
        });
    }
    // Both programs read node.toml and the policies; what both say is said once.
    findings.sort();
    findings.dedup();
    let compared = if check.deep {
        match compare(directory).await {
            Ok(compared) => Some(compared),
            Err(error) => return fail_admin(&error),
        }
    } else {
        None
    };
    let errors = findings.iter().filter(|finding| finding.severity == "error").count();
    let proven = proof.and_then(Result::ok);
    let all_text = || {
        let store = compared.as_ref().map(store_text).unwrap_or_default();
        text(directory, &findings, errors) + &proven_text(proven) + &store
    };
    let all_json = || {
        let store = compared.as_ref().map(|compared| {
            let Compared { resources, versions, problems } = compared;
            json!({ "resources": resources, "versions": versions, "problems": problems })
        });
        json!({ "findings": findings, "errors": errors, "store": store, "proven": proven })
    };
    answer(format, all_text, all_json);
    match compared {
        _ if errors > 0 => 78,
        Some(compared) if !compared.problems.is_empty() => 1,
        _ => 0,
    }
}

/// With officers what is in force is not what is being edited: the draft in `policies/` is checked as well.
fn draft_findings(directory: &Path) -> Vec<Found> {
    let directory = node::Directory::new(directory);
    let Ok((settings, _)) = node::load(&directory) else { return Vec::new() };
    if settings.officers.is_none() {
        return Vec::new();
    }
    let draft = node::read_policy_files(&directory);
    let in_force = node::read_policy(&settings).ok();
    match draft.and_then(|files| policies::Policy::load(&files)) {
        Err(findings) => findings.into_iter().map(Found::from).collect(),
        Ok(policy) => {
            let mut found: Vec<Found> = policy.warnings().iter().cloned().map(Found::from).collect();
            let is_same = in_force
                .as_ref()
                .and_then(|known| known.signed.as_ref())
                .is_some_and(|by| by.digest == policy.version());
            if !is_same {
                found.push(Found {
                    severity: "warning".to_owned(),
                    ..Found::from(policies::Finding::in_file(
                        "policies",
                        "the draft is not what is in force",
                        "see `schleuse diff`, then sign and activate it, or take the change back",
                    ))
                });
            }
            found
        }
    }
}

fn proven_text(proven: Option<Proven>) -> String {
    proven.map_or_else(
        || "the rules were not proven\n".to_owned(),
        |proven| {
            format!(
                "the rules were proven over {} callers, {} requests and {} moments and addresses: {} decisions\n",
                proven.callers, proven.requests, proven.contexts, proven.decisions
            )
        },
    )
}

/// Lets the running node compare its store, portion by portion.
async fn compare(directory: &Path) -> Result<Compared, AdminError> {
    let node = Node::at(directory);
    let mut all = Compared::default();
    let mut after = 0;
    loop {
        let portion: Portion = node.get(&format!("/store/check?after={after}")).await?;
        all.resources += portion.resources;
        all.versions += portion.versions;
        all.problems.extend(portion.problems);
        match portion.next {
            Some(next) if all.problems.len() < PROBLEMS => after = next,
            _ => return Ok(all),
        }
    }
}

fn store_text(compared: &Compared) -> String {
    let mut text = String::new();
    for problem in compared.problems.iter().take(PROBLEMS) {
        text.push_str(&printable(&format!("store: error: {problem}")));
        text.push('\n');
    }
    if !compared.problems.is_empty() {
        text.push_str("    remedy: restore the last backup, and report what led to this\n");
    }
    let Compared { resources, versions, problems } = compared;
    text.push_str(&format!(
        "store: {resources} resources with {versions} versions compared, {} problems\n",
        problems.len()
    ));
    text
}

/// What the programs find; what several say is said once.
pub(super) async fn findings(directory: &Path) -> Result<Vec<Found>, CheckError> {
    let mut findings = Vec::new();
    for program in [Program::Engine, Program::Gateway, Program::Refresh] {
        findings.extend(ask(program, directory).await?);
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

async fn ask(program: Program, directory: &Path) -> Result<Vec<Found>, CheckError> {
    let no_findings = |reason: String| CheckError::NoFindings { program: program.file_name(), reason };
    let output = tokio::process::Command::new(program.path()?)
        .arg("--directory")
        .arg(directory)
        .args(["--build", link::BUILD, "--check"])
        .output()
        .await
        .map_err(|error| no_findings(error.to_string()))?;
    let own_words = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    serde_json::from_slice(&output.stdout).map_err(|_| no_findings(own_words()))
}

fn text(directory: &Path, findings: &[Found], errors: usize) -> String {
    let mut text = String::new();
    for finding in findings {
        let Found { file, line, severity, key, text: what, remedy } = finding;
        let place = if *line > 0 { format!("{file}:{line}") } else { file.clone() };
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        text.push_str(&printable(&format!("{place}: {severity}: {key}{what}")));
        text.push('\n');
        if !remedy.is_empty() {
            text.push_str(&format!("    remedy: {}\n", printable(remedy)));
        }
    }
    let warnings = findings.len() - errors;
    text.push_str(&format!("{}: {errors} errors, {warnings} warnings\n", directory.display()));
    text
}
