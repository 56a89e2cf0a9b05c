//! The data source of a site.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Directory;

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Say whether the index of the folder with the records is up to date, and try every server
    ///
    /// Exit code 0: there is an index, nothing has changed since, and every server answers; 1: something is to be done.
    Check(Directory),
    /// Bring the index up to date with the records; only what changed is read
    ///
    /// A line that is no resource ends the attempt with file and line, and the index before stays in force: a count of a
    /// part would look like a count of the whole.
    Index(Directory),
    /// Say how many resources there are of which type, and how often which codes occur
    Stats(SourceStats),
    /// Count the persons of a cohort definition (CCDL); the exact number, for the site itself
    Count(SourceCount),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse source stats /srv/schleuse\n  schleuse source stats /srv/schleuse --codes Condition.code --most 50"
)]
pub(crate) struct SourceStats {
    /// Directory of the node, the one that holds node.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also count the codes of this element, named without the type of a choice (Observation.value); may be repeated
    #[arg(long, value_name = "ELEMENT")]
    pub(crate) codes: Vec<String>,
    /// How many codes of each element
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) most: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  schleuse source count cohort.json --directory /srv/schleuse")]
pub(crate) struct SourceCount {
    /// File with the cohort definition
    #[arg(value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// File with the same cohort in CQL, for servers that evaluate it
    #[arg(long, value_name = "FILE")]
    pub(crate) cql: Option<PathBuf>,
    /// Directory of the node, the one that holds node.toml
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
