//! `data-set`: from the request to the provided data set for three sites, as people see it with the commands, and the most
//! memory that each engine takes meanwhile.
//!
//! Runs of different size follow one another on networks of their own, each with generated records: 10 000 patients, a quarter
//! of them, and with SCHLEUSE_SLOW=1 three times as many. The memory of one beside the other shows what depends on the size
//! of the set. Peaks are those of the kernel (`VmHWM`), which are reset before the request.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use synthetic::sharing::{DEFINITION, SharedTruth};
use synthetic::{Network as Persons, write_site};
use time::OffsetDateTime;

use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::limits::{DATA_SET, READY};
use crate::process::{Lifeline, Process};
use crate::report::{Report, Table, number};

/// Pause between two looks at a run.
const LOOK: Duration = Duration::from_millis(200);
const SITES: u32 = 3;

/// What is needed of `demo.json`.
#[derive(Debug, Deserialize)]
struct Network {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
struct Node {
    name: String,
    role: String,
    directory: PathBuf,
    engine_pid: u32,
}

/// What one run took.
struct Measured {
    patients: u32,
    persons: u64,
    resources: u64,
    bytes: u64,
    /// Seconds by step.
    steps: Vec<(&'static str, f64)>,
    /// MiB by node.
    peaks: Vec<(String, f64)>,
}

/// Measures and reports.
pub(crate) fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let is_slow = std::env::var_os("SCHLEUSE_SLOW").is_some_and(|value| value == "1");
    let sizes: &[u32] = match (run.quick, is_slow) {
        (true, _) => &[300, 1_200],
        (false, false) => &[2_500, 10_000],
        (false, true) => &[2_500, 10_000, 30_000],
    };
    let measured: Outcome<Vec<Measured>> = sizes.iter().map(|patients| measure(run, *patients)).collect();
    let measured = measured?;
    let total = |measured: &Measured| measured.steps.iter().map(|(_, seconds)| seconds).sum::<f64>();
    for one in &measured {
        let figure = |what: &str| format!("{} patients: {what}", one.patients);
        report.value(figure("persons in the data set"), one.persons as f64, "");
        report.value(figure("resources in the data set"), one.resources as f64, "");
        report.value(figure("data set at the researcher"), one.bytes as f64 / 1e6, "MB");
        report.value(figure("request to fetched data set"), total(one), "s");
    }
    let names: Vec<String> = measured.iter().map(|one| one.patients.to_string()).collect();
    let header =
        |first: &'static str| -> Vec<&str> { [first].into_iter().chain(names.iter().map(String::as_str)).collect() };
    let rows = |of: &dyn Fn(&Measured) -> Vec<(String, f64)>| -> Vec<Vec<String>> {
        let columns: Vec<Vec<(String, f64)>> = measured.iter().map(of).collect();
        let first = columns.first().cloned().unwrap_or_default();
        let row = |(place, (name, _)): (usize, (String, f64))| {
            let values = columns.iter().map(|column| column.get(place).map_or(f64::NAN, |(_, value)| *value));
            [name].into_iter().chain(values.map(number)).collect()
        };
        first.into_iter().enumerate().map(row).collect()
    };
    let steps = |one: &Measured| one.steps.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
    report.table(Table::new("Time by step and patients, s", &header("step"), rows(&steps)));
    let peaks = |one: &Measured| one.peaks.clone();
    report.table(Table::new("Peak memory by engine and patients, MiB", &header("node"), rows(&peaks)));
    report.note("people answer at once; every step is durable; all nodes share this machine".to_owned());
    Ok(())
}

fn measure(run: &Run, patients: u32) -> Outcome<Measured> {
    let folder = tempfile::Builder::new().prefix("benchmark-").tempdir().during("making a temporary folder")?;
    let root = folder.path().join("network");
    eprintln!("data-set: a network with {patients} patients");
    let (_network, nodes) = start(run, folder.path(), &root)?;
    let program = run.program("schleuse")?;
    let command = |arguments: &[&str]| schleuse(&program, arguments);
    let persons = Persons { seed: 7, sites: SITES, patients: patients / SITES, shared: patients / SITES / 5 };
    for (site, node) in (0..).zip(nodes.iter().filter(|node| node.role == "DIC")) {
        let records = node.directory.join("records");
        std::fs::remove_dir_all(&records).during("removing the records of the demonstration")?;
        write_site(&persons, site, &records).during("writing records")?;
        command(&["source", "index", path(&node.directory)?])?;
    }
    let by_role = |role: &str| nodes.iter().find(|node| node.role == role).during("looking for a node");
    let (portal, dms) = (by_role("HRP")?, by_role("DMS")?);
    let definition = folder.path().join("crtdl.json");
    std::fs::write(&definition, DEFINITION).during("writing the definition")?;
    for node in &nodes {
        // 5: forget the peak of what was resident.
        std::fs::write(format!("/proc/{}/clear_refs", node.engine_pid), "5").during("resetting the peak of memory")?;
    }

    let mut steps = Vec::new();
    let mut begun = Instant::now();
    let mut step = |name: &'static str| {
        steps.push((name, begun.elapsed().as_secs_f64()));
        begun = Instant::now();
    };
    let portal_directory = path(&portal.directory)?;
    let asked = ["data-set", "request", portal_directory, "--project", "benchmark", "--definition", path(&definition)?];
    let answer = command(&[&asked[..], &["--format", "json"]].concat())?;
    let id = answer.get("run").and_then(Value::as_str).during("reading the run")?.to_owned();
    let part = |node: &Node| -> Outcome<Option<Value>> {
        // A node that has not heard of the run yet says so with an exit code.
        let found = command(&["data-set", "status", path(&node.directory)?, "--run", &id, "--format", "json"]);
        Ok(found.ok().and_then(|found| found.pointer("/runs/0").cloned()))
    };
    let until = |what: &str, node: &Node, is_so: &dyn Fn(&Value) -> bool| -> Outcome<Value> {
        let end = Instant::now() + DATA_SET;
        loop {
            if let Some(found) = part(node)?.filter(|found| is_so(found)) {
                return Ok(found);
            }
            if Instant::now() > end {
                return Err(Failure::new(format!("{what} took more than {} s", DATA_SET.as_secs())));
            }
            std::thread::sleep(LOOK);
        }
    };
    let waits = |form: &'static str| move |found: &Value| found.get("waits-for").and_then(Value::as_str) == Some(form);
    let sites = || nodes.iter().filter(|node| node.role == "DIC");
    for site in sites() {
        until("counting", site, &waits("approve-extraction"))?;
    }
    step("request, counting at the sites");
    for site in sites() {
        command(&["data-set", "approve", &id, path(&site.directory)?])?;
    }
    until("linking and merging", dms, &waits("release-data-set"))?;
    step("filters, linkage, sealing, merging");
    command(&["data-set", "release", &id, path(&dms.directory)?])?;
    let is_ended =
        |found: &Value| found.get("status").is_some_and(|status| status == "completed" || status == "failed");
    let ended = until("providing", portal, &is_ended)?;
    step("release, taking over");
    let into = folder.path().join("data");
    let fetched = command(&["data-set", "fetch", &id, portal_directory, "--into", path(&into)?, "--format", "json"])?;
    step("fetching");

    let count = |name: &str| ended.get(name).and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
    let persons_provided = count("persons").during("reading the number of persons")?;
    let truth = SharedTruth::of(&persons, &[0, 1, 2], OffsetDateTime::now_utc().date());
    // What linkage misses is measured by `linkage`; here nothing may be lost or come from nowhere.
    if persons_provided < truth.persons || persons_provided > truth.persons + truth.several / 10 + 1 {
        return Err(Failure::new(format!("{persons_provided} persons were provided, the truth is {}", truth.persons)));
    }
    let peaks: Outcome<Vec<(String, f64)>> =
        nodes.iter().map(|node| Ok((node.name.clone(), peak(node.engine_pid)?))).collect();
    Ok(Measured {
        patients: persons.patients * SITES,
        persons: persons_provided,
        resources: count("resources").during("reading the number of resources")?,
        bytes: fetched.get("bytes").and_then(Value::as_u64).unwrap_or_default(),
        steps,
        peaks: peaks?,
    })
}

/// Starts the network and waits until it has described itself.
fn start(run: &Run, folder: &Path, root: &Path) -> Outcome<(Process, Vec<Node>)> {
    let sites = SITES.to_string();
    let arguments = ["demo", "--directory", path(root)?, "--no-run", "--sites", &sites, "--port", "0"];
    let program = run.program("schleuse")?;
    let mut process =
        Process::start("schleuse demo", &program, &arguments, &folder.join("demo.log"), Lifeline::Signal)?;
    let end = Instant::now() + READY * 2;
    loop {
        process.must_run()?;
        if let Ok(text) = std::fs::read_to_string(root.join("demo.json")) {
            let network: Network = serde_json::from_str(&text).during("reading demo.json")?;
            let nodes = network.nodes.into_iter();
            return Ok((process, nodes.map(|node| Node { directory: root.join(&node.directory), ..node }).collect()));
        }
        if Instant::now() > end {
            return Err(process.failure("did not describe its network"));
        }
        std::thread::sleep(LOOK);
    }
}

fn path(path: &Path) -> Outcome<&str> {
    path.to_str().during("reading a path")
}

/// Runs a command; its answer as JSON, if it is some.
fn schleuse(program: &Path, arguments: &[&str]) -> Outcome<Value> {
    let output = Command::new(program).args(arguments).output().during("running schleuse")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("schleuse {} failed: {error}", arguments.join(" "))));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// The most memory that was resident since the reset, in MiB.
fn peak(pid: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).during("reading the peak of memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).during("reading the peak of memory")?;
    let kilobytes = line.trim().trim_end_matches("kB").trim().parse::<f64>().during("reading the peak of memory")?;
    Ok(kilobytes / 1024.0)
}
