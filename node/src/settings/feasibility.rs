//! `[feasibility]`: how this node asks and answers how many patients belong to a cohort.

use std::time::Duration;

use settings::{Reader, Section};

/// Wire versions that exist.
const VERSIONS: [&str; 2] = ["1.0", "1.1"];

/// A site needs seconds; whoever asks does not wait for hours.
const ANSWER_TIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

/// Different questions in thirty days, if nothing is written. Told counts of one cohort in that many phrasings that the site
/// cannot see to be the same still do not give the exact count (docs/decisions/054).
const QUESTIONS: u32 = 200;

/// Asking and answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feasibility {
    /// Wire versions that are installed, each once.
    pub versions: Vec<&'static str>,
    /// How long the portal waits for the answer of a site.
    pub answer_time: Duration,
    /// Sites that must be there before anybody is asked.
    pub minimum_sites: usize,
    /// Different questions of one requester that a site answers in thirty days.
    pub questions: u32,
}

impl Default for Feasibility {
    /// As the reference, version 1.0.
    fn default() -> Self {
        let answer_time = Duration::from_secs(300);
        Self { versions: vec!["1.0"], answer_time, minimum_sites: 1, questions: QUESTIONS }
    }
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>) -> Feasibility {
    let mut feasibility = Feasibility::default();
    let versions = section.strings(reader, "versions");
    let answer_time = section.duration(reader, "answer-time");
    let minimum_sites = section.integer(reader, "minimum-sites", 1..10_001);
    let questions = section.integer(reader, "questions-per-month", 1..10_001);
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(reader);
    if let Some(written) = versions {
        feasibility.versions.clear();
        if written.is_empty() {
            reader.error(&span, &path, "has no version", "leave the key out, or write \"1.0\", \"1.1\" or both");
        }
        for item in &written {
            let known = VERSIONS.into_iter().find(|version| *version == item.value);
            match known.filter(|version| !feasibility.versions.contains(version)) {
                Some(version) => feasibility.versions.push(version),
                None => reader.refuse(item, "is no version, or stands twice", "write \"1.0\", \"1.1\" or both"),
            }
        }
    }
    if let Some(time) = answer_time {
        match ANSWER_TIMES.contains(&time.value) {
            true => feasibility.answer_time = time.value,
            false => reader.refuse(&time, "is no time in which sites answer", "write 5s to 1h"),
        }
    }
    if let Some(sites) = minimum_sites {
        feasibility.minimum_sites = usize::try_from(sites.value).unwrap_or(1);
    }
    if let Some(questions) = questions.and_then(|item| u32::try_from(item.value).ok()) {
        feasibility.questions = questions;
    }
    feasibility
}
