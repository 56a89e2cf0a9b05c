//! `schleuse check DIR`: everything that is wrong with a node's configuration. Both programs load it themselves, with the
//! code of their start, so that what passes here is what starts.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::fail;
use crate::arguments::Format;
use crate::output::{answer, printable};
use crate::supervise::{Program, SuperviseError};

/// A finding as both programs print it (crate `settings`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Found {
    file: String,
    line: usize,
    severity: String,
    key: String,
    text: String,
    remedy: String,
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Program(#[from] SuperviseError),
    #[error("{program} gave no findings: {reason}")]
    NoFindings { program: &'static str, reason: String },
}

pub(super) async fn run(directory: &Path, format: Format) -> u8 {
    if let Err(error) = std::fs::read_dir(directory) {
        eprintln!(
            "schleuse: {}: {error}; name the directory of a node, or create one with `schleuse init DIR`",
            directory.display()
        );
        return 78;
    }
    let mut findings = Vec::new();
    for program in [Program::Engine, Program::Gateway] {
        match ask(program, directory).await {
            Ok(found) => findings.extend(found),
            Err(error) => return fail(&error, 1),
        }
    }
    // Both programs read node.toml and the policies; what both say is said once.
    findings.sort();
    findings.dedup();
    let errors = findings.iter().filter(|finding| finding.severity == "error").count();
    answer(format, || text(directory, &findings, errors), || json!({ "findings": findings, "errors": errors }));
    if errors == 0 { 0 } else { 78 }
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
