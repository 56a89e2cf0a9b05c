//! Persons that never were, with their records at one or more sites, and the truth about them.
//!
//! Everything follows from a seed, so that the demonstration, the tests and the benchmarks see the same persons on every
//! machine, and anybody can compute the right answer without the code that is tested: a [`Patient`] carries the facts
//! from which both its resources and the [`Truth`] are made.
//!
//! A person that is known at several sites is written a little differently at each (a typing error, a married name, a
//! swapped day and month), and has records of its own there. Consents are those of the MII: most permit, some have
//! ended, were withdrawn or were never asked for.

mod chance;
mod identity;
mod patient;
mod question;
pub mod sharing;
mod tables;
mod truth;
mod write;

pub use chance::Chance;
pub use identity::{Identity, Sex};
pub use patient::{Consent, Diagnosis, Laboratory, Patient};
pub use question::{Question, questions};
pub use truth::{SiteTruth, Truth};
pub use write::write_site;

use time::{Date, Month};

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Everything follows from it.
    pub seed: u64,
    /// Sites, numbered from 0.
    pub sites: u32,
    /// Patients of each site.
    pub patients: u32,
    /// How many of them are known at another site too (at most a third is sensible). Every third of these is known at
    /// three sites, if there are three.
    pub shared: u32,
}

/// The day on which the records end. Consents that have ended have ended before it.
#[must_use]
pub const fn last_day() -> Date {
    match Date::from_calendar_date(2026, Month::October, 31) {
        Ok(date) => date,
        Err(_) => Date::MIN,
    }
}

// === impl Network ===

impl Network {
    /// The patients of a site, in order: first those that other sites know too.
    pub fn patients_of(&self, site: u32) -> impl Iterator<Item = Patient> + use<'_> {
        let shared = u64::from(self.shared_persons());
        let known = (0..shared).filter(move |person| self.sites_of(*person).contains(&site));
        let own = shared + u64::from(site) * u64::from(self.patients);
        let persons = known.chain(own..).zip(0..self.patients);
        persons.map(move |(person, place)| {
            let is_first = self.sites_of(person).first() == Some(&site);
            Patient::new(self.seed, site, place, person, !is_first)
        })
    }

    /// How many persons are shared in the whole network.
    #[must_use]
    pub const fn shared_persons(&self) -> u32 {
        if self.sites < 2 { 0 } else { self.shared * self.sites / 2 }
    }

    /// The sites that know a person.
    #[must_use]
    pub fn sites_of(&self, person: u64) -> Vec<u32> {
        let shared = u64::from(self.shared_persons());
        if person >= shared {
            let site = (person - shared) / u64::from(self.patients.max(1));
            return vec![u32::try_from(site).unwrap_or(0)];
        }
        let first = u32::try_from(person).unwrap_or(0) % self.sites;
        let many = if person.is_multiple_of(3) && self.sites > 2 { 3 } else { 2 };
        let mut sites: Vec<u32> = (0..many).map(|step| (first + step) % self.sites).collect();
        sites.sort_unstable();
        sites
    }
}

#[cfg(test)]
mod tests;
