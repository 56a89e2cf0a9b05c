//! `schleuse data-set`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Access;

#[derive(Debug, Subcommand)]
pub(crate) enum DataSet {
    /// Ask data integration centres for a data set, at a research portal
    ///
    /// Every site shows what would leave it to a person, who approves or refuses. Persons of several sites are linked without
    /// names by the trusted third party; the data management site merges what the sites send and releases it. The answer
    /// names the run, by which every node knows it.
    Request(Request),
    /// Approve or refuse an extraction, at a data integration centre; or a re-identification, there and at the trusted third party
    Approve(Approve),
    /// Release or refuse a merged data set, at the data management site
    Release(Release),
    /// Write a data set that was provided into a folder, at the research portal
    ///
    /// Every file is compared with the signed manifest; an existing file is never overwritten.
    Fetch(Fetch),
    /// Show the runs that this node takes part in, what waits for a person, and what came of them
    Status(Status),
    /// Take persons who have withdrawn since out of a data set, at a data integration centre
    ///
    /// Compares everybody whom the site has sent in the run with the consents in its records as they are now (`schleuse
    /// source index` first), and tells of who may not be there any more. The trusted third party forgets them, the data
    /// management site makes the data set anew without them, and the portal replaces its copy.
    Withdraw(Run),
    /// Ask that the sites of a person find who it is, at the research portal
    ///
    /// A person of the trusted third party and one of each site decide with `schleuse data-set approve --reidentification`.
    /// Only the site learns who it is; the portal learns whether somebody was found.
    Reidentify(Reidentify),
    /// Show who was found after a re-identification, at a data integration centre, as long as it is kept
    Patient(Run),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse data-set request /srv/portal --project asthma-2027 --definition crtdl.json\n  schleuse data-set request /srv/portal --project asthma-2027 --definition crtdl.json --site dic-1.example --site dic-2.example --approval-time P14D --decision \"UAC 2027/12, approved\"\n\nDurations are those of ISO 8601: PT30M, PT4H, P14D."
)]
pub(crate) struct Request {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Identifier of the project: letters, digits, dots, dashes, underscores. Pseudonyms of a person belong to a project
    #[arg(long)]
    pub(crate) project: String,
    /// Extraction definition (CRTDL): cohort, and which elements of which resources
    #[arg(long, value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// Organisation that merges and provides [default: the only one with the role DMS]
    #[arg(long, value_name = "ORGANIZATION")]
    pub(crate) data_management_site: Option<String>,
    /// Organisation that links [default: the only one with the role TTP]
    #[arg(long, value_name = "ORGANIZATION")]
    pub(crate) trusted_third_party: Option<String>,
    /// A site to ask; may be repeated [default: every data integration centre of the network]
    #[arg(long, value_name = "ORGANIZATION")]
    pub(crate) site: Vec<String>,
    /// What the use and access committee decided, for those who approve
    #[arg(long, value_name = "TEXT")]
    pub(crate) decision: Option<String>,
    /// How long sites have for approving; then the others go on without them
    #[arg(long, value_name = "DURATION", default_value = "P14D")]
    pub(crate) approval_time: String,
    /// How long linked sites have for sending their data
    #[arg(long, value_name = "DURATION", default_value = "P1D")]
    pub(crate) transfer_time: String,
    /// How long the data management site keeps the data; then nothing of them is left there, nor of who is who elsewhere
    #[arg(long, value_name = "DURATION", default_value = "P90D")]
    pub(crate) retention: String,
    /// A site with fewer persons than this does not take part
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) minimum_cohort: u32,
    /// How pseudonyms are made: by a key (a person has the same one in every run of the project), or at random and kept in a
    /// table, so that the trusted third party can forget a person
    #[arg(long, value_name = "WAY", default_value = "keyed", value_parser = ["keyed", "table"])]
    pub(crate) pseudonyms: String,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// A run of this node.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The run, as `schleuse data-set status` shows it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse data-set reidentify 0f1e... /srv/portal --pseudonym 8M2V4C0QJ6T3XWE5A --reason \"tumour marker far above the limit\""
)]
pub(crate) struct Reidentify {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Pseudonym of the person: the id of the Patient in the data set
    #[arg(long)]
    pub(crate) pseudonym: String,
    /// Why, for those who approve; nothing about the person that they must not know
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// How long each of the two has for approving
    #[arg(long, value_name = "DURATION", default_value = "P14D")]
    pub(crate) approval_time: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse data-set status /srv/hospital                          what waits\n  schleuse data-set approve 0f1e... /srv/hospital --show          the numbers, without a decision\n  schleuse data-set approve 0f1e... /srv/hospital\n  schleuse data-set approve 0f1e... --refuse --reason \"cohort too narrow\" --node https://dsf.hospital.example/fhir --certificate me.pem --private-key me.key --authority ca.pem"
)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Decide about a re-identification, not about an extraction
    #[arg(long)]
    pub(crate) reidentification: bool,
    /// Show what would be sent, and decide nothing
    #[arg(long, conflicts_with = "refuse")]
    pub(crate) show: bool,
    /// Refuse: nothing leaves this site
    #[arg(long)]
    pub(crate) refuse: bool,
    /// Why; it stays at this node
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse data-set release 0f1e... /srv/dms --show      what was merged, and where it can be looked at\n  schleuse data-set release 0f1e... /srv/dms"
)]
pub(crate) struct Release {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Show what would be provided, and decide nothing
    #[arg(long, conflicts_with = "refuse")]
    pub(crate) show: bool,
    /// Refuse: the portal gets nothing, and what was merged is deleted
    #[arg(long)]
    pub(crate) refuse: bool,
    /// Why; it stays at this node
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  schleuse data-set fetch 0f1e... /srv/portal --into asthma-2027")]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) run: Run,
    /// Folder for the files; made if it is missing
    #[arg(long, value_name = "FOLDER")]
    pub(crate) into: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only this run
    #[arg(long)]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}
