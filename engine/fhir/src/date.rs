//! FHIR dates as intervals of time.
//!
//! A FHIR date may be as coarse as a year, so every date is the interval of the instants that it may mean, half open and
//! in milliseconds since 1970. Date-times without a zone do not occur in resources but in searches of DSF engines; they,
//! and dates without time, are read in the node's [`Zone`].

use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// The instants from `low` up to but not including `high`, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// The first instant; `i64::MIN` if open (a Period without start).
    pub low: i64,
    /// Behind the last instant; `i64::MAX` if open (a Period without end).
    pub high: i64,
}

/// How exactly a date is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `2021`
    Year,
    /// `2021-12`
    Month,
    /// `2021-12-02`
    Day,
    /// `2021-12-02T10:00:00`, fractions kept to the millisecond.
    Time,
}

/// A date as written: its interval and how exact it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedDate {
    /// The instants that it may mean.
    pub interval: Interval,
    /// How exact it was.
    pub precision: Precision,
}

/// The zone in which times without zone are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// Central European Time with summer time by the rule of the European Union: the zone of the reference's nodes.
    #[default]
    CentralEurope,
    /// A fixed distance from UTC.
    Fixed(UtcOffset),
}

// === impl Zone ===

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Fixed(UtcOffset::UTC);

    /// `UTC`, a fixed offset such as `+01:00`, or the name of a zone that keeps Central European Time.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "UTC" | "Etc/UTC" | "Z" => Some(Self::UTC),
            "CET" | "Europe/Berlin" | "Europe/Vienna" | "Europe/Zurich" | "Europe/Brussels" | "Europe/Amsterdam"
            | "Europe/Paris" | "Europe/Luxembourg" | "Europe/Prague" | "Europe/Copenhagen" | "Europe/Rome"
            | "Europe/Madrid" | "Europe/Warsaw" => Some(Self::CentralEurope),
            offset => Some(Self::Fixed(parse_offset(offset)?)),
        }
    }

    /// The instant of a local time. Of a time that occurs twice the first is meant; one that is skipped is read as if
    /// summer time had not begun.
    #[must_use]
    pub fn instant_of(self, local: PrimitiveDateTime) -> OffsetDateTime {
        match self {
            Self::Fixed(offset) => local.assume_offset(offset),
            Self::CentralEurope => {
                let summer = local.assume_offset(offset_of_hours(2));
                if is_central_european_summer(summer) { summer } else { local.assume_offset(offset_of_hours(1)) }
            }
        }
    }

    /// The local time of an instant.
    #[must_use]
    pub fn local_of(self, instant: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Fixed(offset) => instant.to_offset(offset),
            Self::CentralEurope if is_central_european_summer(instant) => instant.to_offset(offset_of_hours(2)),
            Self::CentralEurope => instant.to_offset(offset_of_hours(1)),
        }
    }
}

fn offset_of_hours(hours: i8) -> UtcOffset {
    UtcOffset::from_hms(hours, 0, 0).unwrap_or(UtcOffset::UTC)
}

/// Directive 2000/84/EC: from 01:00 UTC on the last Sunday of March to 01:00 UTC on the last Sunday of October.
fn is_central_european_summer(instant: OffsetDateTime) -> bool {
    let utc = instant.to_offset(UtcOffset::UTC);
    match (last_sunday(utc.year(), Month::March), last_sunday(utc.year(), Month::October)) {
        (Some(begin), Some(end)) => utc >= begin && utc < end,
        _ => false,
    }
}

fn last_sunday(year: i32, month: Month) -> Option<OffsetDateTime> {
    let last = Date::from_calendar_date(year, month, 31).ok()?;
    let sunday = last.checked_sub(Duration::days(i64::from(last.weekday().number_days_from_sunday())))?;
    Some(PrimitiveDateTime::new(sunday, Time::from_hms(1, 0, 0).ok()?).assume_utc())
}

// === impl Interval ===

impl Interval {
    /// The millisecond of the instant.
    #[must_use]
    pub fn of_instant(instant: OffsetDateTime) -> Self {
        let low = milliseconds(instant);
        Self { low, high: low.saturating_add(1) }
    }

    /// Whether every instant of `self` is in `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.low >= other.low && self.high <= other.high
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn milliseconds(instant: OffsetDateTime) -> i64 {
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

/// The instant of `milliseconds` since 1970, if the calendar reaches that far.
#[must_use]
pub fn from_milliseconds(milliseconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}

/// A FHIR instant in UTC with milliseconds: `2026-11-22T13:10:00.000Z`.
#[must_use]
pub fn format_instant(instant: OffsetDateTime) -> String {
    let utc = instant.to_offset(UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        utc.millisecond()
    )
}

/// Reads a FHIR instant: date, time to the second or finer, and zone.
#[must_use]
pub fn parse_instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Reads a FHIR `date`, `dateTime` or `instant`, also without seconds or zone as searches may have them. `24:00` and leap
/// seconds are refused.
#[must_use]
pub fn parse(text: &str, zone: Zone) -> Option<ParsedDate> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map(|month| digits(month, 2));
    let day = parts.next().map(|day| digits(day, 2));
    if parts.next().is_some() || year == 0 {
        return None;
    }
    match (month, day, time) {
        (None, None, None) => {
            let begin = calendar_date(year, 1, 1)?;
            Some(days(begin, calendar_date(year.checked_add(1)?, 1, 1)?, Precision::Year, zone))
        }
        (Some(month), None, None) => {
            let month = month?;
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            let begin = calendar_date(year, month, 1)?;
            Some(days(begin, calendar_date(next_year, next_month, 1)?, Precision::Month, zone))
        }
        (Some(month), Some(day), None) => {
            let begin = calendar_date(year, month?, day?)?;
            Some(days(begin, begin.next_day()?, Precision::Day, zone))
        }
        (Some(month), Some(day), Some(time)) => {
            let (time, offset) = parse_time(time)?;
            let local = PrimitiveDateTime::new(calendar_date(year, month?, day?)?, time);
            let instant = match offset {
                Some(offset) => local.assume_offset(offset),
                None => zone.instant_of(local),
            };
            Some(ParsedDate { interval: Interval::of_instant(instant), precision: Precision::Time })
        }
        _ => None,
    }
}

/// The interval of a `Period` or another date-like member of a tree.
#[must_use]
pub fn period(start: Option<&str>, end: Option<&str>, zone: Zone) -> Option<Interval> {
    if start.is_none() && end.is_none() {
        return None;
    }
    let low = match start {
        Some(start) => parse(start, zone)?.interval.low,
        None => i64::MIN,
    };
    let high = match end {
        Some(end) => parse(end, zone)?.interval.high,
        None => i64::MAX,
    };
    Some(Interval { low, high })
}

fn days(begin: Date, end: Date, precision: Precision, zone: Zone) -> ParsedDate {
    let at = |date: Date| milliseconds(zone.instant_of(PrimitiveDateTime::new(date, Time::MIDNIGHT)));
    ParsedDate { interval: Interval { low: at(begin), high: at(end) }, precision }
}

fn calendar_date(year: u16, month: u16, day: u16) -> Option<Date> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()
}

/// `hh:mm[:ss[.f]][zone]`
fn parse_time(text: &str) -> Option<(Time, Option<UtcOffset>)> {
    let zone_at = text.find(['Z', '+', '-']);
    let (clock, offset) = match zone_at {
        Some(at) => {
            let (clock, zone) = text.split_at_checked(at)?;
            (clock, Some(parse_offset(zone)?))
        }
        None => (text, None),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = parts.next().map(|second| digits(second, 2));
    if parts.next().is_some() || (second.is_none() && fraction.is_some()) {
        return None;
    }
    let second = match second {
        Some(second) => second?,
        None => 0,
    };
    let nanosecond = fraction.map_or(Some(0), nanoseconds)?;
    let narrow = |part: u16| u8::try_from(part).ok();
    let time = Time::from_hms_nano(narrow(hour)?, narrow(minute)?, narrow(second)?, nanosecond).ok()?;
    Some((time, offset))
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(
        fraction
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(9)
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
    )
}

/// `Z` or `(+|-)hh:mm` up to 14 hours.
fn parse_offset(text: &str) -> Option<UtcOffset> {
    if text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return None;
    }
    UtcOffset::from_whole_seconds(sign * i32::from(hours * 60 + minutes) * 60).ok()
}

/// Exactly `count` decimal digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
