//! A file of the merged data set without some persons: every resource that is one of them or refers to one goes, and
//! Provenances name what is left. Lines of others stay byte for byte.

use std::collections::BTreeSet;

use fhir::{Object, Resource};
use serde_json::Value;

use crate::step::WorkError;
use crate::task;

/// The file with the Provenance of who was taken out.
pub(super) const WITHDRAWN_FILE: &str = "withdrawn.ndjson";

/// What is left of a file.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
    /// Persons who were found in it.
    pub(super) persons: BTreeSet<String>,
    /// Resources that went, Provenances aside.
    pub(super) resources: u64,
    pub(super) is_changed: bool,
}

/// Takes the persons out.
pub(super) fn strike(bytes: Vec<u8>, persons: &BTreeSet<String>) -> Result<Struck, WorkError> {
    let wrong = |place: usize| WorkError::failed(format!("line {} of a merged file cannot be read", place + 1));
    let mut struck =
        Struck { bytes: Vec::new(), records: 0, persons: BTreeSet::new(), resources: 0, is_changed: false };
    let mut gone: BTreeSet<String> = persons.iter().map(|person| format!("Patient/{person}")).collect();
    let mut provenances = Vec::new();
    for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let resource: Value = serde_json::from_slice(line).map_err(|_| wrong(place))?;
        let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("resourceType") == "Provenance" {
            provenances.push(resource);
            continue;
        }
        let own = format!("{}/{}", text("resourceType"), text("id"));
        let mut of = BTreeSet::new();
        references(&resource, &mut |reference| {
            if let Some(person) = reference.strip_prefix("Patient/").filter(|person| persons.contains(*person)) {
                of.insert(person.to_owned());
            }
        });
        of.extend(own.strip_prefix("Patient/").filter(|person| persons.contains(*person)).map(str::to_owned));
        if of.is_empty() {
            struck.line(line);
        } else {
            struck.resources += 1;
            struck.is_changed = true;
            struck.persons.append(&mut of);
            gone.insert(own);
        }
    }
    for mut provenance in provenances {
        let targets = provenance.get_mut("target").and_then(Value::as_array_mut);
        let left = targets.map_or(0, |targets| {
            let before = targets.len();
            targets.retain(|target| {
                target.get("reference").and_then(Value::as_str).is_none_or(|reference| !gone.contains(reference))
            });
            struck.is_changed |= targets.len() < before;
            targets.len()
        });
        if left > 0 {
            struck.line(provenance.to_string().as_bytes());
        }
    }
    if !struck.is_changed {
        struck.bytes = bytes;
    }
    Ok(struck)
}

impl Struck {
    fn line(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.records += 1;
    }
}

/// Every reference in a resource; nested as deep as a FHIR reader lets a resource be.
fn references(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "reference" => found(text),
                    value => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The Provenance that says who was taken out, as a line.
pub(super) fn withdrawn_provenance(persons: &BTreeSet<String>, organization: &str, now: &str) -> Vec<u8> {
    let coding = |system: &str, code: &str| {
        let coding = Object::new().with("system", format!("http://terminology.hl7.org/CodeSystem/{system}"));
        Object::new().with("coding", vec![coding.with("code", code).into()])
    };
    let mut provenance = Resource::new("Provenance");
    provenance.set("id", "withdrawn");
    let targets = persons.iter().map(|person| Object::new().with("reference", format!("Patient/{person}")).into());
    provenance.set("target", targets.collect::<Vec<fhir::Value>>());
    provenance.set("recorded", now);
    provenance.push("reason", coding("v3-ActReason", "PATRQT"));
    provenance.set("activity", coding("v3-DataOperation", "DELETE"));
    let agent = Object::new().with("type", coding("provenance-participant-type", "custodian"));
    provenance.push("agent", agent.with("who", task::organization_reference(organization)));
    let mut line = fhir::json::print(&provenance, false).into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::strike;

    const FILE: &str = concat!(
        r#"{"resourceType":"Patient","id":"A"}"#,
        "\n",
        r#"{"resourceType":"Patient","id":"B","gender":"male" }"#,
        "\n",
        r#"{"resourceType":"Encounter","id":"E","subject":{"reference":"Patient/A"}}"#,
        "\n",
        r#"{"resourceType":"Observation","id":"O","subject":{"reference":"Patient/B"}}"#,
        "\n",
        r#"{"resourceType":"Provenance","id":"merge-0001","target":[{"reference":"Patient/A"},{"reference":"Patient/B"},{"reference":"Encounter/E"},{"reference":"Observation/O"}]}"#,
        "\n",
    );

    fn persons(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn everything_of_a_person_goes_and_what_is_of_others_stays_as_it_is() {
        let struck = strike(FILE.into(), &persons(&["A", "Z"])).unwrap();
        let text = String::from_utf8(struck.bytes).unwrap();
        assert!(!text.contains("Patient/A") && !text.contains("\"A\"") && !text.contains("Encounter"), "{text}");
        assert!(text.contains(r#""gender":"male" }"#) && text.contains("Observation/O"), "{text}");
        assert_eq!((struck.records, struck.resources, struck.persons), (3, 2, persons(&["A"])));
    }

    #[test]
    fn a_file_of_others_is_not_changed_and_one_of_nobody_else_is_empty() {
        let struck = strike(FILE.into(), &persons(&["Z"])).unwrap();
        assert!(!struck.is_changed && struck.bytes == FILE.as_bytes());
        let struck = strike(FILE.into(), &persons(&["A", "B"])).unwrap();
        assert!(struck.is_changed && struck.records == 0 && struck.bytes.is_empty());
        assert!(strike(b"{".to_vec(), &persons(&["A"])).is_err());
    }

    #[test]
    fn a_person_whose_patient_stands_in_another_file_goes_too() {
        let file = r#"{"resourceType":"Provenance","id":"p","target":[{"reference":"Patient/A"}]}"#;
        let struck = strike(file.into(), &persons(&["A"])).unwrap();
        assert!(struck.is_changed && struck.records == 0);
    }
}
