//! Timers: ISO-8601 durations and dates, cycles (`R3/PT10S` or cron), and retry cycles (`R3/PT5S`).
//!
//! Years and months of a duration are added to the calendar date first (the day is cut to the length of the month), the
//! rest as seconds. A date without zone is read as UTC, so that every node computes the same instant.

mod cron;
mod cycle;
#[cfg(test)]
mod tests;

pub use cycle::{Repeat, Schedule};

use time::format_description::well_known::Iso8601;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime};

use crate::expression::Expression;
use crate::limits;
use crate::model::RetryCycle;

/// Definition of a timer event.
#[derive(Debug, Clone)]
pub enum Timer {
    /// `timeDuration`: so long after the event is entered.
    Duration(Expression),
    /// `timeDate`: at this time.
    Date(Expression),
    /// `timeCycle`: again and again.
    Cycle(Expression),
}

/// A duration of ISO 8601, e.g. `P1DT12H`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsoDuration {
    months: i32,
    seconds: i64,
    nanoseconds: i32,
}

/// A text that is no duration, date or retry cycle, or one out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimerError(String);

// === impl Timer ===

impl Timer {
    /// The expression that gives the duration, date or cycle.
    pub fn expression(&self) -> &Expression {
        match self {
            Self::Duration(expression) | Self::Date(expression) | Self::Cycle(expression) => expression,
        }
    }

    /// When a timer with this text, set now, is due.
    pub fn schedule(&self, text: &str, now: OffsetDateTime) -> Result<Schedule, TimerError> {
        let due = match self {
            Self::Duration(_) => IsoDuration::parse(text)?.after(now)?,
            Self::Date(_) => parse_date(text)?,
            Self::Cycle(_) => return Schedule::of_cycle(text, now),
        };
        Ok(Schedule { due, repeat: None })
    }
}

// === impl IsoDuration ===

impl IsoDuration {
    /// A duration of so many seconds.
    fn of_seconds(seconds: i64) -> Self {
        Self { months: 0, seconds, nanoseconds: 0 }
    }

    /// `true` if nothing passes.
    fn is_zero(&self) -> bool {
        *self == Self::of_seconds(0)
    }

    /// Reads `P[nY][nM][nW][nD][T[nH][nM][n[.n]S]]`; at least one part is required, no signs.
    pub fn parse(text: &str) -> Result<Self, TimerError> {
        Self::parts(text.trim())
            .ok_or_else(|| TimerError(format!("{text:?} is not an ISO-8601 duration such as PT20S")))
    }

    fn parts(text: &str) -> Option<Self> {
        let mut duration = Self { months: 0, seconds: 0, nanoseconds: 0 };
        let (date, clock) = match text.strip_prefix('P')?.split_once('T') {
            Some((date, clock)) => (date, Some(clock)),
            None => (text.strip_prefix('P')?, None),
        };
        if clock.map_or(date.is_empty(), str::is_empty) {
            return None;
        }
        let mut rest = date;
        for (unit, months, seconds) in [('Y', 12, 0), ('M', 1, 0), ('W', 0, 604_800), ('D', 0, 86_400)] {
            if let Some((number, after)) = take(rest, unit) {
                let number: i64 = whole(number)?;
                duration.months = duration.months.checked_add(i32::try_from(number).ok()?.checked_mul(months)?)?;
                duration.seconds = duration.seconds.checked_add(number.checked_mul(seconds)?)?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let mut rest = clock.unwrap_or_default();
        for (unit, seconds) in [('H', 3600), ('M', 60)] {
            if let Some((number, after)) = take(rest, unit) {
                duration.seconds = duration.seconds.checked_add(whole(number)?.checked_mul(seconds)?)?;
                rest = after;
            }
        }
        if let Some((number, after)) = take(rest, 'S') {
            let (number, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
            duration.seconds = duration.seconds.checked_add(whole(number)?)?;
            duration.nanoseconds = nanoseconds(fraction)?;
            rest = after;
        }
        rest.is_empty().then_some(duration)
    }

    /// The instant that lies so far after `start`.
    pub fn after(&self, start: OffsetDateTime) -> Result<OffsetDateTime, TimerError> {
        let too_far = || TimerError("timer lies too far in the future".to_owned());
        let moved = add_months(start, self.months).ok_or_else(too_far)?;
        let due = moved.checked_add(Duration::new(self.seconds, self.nanoseconds)).ok_or_else(too_far)?;
        if due.year().saturating_sub(start.year()) > limits::TIMER_YEARS {
            return Err(too_far());
        }
        Ok(due)
    }

    /// Whole seconds, for retry intervals; months count 30 days.
    pub fn whole_seconds(&self) -> u64 {
        let months = i64::from(self.months).saturating_mul(30 * 86_400);
        u64::try_from(self.seconds.saturating_add(months)).unwrap_or(0)
    }
}

/// Reads a date-time of ISO 8601; without zone it is UTC, without time it is midnight.
pub fn parse_date(text: &str) -> Result<OffsetDateTime, TimerError> {
    let text = text.trim();
    OffsetDateTime::parse(text, &Iso8601::DEFAULT)
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| Date::parse(text, &Iso8601::DEFAULT).map(|date| date.midnight().assume_utc()))
        .map_err(|_| TimerError(format!("{text:?} is not an ISO-8601 date such as 2030-01-31T12:00:00Z")))
}

/// Reads a retry cycle: `R3/PT5S`, or a list of intervals `PT5M,PT10M`.
pub fn parse_retry_cycle(text: &str) -> Result<RetryCycle, TimerError> {
    let text = text.trim();
    let invalid = || TimerError(format!("{text:?} is not a retry cycle such as R3/PT5S"));
    if let Some((count, interval)) = text.strip_prefix('R').and_then(|rest| rest.split_once('/')) {
        let attempts =
            whole(count).and_then(|count| u32::try_from(count).ok()).filter(|count| *count <= limits::RETRIES);
        let interval = IsoDuration::parse(interval).map_err(|_| invalid())?;
        return Ok(RetryCycle { attempts: attempts.ok_or_else(invalid)?, intervals: vec![interval.whole_seconds()] });
    }
    let mut intervals = Vec::new();
    for part in text.split(',') {
        intervals.push(IsoDuration::parse(part).map_err(|_| invalid())?.whole_seconds());
    }
    let attempts = u32::try_from(intervals.len())
        .ok()
        .and_then(|count| count.checked_add(1))
        .filter(|count| *count <= limits::RETRIES);
    Ok(RetryCycle { attempts: attempts.ok_or_else(invalid)?, intervals })
}

fn take(text: &str, unit: char) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.' && character != ',')?;
    let (number, rest) = text.split_at_checked(end)?;
    Some((number, rest.strip_prefix(unit)?))
}

fn whole(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn nanoseconds(fraction: &str) -> Option<i32> {
    whole(fraction)?;
    format!("{fraction:0<9}").get(..9)?.parse().ok()
}

fn add_months(start: OffsetDateTime, months: i32) -> Option<OffsetDateTime> {
    let total = i32::from(u8::from(start.month())).checked_sub(1)?.checked_add(months)?;
    let year = start.year().checked_add(total.div_euclid(12))?;
    let month = Month::try_from(u8::try_from(total.rem_euclid(12)).ok()?.checked_add(1)?).ok()?;
    let day = start.day().min(month.length(year));
    Some(start.replace_date(Date::from_calendar_date(year, month, day).ok()?))
}
