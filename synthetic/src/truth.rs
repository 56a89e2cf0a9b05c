//! The truth about a network: what a right answer is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::Date;

use crate::Network;
use crate::question::questions;

/// What is true of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Truth {
    /// Seed of the network.
    pub seed: u64,
    /// Day on which ages are counted and consents looked at.
    pub today: String,
    /// Persons in the whole network, each counted once.
    pub persons: u64,
    /// Persons that more than one site knows, with their ids at these sites.
    pub shared: Vec<Vec<String>>,
    /// By site.
    pub sites: Vec<SiteTruth>,
}

/// What is true of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SiteTruth {
    /// Patients.
    pub patients: u64,
    /// Patients whose consent permits research on the day.
    pub permitted: u64,
    /// Patients by question.
    pub counts: BTreeMap<String, u64>,
}

// === impl Truth ===

impl Truth {
    /// Computes it from the facts.
    #[must_use]
    pub fn of(network: &Network, today: Date) -> Self {
        let questions = questions();
        let mut by_person: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut persons: BTreeSet<u64> = BTreeSet::new();
        let mut sites = Vec::new();
        for site in 0..network.sites {
            let mut truth = SiteTruth { patients: 0, permitted: 0, counts: BTreeMap::new() };
            for question in &questions {
                truth.counts.insert(question.name.to_owned(), 0);
            }
            for patient in network.patients_of(site) {
                truth.patients += 1;
                truth.permitted += u64::from(patient.consent.permits(today));
                for question in &questions {
                    if (question.holds)(&patient, today) {
                        *truth.counts.entry(question.name.to_owned()).or_default() += 1;
                    }
                }
                persons.insert(patient.person);
                if patient.person < u64::from(network.shared_persons()) {
                    by_person.entry(patient.person).or_default().push(patient.id);
                }
            }
            sites.push(truth);
        }
        let shared = by_person.into_values().filter(|ids| ids.len() > 1).collect();
        Self { seed: network.seed, today: today.to_string(), persons: persons.len() as u64, shared, sites }
    }
}
