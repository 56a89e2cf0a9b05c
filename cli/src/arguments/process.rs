//! Processes and their instances and incidents.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Directory;

#[derive(Debug, Subcommand)]
pub(crate) enum Process {
    /// List installed processes: versions, messages that start them, states, running instances; and what was refused of
    /// plug-ins and why
    List(Directory),
    /// Show a process: where it came from, who does its steps, its resources
    Show(ProcessOne),
    /// Put a plug-in, a folder or a DSF jar, into the folder of plug-ins and load it; running instances go on
    Install(ProcessInstall),
    /// Read the folder of plug-ins again, after a change of its files
    Load(Directory),
    /// Begin no more instances of a process, and publish its resources as retired; running instances go on
    Retire(ProcessOne),
    /// As retire, and remove its resources
    Exclude(ProcessOne),
    /// Take a retired or excluded process into use again
    Activate(ProcessOne),
    /// Write the example of a plug-in into a new folder, to start from
    New(ProcessNew),
    /// Check a plug-in without a node: its models, resources and scenarios
    Test(ProcessTest),
    /// Say of every model what would run, and what would be refused and why, with its line
    Check(ProcessCheck),
}

#[derive(Debug, Args)]
pub(crate) struct ProcessOne {
    /// KEY|VERSION, such as dsfdev_ping|1.0, or the canonical; `schleuse process list` shows them
    #[arg(value_name = "PROCESS")]
    pub(crate) process: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Begins a plug-in: `schleuse process new hello --domain hospital.example`.
#[derive(Debug, Args)]
pub(crate) struct ProcessNew {
    /// The folder; it must not be there
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Domain that the names of process and resources begin with
    #[arg(long, default_value = "example.org")]
    pub(crate) domain: String,
    /// Name of the process [default: that of the folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Tests a plug-in: reads it as a node does, walks through its models, validates its resources, and runs the scenarios in
/// its folder tests/. Exit code 0: all is well; 1: something is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schleuse process test hello                            once
  schleuse process test hello --watch --node /srv/schleuse   after every change, into a running node")]
pub(crate) struct ProcessTest {
    /// The folder or jar
    #[arg(value_name = "FOLDER|JAR")]
    pub(crate) source: PathBuf,
    /// Do it again after every change of a file, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    /// Install the plug-in into this running node whenever all is well
    #[arg(long, value_name = "DIR")]
    pub(crate) node: Option<PathBuf>,
}

/// Installs a plug-in: `schleuse process install hello-1.0.0.0.jar /srv/schleuse`. A plug-in that is refused is taken away
/// again, and the one before stays in force. A file of the same name ending in .toml beside a jar is installed with it.
#[derive(Debug, Args)]
pub(crate) struct ProcessInstall {
    /// The folder or jar
    #[arg(value_name = "FOLDER|JAR")]
    pub(crate) source: PathBuf,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
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
