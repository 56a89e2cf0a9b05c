use super::{Range, parse_range};

#[test]
fn fhir_061_and_062_ranges_of_ten_bytes() {
    let part = |first, last| Some(Range::Part { first, last });
    let table = [
        ("bytes=0-1", part(0, 1)),
        ("bytes=2-2", part(2, 2)),
        ("bytes=4-", part(4, 9)),
        ("bytes=4-99", part(4, 9)),
        ("bytes=-2", part(8, 9)),
        ("bytes=-20", part(0, 9)),
        ("bytes=10-", Some(Range::Unsatisfiable)),
        ("bytes=-0", Some(Range::Unsatisfiable)),
        ("bytes=99999999999999999999-", Some(Range::Unsatisfiable)),
        ("bytes=3-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_range(text, 10), expected, "{text}");
    }
    assert_eq!(parse_range("bytes=0-", 0), Some(Range::Unsatisfiable));
}
