use super::{Number, Object, Value};

#[test]
fn number_keeps_its_text() {
    for text in ["0", "-0", "1.00", "1E5", "1e-7", "12345678901234567890123456789", "-12.50E+3"] {
        assert_eq!(Number::parse(text).map(|number| number.as_str().to_owned()).as_deref(), Some(text));
    }
}

#[test]
fn text_that_is_no_json_number_is_refused() {
    for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "NaN", "0x1", "1 ", " 1", "1.2.3", "--1"] {
        assert_eq!(Number::parse(text), None, "{text:?}");
    }
}

#[test]
fn set_replaces_in_place_and_appends_new_members() {
    let mut object = Object::new().with("a", "1").with("b", "2");
    object.set("a", "3");
    object.set("c", "4");
    let members: Vec<_> = object.iter().map(|(name, value)| (name, value.as_str().unwrap())).collect();
    assert_eq!(members, [("a", "3"), ("b", "2"), ("c", "4")]);
}

#[test]
fn lookups_on_other_kinds_answer_nothing() {
    assert_eq!(Value::Null.get("a"), None);
    assert!(Value::from("x").elements().is_empty());
    assert!(Value::from(Object::new()).list("missing").is_empty());
}
