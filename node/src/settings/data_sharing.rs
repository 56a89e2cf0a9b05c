//! `[data-sharing]`: what a data integration centre has decided for every project.

use settings::{Reader, Section};

/// Decisions that no request overrules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSharing {
    /// Whether a second person must confirm an approved extraction.
    pub four_eyes: bool,
    /// Persons below which the site does not take part.
    pub minimum_cohort: u64,
}

/// The count below which the site tells no counts either.
const MINIMUM_COHORT: u64 = 5;

impl Default for DataSharing {
    fn default() -> Self {
        Self { four_eyes: false, minimum_cohort: MINIMUM_COHORT }
    }
}

pub(super) fn read(mut section: Section<'_>, reader: &mut Reader<'_>) -> DataSharing {
    let four_eyes = section.boolean(reader, "four-eyes");
    let minimum = section.integer(reader, "minimum-cohort", 1..1_000_001);
    section.finish(reader);
    let minimum = minimum.and_then(|item| u64::try_from(item.value).ok());
    DataSharing {
        four_eyes: four_eyes.is_some_and(|item| item.value),
        minimum_cohort: minimum.unwrap_or(MINIMUM_COHORT),
    }
}
