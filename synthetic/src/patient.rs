//! A patient of a site: identity, consent and the facts of the records.

use time::{Date, Duration};

use crate::chance::Chance;
use crate::identity::Identity;
use crate::{last_day, tables};

/// A patient of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Patient {
    /// Number of the site.
    pub site: u32,
    /// Logical id at the site.
    pub id: String,
    /// Number of the person in the network: the same at every site that knows it.
    pub person: u64,
    /// As the site has written it.
    pub identity: Identity,
    /// Consent.
    pub consent: Consent,
    /// Diagnoses.
    pub diagnoses: Vec<Diagnosis>,
    /// Results of the laboratory.
    pub laboratory: Vec<Laboratory>,
    /// Systolic and diastolic pressure, in mm Hg.
    pub pressure: Option<(Date, u32, u32)>,
    /// Substances (place in the table) and when they were first taken.
    pub(crate) medication: Vec<(usize, Date)>,
    /// Procedures (place in the table) and when.
    pub(crate) procedures: Vec<(usize, Date)>,
}

/// What a patient has consented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Research with the data is permitted; data from the day on.
    Permitted {
        /// Day of the consent.
        from: Date,
        /// Whether earlier data is included.
        retrospective: bool,
    },
    /// It was permitted, but not any more.
    Expired {
        /// Day of the consent.
        from: Date,
        /// Last day.
        until: Date,
    },
    /// It was withdrawn.
    Withdrawn {
        /// Day of the withdrawal.
        on: Date,
    },
    /// Nobody was asked.
    None,
}

/// A diagnosis.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// ICD-10-GM code.
    pub code: &'static str,
    /// Its text.
    pub text: &'static str,
    /// When it was made.
    pub on: Date,
}

/// A result of the laboratory.
#[derive(Clone, Debug, PartialEq)]
pub struct Laboratory {
    /// LOINC code.
    pub code: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Unit (UCUM).
    pub unit: &'static str,
    /// Value in tenths of the unit, so that it is exact.
    pub tenths: i64,
    /// When it was measured.
    pub on: Date,
}

// === impl Patient ===

impl Patient {
    pub(crate) fn new(seed: u64, site: u32, place: u32, person: u64, is_copy: bool) -> Self {
        let identity = Identity::of(seed, person);
        let identity = if is_copy { identity.as_written_at(seed, person, site) } else { identity };
        let mut chance = Chance::of(seed, &[3, u64::from(site), u64::from(place)]);
        let consent = consent(&mut chance);
        // Nobody is treated before birth.
        let days = (last_day() - identity.birth).whole_days().clamp(1, 6 * 365);
        let day = |chance: &mut Chance| {
            last_day() - Duration::days(i64::try_from(chance.below(days.unsigned_abs())).unwrap_or(0))
        };
        let mut patient = Self {
            site,
            id: format!("s{}p{place:06}", site + 1),
            person,
            identity,
            consent,
            diagnoses: Vec::new(),
            laboratory: Vec::new(),
            pressure: None,
            medication: Vec::new(),
            procedures: Vec::new(),
        };
        for (code, text, percent) in tables::DIAGNOSES {
            if chance.percent(*percent) {
                patient.diagnoses.push(Diagnosis { code, text, on: day(&mut chance) });
            }
        }
        for (code, text, unit, mean, spread, percent) in tables::LABORATORY {
            for _ in 0..2 {
                if chance.percent(*percent) {
                    let tenths = (chance.around(*mean, *spread).max(0.1) * 10.0).round() as i64;
                    patient.laboratory.push(Laboratory { code, text, unit, tenths, on: day(&mut chance) });
                }
            }
        }
        if chance.percent(65) {
            let systolic = chance.around(130.0, 18.0).clamp(70.0, 230.0) as u32;
            let diastolic = chance.around(80.0, 11.0).clamp(40.0, 130.0) as u32;
            patient.pressure = Some((day(&mut chance), systolic, diastolic));
        }
        for (index, (_, _, percent)) in tables::MEDICATION.iter().enumerate() {
            if chance.percent(*percent) {
                patient.medication.push((index, day(&mut chance)));
            }
        }
        for (index, (_, _, percent)) in tables::PROCEDURES.iter().enumerate() {
            if chance.percent(*percent) {
                patient.procedures.push((index, day(&mut chance)));
            }
        }
        patient
    }

    /// ATC codes of what the patient takes.
    pub fn substances(&self) -> impl Iterator<Item = &'static str> {
        self.medication.iter().filter_map(|(index, _)| tables::MEDICATION.get(*index)).map(|(code, ..)| *code)
    }

    /// OPS codes of procedures.
    pub fn procedure_codes(&self) -> impl Iterator<Item = &'static str> {
        self.procedures.iter().filter_map(|(index, _)| tables::PROCEDURES.get(*index)).map(|(code, ..)| *code)
    }

    /// Age in whole years on a day.
    #[must_use]
    pub fn age(&self, on: Date) -> i32 {
        let birth = self.identity.birth;
        let had_birthday = (u8::from(on.month()), on.day()) >= (u8::from(birth.month()), birth.day());
        on.year() - birth.year() - i32::from(!had_birthday)
    }
}

impl Consent {
    /// Whether research is permitted on a day.
    #[must_use]
    pub fn permits(&self, on: Date) -> bool {
        match self {
            Self::Permitted { from, .. } => *from <= on,
            Self::Expired { from, until } => *from <= on && on <= *until,
            Self::Withdrawn { .. } | Self::None => false,
        }
    }
}

/// Of a hundred 80 permit (half of them also for earlier data), 10 have ended, 5 were withdrawn, 5 are not there.
fn consent(chance: &mut Chance) -> Consent {
    let mut ago = |most: u64| last_day() - Duration::days(30 + i64::try_from(chance.below(most)).unwrap_or(0));
    let (recent, old) = (ago(900), ago(900) - Duration::days(6 * 365));
    match chance.below(100) {
        0..80 => Consent::Permitted { from: recent, retrospective: chance.percent(50) },
        80..90 => Consent::Expired { from: old, until: old + Duration::days(5 * 365) },
        90..95 => Consent::Withdrawn { on: recent },
        _ => Consent::None,
    }
}
