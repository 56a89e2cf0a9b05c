//! Time as rules see it: the wall clock of the policy's time zone, windows of the week, periods of counted limits.
//!
//! The crate has no clock; the moment of a request is an argument. What it knows is the table of time zones, which is part
//! of the program: two machines with the same build decide alike, whatever their operating systems know.

use std::fmt;

use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan, Zoned};
use time::OffsetDateTime;

/// A time zone with its name.
#[derive(Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// Days of the week with a span of the day; `22:00` to `06:00` runs past midnight and belongs to the day it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// Monday first.
    pub(crate) days: [bool; 7],
    /// Minute of the day at which it begins.
    pub(crate) from: u16,
    /// Minute of the day at which it is over, 1440 for midnight.
    pub(crate) to: u16,
}

/// What a counted limit counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// The calendar month.
    Month,
}

/// Minutes of a day.
pub(crate) const DAY: u16 = 24 * 60;

// === impl Zone ===

impl Zone {
    /// The zone with an IANA name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        Some(Self { name: name.to_owned(), zone })
    }

    /// Coordinated universal time, which needs no table.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Its IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wall clock at a moment; moments outside the calendar read as its ends.
    fn at(&self, moment: OffsetDateTime) -> Zoned {
        let timestamp = Timestamp::from_second(moment.unix_timestamp()).unwrap_or(Timestamp::MAX);
        timestamp.to_zoned(self.zone.clone())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

// === impl TimeWindow ===

impl TimeWindow {
    /// Whether the moment lies in the window.
    #[must_use]
    pub fn contains(&self, moment: OffsetDateTime, zone: &Zone) -> bool {
        let now = zone.at(moment);
        let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(0);
        let today = day(now.weekday());
        if self.from < self.to {
            return self.on(today) && (self.from..self.to).contains(&minute);
        }
        let yesterday = (today + 6) % 7;
        (self.on(today) && minute >= self.from) || (self.on(yesterday) && minute < self.to)
    }

    fn on(&self, day: usize) -> bool {
        self.days.get(day).copied().unwrap_or(false)
    }
}

fn day(weekday: Weekday) -> usize {
    usize::try_from(weekday.to_monday_zero_offset()).unwrap_or(0)
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days: Vec<&str> = names.into_iter().zip(self.days).filter_map(|(name, on)| on.then_some(name)).collect();
        let (from, to) = (self.from, self.to);
        write!(f, "{} {:02}:{:02}-{:02}:{:02}", days.join(","), from / 60, from % 60, to / 60, to % 60)
    }
}

// === impl Period ===

impl Period {
    /// Every period with its word.
    pub const WORDS: [(&'static str, Self); 4] =
        [("hour", Self::Hour), ("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// The word of the policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// When the period of the moment began.
    #[must_use]
    pub fn start(self, moment: OffsetDateTime, zone: &Zone) -> OffsetDateTime {
        let now = zone.at(moment);
        let began = match self {
            // A full hour of the clock on the wall, also where offsets have minutes.
            Self::Hour => {
                let minutes = (i64::from(now.minute()) * 60 + i64::from(now.second())).seconds();
                now.timestamp().checked_sub(minutes).ok()
            }
            Self::Day => now.start_of_day().ok().map(|start| start.timestamp()),
            Self::Week => {
                let back = i64::from(now.weekday().to_monday_zero_offset()).days();
                now.date().checked_sub(back).ok().and_then(|monday| first_moment(monday, &now))
            }
            Self::Month => first_moment(now.date().first_of_month(), &now),
        };
        let began = began.unwrap_or_else(|| now.timestamp());
        OffsetDateTime::from_unix_timestamp(began.as_second()).unwrap_or(moment)
    }
}

fn first_moment(date: jiff::civil::Date, now: &Zoned) -> Option<Timestamp> {
    date.to_zoned(now.time_zone().clone()).ok()?.start_of_day().ok().map(|start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    const OFFICE: TimeWindow =
        TimeWindow { days: [true, true, true, true, true, false, false], from: 7 * 60, to: 19 * 60 };
    const NIGHT: TimeWindow =
        TimeWindow { days: [true, false, false, false, false, false, false], from: 22 * 60, to: 6 * 60 };

    #[test]
    fn windows_follow_the_wall_clock_in_summer_and_winter() {
        for (moment, inside) in [
            // Monday in winter: UTC+1.
            (datetime!(2026-01-05 05:59:59 UTC), false),
            (datetime!(2026-01-05 06:00 UTC), true),
            (datetime!(2026-01-05 17:59:59 UTC), true),
            (datetime!(2026-01-05 18:00 UTC), false),
            // Monday in summer: UTC+2.
            (datetime!(2026-07-06 04:59:59 UTC), false),
            (datetime!(2026-07-06 05:00 UTC), true),
            (datetime!(2026-07-06 17:00 UTC), false),
            // Saturday, and Friday that is Saturday already in UTC+2.
            (datetime!(2026-07-11 10:00 UTC), false),
            (datetime!(2026-07-10 22:30 UTC), false),
        ] {
            assert_eq!(OFFICE.contains(moment, &berlin()), inside, "{moment}");
        }
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_began() {
        for (moment, inside) in [
            (datetime!(2026-01-05 21:30 UTC), true),
            (datetime!(2026-01-06 04:30 UTC), true),
            (datetime!(2026-01-06 05:00 UTC), false),
            (datetime!(2026-01-06 21:30 UTC), false),
            (datetime!(2026-01-05 04:30 UTC), false),
        ] {
            assert_eq!(NIGHT.contains(moment, &berlin()), inside, "{moment}");
        }
    }

    #[test]
    fn periods_begin_at_local_midnight_also_when_clocks_change() {
        let moment = datetime!(2026-03-29 10:20:30 UTC);
        let start = |period: Period, moment| period.start(moment, &berlin());
        assert_eq!(start(Period::Hour, moment), datetime!(2026-03-29 10:00 UTC));
        // Clocks went forward that night: midnight was still UTC+1.
        assert_eq!(start(Period::Day, moment), datetime!(2026-03-28 23:00 UTC));
        assert_eq!(start(Period::Week, moment), datetime!(2026-03-22 23:00 UTC));
        assert_eq!(start(Period::Month, moment), datetime!(2026-02-28 23:00 UTC));
        assert_eq!(start(Period::Day, datetime!(2026-03-30 10:00 UTC)), datetime!(2026-03-29 22:00 UTC));
    }

    #[test]
    fn zones_have_iana_names() {
        assert!(["Europe/Berlin", "UTC", "America/New_York"].iter().all(|name| Zone::named(name).is_some()));
        assert!(["Berlin", "", "Europe/Atlantis", "../etc/passwd"].iter().all(|name| Zone::named(name).is_none()));
    }

    #[test]
    fn any_moment_has_a_period() {
        for moment in [OffsetDateTime::UNIX_EPOCH, datetime!(0001-01-01 0:00 UTC), datetime!(9999-12-31 23:59 UTC)] {
            for (_, period) in Period::WORDS {
                let _ = period.start(moment, &berlin());
                let _ = OFFICE.contains(moment, &berlin());
            }
        }
    }
}
