//! `feasibility`: the time until a portal has the answers of three sites to one question.
//!
//! A demonstration network whose sites have generated records (2 000 patients each in a quick run, 20 000 otherwise, 100 000
//! with SCHLEUSE_SLOW=1), indexed before. The clock runs around `schleuse feasibility run`, so it has the start of the
//! command and the pauses between its looks in it. Counts are told with noise; those told must fit the truth.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use synthetic::{Network, Truth, questions, write_site};
use time::OffsetDateTime;

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::ping;
use crate::report::{Report, Target};
use crate::statistics::Values;

const SITES: u32 = 3;
/// Noise beyond has a probability of four in a million, and rounding to tens.
const NOISE: u64 = 30;

/// Measures and reports.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let is_slow = std::env::var_os("SCHLEUSE_SLOW").is_some_and(|value| value == "1");
    let (patients, rounds) = match (run.quick, is_slow) {
        (true, _) => (2_000, 5),
        (false, false) => (20_000, 20),
        (false, true) => (100_000, 20),
    };
    let records = Network { seed: 100, sites: SITES, patients, shared: 0 };
    let folder = tempfile::Builder::new().prefix("benchmark-").tempdir().during("making a temporary folder")?;
    let directory = folder.path().join("network");
    let program = run.program("schleuse")?;
    eprintln!("feasibility: starting a network");
    let (_network, _) = ping::start(run, folder.path(), &directory, SITES).await?;
    eprintln!("feasibility: records of {patients} patients at each of {SITES} sites");
    let mut bytes = 0;
    for site in 0..SITES {
        let node = directory.join(format!("nodes/dic-{}", site + 1));
        let files = node.join("records");
        std::fs::remove_dir_all(&files).during("removing records")?;
        bytes += write_site(&records, site, &files).during("writing records")?;
        command(&program, &["source", "index", &node.display().to_string()])?;
    }
    report.value("patients of each site", f64::from(patients), "");
    report.value("records of all sites", bytes as f64 / 1e6, "MB");
    let truth = Truth::of(&records, OffsetDateTime::now_utc().date());
    let portal = directory.join("nodes/portal").display().to_string();
    for question in questions() {
        let file = folder.path().join("question.json");
        std::fs::write(&file, question.definition).during("writing a question")?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            let file = file.display().to_string();
            let told = command(&program, &["--format", "json", "feasibility", "run", &file, "--directory", &portal])?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            fits(&told, &truth, question.name)?;
        }
        let times = Values::new(times);
        report.figure(format!("question {}, p50", question.name), times.p50(), "ms", Target::Below(1_000.0));
        report.value(format!("question {}, most", question.name), times.percentile(100.0), "ms");
    }
    report.note(format!(
        "{rounds} rounds of each question, one after the other, by the command at the portal; durable commits"
    ));
    Ok(())
}

fn command(program: &Path, arguments: &[&str]) -> Outcome<String> {
    let what = arguments.join(" ");
    let output = Command::new(program).args(arguments).output().during(format!("running schleuse {what}"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("schleuse {what}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether every site told what it may tell of the truth.
fn fits(told: &str, truth: &Truth, question: &str) -> Outcome<()> {
    let told: Value = serde_json::from_str(told).during("reading the answers")?;
    let sites = told.get("sites").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (number, site) in truth.sites.iter().enumerate() {
        let name = format!("dic-{}.example", number + 1);
        let answer = sites.iter().find(|site| site.get("site").and_then(Value::as_str) == Some(&name));
        let count = answer.and_then(|answer| answer.get("count")?.as_u64());
        let right = site.counts.get(question).copied().during("looking for the truth")?;
        let is_right = count.is_some_and(|count| if right < 5 { count == 0 } else { count.abs_diff(right) <= NOISE });
        if !is_right {
            return Err(Failure::new(format!("{name} told {count:?} of {question}, which is {right}")));
        }
    }
    Ok(())
}
