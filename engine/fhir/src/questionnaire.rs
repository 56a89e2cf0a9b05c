//! Items and answers of a QuestionnaireResponse as DSF's user tasks use them: top-level items with one answer each, and a
//! placeholder where nobody has answered yet.

use crate::{Number, Object, Resource, Value};

/// The top-level item with this link id.
#[must_use]
pub fn item<'r>(response: &'r Resource, link_id: &str) -> Option<&'r Value> {
    response.list("item").iter().find(|item| item.str("linkId") == Some(link_id))
}

/// The only answer of an item, such as `{"valueString": "..."}`.
#[must_use]
pub fn answer<'r>(response: &'r Resource, link_id: &str) -> Option<&'r Value> {
    match item(response, link_id)?.list("answer") {
        [answer] => Some(answer),
        _ => None,
    }
}

/// Replaces the answers of an item, with none if there is none; false if there is no such item.
pub fn set_answer(response: &mut Resource, link_id: &str, answer: Option<Object>) -> bool {
    let mut items = response.list("item").to_vec();
    let found = items.iter_mut().find(|item| item.str("linkId") == Some(link_id)).and_then(Value::as_object_mut);
    let Some(item) = found else { return false };
    match answer {
        Some(answer) => item.set("answer", vec![answer.into()]),
        None => drop(item.remove("answer")),
    }
    response.set("item", items);
    true
}

/// The name of the answer to an item of this type; none for texts without an answer and types without a placeholder.
#[must_use]
pub fn answer_name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "string" | "text" => "valueString",
        "integer" => "valueInteger",
        "decimal" => "valueDecimal",
        "boolean" => "valueBoolean",
        "date" => "valueDate",
        "time" => "valueTime",
        "dateTime" => "valueDateTime",
        "url" => "valueUri",
        "reference" => "valueReference",
        "choice" => "valueCoding",
        "quantity" => "valueQuantity",
        _ => return None,
    })
}

/// An answer that holds the place of the real one, by the type of the item (DSF:
/// `QuestionnaireResponseHelper#transformQuestionTypeToAnswerType`).
#[must_use]
pub fn placeholder(kind: &str) -> Option<Object> {
    let name = answer_name(kind)?;
    let value: Value = match kind {
        "string" | "text" => "Placeholder..".into(),
        "decimal" => Value::Number(Number::parse("0.00")?),
        "boolean" => false.into(),
        "date" => "1900-01-01".into(),
        "time" => "00:00:00".into(),
        "dateTime" => "1900-01-01T00:00:00.000Z".into(),
        "url" => "http://example.org/foo".into(),
        "reference" => Object::new().with("reference", "http://example.org/fhir/Placeholder/id").into(),
        "choice" => Object::new().with("system", "http://example.org/fhir/CodeSystem/name").with("code", "code").into(),
        "quantity" => Object::new().with("value", Value::from(0)).with("unit", "unit").into(),
        _ => Value::from(0),
    };
    Some(Object::new().with(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_dsf_has_a_placeholder_and_others_have_none() {
        let types = [
            "string",
            "text",
            "integer",
            "decimal",
            "boolean",
            "date",
            "time",
            "dateTime",
            "url",
            "reference",
            "choice",
            "quantity",
        ];
        for kind in types {
            let placeholder = placeholder(kind).unwrap();
            assert!(placeholder.get(answer_name(kind).unwrap()).is_some(), "{kind}");
        }
        for kind in ["display", "group", "attachment", "open-choice", ""] {
            assert_eq!(placeholder(kind), None, "{kind}");
        }
    }

    #[test]
    fn answers_are_replaced_whole() {
        let mut response = Resource::new("QuestionnaireResponse");
        let text = |text: &str| Value::from(Object::new().with("valueString", text));
        response.push("item", Object::new().with("linkId", "x").with("answer", vec![text("a"), text("b")]));
        assert_eq!(answer(&response, "x"), None, "two answers are not one");
        assert!(set_answer(&mut response, "x", Some(Object::new().with("valueInteger", Value::from(3)))));
        assert!(answer(&response, "x").is_some_and(|answer| answer.get("valueInteger").is_some()));
        assert!(set_answer(&mut response, "x", None));
        assert_eq!(item(&response, "x").and_then(|item| item.get("answer")), None);
        assert!(!set_answer(&mut response, "y", None));
    }
}
