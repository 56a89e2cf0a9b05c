//! `[retention]`: how long a node keeps what has ended.

use std::time::Duration;

use settings::{Reader, Section};

const DAY: Duration = Duration::from_secs(86_400);
/// A day, so that nothing goes while people still work on it, to thirty years.
const TIMES: std::ops::RangeInclusive<Duration> = DAY..=Duration::from_secs(86_400 * 365 * 30);

/// What goes, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How long ended Tasks and answered user tasks are kept, with all their versions; none: for ever.
    pub tasks: Option<Duration>,
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>) -> Retention {
    let tasks = section.duration(reader, "tasks");
    section.finish(reader);
    let mut retention = Retention::default();
    if let Some(time) = tasks {
        match TIMES.contains(&time.value) {
            true => retention.tasks = Some(time.value),
            false => reader.refuse(&time, "is no time for which Tasks are kept", "write 1d to 10950d"),
        }
    }
    retention
}
