//! The index follows the folder: what changed is read, what did not is not.

use super::Folder;
use crate::records::Records;

fn patient(id: &str, gender: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"gender\":\"{gender}\"}}\n")
}

fn men(folder: &Folder) -> u64 {
    let text = r#"{"inclusionCriteria":[[{"context":{"system":"x","code":"Patient"},"termCodes":[{"system":"http://snomed.info/sct","code":"263495000"}],
        "valueFilter":{"type":"concept","selectedConcepts":[{"system":"http://hl7.org/fhir/administrative-gender","code":"male"}]}}]]}"#;
    let definition = crate::ccdl::Definition::parse(text.as_bytes()).unwrap();
    folder.open().cohort(&definition, time::macros::date!(2026 - 11 - 22)).unwrap().len() as u64
}

#[test]
fn only_what_changed_is_read_again() {
    let folder = Folder::new();
    folder.write("a.ndjson", &(patient("1", "male") + &patient("2", "female")));
    folder.write("b.ndjson", &patient("3", "male"));
    assert_eq!(folder.build().unwrap().read, 2);
    assert_eq!(men(&folder), 2);
    assert_eq!(folder.build().unwrap().read, 0, "nothing changed");
    folder.write("c.ndjson", &patient("4", "male"));
    let built = folder.build().unwrap();
    assert_eq!((built.read, built.files), (1, 3));
    assert_eq!(men(&folder), 3);
}

#[test]
fn a_file_that_is_gone_or_changed_takes_its_resources_with_it() {
    let folder = Folder::new();
    folder.write("a.ndjson", &patient("1", "male"));
    folder.write("b.ndjson", &patient("2", "male"));
    folder.build().unwrap();
    std::fs::remove_file(folder.path().join("a.ndjson")).unwrap();
    folder.build().unwrap();
    assert_eq!(men(&folder), 1);
    folder.write("b.ndjson", &patient("2", "female"));
    folder.build().unwrap();
    assert_eq!(men(&folder), 0);
    assert_eq!(folder.open().persons().unwrap().len(), 1);
}

#[test]
fn of_two_copies_of_a_resource_the_later_file_counts() {
    let folder = Folder::new();
    folder.write("a.ndjson", &(patient("1", "male") + &patient("1", "male")));
    folder.build().unwrap();
    assert_eq!(men(&folder), 1);
    folder.write("b.ndjson", &patient("1", "female"));
    folder.build().unwrap();
    assert_eq!(men(&folder), 0);
    let statistics = folder.open().statistics().unwrap();
    assert_eq!((statistics.patients, statistics.replaced), (1, 2));
}

#[test]
fn a_failed_attempt_leaves_no_files_behind() {
    let folder = Folder::new();
    folder.write("a.ndjson", &patient("1", "male"));
    folder.build().unwrap();
    let files = || {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.index.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    folder.write("b.ndjson", "{");
    assert!(folder.build().is_err());
    assert_eq!(files(), before);
}

#[test]
fn an_index_that_is_open_answers_as_before_while_a_new_one_is_made() {
    let folder = Folder::new();
    folder.write("a.ndjson", &patient("1", "male"));
    let before = folder.index();
    folder.write("a.ndjson", &(patient("1", "male") + &patient("2", "male")));
    folder.build().unwrap();
    assert_eq!(before.persons().unwrap().len(), 1);
    assert_eq!(folder.open().persons().unwrap().len(), 2);
}
