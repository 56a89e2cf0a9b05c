//! Timer cycles: `R3/PT10S`, `R/2030-01-01T00:00:00Z/P1D`, `R5/PT1H/2030-01-01T00:00:00Z`, or a cron expression.
//!
//! A counted cycle fires as often as it says. Occurrences of an endless cycle that were missed because the engine was down
//! are not made up: it goes on with the next one that lies in the future.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::cron::Cron;
use super::{IsoDuration, TimerError, parse_date, whole};
use crate::limits;

/// When a timer is due, and how it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When it is due.
    pub due: OffsetDateTime,
    /// The rest of a cycle.
    pub repeat: Option<Repeat>,
}

/// The rest of a cycle after an occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// The cycle as written.
    pub cycle: String,
    /// Occurrences that are left; none is without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
}

enum Cycle {
    Interval { times: Option<u32>, start: Option<OffsetDateTime>, period: IsoDuration, end: Option<OffsetDateTime> },
    Cron(Cron),
}

// === impl Schedule ===

impl Schedule {
    /// The first occurrence of a cycle that is set now.
    pub(super) fn of_cycle(text: &str, now: OffsetDateTime) -> Result<Self, TimerError> {
        let text = text.trim();
        let over = || TimerError(format!("timer cycle {text:?} has no occurrence in the future"));
        match Cycle::parse(text)? {
            Cycle::Cron(cron) => {
                let due = cron.next_after(now).ok_or_else(over)?;
                Ok(Self { due, repeat: Some(Repeat { cycle: text.to_owned(), left: None }) })
            }
            Cycle::Interval { times, start, period, end } => {
                let first = match start {
                    Some(start) => start,
                    None => period.after(now)?,
                };
                let left = times.map(|times| times.saturating_sub(1));
                occurrence(text, first, left, &period, end, now)?.ok_or_else(over)
            }
        }
    }
}

// === impl Repeat ===

impl Repeat {
    /// The occurrence after the one that was due then.
    pub fn next(&self, due: OffsetDateTime, now: OffsetDateTime) -> Result<Option<Schedule>, TimerError> {
        match Cycle::parse(&self.cycle)? {
            Cycle::Cron(cron) => Ok(cron
                .next_after(now.max(due))
                .map(|due| Schedule { due, repeat: Some(Self { cycle: self.cycle.clone(), left: None }) })),
            Cycle::Interval { period, end, .. } => {
                if self.left == Some(0) {
                    return Ok(None);
                }
                let next = period.after(due)?;
                let left = self.left.map(|left| left.saturating_sub(1));
                // A counted cycle makes up for what it missed, an endless one does not.
                let after = if left.is_some() { due } else { now };
                occurrence(&self.cycle, next, left, &period, end, after)
            }
        }
    }
}

/// The first occurrence from `first` on that does not lie before `now`.
fn occurrence(
    cycle: &str,
    first: OffsetDateTime,
    mut left: Option<u32>,
    period: &IsoDuration,
    end: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<Option<Schedule>, TimerError> {
    let mut due = first;
    let mut skipped = 0_u32;
    while due < now {
        if left == Some(0) {
            return Ok(None);
        }
        left = left.map(|left| left.saturating_sub(1));
        skipped = skipped.saturating_add(1);
        due = if skipped < limits::TIMER_SKIPPED { period.after(due)? } else { period.after(now)? };
    }
    if end.is_some_and(|end| due > end) {
        return Ok(None);
    }
    Ok(Some(Schedule { due, repeat: Some(Repeat { cycle: cycle.to_owned(), left }) }))
}

// === impl Cycle ===

impl Cycle {
    fn parse(text: &str) -> Result<Self, TimerError> {
        let Some(rest) = text.strip_prefix('R') else { return Cron::parse(text).map(Self::Cron) };
        let invalid = || TimerError(format!("{text:?} is not a timer cycle such as R3/PT10S"));
        let mut parts = rest.split('/');
        let times = match parts.next().unwrap_or_default() {
            "" => None,
            count => Some(whole(count).and_then(|count| u32::try_from(count).ok()).ok_or_else(invalid)?),
        };
        if times == Some(0) {
            return Err(TimerError(format!("timer cycle {text:?} never fires")));
        }
        let (first, second) = (parts.next().ok_or_else(invalid)?, parts.next());
        if parts.next().is_some() {
            return Err(invalid());
        }
        let (start, period, end) = match (IsoDuration::parse(first), second) {
            (Ok(period), None) => (None, period, None),
            (Ok(period), Some(end)) => (None, period, Some(parse_date(end)?)),
            (Err(_), None) => return Err(invalid()),
            (Err(_), Some(second)) => {
                let start = parse_date(first)?;
                match IsoDuration::parse(second) {
                    Ok(period) => (Some(start), period, None),
                    // Start and end of the first interval.
                    Err(_) => {
                        let seconds = (parse_date(second)? - start).whole_seconds();
                        (Some(start), IsoDuration::of_seconds(seconds.max(0)), None)
                    }
                }
            }
        };
        if period.is_zero() {
            return Err(TimerError(format!("timer cycle {text:?} has no period")));
        }
        Ok(Self::Interval { times, start, period, end })
    }
}
