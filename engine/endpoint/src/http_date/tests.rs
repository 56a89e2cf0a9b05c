use super::{format, parse};
use time::macros::datetime;

#[test]
fn dates_are_printed_and_read_in_the_fixed_length_form() {
    let at = datetime!(1994-11-06 08:49:37 UTC);
    assert_eq!(format(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(at));
}

#[test]
fn other_texts_are_no_date() {
    for text in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "1994-11-06", "Sun, 06 Nov 1994"] {
        assert_eq!(parse(text), None, "{text}");
    }
}
