//! Keyed and random pseudonyms, and their check character.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;

use proptest::prelude::*;

use super::names;
use crate::pseudonym::ParsePseudonymError;
use crate::{Pseudonym, PseudonymTable, Reserved, TableError, TablePseudonyms};

#[derive(Default)]
struct Memory {
    rows: BTreeMap<(String, String), Pseudonym>,
    is_full: bool,
}

impl PseudonymTable for Memory {
    type Error = Infallible;

    fn find(&mut self, domain: &str, original: &str) -> Result<Option<Pseudonym>, Infallible> {
        Ok(self.rows.get(&(domain.to_owned(), original.to_owned())).cloned())
    }

    fn reserve(&mut self, domain: &str, original: &str, pseudonym: &Pseudonym) -> Result<Reserved, Infallible> {
        let is_taken = self.rows.iter().any(|((other, _), taken)| other == domain && taken == pseudonym);
        if is_taken || self.is_full {
            return Ok(Reserved::Taken);
        }
        self.rows.insert((domain.to_owned(), original.to_owned()), pseudonym.clone());
        Ok(Reserved::Stored)
    }

    fn original(&mut self, domain: &str, pseudonym: &Pseudonym) -> Result<Option<String>, Infallible> {
        let mut rows = self.rows.iter();
        Ok(rows
            .find(|((other, _), known)| other == domain && *known == pseudonym)
            .map(|((_, original), _)| original.clone()))
    }

    fn forget(&mut self, domain: &str, original: &str) -> Result<bool, Infallible> {
        Ok(self.rows.remove(&(domain.to_owned(), original.to_owned())).is_some())
    }
}

#[test]
fn a_pseudonym_depends_on_key_project_domain_and_original_alone() {
    let first = names(1).of("Patient", "4711");
    assert_eq!(first, names(1).of("Patient", "4711"));
    let others = [
        names(2).of("Patient", "4711"),
        names(1).of("Encounter", "4711"),
        names(1).of("Patient", "4712"),
        names(1).of("Patien", "t4711"),
        crate::Pseudonyms::new(&super::key(1), "project-2").of("Patient", "4711"),
    ];
    assert!(others.iter().all(|other| *other != first && other.as_str().len() == 17));
}

#[test]
fn the_spelling_of_pseudonyms_never_changes() {
    // Changing it would give persons of running projects another pseudonym.
    assert_eq!(Pseudonym::from_bytes([0; 10]).as_str(), "00000000000000000");
    assert_eq!(Pseudonym::from_bytes([0xff; 10]).as_str().len(), 17);
    assert_eq!("0000000000000001".len(), 16);
    assert_eq!(Pseudonym::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).as_str(), "00000000000000012");
}

#[test]
fn other_texts_are_no_pseudonyms() {
    let pseudonym = names(1).of("Patient", "4711");
    assert_eq!(pseudonym.as_str().parse(), Ok(pseudonym.clone()));
    for text in ["", "0000000000000000", "000000000000000000", "0000000000000000U", &pseudonym.as_str().to_lowercase()]
    {
        assert_eq!(text.parse::<Pseudonym>(), Err(ParsePseudonymError::Form), "{text:?}");
    }
}

#[test]
fn pseudonyms_of_many_originals_differ() {
    let names = names(1);
    let all: HashSet<Pseudonym> = (0..50_000).map(|number| names.of("Patient", &number.to_string())).collect();
    assert_eq!(all.len(), 50_000);
}

#[test]
fn a_table_gives_random_pseudonyms_and_forgets() {
    let mut table = TablePseudonyms::new(Memory::default());
    let first = table.of("Patient", "4711").unwrap();
    assert_eq!(table.of("Patient", "4711").unwrap(), first);
    assert_ne!(table.of("Patient", "4712").unwrap(), first);
    assert_eq!(table.original("Patient", &first).unwrap().as_deref(), Some("4711"));
    assert!(table.forget("Patient", "4711").unwrap());
    assert!(!table.forget("Patient", "4711").unwrap());
    assert_eq!(table.original("Patient", &first).unwrap(), None);
    assert_ne!(table.of("Patient", "4711").unwrap(), first, "who was forgotten is somebody new");
}

#[test]
fn a_table_that_takes_nothing_is_an_error() {
    let mut table = TablePseudonyms::new(Memory { is_full: true, ..Memory::default() });
    assert!(matches!(table.of("Patient", "4711"), Err(TableError::Taken)));
}

proptest! {
    #[test]
    fn one_wrong_or_two_exchanged_characters_are_noticed(bytes: [u8; 10], place in 0_usize..17, other in 0_usize..17, letter in 0_usize..32) {
        let pseudonym = Pseudonym::from_bytes(bytes);
        let alphabet = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut wrong = pseudonym.as_str().as_bytes().to_vec();
        wrong[place] = alphabet[letter];
        let mut exchanged = pseudonym.as_str().as_bytes().to_vec();
        exchanged.swap(place, other);
        for text in [wrong, exchanged] {
            let text = String::from_utf8(text).unwrap();
            let expected = if text == pseudonym.as_str() { Ok(pseudonym.clone()) } else { Err(ParsePseudonymError::Check) };
            prop_assert_eq!(text.parse::<Pseudonym>(), expected);
        }
    }
}
