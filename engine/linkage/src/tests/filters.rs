//! What a filter says and what it does not.

use proptest::prelude::*;

use super::{anna, encode, encoder, somebody};
use crate::filter::common;
use crate::parameters::{HARDENED, STANDARD};
use crate::{Field, Filter, FilterError, ParameterSet, Person, Similarity};

#[test]
fn the_same_person_gives_the_same_filter_however_written() {
    let other = Person::new()
        .with(Field::GivenName, "ANNA LENA")
        .with(Field::FamilyName, "Dr. Mueller")
        .with(Field::BirthDate, "29.02.1980")
        .with(Field::Sex, "W")
        .with(Field::Street, "Hauptstr. 5")
        .with(Field::PostalCode, "69120")
        .with(Field::City, "HEIDELBERG")
        .with(Field::Country, "de")
        .with(Field::InsuranceNumber, "a123456789");
    for parameters in ParameterSet::ALL {
        assert_eq!(encode(parameters, 1, &anna()), encode(parameters, 1, &other), "{}", parameters.name);
    }
}

#[test]
fn a_mistake_lowers_similarity_and_another_person_more() {
    let mistake = anna().with(Field::FamilyName, "Müler");
    for parameters in ParameterSet::ALL {
        let filter = encode(parameters, 1, &anna());
        let near = filter.similarity(&encode(parameters, 1, &mistake));
        let far = filter.similarity(&encode(parameters, 1, &somebody(7)));
        assert!(near >= parameters.threshold, "{}: {near}", parameters.name);
        assert!(far < parameters.threshold, "{}: {far}", parameters.name);
        assert!(near < Similarity::ONE);
    }
}

#[test]
fn filters_of_two_projects_have_nothing_to_do_with_each_other() {
    for parameters in ParameterSet::ALL {
        let similarity = encode(parameters, 1, &anna()).similarity(&encode(parameters, 2, &anna()));
        // Two independent fillings of about half share about half.
        assert!(similarity < Similarity::percent(60), "{}: {similarity}", parameters.name);
    }
}

#[test]
fn a_value_gives_other_bits_in_another_field() {
    let given = Person::new().with(Field::GivenName, "Martin").with(Field::FamilyName, "Simon");
    let swapped = Person::new().with(Field::GivenName, "Simon").with(Field::FamilyName, "Martin");
    let base = |person: Person| person.with(Field::BirthDate, "1970-01-02");
    let one_other = Person::new().with(Field::GivenName, "Ulrich").with(Field::FamilyName, "Simon");
    let first = encode(&STANDARD, 1, &base(given));
    let similarity = |person: Person| first.similarity(&encode(&STANDARD, 1, &base(person)));
    // Were fields not told apart, swapped names would be the same names.
    assert!(similarity(swapped) < similarity(one_other));
}

#[test]
fn too_little_known_is_not_linked() {
    let little = Person::new().with(Field::FamilyName, "Meier").with(Field::Sex, "m").with(Field::City, "Köln");
    let error = encoder(&STANDARD, 1).encode(&little).unwrap_err();
    assert_eq!(error.known, 22);
    let unreadable = anna().with(Field::BirthDate, "?").with(Field::InsuranceNumber, "--").with(Field::Street, "");
    assert!(encoder(&STANDARD, 1).encode(&unreadable).is_err());
}

#[test]
fn a_person_is_not_printed() {
    assert_eq!(format!("{:?}", anna()), "Person(9 values)");
}

#[test]
fn share_c11_filters_of_another_shape_are_refused() {
    let filter = encode(&STANDARD, 1, &anna());
    let text = filter.to_base64();
    assert_eq!(Filter::from_base64(&STANDARD, &text).unwrap(), filter);
    let refuse = |text: &str| Filter::from_base64(&STANDARD, text).unwrap_err();
    assert!(matches!(refuse(text.get(..text.len() - 4).unwrap()), FilterError::Length { .. }));
    assert!(matches!(refuse(&format!("{text}{text}{text}")), FilterError::Length { .. }));
    assert!(matches!(refuse(&"A".repeat(1 << 20)), FilterError::Length { .. }));
    assert_eq!(refuse(""), FilterError::Length { found: 0, expected: 256, parameters: STANDARD.name });
    assert_eq!(refuse(&text.replace(|c: char| c.is_ascii_lowercase(), "*")), FilterError::Base64);
    let whole = |byte: u8| Filter::from_words(vec![u64::from_le_bytes([byte; 8]); 32]).to_base64();
    assert!(matches!(refuse(&whole(0xff)), FilterError::Implausible { .. }));
    assert!(matches!(refuse(&whole(0)), FilterError::Implausible { .. }));
}

#[test]
fn parameter_sets_are_found_by_their_names_and_weigh_a_hundred() {
    for parameters in ParameterSet::ALL {
        assert_eq!(ParameterSet::named(parameters.name), Some(parameters));
        assert_eq!(Field::ALL.iter().map(|field| parameters.weight(*field)).sum::<usize>(), 100);
        assert_eq!(parameters.bits % 64, 0);
    }
    assert_eq!(ParameterSet::named("other"), None);
}

#[test]
fn hardening_flips_what_was_said() {
    let person = anna();
    let filter = encode(&HARDENED, 1, &person);
    assert_eq!(filter, encode(&HARDENED, 1, &person), "flips must not average out");
    assert_eq!(filter.words().len() * 64, HARDENED.bits);
}

proptest! {
    #[test]
    fn counting_by_adders_counts_right(words in prop::collection::vec(any::<(u64, u64)>(), 0..70)) {
        let (first, second): (Vec<u64>, Vec<u64>) = words.iter().copied().unzip();
        let expected: u32 = words.iter().map(|(a, b)| (a & b).count_ones()).sum();
        prop_assert_eq!(common(&first, &second), expected);
    }

    #[test]
    fn similarity_is_symmetric_and_one_only_for_equals(numbers in (0_u32..500, 0_u32..500)) {
        let (first, second) = (encode(&STANDARD, 2, &somebody(numbers.0)), encode(&STANDARD, 2, &somebody(numbers.1)));
        prop_assert_eq!(first.similarity(&second), second.similarity(&first));
        prop_assert_eq!(first.similarity(&second) == Similarity::ONE, first == second);
    }

    #[test]
    fn any_text_is_a_filter_or_an_error(text in "\\PC{0,400}") {
        let _ = Filter::from_base64(&STANDARD, &text);
    }

    #[test]
    fn any_person_is_encoded_or_refused(values in prop::collection::vec("\\PC{0,90}", 9)) {
        let person = Field::ALL.into_iter().zip(values).fold(Person::new(), |person, (field, value)| person.with(field, value));
        if let Ok(filter) = encoder(&STANDARD, 1).encode(&person) {
            prop_assert_eq!(filter.words().len(), 32);
        }
    }
}
