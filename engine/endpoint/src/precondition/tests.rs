use super::{Preconditions, Verdict, etag, parse_etag};
use crate::http_date;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use time::macros::datetime;

fn judge(headers: &[(&'static str, String)]) -> Verdict {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Preconditions::of(&map).judge(2, datetime!(2024-05-06 07:08:09.250 UTC))
}

#[test]
fn only_weak_numeric_tags_are_read() {
    assert_eq!(parse_etag(&etag(17)), Some(17));
    for text in ["\"1\"", "W/1", "W/\"\"", "W/\"a\"", "W/\"-1\"", "W/\"+1\"", "W/\"h1\"", "*", ""] {
        assert_eq!(parse_etag(text), None, "{text}");
    }
}

#[test]
fn fhir_013_to_015_a_read_is_answered_by_its_preconditions() {
    let before = http_date::format(datetime!(2024-05-06 07:08:08 UTC));
    let same = http_date::format(datetime!(2024-05-06 07:08:09 UTC));
    let after = http_date::format(datetime!(2024-05-06 07:08:10 UTC));
    let tag = |version| etag(version);
    let table: Vec<(Vec<(&'static str, String)>, Verdict)> = vec![
        (vec![], Verdict::Proceed),
        (vec![("if-none-match", tag(2))], Verdict::NotModified),
        (vec![("if-none-match", tag(1))], Verdict::Proceed),
        (vec![("if-modified-since", same.clone())], Verdict::NotModified),
        (vec![("if-modified-since", after.clone())], Verdict::NotModified),
        (vec![("if-modified-since", before.clone())], Verdict::Proceed),
        (vec![("if-none-match", tag(1)), ("if-modified-since", after.clone())], Verdict::Proceed),
        (vec![("if-match", tag(2))], Verdict::Proceed),
        (vec![("if-match", tag(1))], Verdict::Failed),
        (vec![("if-match", "\"1\"".to_owned())], Verdict::Proceed),
        (vec![("if-unmodified-since", same)], Verdict::Proceed),
        (vec![("if-unmodified-since", before)], Verdict::Failed),
        (vec![("if-unmodified-since", after)], Verdict::Failed),
    ];
    for (headers, expected) in table {
        assert_eq!(judge(&headers), expected, "{headers:?}");
    }
}
