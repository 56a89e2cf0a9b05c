//! What is wrong with files is told with file and line; the index before stays.

use super::Folder;
use crate::records::{PersonId, Records, Selection};
use crate::{IndexError, ReadError};

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","gender":"male"}"#;

#[test]
fn every_problem_is_told_with_file_and_line_and_the_index_before_stays() {
    let folder = Folder::new();
    folder.write("a.ndjson", PATIENT);
    assert_eq!(folder.index().patients(), 1);
    folder.write("b.ndjson", &format!("{PATIENT}\n\n{{\"resourceType\":\n{{\"id\":\"x\"}}\n"));
    folder.write("c.json", "[]");
    let Err(IndexError::Content { problems }) = folder.build() else { panic!("it was indexed") };
    let begins: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(begins, ["b.ndjson:3", "b.ndjson:4", "c.json:1"], "{problems:?}");
    assert_eq!(folder.open().patients(), 1);
}

#[test]
fn a_message_holds_nothing_of_the_content() {
    let folder = Folder::new();
    folder.write("a.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"secret\" \"name\":\"Muster\"}");
    let error = folder.build().unwrap_err().to_string();
    assert!(!error.contains("secret") && !error.contains("Muster"), "{error}");
}

#[test]
fn only_the_first_problems_are_listed() {
    let folder = Folder::new();
    folder.write("a.ndjson", &"x\n".repeat(1000));
    let Err(IndexError::Content { problems }) = folder.build() else { panic!("it was indexed") };
    assert_eq!(problems.len(), crate::limits::PROBLEMS + 1);
    assert!(problems.last().unwrap().contains("980 more"));
}

#[test]
fn a_folder_without_resources_is_refused_and_other_files_are_named() {
    let folder = Folder::new();
    assert!(matches!(folder.build(), Err(IndexError::Empty(_))));
    folder.write("notes.txt", "x");
    folder.write("a.ndjson.gz", "x");
    folder.write("b.ndjson", PATIENT);
    assert_eq!(folder.build().unwrap().ignored.len(), 2);
}

#[test]
fn the_resources_of_a_person_are_read_back_as_they_were_written() {
    let folder = Folder::new();
    let condition = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"onsetDateTime":"2020-05","code":{"coding":[{"system":"s","code":"x"}]}}"#;
    folder.write("a.ndjson", &format!("  {PATIENT}\n{condition}\n"));
    folder.write(
        "b.json",
        r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"},"valueQuantity":{"value":7.10}}}]}"#,
    );
    let index = folder.index();
    let person = PersonId::new("p1");
    let all = index.resources_of(&person, &Selection::all()).unwrap();
    let texts: Vec<String> = all.iter().map(|record| fhir::json::print(&record.resource, false)).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.contains(&PATIENT.to_owned()));
    assert!(texts.iter().any(|text| text.contains("7.10")), "the text of a number stays");
    let conditions = index.resources_of(&person, &Selection::of_type("Condition")).unwrap();
    assert_eq!(conditions.len(), 1);
    let in_2021 = Selection {
        time: Some((vec!["Condition.onset".to_owned()], crate::date::Days::parse("2021").unwrap())),
        ..Selection::of_type("Condition")
    };
    assert!(index.resources_of(&person, &in_2021).unwrap().is_empty());
    assert_eq!(index.referenced("Condition/c1").unwrap().unwrap().resource.id(), Some("c1"));
    assert!(index.resources_of(&PersonId::new("nobody"), &Selection::all()).unwrap().is_empty());
}

#[test]
fn a_file_that_changed_after_indexing_is_not_read() {
    let folder = Folder::new();
    folder.write("a.ndjson", PATIENT);
    let index = folder.index();
    folder.write("a.ndjson", &PATIENT.replace("male", "none"));
    let read = index.resources_of(&PersonId::new("p1"), &Selection::all());
    assert!(matches!(read, Err(ReadError::Changed(_))), "{read:?}");
}

#[test]
fn a_damaged_index_is_an_error_and_no_zero() {
    let folder = Folder::new();
    folder.write("a.ndjson", PATIENT);
    folder.build().unwrap();
    for entry in std::fs::read_dir(folder.index.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "columns") {
            let bytes = std::fs::read(entry.path()).unwrap();
            std::fs::write(entry.path(), &bytes[..bytes.len() - 9]).unwrap();
        }
    }
    let mapping = std::sync::Arc::new(crate::mapping::Mapping::native().unwrap());
    assert!(matches!(super::Index::open(folder.index.path(), mapping), Err(ReadError::Damaged { .. })));
}
