//! Periods of days and sets of them.

use time::{Date, Month};

/// Days from the first to the last, both in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    first: Date,
    last: Date,
}

/// Days in some of many periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Days(Vec<Period>);

// === impl Period ===

impl Period {
    /// Every day.
    pub const ALWAYS: Self = Self { first: Date::MIN, last: Date::MAX };

    /// A FHIR `Period`; an open end is open, an end before the start is none.
    #[must_use]
    pub fn read(start: Option<&str>, end: Option<&str>) -> Option<Self> {
        let first = start.map_or(Some(Date::MIN), |start| Self::of_date(start).map(|period| period.first))?;
        let last = end.map_or(Some(Date::MAX), |end| Self::of_date(end).map(|period| period.last))?;
        (first <= last).then_some(Self { first, last })
    }

    /// The days that a FHIR date or date-time may mean, as written there: the day that was agreed, whatever the zone.
    #[must_use]
    pub fn of_date(text: &str) -> Option<Self> {
        fhir::date::parse(text, fhir::date::Zone::UTC)?;
        let mut parts = text.split('T').next().unwrap_or_default().split('-');
        let mut number = || parts.next().map(|part| part.parse::<u16>().ok());
        let (year, month, day) = (i32::from(number()??), number(), number());
        let date = |month: u16, day: u16| {
            let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
            Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
        };
        let last_of = |month: u16| (28..=31).rev().find_map(|day| date(month, day));
        let (first, last) = match (month, day) {
            (None, _) => (date(1, 1)?, date(12, 31)?),
            (Some(month), None) => (date(month?, 1)?, last_of(month?)?),
            (Some(month), Some(day)) => (date(month?, day?)?, date(month?, day?)?),
        };
        Some(Self { first, last })
    }

    /// The same end, from the beginning.
    #[must_use]
    pub const fn from_the_beginning(self) -> Self {
        Self { first: Date::MIN, last: self.last }
    }

    /// The days in both.
    #[must_use]
    pub fn within(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// What is left of this period outside another: at most two pieces.
    fn outside(self, other: Self) -> impl Iterator<Item = Self> {
        let is_apart = other.last < self.first || self.last < other.first;
        let whole = is_apart.then_some(self);
        let before = other.first.previous_day().filter(|last| !is_apart && *last >= self.first);
        let after = other.last.next_day().filter(|first| !is_apart && *first <= self.last);
        let before = before.map(|last| Self { first: self.first, last });
        let after = after.map(|first| Self { first, last: self.last });
        whole.into_iter().chain(before).chain(after)
    }
}

// === impl Days ===

impl FromIterator<Period> for Days {
    fn from_iter<I: IntoIterator<Item = Period>>(periods: I) -> Self {
        let mut periods: Vec<Period> = periods.into_iter().collect();
        periods.sort_unstable_by_key(|period| period.first);
        let mut joined: Vec<Period> = Vec::new();
        for period in periods {
            match joined.last_mut() {
                // Periods that follow each other without a day between are one.
                Some(last) if last.last.next_day().is_none_or(|next| period.first <= next) => {
                    last.last = last.last.max(period.last);
                }
                _ => joined.push(period),
            }
        }
        Self(joined)
    }
}

impl Days {
    /// Whether there is no day.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the day is in it.
    #[must_use]
    pub fn contains(&self, day: Date) -> bool {
        self.covers(Period { first: day, last: day })
    }

    /// Whether every day of the period is in it: a date that is known to the year only may mean any of its days.
    #[must_use]
    pub fn covers(&self, period: Period) -> bool {
        self.0.iter().any(|own| own.first <= period.first && period.last <= own.last)
    }

    /// The days that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for taken in &other.0 {
            left = left.into_iter().flat_map(|period| period.outside(*taken)).collect();
        }
        left.into_iter().collect()
    }
}
