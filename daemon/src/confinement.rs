//! What both services and the refresher do with their confinement: enter it at start, tell `--check` whether it can be had,
//! and show with `--prove-confinement` that it holds on this machine.

use std::process::ExitCode;

use confine::{Attempt, ConfineError, Confinement, Layer, Outcome, Profile};
use serde_json::json;
use settings::{Finding, Severity};

use crate::EXIT_FAILURE;

/// Confines this process for good, before its first thread starts, and logs what is in force.
pub fn confine(profile: &Profile, required: bool) -> Result<Confinement, ConfineError> {
    let confinement = confine::enter(profile, required)?;
    if is_whole(&confinement) {
        tracing::info!(confinement = confinement.summary(), "process is confined");
    } else {
        tracing::warn!(confinement = confinement.summary(), "process is not wholly confined");
    }
    Ok(confinement)
}

/// What a start would say, tried in a thread.
#[must_use]
pub fn confinement_findings(profile: &Profile, required: bool) -> Vec<Finding> {
    let finding = |severity, text: String, remedy: &str| {
        vec![Finding { severity, ..Finding::in_file("node.toml", format!("node.sandbox: {text}"), remedy) }]
    };
    match confine::probe(profile, required) {
        Ok(confinement) if is_whole(&confinement) => Vec::new(),
        Ok(confinement) => {
            let remedy = "a newer kernel (Linux 6.12) confines all of it";
            finding(
                Severity::Warning,
                format!("the kernel gives less than the node asks for: {}", confinement.summary()),
                remedy,
            )
        }
        Err(error) => finding(Severity::Error, error.to_string(), error.remedy()),
    }
}

fn is_whole(confinement: &Confinement) -> bool {
    [confinement.files, confinement.ports, confinement.system_calls].iter().all(|layer| *layer == Layer::Enforced)
}

/// Tries what is forbidden within the confinement, prints what came of it as JSON, and fails if anything was allowed.
#[must_use]
pub fn prove(profile: &Profile, attempts: &[Attempt]) -> ExitCode {
    match confine::prove(profile, attempts) {
        Ok((confinement, tried)) => {
            let holds = confinement.holds() && tried.iter().all(|tried| tried.after != Outcome::Allowed);
            println!("{}", json!({ "confinement": confinement, "attempts": tried, "holds": holds }));
            if holds { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) }
        }
        Err(error) => {
            eprintln!("{error}; {}", error.remedy());
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
