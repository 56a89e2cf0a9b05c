//! Comparison of lists and the persons that come out.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::{NEVER, effort, encode, filters, somebody};
use crate::blocking::blocked;
use crate::compare::{Lists, compare_fully};
use crate::parameters::{HARDENED, STANDARD};
use crate::{
    Cluster, CompareError, Effort, Field, Filters, Member, Pair, Person, Similarity, clusters, compare, duplicates,
    one_to_one,
};

fn people(numbers: std::ops::Range<u32>) -> Vec<Person> {
    numbers.map(somebody).collect()
}

/// The same persons with a mistake in each.
fn mistaken(numbers: std::ops::Range<u32>) -> Vec<Person> {
    numbers.map(|number| somebody(number).with(Field::Street, "Neue Gasse 1").with(Field::City, "Ulm")).collect()
}

#[test]
fn persons_of_two_lists_are_found_with_any_number_of_threads() {
    let (first, second) = (filters(&STANDARD, &people(0..120)), filters(&STANDARD, &mistaken(60..180)));
    let alone = compare(&first, &second, effort(1, STANDARD.threshold)).unwrap();
    let expected: Vec<(u32, u32)> = (60..120).map(|number| (number, number - 60)).collect();
    let mut found: Vec<(u32, u32)> = alone.iter().map(|pair| (pair.first, pair.second)).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    for threads in [2, 3, 16] {
        assert_eq!(compare(&first, &second, effort(threads, STANDARD.threshold)).unwrap(), alone);
    }
}

#[test]
fn blocking_finds_what_full_comparison_finds() {
    for parameters in [&STANDARD, &HARDENED] {
        let (first, second) = (filters(parameters, &people(0..300)), filters(parameters, &mistaken(150..450)));
        let full = compare_fully(&first, &second, effort(2, parameters.threshold)).unwrap();
        let lists = Lists { first: &first, second: &second, is_same: false };
        let found = blocked(lists, effort(2, parameters.threshold)).unwrap();
        assert_eq!(full.len(), 150);
        assert!(found.len() * 100 >= full.len() * 98, "{} of {}", found.len(), full.len());
        assert!(found.iter().all(|pair| full.contains(pair)), "blocking adds nothing");
        assert_eq!(found, blocked(lists, effort(1, parameters.threshold)).unwrap(), "no thread decides");
    }
}

#[test]
fn filters_that_are_all_alike_are_an_error() {
    let filter = encode(&STANDARD, 1, &somebody(1));
    let mut list = Filters::new(&STANDARD);
    (0..300).for_each(|_| list.push(&filter).unwrap());
    let refused = Err(CompareError::TooManyPairs { limit: 19_200 });
    assert_eq!(compare(&list, &list, effort(2, STANDARD.threshold)), refused);
    let lists = Lists { first: &list, second: &list, is_same: false };
    assert_eq!(blocked(lists, effort(2, STANDARD.threshold)), refused);
}

#[test]
fn lists_of_different_sets_are_not_compared() {
    let (first, second) = (filters(&STANDARD, &people(0..2)), filters(&HARDENED, &people(0..2)));
    let refused = compare(&first, &second, effort(1, STANDARD.threshold));
    assert!(matches!(refused, Err(CompareError::Parameters { .. })));
}

#[test]
fn a_cancelled_comparison_ends() {
    let cancelled = AtomicBool::new(true);
    let list = filters(&STANDARD, &people(0..40));
    let effort = Effort { threads: 2, cancelled: &cancelled, threshold: STANDARD.threshold };
    assert_eq!(compare(&list, &list, effort), Err(CompareError::Cancelled));
}

#[test]
fn duplicates_of_one_list_are_pairs_of_different_places() {
    let mut list = people(0..50);
    list.extend(mistaken(10..13));
    let mut found: Vec<(u32, u32)> = duplicates(&filters(&STANDARD, &list), effort(2, STANDARD.threshold))
        .unwrap()
        .iter()
        .map(|pair| (pair.first, pair.second))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(10, 50), (11, 51), (12, 52)]);
}

#[test]
fn one_record_has_one_partner_the_best_one() {
    let pair = |first, second, percent| Pair { first, second, similarity: Similarity::percent(percent) };
    let pairs = [pair(1, 1, 99), pair(0, 1, 95), pair(1, 0, 94), pair(0, 0, 80)];
    assert_eq!(one_to_one(&pairs), [pair(1, 1, 99), pair(0, 0, 80)]);
}

#[test]
fn a_person_at_three_sites_is_one_cluster() {
    let sites = [people(0..20), mistaken(10..30), people(15..35)].map(|people| filters(&STANDARD, &people));
    let found = clusters(&sites, effort(2, STANDARD.threshold)).unwrap();
    let sizes = |size: usize| found.iter().filter(|cluster| cluster.members.len() == size).count();
    assert_eq!((sizes(3), sizes(2), sizes(1)), (5, 15, 15));
    let members: Vec<Member> = found.iter().flat_map(|cluster| cluster.members.clone()).collect();
    assert_eq!(members.len(), 60, "every record is in one cluster");
    let member = |site, record| Member { site, record };
    assert!(found.contains(&Cluster { members: vec![member(0, 15), member(1, 5), member(2, 0)] }));
}

#[test]
fn a_chain_of_near_matches_does_not_join_strangers() {
    // Three filters of which the middle one resembles both others, which do not resemble each other.
    let list = |words: [u64; 4]| {
        let mut list = Filters::new(&STANDARD);
        let words: Vec<u64> = (0..32).map(|place| words[place / 8]).collect();
        list.push(&crate::Filter::from_words(words)).unwrap();
        list
    };
    let sites = [list([!0, !0, !0, 0]), list([0, !0, !0, !0]), list([!0, !0, !0, !0])];
    let found = clusters(&sites, effort(1, Similarity::percent(80))).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|cluster| cluster.members.len() <= 2));
}

#[test]
fn empty_sites_have_no_persons() {
    let sites = [filters(&STANDARD, &[]), filters(&STANDARD, &people(0..2))];
    assert_eq!(clusters(&sites, effort(2, STANDARD.threshold)).unwrap().len(), 2);
    assert_eq!(clusters(&[], Effort { threads: 0, cancelled: &NEVER, threshold: Similarity::ONE }).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_record_is_in_one_cluster_and_no_site_twice(starts in prop::collection::vec(0_u32..40, 1..4)) {
        let sites: Vec<Filters> = starts.iter().map(|start| filters(&STANDARD, &people(*start..start + 15))).collect();
        let found = clusters(&sites, effort(2, STANDARD.threshold)).unwrap();
        let mut members: Vec<Member> = found.iter().flat_map(|cluster| cluster.members.clone()).collect();
        for cluster in &found {
            prop_assert!(cluster.members.windows(2).all(|two| two[0].site < two[1].site));
        }
        members.sort_unstable();
        members.dedup();
        prop_assert_eq!(members.len(), starts.len() * 15);
        // Persons are as many as there are numbers.
        let mut numbers: Vec<u32> = starts.iter().flat_map(|start| *start..start + 15).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(found.len(), numbers.len());
    }
}
