//! Feasibility: asking the sites of a network how many patients belong to a cohort.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Feasibility {
    /// Ask every data integration centre how many patients belong to a cohort, and wait for the answers
    ///
    /// For the portal of a network (role HRP), in the form in which the national portal asks its own node.
    Run(FeasibilityRun),
    /// Show what the sites answered to a question, and which did not and why
    Show(FeasibilityShow),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  schleuse feasibility run cohort.json --directory /srv/schleuse\n\nExit code 0: every site that was asked has answered; 1: one has not, or the question was refused."
)]
pub(crate) struct FeasibilityRun {
    /// File with the cohort definition (CCDL)
    #[arg(value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Version of the process on the wire; the sites must have it too
    #[arg(long, default_value = "1.0", value_parser = ["1.0", "1.1"])]
    pub(crate) process_version: String,
    /// Do not wait: print the id of the request
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FeasibilityShow {
    /// Id of the request, as `schleuse feasibility run` prints it
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Directory of the node
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
