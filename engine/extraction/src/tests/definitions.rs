//! What an extraction definition asks for.

use proptest::prelude::*;

use super::resource;
use crate::{CrtdlError, Definition};

const PATIENT: &str = r#"{"groupReference":"https://www.medizininformatik-initiative.de/fhir/core/modul-person/StructureDefinition/PatientPseudonymisiert","attributes":[{"attributeRef":"Patient.birthDate","mustHave":false}]}"#;

fn definition(groups: &str) -> Result<Definition, CrtdlError> {
    let text = format!(
        r#"{{"version":"http://json-schema.org/to-be-done/schema#","display":"","cohortDefinition":{{"version":"2","inclusionCriteria":[]}},"dataExtraction":{{"attributeGroups":[{PATIENT}{groups}]}}}}"#
    );
    Definition::parse(text.as_bytes())
}

fn diagnosis(more: &str) -> String {
    format!(
        r#",{{"groupReference":"http://example.org/StructureDefinition/Diagnose|2.0","attributes":[{{"attributeRef":"Condition.code","mustHave":true}},{{"attributeRef":"Condition.onset[x]"}}]{more}}}"#
    )
}

fn condition(code: &str, recorded: &str) -> fhir::Resource {
    resource(&format!(
        r#"{{"resourceType":"Condition","id":"c","meta":{{"profile":["http://example.org/StructureDefinition/Diagnose"]}},"clinicalStatus":{{"coding":[{{"code":"active"}}]}},"severity":{{"text":"x"}},"code":{{"coding":[{{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"{code}"}}]}},"subject":{{"reference":"Patient/p"}},"onsetDateTime":"2020","recordedDate":"{recorded}","note":[{{"text":"x"}}]}}"#
    ))
}

#[test]
fn a_definition_says_which_resources_and_elements() {
    let filter = r#","filter":[{"type":"date","name":"recorded-date","start":"2020-01-01","end":"2020-12-31"},{"type":"token","name":"code","codes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"C34.1"}]}]"#;
    let definition = definition(&diagnosis(filter)).unwrap();
    let is_asked = |resource: &fhir::Resource| definition.select(resource).is_some();
    assert!(!is_asked(&condition("C34.2", "2020-03-11")));
    assert!(!is_asked(&condition("C34.1", "2021-03-11")));
    assert!(!is_asked(&resource(r#"{"resourceType":"Condition","id":"c"}"#)));
    assert!(is_asked(&resource(r#"{"resourceType":"Patient","id":"p"}"#)));
    let selected = definition.select(&condition("C34.1", "2020-03-11")).unwrap();
    let names: Vec<&str> = selected.tree().iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["resourceType", "id", "meta", "clinicalStatus", "code", "subject", "onsetDateTime"]);
}

#[test]
fn share_c09_a_person_without_what_must_be_there_is_left_out() {
    let definition = definition(&diagnosis("")).unwrap();
    let patient = resource(r#"{"resourceType":"Patient","id":"p"}"#);
    let with = condition("C34.1", "2020-03-11");
    let mut without = condition("C34.1", "2020-03-11");
    without.remove("code");
    assert!(definition.select(&without).is_none());
    assert!(definition.is_complete(&[patient.clone(), without.clone(), with]));
    assert!(!definition.is_complete(&[patient.clone(), without]));
    assert!(!definition.is_complete(&[patient]));
    assert!(!definition.is_complete(&[]));
}

#[test]
fn what_is_not_understood_is_an_error_with_its_place() {
    let place = |result: Result<Definition, CrtdlError>| match result.unwrap_err() {
        CrtdlError::Part { place, .. } => place,
        CrtdlError::Json => "json".to_owned(),
    };
    let group = "dataExtraction.attributeGroups[1]";
    let cases = [
        (r#",{"attributes":[]}"#.to_owned(), group.to_owned()),
        (r#",{"groupReference":"http://x","attributes":[]}"#.to_owned(), group.to_owned()),
        (r#",{"groupReference":"http://x","attributes":[{"attributeRef":"Unbekannt.x"}]}"#.to_owned(), format!("{group}.attributes[0]")),
        (r#",{"groupReference":"http://x","attributes":[{"attributeRef":"Condition.code"},{"attributeRef":"Observation.code"}]}"#.to_owned(), format!("{group}.attributes[1]")),
        (r#",{"groupReference":"http://x","attributes":[{"attributeRef":"Condition.code","mustHave":"ja"}]}"#.to_owned(), format!("{group}.attributes[0]")),
        (diagnosis(r#","filter":[{"type":"quantity","name":"x"}]"#), format!("{group}.filter[0]")),
        (diagnosis(r#","filter":[{"type":"date","name":"recorded-date"}]"#), format!("{group}.filter[0]")),
        (diagnosis(r#","filter":[{"type":"date","name":"shoe-size","start":"2020"}]"#), format!("{group}.filter[0]")),
        (diagnosis(r#","filter":[{"type":"date","name":"recorded-date","start":"2021","end":"2020"}]"#), format!("{group}.filter[0]")),
        (diagnosis(r#","filter":[{"type":"token","name":"code","codes":[]}]"#), format!("{group}.filter[0]")),
        (diagnosis(r#","filter":[{"type":"token","name":"recordedDate","codes":[{"system":"s","code":"c"}]}]"#), format!("{group}.filter[0]")),
        (format!(",{PATIENT}"), "dataExtraction".to_owned()),
    ];
    for (groups, expected) in cases {
        assert_eq!(place(definition(&groups)), expected, "{groups}");
    }
    for text in ["", "[]", "{", "{\"cohortDefinition\":{}}"] {
        assert!(Definition::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(Definition::parse(&vec![b' '; 5 << 20]), Err(CrtdlError::Json));
}

proptest! {
    #[test]
    fn any_text_is_a_definition_or_an_error(text in "\\PC{0,200}", cut in 0_usize..400) {
        let _ = Definition::parse(text.as_bytes());
        let whole = format!(r#"{{"cohortDefinition":{{}},"dataExtraction":{{"attributeGroups":[{PATIENT}]}}}}"#);
        let cut: String = whole.chars().take(cut).collect();
        let _ = Definition::parse(cut.as_bytes());
    }
}
