//! `[retention]`: how long a node keeps what has ended or was replaced.

use std::ops::RangeInclusive;
use std::time::Duration;

use settings::{Reader, Section};

const DAY: Duration = Duration::from_secs(86_400);
/// A day, so that nothing goes while people still work on it, to thirty years.
const TASKS: RangeInclusive<Duration> = DAY..=LONGEST;
/// A week, so that what went wrong over a weekend can still be looked into.
const INSTANCES: RangeInclusive<Duration> = Duration::from_secs(86_400 * 7)..=LONGEST;
/// A month: versions are what says who has changed what, and running processes may name them.
const HISTORY: RangeInclusive<Duration> = Duration::from_secs(86_400 * 30)..=LONGEST;
/// Three months: an attack is often found only weeks after it, and its traces must then still be there.
const AUDIT: RangeInclusive<Duration> = Duration::from_secs(86_400 * 90)..=LONGEST;
const LONGEST: Duration = Duration::from_secs(86_400 * 365 * 30);

/// What goes, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How long ended Tasks and answered user tasks are kept, with all their versions; none: for ever.
    pub tasks: Option<Duration>,
    /// How long ended process instances and their events are kept whose model does not say; none: thirty days.
    pub instances: Option<Duration>,
    /// How long versions of resources are kept after the next one has replaced them; none: for ever.
    pub history: Option<Duration>,
    /// How long records of the audit log are kept once every sink has taken them; none: for ever.
    pub audit: Option<Duration>,
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>) -> Retention {
    let retention = Retention {
        tasks: time(&mut section, reader, "tasks", &TASKS),
        instances: time(&mut section, reader, "instances", &INSTANCES),
        history: time(&mut section, reader, "history", &HISTORY),
        audit: time(&mut section, reader, "audit", &AUDIT),
    };
    section.finish(reader);
    retention
}

fn time(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    times: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let time = section.duration(reader, key)?;
    if times.contains(&time.value) {
        return Some(time.value);
    }
    let days = |time: &Duration| time.as_secs() / 86_400;
    let remedy = format!("write {}d to {}d", days(times.start()), days(times.end()));
    reader.refuse(&time, "is no time for which this is kept", &remedy);
    None
}
