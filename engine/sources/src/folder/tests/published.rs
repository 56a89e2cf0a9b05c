//! The published MII test data gives the counts that its specification states.

use std::collections::BTreeMap;
use std::path::Path;

use super::Folder;
use crate::records::{Records, Selection};

#[test]
fn share_16_the_mii_test_data_has_the_stated_counts() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/mii-testdata");
    if !published.is_dir() {
        println!("not run: {} is not there", published.display());
        return;
    }
    let folder = Folder::new();
    for entry in std::fs::read_dir(&published).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let index = folder.index();
    let statistics = index.statistics().unwrap();
    let types: BTreeMap<&str, u64> =
        statistics.types.iter().map(|count| (count.name.as_str(), count.resources)).collect();
    assert_eq!(statistics.patients, 31);
    for (name, count) in [
        ("Patient", 31),
        // 244 stand in files of their own; `…-patient-1-labobs-7` only inside the Bundle of the first patient.
        ("Observation", 245),
        ("Procedure", 49),
        ("Condition", 26),
        ("Consent", 10),
        ("Specimen", 27),
        ("Encounter", 23),
    ] {
        assert_eq!(types.get(name), Some(&count), "{name} in {types:?}");
    }
    let conditions = index.codes("Condition.code", 1000).unwrap();
    let of = |code: &str| {
        conditions
            .iter()
            .find(|count| count.code == code && count.system.ends_with("icd-10-gm"))
            .map(|count| count.resources)
    };
    assert_eq!(of("C34.1"), Some(4));
    for code in ["C18.7", "C21.8", "C16.9", "C50.4", "C56", "J20.9", "N80.1"] {
        assert_eq!(of(code), Some(1), "{code}");
    }
    let observations = index.codes("Observation.code", 1000).unwrap();
    let of = |code: &str| {
        observations
            .iter()
            .find(|count| count.code == code && count.system == "http://loinc.org")
            .map(|count| (count.resources, count.persons))
    };
    for (code, counts) in [("26464-8", (10, 10)), ("67162-8", (10, 10)), ("718-7", (6, 6)), ("69548-6", (14, 5))] {
        assert_eq!(of(code), Some(counts), "{code}");
    }
    let with_consent = index
        .persons()
        .unwrap()
        .into_iter()
        .filter(|person| !index.resources_of(person, &Selection::of_type("Consent")).unwrap().is_empty());
    assert_eq!(with_consent.count(), 10);
}
