//! `sources`: indexing generated records of one site and counting cohorts in them, in this process and on one thread.
//!
//! 2 000 patients in a quick run, 20 000 otherwise, 100 000 with SCHLEUSE_SLOW=1. The counts are compared with the truth
//! that the generator knows; a wrong one ends the benchmark.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sources::ccdl::Definition;
use sources::folder::{Index, build};
use sources::mapping::Mapping;
use sources::{Records as _, Selection};
use synthetic::{Network, Truth, questions, write_site};
use time::OffsetDateTime;

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::report::{Report, Target};
use crate::statistics::Values;

/// Measures and reports.
pub(crate) fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let is_slow = std::env::var_os("SCHLEUSE_SLOW").is_some_and(|value| value == "1");
    let patients = match (run.quick, is_slow) {
        (true, _) => 2_000,
        (false, false) => 20_000,
        (false, true) => 100_000,
    };
    let network = Network { seed: 100, sites: 1, patients, shared: 0 };
    let folder = tempfile::tempdir().during("making a folder")?;
    let (records, index) = (folder.path().join("records"), folder.path().join("index"));
    let bytes = write_site(&network, 0, &records).during("writing records")?;
    report.value("patients", f64::from(patients), "");
    report.value("records", bytes as f64 / 1e6, "MB");

    let begun = Instant::now();
    build(&records, &index, &mut |_| {}).during("indexing")?;
    let rate = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    report.figure("indexing, one thread", rate, "MB/s", Target::AtLeast(50.0));
    report.value("size of the index, of the records", 100.0 * size(&index)? / bytes as f64, "%");
    let begun = Instant::now();
    build(&records, &index, &mut |_| {}).during("indexing again")?;
    report.value("indexing again with nothing changed", begun.elapsed().as_secs_f64() * 1e3, "ms");

    let today = OffsetDateTime::now_utc().date();
    let truth = Truth::of(&network, today);
    let mapping = Arc::new(Mapping::native().during("reading the mapping")?);
    let opened = Index::open(&index, Arc::clone(&mapping)).during("opening the index")?;
    let rounds = if run.quick { 20 } else { 200 };
    for question in questions() {
        let definition = Definition::parse(question.definition.as_bytes()).during("reading a definition")?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            let plan = mapping.plan(&definition, today).during("planning")?;
            let count = black_box(opened.evaluate(&plan).during("counting")?.len());
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            if truth.sites.first().and_then(|site| site.counts.get(question.name)) != Some(&count) {
                return Err(Failure::new(format!("{} was counted as {count}, which is not the truth", question.name)));
            }
        }
        let times = Values::new(times);
        report.figure(format!("cohort {}, p50", question.name), times.p50(), "ms", Target::Below(20.0));
        report.value(format!("cohort {}, p99", question.name), times.p99(), "ms");
    }
    let persons = opened.persons().during("reading persons")?;
    let begun = Instant::now();
    let mut read = 0_usize;
    let some = persons.iter().take(500);
    for person in some.clone() {
        read += opened.resources_of(person, &Selection::all()).during("reading records")?.len();
    }
    let each = begun.elapsed().as_secs_f64() * 1e3 / some.len().max(1) as f64;
    report.value("reading all resources of a person", each, "ms");
    report.note(format!("warm file cache; {read} resources of {} persons were read", some.len()));
    Ok(())
}

fn size(folder: &std::path::Path) -> Outcome<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).during("reading the folder of the index")? {
        let entry = entry.during("reading the folder of the index")?;
        bytes += entry.metadata().during("reading the size of a file")?.len();
    }
    Ok(bytes as f64)
}
