//! Tasks and user tasks: starting, listing, answering; who asks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a process on this node by a Task, as the node's own organisation
    Start(TaskStart),
    /// List Tasks, newest first; with --open the user tasks that wait for an answer, oldest first
    List(TaskList),
    /// Show a user task: its questions and what is filled in
    Show(TaskOne),
    /// Answer a user task; its process goes on
    Answer(TaskAnswer),
    /// Refuse a user task: its process takes the way for that, or fails
    Reject(TaskOne),
}

/// Who asks: a person at a node anywhere, else the organisation of the node in a directory of this machine.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// URL of the node, such as `https://dsf.example.org/fhir`
    #[arg(long, value_name = "URL", requires_all = ["certificate", "private_key", "authority"])]
    pub(crate) node: Option<String>,
    /// Certificate of the person
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) certificate: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) private_key: Option<PathBuf>,
    /// Authority that signed the certificate of the node
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) authority: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TaskOne {
    /// Id of the user task; `schleuse task list --open` shows them
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  schleuse task answer 0f1e... /srv/schleuse --set release=true\n  schleuse task answer 0f1e... --node https://dsf.example.org/fhir --certificate me.pem --private-key me.key --authority ca.pem --set release=true --set comment=\"as agreed\""
)]
pub(crate) struct TaskAnswer {
    #[command(flatten)]
    pub(crate) one: TaskOne,
    /// Answer to an item; may be repeated. A choice is SYSTEM|CODE or the code of an option, a quantity is `VALUE UNIT`
    #[arg(long, value_name = "ITEM=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Starts a process: `schleuse task start DIR http://dsf.dev/bpe/Process/ping|1.0 startPing`. The Task is made from the
/// process's own profile; inputs are added with --input system|code=value.
#[derive(Debug, Args)]
pub(crate) struct TaskStart {
    /// Directory of the node
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// instantiatesCanonical of the process, with version; `schleuse process list` shows them
    #[arg(value_name = "PROCESS")]
    pub(crate) process: String,
    /// Message name of the start event
    #[arg(value_name = "MESSAGE")]
    pub(crate) message: String,
    /// Further inputs, as SYSTEM|CODE=VALUE (string values)
    #[arg(long, value_name = "SYSTEM|CODE=VALUE")]
    pub(crate) input: Vec<String>,
    /// Wait until the Task is completed or failed and show its outputs
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TaskList {
    /// Directory of the node
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// User tasks that wait for an answer
    #[arg(long, conflicts_with = "status")]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Only Tasks with this status
    #[arg(long, value_parser = ["draft", "requested", "in-progress", "completed", "failed"])]
    pub(crate) status: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) count: u32,
}
