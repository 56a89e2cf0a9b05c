use super::{Prefer, Return};
use http::header::{HeaderMap, HeaderValue};

fn prefer(values: &[&str]) -> Prefer {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("prefer", HeaderValue::from_str(value).unwrap());
    }
    Prefer::of(&headers)
}

#[test]
fn preferences_are_read_from_one_or_several_headers() {
    let table: [(&[&str], Return, bool); 7] = [
        (&[], Return::Representation, false),
        (&["return=minimal"], Return::Minimal, false),
        (&["return=OperationOutcome"], Return::OperationOutcome, false),
        (&["handling=strict"], Return::Representation, true),
        (&["return=minimal, handling=strict"], Return::Minimal, true),
        (&["handling=strict", "return=minimal", "return=representation"], Return::Minimal, true),
        (&["return=something", "respond-async"], Return::Representation, false),
    ];
    for (values, returns, strict) in table {
        assert_eq!(prefer(values), Prefer { returns, strict }, "{values:?}");
    }
}
