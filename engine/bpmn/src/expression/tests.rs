use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Context, Expression, ExpressionErrorKind};
use crate::limits;

struct Visible(Value);

impl Context for Visible {
    fn variable(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn local_variable(&self, name: &str) -> Option<&Value> {
        self.0.get("local")?.get(name)
    }

    fn business_key(&self) -> Option<&str> {
        Some("bk")
    }

    fn instance_id(&self) -> Option<&str> {
        None
    }
}

fn context() -> Visible {
    Visible(json!({
        "yes": true, "no": false, "text": "ERROR", "number": 5, "decimal": 2.5, "nothing": null, "list": [1, 2, 3],
        "a-b": "dash", "statusCode": "not-allowed", "local": {"own": 1},
        "patientReference": {"hasIdentifier": false, "hasAbsoluteReference": true, "value": "v"},
        "targets": {"entries": [{"correlationKey": "ck"}]},
        "continueStatus": {"value": "SUCCESS"}
    }))
}

fn value(text: &str) -> Value {
    Expression::parse(text).unwrap().evaluate(&context()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn expressions_of_the_field_evaluate() {
    for (text, expected) in [
        ("PT5M", json!("PT5M")),
        ("", json!("")),
        ("${yes}", json!(true)),
        ("#{yes}", json!(true)),
        ("${!no}", json!(true)),
        ("${!no && !yes}", json!(false)),
        ("${no || yes}", json!(true)),
        ("${text == 'ERROR' || text == 'TIMEOUT'}", json!(true)),
        ("${text == \"SUCCESS\"}", json!(false)),
        ("${yes == true && no == false}", json!(true)),
        ("${number < 0}", json!(false)),
        ("${execution.hasVariable('number') ? number : \"PT30S\"}", json!(5)),
        ("${execution.hasVariable(\"missing\") ? missing: \"PT5M\"}", json!("PT5M")),
        ("${execution.getVariable('a-b')=='dash'}", json!(true)),
        ("${execution.getVariable('missing')==null}", json!(true)),
        ("${execution.getVariable('missing') == false}", json!(false)),
        ("${execution.hasVariable('statusCode') && (statusCode == 'not-allowed' || statusCode == 'x')}", json!(true)),
        ("${execution.hasVariable('statusCode') &&  (statusCode.getValue() == 'not-allowed')}", json!(true)),
        ("${continueStatus.getValue() == 'SUCCESS'}", json!(true)),
        ("${!patientReference.hasIdentifier() && patientReference.hasAbsoluteReference()}", json!(true)),
        ("${targets.entries}", json!([{"correlationKey": "ck"}])),
        ("${targets.entries[0].correlationKey}", json!("ck")),
        ("${targets['entries'].size()}", json!(1)),
        ("${execution.hasVariableLocal('own') and not execution.hasVariableLocal('yes')}", json!(true)),
        ("${execution.businessKey}", json!("bk")),
        ("a ${number}/${text} z", json!("a 5/ERROR z")),
        ("\\${number}", json!("${number}")),
        ("${'}'}", json!("}")),
        ("${'it\\'s'}", json!("it's")),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn operators_bind_and_coerce_as_in_juel() {
    for (text, expected) in [
        ("${1 + 2 * 3}", json!(7)),
        ("${(1 + 2) * 3}", json!(9)),
        ("${10 - 2 - 3}", json!(5)),
        ("${7 / 2}", json!(3.5)),
        ("${7 % 4}", json!(3)),
        ("${7 mod 4 eq 3}", json!(true)),
        ("${-number}", json!(-5)),
        ("${1.5e2}", json!(150.0)),
        ("${'2' + 3}", json!(5)),
        ("${2 == 2.0}", json!(true)),
        ("${'5' == number}", json!(true)),
        ("${'true' == yes}", json!(true)),
        ("${'a' < 'b'}", json!(true)),
        ("${number >= 5 && number le 5 && number gt 4 && number lt 6 && number ne 1}", json!(true)),
        ("${empty nothing && empty '' && !empty list}", json!(true)),
        ("${nothing == null}", json!(true)),
        ("${no ? 1 : yes ? 2 : 3}", json!(2)),
        ("${no && missing}", json!(false)),
        ("${yes || missing}", json!(true)),
        ("${list.contains(2)}", json!(true)),
        ("${text.equals('ERROR')}", json!(true)),
        ("${text.length()}", json!(5)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn errors_name_kind_and_position() {
    for (text, position, part) in [
        ("${missing}", 3, "unknown property used in expression: missing"),
        ("ü ${targets.nothing}", 12, "unknown property"),
        ("${yes", 3, "not closed"),
        ("${}", 3, "incomplete"),
        ("${1 +}", 6, "incomplete"),
        ("${1 2}", 5, "behind the expression"),
        ("${'abc}", 3, "string is not closed"),
        ("${a ; b}", 5, "unexpected character"),
        ("${99999999999999999999}", 3, "out of range"),
        ("${number.foo()}", 9, "no method foo"),
        ("${execution.eval('x')}", 12, "no method eval"),
        ("${list + 1}", 8, "not a number"),
        ("${1 / 0}", 5, "division by zero"),
        ("${9223372036854775807 + 1}", 23, "out of range"),
        ("${list[7]}", 7, "no element"),
        ("x${list}", 4, "cannot be written as text"),
    ] {
        let error = Expression::parse(text).and_then(|parsed| parsed.evaluate(&context())).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert_eq!(error.position, position, "{text}: {error}");
    }
}

#[test]
fn a_condition_must_give_a_boolean() {
    for text in ["${text}", "${nothing}", "${number}", "true"] {
        let error = Expression::parse(text).unwrap().condition(&context()).unwrap_err();
        assert!(matches!(error.kind, ExpressionErrorKind::Type(_)), "{error}");
    }
    assert!(Expression::parse("${yes}").unwrap().condition(&context()).unwrap());
}

#[test]
fn length_depth_and_result_are_bounded() {
    let limit = |text: String| matches!(Expression::parse(&text).unwrap_err().kind, ExpressionErrorKind::Limit(_));
    assert!(limit("x".repeat(limits::EXPRESSION_BYTES + 1)));
    assert!(limit(format!("${{{}1{}}}", "(".repeat(1000), ")".repeat(1000))));
    assert!(limit(format!("${{{}yes}}", "!".repeat(5000))));
    assert!(limit(format!("${{1{}}}", "+1".repeat(5000))));
    assert!(limit(format!("${{a{}}}", ".b".repeat(5000))));
    assert!(limit(format!("${{{}1}}", "yes ? 1 : ".repeat(1000))));
    let big = Visible(json!({"t": "x".repeat(limits::EXPRESSION_RESULT_BYTES)}));
    let error = Expression::parse("${t}${t}").unwrap().evaluate(&big).unwrap_err();
    assert!(matches!(error.kind, ExpressionErrorKind::Limit(_)));
}

proptest! {
    #[test]
    fn any_text_parses_and_evaluates_without_panic(text in "(\\$\\{)?[a-z0-9 ()!&|=<>?:.'\"+*/%,\\[\\]{}$#\\\\-]{0,60}\\}?") {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&context());
        }
    }

    #[test]
    fn integers_calculate_as_in_rust(left in -10_000_i64..10_000, right in -10_000_i64..10_000) {
        let context = Visible(json!({"l": left, "r": right}));
        let evaluate = |text: &str| Expression::parse(text).unwrap().evaluate(&context).unwrap();
        prop_assert_eq!(evaluate("${l + r * 2 - r}"), json!(left + right));
        prop_assert_eq!(evaluate("${l < r}"), json!(left < right));
        prop_assert_eq!(evaluate("${l == r}"), json!(left == right));
    }

    #[test]
    fn text_without_marks_is_itself(text in "[^$#\\\\]{0,80}") {
        prop_assert_eq!(Expression::parse(&text).unwrap().constant(), Some(text));
    }
}
