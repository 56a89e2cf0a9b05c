//! Processes and their instances and incidents.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Directory;

#[derive(Debug, Subcommand)]
pub(crate) enum Process {
    /// List installed processes with their messages, versions and running instances
    List(Directory),
    /// Say of every model what would run, and what would be refused and why, with its line
    Check(ProcessCheck),
}

/// Checks BPMN files without a node: `schleuse process check FOLDER --simulate`.
#[derive(Debug, Args)]
pub(crate) struct ProcessCheck {
    /// A BPMN file, or a folder that is searched for them
    #[arg(value_name = "FILE|FOLDER")]
    pub(crate) path: PathBuf,
    /// Run every model that loads with steps that do nothing, and print the path of its tokens
    #[arg(long)]
    pub(crate) simulate: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Instance {
    /// List instances, oldest first
    List(InstanceList),
    /// Show where an instance is, what it waits for, and its variables
    Show(InstanceOne),
    /// Step through everything that happened to an instance
    History(InstanceOne),
    /// Try the failed steps of an instance again
    Retry(InstanceOne),
    /// Go on behind the failed steps of an instance, as if they had ended well
    Resolve(InstanceResolve),
    /// End an instance; its Tasks fail with the reason
    Cancel(InstanceCancel),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Incident {
    /// List the steps that wait for an operator
    List(Directory),
}

#[derive(Debug, Args)]
pub(crate) struct InstanceList {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only instances in this state; `running` includes those with an incident
    #[arg(long, default_value = "running", value_parser = ["running", "incident", "completed", "failed", "cancelled", "all"])]
    pub(crate) state: String,
    /// Only instances of this process, such as dsfdev_ping
    #[arg(long, value_name = "KEY")]
    pub(crate) process: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceOne {
    /// Id of the instance; `schleuse instance list` shows them
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceResolve {
    #[command(flatten)]
    pub(crate) one: InstanceOne,
    /// Variable that the step would have written; VALUE is JSON, or else a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstanceCancel {
    #[command(flatten)]
    pub(crate) one: InstanceOne,
    /// Why; stands in its Tasks
    #[arg(long, default_value = "cancelled by an operator")]
    pub(crate) reason: String,
}
