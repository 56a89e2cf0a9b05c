//! Days and intervals of days, as FHIR dates of any precision mean them.
//!
//! A time restriction is made of dates, so a moment counts with the date that is written in it, in its own time zone.

use time::{Date, Month};

/// A closed interval of days. An open end is the end of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days {
    /// First day, as Julian day.
    pub first: i32,
    /// Last day.
    pub last: i32,
}

impl Days {
    /// From the beginning to the end of time.
    pub const ALWAYS: Self = Self { first: i32::MIN, last: i32::MAX };

    /// The days that a FHIR date, dateTime or instant names: a year, a month or one day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let date = text.split('T').next()?;
        let mut parts = date.split('-');
        let year = number(parts.next()?, 4)?;
        let month = parts.next().map(|part| number(part, 2));
        let day = parts.next().map(|part| number(part, 2));
        if parts.next().is_some() {
            return None;
        }
        let year = i32::try_from(year).ok()?;
        match (month, day) {
            (None, _) => Some(Self { first: julian(year, 1, 1)?, last: julian(year, 12, 31)? }),
            (Some(month), None) => {
                let month = u8::try_from(month?).ok()?;
                let last = Month::try_from(month).ok()?.length(year);
                Some(Self { first: julian(year, month, 1)?, last: julian(year, month, last)? })
            }
            (Some(month), Some(day)) => {
                let day = julian(year, u8::try_from(month?).ok()?, u8::try_from(day?).ok()?)?;
                Some(Self { first: day, last: day })
            }
        }
    }

    /// A Period; a side that is missing is open, one that cannot be read makes the whole unusable.
    #[must_use]
    pub fn period(start: Option<&str>, end: Option<&str>) -> Option<Self> {
        let first = start.map_or(Some(i32::MIN), |text| Some(Self::parse(text)?.first))?;
        let last = end.map_or(Some(i32::MAX), |text| Some(Self::parse(text)?.last))?;
        (first <= last && (start.is_some() || end.is_some())).then_some(Self { first, last })
    }

    /// One day.
    #[must_use]
    pub fn day(date: Date) -> Self {
        let day = date.to_julian_day();
        Self { first: day, last: day }
    }

    /// Whether both have a day in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn julian(year: i32, month: u8, day: u8) -> Option<i32> {
    Some(Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?.to_julian_day())
}

#[cfg(test)]
mod tests {
    use super::Days;

    #[test]
    fn dates_of_every_precision_are_intervals() {
        let length = |text: &str| Days::parse(text).map(|days| days.last - days.first + 1);
        assert_eq!(length("2024"), Some(366));
        assert_eq!(length("2024-02"), Some(29));
        assert_eq!(length("2024-02-29"), Some(1));
        assert_eq!(length("2024-02-29T23:59:59+01:00"), Some(1));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "24", "2024-13", "2023-02-29", "2024-1-1", "2024-01-01-01", "1.1.2024", "20240101", "+024"] {
            assert_eq!(Days::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_open_period_overlaps_what_comes_after() {
        let open = Days::period(Some("2020-01-01"), None).unwrap();
        assert!(open.overlaps(Days::parse("2031").unwrap()));
        assert!(!open.overlaps(Days::parse("2019").unwrap()));
        assert_eq!(Days::period(None, None), None);
        assert_eq!(Days::period(Some("2021"), Some("2020")), None);
    }
}
