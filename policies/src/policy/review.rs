//! `reviewed = "2026-01-31"`: when somebody went through a file or a rule and still wanted it so.
//!
//! A stamp is part of the text, so officers sign it and the version of the policy tells it. It changes no decision; `schleuse
//! check` asks for a new look when a stamp has aged (W07).

use settings::{Reader, Section};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use crate::identifier::RuleId;

/// A stamp of a file, or of one rule in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Name of the file.
    pub file: String,
    /// The rule; none if the stamp is of the whole file.
    pub rule: Option<RuleId>,
    /// The day.
    pub date: Date,
}

/// Reads the stamp of a file or a rule.
pub(super) fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Date> {
    let item = section.string(reader, "reviewed")?;
    let date = parse(&item.value);
    if date.is_none() {
        reader.refuse(&item, "is no day", "write the day of the review such as \"2026-01-31\"");
    }
    date
}

fn parse(text: &str) -> Option<Date> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_plain
        .then(|| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).ok())
        .flatten()
        .map(OffsetDateTime::date)
}
