//! What is written in many ways becomes one.

use proptest::prelude::*;

use crate::Field;
use crate::normalize::normalize;

#[test]
fn spellings_of_one_value_become_one() {
    let same: [(Field, &str, &[&str]); 13] = [
        (Field::FamilyName, "mueller", &["Müller", "MÜLLER", "Mu\u{308}ller", "Mueller", " müller ", "Dr. Müller"]),
        (Field::FamilyName, "weiss", &["Weiß", "WEISS", "Prof. Dr. med. Weiß"]),
        (Field::FamilyName, "oneil", &["O'Neil", "O\u{2019}Neil", "oneil"]),
        (Field::FamilyName, "lindstroem", &["Lindström", "Lindstrøm"]),
        (Field::GivenName, "anna lena", &["Anna-Lena", "Anna  Lena", "ANNA LENA"]),
        (Field::FamilyName, "aeoer", &["Ǣǿr", "ǣǾr", "æør"]),
        (Field::GivenName, "rene", &["René", "Rene\u{301}"]),
        (Field::GivenName, "frau", &["Frau"]),
        (Field::BirthDate, "19800229", &["1980-02-29", "29.02.1980", "29.2.1980", "19800229", "1980-02-29T00:00:00Z"]),
        (Field::Sex, "f", &["female", "W", "weiblich", "f"]),
        (Field::Street, "hauptstr 5", &["Hauptstraße 5", "Hauptstr. 5", "HAUPTSTRASSE 5"]),
        (Field::PostalCode, "69120", &["69120", " 69 120"]),
        (Field::InsuranceNumber, "a123456789", &["A123456789", "A 123 456 789", "a-123456789"]),
    ];
    for (field, expected, spellings) in same {
        for spelling in spellings {
            assert_eq!(normalize(field, spelling).as_deref(), Some(expected), "{spelling:?}");
        }
    }
}

#[test]
fn what_says_nothing_is_no_value() {
    let nothing = [
        (Field::FamilyName, ""),
        (Field::FamilyName, " -,. "),
        (Field::FamilyName, "unbekannt"),
        (Field::GivenName, "N.N."),
        (Field::BirthDate, "1980"),
        (Field::BirthDate, "1980-02"),
        (Field::BirthDate, "gestern"),
        (Field::BirthDate, "0080-02-29"),
        (Field::BirthDate, "1980-٠2-29"),
        (Field::Sex, "unknown"),
    ];
    for (field, text) in nothing {
        assert_eq!(normalize(field, text), None, "{text:?}");
    }
}

#[test]
fn letters_of_other_scripts_stay() {
    assert_eq!(normalize(Field::FamilyName, "Иванов").as_deref(), Some("иванов"));
    assert_ne!(normalize(Field::FamilyName, "Иванов"), normalize(Field::FamilyName, "Петров"));
}

proptest! {
    #[test]
    fn normalizing_twice_changes_nothing(text in "\\PC{0,120}", field in 0_usize..9) {
        let field = Field::ALL[field];
        if let Some(once) = normalize(field, &text) {
            prop_assert_eq!(normalize(field, &once), Some(once));
        }
    }

    #[test]
    fn a_value_is_bounded_and_has_single_spaces(text in "\\PC{0,400}", field in 0_usize..9) {
        if let Some(value) = normalize(Field::ALL[field], &text) {
            prop_assert!(value.chars().count() <= crate::limits::VALUE_CHARACTERS);
            prop_assert!(!value.contains("  ") && value.trim() == value && !value.is_empty());
        }
    }
}
