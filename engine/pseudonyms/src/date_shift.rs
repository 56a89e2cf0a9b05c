//! Moving all dates of a person by the same number of days: intervals stay, calendar dates do not.
//!
//! A shift is never zero and never so small that a date known to the month keeps its month. Whole weeks keep the day of
//! the week, which studies of admissions need. Years and months without a day are moved from their middle; a year alone
//! mostly stays, which is why a project that may not know years of birth has to leave them out.

use secrets::Keyed;
use time::{Date, Duration, Month};

use crate::limits::{LEAST_WEEKS, MOST_WEEKS};

/// Days by which the dates of one person move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateShift(i32);

/// What a shift keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShiftMode {
    /// The day of the week: whole weeks.
    #[default]
    Weekday,
    /// Nothing: any number of days.
    Day,
}

/// A number of days that is no shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a date shift is {} to {} days back or forth, not {days}", LEAST_WEEKS * 7, MOST_WEEKS * 7)]
pub struct NoShift {
    /// Days that were asked for.
    pub days: i32,
}

// === impl DateShift ===

impl DateShift {
    /// The shift of a person, who is named by whatever all sites share of them.
    #[must_use]
    pub fn derive(keyed: &Keyed, person: &str, mode: ShiftMode) -> Self {
        let mut stream = keyed.stream(person.as_bytes());
        let unit = match mode {
            ShiftMode::Weekday => 7,
            ShiftMode::Day => 1,
        };
        let (least, most) = (LEAST_WEEKS * 7 / unit, MOST_WEEKS * 7 / unit);
        let size = least + stream.below((most - least + 1) as usize) as i32;
        let sign = if stream.below(2) == 0 { -1 } else { 1 };
        Self(sign * size * unit)
    }

    /// Takes days that another node chose.
    pub fn from_days(days: i32) -> Result<Self, NoShift> {
        let is_shift = (LEAST_WEEKS * 7..=MOST_WEEKS * 7).contains(&days.saturating_abs());
        if is_shift { Ok(Self(days)) } else { Err(NoShift { days }) }
    }

    /// The days.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// A FHIR `date`, `dateTime` or `instant` moved, in the same precision and zone; `None` if it is none of them or
    /// would leave the calendar.
    #[must_use]
    pub fn apply(self, text: &str) -> Option<String> {
        let (date, time) = text.split_at_checked(text.find('T').unwrap_or(text.len()))?;
        if !time.is_empty() && (date.len() != 10 || !is_time(time)) {
            return None;
        }
        let mut parts = date.split('-');
        let (year, month, day) = (digits(parts.next()?, 4)?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        let of_month = month.map(|month| digits(month, 2)).map_or(Some(7), |month| month)?;
        let of_day = day.map(|day| digits(day, 2)).map_or(Some(15), |day| day)?;
        let of_month = Month::try_from(u8::try_from(of_month).ok()?).ok()?;
        let start = Date::from_calendar_date(i32::from(year), of_month, u8::try_from(of_day).ok()?).ok()?;
        let moved = start.checked_add(Duration::days(i64::from(self.0)))?;
        if !(1..=9999).contains(&moved.year()) {
            return None;
        }
        let (year, of_month, of_day) = (moved.year(), u8::from(moved.month()), moved.day());
        Some(match (month, day) {
            (None, _) => format!("{year:04}"),
            (Some(_), None) => format!("{year:04}-{of_month:02}"),
            (Some(_), Some(_)) => format!("{year:04}-{of_month:02}-{of_day:02}{time}"),
        })
    }
}

fn digits(text: &str, count: usize) -> Option<u16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// `Thh:mm:ss`, a fraction, and a zone, each where FHIR has it.
fn is_time(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('T') else { return false };
    let zone_starts = rest.find(['Z', '+', '-']);
    let Some((clock, zone)) = zone_starts.and_then(|place| rest.split_at_checked(place)) else { return false };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let is_number = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_clock =
        |text: &str, count: usize| text.split(':').count() == count && text.split(':').all(|part| is_number(part, 2));
    let zone = zone == "Z" || zone.strip_prefix(['+', '-']).is_some_and(|zone| is_clock(zone, 2));
    zone && is_clock(clock, 3)
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}
