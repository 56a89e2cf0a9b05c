use time::macros::datetime;

use super::{Interval, Precision, Zone, format_instant, from_milliseconds, milliseconds, parse, parse_instant, period};

fn interval(text: &str) -> Interval {
    parse(text, Zone::UTC).unwrap().interval
}

#[test]
fn partial_dates_are_intervals() {
    assert_eq!(interval("1970"), Interval { low: 0, high: 365 * 86_400_000 });
    assert_eq!(interval("1970-12").high, interval("1970").high);
    assert_eq!(interval("1970-01-01"), Interval { low: 0, high: 86_400_000 });
    assert_eq!(interval("1970-01-01T00:00:01.5Z"), Interval { low: 1_500, high: 1_501 });
    assert_eq!(parse("2020-02", Zone::UTC).unwrap().precision, Precision::Month);
}

#[test]
fn offsets_are_respected_and_missing_ones_are_local() {
    assert_eq!(interval("2021-12-02T10:00:00+01:00"), interval("2021-12-02T09:00:00Z"));
    let berlin = |text| parse(text, Zone::CentralEurope).unwrap().interval;
    assert_eq!(berlin("2021-12-02T10:00:00"), interval("2021-12-02T09:00:00Z"));
    assert_eq!(berlin("2021-07-02T10:00:00"), interval("2021-07-02T08:00:00Z"));
    assert_eq!(berlin("2021-03-28").high - berlin("2021-03-28").low, 23 * 3_600_000);
    assert_eq!(berlin("2021-10-31").high - berlin("2021-10-31").low, 25 * 3_600_000);
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "20",
        "2021-",
        "2021-13",
        "2021-00",
        "2021-02-30",
        "2021-2-3",
        "2021-02-03T",
        "2021-02-03T10",
        "0000",
        "2021-02-03T24:00:00Z",
        "2021-02-03T10:00:60Z",
        "2021-02-03T10:00:00.Z",
        "2021-02-03T10:00:00+15:00",
        "2021-02-03T10:00:00 01:00",
        "2021T10:00:00",
        "+2021",
        "2021-02-03-04",
        "2021-02-03T10:00:00Zx",
        "二〇二一",
    ] {
        assert_eq!(parse(text, Zone::UTC), None, "{text:?}");
    }
}

#[test]
fn instants_print_with_milliseconds_in_utc() {
    assert_eq!(format_instant(datetime!(2026-11-22 13:10:00.1239 +01:00)), "2026-11-22T12:10:00.123Z");
    assert_eq!(parse_instant("2026-11-22T12:10:00.123Z"), Some(datetime!(2026-11-22 12:10:00.123 UTC)));
    let instant = datetime!(1969-12-31 23:59:59.999 UTC);
    assert_eq!(milliseconds(instant), -1);
    assert_eq!(from_milliseconds(-1), Some(instant));
}

#[test]
fn periods_are_open_where_nothing_is_said() {
    assert_eq!(period(None, None, Zone::UTC), None);
    assert_eq!(period(Some("1970"), None, Zone::UTC), Some(Interval { low: 0, high: i64::MAX }));
    assert_eq!(period(None, Some("1970-01-01"), Zone::UTC), Some(Interval { low: i64::MIN, high: 86_400_000 }));
}

#[test]
fn zones_are_known_by_name_or_offset() {
    assert_eq!(Zone::parse("Europe/Berlin"), Some(Zone::CentralEurope));
    assert_eq!(Zone::parse("UTC"), Some(Zone::UTC));
    assert_eq!(Zone::parse("+00:00"), Some(Zone::UTC));
    assert_eq!(Zone::parse("Mars/Base"), None);
    let summer = datetime!(2021-07-02 08:00 UTC);
    assert_eq!(Zone::CentralEurope.local_of(summer).hour(), 10);
}
