use time::macros::date;

use super::Mapping;
use crate::ccdl::Definition;
use crate::error::QueryError;

fn plan(criterion: &str) -> Result<crate::plan::Plan, QueryError> {
    let text = format!(r#"{{"inclusionCriteria":[[{criterion}]]}}"#);
    Mapping::native().unwrap().plan(&Definition::parse(text.as_bytes())?, date!(2026 - 11 - 22))
}

const DIAGNOSIS: &str = r#""context":{"system":"fdpg.mii.cds","code":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"C34"}]"#;

#[test]
fn the_mapping_that_comes_with_the_program_is_usable() {
    assert!(plan(&format!("{{{DIAGNOSIS}}}")).is_ok());
}

#[test]
fn a_document_without_context_is_mapped_by_its_code_system() {
    let text = r#"{"termCodes":[{"system":"http://loinc.org","code":"718-7"}]}"#;
    assert_eq!(plan(text).unwrap().inclusion[0][0].resource_type, "Observation");
}

#[test]
fn what_is_not_known_is_an_error_and_never_a_zero() {
    let unknown = r#"{"context":{"system":"x","code":"Diagnose"},"termCodes":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","code":"Q"}]}"#;
    assert!(matches!(plan(unknown), Err(QueryError::UnknownCode { .. })));
    let other_context =
        r#"{"context":{"system":"x","code":"Weather"},"termCodes":[{"system":"http://loinc.org","code":"718-7"}]}"#;
    assert!(matches!(plan(other_context), Err(QueryError::NoMapping { .. })));
    let other_system = r#"{"termCodes":[{"system":"http://nowhere.example","code":"1"}]}"#;
    assert!(matches!(plan(other_system), Err(QueryError::NoMapping { .. })));
    let second = r#"{"termCodes":[{"system":"http://loinc.org","code":"718-7"},{"system":"http://nowhere.example","code":"1"}]}"#;
    assert!(matches!(plan(second), Err(QueryError::NoMapping { .. })));
    for more in [
        r#","valueFilter":{"type":"quantity-comparator","comparator":"gt","value":1}"#,
        r#","attributeFilters":[{"type":"concept","attributeCode":{"system":"x","code":"y"},"selectedConcepts":[{"system":"a","code":"b"}]}]"#,
    ] {
        assert!(matches!(plan(&format!("{{{DIAGNOSIS}{more}}}")), Err(QueryError::Unsupported { .. })), "{more}");
    }
}
