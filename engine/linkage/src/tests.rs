//! Tests of normalisation, filters, comparison and matching.

mod filters;
mod generated;
mod matching;
mod normalization;

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use secrets::Key;

use crate::parameters::{HARDENED, STANDARD};
use crate::{Effort, Encoder, Field, Filter, Filters, ParameterSet, Person, Similarity};

pub(super) static NEVER: AtomicBool = AtomicBool::new(false);

pub(super) fn key(seed: u8) -> Key {
    let bytes: Vec<u8> = (0..32).map(|place| seed.wrapping_mul(37).wrapping_add(place)).collect();
    Key::new(&bytes).unwrap()
}

pub(super) fn anna() -> Person {
    Person::new()
        .with(Field::GivenName, "Anna-Lena")
        .with(Field::FamilyName, "Müller")
        .with(Field::BirthDate, "1980-02-29")
        .with(Field::Sex, "female")
        .with(Field::Street, "Hauptstraße 5")
        .with(Field::PostalCode, "69120")
        .with(Field::City, "Heidelberg")
        .with(Field::Country, "DE")
        .with(Field::InsuranceNumber, "A123456789")
}

/// Somebody of whom there is only one for every number.
pub(super) fn somebody(number: u32) -> Person {
    let word = |salt: u32| -> String {
        let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(40_503)) | 1;
        let letters = (0..7).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        });
        letters.collect()
    };
    Person::new()
        .with(Field::GivenName, word(1))
        .with(Field::FamilyName, word(2))
        .with(Field::BirthDate, format!("{}-{:02}-{:02}", 1930 + number % 80, 1 + number % 12, 1 + number * 7 % 28))
        .with(Field::Street, format!("{}weg {}", word(3), number % 90))
        .with(Field::PostalCode, format!("{:05}", number * 7919 % 99_999))
        .with(Field::City, word(4))
        .with(Field::InsuranceNumber, format!("K{:09}", u64::from(number) * 48_271 % 999_999_999))
}

/// Tables take a moment to make.
pub(super) fn encoder(parameters: &'static ParameterSet, seed: u8) -> &'static Encoder {
    static FIRST: [LazyLock<Encoder>; 2] =
        [LazyLock::new(|| Encoder::new(&STANDARD, &key(1))), LazyLock::new(|| Encoder::new(&STANDARD, &key(2)))];
    static HARD: [LazyLock<Encoder>; 2] =
        [LazyLock::new(|| Encoder::new(&HARDENED, &key(1))), LazyLock::new(|| Encoder::new(&HARDENED, &key(2)))];
    let encoders = if *parameters == STANDARD { &FIRST } else { &HARD };
    &encoders[usize::from(seed) - 1]
}

pub(super) fn filters(parameters: &'static ParameterSet, people: &[Person]) -> Filters {
    let encoder = encoder(parameters, 1);
    let mut filters = Filters::new(parameters);
    for person in people {
        filters.push(&encoder.encode(person).unwrap()).unwrap();
    }
    filters
}

pub(super) fn effort(threads: usize, threshold: Similarity) -> Effort<'static> {
    Effort { threads, cancelled: &NEVER, threshold }
}

pub(super) fn encode(parameters: &'static ParameterSet, seed: u8, person: &Person) -> Filter {
    encoder(parameters, seed).encode(person).unwrap()
}
