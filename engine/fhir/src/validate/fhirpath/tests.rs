use super::{EvaluationError, Expression, ExpressionError, Scope};
use crate::definitions::definitions;
use crate::json::parse_value;
use crate::{Limits, Object, Value};

const TASK: &str = r#"{"resourceType":"Task","status":"in-progress","_intent":{"extension":[{"url":"u","valueCode":"x"}]},
    "authoredOn":"2023-09-12T10:00:00Z","lastModified":"2023-09-12T12:00:00+01:00",
    "identifier":[{"system":"s","value":"a"},{"system":"t"}],
    "input":[{"type":{"coding":[{"system":"b","code":"message-name"}]},"valueString":"ping"},
             {"type":{"coding":[{"system":"b","code":"n"}]},"valueInteger":3}]}"#;

fn holds(tree: &Value, text: &str) -> Result<bool, EvaluationError> {
    let expression = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    expression.holds(Scope::of(tree.as_object().unwrap(), tree, &std::cell::Cell::new(usize::MAX)))
}

fn task() -> Value {
    parse_value(TASK.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn expressions_hold_as_the_specification_says() {
    let task = task();
    for text in [
        "true",
        "status = 'in-progress'",
        "%resource.status = 'in-progress'",
        "Task.status.exists()",
        "status != 'draft'",
        "(status = 'x') or (status = 'in-progress')",
        "status = 'x' implies identifier.empty()",
        "input.type.coding.where(system = 'b' and code = 'message-name').exists()",
        "input.value.where($this = 'ping').exists()",
        "input.first().value.matches('^p[a-z]+$')",
        "input[1].value = 3",
        "input.value.count() = 2",
        "input.all(type.exists())",
        "output.empty()",
        "identifier.where(system = 's' and value.exists()).exists()",
        "identifier.value.exists().not() = false",
        "status in ('draft' | 'in-progress')",
        "('a' | 'b') contains 'b'",
        "input.select(value).count() = 2",
        "authoredOn <= lastModified",
        "'abc'.startsWith('ab') and 'abc'.endsWith('c') and 'abc'.contains('b')",
        "'abc'.substring(1) = 'bc' and 'abc'.length() = 3",
        "iif(status = 'x', false, true)",
        "1 + 2 = 3",
        "2 > 1",
        "'A' ~ 'a'",
        "input.type.coding.code.isDistinct()",
        "identifier.system.distinct().count() = 2",
        "intent.hasValue().not()",
        "intent.extension('u').value = 'x'",
        "status.hasValue()",
        "descendants().where($this = 'ping').exists()",
        "children().exists()",
        "{}.empty()",
        "true xor false",
        "input.value.ofType(string) = 'ping'",
        "input[0].value is string",
        "status.value = 'in-progress'",
        "output.all(false)",
        "-1 < 0",
        "'5'.toInteger() = 5",
        "`status` = 'in-progress'",
        "identifier.tail().system = 't'",
        "(1 | 2 | 1).count() = 2",
        "status.trace('x') = 'in-progress'",
    ] {
        assert_eq!(holds(&task, text), Ok(true), "{text}");
    }
    for text in [
        "false",
        "{}",
        "status = 'draft'",
        "output.exists()",
        "status = 'in-progress' implies output.exists()",
        "input.value = 'ping'",
        "status.matches('^draft$')",
        "lastModified < authoredOn",
        "identifier.value = {}",
        "status = 'in-progress' and output.exists()",
        "input.all(value is string)",
    ] {
        assert_eq!(holds(&task, text), Ok(false), "{text}");
    }
}

#[test]
fn what_is_outside_the_subset_is_said() {
    for text in [
        "resolve().exists()",
        "memberOf('x')",
        "htmlChecks()",
        "%vs = 1",
        "$total",
        "matches(status)",
        "matches('(?=a)')",
    ] {
        assert!(matches!(Expression::compile(text), Err(ExpressionError::Unsupported(_))), "{text}");
    }
    for text in ["", "a.", "a b", "(a", "a)", "'a", "where(", "a..b", "a[", "1 +", "=", "\u{a7}", "'\\q'"] {
        assert!(matches!(Expression::compile(text), Err(ExpressionError::Syntax { .. })), "{text}");
    }
    // The type of a code is not known from the tree.
    assert!(matches!(holds(&task(), "status is code"), Err(EvaluationError::Unsupported(_))));
}

#[test]
fn deep_long_and_costly_expressions_are_refused() {
    for text in [
        "(".repeat(5_000),
        "a.".repeat(7_000) + "a",
        "a".repeat(20_000),
        "1 + ".repeat(4_000) + "1",
        "a[".repeat(5_000),
    ] {
        assert!(Expression::compile(&text).is_err());
    }
    let mut many = Object::new();
    for index in 0..3_000_i64 {
        many.push("a", index);
    }
    let tree = Value::Object(many);
    assert!(matches!(holds(&tree, "a.isDistinct()"), Err(EvaluationError::TooCostly(_))));
}

#[test]
fn choices_end_in_known_types_only() {
    assert_eq!(super::node::choice_suffix("value", "valueString"), Some("String"));
    assert_eq!(super::node::choice_suffix("value", "valueSet"), None);
    for element in definitions().types().iter().flat_map(|type_| type_.elements()).filter(|element| element.is_choice) {
        for name in element.instance_names() {
            assert!(super::node::choice_suffix(element.name, &name).is_some(), "{name}");
        }
    }
}
