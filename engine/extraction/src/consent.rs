//! The consent filter: MII broad consent, by policy codes and periods.
//!
//! - A permit counts if it is in an `active` Consent whose base provision denies and which permits every code that is
//!   required; codes of one Consent do not complete another.
//! - A deny takes its period away, in whichever Consent it stands; a deny without a period takes everything, and one whose
//!   code cannot be read takes every code.
//! - The gate: today is in a permitted period of the gate code, after all denies. Otherwise the person has no data here.
//! - The window: the date of a resource is in a permitted period of the window code. A retrospective code in the same
//!   Consent moves the start of the window to 1900.
//! - Whatever cannot be read (a Consent without status, a period that is no date) refuses the person, not only the Consent:
//!   what could not be read may have been the withdrawal.

mod days;
mod read;

use std::collections::BTreeMap;

use fhir::{Resource, Value};
use time::Date;

pub use days::{Days, Period};

use crate::limits;
use read::{ReadConsent, read};

/// OID of the MII policies.
pub const POLICY_ROOT: &str = "2.16.840.1.113883.3.1937.777.24.5.3";

/// Which codes a project needs, by their last arc (`6`, `8`, `45`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentPolicy {
    /// Codes that one Consent must permit together.
    pub required: Vec<String>,
    /// Code that must be permitted today.
    pub gate: String,
    /// Code whose periods bound the dates of resources.
    pub window: String,
    /// Codes that move the start of the window to the beginning.
    pub retrospective: Vec<String>,
}

/// What a person has permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    window: Days,
}

/// Why a person has no data in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Excluded {
    /// There is no Consent.
    #[error("no consent")]
    Missing,
    /// No active Consent permits what is required.
    #[error("the consent does not permit the use")]
    NotPermitted,
    /// It was permitted once, and not today.
    #[error("the consent has ended or not begun")]
    NotToday,
    /// It was withdrawn: a deny, or a Consent that is no longer active.
    #[error("the consent was withdrawn")]
    Withdrawn,
    /// It cannot be read.
    #[error("the consent cannot be read")]
    Unreadable,
}

/// Counts for who approves an extraction; no person in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Persons who permit the use.
    pub permitted: u64,
    /// The others, by reason.
    pub excluded: BTreeMap<Excluded, u64>,
}

// === impl ConsentPolicy ===

impl Default for ConsentPolicy {
    /// Collecting (6) and scientific use (8) of medical data; 45 and 46 permit data from before.
    fn default() -> Self {
        let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
        Self {
            required: codes(&["6", "8"]),
            gate: "8".to_owned(),
            window: "6".to_owned(),
            retrospective: codes(&["45", "46"]),
        }
    }
}

impl ConsentPolicy {
    /// What the Consents of one person permit on this day. All Consents of the person must be handed in.
    pub fn judge(&self, consents: &[&Resource], today: Date) -> Result<Permission, Excluded> {
        if consents.is_empty() {
            return Err(Excluded::Missing);
        }
        if consents.len() > limits::CONSENTS {
            return Err(Excluded::Unreadable);
        }
        let consents: Option<Vec<ReadConsent>> = consents.iter().map(|consent| read(consent)).collect();
        let consents = consents.ok_or(Excluded::Unreadable)?;
        let granting: Vec<&ReadConsent> = consents.iter().filter(|consent| self.grants(consent)).collect();
        if granting.is_empty() {
            let was_withdrawn = consents.iter().any(|consent| consent.is_withdrawn);
            return Err(if was_withdrawn { Excluded::Withdrawn } else { Excluded::NotPermitted });
        }
        let denied = |code: &str| -> Days {
            let denies = consents.iter().flat_map(|consent| consent.denies.iter());
            denies.filter(|deny| deny.is_of(code)).map(|deny| deny.period).collect()
        };
        let permitted = |code: &str| -> Days { granting.iter().flat_map(|consent| consent.permitted(code)).collect() };
        let (gate, gate_denied) = (permitted(&self.gate), denied(&self.gate));
        if !gate.contains(today) {
            return Err(Excluded::NotToday);
        }
        if gate_denied.contains(today) {
            return Err(Excluded::Withdrawn);
        }
        let window: Days = granting.iter().flat_map(|consent| self.window_of(consent)).collect();
        let window = window.without(&denied(&self.window));
        if window.is_empty() { Err(Excluded::Withdrawn) } else { Ok(Permission { window }) }
    }

    fn grants(&self, consent: &ReadConsent) -> bool {
        let all = self.required.iter().chain([&self.gate, &self.window]);
        consent.is_active
            && consent.is_denied_at_base
            && all.into_iter().all(|code| consent.permitted(code).next().is_some())
    }

    fn window_of(&self, consent: &ReadConsent) -> Vec<Period> {
        let is_retrospective = self.retrospective.iter().any(|code| consent.permitted(code).next().is_some());
        let periods = consent.permitted(&self.window);
        periods.map(|period| if is_retrospective { period.from_the_beginning() } else { period }).collect()
    }
}

// === impl Permission ===

impl Permission {
    /// Whether a resource may be used. Patient has no date of its own and belongs to every permission; other resources
    /// count by the date element of their type, and without one they do not.
    #[must_use]
    pub fn covers(&self, resource: &Resource) -> bool {
        if resource.type_name() == "Patient" {
            return true;
        }
        period_of(resource).is_some_and(|period| self.window.covers(period))
    }
}

// === impl Statistics ===

impl Statistics {
    /// Counts a person.
    pub fn count(&mut self, judgement: &Result<Permission, Excluded>) {
        match judgement {
            Ok(_) => self.permitted += 1,
            Err(excluded) => *self.excluded.entry(*excluded).or_default() += 1,
        }
    }
}

/// Elements that say when a resource's content was collected, the first that is there counts.
fn date_elements(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "AdverseEvent" => &["date", "detected", "recordedDate"],
        "AllergyIntolerance" | "FamilyMemberHistory" => &["recordedDate", "date"],
        "CarePlan" => &["period", "created"],
        "ClinicalImpression" => &["effectiveDateTime", "effectivePeriod", "date"],
        "Condition" => &["recordedDate", "onsetDateTime", "onsetPeriod"],
        "DiagnosticReport" | "Observation" => &["effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"],
        "Encounter" => &["period"],
        "ImagingStudy" => &["started"],
        "Immunization" => &["occurrenceDateTime", "recorded"],
        "MedicationAdministration" => &["effectiveDateTime", "effectivePeriod"],
        "MedicationRequest" | "ServiceRequest" => &["authoredOn", "occurrenceDateTime", "occurrencePeriod"],
        "MedicationStatement" => &["effectiveDateTime", "effectivePeriod", "dateAsserted"],
        "Procedure" => &["performedDateTime", "performedPeriod"],
        "Specimen" => &["collection.collectedDateTime", "collection.collectedPeriod", "receivedTime"],
        _ => &[],
    }
}

pub(crate) fn period_of(resource: &Resource) -> Option<Period> {
    let value = date_elements(resource.type_name()).iter().find_map(|path| match path.split_once('.') {
        Some((first, second)) => resource.get(first)?.get(second),
        None => resource.get(path),
    })?;
    match value {
        Value::String(text) => Period::of_date(text),
        // The end may be open as long as the stay lasts; what counts is that it began inside.
        Value::Object(period) => Period::of_date(period.str("start")?),
        _ => None,
    }
}
