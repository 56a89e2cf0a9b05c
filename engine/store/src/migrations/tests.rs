use std::collections::BTreeMap;

use super::*;

/// Tables with their columns, and the names of indexes.
fn outline(sql: &str) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in sql.lines().map(str::trim).filter(|line| !line.starts_with("--")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["CREATE", "TABLE", name, ..] => current = (*name).to_owned(),
            ["CREATE", "INDEX" | "UNIQUE", ..] => {
                tables.insert(line.trim_end_matches(';').to_owned(), Vec::new());
            }
            [] | ["PRIMARY", ..] => {}
            [column, ..] if !current.is_empty() && !column.starts_with(')') => {
                tables.entry(current.clone()).or_default().push((*column).to_owned());
            }
            _ => current.clear(),
        }
    }
    tables
}

#[test]
fn both_databases_have_the_same_tables_columns_and_indexes() {
    for step in STEPS {
        assert_eq!(outline(step.sqlite), outline(step.postgresql), "step {}", step.name);
    }
    assert!(outline(STEPS[0].sqlite).len() > 40);
}

#[test]
fn steps_are_numbered_without_gaps() {
    for (index, step) in STEPS.iter().enumerate() {
        assert_eq!(step.number as usize, index + 1);
    }
}
