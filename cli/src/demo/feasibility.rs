//! The demonstration's question: the portal asks all data integration centres how many patients belong to a cohort, in the
//! form in which the national portal asks (one transaction with Task, Measure and Library), and reads their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use fhir::Resource;
use synthetic::Question;
use tokio::time::Instant;

use super::network::{Network, Site};
use super::partner::{Partner, PartnerError};
use crate::feasibility::{Asked, count_of, failure, outcomes, request_path};

const LONGEST_RUN: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What a site told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A count, after suppression, noise and rounding.
    Count(u64),
    /// Nothing, and why.
    Nothing(String),
}

/// Why the question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeasibilityError {
    #[error(transparent)]
    Partner(#[from] PartnerError),
    #[error("the portal did not say where it put the request")]
    NoLocation,
    #[error("the feasibility request ended as {status}: {reason}")]
    Failed { status: String, reason: String },
    #[error("the feasibility request was still {status} after {seconds} s", seconds = LONGEST_RUN.as_secs())]
    Unfinished { status: String },
}

impl Told {
    /// Whether the number can come of this count: told as 0 below five, else rounded to tens with noise that exceeds 25 in
    /// one of 270 000 cases.
    pub(crate) const fn fits(&self, truth: u64) -> bool {
        match self {
            Self::Count(0) if truth < 5 => true,
            Self::Count(told) => truth >= 5 && told.abs_diff(truth) <= 30 && *told % 10 == 0,
            Self::Nothing(_) => false,
        }
    }
}

/// Asks and waits; answers by organisation identifier.
pub(crate) async fn run(
    partner: &Partner,
    network: &Network,
    question: &Question,
) -> Result<BTreeMap<String, Told>, FeasibilityError> {
    let Some(portal) = network.sites.first() else { return Ok(BTreeMap::new()) };
    let (organization, base_url) = (portal.organization_identifier(), portal.base_url());
    let asked =
        Asked { organization: &organization, base_url: &base_url, version: "1.0", definition: question.definition };
    let answer = partner.post(portal, "", &asked.transaction()).await?.resource;
    let path = answer.and_then(|answer| request_path(&answer, &base_url)).ok_or(FeasibilityError::NoLocation)?;
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        let task = partner.get(portal, &path).await?.resource;
        let status = task.as_ref().and_then(|task| task.str("status")).unwrap_or_default().to_owned();
        match (&task, status.as_str()) {
            (Some(task), "completed") => return answers(partner, portal, task).await,
            (Some(task), "failed") => return Err(FeasibilityError::Failed { status, reason: failure(task) }),
            _ if Instant::now() > deadline => return Err(FeasibilityError::Unfinished { status }),
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

async fn answers(
    partner: &Partner,
    portal: &Site,
    task: &Resource,
) -> Result<BTreeMap<String, Told>, FeasibilityError> {
    let mut told = BTreeMap::new();
    for outcome in outcomes(task, &portal.base_url()) {
        let answer = match &outcome.report {
            Some(path) => {
                let report = partner.get(portal, path).await?.resource;
                let count = report.as_ref().and_then(count_of);
                count.map_or_else(|| Told::Nothing("the MeasureReport has no count".to_owned()), Told::Count)
            }
            None => Told::Nothing(outcome.reason.unwrap_or(outcome.code)),
        };
        told.insert(outcome.site, answer);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn what_is_told_fits_the_truth_or_does_not() {
        for (told, truth) in [(0, 0), (0, 4), (10, 7), (0, 5), (40, 37), (30, 55)] {
            assert!(Told::Count(told).fits(truth), "{told} {truth}");
        }
        for (told, truth) in [(10, 3), (7, 7), (100, 40), (0, 80)] {
            assert!(!Told::Count(told).fits(truth), "{told} {truth}");
        }
        assert!(!Told::Nothing("away".to_owned()).fits(0));
    }
}
