use super::*;

#[test]
fn placeholders_are_translated_outside_of_literals() {
    assert_eq!(
        translate_placeholders("SELECT '?1', a FROM t WHERE b = ?1 AND c = ?12"),
        "SELECT '?1', a FROM t WHERE b = $1 AND c = $12"
    );
}

#[test]
fn times_before_1970_keep_their_millisecond() {
    for millis in [-1, 0, 1, -62_135_596_800_000, 253_402_300_799_999] {
        assert_eq!(to_millis(from_millis(millis).unwrap()), millis);
    }
}
