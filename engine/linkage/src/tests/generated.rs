//! Generated sites, whose truth is known without this crate.

use synthetic::{Identity, Network, Truth};

use super::{effort, encoder};
use crate::{Field, Filters, Member, ParameterSet, Person, Similarity, clusters};

fn person(identity: &Identity) -> Person {
    let person = Person::new()
        .with(Field::GivenName, identity.given.as_str())
        .with(Field::FamilyName, identity.family.as_str())
        .with(Field::BirthDate, identity.birth.to_string())
        .with(Field::Street, identity.street.as_str())
        .with(Field::PostalCode, identity.postcode.as_str())
        .with(Field::City, identity.city.as_str());
    match &identity.insurance {
        Some(number) => person.with(Field::InsuranceNumber, number.as_str()),
        None => person,
    }
}

/// Pairs of records that are found and right, found, and true.
fn pairs(seed: u64, parameters: &'static ParameterSet, threshold: Similarity) -> (usize, usize, usize) {
    let network = Network { seed, sites: 3, patients: 400, shared: 50 };
    let person_of = |site: u32| network.patients_of(site).map(|patient| patient.person).collect::<Vec<u64>>();
    let persons: Vec<Vec<u64>> = (0..3).map(person_of).collect();
    let sites: Vec<Filters> = (0..3).map(|site| filters(&network, site, parameters)).collect();
    let (mut right, mut found) = (0, 0);
    for cluster in clusters(&sites, effort(2, threshold)).unwrap() {
        let number = |member: &Member| persons[member.site as usize][member.record as usize];
        for (place, one) in cluster.members.iter().enumerate() {
            for other in cluster.members.iter().skip(place + 1) {
                found += 1;
                right += usize::from(number(one) == number(other));
            }
        }
    }
    let truth = Truth::of(&network, synthetic::last_day());
    let expected = truth.shared.iter().map(|ids| ids.len() * (ids.len() - 1) / 2).sum();
    (right, found, expected)
}

fn filters(network: &Network, site: u32, parameters: &'static ParameterSet) -> Filters {
    let mut filters = Filters::new(parameters);
    for patient in network.patients_of(site) {
        filters.push(&encoder(parameters, 1).encode(&person(&patient.identity)).unwrap()).unwrap();
    }
    filters
}

#[test]
fn persons_of_generated_sites_are_found_and_hardly_anybody_is_taken_for_another() {
    for parameters in ParameterSet::ALL {
        let (right, found, expected) = pairs(5, parameters, parameters.strict);
        let name = parameters.name;
        assert!(right * 10 >= expected * 9, "{name}: {right} of {expected} are found");
        assert!((found - right) * 100 <= found * 2, "{name}: {} of {found} are wrong", found - right);
    }
}
