//! Cron expressions as Camunda 7 reads them: seconds, minutes, hours, day of month, month, day of week, and optionally
//! the year. `* ? , - /`, names of months and days, `L`, `LW`, `15W`, `L-3`, `6L` and `6#3` are known; Sunday is 1. Times
//! are UTC, so that every engine computes the same instant.

use time::{Date, Duration, Month, OffsetDateTime, Time};

use super::TimerError;
use crate::limits;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Years that a field may name.
const YEARS: std::ops::RangeInclusive<u32> = 1970..=2199;

/// A cron expression.
#[derive(Debug)]
pub(super) struct Cron {
    seconds: Vec<u32>,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<DayOfMonth>,
    months: Vec<u32>,
    weekdays: Vec<DayOfWeek>,
    /// Empty is every year.
    years: Vec<u32>,
}

#[derive(Debug)]
enum DayOfMonth {
    Day(u32),
    /// So many days before the last.
    Last(u32),
    LastWeekday,
    /// The working day nearest to this day.
    Nearest(u32),
}

#[derive(Debug)]
enum DayOfWeek {
    Day(u32),
    /// The last one of the month.
    Last(u32),
    /// The n-th one of the month.
    Nth(u32, u32),
}

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, TimerError> {
        Self::fields(&text.to_ascii_uppercase()).ok_or_else(|| {
            TimerError(format!(
                "{text:?} is neither a cycle such as R3/PT10S nor a cron expression of six or seven fields"
            ))
        })
    }

    fn fields(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let cron = Self {
            seconds: numbers(fields.next()?, 0, 59, &[])?,
            minutes: numbers(fields.next()?, 0, 59, &[])?,
            hours: numbers(fields.next()?, 0, 23, &[])?,
            days: days_of_month(fields.next()?)?,
            months: numbers(fields.next()?, 1, 12, &MONTHS)?,
            weekdays: days_of_week(fields.next()?)?,
            years: match fields.next() {
                None | Some("*") => Vec::new(),
                Some(years) => numbers(years, *YEARS.start(), *YEARS.end(), &[])?,
            },
        };
        fields.next().is_none().then_some(cron)
    }

    /// The first instant after `start` that the expression names.
    pub(super) fn next_after(&self, start: OffsetDateTime) -> Option<OffsetDateTime> {
        let start = start.to_offset(time::UtcOffset::UTC);
        let first = start.checked_add(Duration::seconds(1))?.replace_nanosecond(0).ok()?;
        let mut date = first.date();
        let mut earliest = first.time();
        let last_year = date.year().saturating_add(limits::TIMER_YEARS);
        while date.year() <= last_year {
            if self.names_day(date)
                && let Some(time) = self.time_from(earliest)
            {
                return Some(date.with_time(time).assume_utc());
            }
            earliest = Time::MIDNIGHT;
            date = date.next_day()?;
        }
        None
    }

    fn names_day(&self, date: Date) -> bool {
        let year = u32::try_from(date.year()).unwrap_or(0);
        (self.years.is_empty() || self.years.contains(&year))
            && self.months.contains(&u32::from(u8::from(date.month())))
            && self.days.iter().any(|day| day.names(date))
            && self.weekdays.iter().any(|day| day.names(date))
    }

    fn time_from(&self, earliest: Time) -> Option<Time> {
        for hour in self.hours.iter().copied().filter(|hour| *hour >= u32::from(earliest.hour())) {
            for &minute in &self.minutes {
                for &second in &self.seconds {
                    let time = Time::from_hms(
                        u8::try_from(hour).ok()?,
                        u8::try_from(minute).ok()?,
                        u8::try_from(second).ok()?,
                    );
                    if let Some(time) = time.ok().filter(|time| *time >= earliest) {
                        return Some(time);
                    }
                }
            }
        }
        None
    }
}

// === impl DayOfMonth ===

impl DayOfMonth {
    fn names(&self, date: Date) -> bool {
        let day = u32::from(date.day());
        let last = u32::from(date.month().length(date.year()));
        match self {
            Self::Day(named) => day == *named,
            Self::Last(before) => last.checked_sub(*before) == Some(day),
            Self::LastWeekday => nearest_working_day(date.year(), date.month(), last) == Some(day),
            Self::Nearest(named) => nearest_working_day(date.year(), date.month(), *named) == Some(day),
        }
    }
}

/// The working day nearest to a day, within the same month.
fn nearest_working_day(year: i32, month: Month, day: u32) -> Option<u32> {
    let last = u32::from(month.length(year));
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    Some(match date.weekday() {
        time::Weekday::Saturday if day > 1 => day.saturating_sub(1),
        time::Weekday::Saturday => day.saturating_add(2),
        time::Weekday::Sunday if day < last => day.saturating_add(1),
        time::Weekday::Sunday => day.saturating_sub(2),
        _ => day,
    })
}

// === impl DayOfWeek ===

impl DayOfWeek {
    fn names(&self, date: Date) -> bool {
        let weekday = u32::from(date.weekday().number_from_sunday());
        let day = u32::from(date.day());
        let last = u32::from(date.month().length(date.year()));
        match self {
            Self::Day(named) => weekday == *named,
            Self::Last(named) => weekday == *named && day.saturating_add(7) > last,
            Self::Nth(named, nth) => weekday == *named && day.div_ceil(7) == *nth,
        }
    }
}

/// Numbers of a field: `*`, `?`, `5`, `1-5`, `*/15`, `5/10`, and lists of them.
fn numbers(field: &str, least: u32, most: u32, names: &[&str]) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range {
            "*" | "?" => (least, most),
            range => match range.split_once('-') {
                Some((from, to)) => (number(from, least, names)?, number(to, least, names)?),
                None => {
                    let from = number(range, least, names)?;
                    (from, if step.is_some() { most } else { from })
                }
            },
        };
        if from < least || to > most || from > most {
            return None;
        }
        // A range may pass the end of its field, e.g. FRI-MON.
        let values: Vec<u32> =
            if from <= to { (from..=to).collect() } else { (from..=most).chain(least..=to).collect() };
        found.extend(values.into_iter().step_by(usize::try_from(step.unwrap_or(1)).ok()?));
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn number(text: &str, least: u32, names: &[&str]) -> Option<u32> {
    if let Some(index) = names.iter().position(|name| *name == text) {
        return u32::try_from(index).ok()?.checked_add(least);
    }
    text.parse().ok()
}

fn days_of_month(field: &str) -> Option<Vec<DayOfMonth>> {
    let special = match field {
        "L" => Some(DayOfMonth::Last(0)),
        "LW" => Some(DayOfMonth::LastWeekday),
        _ => match (field.strip_prefix("L-"), field.strip_suffix('W')) {
            (Some(before), _) => Some(DayOfMonth::Last(before.parse().ok().filter(|before| *before <= 30)?)),
            (None, Some(day)) => Some(DayOfMonth::Nearest(day.parse().ok().filter(|day| (1..=31).contains(day))?)),
            (None, None) => None,
        },
    };
    match special {
        Some(day) => Some(vec![day]),
        None => Some(numbers(field, 1, 31, &[])?.into_iter().map(DayOfMonth::Day).collect()),
    }
}

fn days_of_week(field: &str) -> Option<Vec<DayOfWeek>> {
    let day = |text: &str| number(text, 1, &DAYS).filter(|day| (1..=7).contains(day));
    let special = match (field.split_once('#'), field.strip_suffix('L')) {
        (Some((weekday, nth)), _) => {
            Some(DayOfWeek::Nth(day(weekday)?, nth.parse().ok().filter(|nth| (1..=5).contains(nth))?))
        }
        (None, Some("")) => Some(DayOfWeek::Day(7)),
        (None, Some(weekday)) => Some(DayOfWeek::Last(day(weekday)?)),
        (None, None) => None,
    };
    match special {
        Some(day) => Some(vec![day]),
        None => Some(numbers(field, 1, 7, &DAYS)?.into_iter().map(DayOfWeek::Day).collect()),
    }
}
