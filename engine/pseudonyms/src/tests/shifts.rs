//! Dates move together and never stay.

use proptest::prelude::*;
use time::{Date, Duration};

use super::key;
use crate::{DateShift, ShiftMode};

#[test]
fn every_precision_moves_and_stays_what_it_is() {
    let shift = DateShift::from_days(70).unwrap();
    let cases = [
        ("2020-02-20", "2020-04-30"),
        ("2019-12-31T23:59:60Z", "2020-03-10T23:59:60Z"),
        ("2020-02-20T10:11:12.123+01:00", "2020-04-30T10:11:12.123+01:00"),
        ("2020-02", "2020-04"),
        ("2020-12", "2021-02"),
        ("2020", "2020"),
    ];
    for (before, after) in cases {
        assert_eq!(shift.apply(before).as_deref(), Some(after), "{before}");
    }
}

#[test]
fn what_is_no_date_is_not_kept() {
    let shift = DateShift::from_days(-28).unwrap();
    let texts = [
        "",
        "T",
        "gestern",
        "20200220",
        "2020-13-01",
        "2020-02-30",
        "2020-2-3",
        "2020-02-20T10:11",
        "2020-02-20T10:11:12",
        "2020-02-20T10:11:12ZMüller",
        "2020-02-20T10:11:12.1234567890Z",
        "2020-02T10:11:12Z",
        "2020-02-20-01",
        "0001-01-01",
        "+020-02-20",
        "2020-02-20 10:11:12Z",
        "２０２０-02-20",
        "2020-02-20T1１:11:12Z",
    ];
    for text in texts {
        assert_eq!(shift.apply(text), None, "{text:?}");
    }
}

#[test]
fn small_and_large_shifts_are_none() {
    for days in [0, 1, -7, 27, -27, 183, i32::MAX, i32::MIN] {
        assert!(DateShift::from_days(days).is_err(), "{days}");
    }
}

proptest! {
    #[test]
    fn a_person_has_one_shift_in_whole_weeks(person in "\\PC{0,20}", seed: u8) {
        let keyed = key(seed).derive(&[b"shift"]);
        let shift = DateShift::derive(&keyed, &person, ShiftMode::Weekday);
        prop_assert_eq!(shift, DateShift::derive(&keyed, &person, ShiftMode::Weekday));
        prop_assert_eq!(shift.days() % 7, 0);
        prop_assert_eq!(DateShift::from_days(shift.days()), Ok(shift));
        let other = DateShift::derive(&keyed, &person, ShiftMode::Day);
        prop_assert_eq!(DateShift::from_days(other.days()), Ok(other));
    }

    #[test]
    fn intervals_and_weekdays_stay(first in 2_400_000_i32..2_500_000, second in 2_400_000_i32..2_500_000, weeks in 4_i32..27) {
        let shift = DateShift::from_days(weeks * 7).unwrap();
        let date = |day| Date::from_julian_day(day).unwrap();
        let moved = |day| {
            let text = shift.apply(&date(day).to_string()).unwrap();
            let parts: Vec<i32> = text.split('-').map(|part| part.parse().unwrap()).collect();
            Date::from_calendar_date(parts[0], time::Month::try_from(parts[1] as u8).unwrap(), parts[2] as u8).unwrap()
        };
        prop_assert_eq!(moved(first) - date(first), Duration::days(i64::from(weeks) * 7));
        prop_assert_eq!(moved(first) - moved(second), date(first) - date(second));
        prop_assert_eq!(moved(first).weekday(), date(first).weekday());
    }

    #[test]
    fn any_text_is_a_date_or_nothing(text in "\\PC{0,40}") {
        let _ = DateShift::from_days(28).unwrap().apply(&text);
    }

    #[test]
    fn a_month_never_stays(year in 1900_u16..2100, month in 1_u8..13, weeks in 4_i32..27) {
        let text = format!("{year:04}-{month:02}");
        prop_assert_ne!(DateShift::from_days(-7 * weeks).unwrap().apply(&text), Some(text));
    }
}
