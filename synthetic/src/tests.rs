use std::collections::BTreeSet;

use time::macros::date;

use crate::{Consent, Network, Truth, questions, write_site};

const NETWORK: Network = Network { seed: 7, sites: 3, patients: 400, shared: 40 };

#[test]
fn the_same_seed_makes_the_same_persons() {
    let once: Vec<_> = NETWORK.patients_of(1).collect();
    assert_eq!(once, NETWORK.patients_of(1).collect::<Vec<_>>());
    let other = Network { seed: 8, ..NETWORK };
    assert_ne!(once, other.patients_of(1).collect::<Vec<_>>());
}

#[test]
fn shared_persons_are_at_the_sites_that_share_them_and_nowhere_else() {
    let truth = Truth::of(&NETWORK, date!(2026 - 11 - 22));
    assert_eq!(truth.shared.len(), NETWORK.shared_persons() as usize);
    assert!(truth.shared.iter().any(|ids| ids.len() == 3) && truth.shared.iter().any(|ids| ids.len() == 2));
    let ids: u64 = truth.sites.iter().map(|site| site.patients).sum();
    let surplus: usize = truth.shared.iter().map(|ids| ids.len() - 1).sum();
    assert_eq!(truth.persons, ids - surplus as u64);
    for site in 0..NETWORK.sites {
        let persons: BTreeSet<u64> = NETWORK.patients_of(site).map(|patient| patient.person).collect();
        assert_eq!(persons.len(), NETWORK.patients as usize, "nobody is twice at a site");
    }
}

#[test]
fn another_site_writes_some_fields_differently_but_never_all() {
    let (mut same, mut different) = (0, 0);
    for patient in NETWORK.patients_of(1).filter(|patient| patient.person < 60) {
        let first = NETWORK.sites_of(patient.person)[0];
        let original = NETWORK.patients_of(first).find(|other| other.person == patient.person).unwrap();
        if original.identity == patient.identity {
            same += 1
        } else {
            different += 1
        }
        let (a, b) = (&original.identity, &patient.identity);
        let equal = [a.given == b.given, a.family == b.family, a.birth == b.birth, a.postcode == b.postcode];
        assert!(equal.into_iter().any(|equal| equal), "{a:?} {b:?}");
    }
    assert!(same > 0 && different > 0, "{same} {different}");
}

#[test]
fn consents_are_spread_as_stated_and_every_question_has_an_answer() {
    let network = Network { patients: 2_000, ..NETWORK };
    let truth = Truth::of(&network, date!(2026 - 11 - 22));
    let none = network.patients_of(0).filter(|patient| patient.consent == Consent::None).count();
    assert!((60..140).contains(&none), "{none}");
    for site in &truth.sites {
        assert!((1500..1700).contains(&site.permitted), "{site:?}");
        assert_eq!(site.counts.len(), questions().len());
        assert!(site.counts["diabetes"] > 20 && site.counts["pressure"] > 20 && site.counts["rare"] > 0, "{site:?}");
    }
}

#[test]
fn every_line_is_json_and_a_patient_has_some_kilobytes() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network { patients: 200, ..NETWORK };
    let bytes = write_site(&network, 0, folder.path()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(value["resourceType"].is_string() && value["id"].is_string());
        }
    }
    assert!((5_000..9_000).contains(&(bytes / 200)), "{} bytes a patient", bytes / 200);
}
