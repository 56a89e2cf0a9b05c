//! `schleuse doctor DIR`: looks at everything around a node that can be looked at from its machine, and says the remedy for
//! each thing that is wrong.
//!
//! Unlike `schleuse check`, which judges files alone, it also asks the machine (`host`), the running node (`node`) and the
//! partners (`partners`). It changes nothing. What cannot be looked at is said to be unknown, never passed.

mod host;
mod node;
mod partners;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::arguments::{Doctor, Format};
use crate::local::Local;
use crate::output::{answer, printable};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Problem,
    Warning,
    Unknown,
    Good,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Seen {
    area: &'static str,
    verdict: Verdict,
    text: String,
    remedy: String,
}

// === impl Seen ===

impl Seen {
    fn good(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Good, text: text.into(), remedy: String::new() }
    }

    fn other(area: &'static str, verdict: Verdict, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, verdict, text: text.into(), remedy: remedy.into() }
    }
}

pub(super) async fn run(arguments: &Doctor, format: Format) -> u8 {
    let directory = arguments.directory.as_path();
    if let Err(error) = std::fs::read_dir(directory) {
        eprintln!(
            "schleuse: {}: {error}; name the directory of a node, or create one with `schleuse init DIR`",
            directory.display()
        );
        return 78;
    }
    let mut seen = node::configuration(directory).await;
    seen.extend(node::confinement(directory).await);
    seen.extend(host::clock());
    seen.extend(host::disk(directory));
    seen.extend(host::tpm());
    match Local::load(directory) {
        Ok(local) => {
            seen.extend(host::names(&local).await);
            seen.extend(node::running(directory, &local).await);
            seen.extend(node::certificates(&local));
            if arguments.offline {
                let remedy = "leave --offline out";
                seen.push(Seen::other("partners", Verdict::Unknown, "partners were not asked", remedy));
            } else {
                seen.extend(partners::all(&local).await);
            }
        }
        // The configuration says why.
        Err(_) => seen.push(Seen::other(
            "node",
            Verdict::Unknown,
            "the node and its partners were not asked, because its configuration cannot be read",
            "repair the configuration first",
        )),
    }
    let problems = seen.iter().filter(|seen| seen.verdict == Verdict::Problem).count();
    answer(format, || text(directory, &seen), || json!({ "seen": seen, "problems": problems }));
    u8::from(problems > 0)
}

fn text(directory: &Path, seen: &[Seen]) -> String {
    let mut text = String::new();
    for Seen { area, verdict, text: what, remedy } in seen {
        let word = match verdict {
            Verdict::Problem => "PROBLEM",
            Verdict::Warning => "warning",
            Verdict::Unknown => "unknown",
            Verdict::Good => "good   ",
        };
        text.push_str(&printable(&format!("{word}  {area}: {what}")));
        text.push('\n');
        if !remedy.is_empty() {
            text.push_str(&format!("         remedy: {}\n", printable(remedy)));
        }
    }
    let count = |verdict| seen.iter().filter(|seen| seen.verdict == verdict).count();
    text.push_str(&format!(
        "{}: {} problems, {} warnings, {} unknown, {} good\n",
        directory.display(),
        count(Verdict::Problem),
        count(Verdict::Warning),
        count(Verdict::Unknown),
        count(Verdict::Good)
    ));
    text
}
