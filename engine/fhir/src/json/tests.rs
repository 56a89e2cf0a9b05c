use proptest::prelude::*;

use super::{parse, parse_value, print_value};
use crate::error::Hostility;
use crate::{Limits, Number, Object, ParseError, Value};

fn read(text: &str) -> Result<Value, ParseError> {
    parse_value(text.as_bytes(), &Limits::default())
}

fn hostility(result: Result<Value, ParseError>) -> Hostility {
    match result {
        Err(ParseError::Hostile { reason, .. }) => reason,
        other => panic!("not hostile: {other:?}"),
    }
}

#[test]
fn order_and_the_text_of_numbers_survive() {
    let text = r#"{"z":1.00,"a":[-0,1E5,12345678901234567890123456789.5],"m":{"x":null,"b":true,"c":false}}"#;
    assert_eq!(print_value(&read(text).unwrap(), false), text);
}

#[test]
fn pretty_printing_indents_by_two_blanks() {
    let value = read(r#"{"a":[1,{"b":"x"}],"c":{},"d":[]}"#).unwrap();
    assert_eq!(
        print_value(&value, true),
        "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}"
    );
}

#[test]
fn escapes_are_read_and_only_necessary_ones_printed() {
    let value = read(r#""\u00e4\n\t\"\\\/\ud83d\ude00""#).unwrap();
    assert_eq!(value.as_str(), Some("ä\n\t\"\\/😀"));
    assert_eq!(print_value(&value, false), "\"ä\\n\\t\\\"\\\\/😀\"");
}

#[test]
fn text_that_is_not_json_is_a_structure_error() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[1 2]",
        "{a:1}",
        "{'a':1}",
        "nul",
        "tru",
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "1.",
        ".1",
        "1e",
        "0x1",
        "1 2",
        "{}{}",
        "// c\n1",
        "/* c */1",
        "[1]x",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\\u0000\"",
        "\"\\b\"",
        "\"\\f\"",
        "\"\\uffff\"",
        "\"\u{FFFE}\"",
        "\"\\",
        "\"\\u",
    ] {
        match read(text) {
            Err(ParseError::Structure { .. }) => {}
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn foreign_encodings_are_hostile() {
    for bytes in [
        &b"\xEF\xBB\xBF{}"[..],
        b"\xFF\xFE{\0}\0",
        b"\"\xC0\x80\"",
        b"\"\xED\xA0\x80\"",
        b"\"\xE4\"",
        b"\0{\0}",
        b"{\0}\0",
    ] {
        assert_eq!(hostility(parse_value(bytes, &Limits::default())), Hostility::Encoding, "{bytes:?}");
    }
}

#[test]
fn duplicate_members_are_hostile_in_small_and_large_objects() {
    assert_eq!(hostility(read(r#"{"a":1,"b":2,"a":3}"#)), Hostility::DuplicateKey("a".into()));
    assert_eq!(hostility(read(r#"{"a":1,"\u0061":3}"#)), Hostility::DuplicateKey("a".into()));
    let mut members: Vec<String> = (0..100).map(|index| format!("\"m{index}\":1")).collect();
    assert!(read(&format!("{{{}}}", members.join(","))).is_ok());
    members.push("\"m50\":2".into());
    assert_eq!(hostility(read(&format!("{{{}}}", members.join(",")))), Hostility::DuplicateKey("m50".into()));
}

#[test]
fn what_is_large_beyond_the_limits_is_hostile() {
    let limits = Limits { bytes: 1_000, depth: 4, members: 10, object_members: 5, attributes: 5, string_bytes: 20 };
    let read = |text: &str| parse_value(text.as_bytes(), &limits);
    assert_eq!(hostility(read(&" ".repeat(1_001))), Hostility::Bytes(1_000));
    assert!(read(&format!("{}{}", "[".repeat(8), "]".repeat(8))).is_ok());
    assert_eq!(hostility(read(&"[".repeat(9))), Hostility::Depth(4));
    assert!(read(&format!("{}1{}", "{\"a\":".repeat(4), "}".repeat(4))).is_ok());
    assert_eq!(hostility(read(&"{\"a\":".repeat(5))), Hostility::Depth(4));
    assert_eq!(hostility(read("[1,2,3,4,5,6,7,8,9,10,11]")), Hostility::Members(10));
    assert_eq!(hostility(read(r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}"#)), Hostility::Members(5));
    assert_eq!(hostility(read(&format!("\"{}\"", "x".repeat(21)))), Hostility::Text(20));
    assert_eq!(hostility(read(&format!("\"{}\"", "\\n".repeat(21)))), Hostility::Text(20));
    assert_eq!(hostility(read(&format!("{{\"{}\":1}}", "x".repeat(129)))), Hostility::Text(128));
    assert_eq!(hostility(read(&"1".repeat(300))), Hostility::Text(256));
}

#[test]
fn a_depth_bomb_of_a_megabyte_is_refused_at_once() {
    assert!(matches!(hostility(read(&"[".repeat(1 << 20))), Hostility::Depth(_)));
}

#[test]
fn a_resource_is_an_object_with_a_type() {
    let read = |text: &str| parse(text.as_bytes(), &Limits::default());
    assert_eq!(read(r#"{"resourceType":"Task"}"#).unwrap().type_name(), "Task");
    for text in ["[]", "{}", r#"{"resourceType":""}"#, r#"{"resourceType":1}"#, "null"] {
        assert!(!read(text).unwrap_err().is_hostile(), "{text}");
    }
}

#[test]
fn errors_say_where() {
    let error = read("{\n  \"ä\": tru }").unwrap_err();
    assert_eq!((error.position().line, error.position().column), (2, 8));
    assert_eq!(error.to_string(), "unreadable body: no JSON value at line 2 column 8");
}

fn number() -> impl Strategy<Value = Number> {
    "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,10})?([eE][+-]?[0-9]{1,3})?".prop_map(|text| Number::parse(&text).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "[\\t\\r\\n -~äß€😀\"\\\\]{0,20}"]
}

/// Any tree.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(Value::Number),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(text(), inner, 0..6).prop_map(|members| {
                let mut object = Object::new();
                for (name, value) in members {
                    object.set(&name, value);
                }
                Value::Object(object)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_same_tree(value in value(), pretty: bool) {
        let text = print_value(&value, pretty);
        prop_assert_eq!(read(&text), Ok(value));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}:,\"\\\\u0-9a-f.eE+\\- truefalsn\u{0}\u{FFFF}ä]{0,60}") {
        let _ = read(&text);
    }
}
