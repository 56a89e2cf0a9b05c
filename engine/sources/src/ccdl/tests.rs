use super::{AttributeFilter, Definition, Filter};
use crate::date::Days;
use crate::error::QueryError;
use crate::plan::Bounds;

fn criterion(more: &str) -> String {
    format!(
        r#"{{"version":"x","future":1,"inclusionCriteria":[[{{"termCodes":[{{"system":"s","code":"c","display":"d","version":"1"}}]{more}}}]]}}"#
    )
}

#[test]
fn documents_of_every_version_are_read() {
    let definition = Definition::parse(criterion("").as_bytes()).unwrap();
    assert_eq!(definition.inclusion[0][0].codes[0].code, "c");
    assert!(definition.exclusion.is_empty());
}

#[test]
fn filters_and_restrictions_are_read() {
    let text = criterion(
        r#","valueFilter":{"type":"quantity-comparator","comparator":"ge","value":6.5,"unit":{"code":"%","display":"%"}},
        "attributeFilters":[{"type":"concept","attributeCode":{"system":"a","code":"b"},"selectedConcepts":[{"system":"x","code":"y"}]},
        {"type":"reference","attributeCode":{"system":"a","code":"r"},"criteria":[{"termCodes":[{"system":"s","code":"c"}]}]}],
        "timeRestriction":{"afterDate":"2020-01-01"}"#,
    );
    let definition = Definition::parse(text.as_bytes()).unwrap();
    let criterion = &definition.inclusion[0][0];
    let unit = Some("%".to_owned());
    assert_eq!(criterion.value, Some(Filter::Quantity { bounds: Bounds::AtLeast(6.5), unit }));
    assert!(matches!(&criterion.attributes[1].filter, AttributeFilter::Reference(criteria) if criteria.len() == 1));
    assert_eq!(criterion.time.unwrap().first, Days::parse("2020-01-01").unwrap().first);
}

#[test]
fn documents_that_say_nothing_certain_are_refused() {
    let documents = [
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"inclusionCriteria":[]}"#.to_owned(),
        r#"{"inclusionCriteria":[[]]}"#.to_owned(),
        r#"{"inclusionCriteria":[[{"termCodes":[]}]]}"#.to_owned(),
        criterion(r#","valueFilter":{"type":"concept","selectedConcepts":[]}"#),
        criterion(r#","valueFilter":{"type":"concept"}"#),
        criterion(r#","valueFilter":{"type":"reference","criteria":[]}"#),
        criterion(r#","valueFilter":{"type":"quantity-comparator","comparator":"like","value":1}"#),
        criterion(r#","valueFilter":{"type":"quantity-comparator","comparator":"gt"}"#),
        criterion(r#","valueFilter":{"type":"quantity-range","minValue":2,"maxValue":1}"#),
        criterion(r#","timeRestriction":{}"#),
        criterion(r#","timeRestriction":{"afterDate":"2021-01-01","beforeDate":"2020-01-01"}"#),
        criterion(r#","timeRestriction":{"afterDate":"yesterday"}"#),
        criterion(r#","attributeFilters":[{"type":"concept","selectedConcepts":[{"system":"x","code":"y"}]}]"#),
        criterion(
            r#","attributeFilters":[{"type":"reference","attributeCode":{"system":"a","code":"r"},"criteria":[{"termCodes":[{"system":"s","code":"c"}],
            "attributeFilters":[{"type":"reference","attributeCode":{"system":"a","code":"r"},"criteria":[{"termCodes":[{"system":"s","code":"c"}]}]}]}]}]"#,
        ),
    ];
    for document in documents {
        assert!(matches!(Definition::parse(document.as_bytes()), Err(QueryError::Unreadable(_))), "{document}");
    }
}
