//! The demonstration's data set: the portal asks all data integration centres for the adults of their records; people
//! approve and release; and what the portal gets at the end is counted beside the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use synthetic::sharing::{DEFINITION, SharedTruth};
use tokio::time::Instant;

use super::network::{Network, Site};
use super::records;
use super::report::Progress;
use crate::data_set::{self, APPROVALS, DataSetError, RELEASES, Wanted};
use crate::own::{Own, OwnError};

const LONGEST_RUN: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(150);
const PROJECT: &str = "demonstration";

/// Why there is no data set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharingError {
    #[error(transparent)]
    DataSet(#[from] DataSetError),
    #[error("none was asked for, because {0} did not answer")]
    Absent(String),
    #[error("the settings of {0} cannot be read")]
    Settings(String),
    #[error("the network has no {0}")]
    NoRole(&'static str),
    #[error("the data set request ended as {status}: {reason}")]
    Ended { status: String, reason: String },
    #[error("{what} did not happen within {seconds} s", seconds = LONGEST_RUN.as_secs())]
    Unfinished { what: String },
}

impl From<OwnError> for SharingError {
    fn from(error: OwnError) -> Self {
        Self::DataSet(error.into())
    }
}

/// A count of the merged data set, beside the truth.
pub(crate) struct Compared {
    pub(crate) what: &'static str,
    pub(crate) provided: u64,
    pub(crate) truth: u64,
    /// Linkage without names misses a few persons and confuses hardly any; resources are exact.
    pub(crate) tolerance: u64,
}

impl Compared {
    pub(crate) const fn fits(&self) -> bool {
        self.provided.abs_diff(self.truth) <= self.tolerance
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "what": self.what, "provided": self.provided, "truth": self.truth, "fits": self.fits(),
        })
    }
}

/// The whole run; what came of it.
pub(crate) async fn run(root: &Path, network: &Network, progress: &Progress) -> Result<Vec<Compared>, SharingError> {
    let of_role =
        |role: &'static str| network.sites.iter().find(move |site| site.role == role).ok_or(SharingError::NoRole(role));
    let (portal, dms, ttp) = (of_role("HRP")?, of_role("DMS")?, of_role("TTP")?);
    let at_portal = node_of(root, portal)?;
    progress.begin("portal asks every data integration centre for a data set of its adults");
    let wanted = Wanted {
        project: PROJECT,
        definition: DEFINITION.as_bytes(),
        data_management_site: &dms.organization_identifier(),
        trusted_third_party: &ttp.organization_identifier(),
        sites: &[],
        decision: Some("demonstration, no patients"),
        approval_time: "PT1H",
        transfer_time: "PT1H",
        retention: "P1D",
        minimum_cohort: 10,
        pseudonyms: "keyed",
    };
    let run = data_set::request(&at_portal, &portal.organization_identifier(), &wanted).await?;
    for site in network.sites.iter().filter(|site| site.has_records()) {
        progress.begin(&format!("{} counts what would leave it, and a person approves", site.name));
        decide(&node_of(root, site)?, &at_portal, &run, &APPROVALS, "approve").await?;
    }
    progress.begin("sites send filters, the trusted third party links persons without names, sites send sealed data, which are merged");
    decide(&node_of(root, dms)?, &at_portal, &run, &RELEASES, "release").await?;
    progress.begin(
        "data management site releases, portal takes the data set over and compares it with the signed manifest",
    );
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        let part = data_set::part(&at_portal, &run, "researchRequest").await?;
        match part.status() {
            "completed" => break,
            "failed" => return Err(ended(&part)),
            _ if Instant::now() > deadline => {
                return Err(SharingError::Unfinished { what: "the end of the data set request".to_owned() });
            }
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
    let files = data_set::download(&at_portal, &run).await?;
    progress.end();
    Ok(compare(&files, &records::shared_truth(network)))
}

fn ended(part: &data_set::Part) -> SharingError {
    SharingError::Ended { status: part.status().to_owned(), reason: part.error().unwrap_or_default() }
}

fn node_of(root: &Path, site: &Site) -> Result<Own, SharingError> {
    let (settings, _) = node::load(&site.directory(root)).map_err(|_| SharingError::Settings(site.name.clone()))?;
    Ok(Own::new(&settings)?)
}

/// Waits for the user task and says yes, as somebody of the site would after looking at the numbers.
async fn decide(node: &Own, portal: &Own, run: &str, forms: &[&str], item: &str) -> Result<(), SharingError> {
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        let waiting = data_set::waiting(node).await?;
        if let Some((_, _, response)) =
            waiting.into_iter().find(|(of, form, _)| of == run && forms.contains(&form.as_str()))
        {
            return Ok(data_set::answer(node, response, item, true).await?);
        }
        let part = data_set::part(portal, run, "researchRequest").await?;
        if part.status() == "failed" {
            return Err(ended(&part));
        }
        if Instant::now() > deadline {
            return Err(SharingError::Unfinished { what: format!("the user task to {item} the data set") });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Counts what the files hold.
fn compare(files: &[data_set::File], truth: &SharedTruth) -> Vec<Compared> {
    let mut resources: BTreeMap<String, u64> = BTreeMap::new();
    let mut sites_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let lines = files.iter().filter(|file| file.name.ends_with(".ndjson"));
    for line in lines.flat_map(|file| file.bytes.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty()) {
        let Ok(resource) = fhir::json::parse(line, &fhir::Limits { bytes: line.len(), ..fhir::Limits::default() })
        else {
            *resources.entry("unreadable".to_owned()).or_default() += 1;
            continue;
        };
        *resources.entry(resource.type_name().to_owned()).or_default() += 1;
        let who = resource.list("agent").first().and_then(|agent| agent.get("who")?.get("identifier")?.str("value"));
        for target in resource.list("target") {
            if let (Some(person), Some(site)) = (target.str("reference"), who)
                && person.starts_with("Patient/")
            {
                sites_of.entry(person.to_owned()).or_default().insert(site.to_owned());
            }
        }
    }
    let count = |name: &str| resources.get(name).copied().unwrap_or_default();
    let several = sites_of.values().filter(|sites| sites.len() > 1).count() as u64;
    // Of a hundred persons whom several sites know, a few are not found again.
    let tolerance = truth.several / 10 + 1;
    vec![
        Compared { what: "persons", provided: count("Patient"), truth: truth.persons, tolerance },
        Compared { what: "persons of several sites", provided: several, truth: truth.several, tolerance },
        Compared {
            what: "laboratory results",
            provided: count("Observation"),
            truth: truth.observations,
            tolerance: 0,
        },
        Compared { what: "diagnoses", provided: count("Condition"), truth: truth.conditions, tolerance: 0 },
        Compared { what: "unreadable resources", provided: count("unreadable"), truth: 0, tolerance: 0 },
    ]
}
