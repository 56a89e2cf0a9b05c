//! Ages as conditions on the date of birth.
//!
//! An age is the number of whole units between birth and the day of the question. A date of birth that is only a month
//! or a year meets a condition if one of its days does.

use time::{Date, Duration, Month};

use crate::date::Days;
use crate::plan::{Bounds, Test};

/// The condition, if the unit is one of time (UCUM).
pub(super) fn test(element: &str, bounds: Bounds, unit: &str, today: Date) -> Option<Test> {
    let before: fn(Date, i64) -> Option<Date> = match unit {
        "a" => |today, count| months_before(today, count.checked_mul(12)?),
        "mo" => months_before,
        "wk" => |today, count| days_before(today, count.checked_mul(7)?),
        "d" => days_before,
        _ => return None,
    };
    let elements = vec![element.to_owned()];
    let ranges = ages(bounds)?;
    let tests = ranges.into_iter().map(|(youngest, oldest)| {
        let last = youngest.map_or(Some(i32::MAX), |age| Some(before(today, age)?.to_julian_day()));
        // Who is older than `oldest` was born on that day or before.
        let first = oldest.map_or(Some(i32::MIN), |age| Some(before(today, age.checked_add(1)?)?.to_julian_day() + 1));
        // Beyond the calendar nobody is so old, and everybody younger.
        Test::Time {
            elements: elements.clone(),
            days: Days { first: first.unwrap_or(i32::MIN), last: last.unwrap_or(i32::MIN) },
        }
    });
    let mut tests: Vec<Test> = tests.collect();
    match tests.len() {
        1 => tests.pop(),
        _ => Some(Test::AnyOf(tests)),
    }
}

/// Closed ranges of whole ages.
type Ages = Vec<(Option<i64>, Option<i64>)>;

fn ages(bounds: Bounds) -> Option<Ages> {
    let whole = |value: f64| (value.is_finite() && value.abs() < 1e9).then_some(value as i64);
    Some(match bounds {
        Bounds::Above(value) => vec![(Some(whole(value.floor())? + 1), None)],
        Bounds::AtLeast(value) => vec![(Some(whole(value.ceil())?), None)],
        Bounds::Below(value) => vec![(None, Some(whole(value.ceil())? - 1))],
        Bounds::AtMost(value) => vec![(None, Some(whole(value.floor())?))],
        Bounds::Equal(value) if value.fract() == 0.0 => vec![(Some(whole(value)?), Some(whole(value)?))],
        // No whole number equals it.
        Bounds::Equal(_) => Vec::new(),
        Bounds::Other(value) if value.fract() == 0.0 => {
            vec![(None, Some(whole(value)? - 1)), (Some(whole(value)? + 1), None)]
        }
        Bounds::Other(_) => vec![(None, None)],
        Bounds::Between(low, high) => {
            let (low, high) = (whole(low.ceil())?, whole(high.floor())?);
            if low > high { Vec::new() } else { vec![(Some(low), Some(high))] }
        }
    })
}

fn days_before(today: Date, count: i64) -> Option<Date> {
    today.checked_sub(Duration::days(count))
}

/// The same day so many months before, or the last of the month if it has no such day.
fn months_before(today: Date, count: i64) -> Option<Date> {
    let months = i64::from(today.year()) * 12 + i64::from(u8::from(today.month())) - 1 - count;
    let year = i32::try_from(months.div_euclid(12)).ok()?;
    let month = Month::try_from(u8::try_from(months.rem_euclid(12)).ok()? + 1).ok()?;
    Date::from_calendar_date(year, month, today.day().min(month.length(year))).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::test;
    use crate::date::Days;
    use crate::plan::{Bounds, Test};

    fn meets(birth: &str, bounds: Bounds, unit: &str) -> bool {
        fn holds(test: &Test, birth: Days) -> bool {
            match test {
                Test::Time { days, .. } => birth.overlaps(*days),
                Test::AnyOf(tests) => tests.iter().any(|test| holds(test, birth)),
                _ => panic!("{test:?}"),
            }
        }
        holds(&test("e", bounds, unit, date!(2026 - 11 - 22)).unwrap(), Days::parse(birth).unwrap())
    }

    #[test]
    fn a_birthday_makes_the_year_full() {
        assert!(meets("2008-11-22", Bounds::AtLeast(18.0), "a"));
        assert!(!meets("2008-11-23", Bounds::AtLeast(18.0), "a"));
        assert!(meets("2008-11-23", Bounds::Below(18.0), "a"));
        assert!(meets("2007-11-23", Bounds::Equal(18.0), "a"));
        assert!(!meets("2007-11-22", Bounds::Equal(18.0), "a"));
        assert!(meets("2007-11-22", Bounds::Other(18.0), "a"));
        assert!(!meets("2008-01-01", Bounds::Other(18.0), "a"));
    }

    #[test]
    fn fractions_and_other_units_count_whole_units() {
        assert!(meets("2008-11-22", Bounds::Above(17.5), "a"));
        assert!(!meets("2008-11-23", Bounds::Above(17.0), "a"));
        assert!(!meets("2008-11-22", Bounds::Equal(17.5), "a"));
        assert!(meets("2008-11-22", Bounds::Other(17.5), "a"));
        assert!(meets("2026-10-22", Bounds::Between(1.0, 1.0), "mo"));
        assert!(meets("2026-11-15", Bounds::Equal(1.0), "wk"));
        assert!(meets("2026-11-20", Bounds::AtMost(2.0), "d"));
        assert!(test("e", Bounds::AtLeast(1.0), "kg", date!(2026 - 11 - 22)).is_none());
    }

    #[test]
    fn a_year_of_birth_meets_what_one_of_its_days_meets() {
        assert!(meets("2008", Bounds::AtLeast(18.0), "a"));
        assert!(meets("2008", Bounds::Below(18.0), "a"));
        assert!(!meets("2009", Bounds::AtLeast(18.0), "a"));
    }
}
