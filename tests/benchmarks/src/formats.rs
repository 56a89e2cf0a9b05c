//! `formats`: reading, printing, validating resources and making snapshots, in this process and on one thread.
//!
//! What partners send to each other (a ping Task), what a network exchanges (a Bundle of Observations), and one large
//! string. Rates are of the text that is read or printed. Validation is that of the endpoint: R4 and every profile that
//! the resource names, compiled before.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fhir::validate::{ProfileRegistry, has_errors, validate};
use fhir::{Format, Limits, Object, Resource, Value};

use crate::Run;
use crate::decision::ping_task;
use crate::error::{During as _, Failure, Outcome};
use crate::report::{Report, Table, Target, number};
use crate::statistics::Values;

const OBSERVATIONS: usize = 500;
const STRING_BYTES: usize = 16 << 20;
const TASK: &str = "http://dsf.dev/fhir/StructureDefinition/task";
/// The profile of the ping Task.
const PING: &str = include_str!("../../../engine/processes/resources/ping-pong/StructureDefinition/task-ping.xml");
const PING_VALUES: [&str; 2] = [
    include_str!("../../../engine/processes/resources/ping-pong/CodeSystem/ping.xml"),
    include_str!("../../../engine/processes/resources/ping-pong/ValueSet/ping.xml"),
];

/// Measures and reports.
pub(crate) fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let time = Duration::from_millis(if run.quick { 200 } else { 3_000 });
    let registry = registry()?;
    let task = ping_task()?;
    let issues = validate(&task, &registry);
    if has_errors(&issues) {
        return Err(Failure::new(format!("the Task is not valid: {issues:?}")));
    }
    let mut rows = Vec::new();
    for (name, resource) in [("Task", task.clone()), ("Bundle", bundle()?), ("Binary", binary())] {
        let mut row = vec![name.to_owned()];
        for format in [Format::Json, Format::Xml] {
            let text = fhir::print(format, &resource, false);
            let megabytes = text.len() as f64 / 1e6;
            row.push(number(text.len() as f64 / 1024.0));
            let read = each(time, || fhir::parse(format, black_box(text.as_bytes()), &Limits::default()).is_ok());
            let printed = each(time, || !fhir::print(format, black_box(&resource), false).is_empty());
            for times in [read, printed] {
                row.push(number(megabytes / (times.p50() / 1e6)));
            }
        }
        rows.push(row);
    }
    let header =
        ["resource", "JSON KiB", "JSON read MB/s", "JSON print MB/s", "XML KiB", "XML read MB/s", "XML print MB/s"];
    report.table(Table::new("Reading and printing", &header, rows));

    let validation = each(time, || !has_errors(&validate(black_box(&task), &registry)));
    report.figure("validation of a ping Task, p50", validation.p50(), "us", Target::Below(1_000.0));
    report.figure("validation of a ping Task, p99", validation.p99(), "us", Target::Below(1_000.0));
    report.value("validations per second", 1e6 / validation.mean(), "/s");
    let many = bundle()?;
    let validation = each(time, || black_box(validate(black_box(&many), &registry)).len() < 1_000);
    report.value(format!("validation of a Bundle of {OBSERVATIONS} Observations, p50"), validation.p50() / 1e3, "ms");

    let definition = fhir::base::resources().during("reading the base resources")?;
    let task_profile = definition.iter().rfind(|resource| resource.str("url") == Some(TASK)).during("the base Task")?;
    let made = each(time, || fhir::snapshot::generate(black_box(task_profile), &registry).is_ok());
    report.value("snapshot of the base Task, p50", made.p50(), "us");
    report.note("one thread; rates and times of the median");
    Ok(())
}

/// Times of single runs in microseconds, for as long as is given, the first ones left out.
fn each(time: Duration, mut work: impl FnMut() -> bool) -> Values {
    for _ in 0..3 {
        black_box(work());
    }
    let mut times = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end || times.len() < 10 {
        let started = Instant::now();
        black_box(work());
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Values::new(times)
}

fn registry() -> Outcome<ProfileRegistry> {
    let mut registry = ProfileRegistry::new();
    for resource in fhir::base::resources().during("reading the base resources")? {
        registry.add(resource);
    }
    for text in [PING].into_iter().chain(PING_VALUES) {
        let text = text.replace("#{version}", "1.0").replace("#{date}", "2026-01-01");
        let resource = fhir::parse(Format::Xml, text.as_bytes(), &Limits::default()).during("reading a profile")?;
        registry.add(resource);
    }
    Ok(registry)
}

/// A Bundle as a data set is sent in.
fn bundle() -> Outcome<Resource> {
    let observation = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org",
        "code":"718-7","display":"Hemoglobin [Mass/volume] in Blood"}]},"subject":{"reference":"Patient/1"},
        "effectiveDateTime":"2026-01-01T10:00:00+01:00","valueQuantity":{"value":13.70,"unit":"g/dL",
        "system":"http://unitsofmeasure.org","code":"g/dL"},"interpretation":[{"coding":[{"code":"N"}]}]}"#;
    let observation =
        fhir::parse(Format::Json, observation.as_bytes(), &Limits::default()).during("reading an Observation")?;
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", "collection");
    for _ in 0..OBSERVATIONS {
        bundle.push("entry", Value::Object(Object::new().with("resource", observation.tree().clone())));
    }
    Ok(bundle)
}

fn binary() -> Resource {
    let mut binary = Resource::new("Binary");
    binary.set("contentType", "application/octet-stream");
    binary.set("data", "QUJD".repeat(STRING_BYTES / 4));
    binary
}
